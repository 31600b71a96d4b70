// SPDX-License-Identifier: GPL-2.0-or-later
/* pidspace.c - NSpid of /proc/PID/status, and which processes are in the same pid namespace. */
#include "engine/proc/pidspace.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/array.h"

#define PATH_BYTES 64

static bool space_of(const char *pid, struct stat *st)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "/proc/%.20s/ns/pid", pid);
	return stat(path, st) == 0;
}

static bool same_space(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

/* The last number of NSpid: that in its own pid namespace. */
static pid_t innermost(const char *status)
{
	AUTO(file) FILE *f = fopen(status, "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "NSpid:", 6))
			continue;
		char *last = strrchr(line, '\t');

		return last ? (pid_t)strtol(last, NULL, 10) : 0;
	}
	return 0;
}

bool pidspace_is_ours(pid_t pid)
{
	struct stat own, theirs;
	char number[16];

	snprintf(number, sizeof(number), "%d", pid);
	return !space_of("self", &own) || !space_of(number, &theirs) || same_space(&own, &theirs);
}

pid_t pidspace_inner(pid_t pid)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return innermost(path);
}

int pidspace_open(pid_t pid, const char *kind, struct err *e)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kind);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_sys(e, "%s", path) : fd;
}

static int add(struct pidspace *s, const char *status, pid_t outer)
{
	pid_t inner = innermost(status);

	if (inner <= 0)
		return 0; /* it has ended */
	if (array_grow(&s->v, s->n, &s->cap, sizeof(*s->v)) < 0)
		return -ENOMEM;
	s->v[s->n++] = (struct pidspace_pair){ inner, outer };
	return 0;
}

static int add_threads(struct pidspace *s, const char *pid)
{
	char path[PATH_BYTES + 64];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%.20s/task", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; r == 0 && d && (de = readdir(d));) {
		if (!isdigit((unsigned char)de->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/task/%.20s/status", pid, de->d_name);
		r = add(s, path, (pid_t)strtol(de->d_name, NULL, 10));
	}
	return r;
}

static int by_inner(const void *a, const void *b)
{
	const struct pidspace_pair *x = a, *y = b;

	return (x->inner > y->inner) - (x->inner < y->inner);
}

int pidspace_load(struct pidspace *s, pid_t member)
{
	AUTO(dir) DIR *d = opendir("/proc");
	struct stat wanted, st;
	char number[16];
	int r = 0;

	snprintf(number, sizeof(number), "%d", member);
	if (!space_of(number, &wanted))
		return -ESRCH;
	s->n = 0;
	for (struct dirent *de; r == 0 && d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]) && space_of(de->d_name, &st) &&
		    same_space(&st, &wanted))
			r = add_threads(s, de->d_name);
	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), by_inner);
	return r;
}

pid_t pidspace_outer(const struct pidspace *s, pid_t inner)
{
	struct pidspace_pair key = { .inner = inner };
	const struct pidspace_pair *found =
	        s->n ? bsearch(&key, s->v, s->n, sizeof(*s->v), by_inner) : NULL;

	return found ? found->outer : 0;
}

void pidspace_fini(struct pidspace *s)
{
	free(s->v);
	*s = (struct pidspace){ 0 };
}
