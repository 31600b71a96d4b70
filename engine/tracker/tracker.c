// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tracker.c - which pages of a tree were written since they were last seen: rounds over its
 * processes, by one of the back ends in the table.
 */
#include "engine/tracker/tracker.h"
#include "common/array.h"
#include "engine/tracker/priv.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "common/clock.h"
#include "common/host/nofile.h"
#include "common/page.h"
#include "engine/proc/proc.h"
#include "engine/tracker/look.h"

/* Above this, 1024 descriptors may not do. Not raised before, because CRIU inherits the limit. */
#define MANY_PROCS 200

/* ---- back ends ---- */

/* Nothing is tracked: every page counts as written. */
static const struct tproc *none_known(const struct tracker *t, pid_t pid)
{
	(void)t;
	(void)pid;
	return NULL;
}

static int none_probe(struct err *e)
{
	(void)e;
	return 0;
}

static void none_detach(struct tproc *p)
{
	(void)p;
}

static long none_look(const struct look_at *l, uint64_t *at, uint64_t end, struct page_region *vec)
{
	return (l->t->scans ? &tracker_scan_ops : &tracker_soft_ops)->look(l, at, end, vec);
}

static const struct tracker_ops none_ops = {
	.name = "none",
	.probe = none_probe,
	.known = none_known,
	.look = none_look,
	.detach = none_detach,
};

static const struct tracker_ops *const back_ends[] = {
	[TRACKER_NONE] = &none_ops,
	[TRACKER_WP_ASYNC] = &tracker_scan_ops,
	[TRACKER_SOFT_DIRTY] = &tracker_soft_ops,
};

int tracker_probe(enum tracker_kind kind, struct err *e)
{
	return back_ends[kind]->probe(e);
}

enum tracker_kind tracker_best(void)
{
	static const enum tracker_kind order[] = { TRACKER_WP_ASYNC, TRACKER_SOFT_DIRTY };
	struct err ignore = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (tracker_probe(order[i], &ignore) == 0)
			return order[i];
	return TRACKER_NONE;
}

const char *tracker_kind_name(enum tracker_kind kind)
{
	return back_ends[kind]->name;
}

bool tracker_criu_scans(void)
{
	return scan_kernel();
}

/* ---- processes ---- */

int tracker_new(struct tracker **out, pid_t root, enum tracker_kind kind, struct err *e)
{
	AUTO(tracker) struct tracker *t = calloc(1, sizeof(*t));

	if (t) {
		pthread_mutex_init(&t->lock, NULL);
		t->ops = back_ends[kind];
		t->vec = calloc(VEC_REGIONS, sizeof(*t->vec));
	}
	if (!t || !t->vec)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the tracker");
	t->root = root;
	t->scans = scan_kernel();
	t->calm = t->ops == &tracker_scan_ops && calm_kernel();
	t->guard = scan_guard();
	t->zero_frame = soft_zero_frame();
	objects_init(&t->objects, t->ops->sees_shared);
	*out = steal(t);
	return 0;
}

static void let_go(struct tracker *t, struct tproc *p)
{
	t->ops->detach(p);
	if (p->lock >= 0)
		close(steal_fd(&p->lock));
}

static struct tproc *new_proc(struct tproc *p, pid_t pid, uint64_t born)
{
	*p = (struct tproc){ .pid = pid, .born = born, .lock = -1, .uffd = -1 };
	return p;
}

static struct tproc *find_or_add(struct tracker *t, pid_t pid)
{
	uint64_t born = procs_start(pid);

	for (size_t i = 0; i < t->n; i++) {
		struct tproc *p = &t->v[i];

		if (p->pid != pid)
			continue;
		if (p->born == born)
			return p;
		let_go(t, p);
		return new_proc(p, pid, born);
	}
	if (array_grow(&t->v, t->n, &t->cap, sizeof(*t->v)) < 0)
		return NULL;
	return new_proc(&t->v[t->n++], pid, born);
}

static struct tproc *find_proc(struct tracker *t, pid_t pid)
{
	pthread_mutex_lock(&t->lock);
	struct tproc *p = find_or_add(t, pid);

	pthread_mutex_unlock(&t->lock);
	return p;
}

/* Release processes that have left the tree. */
static void sweep(struct tracker *t)
{
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n;) {
		if (t->v[i].seen) {
			t->v[i++].seen = false;
			continue;
		}
		let_go(t, &t->v[i]);
		t->v[i] = t->v[--t->n];
	}
	pthread_mutex_unlock(&t->lock);
}

/* ---- whose they are ---- */

static int own(struct tproc *p, struct err *e)
{
	if (p->lock < 0)
		p->lock = own_take(p->pid, e);
	return p->lock < 0 ? p->lock : 0;
}

static int own_pid(struct tracker *t, pid_t pid, struct err *e)
{
	struct tproc *p = find_proc(t, pid);
	int r = p ? own(p, e) : err_set(e, ERR_SYS, ENOMEM, "no memory for the tracker");

	if (r == 0 || r == -EBUSY || r == -ENOMEM)
		return r;
	err_clear(e); /* it is gone, or the rounds will report the error */
	return 0;
}

static int own_tree(struct tracker *t, struct err *e)
{
	AUTO(procs) struct proc_list l = { 0 };
	int r = own_pid(t, t->root, e);

	if (r < 0)
		return r;
	/* we own the root by now: another tracker that starts with a child born later sees that */
	r = own_above(t->root, e);
	if (r < 0)
		return r;
	r = procs_tree(t->root, &l, e);
	if (l.n > MANY_PROCS)
		nofile_raise();
	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = own_pid(t, l.pid[i], e);
	return r;
}

int tracker_own(struct tracker *t, struct err *e)
{
	int r = own_tree(t, e);

	if (r < 0)
		tracker_release(t);
	return r;
}

/* ---- rounds ---- */

static int round_of(struct scan *s, bool *stop)
{
	struct tproc *p = s->p;
	struct err e = ERR_INIT;

	p->tracked = false;
	if (!s->t->ops->round || !procs_lives(p->pid))
		return 0;
	int r = own(p, &e);

	s->io = r == 0 ? direct_io(p->pid) : DIRECT_NONE;
	if (s->io == DIRECT_AIO) {
		s->t->ops->detach(p);
		tracker_not(p, "it reads past the page cache by native AIO (O_DIRECT)");
		return 0;
	}
	if (r == 0)
		return s->t->ops->round(s, stop);
	if (r != -ESRCH)
		tracker_not(p, e.msg);
	return 0;
}

int tracker_round(struct tracker *t, tracker_emit_fn emit, void *arg, struct tracker_stats *st,
                  struct err *e)
{
	uint64_t t0 = now_us();
	bool stop = false;
	int r = procs_tree(t->root, &t->procs, e);

	memset(st, 0, sizeof(*st));
	objects_begin(&t->objects, false);
	for (size_t i = 0; r == 0 && i < t->procs.n; i++) {
		struct tproc *p = find_proc(t, t->procs.pid[i]);

		if (!p) {
			r = err_set(e, ERR_SYS, ENOMEM, "no memory for the tracker");
			break;
		}
		struct scan s = { .t = t, .p = p, .emit = emit, .arg = arg, .st = st };

		p->seen = true;
		r = round_of(&s, &stop);
		/* held for a read past the page tables, it may also be tracked in part only */
		if (!p->tracked || p->fresh)
			tracker_loose(t, p->pid);
		if (r < 0)
			err_set(e, ERR_SYS, -r, "scan of process %d: %s", p->pid, strerror(-r));
		st->procs += p->tracked;
		st->procs_untracked += !p->tracked;
	}
	procs_fini(&t->procs);
	if (r == 0)
		sweep(t);
	st->scan_us = now_us() - t0;
	st->stopped_us = t->stopped_us;
	return r;
}

int tracker_places(const struct tracker *t, pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	return t->ops->strayed ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

void tracker_strayed(struct tracker *t, pid_t pid, int places, uint64_t vaddr, size_t pages,
                     bool *out)
{
	if (places >= 0 && t->ops->strayed)
		t->ops->strayed(t, pid, places, vaddr, pages, out);
}

int tracker_final(struct tracker *t, tracker_emit_fn emit, void *arg, struct tracker_stats *st,
                  struct err *e)
{
	return look_tree(t, emit, arg, st, e);
}

int tracker_objects(struct tracker *t, tracker_obj_fn emit, void *arg, struct err *e)
{
	int r = objects_tell(&t->objects, emit, arg);

	return r < 0 ? err_set(e, ERR_SYS, -r, "shared memory of the tree of process %d: %s",
	                       t->root, strerror(-r))
	             : 0;
}

int tracker_object_fd(const struct tracker *t, uint64_t obj)
{
	return objects_fd(&t->objects, obj);
}

void tracker_release(struct tracker *t)
{
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->n; i++)
		let_go(t, &t->v[i]);
	t->n = 0;
	pthread_mutex_unlock(&t->lock);
}

void tracker_free(struct tracker *t)
{
	if (!t)
		return;
	tracker_release(t);
	objects_fini(&t->objects);
	free(t->v);
	free(t->vec);
	free(t);
}
