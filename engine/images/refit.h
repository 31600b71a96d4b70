/* SPDX-License-Identifier: GPL-2.0-or-later */
/* refit.h - replace open files in images that CRIU has written. */
#ifndef HAUL_ENGINE_REFIT_H
#define HAUL_ENGINE_REFIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/* Type of a file in CRIU's images; the numbers are CRIU's. */
enum refit_kind { REFIT_ANY = 0, REFIT_PIPE = 2, REFIT_UNIX = 5, REFIT_TTY = 11 };

enum refit_to {
	REFIT_CLOSE, /* not open at the destination, anywhere in the tree */
	REFIT_NULL, /* /dev/null */
	REFIT_PLACE, /* the descriptor that the restore gets as refit_name() */
	REFIT_TTY_KEPT, /* it stays a terminal, which the restore gets under CRIU's name for it */
};

struct refit {
	pid_t pid; /* a process that has it open, */
	int fd; /* and its number there */
	enum refit_kind kind;
	uint64_t inode; /* of a pipe or socket: all its descriptors are replaced */
	enum refit_to to;
	unsigned int place;
	bool polls; /* the replacement can be in an epoll set */
};

#define REFIT_NAME_BYTES 32
/** refit_name() - name of place @n in the images and for the restore's inherit_fd */
void refit_name(unsigned int n, char out[REFIT_NAME_BYTES]);

/**
 * refit_images() - change files.img, fdinfo-*.img and tty-info.img in @dirfd
 * A terminal that becomes something else becomes /dev/null at descriptor 0: the program must not
 * read its own output.
 * Return: 0; -ESTALE a descriptor refers to another file by now; -EBADMSG; -ENOMEM
 */
int refit_images(int dirfd, const struct refit *v, size_t n, struct err *e);

#endif
