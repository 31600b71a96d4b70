/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proc.h - what /proc says about processes, their memory, and a system call inside one. */
#ifndef HAUL_PROC_H
#define HAUL_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

/* ---- procs.c: what /proc says about a tree ---- */

struct proc_list {
	pid_t *pid; /* parents before children */
	size_t n, cap;
};

/** procs_tree() - @root and all its descendants (zombies included) */
int procs_tree(pid_t root, struct proc_list *out, struct err *e);
void procs_fini(struct proc_list *l);
static inline void auto_procs(struct proc_list *l)
{
	procs_fini(l);
}
/**
 * procs_start() - start time of @pid, in ticks since boot: tells it from a later process with the
 * same pid
 */
uint64_t procs_start(pid_t pid);
/** procs_now() - the time in the ticks of procs_start() */
uint64_t procs_now(void);
/** procs_parent() - 0: it is gone, or its parent is not visible in this pid namespace */
pid_t procs_parent(pid_t pid);
/** procs_state() - R, S, D, T, Z, ...; 0: it is gone */
char procs_state(pid_t pid);
/** procs_lives() - neither gone nor a zombie */
bool procs_lives(pid_t pid);
/** procs_ends() - has process @pid ended, or does it right now? Killed, or its memory is gone before its files */
bool procs_ends(pid_t pid);
/** procs_cpu_us() - CPU time used by the tree of @root, including children that have ended */
uint64_t procs_cpu_us(pid_t root);
/** procs_tracer() - the tracer of its first thread; 0: none, or it is gone */
pid_t procs_tracer(pid_t pid);
/** procs_copy_fd() - a copy of descriptor @fd of @pid. Return: the copy, the caller's; -errno, and errno */
int procs_copy_fd(pid_t pid, int fd);
/** procs_spare() - make @pid the OOM killer's last choice; needs CAP_SYS_RESOURCE */
void procs_spare(pid_t pid);
/** procs_pends() - is @sig pending for the process? */
bool procs_pends(pid_t pid, int sig);
/**
 * procs_end_tree() - stop the whole tree first, so that no process is born meanwhile; then kill
 * it. @killed: number of processes that were alive
 */
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

/* A long file of /proc is read in pieces of a page, which is the most the kernel gives: stdio asks for a quarter. */
#define PROCS_READ_BYTES 4096u

/** procs_maps() - /proc/PID/maps. Return: 0; -ESRCH gone */
int procs_maps(pid_t pid, struct vma_list *out, struct err *e);
void procs_vmas_fini(struct vma_list *l);
static inline void auto_vmas(struct vma_list *l)
{
	procs_vmas_fini(l);
}

/* ---- mem.c: read memory of another process ---- */

/**
 * mem_read() - read whole pages, also without PROT_READ
 * @fd: /proc/PID/mem
 * Return: pages read (short where a mapping went away), -ESRCH when the
 * process is gone
 */
int mem_open(pid_t pid, struct err *e);
/**
 * mem_read_shared() - the same of a process that may share pages since a fork; slower
 * process_vm_readv() pins a page, and for that the kernel gives the process a copy of its own (Linux 5.19): so reading
 * all would take the memory once for each process.
 */
ssize_t mem_read_shared(int fd, uint64_t vaddr, void *buf, size_t pages);
/** mem_read() - read @pages from @vaddr on. Return: pages read; 0: the first cannot be read; -ESRCH */
ssize_t mem_read(int fd, pid_t pid, uint64_t vaddr, void *buf, size_t pages);

/* ---- direct.c: processes that read into their memory past the page tables ---- */

/* DIRECT_SYNC: no read is under way while its threads are held; DIRECT_AIO: one may be. */
enum direct_io { DIRECT_NONE, DIRECT_SYNC, DIRECT_AIO };

/** direct_io() - does it have a file open with O_DIRECT, and does it use native AIO besides? */
enum direct_io direct_io(pid_t pid);

struct rings;

/**
 * direct_rings_find() - the AIO contexts of processes that also have files open with O_DIRECT;
 * *out NULL: none
 */
int direct_rings_find(struct rings **out, const pid_t *pid, size_t n, struct err *e);
/**
 * direct_rings_settle() - the processes are stopped: wait until no more requests are answered
 *
 * A request that a device answers more than a quarter of a second after the previous one is
 * missed.
 * Return: 0; -EBUSY at @deadline_us
 */
int direct_rings_settle(struct rings *r, uint64_t deadline_us, struct err *e);
/**
 * direct_rings_same() - was no request answered since then? If so, memory and answers match.
 * Return: 0; -EBUSY
 */
int direct_rings_same(struct rings *r, struct err *e);
void direct_rings_free(struct rings *r);
DEFINE_AUTO(rings, direct_rings_free)

/* ---- inject.c: one system call inside a running process ---- */

/**
 * inject_uffd() - make a userfaultfd of the process's memory, which we own
 * @fd_out: ours; nothing stays open in the process
 *
 * Stops all threads of the process for a fraction of a millisecond (PTRACE_SEIZE, seccomp
 * suspended), runs userfaultfd(O_CLOEXEC|O_NONBLOCK|UFFD_USER_MODE_ONLY) and close() at a syscall
 * instruction of its vdso (no text is changed), and restores everything, including interrupted
 * system calls.
 * Return: 0; -ESRCH gone; -EBUSY traced by someone else; -EMFILE; -ENOTSUP;
 *         on failure the process is as it was.
 */
int inject_uffd(pid_t pid, int *fd_out, struct err *e);

/* A POSIX lock to set, or with F_UNLCK to give up. */
struct inject_lock {
	int fd; /* of the process */
	short type; /* F_RDLCK, F_WRLCK, F_UNLCK */
	int64_t start, len; /* len 0: to the end */
};
/**
 * inject_locks() - fcntl(F_SETLK) in @pid, for each of @v: POSIX locks belong to their process. As
 * inject_uffd(); a process that SIGSTOP has stopped is stopped afterwards.
 * Return: 0; -EAGAIN another process has such a lock; -errno: those after it are not set
 */
int inject_locks(pid_t pid, const struct inject_lock *v, size_t n, struct err *e);

#define INJECT_ARGS 5u

/* A system call that a thread has to make itself, without pointers. */
struct inject_call {
	pid_t tid;
	long nr;
	uint64_t arg[INJECT_ARGS];
	int result; /* out: what the call returned; -EBUSY: its thread could not be used */
};
/**
 * inject_calls() - each of @v in its thread, of @pid
 * Return: 0, see each result; -EPERM: it is traced; -errno: none was made
 */
int inject_calls(pid_t pid, struct inject_call *v, size_t n, struct err *e);

#endif
