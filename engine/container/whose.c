// SPDX-License-Identifier: GPL-2.0-or-later
/* whose.c - which container a process is in, by the names that runtimes give to cgroups. */
#include "engine/container/whose.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/auto.h"

#define LINE_BYTES 4096
#define PATH_BYTES 512
#define ID_LENGTH  64 /* of podman's and Docker's, in hexadecimal digits */

/* A part of a cgroup's path: its beginning, and then an ID; of systemd's with ".scope" behind. */
static const struct {
	const char *before, *runtime;
	bool long_id;
} names[] = {
	{ "libpod-payload-", "podman", true },
	{ "libpod-", "podman", true },
	{ "docker-", "docker", true },
	{ "cri-containerd-", "cri", true },
	{ "crio-", "cri", true },
	{ "lxc.payload.", "lxc", false },
};

/* A cgroup with the container's own ID: the runtime has a record of it. */
static const struct {
	const char *folder, *record, *runtime;
} records[] = {
	{ "/run/runc", "state.json", "runc" },
	{ "/run/crun", "status", "crun" },
	{ "/run/docker/runtime-runc/moby", "state.json", "docker" },
};

static bool is_long_id(const char *id)
{
	size_t n = 0;

	while (isxdigit((unsigned char)id[n]))
		n++;
	return n == ID_LENGTH && !id[n];
}

static bool by_name(const char *part, char *word, size_t bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i].before);

		if (strncmp(part, names[i].before, n) != 0 || !part[n] ||
		    (names[i].long_id && !is_long_id(part + n)))
			continue;
		return (size_t)snprintf(word, bytes, "%s:%s", names[i].runtime, part + n) < bytes;
	}
	return false;
}

static bool by_record(const char *part, char *word, size_t bytes)
{
	char path[PATH_BYTES];

	for (size_t i = 0; *part != '.' && i < ARRAY_SIZE(records); i++) {
		int n = snprintf(path, sizeof(path), "%s/%s/%s", records[i].folder, part,
		                 records[i].record);

		if (n < (int)sizeof(path) && access(path, F_OK) == 0)
			return (size_t)snprintf(word, bytes, "%s:%s", records[i].runtime, part) <
			       bytes;
	}
	return false;
}

static bool in_path(char *path, char *word, size_t bytes)
{
	const char *const scope = ".scope";
	char *save = NULL;

	path[strcspn(path, "\n")] = 0;
	for (char *part = strtok_r(path, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		size_t n = strlen(part), k = strlen(scope);

		if (n > k && !strcmp(part + n - k, scope))
			part[n - k] = 0;
		if (by_name(part, word, bytes) || by_record(part, word, bytes))
			return true;
	}
	return false;
}

static bool look(pid_t pid, char *word, size_t bytes)
{
	char line[LINE_BYTES], path[40];

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	*word = 0;
	while (f && fgets(line, sizeof(line), f)) {
		char *at = strchr(line, '/');

		if (at && in_path(at, word, bytes))
			return true;
	}
	*word = 0;
	return false;
}

bool whose_container(pid_t pid, char *word, size_t bytes)
{
	char ours[PATH_BYTES];

	return look(pid, word, bytes) &&
	       (!look(getpid(), ours, sizeof(ours)) || strcmp(ours, word) != 0);
}
