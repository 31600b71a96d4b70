// SPDX-License-Identifier: GPL-2.0-or-later
/* answer_criu.c - answers that CRIU gets instead of looking itself: page scans, smaps. */
#include "hauler/run/priv.h"

#include <stdlib.h>

#include "common/log.h"

/* CRIU scans smaller ones quickly, several in one call. */
#define OURS_BYTES_MIN (2u << 20)

bool answer_criu_could(const struct vma *v)
{
	return v->kind == VMA_ANON_PRIVATE && v->end - v->start >= OURS_BYTES_MIN;
}

static bool is_one_anon(pid_t pid, uint64_t start, uint64_t end)
{
	struct vma_list l = { 0 };
	struct err ignore = ERR_INIT;
	bool yes = false;

	if (procs_maps(pid, &l, &ignore) == 0)
		for (size_t i = 0; i < l.n; i++)
			yes |= l.v[i].start == start && l.v[i].end == end &&
			       answer_criu_could(&l.v[i]);
	procs_vmas_fini(&l);
	return yes;
}

static bool has(const struct mig *m, pid_t pid, uint64_t vaddr)
{
	for (size_t i = 0; i < m->dump.n_ours; i++)
		if (m->dump.ours[i].pid == pid && vaddr >= m->dump.ours[i].start &&
		    vaddr < m->dump.ours[i].end)
			return true;
	return false;
}

static bool ours_answer(void *arg, pid_t pid, uint64_t start, uint64_t end)
{
	struct mig *m = arg;

	if (end <= start || end - start < OURS_BYTES_MIN || !is_one_anon(pid, start, end))
		return false;
	pthread_mutex_lock(&m->dump.lock);
	bool have = has(m, pid, start);
	struct own_vma *v = have ? m->dump.ours
	                         : realloc(m->dump.ours, (m->dump.n_ours + 1) * sizeof(*v));

	if (v) {
		m->dump.ours = v;
		if (!have)
			m->dump.ours[m->dump.n_ours++] = (struct own_vma){ pid, start, end };
	}
	pthread_mutex_unlock(&m->dump.lock);
	return v != NULL;
}

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

int answer_criu_start(struct mig *m, int listener, struct err *e)
{
	struct scans_ops ops = { .scan = ours_answer, .arg = m };
	struct err why = ERR_INIT;

	if (smaps_new(&m->dump.smaps, &why) == 0)
		ops.smaps = smaps_answer;
	else
		log_info("smaps is left to CRIU: %s", why.msg);
	return scans_start(&m->dump.scans, listener, &ops, e);
}
