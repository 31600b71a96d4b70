// SPDX-License-Identifier: GPL-2.0-or-later
/* vforks.c - threads that wait in vfork(2): until the child executes a program nothing stops them but SIGKILL. */
#include "engine/proc/vforks.h"

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/clock.h"

#define STEP_US 2000

static bool reads(pid_t pid, const char *tid, const char *what, char *out, int bytes)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%.12s/%s", pid, tid, what);
	AUTO(file) FILE *f = fopen(path, "re");

	return f && fgets(out, bytes, f);
}

static bool waits(pid_t pid, const char *tid)
{
	static const char *const places[] = { "kernel_clone", "wait_for_vfork_done", "_do_fork" };
	char text[512], place[64];

	if (!reads(pid, tid, "stat", text, sizeof(text)))
		return false;
	const char *state = strrchr(text, ')');

	if (!state || strncmp(state, ") D", 3) != 0 ||
	    !reads(pid, tid, "wchan", place, sizeof(place)))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (!strcmp(place, places[i]))
			return true;
	return false;
}

/* Return: the first thread that waits; 0: none */
static pid_t look(const pid_t *pid, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/proc/%d/task", pid[i]);
		AUTO(dir) DIR *d = opendir(path);

		for (struct dirent *de; d && (de = readdir(d));)
			if (isdigit((unsigned char)de->d_name[0]) && waits(pid[i], de->d_name))
				return (pid_t)strtol(de->d_name, NULL, 10);
	}
	return 0;
}

pid_t vforks_wait(const pid_t *pid, size_t n, uint64_t deadline_us)
{
	pid_t who = look(pid, n);

	while (who && now_us() < deadline_us) {
		usleep(STEP_US);
		who = look(pid, n);
	}
	return who;
}
