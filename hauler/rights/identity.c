// SPDX-License-Identifier: GPL-2.0-or-later
/* identity.c - whose rights the processes of a tree have: user, groups, capabilities. */
#include "hauler/rights/identity.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto.h"
#include "transport/msg/haul.pb-c.h"

static void free_one(Haul__Identity *id)
{
	if (id)
		free(id->group);
	free(id);
}

static int take_groups(Haul__Identity *id, const char *list)
{
	char *end;

	for (;; list = end) {
		unsigned long gid = strtoul(list, &end, 10);

		if (end == list)
			return 0;
		uint32_t *v = realloc(id->group, (id->n_group + 1) * sizeof(*v));

		if (!v)
			return -ENOMEM;
		id->group = v;
		v[id->n_group++] = (uint32_t)gid;
	}
}

/* Return: the identity of process @pid; NULL no memory. A process that has ended has user 65534. */
static Haul__Identity *read_one(pid_t pid)
{
	char path[32];
	AUTO(mem) char *line = NULL;
	size_t cap = 0;
	Haul__Identity *id = malloc(sizeof(*id));
	int r = 0;

	if (!id)
		return NULL;
	haul__identity__init(id);
	id->uid = id->gid = 65534;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (r == 0 && f && getline(&line, &cap, f) > 0) {
		if (sscanf(line, "Uid: %*u %*u %*u %u", &id->uid) == 1 ||
		    sscanf(line, "Gid: %*u %*u %*u %u", &id->gid) == 1 ||
		    sscanf(line, "CapEff: %lx", &id->caps) == 1)
			continue;
		if (!strncmp(line, "Groups:", 7))
			r = take_groups(id, line + 7);
	}
	if (r == 0)
		return id;
	free_one(id);
	return NULL;
}

static bool is_same(const Haul__Identity *a, const Haul__Identity *b)
{
	return a->uid == b->uid && a->gid == b->gid && a->caps == b->caps &&
	       a->n_group == b->n_group &&
	       (!a->n_group || !memcmp(a->group, b->group, a->n_group * sizeof(*a->group)));
}

/* What is opened there for process @pid is opened as identity number @k. */
static void own(Haul__Offer *o, pid_t pid, size_t k)
{
	for (size_t i = 0; i < o->n_out; i++)
		if (o->out[i]->pid == (uint32_t)pid) {
			o->out[i]->uid = o->identity[k]->uid;
			o->out[i]->gid = o->identity[k]->gid;
			o->out[i]->identity = (uint32_t)k + 1;
		}
}

int identity_offer(const pid_t *pid, size_t n, Haul__Offer *o, struct err *e)
{
	o->identity = calloc(n + 1, sizeof(*o->identity));
	for (size_t i = 0; o->identity && i < n; i++) {
		Haul__Identity *id = read_one(pid[i]);
		size_t k = 0;

		if (!id)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for the offer");
		while (k < o->n_identity && !is_same(o->identity[k], id))
			k++;
		if (k < o->n_identity)
			free_one(id);
		else
			o->identity[o->n_identity++] = id;
		own(o, pid[i], k);
	}
	return o->identity ? 0 : err_set(e, ERR_SYS, ENOMEM, "no memory for the offer");
}

void identity_offer_fini(Haul__Offer *o)
{
	for (size_t i = 0; i < o->n_identity; i++)
		free_one(o->identity[i]);
	free(o->identity);
	o->identity = NULL;
	o->n_identity = 0;
}
