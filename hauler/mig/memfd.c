// SPDX-License-Identifier: GPL-2.0-or-later
/* memfd.c - /proc/PID/mem of the processes of the tree, opened when first needed. */
#include <stdlib.h>
#include <unistd.h>

#include "common/array.h"
#include "hauler/mig/mig.h"

int memfd_get(struct mig *m, pid_t pid, struct err *e)
{
	for (size_t i = 0; i < m->pages.n_mem; i++)
		if (m->pages.mem[i].pid == pid)
			return m->pages.mem[i].fd;
	if (array_grow(&m->pages.mem, m->pages.n_mem, &m->pages.cap_mem, sizeof(*m->pages.mem)) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for one more process");
	int fd = mem_open(pid, e);

	if (fd >= 0)
		m->pages.mem[m->pages.n_mem++] = (struct task_mem){ pid, fd };
	return fd;
}

void memfd_close_all(struct mig *m)
{
	for (size_t i = 0; i < m->pages.n_mem; i++)
		close(m->pages.mem[i].fd);
	free(steal(m->pages.mem));
	m->pages.n_mem = m->pages.cap_mem = 0;
}
