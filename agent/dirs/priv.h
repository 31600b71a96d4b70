/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - shared by the files of agent/dirs/ only. */
#ifndef HAUL_AGENT_DIRS_PRIV_H
#define HAUL_AGENT_DIRS_PRIV_H

#include <pthread.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "agent/dirs/dirs.h"
#include "common/auto.h"
#include "transport/msg/batch.h"

#define DIRS_IN_DIR       "/run/haul/fs"
#define DIRS_IN_ROOTS_MAX 64
#define DIRS_IN_NEW       "new" /* in the box: the new directory; after the exchange the old one */

struct dirs_in_root {
	char *parent, *name; /* of its final place */
	char box[40]; /* the hidden directory in parent */
	int parent_fd, box_fd, top_fd;
	ino_t ino; /* of the new directory */
	dev_t dev;
	struct stat parent_st; /* before anything was created in it */
	uint64_t bytes, inodes; /* as offered */
};

/* The directory and file of the last operation: most operations follow in the same one. */
struct dirs_in_at {
	int dir_fd; /* -1: none */
	bool stale; /* the directory may have been removed */
	uint32_t root;
	char dir[BATCH_PATH_MAX_BYTES + 1];
	int file_fd;
	char file[BATCH_PATH_MAX_BYTES + 1]; /* its path */
	uint32_t file_root;
};

struct dirs_in {
	uint64_t route;
	int record_fd;
	pthread_mutex_t lock; /* applying against placing and undoing */
	bool closed; /* no operation is taken any more */
	bool keep, ended;
	struct dirs_in_root root[DIRS_IN_ROOTS_MAX];
	size_t n;
	struct dirs_in_at at;
	uint64_t ops;
};

/* ---- apply.c ---- */

/** dirs_in_apply() - apply one operation that batch_op_ok() has checked */
int dirs_in_apply(struct dirs_in *s, const Haul__TreeOp *op, struct err *e);
/** dirs_in_at_close() - close what dirs_in_at() has opened; @a may be empty */
void dirs_in_at_close(struct dirs_in_at *a);
/** dirs_in_remove() - remove @name of @dir with its contents. Return: 0; -errno */
int dirs_in_remove(int dir, const char *name);

/* ---- place.c ---- */

/** dirs_in_record() - create and lock the record; @adopt: one that a dead worker left */
int dirs_in_record(struct dirs_in *s, bool adopt, struct err *e);
/** dirs_in_record_root() - put on record what will be created for @r */
int dirs_in_record_root(struct dirs_in *s, struct dirs_in_root *r, struct err *e);
/** dirs_in_box() - create the hidden directory, and the new directory in it */
int dirs_in_box(struct dirs_in *s, struct dirs_in_root *r, struct err *e);
void dirs_in_free(struct dirs_in *s);

#endif
