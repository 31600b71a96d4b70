// SPDX-License-Identifier: GPL-2.0-or-later
/* img_calls.c - a system call that was interrupted by the stop alone is made again after the restore. */
#include "engine/images/img_priv.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "engine/images/images.pb-c.h"
#include "engine/proc/hold.h"

#define SYSCALL_BYTES 2 /* of the instruction */
#define MODE_COMPAT   2 /* 32 bits */
#define NS_PER_MS     1000000u
#define CLOCK_MOST    11 /* the largest number of a clock */

/* Registers after poll(fds, n, ms); like nanosleep() it returns 0 when the time is over. */
static bool poll_for(Cimg__X86Regs *r, uint64_t fds, uint64_t n, uint64_t ns)
{
	uint64_t ms = (ns + NS_PER_MS - 1) / NS_PER_MS;

	if (!ns || ms > INT_MAX)
		return false;
	r->orig_ax = SYS_poll;
	r->di = fds;
	r->si = n;
	r->dx = ms;
	return true;
}

/*
 * The kernel has written the time left where the program wants it (@rem), if it does: from there it
 * is read again. Without it there is no memory to put a time into; poll() takes it in a register.
 */
static bool sleep_again(Cimg__X86Regs *r, uint64_t *req, uint64_t rem, const struct img_left *left)
{
	if (!rem)
		return left && poll_for(r, 0, 0, left->sleep_ns);
	*req = rem;
	return true;
}

/*
 * A call that was interrupted before, by haul's own short stops, continues as restart_syscall(): the
 * number is lost, the arguments are there, and the kernel has noted some of them.
 * nanosleep: clock and kind of the time, then the program's second argument; poll: descriptors, their
 * number, and is there a limit?; futex: address, then value.
 */
static bool restarted(Cimg__X86Regs *r, const struct img_left *left)
{
	uint64_t a = left ? left->block[0] : 0, b = left ? left->block[1] : 0;

	if (!left)
		return false;
	if (left->sleep_ns && (uint32_t)a <= CLOCK_MOST && a >> 32 <= 1 &&
	    (b == r->si || b == r->r10)) {
		if (!b)
			return poll_for(r, 0, 0, left->sleep_ns);
		r->orig_ax = SYS_nanosleep;
		r->di = r->si = b;
		return true;
	}
	if (a == r->di && (uint32_t)b == (uint32_t)r->si && b >> 32 == 1)
		return poll_for(r, r->di, r->si, left->poll_ns);
	if (a == r->di && a && (uint32_t)b == (uint32_t)r->dx &&
	    (r->si & (uint64_t)(uint32_t)FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET) {
		r->orig_ax = SYS_futex;
		return true;
	}
	if (a == r->di && a && b == (uint32_t)r->si && (int)r->dx < 0) {
		r->orig_ax = SYS_poll;
		return true;
	}
	return false;
}

/* Registers that are changed are arguments, which the C library's functions do not use after the call. */
static bool again(Cimg__X86Regs *r, const struct img_left *left)
{
	switch (r->orig_ax) {
	case SYS_restart_syscall:
		return restarted(r, left);
	case SYS_nanosleep:
		return sleep_again(r, &r->di, r->si, left);
	case SYS_clock_nanosleep:
		return sleep_again(r, &r->dx, r->r10, left);
	case SYS_poll:
		return (int)r->dx < 0 || (left && poll_for(r, r->di, r->si, left->poll_ns));
	case SYS_futex:
		return (r->si & (uint64_t)(uint32_t)FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
	case SYS_epoll_wait:
	case SYS_epoll_pwait:
		return (int)r->r10 < 0;
	case SYS_semop:
		return true;
	case SYS_semtimedop:
		return r->r10 == 0;
	case SYS_rt_sigtimedwait:
		return r->dx == 0;
	default:
		return false;
	}
}

static bool interrupted(const Cimg__X86Regs *r)
{
	return r->mode != MODE_COMPAT && (int64_t)r->orig_ax >= 0 && r->ax == (uint64_t)-EINTR;
}

int img_signal_waits(int dirfd, pid_t pid, bool *yes, struct err *e)
{
	Cimg__Core *c = NULL;
	int r = img_unpack_core(dirfd, pid, &c, e);

	if (r < 0)
		return r;
	*yes = c->tc && c->tc->signals_s && c->tc->signals_s->n_signals;
	cimg__core__free_unpacked(c, NULL);
	return 0;
}

/* Return: 1 the registers of @c are changed so that it makes its call again; 0 */
static int change(Cimg__Core *c, const struct img_left *left)
{
	Cimg__X86Regs *regs = c->thread_info ? c->thread_info->gpregs : NULL;
	bool waits = c->thread_core && c->thread_core->signals_p &&
	             c->thread_core->signals_p->n_signals;

	if (!regs || waits || !interrupted(regs) || !again(regs, left))
		return 0;
	regs->ax = regs->orig_ax;
	regs->ip -= SYSCALL_BYTES;
	return 1;
}

int img_call_again(int dirfd, pid_t tid, const struct img_left *left, struct err *e)
{
	Cimg__Core *c = NULL;
	int r = img_unpack_core(dirfd, tid, &c, e);

	if (r < 0)
		return r;
	if (change(c, left)) {
		r = img_save_core(dirfd, tid, c, e);
		r = r < 0 ? r : 1;
	}
	cimg__core__free_unpacked(c, NULL);
	return r;
}

int img_call_undo(int dirfd, pid_t pid, const struct img_left *left, struct hold_call *out,
                  struct err *e)
{
	Cimg__Core *c = NULL;
	int r = img_unpack_core(dirfd, pid, &c, e);

	if (r < 0)
		return r;
	bool waits = c->tc && c->tc->signals_s && c->tc->signals_s->n_signals;

	r = c->tc && !waits && change(c, left);
	if (r) {
		const Cimg__X86Regs *regs = c->thread_info->gpregs;

		*out = (struct hold_call){ .ip = regs->ip + SYSCALL_BYTES,
			                   .nr = regs->ax,
			                   .arg = { regs->di, regs->si, regs->dx },
			                   .back = SYSCALL_BYTES };
	}
	cimg__core__free_unpacked(c, NULL);
	return r;
}
