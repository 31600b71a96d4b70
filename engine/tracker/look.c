// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * look.c - the last scan: which pages a tree has, and which were written. It uses several
 * processors: the tree is stopped meanwhile.
 */
#include "engine/tracker/look.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/clock.h"
#include "common/page.h"
#include "engine/proc/proc.h"
#include "engine/tracker/priv.h"
#include "engine/tracker/tracker.h"

#define THREADS_MAX 8

/* Large mappings are cut into pieces for the threads, but sparse ones not into too many. */
#define PIECE_BYTES (256ULL << 20)
#define PIECES_MAX  256

/* Small mappings that touch are scanned together: a scan of one costs as much. */
#define SMALL_BYTES (2ULL << 20)
#define JOIN_BYTES  (16ULL << 20)

struct piece {
	pid_t pid;
	const struct tproc *known; /* as the tracker knows it */
	const struct vma *vma; /* the first of n_vmas, which are alike */
	size_t n_vmas;
	uint64_t start, end;
	struct page_region *v; /* found */
	size_t n, cap;
	int result;
};

struct look {
	const struct tracker *t;
	struct objects *objects; /* its */
	struct piece *piece;
	size_t n, cap;
	size_t next; /* atomic: the first piece that no thread has taken */
	struct vma_list *maps; /* by process */
	struct proc_list procs;
};

/* ---- what to look at ---- */

static int add_piece(struct look *l, const struct piece *new)
{
	if (array_grow(&l->piece, l->n, &l->cap, sizeof(*l->piece)) < 0)
		return -ENOMEM;
	l->piece[l->n++] = *new;
	return 0;
}

/* Is @vma the next of the last piece, and like it? */
static bool joined(struct look *l, pid_t pid, const struct tproc *known, const struct vma *vma)
{
	struct piece *p = l->n ? &l->piece[l->n - 1] : NULL;

	if (!p || p->pid != pid || p->known != known || p->vma + p->n_vmas != vma ||
	    vma->kind == VMA_SHARED || p->end != vma->start || p->vma->kind != vma->kind ||
	    vma->end - vma->start > SMALL_BYTES || p->vma->end - p->vma->start > SMALL_BYTES ||
	    vma->end - p->start > JOIN_BYTES)
		return false;
	p->end = vma->end;
	p->n_vmas++;
	return true;
}

static int add_vma(struct look *l, pid_t pid, const struct tproc *known, const struct vma *vma)
{
	uint64_t bytes = vma->end - vma->start, step = PIECE_BYTES;
	int r = 0;

	if (joined(l, pid, known, vma))
		return 0;
	while (bytes / step >= PIECES_MAX)
		step *= 2;
	for (uint64_t at = vma->start; r == 0 && at < vma->end; at += step) {
		struct piece p = {
			.pid = pid, .known = known, .vma = vma, .n_vmas = 1, .start = at
		};

		p.end = vma->end - at > step ? at + step : vma->end;
		r = add_piece(l, &p);
	}
	return r;
}

static bool is_private(const struct vma *v)
{
	return v->kind == VMA_ANON_PRIVATE || v->kind == VMA_FILE_PRIVATE;
}

/* Of shared memory what a process that may write to it has written. */
static int add_shared(struct look *l, pid_t pid, const struct tproc *known, const struct vma *v)
{
	if (!objects_get(l->objects, pid, v))
		return 0;
	return known && v->prot[1] == 'w' ? add_vma(l, pid, known, v) : 0;
}

static int add_proc(struct look *l, size_t i)
{
	struct err ignore = ERR_INIT;
	struct vma_list *maps = &l->maps[i];
	pid_t pid = l->procs.pid[i];
	const struct tproc *known = l->t->ops->known(l->t, pid);
	int r = procs_maps(pid, maps, &ignore);

	if (r < 0)
		return r == -ESRCH ? 0 : r; /* the process is gone, which is not an error */
	for (size_t k = 0; k < maps->n; k++) {
		const struct vma *v = &maps->v[k];
		const struct tproc *p = known && tracker_vma_among(v, &known->foreign) ? NULL
		                                                                       : known;
		if ((is_private(v) && add_vma(l, pid, p, v) < 0) ||
		    (objects_has(l->objects, v) && add_shared(l, pid, p, v) < 0))
			return -ENOMEM;
	}
	return 0;
}

/* ---- looking ---- */

static int keep_one(struct piece *p, const struct page_region *r)
{
	if (p->n && p->v[p->n - 1].end == r->start && p->v[p->n - 1].categories == r->categories) {
		p->v[p->n - 1].end = r->end;
		return 0;
	}
	if (array_grow(&p->v, p->n, &p->cap, sizeof(*p->v)) < 0)
		return -ENOMEM;
	p->v[p->n++] = *r;
	return 0;
}

static int keep(void *arg, const struct page_region *vec, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = keep_one(arg, &vec[i]);
	return r;
}

/* Return: 0, also when the process is gone; -errno: a page may have been left out */
static int scan_piece(struct piece *p, const struct tracker *t, int pagemap, struct look_room *room)
{
	struct look_at l = { .t = t, .p = p->known, .pagemap = pagemap, .vma = p->vma };
	int r = calm_look(&l, p->start, p->end, room, keep, p);

	return r == -ESRCH ? 0 : r;
}

static void *look_main(void *arg)
{
	struct look *l = arg;
	AUTO(mem) struct look_room *room = malloc(sizeof(*room));
	AUTO(fd) int map = -1;
	pid_t open_pid = 0;
	int open_error = 0;
	char path[40];
	size_t i;

	while ((i = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED)) < l->n) {
		struct piece *p = &l->piece[i];

		if (p->pid != open_pid) {
			if (map >= 0)
				close(steal_fd(&map));
			snprintf(path, sizeof(path), "/proc/%d/pagemap", p->pid);
			map = open(path, O_RDONLY | O_CLOEXEC);
			open_error = map < 0 && errno != ENOENT && errno != ESRCH ? -errno : 0;
			open_pid = p->pid;
		}
		if (map < 0 || !room)
			p->result = room ? open_error : -ENOMEM;
		else
			p->result = scan_piece(p, l->t, map, room);
	}
	return NULL;
}

/* This thread takes part, so it works even if no other thread starts. */
static void look_all(struct look *l)
{
	pthread_t thread[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = 0, want = cpus > THREADS_MAX ? THREADS_MAX : (size_t)cpus;

	while (n + 1 < want && n + 1 < l->n && pthread_create(&thread[n], NULL, look_main, l) == 0)
		n++;
	look_main(l);
	while (n > 0)
		pthread_join(thread[--n], NULL);
}

/* ---- telling ---- */

static unsigned int flags_of(uint64_t categories)
{
	unsigned int f = TRACKER_PRESENT;

	if (!(categories & PAGE_IS_WPALLOWED) || (categories & PAGE_IS_WRITTEN))
		f |= TRACKER_DIRTY;
	if (categories & PAGE_IS_PFNZERO)
		f |= TRACKER_ZERO;
	return f;
}

/* The part of a region that lies in each of its mappings. @at: of the mapping, for the next region */
static int tell_region(const struct piece *p, const struct page_region *g, size_t *at,
                       tracker_emit_fn emit, void *arg)
{
	uint64_t start = g->start;
	unsigned int f = flags_of(g->categories);
	int r = 0;

	while (r == 0 && start < g->end) {
		while (*at + 1 < p->n_vmas && p->vma[*at].end <= start)
			++*at;
		uint64_t end = *at + 1 < p->n_vmas && p->vma[*at].end < g->end ? p->vma[*at].end
		                                                               : g->end;

		r = emit(arg, p->pid, &p->vma[*at], start, (end - start) >> PAGE_BITS, f);
		start = end;
	}
	return r;
}

static int tell(const struct piece *p, tracker_emit_fn emit, void *arg, struct tracker_stats *st)
{
	int r = p->result;
	size_t at = 0;

	for (size_t i = 0; r == 0 && i < p->n; i++) {
		uint64_t pages = (p->v[i].end - p->v[i].start) >> PAGE_BITS;

		if (flags_of(p->v[i].categories) & TRACKER_DIRTY)
			st->dirty_pages += pages;
		st->tracked_pages += pages;
		r = tell_region(p, &p->v[i], &at, emit, arg);
	}
	return r;
}

static int note_shared(struct objects *o, const struct piece *p)
{
	struct object *x = objects_get(o, p->pid, p->vma);
	int r = p->result;

	for (size_t i = 0; x && r == 0 && i < p->n; i++)
		if (flags_of(p->v[i].categories) & TRACKER_DIRTY)
			r = objects_wrote(o, x, p->vma, p->v[i].start,
			                  (p->v[i].end - p->v[i].start) >> PAGE_BITS);
	return r;
}

static void fini(struct look *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->piece[i].v);
	free(l->piece);
	for (size_t i = 0; l->maps && i < l->procs.n; i++)
		procs_vmas_fini(&l->maps[i]);
	free(l->maps);
	procs_fini(&l->procs);
}

int look_tree(struct tracker *t, tracker_emit_fn emit, void *arg, struct tracker_stats *st,
              struct err *e)
{
	struct look l = { .t = t, .objects = &t->objects };
	uint64_t t0 = now_us();
	int r = procs_tree(t->root, &l.procs, e);

	memset(st, 0, sizeof(*st));
	objects_begin(&t->objects, true);
	if (r < 0)
		return r;
	l.maps = calloc(l.procs.n + 1, sizeof(*l.maps));
	r = l.maps ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < l.procs.n; i++)
		r = add_proc(&l, i);
	if (r == 0)
		look_all(&l);
	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = l.piece[i].vma->kind == VMA_SHARED ? note_shared(&t->objects, &l.piece[i])
		                                       : tell(&l.piece[i], emit, arg, st);
	if (r < 0)
		err_set(e, ERR_SYS, -r, "scan of the tree of process %d: %s", t->root,
		        strerror(-r));
	fini(&l);
	st->scan_us = now_us() - t0;
	return r;
}
