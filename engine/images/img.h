/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img.h - image files of CRIU. */
#ifndef HAUL_IMG_H
#define HAUL_IMG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"
#include "engine/images/class_runs.h"
#include "engine/store/store.h"

/** img_dir() - make a tmpfs that is not mounted; it vanishes with its last descriptor */
int img_dir(int *fd, struct err *e);

/** img_load() - a whole file of @dirfd. *data is the caller's; at most @max bytes */
int img_load(int dirfd, const char *name, size_t max, uint8_t **data, size_t *bytes, struct err *e);
/**
 * img_save() - write @bytes to the file @name of @dirfd, which is made or replaced. Return: 0;
 * -errno
 */
int img_save(int dirfd, const char *name, const void *data, size_t bytes, struct err *e);

/** img_save_at() - write a part of the file; @at 0 truncates it first */
int img_save_at(int dirfd, const char *name, uint64_t at, const void *data, size_t bytes,
                struct err *e);

/** img_name_ok() - is this name from the peer a plain file name as CRIU images have? */
bool img_name_ok(const char *name);

struct img_task {
	pid_t pid;
	unsigned int n_threads;
	pid_t *threads;
};
struct img_tree {
	struct img_task *v;
	size_t n;
};
/** img_tree() - pstree.img */
int img_tree(int dirfd, struct img_tree *out, struct err *e);
void img_tree_fini(struct img_tree *t);
static inline void auto_img_tree(struct img_tree *t)
{
	img_tree_fini(t);
}

struct img_core {
	uint64_t rseq; /* address of the thread's rseq area; 0: none */
	bool stopped; /* was in state T before the dump (leader's image only) */
};
/** img_core() - core-TID.img of one thread */
int img_core(int dirfd, pid_t tid, struct img_core *out, struct err *e);
/**
 * img_rseq_pages() - addresses of the pages with the rseq areas of a task's threads, ascending: the
 *                    restorer writes them before the gate
 * @out: the caller's
 */
int img_rseq_pages(int dirfd, const struct img_task *t, uint64_t **out, size_t *n, struct err *e);

/**
 * img_vmas() - mm-PID.img; img_vmas_lazy(): may the mapping at @start be lazy?
 * CRIU's own rule (private, anonymous, not locked, not huge).
 */
struct img_vmas;
/** img_vmas() - read mm-PID.img. *out: caller frees. Return: 0; -errno with a reason */
int img_vmas(int dirfd, pid_t pid, struct img_vmas **out, struct err *e);
/** img_vmas_lazy() - may the pages of the mapping that contains @start come after the resume? */
bool img_vmas_lazy(const struct img_vmas *v, uint64_t start);
/** img_vmas_end() - end of the mapping at @start, or of the gap there */
uint64_t img_vmas_end(const struct img_vmas *v, uint64_t start);
/**
 * img_parent() - write the inventory of an earlier dump that never took place, for
 * criu_opts.parent. CRIU requires it before it trusts soft-dirty bits; the pages are at our end of
 * the stream.
 */
int img_parent(int dirfd, const char *name, struct err *e);
/** img_vmas_huge() - the next mapping that asks for huge pages. @at: 0 at first */
bool img_vmas_huge(const struct img_vmas *v, size_t *at, uint64_t *start, uint64_t *end);
void img_vmas_free(struct img_vmas *v);
/** img_dumpable() - may other processes of its user look into @pid? No, if it is not known */
bool img_dumpable(int dirfd, pid_t pid);
DEFINE_AUTO(img_vmas, img_vmas_free)
/**
 * img_fit() - mm-PID.img: give MAP_NORESERVE to mappings longer than @bytes_max
 * CRIU maps PROT_NONE memory writable for a moment, and the kernel refuses more than it has memory
 * and swap: for example 8 TiB that a database has reserved.
 */
int img_fit(int dirfd, pid_t pid, uint64_t bytes_max, struct err *e);
/**
 * img_forget_cgroups() - restore the tree into hauld's cgroup
 * CRIU writes cgroup.img when the tree's cgroups differ from its own; to restore them it would
 * mount a tmpfs in the directory of images, which is impossible because that is not mounted.
 */
void img_forget_cgroups(int dirfd);

/**
 * img_forget_parent_death() - no thread of @root is sent a signal (PR_SET_PDEATHSIG) when its parent
 * ends: that parent is not part of the tree, and CRIU, which takes its place, ends at once
 * Return: how many threads had one; -code of @e
 */
int img_forget_parent_death(int dirfd, const struct img_task *root, struct err *e);

/**
 * img_pagemap() - write pagemap-*.img and pages-ID.img for one object
 * @runs: its final pagemap; PC_EAGER pages are read from @o (its store)
 * @id:   number of the pages file, unique in the directory
 */
int img_pagemap(int dirfd, uint64_t obj, uint32_t id, const struct class_runs *runs,
                const struct sobj *o, struct err *e);

/* ---- img_files.c, img_calls.c: what CRIU loses, put into its images before it restores ---- */

/**
 * img_fit_timers() - files.img: periodic timerfds that have expired stay on
 * @great: out: an eventfd has a count of more than 32 bits: img_eventfds(). Return: 0; -errno
 */
int img_fit_timers(int dirfd, bool *great, struct err *e);

/** img_close_connections() - files.img: the sockets with these inodes are closed, the others move. Return: 0; -errno */
int img_close_connections(int dirfd, const uint64_t *inode, size_t n, struct err *e);

/* A UNIX socket whose file was renamed after it was bound: CRIU takes it for one without a file. */
struct img_rename {
	uint32_t inode; /* of the socket */
	char name[108]; /* where its file is now, as in sockaddr_un */
	uint32_t mode, uid, gid; /* of the file */
};
/** img_rename_sockets() - files.img: bind them to the new name. Return: 0; -errno */
int img_rename_sockets(int dirfd, const struct img_rename *v, size_t n, struct err *e);

/* A file that was opened by a name which it has lost, and which has another one: absolute paths */
struct img_relink {
	char *from, *to;
};
/** img_relink_files() - files.img: they are opened by the other name. Return: 0; -errno */
int img_relink_files(int dirfd, const struct img_relink *v, size_t n, struct err *e);

struct hold_call;

/* Time that a thread's interrupted system call still had to wait, in ns. */
struct img_left {
	pid_t tid;
	bool first; /* of its process */
	uint64_t sleep_ns; /* if it is a nanosleep(); 0: not known */
	uint64_t poll_ns; /* if it is a poll(); 0: not known */
	uint64_t new_maps; /* VM_ flags that new mappings of its process get */
	uint64_t block[2]; /* bytes 16 to 31 of the kernel's struct restart_block */
};
struct img_range {
	uint64_t start, end;
};
/**
 * img_unlock() - mm-PID.img: mappings that lie within one of the @n ranges are not locked, so that CRIU does not read
 * in all of their pages. Return: 0; -errno
 */
int img_unlock(int dirfd, pid_t pid, const struct img_range *v, size_t n, struct err *e);
/**
 * img_call_again() - core-TID.img: a system call that only the stop has interrupted is made again
 * CRIU lets it return EINTR, which a program without signal handlers never sees. Calls that are
 * changed: nanosleep(), poll(), futex() until a point in time, and without a time limit
 * epoll_wait(), semop(), sigtimedwait(). Others, and those whose time left is not known, stay.
 * One that a signal of the thread may have interrupted stays, too; of signals of the process see
 * img_signal_waits().
 * @left: of this thread, or NULL
 * Return: 1 it is made again; 0 it stays as it is; -errno
 */
int img_call_again(int dirfd, pid_t tid, const struct img_left *left, struct err *e);
/**
 * img_call_undo() - the same for a move that is undone: what the registers of the first thread of @pid have to be,
 * where CRIU's own calls in it have made the kernel forget the interrupted one
 * Return: 1 @out is to be set; 0; -errno
 */
int img_call_undo(int dirfd, pid_t pid, const struct img_left *left, struct hold_call *out,
                  struct err *e);
/**
 * img_signal_waits() - has process @pid a signal that no thread has taken? It may be the one that has
 * interrupted a call of any of its threads. Return: 0; -errno
 */
int img_signal_waits(int dirfd, pid_t pid, bool *yes, struct err *e);

/* ---- img_eventfds.c ---- */

/* An eventfd whose count CRIU cuts to 32 bits; @more: what is missing then */
struct img_eventfd {
	pid_t pid;
	int fd;
	uint64_t more;
};
/** img_eventfds() - from files.img. @out: the caller's. Return: 0; -errno */
int img_eventfds(int dirfd, struct img_eventfd **out, size_t *n, struct err *e);

/* ---- img_locks.c ---- */

enum img_lock_kind { IMG_LOCK_FLOCK, IMG_LOCK_POSIX, IMG_LOCK_OFD };

/* A lock on a file, as a process of the tree holds it. */
struct img_lock {
	enum img_lock_kind kind;
	short type; /* F_RDLCK, F_WRLCK */
	pid_t pid;
	int fd; /* of @pid */
	int64_t start, len; /* len 0: to the end; not of IMG_LOCK_FLOCK */
};
/** img_locks() - from filelocks.img, without leases. @out: an array of @n, the caller's. Return: 0; -errno */
int img_locks(int dirfd, struct img_lock **out, size_t *n, struct err *e);
/** img_locks_add() - filelocks.img: add locks that CRIU has missed. Return: 0; -errno */
int img_locks_add(int dirfd, const struct img_lock *v, size_t n, struct err *e);

/* ---- img_epolls.c ---- */

/* An epoll set that several processes have, and what it watches: descriptors of @pid. */
struct img_epoll {
	pid_t pid;
	int fd; /* the set */
	struct img_watch {
		uint32_t fd, events;
		uint64_t data;
	} * v;
	size_t n;
};
/**
 * img_take_epolls() - files.img: empty those sets that CRIU would fill in the wrong process
 * CRIU lets the process with the lowest number fill a set, whose descriptors may be others than those of the
 * process that the dump names. Once restored, each set has to be filled again: epolls_fill().
 * @out: an array of @n, for img_epolls_free(). Return: 0; -errno
 */
int img_take_epolls(int dirfd, struct img_epoll **out, size_t *n, struct err *e);
void img_epolls_free(struct img_epoll *v, size_t n);

/* ---- img_objects.c: shared memory that is here before CRIU is asked ---- */

/* The name of a memory file that CRIU makes of anonymous shared memory. */
#define IMG_OBJECT_NAME "/dev/zero"

/* A piece of shared memory of the images. */
struct img_object {
	uint64_t shmid; /* CRIU's number */
	uint64_t bytes; /* its size */
	uint64_t inode_id; /* its number in the images */
	uint32_t uid, gid, mode, seals;
	int fd; /* of the caller: what takes its place; -1: CRIU makes it */
};

/**
 * img_objects() - anonymous shared memory; not System V segments, huge pages, and other memory files
 * @out: the caller's; fd -1. Return: 0; -errno
 */
int img_objects(int dirfd, struct img_object **out, size_t *n, struct err *e);
/**
 * img_place_objects() - CRIU opens /proc/@pid/fd/FD for each of @v that has one, instead of making it
 * Return: 0; -errno
 */
int img_place_objects(int dirfd, const struct img_object *v, size_t n, pid_t pid, struct err *e);
/**
 * img_objects_differ() - no System V segment has the number of another piece of shared memory: the kernel makes
 * its ID its inode number, by which CRIU names the images of both. Also what no process has mapped.
 * Return: 0; -EBUSY two have one; -errno
 */
int img_objects_differ(int dirfd, struct err *e);

/* ---- img_ttys.c ---- */

#define IMG_PTS_MAX   256 /* terminals of a tree */
#define IMG_PTS_TRIES 32 /* CRIU opens this many terminals to get a number */
/**
 * img_renumber_ttys() - tty-info.img, files.img: other numbers for the terminals if one of theirs is taken on
 * this host. Return: 0; -errno
 */
int img_renumber_ttys(int dirfd, struct err *e);

/* ---- img_root.c: another root directory ---- */

/**
 * root_map() - translate @path from below the root directory @from to below @to; both absolute
 * Return: 0; -EXDEV it does not lie below @from; -ENAMETOOLONG
 */
int root_map(const char *path, const char *from, const char *to, char *out, size_t bytes);
/**
 * img_reroot() - files.img: move every path from below @from to below @to
 * Return: 0; -EXDEV a path that is not below @from, -ENOTSUP a UNIX socket bound to a path
 */
int img_reroot(int dirfd, const char *from, const char *to, struct err *e);

#endif
