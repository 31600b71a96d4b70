/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - between the files of fs.h only. */
#ifndef HAUL_HAULER_FS_PRIV_H
#define HAUL_HAULER_FS_PRIV_H

#include <limits.h>
#include <pthread.h>
#include <sys/queue.h>
#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hauler/dirs/dirs.h"
#include "transport/batch.h"

#define FS_BLOCK_BYTES (16u << 10)

/* ---- fs_watch.c: what changes, told by the kernel ---- */

struct watch;

/** watch_new() - @out NULL: fanotify is not to be had here, and @why says why */
int watch_new(struct watch **out, struct err *why);
/** watch_mark() - the file system of @fd. Return: 0; -errno: it cannot be watched */
int watch_mark(struct watch *w, int fd, struct err *why);
/** watch_key() - of @name in @dirfd. Return: 0; -errno */
int watch_key(int dirfd, const char *name, uint64_t fsid, XXH128_hash_t *out);
uint64_t watch_fsid(int fd);
/** watch_add() - before it is looked at: from now on changes of @obj are told */
int watch_add(struct watch *w, XXH128_hash_t key, void *obj);
void watch_drop(struct watch *w, XXH128_hash_t key, const void *obj);
/**
 * watch_take() - what has changed since the last call
 * @v: to be freed. @all: events were lost, everything may have changed
 */
int watch_take(struct watch *w, void ***v, size_t *n, bool *all, struct err *e);
void watch_free(struct watch *w);

/* ---- the model ---- */

struct fs_name {
	LIST_ENTRY(fs_name) in_dir, of_ino;
	struct fs_ino *dir, *ino;
	struct fs_name *replaces; /* what had this name before; not dropped there yet */
	struct fs_name *grave;
	bool there; /* at the destination */
	bool seen, vanished, dead;
	bool replaced; /* another one has its name */
	char name[];
};

LIST_HEAD(fs_names, fs_name);

struct fs_ino {
	struct fs_root *root;
	struct fs_ino *next; /* in the bucket */
	struct fs_ino *grave;
	XXH128_hash_t key;
	struct stat st; /* as of the last look; of a sent file: before it was read */
	struct fs_names names, children;
	XXH128_hash_t *block; /* zero: a hole */
	size_t n_blocks, cap_blocks;
	bool sent, dirty, dead, due; /* due: a directory whose metadata is to be sent */
	uint32_t age_ms; /* of its times, when it was sent */
};

struct fs_root {
	const char *path;
	char there[PATH_MAX]; /* its path at the destination */
	uint32_t number;
	int fd;
	uint64_t fsid;
	struct fs_ino *top;
	struct fs_ino **bucket;
	size_t n_buckets, n_inos;
	uint64_t bytes, inodes; /* as first seen; bytes: allocated */
};

struct fs_list {
	void **v;
	size_t n, cap;
};

struct fs {
	const struct dirs_opts *opt;
	struct fs_root root[DIRS_MAX];
	size_t n_roots;
	struct watch *watch; /* NULL: by times */
	struct fs_stats st;
	unsigned int other_mounts; /* mount points in the trees */
	char other_mount[512]; /* one of them */

	/* a pass: what is to be done, in this order */
	struct fs_list scan; /* directories to be read */
	struct fs_list fresh; /* names that the destination lacks */
	struct fs_list dirty; /* inodes to be compared */
	struct fs_list gone; /* names that are no more */
	struct fs_list due; /* directories */
	struct fs_mapped *mapped; /* at the last look; see fs_open.c */
	size_t n_mapped;
	struct fs_name *dead_names;
	struct fs_ino *dead_inos;

	/* what is sent */
	struct chan *ch;
	struct send *send; /* has the limit of bandwidth */
	uint64_t deadline_us; /* 0: the tree runs */
	Haul__TreeOp **op;
	size_t n_ops;
	uint8_t *arena;
	size_t used;
	uint8_t *buf;
	uint64_t seed; /* of digests: nobody can prepare two files with the same */

	pthread_t thread; /* the last pass */
	bool running, joined;
	struct err err;
	int result;
	bool stop; /* atomic */
};

int fs_list_add(struct fs_list *l, void *p);

/* ---- fs_table.c ---- */

struct fs_ino *fs_find(const struct fs_root *r, ino_t ino);
/** fs_ino_new() - in the place of an older one with the same number, if there is one */
struct fs_ino *fs_ino_new(struct fs *f, struct fs_root *r, const struct stat *st,
                          XXH128_hash_t key);
struct fs_name *fs_name_new(struct fs_ino *dir, struct fs_ino *ino, const char *name);
/** fs_forget() - a name, all below it, and inodes that have none left; freed by fs_bury() */
void fs_forget(struct fs *f, struct fs_name *n);
void fs_bury(struct fs *f);
/** fs_path() - in the root, from names. Return: its length; -ENAMETOOLONG; -ESTALE */
int fs_path(const struct fs_name *n, char out[BATCH_PATH_MAX_BYTES + 1]);
/** fs_ino_path() - by any name; @there: one that the destination has */
int fs_ino_path(const struct fs_ino *i, bool there, char out[BATCH_PATH_MAX_BYTES + 1]);
void fs_table_free(struct fs_root *r);
/** fs_open() - in the root, through no link and into no other file system */
int fs_open(const struct fs_root *r, const char *path, int flags);

/* ---- fs_scan.c ---- */

/** fs_scan() - f->scan is read, down to all that is new */
int fs_scan(struct fs *f, struct err *e);
/** fs_look_all() - without a watch: everything, by times */
int fs_look_all(struct fs *f, struct err *e);
int fs_mark_dirty(struct fs *f, struct fs_ino *i);
/** fs_looks_same() - in all that a change would show in */
bool fs_looks_same(const struct stat *a, const struct stat *b);
/** fs_age_ms() - since its times were set; of those that are young they cannot tell it from a later state */
uint32_t fs_age_ms(const struct stat *st);
/** fs_top() - the directory of a root */
int fs_top(struct fs *f, struct fs_root *r, struct err *e);

/* ---- fs_hash.c ---- */

/** fs_digest() - of a block; a hole has zero */
XXH128_hash_t fs_digest(const struct fs *f, const uint8_t *data, size_t n);
/** fs_read_at() - Return: bytes, fewer at the end only; -errno */
ssize_t fs_read_at(int fd, uint8_t *buf, size_t n, uint64_t at);
/**
 * fs_changed() - on all processors: which blocks from @at (of a block) to @end differ from i->block?
 * @changed: out, a byte for each
 * Return: 0; -ECANCELED
 */
int fs_changed(const struct fs *f, const struct fs_ino *i, int fd, uint64_t at, uint64_t end,
               uint8_t *changed);

/* ---- fs_open.c ---- */

/**
 * fs_mark_open() - what the tree of processes may have changed without an event
 * @first: nothing is sent yet, so this only remembers
 */
int fs_mark_open(struct fs *f, pid_t root_pid, bool first, struct err *e);

/* ---- fs_xattr.c ---- */

#define XATTR_BYTES 65536

struct xattrs {
	char names[XATTR_BYTES];
	struct {
		const char *name;
		size_t at, bytes;
	} v[BATCH_XATTRS_MAX];
	size_t n, used;
	uint8_t values[4 * XATTR_BYTES];
};

/** fs_read_xattrs() - @by_link: @fd is O_PATH. Return: 0; -errno */
int fs_read_xattrs(struct xattrs *x, int fd, bool by_link);
/** fs_xattrs_bytes() - what they take in a batch */
size_t fs_xattrs_bytes(const struct xattrs *x);

/* ---- fs_send.c ---- */

/** fs_send_pass() - the lists, then "that was pass @number" */
int fs_send_pass(struct fs *f, unsigned int number, struct err *e);

#endif
