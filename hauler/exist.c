// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * exist.c - which pages a stopped tree has: what CRIU listed, and in the mappings that
 * it did not look into what our own last scan found.
 */
#include "hauler/exist.h"

#include <stdlib.h>
#include <string.h>

struct scan {
	const struct mig *m;
	struct exist *x;
};

const struct exist_task *exist_task(const struct exist *x, pid_t pid)
{
	for (size_t i = x->n; i-- > 0;)
		if (x->v[i].pid == pid)
			return &x->v[i];
	return NULL;
}

static struct exist_task *task_of(struct exist *x, pid_t pid)
{
	/* processes come one after the other */
	if (x->n && x->v[x->n - 1].pid == pid)
		return &x->v[x->n - 1];
	struct exist_task *v = realloc(x->v, (x->n + 1) * sizeof(*v));

	if (!v)
		return NULL;
	x->v = v;
	v[x->n] = (struct exist_task){ .pid = pid };
	return &v[x->n++];
}

static int collect(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                   unsigned int flags)
{
	struct scan *s = arg;
	struct exist_task *t = task_of(s->x, pid);

	if (!t)
		return -ENOMEM;
	int r = flags & TRK_DIRTY ? runs_add(&t->dirty, vaddr, pages) : 0;

	if (r == 0 && !(flags & TRK_ZERO) && s->m->n_ours && ours_has(s->m, pid, vma->start))
		r = runs_add(&t->present, vaddr, pages);
	return r;
}

int exist_scan(struct mig *m, struct exist *out, struct err *e)
{
	struct scan s = { .m = m, .x = out };
	struct trk_stats st = { 0 };

	return trk_final(m->trk, collect, &s, &st, e);
}

void exist_fini(struct exist *x)
{
	for (size_t i = 0; i < x->n; i++) {
		runs_fini(&x->v[i].dirty);
		runs_fini(&x->v[i].present);
	}
	free(x->v);
	memset(x, 0, sizeof(*x));
}

/* Where a walk over several ascending lists of runs stands. */
struct walk {
	const struct runs *runs[4];
	bool eager[4];
	size_t at[4];
};

/* The list whose next run comes first; -1: all are done. */
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

/* Ours, by what CRIU says of the mappings: locked memory must be there at once. */
static int split_own(const struct mig *m, const struct exist_task *t, struct runs *lazy,
                     struct runs *eager, struct err *e)
{
	struct img_vmas *v = NULL;
	int r = t && t->present.n ? img_vmas(m->images_fd, t->pid, &v, e) : 0;

	for (size_t i = 0; v && r == 0 && i < t->present.n; i++) {
		const struct run *p = &t->present.v[i];

		/* a run may span mappings of both kinds: by mapping */
		for (uint64_t at = p->vaddr, end = p->vaddr + p->pages * ENG_PAGE_BYTES;
		     r == 0 && at < end;) {
			uint64_t stop = end;

			for (size_t k = 0; k < m->n_ours; k++)
				if (m->ours[k].pid == t->pid && m->ours[k].start <= at &&
				    at < m->ours[k].end && m->ours[k].end < stop)
					stop = m->ours[k].end;
			r = runs_add(img_vmas_lazy(v, at) ? lazy : eager, at,
			             (stop - at) >> ENG_PAGE_SHIFT);
			at = stop;
		}
	}
	img_vmas_free(v);
	return r < 0 ? err_set(e, ERR_SYS, -r, "classify pages: %s", strerror(-r)) : 0;
}

int exist_walk(const struct mig *m, const struct exist_task *t, const struct sink_obj *o,
               exist_fn fn, void *arg, struct err *e)
{
	AUTO(runs) struct runs lazy = { 0 };
	AUTO(runs) struct runs eager = { 0 };
	struct walk w = { .runs = { &o->lazy, &o->eager, &lazy, &eager },
		          .eager = { false, true, false, true } };
	int i, r = split_own(m, t, &lazy, &eager, e);

	if (r < 0)
		return r;
	while (r == 0 && (i = walk_next(&w)) >= 0)
		r = fn(arg, &w.runs[i]->v[w.at[i]++], w.eager[i]);
	return r < 0 ? err_set(e, ERR_SYS, -r, "classify pages: %s", strerror(-r)) : 0;
}
