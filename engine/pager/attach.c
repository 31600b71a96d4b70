// SPDX-License-Identifier: GPL-2.0-or-later
/* attach.c - CRIU has announced a task: its userfaultfd is given to its space. */
#include "engine/pager/priv.h"

#include <errno.h>

#include "common/log.h"
#include "common/page.h"

static struct space *find_pid(struct pager *p, pid_t pid)
{
	for (struct family *f = p->book->families; f; f = f->next)
		for (struct space *s = f->spaces; s; s = s->next)
			if (s->pid == pid)
				return s;
	return NULL;
}

/* CRIU announced a task that has no page map: all its missing pages are zero. */
static struct space *unknown_pid(struct pager *p, pid_t pid)
{
	struct family *f = family_new(p, obj_of_task(pid), false);

	if (f)
		f->spaces = space_new(f, pid);
	if (!f || !f->spaces) {
		family_free(f);
		return NULL;
	}
	f->next = p->book->families;
	__atomic_store_n(&p->book->families, f, __ATOMIC_RELEASE);
	return f->spaces;
}

int pager_take_uffd(struct pager *p, pid_t pid, int fd)
{
	struct space *s = find_pid(p, pid);

	if (!s)
		s = unknown_pid(p, pid);
	if (!s || s->started) {
		log_err("pid %d: userfaultfd refused", pid);
		family_close_uffd(fd);
		return s ? -EPROTO : -ENOMEM;
	}
	pthread_rwlock_wrlock(&s->fam->lock);
	s->uffd = fd;
	s->started = true;
	pthread_rwlock_unlock(&s->fam->lock);
	return pager_watch(p, s);
}
