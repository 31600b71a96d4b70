// SPDX-License-Identifier: GPL-2.0-or-later
/* sockets.c - give the restored sockets the options and multicast groups that they had at the source. */
#include "agent/gate/sockets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/berth/berth.h"
#include "common/auto.h"
#include "common/log.h"
#include "engine/images/img.h"
#include "engine/net/net.h"
#include "engine/net/sockopts.h"
#include "engine/proc/proc.h"
#include "transport/msg/haul.pb-c.h"

static void take_group(const Haul__Group *from, struct sockopts *o)
{
	struct sockopts_group *g = &o->group[o->n_group];

	if (o->n_group == SOCKOPTS_GROUPS || (from->address.len != 4 && from->address.len != 16))
		return;
	memset(g, 0, sizeof(*g));
	snprintf(g->iface, sizeof(g->iface), "%s", from->iface);
	g->bytes = (uint8_t)from->address.len;
	memcpy(g->addr, from->address.data, g->bytes);
	g->exclude = from->exclude;
	for (size_t k = 0; k < from->n_source && k < SOCKOPTS_SOURCES; k++)
		if (from->source[k].len == g->bytes)
			memcpy(g->source[g->n_source++], from->source[k].data, g->bytes);
	o->n_group++;
}

static void take(const Haul__Sock *s, struct sockopts *o)
{
	memset(o, 0, sizeof(*o));
	o->domain = (int)s->domain;
	o->type = (int)s->type;
	for (size_t k = 0; k < s->n_option && o->n < SOCKOPTS_ROWS; k++) {
		const ProtobufCBinaryData *v = &s->option[k]->value;

		if (!v->len || v->len > SOCKOPTS_VALUE_BYTES)
			continue;
		o->v[o->n].row = s->option[k]->row;
		o->v[o->n].bytes = (uint8_t)v->len;
		memcpy(o->v[o->n++].value, v->data, v->len);
	}
	for (size_t k = 0; k < s->n_group; k++)
		take_group(s->group[k], o);
	snprintf(o->iface, sizeof(o->iface), "%s", s->iface);
	if (s->from.len == sizeof(o->from))
		memcpy(o->from, s->from.data, sizeof(o->from));
}

static bool in_tree(const struct img_tree *t, uint32_t pid)
{
	for (size_t i = 0; i < t->n; i++)
		if ((uint32_t)t->v[i].pid == pid)
			return true;
	return false;
}

/* Before the options: what becomes of a closed connection is not the same with all of them. */
static void fail_closed(const struct wrk *w, const struct img_tree *t, const Haul__Switch *s)
{
	for (size_t i = 0; i < s->n_closed; i++) {
		const Haul__Closed *c = s->closed[i];

		if (!in_tree(t, c->pid))
			continue;
		AUTO(fd) int fd = procs_copy_fd(berth_pid(w, (pid_t)c->pid), (int)c->fd);
		int r = fd < 0 ? 0 : net_sock_fail(fd);

		if (r < 0)
			log_warn("descriptor %u of pid %u: its closed connection reads as ended, "
			         "not as reset: %s",
			         c->fd, c->pid, strerror(-r));
	}
}

void sockets_set(const struct wrk *w, const Haul__Switch *s)
{
	AUTO(mem) struct sockopts *o = malloc(sizeof(*o));
	struct img_tree tree = { 0 };
	struct err ignore = ERR_INIT;

	if (!o || !(s->n_sock || s->n_closed) || img_tree(w->images_fd, &tree, &ignore) < 0)
		return;
	fail_closed(w, &tree, s);
	/* of the tree only, whatever the source names */
	for (size_t i = 0; i < s->n_sock; i++) {
		const Haul__Sock *v = s->sock[i];
		char who[64];

		if (!in_tree(&tree, v->pid))
			continue;
		AUTO(fd) int fd = procs_copy_fd(berth_pid(w, (pid_t)v->pid), (int)v->fd);

		if (fd < 0)
			continue; /* it was replaced or left behind */
		snprintf(who, sizeof(who), "descriptor %u of pid %u", v->fd, v->pid);
		take(v, o);
		sockopts_write(fd, o, who);
	}
	img_tree_fini(&tree);
}
