/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img_pins.h - let CRIU open files of a tree by other names than their own: by descriptors that haul has. */
#ifndef HAUL_ENGINE_IMG_PINS_H
#define HAUL_ENGINE_IMG_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "common/err.h"

#define IMG_PIN_BYTES 320 /* /proc/PID/fd/N, and for some a name in that directory */

struct img_pin {
	uint32_t id; /* of the file */
	char name[IMG_PIN_BYTES]; /* by which CRIU shall open it; absolute */
	bool made; /* it was a file without a name, and is there now: CRIU shall not make it */
};
/**
 * img_pin_files() - files.img, remap-fpath.img: files are opened by the names of their pins
 * @v: ascending by id. Return: 0; -errno
 */
int img_pin_files(int dirfd, const struct img_pin *v, size_t n, struct err *e);

/* A file that has lost its name, as it is in the images. */
struct img_ghost {
	uint32_t uid, gid, mode;
	bool has_times, chunks;
	struct timespec atime, mtime;
	uint64_t bytes; /* of @chunks: the length of the file */
	int fd; /* of the image, where the content begins */
};
/** img_ghost_open() - number @id. @out->fd is the caller's. Return: 0; -errno */
int img_ghost_open(int dirfd, uint32_t id, struct img_ghost *out, struct err *e);
/** img_ghost_copy() - its content into the empty file @to. Return: 0; -errno */
int img_ghost_copy(const struct img_ghost *g, int to, struct err *e);

#endif
