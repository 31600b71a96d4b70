/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nofile.h - the limit of open files: each process of a tree needs some. */
#ifndef HAUL_NOFILE_H
#define HAUL_NOFILE_H

#include <sys/resource.h>

/** nofile_raise() - raise our limit as far as we may; children inherit it */
static inline void nofile_raise(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

/** nofile_limit() - Return: how many files may be open */
static inline unsigned long nofile_limit(void)
{
	struct rlimit l;

	return getrlimit(RLIMIT_NOFILE, &l) == 0 ? l.rlim_cur : 0;
}

#endif
