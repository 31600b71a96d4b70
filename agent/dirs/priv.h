/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - between agent/afs*.c only. */
#ifndef HAUL_AGENT_AFS_PRIV_H
#define HAUL_AGENT_AFS_PRIV_H

#include <pthread.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "agent/dirs/dirs.h"
#include "common/auto.h"
#include "transport/batch.h"

#define AFS_DIR       "/run/haul/fs"
#define AFS_ROOTS_MAX 64
#define AFS_NEW       "new" /* in the box: the tree that comes; after the exchange the old one */

struct afs_root {
	char *parent, *name; /* where it will be */
	char box[40]; /* the hidden directory in parent */
	int parent_fd, box_fd, top_fd;
	ino_t ino; /* of the new tree's top */
	dev_t dev;
	struct stat parent_st; /* before anything was made in it */
	uint64_t bytes, inodes; /* that are to come */
};

/* Where the last operation was: most of them are in the same directory. */
struct afs_at {
	int dir_fd; /* -1: none */
	bool stale; /* it may be a directory that is no more */
	uint32_t root;
	char dir[BATCH_PATH_MAX_BYTES + 1];
	int file_fd;
	char file[BATCH_PATH_MAX_BYTES + 1]; /* its path */
	uint32_t file_root;
};

struct afs {
	uint64_t route;
	int record_fd;
	pthread_mutex_t lock; /* applying against placing and undoing */
	bool closed; /* nothing more is taken */
	bool keep, ended;
	struct afs_root root[AFS_ROOTS_MAX];
	size_t n;
	struct afs_at at;
	uint64_t ops;
};

/* ---- afs_apply.c ---- */

/** afs_apply() - one operation, checked by batch_op_ok() */
int afs_apply(struct afs *s, const Haul__TreeOp *op, struct err *e);
void afs_at_close(struct afs_at *a);
/** afs_remove() - @name in @dir with all that is in it. Return: 0; -errno */
int afs_remove(int dir, const char *name);

/* ---- afs_place.c ---- */

/** afs_record() - create and lock; @adopt: an existing one that has no owner */
int afs_record(struct afs *s, bool adopt, struct err *e);
/** afs_record_root() - on record what is going to be made */
int afs_record_root(struct afs *s, struct afs_root *r, struct err *e);
/** afs_box() - make the hidden directory, and the top of the tree in it */
int afs_box(struct afs *s, struct afs_root *r, struct err *e);
void afs_free(struct afs *s);

#endif
