// SPDX-License-Identifier: GPL-2.0-or-later
/* proclocks.c - /proc/locks: the locks on files that processes of this host have or wait for. */
#include "engine/proc/proclocks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "common/auto.h"

#define LINE_BYTES 256

static bool parse(const char *line, struct proclock *out)
{
	unsigned int major, minor;
	unsigned long inode;
	char kind[8], type[8], end[24];
	long long start;
	const char *at = strchr(line, ':');

	if (!at)
		return false;
	at += 1 + strspn(at + 1, " ");
	out->waits = !strncmp(at, "-> ", 3);
	if (sscanf(at + (out->waits ? 3 : 0), "%7s %*s %7s %d %x:%x:%lu %lld %23s", kind, type,
	           &out->pid, &major, &minor, &inode, &start, end) != 8)
		return false;
	out->flock = !strcmp(kind, "FLOCK");
	out->posix = !strcmp(kind, "POSIX");
	out->start = start;
	out->len = strcmp(end, "EOF") != 0 ? strtoll(end, NULL, 10) - start + 1 : 0;
	out->writes = !strcmp(type, "WRITE");
	out->dev = makedev(major, minor);
	out->inode = inode;
	return true;
}

int proclocks_each(proclocks_fn fn, void *arg)
{
	AUTO(file) FILE *f = fopen("/proc/locks", "re");
	char line[LINE_BYTES];
	struct proclock l;
	int r = 0;

	while (r == 0 && f && fgets(line, sizeof(line), f))
		if (parse(line, &l))
			r = fn(arg, &l);
	return r;
}
