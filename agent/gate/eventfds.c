// SPDX-License-Identifier: GPL-2.0-or-later
/* eventfds.c - a new eventfd begins with a count of 32 bits: the rest is written to it. */
#include "agent/gate/eventfds.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/berth/berth.h"
#include "common/auto.h"
#include "common/log.h"
#include "engine/images/img.h"
#include "engine/proc/proc.h"

/* The write cannot wait: the sum is what the count was. */
static void add(const struct wrk *w, const struct img_eventfd *v)
{
	AUTO(fd) int fd = procs_copy_fd(berth_pid(w, v->pid), v->fd);

	if (fd >= 0 && write(fd, &v->more, sizeof(v->more)) != sizeof(v->more))
		log_warn("descriptor %d of pid %d: its count is lost: %s", v->fd, v->pid,
		         strerror(errno));
}

static bool expected; /* a worker has one tree */

void eventfds_expect(bool any)
{
	expected = any;
}

void eventfds_set(const struct wrk *w)
{
	AUTO(mem) struct img_eventfd *v = NULL;
	struct err why = ERR_INIT;
	size_t n = 0;

	if (expected && img_eventfds(w->images_fd, &v, &n, &why) < 0)
		log_warn("counts of eventfds: %s", why.msg);
	for (size_t i = 0; i < n; i++)
		add(w, &v[i]);
}
