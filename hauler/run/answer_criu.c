// SPDX-License-Identifier: GPL-2.0-or-later
/* answer_criu.c - answers that CRIU gets instead of looking itself: page scans, smaps. */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/log.h"

/* CRIU scans smaller ones quickly, several in one call. */
#define OURS_BYTES_MIN (2u << 20)

bool answer_criu_could(const struct vma *v)
{
	/* what CRIU would find of a shared mapping it does not use */
	return (v->kind == VMA_ANON_PRIVATE || v->kind == VMA_SHARED) &&
	       v->end - v->start >= OURS_BYTES_MIN;
}

/* ---- page scans: maps is read once for each process, whose mappings stand still ---- */

static size_t place_of(const struct dump *d, pid_t pid)
{
	size_t low = 0, high = d->n_own;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (d->own[mid].pid < pid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct own_task *answer_criu_task(const struct mig *m, pid_t pid)
{
	size_t i = place_of(&m->dump, pid);

	return i < m->dump.n_own && m->dump.own[i].pid == pid ? &m->dump.own[i] : NULL;
}

static int read_own(struct own_task *t, pid_t pid)
{
	AUTO(vmas) struct vma_list l = { 0 };
	struct err ignore = ERR_INIT;

	t->pid = pid;
	if (procs_maps(pid, &l, &ignore) < 0)
		return 0; /* then CRIU looks itself */
	for (size_t i = 0; i < l.n; i++) {
		if (!answer_criu_could(&l.v[i]))
			continue;
		if (array_grow(&t->v, t->n, &t->cap, sizeof(*t->v)) < 0)
			return -ENOMEM;
		t->v[t->n++] = (struct own_vma){ .start = l.v[i].start, .end = l.v[i].end };
	}
	return 0;
}

static struct own_task *add_task(struct dump *d, pid_t pid)
{
	size_t i = place_of(d, pid);
	struct own_task t = { 0 };

	if (read_own(&t, pid) < 0 ||
	    array_grow(&d->own, d->n_own, &d->cap_own, sizeof(*d->own)) < 0) {
		free(t.v);
		return NULL;
	}
	memmove(&d->own[i + 1], &d->own[i], (d->n_own++ - i) * sizeof(*d->own));
	d->own[i] = t;
	return &d->own[i];
}

static int by_start(const void *a, const void *b)
{
	const struct own_vma *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static bool ours_answer(void *arg, pid_t pid, uint64_t start, uint64_t end)
{
	struct mig *m = arg;
	const struct own_vma key = { .start = start };

	if (end <= start || end - start < OURS_BYTES_MIN)
		return false;
	pthread_mutex_lock(&m->dump.lock);
	struct own_task *t = answer_criu_task(m, pid);

	t = t ? t : add_task(&m->dump, pid);
	struct own_vma *v = t && t->n ? bsearch(&key, t->v, t->n, sizeof(*v), by_start) : NULL;
	bool is = v && v->end == end;

	if (is && !v->answered) {
		v->answered = true;
		t->n_answered++;
		m->dump.n_answered++;
	}
	pthread_mutex_unlock(&m->dump.lock);
	return is;
}

void answer_criu_forget(struct mig *m)
{
	for (size_t i = 0; i < m->dump.n_own; i++)
		free(m->dump.own[i].v);
	free(steal(m->dump.own));
	m->dump.n_own = m->dump.cap_own = m->dump.n_answered = 0;
}

/* ---- smaps ---- */

static int smaps_answer(void *arg, pid_t pid)
{
	struct mig *m = arg;
	struct err e = ERR_INIT;
	int fd = smaps_open(m->dump.smaps, pid, &e);

	if (fd < 0)
		log_info("CRIU reads smaps itself: %s", e.msg);
	if (fd >= 0)
		__atomic_fetch_add(&m->dump.smaps_answered, 1, __ATOMIC_RELAXED);
	return fd;
}

int answer_criu_start(struct mig *m, int listener, bool smaps, scans_object_fn object,
                      struct err *e)
{
	struct scans_ops ops = { .scan = ours_answer, .object = object, .arg = m };
	struct err why = ERR_INIT;

	if (smaps && smaps_new(&m->dump.smaps, &why) == 0)
		ops.smaps = smaps_answer;
	else if (!smaps)
		log_info("smaps is left to CRIU: the tree has much to open and little memory");
	else
		log_info("smaps is left to CRIU: %s", why.msg);
	return scans_start(&m->dump.scans, listener, &ops, e);
}
