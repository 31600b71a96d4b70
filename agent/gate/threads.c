// SPDX-License-Identifier: GPL-2.0-or-later
/* threads.c - carry out what SWITCH says about threads; they have the numbers they had at the source. */
#include "agent/gate/threads.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "agent/berth/berth.h"
#include "agent/gate/eventfds.h"
#include "common/log.h"
#include "engine/images/img.h"
#include "engine/proc/proc.h"
#include "engine/proc/attrs.h"
#include "engine/proc/selfset.h"
#include "transport/msg/haul.pb-c.h"

/* @at: where the search begins; both hosts name threads in about the same order */
static const Haul__Thread *find(const Haul__Switch *s, pid_t tid, size_t *at)
{
	for (size_t i = 0; i < s->n_thread; i++) {
		size_t k = (*at + i) % s->n_thread;

		if (s->thread[k]->tid == (uint32_t)tid) {
			*at = k + 1;
			return s->thread[k];
		}
	}
	return NULL;
}

struct fit {
	const Haul__Switch *s;
	size_t at;
	unsigned int again;
};

static int fit_task(struct fit *f, int images_fd, const struct img_task *t, struct err *e)
{
	bool waits = false;

	if (f->s->n_thread && img_signal_waits(images_fd, t->pid, &waits, e) < 0)
		return err_code(e);
	for (unsigned int i = 0; i < t->n_threads && !waits; i++) {
		const Haul__Thread *v = find(f->s, t->threads[i], &f->at);
		struct img_left left = { .tid = t->threads[i] };

		if (!v) /* a source that does not know of this */
			continue;
		left.sleep_ns = v->sleep_ns;
		left.poll_ns = v->poll_ns;
		left.block[0] = v->block;
		left.block[1] = v->block2;
		int r = img_call_again(images_fd, t->threads[i], &left, e);

		if (r < 0)
			return r;
		f->again += r > 0;
	}
	return 0;
}

/* Ranges of the process, which are in one piece of the list. */
static size_t ranges_of(const Haul__Switch *s, pid_t pid, struct img_range *out)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_on_fault; i++)
		if (s->on_fault[i]->pid == (uint32_t)pid)
			out[n++] = (struct img_range){ s->on_fault[i]->start, s->on_fault[i]->end };
	return n;
}

static int unlock(int images_fd, const Haul__Switch *s, pid_t pid, struct err *e)
{
	AUTO(mem) struct img_range *v = calloc(s->n_on_fault + 1, sizeof(*v));
	size_t n = v ? ranges_of(s, pid, v) : 0;

	return n ? img_unlock(images_fd, pid, v, n, e) : 0;
}

int threads_fit(int images_fd, const Haul__Switch *s, struct err *e)
{
	struct img_tree tree = { 0 };
	struct fit f = { .s = s };
	bool great = false;
	int r = img_tree(images_fd, &tree, e);

	for (size_t i = 0; r == 0 && i < tree.n; i++)
		if ((r = fit_task(&f, images_fd, &tree.v[i], e)) == 0 && s->n_on_fault)
			r = unlock(images_fd, s, tree.v[i].pid, e);
	img_tree_fini(&tree);
	if (r == 0)
		r = img_fit_timers(images_fd, &great, e);
	eventfds_expect(great);
	if (f.again)
		log_info("%u interrupted system calls will be made again", f.again);
	return r;
}

static void set_thread(const Haul__Thread *v, pid_t tid)
{
	const char *what = NULL;
	struct attrs a = {
		.tid = tid,
		.leader = v->leader,
		.io_priority = v->io_priority,
		.slack_ns = v->slack_ns,
		.oom_score_adj = v->oom_score_adj,
		.coredump_filter = v->coredump_filter,
		.autogroup_nice = v->autogroup_nice,
		.util_min = v->util_min,
		.util_max = v->util_max,
		.run_ns = v->run_ns,
	};

	if (v->cpus.len && v->cpus.len <= sizeof(a.cpus)) {
		a.cpu_bytes = v->cpus.len;
		memcpy(a.cpus, v->cpus.data, v->cpus.len);
	}
	int r = attrs_set(&a, &what);

	if (r < 0)
		log_warn("thread %d: %s cannot be set: %s", a.tid, what, strerror(-r));
}

static uint32_t speculation(uint32_t said)
{
	return said == PR_SPEC_DISABLE || said == PR_SPEC_FORCE_DISABLE ? said : 0;
}

static struct selfset own_of(const Haul__Thread *v, pid_t tid)
{
	return (struct selfset){
		.tid = tid,
		.personality = v->personality,
		.mce = v->mce <= SELFSET_MCE_EARLY ? v->mce : SELFSET_MCE_DEFAULT,
		.io_flusher = v->io_flusher,
		.merge = v->merge,
		.lock_future = v->lock_future <= SELFSET_LOCK_ONFAULT ? v->lock_future
		                                                      : SELFSET_LOCK_NO,
		.bypass = speculation(v->bypass),
		.branch = speculation(v->branch),
	};
}

/*
 * CRIU traces the root of a tree that a haul land takes, until it runs: it gets its own then. A worker has one tree.
 */
static struct {
	struct selfset *v;
	size_t n;
	struct inject_call *lock;
	size_t n_lock;
} later;

/* For a mapping that is gone the call fails: CRIU's own, in a process that locks all that is new. */
static void set_locks(pid_t pid, struct inject_call *v, size_t n)
{
	struct err why = ERR_INIT;

	if (n && inject_calls(pid, v, n, &why) < 0)
		log_warn("pid=%d: memory is not locked: %s", pid, why.msg);
	for (size_t i = 0; i < n; i++)
		if (v[i].result < 0 && v[i].result != -ENOMEM)
			log_warn("pid=%d: memory at %llx is not locked: %s", pid,
			         (unsigned long long)v[i].arg[0], strerror(-v[i].result));
}

static struct inject_call *locks_of(const Haul__Switch *s, pid_t inner, pid_t pid, size_t *n)
{
	AUTO(mem) struct img_range *v = calloc(s->n_on_fault + 1, sizeof(*v));
	struct inject_call *call = calloc(s->n_on_fault + 1, sizeof(*call));

	*n = v && call ? ranges_of(s, inner, v) : 0;
	for (size_t i = 0; i < *n; i++)
		call[i] = (struct inject_call){
			.tid = pid,
			.nr = SYS_mlock2,
			.arg = { v[i].start, v[i].end - v[i].start, MLOCK_ONFAULT },
		};
	return call;
}

/* Most processes have nothing of this, and are not stopped for it. */
static void set_own(pid_t pid, const struct selfset *v, size_t n)
{
	const char *what = NULL;
	pid_t tid = pid;
	int r = n ? selfset_apply(pid, v, n, &what, &tid) : 0;

	if (r < 0)
		log_warn("thread %d: %s cannot be set: %s", tid, what, strerror(-r));
}

static void set_task(const struct wrk *w, const Haul__Switch *s, const struct img_task *t,
                     size_t *at)
{
	AUTO(mem) struct selfset *own = calloc(t->n_threads, sizeof(*own));
	size_t n = 0;

	for (unsigned int k = 0; k < t->n_threads; k++) {
		const Haul__Thread *v = find(s, t->threads[k], at);

		if (!v)
			continue;
		pid_t tid = berth_pid(w, (pid_t)v->tid);

		set_thread(v, tid);
		if (!own)
			continue;
		own[n] = own_of(v, tid);
		n += selfset_any(&own[n]);
	}
	pid_t pid = berth_pid(w, (pid_t)t->pid);
	size_t n_lock = 0;
	AUTO(mem)
	struct inject_call *lock = s->n_on_fault ? locks_of(s, (pid_t)t->pid, pid, &n_lock) : NULL;

	if (w->keep->berth_fd >= 0 && pid == w->root_pid && !later.v) {
		later.v = steal(own);
		later.n = n;
		later.lock = steal(lock);
		later.n_lock = n_lock;
	} else {
		set_own(pid, own, n);
		set_locks(pid, lock, n_lock);
	}
}

void threads_set(const struct wrk *w, const Haul__Switch *s)
{
	struct img_tree tree = { 0 };
	struct err ignore = ERR_INIT;
	size_t at = 0;

	if (img_tree(w->images_fd, &tree, &ignore) < 0)
		return;
	/* of the tree only, whatever the source names */
	for (size_t i = 0; i < tree.n; i++)
		set_task(w, s, &tree.v[i], &at);
	img_tree_fini(&tree);
}

void threads_set_later(const struct wrk *w)
{
	set_own(w->root_pid, later.v, later.n);
	set_locks(w->root_pid, later.lock, later.n_lock);
	free(steal(later.v));
	free(steal(later.lock));
	later.n = later.n_lock = 0;
}
