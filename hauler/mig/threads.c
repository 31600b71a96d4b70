// SPDX-License-Identifier: GPL-2.0-or-later
/* threads.c - attributes of threads and the time left of their system calls, read for the destination. */
#include "hauler/mig/threads.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/log.h"
#include "engine/criu/sleeps.h"
#include "engine/criu/vmaflags.h"
#include "engine/proc/attrs.h"
#include "engine/proc/hold.h"
#include "engine/proc/inner.h"
#include "engine/proc/proc.h"
#include "engine/proc/selfset.h"
#include "transport/msg/haul.pb-c.h"
#include "transport/msg/wire.h"

struct threads {
	pid_t root;
	struct sleeps *sleeps; /* NULL: this kernel does not tell */
	struct img_left *left;
	size_t n_left;
	Haul__Thread **kept; /* for SWITCH, read while CRIU dumps */
	size_t n_kept;
	struct vmaflags *maps; /* NULL: no memory is locked, or this kernel does not tell */
	Haul__OnFault **fault; /* the same */
	size_t n_fault, cap_fault;
};

static void free_list(Haul__Thread **v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(v[i]->cpus.data);
		free(v[i]);
	}
	free(v);
}

static void free_faults(struct threads *t)
{
	for (size_t i = 0; i < t->n_fault; i++)
		free(t->fault[i]);
	free(steal(t->fault));
	t->n_fault = t->cap_fault = 0;
}

int threads_new(struct threads **out, pid_t root, bool locks, struct err *e)
{
	AUTO(threads) struct threads *t = calloc(1, sizeof(*t));
	struct err why = ERR_INIT;

	if (!t)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	t->root = root;
	if (sleeps_new(&t->sleeps, &why) < 0)
		log_info("time limits of interrupted system calls are not known: %s", why.msg);
	if (locks && vmaflags_new(&t->maps, &why) < 0)
		log_info("memory that is locked when it is touched is not known: %s", why.msg);
	*out = steal(t);
	return 0;
}

void threads_free(struct threads *t)
{
	if (!t)
		return;
	sleeps_free(t->sleeps);
	vmaflags_free(t->maps);
	free_faults(t);
	free_list(t->kept, t->n_kept);
	free(t->left);
	free(t);
}

/* ---- every thread of the tree ---- */

/* Return: 0 to go on; -errno ends it */
typedef int (*thread_fn)(void *arg, pid_t pid, pid_t tid);

static int each_of(pid_t pid, thread_fn fn, void *arg)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	AUTO(dir) DIR *d = opendir(path);
	int r = 0;

	for (struct dirent *de; r == 0 && d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]))
			r = fn(arg, pid, (pid_t)strtol(de->d_name, NULL, 10));
	return r;
}

static int each(pid_t root, thread_fn fn, void *arg, struct err *e)
{
	struct proc_list l = { 0 };
	int r = procs_tree(root, &l, e);

	for (size_t i = 0; r == 0 && i < l.n; i++)
		if (procs_lives(l.pid[i]) && (r = each_of(l.pid[i], fn, arg)) < 0)
			err_set(e, ERR_SYS, -r, "threads of process %d: %s", l.pid[i],
			        strerror(-r));
	procs_fini(&l);
	return r;
}

/* ---- OFFER ---- */

struct offer {
	Haul__Offer *o;
	struct attrs_online host;
};

static int add_cpus(void *arg, pid_t pid, pid_t tid)
{
	const struct offer *f = arg;
	Haul__Offer *o = f->o;
	struct attrs a;

	if (attrs_read(pid, tid, &f->host, &a) < 0 || !a.cpu_bytes)
		return 0;
	for (size_t i = 0; i < a.cpu_bytes; i++)
		o->cpus.data[i] |= a.cpus[i];
	if (a.cpu_bytes > o->cpus.len)
		o->cpus.len = a.cpu_bytes;
	return 0;
}

int threads_offer(pid_t root, Haul__Offer *o, struct err *e)
{
	struct offer f = { .o = o };

	o->cpus.len = 0;
	o->cpus.data = calloc(1, ATTRS_CPU_BYTES);
	if (!o->cpus.data)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	attrs_online(&f.host);
	return each(root, add_cpus, &f, e);
}

void threads_offer_free(Haul__Offer *o)
{
	free(o->cpus.data);
	o->cpus.data = NULL;
	o->cpus.len = 0;
}

/* ---- SWITCH ---- */

static void add_left(struct threads *t, struct img_left *v, size_t n)
{
	struct img_left *w = realloc(t->left, (t->n_left + n) * sizeof(*w));

	if (!w)
		return;
	t->left = w;
	memcpy(t->left + t->n_left, v, n * sizeof(*v));
	t->n_left += n;
}

void threads_stopped(struct threads *t)
{
	struct proc_list l = { 0 };
	struct err e = ERR_INIT;

	if (!t || !t->sleeps)
		return;
	t->n_left = 0;
	int r = procs_tree(t->root, &l, &e);

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		AUTO(mem) struct img_left *v = NULL;
		size_t n = 0;

		r = sleeps_read(t->sleeps, l.pid[i], &v, &n, &e);
		for (size_t k = 0; r == 0 && k < n; k++)
			v[k].first = v[k].tid == l.pid[i];
		if (r == 0 && n)
			add_left(t, v, n);
	}
	if (r < 0)
		log_info("time limits of interrupted system calls are not known: %s", e.msg);
	procs_fini(&l);
}

void threads_again(const struct threads *t, int images_fd)
{
	for (size_t i = 0; t && i < t->n_left; i++) {
		pid_t pid = inner_of(t->left[i].tid);
		struct hold_call c;
		struct err why = ERR_INIT;

		if (!t->left[i].first || img_call_undo(images_fd, pid, &t->left[i], &c, &why) <= 0)
			continue;
		int r = hold_call_again(t->left[i].tid, &c);

		if (r < 0)
			log_info("pid=%d: its system call ends with EINTR: %s", t->left[i].tid,
			         strerror(-r));
	}
}

struct list {
	struct threads *t;
	struct attrs_online host;
	size_t cap, at;
};

/* The kernel's VM_LOCKED, VM_LOCKONFAULT */
#define NEW_LOCKED  0x00002000u
#define NEW_ONFAULT 0x00080000u

static uint32_t lock_of(uint64_t new_maps)
{
	if (!(new_maps & NEW_LOCKED))
		return SELFSET_LOCK_NO;
	return new_maps & NEW_ONFAULT ? SELFSET_LOCK_ONFAULT : SELFSET_LOCK_ALL;
}

/* @at: where the search begins; both lists are in about the same order */
static void take_left(const struct threads *t, size_t *at, Haul__Thread *out)
{
	for (size_t i = 0; i < t->n_left; i++) {
		size_t k = (*at + i) % t->n_left;

		if (inner_of(t->left[k].tid) != (pid_t)out->tid)
			continue;
		out->sleep_ns = t->left[k].sleep_ns;
		out->poll_ns = t->left[k].poll_ns;
		if (out->leader)
			out->lock_future = lock_of(t->left[k].new_maps);
		out->block = t->left[k].block[0];
		out->block2 = t->left[k].block[1];
		*at = k + 1;
		return;
	}
}

static int make(const struct attrs *a, const struct selfset *own, Haul__Thread **out)
{
	Haul__Thread *v = malloc(sizeof(*v));

	if (!v)
		return -ENOMEM;
	haul__thread__init(v);
	*out = v;
	v->tid = (uint32_t)inner_of(a->tid);
	v->io_priority = a->io_priority;
	v->slack_ns = a->slack_ns;
	v->leader = a->leader;
	v->oom_score_adj = a->oom_score_adj;
	v->coredump_filter = a->coredump_filter;
	v->autogroup_nice = a->autogroup_nice;
	v->personality = own->personality;
	v->mce = own->mce;
	v->io_flusher = own->io_flusher;
	v->merge = own->merge;
	v->bypass = own->bypass;
	v->branch = own->branch;
	v->util_min = a->util_min;
	v->util_max = a->util_max;
	v->run_ns = a->run_ns;
	return wire_copy(&v->cpus, a->cpus, a->cpu_bytes);
}

static int add_thread(void *arg, pid_t pid, pid_t tid)
{
	struct list *l = arg;
	struct threads *t = l->t;
	struct attrs a;
	struct selfset own;

	if (attrs_read(pid, tid, &l->host, &a) < 0)
		return 0;
	selfset_read(pid, tid, &own);
	if (array_grow(&t->kept, t->n_kept, &l->cap, sizeof(*t->kept)) < 0)
		return -ENOMEM;
	t->kept[t->n_kept] = NULL;
	int r = make(&a, &own, &t->kept[t->n_kept]);
	Haul__Thread *v = t->kept[t->n_kept];

	if (v) {
		t->n_kept++;
		take_left(l->t, &l->at, v);
	}
	return r;
}

static int add_fault(struct threads *t, pid_t pid, const struct vma_raw *v)
{
	Haul__OnFault *last = t->n_fault ? t->fault[t->n_fault - 1] : NULL;

	if (last && last->pid == (uint32_t)pid && last->end == v->start) {
		last->end = v->end;
		return 0;
	}
	Haul__OnFault *f = array_grow(&t->fault, t->n_fault, &t->cap_fault, sizeof(*t->fault)) < 0
	                           ? NULL
	                           : malloc(sizeof(*f));

	if (!f)
		return -ENOMEM;
	haul__on_fault__init(f);
	f->pid = (uint32_t)pid;
	f->start = v->start;
	f->end = v->end;
	t->fault[t->n_fault++] = f;
	return 0;
}

static int note_locks(struct threads *t, pid_t pid)
{
	const uint64_t both = NEW_LOCKED | NEW_ONFAULT;
	AUTO(mem) struct vma_raw *v = NULL;
	struct err why = ERR_INIT;
	size_t n = 0;
	int r = 0;

	if (vmaflags_read(t->maps, pid, &v, &n, &why) < 0)
		log_info("pid=%d: %s", pid, why.msg);
	for (size_t i = 0; r == 0 && i < n; i++)
		if ((v[i].flags & both) == both)
			r = add_fault(t, inner_of(pid), &v[i]);
	return r;
}

/* Once for each process */
static int add_locks(void *arg, pid_t pid, pid_t tid)
{
	return pid == tid ? note_locks(arg, pid) : 0;
}

int threads_note(struct threads *t, struct err *e)
{
	struct list l = { .t = t };

	if (!t)
		return 0;
	free_list(steal(t->kept), t->n_kept);
	t->n_kept = 0;
	attrs_online(&l.host);
	free_faults(t);
	int r = t->maps ? each(t->root, add_locks, t, e) : 0;

	return r < 0 ? r : each(t->root, add_thread, &l, e);
}

void threads_switch(const struct threads *t, Haul__Switch *s)
{
	s->thread = t ? t->kept : NULL;
	s->n_thread = t ? t->n_kept : 0;
	s->on_fault = t ? t->fault : NULL;
	s->n_on_fault = t ? t->n_fault : 0;
}
