/* SPDX-License-Identifier: GPL-2.0-or-later */
/* engine.h - process state by CRIU, memory by us: tracker, page store, pager. */
#ifndef HAUL_ENGINE_H
#define HAUL_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

#define ENG_PAGE_BYTES 4096u
#define ENG_PAGE_SHIFT 12

/* An object is what pages belong to: a task's address space or shared memory. */
#define OBJ_TASK(pid) (((uint64_t)(pid) << 8) | 1)
#define OBJ_SHMEM(id) (((uint64_t)(id) << 8) | 2)
#define OBJ_TYPE(obj) ((unsigned int)((obj)&0xff))
#define OBJ_ID(obj)   ((obj) >> 8)

/* ---- runs.c: ascending lists of page runs ---- */

struct run {
	uint64_t vaddr; /* page aligned */
	uint64_t pages;
};

struct runs {
	struct run *v;
	size_t n, cap;
	uint64_t pages; /* sum */
};

/** runs_add() - append; merges with the last run when adjacent. Return: 0; -ENOMEM */
int runs_add(struct runs *r, uint64_t vaddr, uint64_t pages);
/** runs_find() - the run that holds @vaddr, or the first behind it; r->n if none */
size_t runs_find(const struct runs *r, uint64_t vaddr);
void runs_fini(struct runs *r);
static inline void auto_runs(struct runs *r)
{
	runs_fini(r);
}

/* ---- procs.c: what /proc says about a tree ---- */

struct proc_list {
	pid_t *pid; /* parents before children */
	size_t n, cap;
};

/** procs_tree() - @root and all its descendants (zombies included) */
int procs_tree(pid_t root, struct proc_list *out, struct err *e);
void procs_fini(struct proc_list *l);
/** procs_start() - when @pid began, in ticks since boot: tells a pid from its next use */
uint64_t procs_start(pid_t pid);
/** procs_parent() - 0: it is gone, or its parent is not to be seen from here */
pid_t procs_parent(pid_t pid);
/** procs_state() - R, S, D, T, Z, ...; 0: it is gone */
char procs_state(pid_t pid);
/** procs_lives() - neither gone nor a zombie */
bool procs_lives(pid_t pid);
/** procs_cpu_us() - CPU time that the tree of @root has used, with children that are gone */
uint64_t procs_cpu_us(pid_t root);
/** procs_tracer() - who traces its first thread; 0: nobody, or it is gone */
pid_t procs_tracer(pid_t pid);
/** procs_spare() - be it the last that the kernel ends in want of memory; takes CAP_SYS_RESOURCE */
void procs_spare(pid_t pid);
/** procs_pends() - has it this signal, and not acted on it yet? */
bool procs_pends(pid_t pid, int sig);
/** procs_end_tree() - stop all of it first, so that nothing is born meanwhile; then kill. @killed: what lived */
int procs_end_tree(pid_t root, unsigned int *killed, struct err *e);

enum vma_kind {
	VMA_ANON_PRIVATE, /* heap and stacks too */
	VMA_FILE_PRIVATE,
	VMA_SHARED, /* files, memfd, SysV, anonymous shared */
	VMA_SPECIAL, /* vdso, vvar, vsyscall: never tracked */
};

struct vma {
	uint64_t start, end;
	uint64_t inode, offset;
	uint32_t dev_major, dev_minor;
	char prot[5]; /* as in maps: rwxp */
	enum vma_kind kind;
};

struct vma_list {
	struct vma *v;
	size_t n, cap;
};

/** procs_maps() - /proc/PID/maps. Return: 0; -ESRCH gone */
int procs_maps(pid_t pid, struct vma_list *out, struct err *e);
void vmas_fini(struct vma_list *l);

/* ---- direct.c: who reads into its memory past the page tables ---- */

/* DIRECT_SYNC: while its threads are held no read is under way; DIRECT_AIO: one may be. */
enum direct_io { DIRECT_NONE, DIRECT_SYNC, DIRECT_AIO };

/** direct_io() - has it a file open with O_DIRECT, and native AIO beside it? */
enum direct_io direct_io(pid_t pid);

struct rings;

/** rings_find() - the AIO contexts of those that have files open with O_DIRECT, too; @out: NULL: none */
int rings_find(struct rings **out, const pid_t *pid, size_t n, struct err *e);
/**
 * rings_settle() - the processes stand: wait until no request is answered any more
 *
 * What a device does later than a quarter of a second after the one before is not waited for.
 * Return: 0; -EBUSY at @deadline_us
 */
int rings_settle(struct rings *r, uint64_t deadline_us, struct err *e);
/** rings_same() - has none been answered since? Then memory and answers belong together. Return: 0; -EBUSY */
int rings_same(struct rings *r, struct err *e);
void rings_free(struct rings *r);
DEFINE_AUTO(rings, rings_free)

/* ---- inject.c: one system call inside a running process ---- */

/**
 * inject_uffd() - make a userfaultfd of the process's memory, owned by us
 * @fd_out: ours; nothing stays open in the process
 *
 * Stops all threads of the process for a fraction of a millisecond (PTRACE_SEIZE,
 * seccomp suspended), runs userfaultfd(O_CLOEXEC|O_NONBLOCK|UFFD_USER_MODE_ONLY)
 * and close() at a syscall instruction of its vdso (no text is changed), and puts
 * everything back, interrupted system calls restarted included.
 * Return: 0; -ESRCH gone; -EBUSY traced by someone else; -EMFILE; -ENOTSUP;
 *         on failure the process is as it was.
 */
int inject_uffd(pid_t pid, int *fd_out, struct err *e);

/* ---- tracker.h part: which pages were written since they were last seen ---- */

/*
 * TRK_WP_ASYNC: PAGEMAP_SCAN over memory that is write-protected by userfaultfd (kernel 6.7);
 * exact to the page, huge pages are split at the first write, and nothing stops.
 * TRK_SOFT_DIRTY: bits of /proc/PID/pagemap, cleared by clear_refs (CONFIG_MEM_SOFT_DIRTY). A
 * process is held while its bits are read and cleared. No write is lost, but a write to a huge
 * page reports all of it (512 pages).
 * TRK_NONE: no rounds; the last look says what is there.
 */
enum trk_kind { TRK_NONE, TRK_WP_ASYNC, TRK_SOFT_DIRTY };

struct trk;

/* What trk_final() knows of a run; rounds always report TRK_PRESENT|TRK_DIRTY. */
#define TRK_PRESENT BIT(0)
#define TRK_DIRTY   BIT(1) /* written since the last round, or never seen */
#define TRK_ZERO    BIT(2) /* the kernel's zero page: reads as zero */
#define TRK_FILE    BIT(3) /* page of a file, not (yet) a private copy */

/**
 * trk_emit_fn - receives runs in ascending order per process
 * @pid:  the process (as we see it)
 * Return: 0 to go on, -errno to end the round with that error
 */
typedef int (*trk_emit_fn)(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr,
                           uint64_t pages, unsigned int flags);

struct trk_stats {
	uint64_t dirty_pages; /* reported by this round */
	uint64_t tracked_pages; /* present pages in tracked mappings (first round) */
	unsigned int procs; /* tracked processes */
	unsigned int procs_untracked;
	unsigned int vmas_untracked;
	uint64_t scan_us;
	uint64_t stopped_us; /* longest stop of one process so far */
};

/** trk_probe() - does this kernel have the back end? Return: 0; -ENOTSUP */
int trk_probe(enum trk_kind kind, struct err *e);
/** trk_best() - the one to use here */
enum trk_kind trk_best(void);
/** trk_kind_name() - "scan", "soft-dirty", "none" */
const char *trk_kind_name(enum trk_kind kind);
/** trk_criu_scans() - does this kernel have the call by which a newer CRIU finds pages? */
bool trk_criu_scans(void);

/**
 * trk_new() - nothing is touched before the first round
 * @root: the tree; new children are found at each round
 */
int trk_new(struct trk **out, pid_t root, enum trk_kind kind, struct err *e);

/**
 * trk_own() - before anything moves: nobody else tracks the tree, now and until trk_release()
 * Children that come later follow at each round; one that somebody else has is not tracked.
 * Return: 0; -EBUSY with who and a remedy in @e
 */
int trk_own(struct trk *t, struct err *e);

/**
 * trk_round() - report every page written since the last round, and re-arm it
 *
 * Atomic per page: a page is re-armed before it is reported, so a write after
 * that shows up in the next round; read the page after it was reported.
 * The first round of a mapping reports all its pages (present or swapped, not the
 * zero page, not unmodified file pages). Mappings and processes that
 * came since are included; those that went are dropped without error. A mapping
 * that cannot be tracked is not reported at all (trk_final will).
 */
int trk_round(struct trk *t, trk_emit_fn emit, void *arg, struct trk_stats *st, struct err *e);

/**
 * trk_strayed() - pages that are not where they were at the last round
 * Memory that lies at its old address at each round, and elsewhere in between, may have its marks as
 * they were (soft-dirty; mremap by whole page tables), and something else was read in its place. So a
 * page counts as read if this does not name it before it is read, nor afterwards.
 * @places: of trk_places(), of this process
 * @out: set where one is; the others are left as they are. From any thread, while no round runs.
 */
void trk_strayed(struct trk *t, pid_t pid, int places, uint64_t vaddr, size_t pages, bool *out);
/** trk_places() - Return: a descriptor for trk_strayed(), which takes it; -1: none ever is */
int trk_places(const struct trk *t, pid_t pid);

/**
 * trk_final() - the tree is stopped: report every present or swapped page of all
 * private mappings with flags; nothing is re-armed
 * Pages of mappings that are not registered with the tracker (any more) are
 * TRK_DIRTY. Works also for a process that was never tracked.
 */
int trk_final(struct trk *t, trk_emit_fn emit, void *arg, struct trk_stats *st, struct err *e);

/** trk_release() - undo all registrations, keep @t for statistics */
void trk_release(struct trk *t);
void trk_free(struct trk *t);
DEFINE_AUTO(trk, trk_free)

/* ---- mem.c: read memory of another process ---- */

/**
 * mem_read() - read whole pages, also without PROT_READ
 * @fd: /proc/PID/mem
 * Return: pages read (short where a mapping went away), -ESRCH when the
 * process is gone
 */
int mem_open(pid_t pid, struct err *e);
ssize_t mem_read(int fd, pid_t pid, uint64_t vaddr, void *buf, size_t pages);

/* ---- store.c: pages that have arrived, one sparse memfd per object ---- */

/*
 * The file offset of a page is its address, so rounds land in their place and a
 * second process can map the same store. Thread-safe.
 */
struct store;
struct sobj;

/* PAGE_STALE is PAGE_ABSENT whose memory is not yet given back. */
enum page_state { PAGE_ABSENT = 0, PAGE_DATA = 1, PAGE_ZERO = 2, PAGE_STALE = 3 };

int store_new(struct store **out, struct err *e);
/** store_obj() - find, or make when @create. Return: NULL if not there/no memory */
struct sobj *store_obj(struct store *s, uint64_t obj, bool create);
/** sobj_write() - @pages pages of @data to their place; state becomes PAGE_DATA */
int sobj_write(struct sobj *o, uint64_t vaddr, const void *data, size_t pages, struct err *e);
/** sobj_zero() - pages that read as zero: kept as a state, no memory */
int sobj_zero(struct sobj *o, uint64_t vaddr, size_t pages, struct err *e);
/** sobj_drop() - forget pages and free their memory */
void sobj_drop(struct sobj *o, uint64_t vaddr, uint64_t pages);
/**
 * sobj_keep_only() - forget all pages outside @keep (ascending); quick: their memory
 * is given back by store_sweep(), which is for when nobody waits
 */
void sobj_keep_only(struct sobj *o, const struct runs *keep);
void store_sweep(struct store *s);
enum page_state sobj_state(const struct sobj *o, uint64_t vaddr);
/** sobj_span() - length in pages (at most @max) of equal state from @vaddr on */
size_t sobj_span(const struct sobj *o, uint64_t vaddr, size_t max, enum page_state *st);
/** sobj_read() - copy out; PAGE_ZERO reads as zero. -ENODATA where absent */
int sobj_read(const struct sobj *o, uint64_t vaddr, void *buf, size_t pages, struct err *e);
int sobj_fd(const struct sobj *o);
/**
 * store_adopt() - an object whose file a dead process has left; @fd: taken
 * Every page that the file holds is PAGE_DATA, all others PAGE_ABSENT.
 */
int store_adopt(struct sobj **out, struct store *s, uint64_t obj, int fd, struct err *e);
/** sobj_trim() - drop the data that @keep does not want */
void sobj_trim(struct sobj *o, bool (*keep)(void *arg, uint64_t vaddr), void *arg);
uint64_t store_data_pages(const struct store *s); /* memory held, in pages */
uint64_t store_peak_pages(const struct store *s); /* the most it ever was */
void store_free(struct store *s);
DEFINE_AUTO(store, store_free)

/* ---- guard.c: processes that hold what the pager holds, and go on when it dies ---- */

/*
 * Two guardians share the table of descriptors with the process that calls
 * guard_start() (so no userfaultfd closes with it, and none can be missed), and the
 * memory in which the pager keeps what it must not lose. When that process dies after
 * guard_arm(), one of them becomes its successor and the other gets a new guardian
 * behind it; dying before, it takes nothing with it but is undone: all descriptors close.
 */
struct guard;
struct arena;
struct pbook;

#define GUARD_USER_BYTES 4096u

struct guard_ops {
	/* In the successor: one thread, memory as at guard_start(). Return: exit status */
	int (*succeed)(void *arg, struct guard *g);
	void *arg;
	/* In one guardian, which ends then: the worker died before guard_arm(). May be NULL */
	void (*undone)(void *arg, struct guard *g);
};

/** guard_new() - memory to share; who has it before the fork can look in from outside */
int guard_new(struct guard **out, struct err *e);
void guard_free(struct guard *g);
DEFINE_AUTO(guard, guard_free)
/** guard_start() - early: one thread only, little memory. Guardians run at return */
int guard_start(struct guard *g, const struct guard_ops *ops, struct err *e);
/** guard_user() - shared memory of the caller, zeroed at first */
void *guard_user(struct guard *g);
/** guard_keep() / guard_unkeep() - a descriptor that the successor needs, too */
void guard_keep(struct guard *g, int fd);
void guard_unkeep(struct guard *g, int fd);
/** guard_arm() - from now on there is a successor: just before the commit */
void guard_arm(struct guard *g);
/** guard_complete() - no page is missing any more: the tree does not need us */
void guard_complete(struct guard *g);
bool guard_completed(const struct guard *g);
/** guard_over() - all has been said, too (or all is undone): guardians may go */
void guard_over(struct guard *g);
/**
 * guard_watched() - give a socket whose other end somebody watches a high number
 * As a process ends its files close from the highest number down, so he hears of it
 * just before the userfaultfds close. Return: the new number (the old is closed)
 */
int guard_watched(int fd);
/** guard_tree() - whom it is all about, before guard_arm() */
void guard_tree(struct guard *g, pid_t root);
/**
 * guard_end_tree() - from outside, when all who served are dead: where pages may be
 * missing, the tree is stopped and killed, for it would read zeros in their place
 * @killed: out: processes
 * Return: 0; -ESRCH its first process is gone (what it left behind is not found)
 */
int guard_end_tree(struct guard *g, unsigned int *killed, struct err *e);
/** guard_deaths() - how often a successor was needed */
unsigned int guard_deaths(const struct guard *g);
/** guard_alone() - in who serves: does nobody stand behind it? For a moment that is normal */
bool guard_alone(const struct guard *g);
/** guard_pids() - who serves, then those behind; for tests and operators. Return: how many */
unsigned int guard_pids(const struct guard *g, pid_t *v, unsigned int max);
/** guard_close_rest() - all descriptors but kept ones, 0 to 2, and those of @ours */
int guard_close_rest(struct guard *g, bool (*ours)(void *arg, int fd), void *arg, struct err *e);
struct arena *guard_arena(struct guard *g);
struct pbook *guard_book(struct guard *g);

/* ---- pager.c: userfaultfd server for the restored tree ---- */

struct pager;

struct pager_ops {
	/*
	 * Ask the source for pages at once. Called from the pager's threads; must
	 * not block for long; each page is asked for once.
	 */
	int (*want)(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages);
	void *arg;
};

#define PAGER_FAULT_BOUNDS 11
extern const uint32_t pager_fault_le_us[PAGER_FAULT_BOUNDS];

struct pager_stats {
	uint64_t lazy_pages; /* at the start */
	uint64_t left_pages; /* not yet in place */
	uint64_t left_remote_pages; /* of these, not yet here */
	uint64_t faults; /* threads that waited */
	uint64_t faults_remote; /* of these, for the source */
	uint32_t fault_p50_us, fault_p99_us, fault_max_us;
	uint64_t fault_n[PAGER_FAULT_BOUNDS + 1]; /* by pager_fault_le_us */
	unsigned int procs_live; /* userfaultfds still served */
	bool failed; /* see err of pager_wait() */
};

int pager_new(struct pager **out, struct store *s, const struct pager_ops *ops, struct err *e);

/** pager_warm() - have the memory there that page states of @rss_bytes take; before the freeze */
void pager_warm(struct guard *g, uint64_t rss_bytes);

/** pager_new_guarded() - one that a successor can take over */
int pager_new_guarded(struct pager **out, struct guard *g, struct store *s,
                      const struct pager_ops *ops, struct err *e);

/**
 * pager_adopt() - in the successor: go on where the dead one was
 * @s: new and empty; gets the dead one's files
 * All descriptors that neither the pager needs nor guard_keep() named are closed.
 * Faults on what is in the store are served from now on, and it is filled in the
 * background. What is at the source is asked for by ops->want when a thread needs it;
 * where that fails (no link yet) the thread waits until pager_ask_again().
 */
int pager_adopt(struct pager **out, struct guard *g, struct store *s, const struct pager_ops *ops,
                struct err *e);

/**
 * pager_add() - before the restore: what is lazy in this process
 * @local:  pages whose content is in the store (data or zero)
 * @remote: pages that the source still has; both ascending and disjoint
 */
int pager_add(struct pager *p, pid_t pid, const struct runs *local, const struct runs *remote,
              struct err *e);

/**
 * pager_start() - bind lazy-pages.socket in @dirfd, start the threads; faults are
 * served from the first userfaultfd on (criu-internals 5)
 * @procs: tasks that CRIU will announce (zombies included)
 */
int pager_start(struct pager *p, int dirfd, unsigned int procs, struct err *e);

/**
 * pager_announced() - at the gate, before guard_arm(): until the userfaultfds of all tasks
 * are ours. CRIU sends them and waits for no answer; one that were still on its way when
 * we die would be lost.
 */
int pager_announced(struct pager *p, uint64_t deadline_us, struct err *e);

/** pager_push() - from now on fill in the background too (after the commit) */
void pager_push(struct pager *p);
/**
 * pager_settled() - behind pager_push(): until nothing comes into the store any more, a moment.
 * Before that no store_sweep(): a page may just be written over its older copy, which looks stale.
 * Return: false: the pager ends
 */
bool pager_settled(struct pager *p);

/**
 * pager_deliver() - remote pages have come (any thread)
 * @data: NULL for pages that are zero
 * Pages which are no longer wanted (discarded, unmapped, twice) are ignored.
 */
int pager_deliver(struct pager *p, uint64_t obj, uint64_t vaddr, size_t pages, const void *data,
                  struct err *e);

/* @pages pages of @obj from @vaddr on are still at the source */
typedef int (*pager_missing_fn)(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages);
/**
 * pager_missing() - after the link was lost: every page that only the source has
 * Return: 0, or what @fn returned. No pager_deliver() may be under way.
 */
int pager_missing(struct pager *p, pager_missing_fn fn, void *arg);
/** pager_ask_again() - pager_ops.want for every page that a thread waits for */
void pager_ask_again(struct pager *p);

/**
 * pager_wait() - until every page is in place (0), -ETIMEDOUT, or the failure
 * that stopped the pager (its userfaultfds then stay open: threads wait, nobody
 * reads zeros)
 */
int pager_wait(struct pager *p, uint64_t deadline_us, struct err *e);
void pager_get_stats(struct pager *p, struct pager_stats *st);

/**
 * pager_free() - stop threads, close the userfaultfds. Only when pager_wait()
 * said 0 or the restored processes are dead: closing earlier lets them read zeros.
 */
void pager_free(struct pager *p);
DEFINE_AUTO(pager, pager_free)

#endif
