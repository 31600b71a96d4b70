// SPDX-License-Identifier: GPL-2.0-or-later
/* common.c - what the back ends of the tracker share. */
#include "engine/tracker/priv.h"

#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/log.h"
#include "common/page.h"

const struct tproc *tracker_known(const struct tracker *t, pid_t pid)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].pid == pid)
			return &t->v[i];
	return NULL;
}

bool tracker_vma_among(const struct vma *vma, const struct runs *l)
{
	size_t i = runs_find(l, vma->start);

	return i < l->n && l->v[i].vaddr < vma->end;
}

void tracker_not(struct tproc *p, const char *why)
{
	if (!p->said)
		log_warn("pid=%d is not tracked: %s", p->pid, why);
	p->said = true;
}

bool tracker_shared(const struct tracker *t, struct tproc *p)
{
	for (size_t i = 0; i < t->procs.n; i++)
		if (t->procs.pid[i] != p->pid &&
		    syscall(SYS_kcmp, p->pid, t->procs.pid[i], KCMP_VM, 0, 0) == 0) {
			tracker_not(p, "it shares its memory with another process");
			return true;
		}
	return false;
}

void tracker_loose(struct tracker *t, pid_t pid)
{
	AUTO(vmas) struct vma_list l = { 0 };
	struct err ignore = ERR_INIT;

	if (procs_maps(pid, &l, &ignore) < 0)
		return;
	for (size_t i = 0; i < l.n; i++) {
		struct object *x = objects_has(&t->objects, &l.v[i])
		                           ? objects_get(&t->objects, pid, &l.v[i])
		                           : NULL;
		if (x)
			x->loose = true;
	}
}

static int emit(struct scan *s, const struct page_region *r, uint64_t pages)
{
	if (s->obj)
		return objects_wrote(&s->t->objects, s->obj, s->vma, r->start, pages);
	return s->emit(s->arg, s->p->pid, s->vma, r->start, pages, TRACKER_PRESENT | TRACKER_DIRTY);
}

int tracker_report(struct scan *s, const struct page_region *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t pages = (v[i].end - v[i].start) >> PAGE_BITS;

		s->st->dirty_pages += pages;
		s->st->tracked_pages += pages;
		int e = emit(s, &v[i], pages);

		if (e < 0)
			return e;
	}
	return 0;
}
