/* SPDX-License-Identifier: GPL-2.0-or-later */
/* criu.h - engine's second half: CRIU over RPC, its page stream, its images. */
#ifndef HAUL_ENGINE_CRIU_H
#define HAUL_ENGINE_CRIU_H

#include "engine/engine.h"

/* ---- criu.c: one `criu swrk` process and its RPC ---- */

struct criu;

/* CRIU's notification scripts and final answers, parsed once, here. */
enum criu_event {
	CRIU_EV_NONE,
	CRIU_EV_PRE_DUMP, /* dump: options accepted, nothing stopped yet */
	CRIU_EV_NETWORK_LOCK,
	CRIU_EV_QUERY_EXT_FILES, /* dump: tree is stopped */
	CRIU_EV_POST_DUMP, /* dump: images complete, tree held by ptrace */
	CRIU_EV_NETWORK_UNLOCK,
	CRIU_EV_PRE_RESTORE, /* restore: nothing forked yet */
	CRIU_EV_SETUP_NS,
	CRIU_EV_POST_SETUP_NS,
	CRIU_EV_POST_RESTORE, /* restore: the gate; no user code has run */
	CRIU_EV_PRE_RESUME,
	CRIU_EV_POST_RESUME,
	CRIU_EV_OTHER, /* a notification that we let pass */
	CRIU_EV_DONE, /* final answer: success */
	CRIU_EV_FAILED, /* final answer: refused; see the error */
};

/* Files without a name travel in the images, up to so much each; more would fill the memory. */
#define CRIU_GHOST_MAX_BYTES (1u << 30)
/* A descriptor that takes a file's place in a restore. */
struct criu_inherit {
	char key[64]; /* the file's name, as CRIU calls it */
	int fd; /* ours; criu_spawn_with() gives CRIU a copy */
};

#define CRIU_INHERIT_MAX 32

struct criu_opts {
	const char *parent; /* dump: of img_parent(); NULL: all pages are streamed */
	int images_fd; /* directory, ours; must stay open */
	pid_t pid; /* dump: root of the tree */
	bool tcp_close; /* drop TCP connections instead of moving them */
	bool shell_job;
	bool ext_unix;
	bool file_locks;
	const char *log_name; /* file in images_fd */
	unsigned int version; /* of this CRIU */
	char *const *external; /* dump: of these it may leave the other end */
	size_t n_external;
	const struct criu_inherit *inherit; /* restore: as for criu_spawn_with() */
	size_t n_inherit;
};

/**
 * criu_leaves_stopped() - does this CRIU leave the tree stopped after a dump?
 * One that cannot (before 4.0) is told to let it go on: who wants it stopped sends SIGSTOP
 * before the last answer to the dump, when all threads stand still by ptrace.
 */
bool criu_leaves_stopped(unsigned int version);

/**
 * criu_spawn() - start `PATH swrk`, idle until asked
 * @page_fd: one end of a socketpair for the page stream, or -1; not taken
 */
int criu_spawn(struct criu **out, const char *path, int page_fd, struct err *e);

/** criu_spawn_with() - one that will restore, with copies of the descriptors of @v */
int criu_spawn_with(struct criu **out, const char *path, const struct criu_inherit *v, size_t n,
                    struct err *e);

/**
 * criu_spawn_scanned() - the same, with CRIU's page scans handed to us
 * @listener: out: for scans_start(); -1 where seccomp does not allow it
 */
int criu_spawn_scanned(struct criu **out, const char *path, int page_fd, int *listener,
                       struct err *e);

/**
 * criu_spawn_rooted() - for a restore of a tree whose root directory is @root
 * In a mount namespace of its own, with a /proc in @root; the tree will live in it.
 */
int criu_spawn_rooted(struct criu **out, const char *path, const char *root,
                      const struct criu_inherit *v, size_t n, struct err *e);

/** criu_version() - as one number: 40201 for 4.2.1; asks the running CRIU */
int criu_version(struct criu *c, unsigned int *version, uint64_t deadline_us, struct err *e);
/** criu_has_lazy() - restore with userfaultfd possible on this host? */
int criu_has_lazy(struct criu *c, bool *yes, uint64_t deadline_us, struct err *e);

/** criu_cpuinfo() - dump cpuinfo.img into @images_fd, or check the one there */
int criu_cpuinfo(const char *path, int images_fd, bool check, uint64_t deadline_us, struct err *e);

/** criu_dump() - ask for a push-mode dump that leaves the tree stopped */
int criu_dump(struct criu *c, const struct criu_opts *o, struct err *e);
/** criu_restore() - ask for a restore with lazy pages, held at the gate */
int criu_restore(struct criu *c, const struct criu_opts *o, struct err *e);

/**
 * criu_next() - wait for the next event
 * @pid: out, may be NULL: root of the restored tree at POST_RESTORE and DONE
 * Return: 0 and *ev (CRIU_EV_FAILED sets @e from CRIU's own log lines);
 * -ETIMEDOUT; -ECANCELED after criu_cancel(); -ECONNRESET CRIU died
 */
int criu_next(struct criu *c, enum criu_event *ev, pid_t *pid, uint64_t deadline_us, struct err *e);
/** criu_reply() - answer a notification; false refuses */
int criu_reply(struct criu *c, bool ok, struct err *e);
/**
 * criu_pump() - answer every notification with yes until @want comes
 * Events that are final end it with an error unless wanted.
 */
int criu_pump(struct criu *c, enum criu_event want, pid_t *pid, uint64_t deadline_us,
              struct err *e);
/** criu_rpc() - our end of its socket, for a process that may have to go on with it */
int criu_rpc(const struct criu *c);
/** criu_adopt() - one that another process has spawned; @rpc: taken */
int criu_adopt(struct criu **out, int rpc, pid_t pid, struct err *e);
/** criu_cancel() - from any thread: criu_next() returns -ECANCELED from now on */
void criu_cancel(struct criu *c);
pid_t criu_pid(const struct criu *c);
/** criu_free() - hang up, give it 2 s to end by itself, then kill; reap */
void criu_free(struct criu *c);
DEFINE_AUTO(criu, criu_free)

/** criu_errors() - the first "Error" lines of a CRIU log, joined, in @out */
void criu_errors(int images_fd, const char *log_name, char *out, size_t bytes);
/**
 * criu_why() - the cause of a refusal: those lines; else @errmsg, CRIU's own one-line
 * message, unless that is about something harmless; else what kept it from writing
 * @pid: of CRIU, for its limits; 0: not known
 */
void criu_why(int images_fd, const char *log_name, const char *errmsg, pid_t pid, char *out,
              size_t bytes);

/* ---- hwbreak.c: machines whose hardware breakpoints are never hit ---- */

/** hwbreak_env() - the environment for CRIU; ours, or with a word that it does without them. Static */
char **hwbreak_env(void);

/* ---- sink.c: what CRIU streams in push mode ---- */

struct sink;

/* pagemap flags of CRIU */
#define PE_PARENT  1u
#define PE_LAZY    2u
#define PE_PRESENT 4u

struct sink_obj {
	uint64_t obj;
	struct runs lazy; /* may be brought after the resume */
	struct runs eager; /* must be there before the first instruction */
	struct runs clean; /* left out by CRIU, with sink_ops.parent: lazy or eager */
};

struct sink_ops {
	/* pages of shared memory, as they come; data is borrowed */
	int (*shmem)(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages);
	/* the same for pages of tasks; NULL: they pass unread */
	int (*task)(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages);
	/* say that an earlier dump of each task is here: CRIU then names clean pages only */
	bool parent;
	void *arg;
};

/**
 * sink_start() - a thread that answers CRIU's page stream
 * @fd:           our end of the socketpair; taken
 * @criu_version: decides the layout: 24-byte headers up to 4.1.1, 32 from 4.2
 * Task pages are only listed, not read; shared memory is handed to @ops.
 */
int sink_start(struct sink **out, int fd, unsigned int criu_version, const struct sink_ops *ops,
               struct err *e);
/** sink_wait() - until the thread has ended: stream complete (0) or why not; ERR_CRIU, ETIMEDOUT: not yet */
int sink_wait(struct sink *s, uint64_t deadline_us, struct err *e);
/** sink_objs() - after sink_wait() == 0 */
const struct sink_obj *sink_objs(const struct sink *s, size_t *n);
void sink_free(struct sink *s);
DEFINE_AUTO(sink, sink_free)

/** sink_head_parse() - one header of either layout; pure, for tests */
struct sink_head {
	unsigned int cmd, flags;
	uint64_t pages, vaddr, obj;
};
size_t sink_head_bytes(unsigned int criu_version);
void sink_head_parse(const uint8_t *raw, unsigned int criu_version, struct sink_head *h);

/* ---- img.c: image files ---- */

/** img_dir() - a tmpfs that is mounted nowhere: vanishes with its last descriptor */
int img_dir(int *fd, struct err *e);

/** img_load() - a whole file of @dirfd. *data is the caller's; at most @max bytes */
int img_load(int dirfd, const char *name, size_t max, uint8_t **data, size_t *bytes, struct err *e);
int img_save(int dirfd, const char *name, const void *data, size_t bytes, struct err *e);

/** img_save_at() - a part of it; at 0 what was there is gone */
int img_save_at(int dirfd, const char *name, uint64_t at, const void *data, size_t bytes,
                struct err *e);

/** img_name_ok() - a plain file name that CRIU images have; from a peer */
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

struct img_core {
	uint64_t rseq; /* address of the thread's rseq area; 0: none */
	bool stopped; /* was in state T before the dump (leader's image only) */
};
/** img_core() - core-TID.img of one thread */
int img_core(int dirfd, pid_t tid, struct img_core *out, struct err *e);

/**
 * img_vmas() - mm-PID.img; img_vmas_lazy(): may the mapping at @start be lazy?
 * CRIU's own rule (private, anonymous, not locked, not huge).
 */
struct img_vmas;
int img_vmas(int dirfd, pid_t pid, struct img_vmas **out, struct err *e);
bool img_vmas_lazy(const struct img_vmas *v, uint64_t start);
/** img_vmas_end() - where the mapping at @start ends, or what is between two */
uint64_t img_vmas_end(const struct img_vmas *v, uint64_t start);
/**
 * img_parent() - an inventory of an earlier dump which never was, with its pages at our end of the
 * stream: for criu_opts.parent. CRIU wants to see it before it believes soft-dirty bits.
 */
int img_parent(int dirfd, const char *name, struct err *e);
/** img_vmas_huge() - the next mapping that asks for huge pages. @at: 0 at first */
bool img_vmas_huge(const struct img_vmas *v, size_t *at, uint64_t *start, uint64_t *end);
void img_vmas_free(struct img_vmas *v);
/**
 * img_fit() - mappings of mm-PID.img that are longer than @bytes_max do not count as promised
 * memory (MAP_NORESERVE). CRIU maps what was PROT_NONE writable for a moment; more than it has of
 * memory and swap a kernel refuses then: 8 TiB that a database has reserved, for example
 */
int img_fit(int dirfd, pid_t pid, uint64_t bytes_max, struct err *e);
/**
 * img_forget_cgroups() - the tree comes into the cgroup of who restores it
 * CRIU writes cgroup.img when the tree is in others than CRIU itself, and would mount a tmpfs in its
 * folder of images to restore them, which nobody can in one that is mounted nowhere.
 */
void img_forget_cgroups(int dirfd);

/** Classes of pages in the final pagemap; also the wire's numbers. */
enum page_class { PC_LAZY_HERE = 0, PC_LAZY_REMOTE = 1, PC_EAGER = 2, PC_N = 3 };

struct class_run {
	uint64_t vaddr, pages;
	enum page_class class;
};
struct class_runs {
	struct class_run *v;
	size_t n, cap;
};
/** cruns_add() - append in ascending order, merging equal neighbours */
int cruns_add(struct class_runs *r, uint64_t vaddr, uint64_t pages, enum page_class class);
void cruns_fini(struct class_runs *r);
/** cruns_pack() / cruns_unpack() - varints: gap, pages, class. @out: caller frees */
int cruns_pack(const struct class_runs *r, uint8_t **out, size_t *bytes);
int cruns_unpack(const uint8_t *in, size_t bytes, struct class_runs *r, struct err *e);

/**
 * img_pagemap() - write pagemap-*.img and pages-ID.img for one object
 * @runs: its final pagemap; PC_EAGER pages are read from @o (its store)
 * @id:   number of the pages file, unique in the directory
 */
int img_pagemap(int dirfd, uint64_t obj, uint32_t id, const struct class_runs *runs,
                const struct sobj *o, struct err *e);

/* ---- img_root.c: another root directory ---- */

/**
 * root_map() - @path, which lies below the root directory @from, below @to; both absolute
 * Return: 0; -EXDEV it does not lie below @from; -ENAMETOOLONG
 */
int root_map(const char *path, const char *from, const char *to, char *out, size_t bytes);
/**
 * img_reroot() - files.img: every path below @from is one below @to
 * Return: 0; -EXDEV a path that is not below @from, -ENOTSUP a UNIX socket bound to a path
 */
int img_reroot(int dirfd, const char *from, const char *to, struct err *e);

#endif
