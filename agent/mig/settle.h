/* SPDX-License-Identifier: GPL-2.0-or-later */
/* settle.h - write the files that arrived to the disk. */
#ifndef HAUL_AGENT_MIG_SETTLE_H
#define HAUL_AGENT_MIG_SETTLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SETTLE_MAX 64

/* File systems on which files arrived. */
struct settle {
	int fd[SETTLE_MAX];
	dev_t dev[SETTLE_MAX];
	size_t n;
	pthread_t thread;
	bool begun, over; /* over: atomic */
};

/** settle_note() - remember the file system of @fd */
void settle_note(struct settle *s, int fd);
/** settle_begin() - write these file systems to the disk, in a thread */
void settle_begin(struct settle *s);
/** settle_is_over() - has that thread finished? True also when none was needed */
bool settle_is_over(const struct settle *s);
/** settle_fini() - wait for the thread and close the descriptors */
void settle_fini(struct settle *s);

#endif
