// SPDX-License-Identifier: GPL-2.0-or-later
/* send_switch.c - the final page maps and options, with which the destination restores. */
#include "hauler/run/priv.h"

#include <stdlib.h>

#include "common/clock.h"
#include "hauler/mig/sockets.h"
#include "transport/msg/haul.pb-c.h"

static int pack_objects(struct mig *m, Haul__Object **ptr, Haul__Object *v,
                        const struct sink_obj *objs, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		haul__object__init(&v[i]);
		v[i].obj = objs[i].obj;
		ptr[i] = &v[i];
		if (class_runs_pack(&m->dump.maps[i], &v[i].runs.data, &v[i].runs.len) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
	}
	return 0;
}

static int send_maps(struct mig *m, Haul__Switch *s, struct err *e)
{
	size_t n;
	const struct sink_obj *objs = sink_objs(m->dump.sink, &n);
	AUTO(mem) Haul__Object *v = calloc(n + 1, sizeof(*v));
	AUTO(mem) Haul__Object **ptr = calloc(n + 1, sizeof(Haul__Object *));
	int r = v && ptr ? pack_objects(m, ptr, v, objs, n, e)
	                 : err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");

	if (r == 0) {
		s->n_object = n;
		s->object = ptr;
		r = wire_say(m->link.ctl, HAUL__MSG__BODY_SWITCH_OVER, s, mig_deadline(m), e);
	}
	for (size_t i = 0; v && i < n; i++)
		free(v[i].runs.data);
	return r;
}

static int fill_and_send(struct mig *m, Haul__Switch *s, struct err *e)
{
	int r = mnet_switch(m, s, e);

	if (r)
		return r;
	r = needs_still(m->needs, s, e);
	if (r)
		return r;
	threads_switch(m->dump.threads, s);
	r = sockets_switch(m->dump.sockets, s, e);
	if (r)
		return r;
	r = ttys_switch(m->copy.ttys, s, e);
	if (r)
		return r;
	r = unread_switch(m, s, e);
	return r ? r : send_maps(m, s, e);
}

int send_switch_run(struct mig *m, struct err *e)
{
	Haul__Switch s = HAUL__SWITCH__INIT;
	uint64_t now = now_us(), until = mig_deadline(m);

	s.shell_job = inspect_shell_job(m->insp);
	s.ext_unix = inspect_ext_unix(m->insp);
	s.file_locks = true;
	s.tasks = m->fig.tasks;
	s.limit_ms = until > now ? (until - now) / 1000 : 1;
	int r = fill_and_send(m, &s, e);

	needs_still_free(&s);
	sockets_switch_free(&s);
	ttys_switch_free(&s);
	unread_switch_free(&s);
	return r;
}
