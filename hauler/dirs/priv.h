/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - shared by the files of hauler/dirs. */
#ifndef HAUL_HAULER_FS_PRIV_H
#define HAUL_HAULER_FS_PRIV_H

#include <limits.h>
#include <pthread.h>
#include <sys/queue.h>
#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hauler/dirs/dirs.h"
#include "transport/msg/batch.h"

#define DIRS_BLOCK_BYTES (16u << 10)

/* ---- fanotify.c: the kernel tells what changes ---- */

struct dirs_watch;

/** dirs_watch_new() - @out NULL: fanotify does not work here, for the reason in @why */
int dirs_watch_new(struct dirs_watch **out, struct err *why);
/** dirs_watch_mark() - watch the file system of @fd. Return: 0; -errno: it cannot be watched */
int dirs_watch_mark(struct dirs_watch *w, int fd, struct err *why);
/** dirs_watch_key() - the key (from its file handle) of @name in @dirfd. Return: 0; -errno */
int dirs_watch_key(int dirfd, const char *name, uint64_t fsid, XXH128_hash_t *out);
/**
 * dirs_watch_fsid() - identity of the file system of @fd, as fanotify reports it; 0: it has none
 */
uint64_t dirs_watch_fsid(int fd);
/** dirs_watch_add() - report changes of @obj from now on; call it before looking at the object */
int dirs_watch_add(struct dirs_watch *w, XXH128_hash_t key, void *obj);
/** dirs_watch_drop() - report no more changes of @obj */
void dirs_watch_drop(struct dirs_watch *w, XXH128_hash_t key, const void *obj);
/**
 * dirs_watch_take() - objects that have changed since the last call
 * @v: the caller's, free(). @all: events were lost, so anything may have changed
 */
int dirs_watch_take(struct dirs_watch *w, void ***v, size_t *n, bool *all, struct err *e);
void dirs_watch_free(struct dirs_watch *w);

/* ---- the model ---- */

struct dirs_name {
	LIST_ENTRY(dirs_name) in_dir, of_ino;
	struct dirs_ino *dir, *ino;
	struct dirs_name *replaces; /* had this name before, and still has it there */
	struct dirs_name *grave;
	bool there; /* at the destination */
	bool seen, vanished, dead;
	bool replaced; /* another one has its name now */
	char name[];
};

LIST_HEAD(dirs_names, dirs_name);

struct dirs_ino {
	struct dirs_root *root;
	struct dirs_ino *next; /* in the bucket */
	struct dirs_ino *grave;
	XXH128_hash_t key;
	struct stat st; /* at the last look; of a sent file: before it was read */
	struct dirs_names names, children;
	XXH128_hash_t *block; /* zero: a hole */
	size_t n_blocks, cap_blocks;
	bool sent, dirty, dead, due; /* due: send the metadata of this directory */
	uint32_t age_ms; /* how old its times were when it was sent */
};

struct dirs_root {
	const char *path;
	char there[PATH_MAX]; /* its path at the destination */
	uint32_t number;
	int fd;
	uint64_t fsid;
	struct dirs_ino *top;
	struct dirs_ino **bucket;
	size_t n_buckets, n_inos;
	uint64_t bytes, inodes; /* as first seen; bytes: allocated */
};

struct dirs_list {
	void **v;
	size_t n, cap;
};

struct dirs {
	const struct dirs_opts *opt;
	struct dirs_root root[DIRS_MAX];
	size_t n_roots;
	struct dirs_watch *watch; /* NULL: by times */
	struct dirs_stats st;
	bool leases; /* at the start of a pass: does any process hold a write lease? */
	unsigned int other_mounts; /* mount points in the directories */
	char other_mount[512]; /* one of them */

	/* the work of a pass, in this order */
	struct dirs_list scan; /* directories to read */
	struct dirs_list fresh; /* names that the destination lacks */
	struct dirs_list dirty; /* inodes to compare */
	struct dirs_list gone; /* names that are gone here */
	struct dirs_list due; /* directories */
	struct dirs_mapped *mapped; /* at the last look; see open_files.c */
	size_t n_mapped;
	struct dirs_name *dead_names;
	struct dirs_ino *dead_inos;

	/* sending */
	struct chan *ch;
	struct send *send; /* limits the bandwidth */
	uint64_t deadline_us; /* 0: the tree runs */
	Haul__TreeOp **op;
	size_t n_ops;
	uint8_t *arena;
	size_t used;
	uint8_t *buf;
	uint64_t seed; /* of digests, so that no two files can be prepared to collide */

	pthread_t thread; /* the last pass */
	bool running, joined;
	struct err err;
	int result;
	bool stop; /* atomic */
};

/** dirs_list_add() - append @p. Return: 0; -ENOMEM */
int dirs_list_add(struct dirs_list *l, void *p);

/* ---- inodes.c ---- */

/** dirs_find() - the inode with this number; NULL: it is not known */
struct dirs_ino *dirs_find(const struct dirs_root *r, ino_t ino);
/** dirs_ino_new() - make one; it replaces an older one with the same number */
struct dirs_ino *dirs_ino_new(struct dirs *f, struct dirs_root *r, const struct stat *st,
                              XXH128_hash_t key);
/** dirs_name_new() - make a name of @ino in @dir. NULL: no memory */
struct dirs_name *dirs_name_new(struct dirs_ino *dir, struct dirs_ino *ino, const char *name);
/** dirs_forget() - drop a name, all below it, and inodes without a name; dirs_bury() frees them */
void dirs_forget(struct dirs *f, struct dirs_name *n);
/** dirs_bury() - free what dirs_forget() has dropped */
void dirs_bury(struct dirs *f);
/** dirs_path() - path of @n, relative to the root. Return: its length; -ENAMETOOLONG; -ESTALE */
int dirs_path(const struct dirs_name *n, char out[BATCH_PATH_MAX_BYTES + 1]);
/** dirs_ino_path() - a path of @i; @there: one that the destination has */
int dirs_ino_path(const struct dirs_ino *i, bool there, char out[BATCH_PATH_MAX_BYTES + 1]);
void dirs_table_free(struct dirs_root *r);
/** dirs_open() - open @path in the root: through no symbolic link, into no other file system */
int dirs_open(const struct dirs_root *r, const char *path, int flags);

/* ---- scan.c ---- */

/** dirs_scan() - read the directories in f->scan, and new ones below them */
int dirs_scan(struct dirs *f, struct err *e);
/** dirs_look_all() - without a watch: compare the times of every file */
int dirs_look_all(struct dirs *f, struct err *e);
/** dirs_mark_dirty() - the next pass looks at @i. Return: 0; -ENOMEM */
int dirs_mark_dirty(struct dirs *f, struct dirs_ino *i);
/** dirs_looks_same() - are all fields equal that a change would show in? */
bool dirs_looks_same(const struct stat *a, const struct stat *b);
/** dirs_age_ms() - since its times were set; of those that are young they cannot tell it from a later state */
uint32_t dirs_age_ms(const struct stat *st);
/** dirs_top() - add the top directory of a root */
int dirs_top(struct dirs *f, struct dirs_root *r, struct err *e);

/* ---- hash.c ---- */

/** dirs_digest() - digest of a block, never zero: that is a hole's */
XXH128_hash_t dirs_digest(const struct dirs *f, const uint8_t *data, size_t n);
/** dirs_read_at() - read @n bytes at @at. Return: bytes, fewer only at the end of the file; -errno */
ssize_t dirs_read_at(int fd, uint8_t *buf, size_t n, uint64_t at);
/**
 * dirs_changed() - find the blocks from @at (aligned) to @end that differ from i->block, on all processors
 * @changed: out, a byte for each block
 * Return: 0; -ECANCELED
 */
int dirs_changed(const struct dirs *f, const struct dirs_ino *i, int fd, uint64_t at, uint64_t end,
                 uint8_t *changed);

/* ---- open_files.c ---- */

/**
 * dirs_mark_open() - mark the files that the process tree may have changed without an event
 * @first: nothing was sent yet, so only remember mappings
 */
int dirs_mark_open(struct dirs *f, pid_t root_pid, bool first, struct err *e);

/* ---- xattr.c ---- */

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

/** dirs_read_xattrs() - @by_link: @fd is O_PATH. Return: 0; -errno */
int dirs_read_xattrs(struct xattrs *x, int fd, bool by_link);
/** dirs_xattrs_bytes() - how many bytes they take in a batch */
size_t dirs_xattrs_bytes(const struct xattrs *x);

/* ---- send.c ---- */

/** dirs_send_pass() - send the work lists, then the end of pass @number */
int dirs_send_pass(struct dirs *f, unsigned int number, struct err *e);

#endif
