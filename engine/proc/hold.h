/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hold.h - hold all threads of a process for a moment, without their noticing. */
#ifndef HAUL_HOLD_H
#define HAUL_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HOLD_LIMIT_MS 500
#define HOLD_FOR_EVER UINT64_MAX

struct hold_thread {
	pid_t tid;
	int signal; /* arrived meanwhile; delivered when the thread is let go */
	bool trapped; /* stopped by our interrupt, not by a signal */
};

struct hold {
	pid_t pid;
	struct hold_thread *t;
	size_t n;
	int again; /* a signal to send again because its stop is over; 0: none */
};

/**
 * hold_take() - PTRACE_SEIZE and stop all threads; in hold_apart() @options: further PTRACE_O_*
 * Return: 0; -ESRCH gone; -EPERM traced by someone else, or not allowed; -ETIMEDOUT: a thread
 * sleeps in the kernel and cannot be stopped, such as one that waits in vfork(). After a failure
 * call hold_let_go() too.
 */
int hold_take(struct hold *h, long options);
/** hold_let_go() - threads that did not stop stay traced until hold_apart() has ended */
void hold_let_go(struct hold *h);

/**
 * hold_apart() - run @fn in a process of its own that shares our memory and descriptors Threads
 * that it holds are released when it ends, whatever happens. The caller sleeps meanwhile.
 * Return: what @fn returned; -errno
 */
int hold_apart(int (*fn)(void *arg), void *arg);

/**
 * hold_while() - run @fn, in hold_apart(), while all threads of @pid are held
 * @longest_us: raised when this took longer
 * Return: what @fn returned; an error of hold_take(), then @fn did not run; -ECHILD: killed,
 * perhaps while @fn ran
 */
int hold_while(pid_t pid, int (*fn)(void *arg), void *arg, uint64_t *longest_us);

/**
 * hold_handler() - which signal is the thread about to handle, before the first instruction of the handler?
 * @sp: its stack pointer, where the kernel has put the frame
 * Return: its number; 0: it is elsewhere; -errno
 */
int hold_handler(pid_t pid, pid_t tid, uint64_t sp);

/* A system call that the first thread of a process makes again. */
struct hold_call {
	uint64_t ip; /* the address behind the call that was interrupted, where the thread is */
	uint64_t nr, arg[3];
	uint64_t back; /* bytes of the instruction */
};

/**
 * hold_call_again() - the first thread of @pid, which is stopped, goes back to the call @c if it has just returned
 * from it with EINTR. Return: 0, also if it is elsewhere; -errno
 */
int hold_call_again(pid_t pid, const struct hold_call *c);

/** hold_wait() - wait for a thread's next stop. Return: 0; -ESRCH ended; -ETIMEDOUT */
int hold_wait(pid_t tid, int *status, uint64_t deadline_us);
/** hold_is_event() - was that stop made by PTRACE_INTERRUPT or a group stop? */
bool hold_is_event(int status);

#endif
