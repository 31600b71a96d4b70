// SPDX-License-Identifier: GPL-2.0-or-later
/* family.c - what address spaces share that descend from one migrated process. */
#include "engine/pager/priv.h"

#include <sched.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/page.h"
#include "engine/pager/pager.h"
#include "engine/store/store.h"

#define WINDOW_BYTES ((uint64_t)WINDOW_PAGES * PAGE_BYTES)

static void make_locks(struct family *f)
{
	pthread_rwlockattr_t a;

	/* writers (events) first: a program, and perhaps a fault, waits for them */
	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&f->lock, &a);
	pthread_rwlockattr_destroy(&a);
	pthread_mutex_init(&f->wait_lock, NULL);
}

struct family *family_new(struct pager *p, uint64_t obj, bool create)
{
	struct family *f = arena_alloc(&p->mem, sizeof(*f));

	if (!f)
		return NULL;
	f->p = p;
	f->obj = obj;
	f->so = store_obj(p->store, obj, create);
	f->store_fd = f->so ? store_fd(f->so) : -1;
	make_locks(f);
	return f;
}

int family_revive(struct family *f, struct pager *p, struct err *e)
{
	f->p = p;
	f->so = NULL;
	f->wait = NULL;
	f->n_wait = f->cap_wait = 0;
	make_locks(f);
	return f->store_fd < 0 ? 0 : store_adopt(&f->so, p->store, f->obj, f->store_fd, e);
}

/*
 * Between the kernel's marking a userfaultfd as released and its locking the address space, a
 * thread that faults there retries in the kernel without giving up its CPU (Linux 6.15, and 6.12
 * with that backport). If we were preempted by that thread in between, neither we nor any other
 * process would ever run again on a machine with one CPU. A real-time thread is not preempted.
 * (Unregistering the ranges first would also do, but they are not all known: the program moves
 * them.)
 */
void family_close_uffd(int fd)
{
	struct sched_param was, first = { .sched_priority = 1 };
	int policy = sched_getscheduler(0);
	bool known = policy >= 0 && sched_getparam(0, &was) == 0;
	/* may be refused; then the risk remains */
	bool set = known && sched_setscheduler(0, SCHED_FIFO, &first) == 0;

	close(fd);
	if (set)
		sched_setscheduler(0, policy, &was);
}

void family_free(struct family *f)
{
	if (!f)
		return;
	while (f->spaces) {
		struct space *s = f->spaces;

		f->spaces = s->next;
		if (s->uffd >= 0)
			family_close_uffd(s->uffd);
		space_free(s);
	}
	pthread_rwlock_destroy(&f->lock);
	pthread_mutex_destroy(&f->wait_lock);
	free(f->wait);
	arena_free(&f->p->mem, f->sweep, f->cap_sweep * sizeof(*f->sweep));
	arena_free(&f->p->mem, f, sizeof(*f));
}

bool family_window_free(const struct family *f, uint64_t orig)
{
	for (const struct space *s = f->spaces; s; s = s->next)
		if (space_any(s, orig & ~(WINDOW_BYTES - 1), WINDOW_PAGES, KIND_LOCAL))
			return false;
	return true;
}

void family_window_drop(struct family *f, uint64_t orig)
{
	if (f->so)
		store_drop(f->so, orig & ~(WINDOW_BYTES - 1), WINDOW_PAGES);
}

void family_window_done(struct family *f, uint64_t orig)
{
	if (family_window_free(f, orig))
		family_window_drop(f, orig);
}

int family_note_chunks(struct family *f, const struct space *s)
{
	f->cap_sweep = s->n_chunks;
	f->sweep = arena_alloc(&f->p->mem, f->cap_sweep * sizeof(*f->sweep));
	if (!f->sweep)
		return -ENOMEM;
	for (size_t i = 0; f->so && i < s->n_chunks; i++)
		f->sweep[f->n_sweep++] = s->chunk[i].first;
	return 0;
}

bool family_sweep(struct family *f)
{
	if (f->swept == f->n_sweep)
		return false;
	store_drop(f->so, f->sweep[f->swept] << PAGE_BITS, PCHUNK_PAGES);
	f->swept++;
	return true;
}
