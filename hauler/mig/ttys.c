// SPDX-License-Identifier: GPL-2.0-or-later
/* ttys.c - what waits in the terminals of the stopped tree. */
#include "hauler/mig/ttys.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/log.h"
#include "engine/proc/inner.h"
#include "engine/proc/proc.h"
#include "engine/proc/ttyqueue.h"
#include "hauler/inspect/inspect.h"
#include "hauler/mig/mig.h"
#include "transport/msg/haul.pb-c.h"
#include "transport/msg/wire.h"

struct tty {
	struct inspect_pair at;
	int master, slave;
	struct ttyqueue q;
};

struct ttys {
	struct tty *v;
	size_t n;
};

/* One that has changed since the inspection is left to CRIU. */
static void take(struct ttys *t, const struct inspect_pair *at)
{
	AUTO(fd) int master = procs_copy_fd(at->master_pid, at->master_fd);
	AUTO(fd) int slave = procs_copy_fd(at->slave_pid, at->slave_fd);
	struct tty *k = &t->v[t->n];

	if (master < 0 || slave < 0 || !isatty(slave) || ttyqueue_number(master) != at->number)
		return;
	int r = ttyqueue_take(master, slave, &k->q);

	if (r < 0)
		log_warn("what waits in the terminal pts/%d: %s", at->number, strerror(-r));
	k->at = *at;
	k->master = steal_fd(&master);
	k->slave = steal_fd(&slave);
	t->n++;
}

int ttys_take(struct mig *m, struct err *e)
{
	size_t n = 0;
	const struct inspect_pair *pairs = m->insp ? inspect_pairs(m->insp, &n) : NULL;

	if (!n)
		return 0;
	struct ttys *t = m->copy.ttys = calloc(1, sizeof(*t));

	if (!t || !(t->v = calloc(n, sizeof(*t->v))))
		return err_set(e, ERR_SYS, ENOMEM, "no memory for terminals");
	for (size_t i = 0; i < n; i++)
		take(t, &pairs[i]);
	return 0;
}

void ttys_put(struct ttys *t)
{
	for (size_t i = 0; t && i < t->n; i++)
		if (ttyqueue_put(t->v[i].master, t->v[i].slave, &t->v[i].q) < 0)
			log_warn("what waited in the terminal pts/%d could not be put back",
			         t->v[i].at.number);
}

int ttys_switch(const struct ttys *t, Haul__Switch *s, struct err *e)
{
	if (!t)
		return 0;
	s->terminal = calloc(t->n + 1, sizeof(*s->terminal));
	for (size_t i = 0; s->terminal && i < t->n; i++) {
		const struct tty *k = &t->v[i];
		Haul__Terminal *v = malloc(sizeof(*v));

		if (!v)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for terminals");
		haul__terminal__init(v);
		s->terminal[s->n_terminal++] = v;
		v->master_pid = (uint32_t)inner_of(k->at.master_pid);
		v->master_fd = (uint32_t)k->at.master_fd;
		v->slave_pid = (uint32_t)inner_of(k->at.slave_pid);
		v->slave_fd = (uint32_t)k->at.slave_fd;
		if (wire_copy(&v->input, k->q.input, k->q.n_input) < 0 ||
		    wire_copy(&v->output, k->q.output, k->q.n_output) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for terminals");
	}
	return s->terminal ? 0 : err_set(e, ERR_SYS, ENOMEM, "no memory for terminals");
}

void ttys_switch_free(Haul__Switch *s)
{
	for (size_t i = 0; i < s->n_terminal; i++)
		haul__terminal__free_unpacked(s->terminal[i], NULL);
	free(s->terminal);
	s->terminal = NULL;
	s->n_terminal = 0;
}

void ttys_free(struct ttys *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++) {
		ttyqueue_fini(&t->v[i].q);
		close(t->v[i].master);
		close(t->v[i].slave);
	}
	free(t->v);
	free(t);
}
