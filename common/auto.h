/* SPDX-License-Identifier: GPL-2.0-or-later */
/* auto.h - scope-bound ownership: AUTO(x), steal(), and small array helpers. */
#ifndef HAUL_AUTO_H
#define HAUL_AUTO_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n)        (1U << (n))

static inline void auto_fd(int *fd)
{
	if (*fd >= 0) {
		int keep = errno;

		close(*fd);
		errno = keep;
	}
}

static inline void auto_mem(void *pp)
{
	int keep = errno;

	free(*(void **)pp);
	errno = keep;
}

static inline void auto_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void auto_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* AUTO(fd) int x = -1;  AUTO(mem) char *s = NULL;  types add auto_TYPE(). */
#define AUTO(kind) __attribute__((cleanup(auto_##kind)))

/* For a type with a destructor that takes NULL: DEFINE_AUTO(chan, chan_free) */
#define DEFINE_AUTO(type, destroy)                                                                 \
	static inline void auto_##type(struct type **p)                                            \
	{                                                                                          \
		int keep = errno;                                                                  \
                                                                                                   \
		destroy(*p);                                                                       \
		errno = keep;                                                                      \
	}

#define steal(p)                                                                                   \
	({                                                                                         \
		__typeof__(p) stolen_ = (p);                                                       \
		(p) = NULL;                                                                        \
		stolen_;                                                                           \
	})

static inline int steal_fd(int *fd)
{
	int x = *fd;

	*fd = -1;
	return x;
}

#endif
