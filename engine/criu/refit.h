/* SPDX-License-Identifier: GPL-2.0-or-later */
/* refit.h - other files in the place of open ones, in images that CRIU has written. */
#ifndef HAUL_ENGINE_REFIT_H
#define HAUL_ENGINE_REFIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/* What CRIU's images call the file; the numbers are CRIU's. */
enum refit_kind { REFIT_ANY = 0, REFIT_PIPE = 2, REFIT_UNIX = 5, REFIT_TTY = 11 };

enum refit_to {
	REFIT_CLOSE, /* not open at the destination, anywhere in the tree */
	REFIT_NULL, /* /dev/null */
	REFIT_PLACE, /* the descriptor that the restore is given as refit_name() */
	REFIT_TTY_KEPT, /* the terminal stays one, given to the restore as CRIU names it */
};

struct refit {
	pid_t pid; /* a process that has it, */
	int fd; /* and its number there */
	enum refit_kind kind;
	uint64_t inode; /* of a pipe or socket: all its descriptors are meant */
	enum refit_to to;
	unsigned int place;
	bool polls; /* what comes in its place can be in an epoll set */
};

#define REFIT_NAME_BYTES 32
/** refit_name() - what the images call place @n, and the restore's inherit_fd */
void refit_name(unsigned int n, char out[REFIT_NAME_BYTES]);

/**
 * refit_images() - change files.img, fdinfo-*.img and tty-info.img in @dirfd
 * A terminal that becomes something else is /dev/null where it was descriptor 0: what the
 * program writes must not come back as its input.
 * Return: 0; -ESTALE a descriptor stands for another file by now; -EBADMSG; -ENOMEM
 */
int refit_images(int dirfd, const struct refit *v, size_t n, struct err *e);

#endif
