// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * present.c - which pages a stopped tree has: those that CRIU listed and, in the mappings that CRIU
 * left out, those that our own last scan found. The scan runs while CRIU dumps. It finds shared memory,
 * too, which CRIU then need not look into.
 */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/array.h"
#include "common/clock.h"
#include "engine/proc/inner.h"

struct present {
	struct present_task *v;
	size_t n;
	struct present_object *obj;
	size_t n_obj, cap_obj;
	struct tracker *trk;
	struct sent *sent; /* gets the ranks of the last scan; NULL: not needed */
	unsigned int scan; /* and by this number */
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* over */
	pthread_cond_t changed;
	bool over; /* for threads other than the one that joins */
	int result;
	struct err err;
	uint64_t scan_us;
};

const struct present_task *present_task(const struct present *x, pid_t pid)
{
	for (size_t i = x->n; i-- > 0;)
		if (x->v[i].pid == pid)
			return &x->v[i];
	return NULL;
}

static struct present_task *task_of(struct present *x, pid_t pid)
{
	/* CRIU lists one process after the other */
	if (x->n && x->v[x->n - 1].pid == pid)
		return &x->v[x->n - 1];
	struct present_task *v = realloc(x->v, (x->n + 1) * sizeof(*v));

	if (!v)
		return NULL;
	x->v = v;
	v[x->n] = (struct present_task){ .pid = pid };
	return &v[x->n++];
}

static int collect(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                   unsigned int flags)
{
	struct present *x = arg;
	struct present_task *t = task_of(x, pid);

	if (!t)
		return -ENOMEM;
	if (x->sent && (flags & TRACKER_DIRTY))
		sent_wrote(x->sent, inner_obj(pid), vaddr, pages, x->scan);
	int r = flags & TRACKER_DIRTY ? runs_add(&t->dirty, vaddr, pages) : 0;

	if (r)
		return r;
	if (!(flags & TRACKER_ZERO) && answer_criu_could(vma))
		r = runs_add(&t->present, vaddr, pages);
	return r;
}

static int collect_object(void *arg, uint64_t obj, uint64_t at, uint64_t pages, unsigned int flags)
{
	struct present *x = arg;

	if (!x->n_obj || x->obj[x->n_obj - 1].obj != obj) {
		if (array_grow(&x->obj, x->n_obj, &x->cap_obj, sizeof(*x->obj)) < 0)
			return -ENOMEM;
		x->obj[x->n_obj++] = (struct present_object){ .obj = obj };
	}
	struct present_object *o = &x->obj[x->n_obj - 1];

	o->dirty_pages += flags & TRACKER_DIRTY ? pages : 0;
	return runs_add(&o->data, at, pages);
}

const struct present_object *present_object(const struct present *x, uint64_t obj)
{
	for (size_t i = 0; i < x->n_obj; i++)
		if (x->obj[i].obj == obj)
			return &x->obj[i];
	return NULL;
}

bool present_has(struct present *x, uint64_t dev, uint64_t inode)
{
	struct stat st;
	uint64_t obj = obj_of_shmem(inode);

	pthread_mutex_lock(&x->lock);
	while (!x->over)
		pthread_cond_wait(&x->changed, &x->lock);
	pthread_mutex_unlock(&x->lock);
	int fd = x->result == 0 && present_object(x, obj) ? tracker_object_fd(x->trk, obj) : -1;

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == dev;
}

static void *present_main(void *arg)
{
	struct present *x = arg;
	struct tracker_stats st = { 0 };
	uint64_t t0 = now_us();

	x->result = tracker_final(x->trk, collect, x, &st, &x->err);
	if (x->result == 0)
		x->result = tracker_objects(x->trk, collect_object, x, &x->err);
	x->scan_us = now_us() - t0;
	pthread_mutex_lock(&x->lock);
	x->over = true;
	pthread_cond_broadcast(&x->changed);
	pthread_mutex_unlock(&x->lock);
	return NULL;
}

int present_start(struct present **out, const struct mig *m, struct err *e)
{
	struct present *x = calloc(1, sizeof(*x));

	if (!x)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->changed, NULL);
	x->trk = m->precopy.trk;
	x->sent = m->precopy.switch_over && m->fig.rounds ? m->pages.sent : NULL;
	x->scan = m->precopy.decision.round + 1;
	int r = pthread_create(&x->thread, NULL, present_main, x);

	x->running = r == 0;
	if (r) { /* else they are the thread's, which may have ended by now */
		x->over = true;
		x->result = -r;
	}
	*out = x;
	return r ? err_set(e, ERR_SYS, r, "thread for the last scan") : 0;
}

int present_wait(struct present *x, uint64_t *scan_us, struct err *e)
{
	if (x->running) {
		pthread_join(x->thread, NULL);
		x->running = false;
	}
	if (scan_us)
		*scan_us = x->scan_us;
	if (x->result < 0)
		*e = x->err;
	return x->result;
}

void present_free(struct present *x)
{
	struct err ignore = ERR_INIT;

	if (!x)
		return;
	present_wait(x, NULL, &ignore);
	for (size_t i = 0; i < x->n; i++) {
		runs_fini(&x->v[i].dirty);
		runs_fini(&x->v[i].present);
	}
	for (size_t i = 0; i < x->n_obj; i++)
		runs_fini(&x->obj[i].data);
	pthread_cond_destroy(&x->changed);
	pthread_mutex_destroy(&x->lock);
	free(x->obj);
	free(x->v);
	free(x);
}

/* ---- all pages of a task ---- */

/* The position of a walk over several ascending lists of runs. */
struct walk {
	const struct runs *runs[4];
	bool eager[4];
	size_t at[4];
};

/* The list whose next run has the lowest address; -1: all lists are done. */
static int walk_next(const struct walk *w)
{
	int best = -1;

	for (int i = 0; i < 4; i++)
		if (w->at[i] < w->runs[i]->n &&
		    (best < 0 ||
		     w->runs[i]->v[w->at[i]].vaddr < w->runs[best]->v[w->at[best]].vaddr))
			best = i;
	return best;
}

/* The part of the present pages that @own covers. */
static int cut_out(const struct runs *present, const struct own_vma *own, struct runs *out)
{
	int r = 0;

	for (size_t i = runs_find(present, own->start); r == 0 && i < present->n; i++) {
		uint64_t start = present->v[i].vaddr;
		uint64_t end = start + present->v[i].pages * PAGE_BYTES;

		if (start >= own->end)
			break;
		start = start < own->start ? own->start : start;
		end = end > own->end ? own->end : end;
		r = runs_add(out, start, (end - start) >> PAGE_BITS);
	}
	return r;
}

/* Pages that we list in mappings of which CRIU says: locked. They must be there at once. */
static int split_own(const struct mig *m, const struct present_task *t, struct runs *lazy,
                     struct runs *eager, struct err *e)
{
	struct img_vmas *v = NULL;
	const struct own_task *own = t ? answer_criu_task(m, t->pid) : NULL;

	if (!t || !t->present.n || !own || !own->n_answered)
		return 0;
	int r = img_vmas(m->dump.images_fd, inner_of(t->pid), &v, e);

	for (size_t i = 0; r == 0 && i < own->n; i++)
		if (own->v[i].answered &&
		    cut_out(&t->present, &own->v[i],
		            img_vmas_lazy(v, own->v[i].start) ? lazy : eager) < 0)
			r = err_set(e, ERR_SYS, ENOMEM, "no memory to classify pages");
	img_vmas_free(v);
	return r;
}

/*
 * Pages that CRIU left out as clean: CRIU does not say whether they are lazy, so its own rule is
 * applied.
 */
static int split_clean(const struct mig *m, const struct sink_obj *o, struct runs *lazy,
                       struct runs *eager, struct err *e)
{
	struct img_vmas *v = NULL;

	if (!o->clean.n)
		return 0;
	int r = img_vmas(m->dump.images_fd, (pid_t)obj_id(o->obj), &v, e);

	for (size_t i = 0; r == 0 && i < o->clean.n; i++) {
		uint64_t at = o->clean.v[i].vaddr, to;
		uint64_t end = at + o->clean.v[i].pages * PAGE_BYTES;

		for (; r == 0 && at < end; at = to) {
			to = img_vmas_end(v, at);
			to = to < end ? to : end;
			if (runs_add(img_vmas_lazy(v, at) ? lazy : eager, at,
			             (to - at) >> PAGE_BITS) < 0)
				r = err_set(e, ERR_SYS, ENOMEM, "no memory to classify pages");
		}
	}
	img_vmas_free(v);
	return r;
}

int present_walk(struct mig *m, const struct present_task *t, const struct sink_obj *o,
                 present_fn fn, void *arg, struct err *e)
{
	AUTO(runs) struct runs lazy = { 0 };
	AUTO(runs) struct runs eager = { 0 };
	struct walk w = { .runs = { &o->lazy, &o->eager, &lazy, &eager },
		          .eager = { false, true, false, true } };
	/* CRIU either looks at all mappings itself or is answered: one of these lists is empty */
	pthread_mutex_lock(&m->dump.lock);
	int i, r = m->dump.n_answered ? split_own(m, t, &lazy, &eager, e)
	                              : split_clean(m, o, &lazy, &eager, e);

	pthread_mutex_unlock(&m->dump.lock);

	if (r < 0)
		return r;
	while (r == 0 && (i = walk_next(&w)) >= 0)
		r = fn(arg, &w.runs[i]->v[w.at[i]++], w.eager[i]);
	return r < 0 ? err_set(e, ERR_SYS, -r, "classify pages: %s", strerror(-r)) : 0;
}
