/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nofile.h - open files: a tree of many processes takes some for each. */
#ifndef HAUL_NOFILE_H
#define HAUL_NOFILE_H

#include <sys/resource.h>

/** nofile_raise() - as many as this program may have; what it starts has it from there */
static inline void nofile_raise(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

/** nofile_limit() - Return: so many may be open */
static inline unsigned long nofile_limit(void)
{
	struct rlimit l;

	return getrlimit(RLIMIT_NOFILE, &l) == 0 ? l.rlim_cur : 0;
}

#endif
