// SPDX-License-Identifier: GPL-2.0-or-later
/* terminals.c - what waited in the terminals of the tree, into those of the restored one. */
#include "agent/gate/terminals.h"

#include <stdint.h>
#include <unistd.h>

#include "agent/berth/berth.h"
#include "common/auto.h"
#include "common/log.h"
#include "engine/images/img.h"
#include "engine/proc/proc.h"
#include "engine/proc/ttyqueue.h"
#include "transport/msg/haul.pb-c.h"

/* Of the tree only, whatever the source names. Return: a copy; below 0: none */
static int copy_fd(const struct wrk *w, const struct img_tree *t, uint32_t pid, uint32_t number)
{
	for (size_t i = 0; i < t->n; i++)
		if ((uint32_t)t->v[i].pid == pid)
			return procs_copy_fd(berth_pid(w, (pid_t)pid), (int)number);
	return -1;
}

void terminals_put(const struct wrk *w, const Haul__Switch *s)
{
	struct img_tree tree = { 0 };
	struct err ignore = ERR_INIT;

	if (!s->n_terminal || img_tree(w->images_fd, &tree, &ignore) < 0)
		return;
	for (size_t i = 0; i < s->n_terminal; i++) {
		const Haul__Terminal *v = s->terminal[i];
		const struct ttyqueue q = { .input = v->input.data,
			                    .n_input = v->input.len,
			                    .output = v->output.data,
			                    .n_output = v->output.len };
		AUTO(fd) int master = copy_fd(w, &tree, v->master_pid, v->master_fd);
		AUTO(fd) int slave = copy_fd(w, &tree, v->slave_pid, v->slave_fd);

		if (master < 0 || slave < 0 || ttyqueue_number(master) < 0 || !isatty(slave) ||
		    ttyqueue_put(master, slave, &q) < 0)
			log_warn("what waited in the terminal of pid %u is lost", v->slave_pid);
	}
	img_tree_fini(&tree);
}
