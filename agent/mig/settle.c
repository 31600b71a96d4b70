// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * settle.c - write the files that arrived to the disk before the source gives its copy away. Done after
 * the resume, not in the freeze: the program's own fsync() calls are not held up.
 */
#include "agent/mig/settle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

void settle_note(struct settle *s, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	for (size_t i = 0; i < s->n; i++)
		if (s->dev[i] == st.st_dev)
			return;
	int copy = s->n < SETTLE_MAX ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;

	if (copy < 0) {
		log_warn("new files will be on the disk when the kernel writes them, not before");
		return;
	}
	s->dev[s->n] = st.st_dev;
	s->fd[s->n++] = copy;
}

static void *settle_main(void *arg)
{
	struct settle *s = arg;

	for (size_t i = 0; i < s->n; i++)
		if (syncfs(s->fd[i]) < 0)
			log_err("new files may not be on the disk: %s", strerror(errno));
	__atomic_store_n(&s->over, true, __ATOMIC_RELEASE);
	return NULL;
}

void settle_begin(struct settle *s)
{
	s->begun = s->n && pthread_create(&s->thread, NULL, settle_main, s) == 0;
}

bool settle_is_over(const struct settle *s)
{
	return !s->begun || __atomic_load_n(&s->over, __ATOMIC_ACQUIRE);
}

void settle_fini(struct settle *s)
{
	if (s->begun)
		pthread_join(s->thread, NULL);
	while (s->n)
		close(s->fd[--s->n]);
	s->begun = false;
}
