// SPDX-License-Identifier: GPL-2.0-or-later
/* base.c - haul's request to CRIU on the base of a runtime's. */
#include "engine/criu/base.h"

#include <stdlib.h>
#include <string.h>

#include "engine/criu/criu.h"

/*
 * CRIU's network_lock: we lock, drop or refuse connections ourselves. A CRIU that cannot skip it
 * uses nft for the connections that it drops.
 */
#define NETWORK_LOCK_NFT  2
#define NETWORK_LOCK_SKIP 3
#define LOCK_SKIPS        31900 /* the first version that can skip it */

#define SEIZE_LIMIT_S 10

/* Fields of criu_opts that are left out: tags of CRIU's RPC. */
static const unsigned int without[] = {
	34, /* manage_cgroups_mode: the runtime puts CRIU, and so the tree, into the container's cgroup */
	44, /* freeze_cgroup: CRIU would look only each 100 ms whether it is frozen; it seizes by ptrace */
	51, /* config_file: its settings would win over ours */
};

static bool is_without(unsigned int tag)
{
	for (size_t i = 0; i < ARRAY_SIZE(without); i++)
		if (without[i] == tag)
			return true;
	return false;
}

static void leave_out(ProtobufCMessage *m)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < m->n_unknown_fields; i++)
		if (is_without(m->unknown_fields[i].tag))
			free(m->unknown_fields[i].data);
		else
			m->unknown_fields[kept++] = m->unknown_fields[i];
	m->n_unknown_fields = kept;
}

int base_load(struct base *b, const uint8_t *data, size_t bytes, struct err *e)
{
	crpc__opts__init(&b->opts);
	if (!data)
		return 0;
	b->req = crpc__req__unpack(NULL, bytes, data);
	if (!b->req || !b->req->opts)
		return err_set(e, ERR_SYS, EBADMSG, "the runtime's request makes no sense");
	leave_out(&b->req->opts->base);
	b->opts = *b->req->opts;
	return 0;
}

int base_add(struct base *b, Crpc__Opts *opts, Crpc__InheritFd **inherit, size_t n_inherit,
             char *const *external, size_t n_external)
{
	b->inherit = calloc(opts->n_inherit_fd + n_inherit + 1, sizeof(*b->inherit));
	b->external = calloc(opts->n_external + n_external + 1, sizeof(*b->external));
	if (!b->inherit || !b->external)
		return -ENOMEM;
	for (size_t i = 0; i < opts->n_inherit_fd; i++)
		b->inherit[i] = opts->inherit_fd[i];
	for (size_t i = 0; i < n_inherit; i++)
		b->inherit[opts->n_inherit_fd + i] = inherit[i];
	for (size_t i = 0; i < opts->n_external; i++)
		b->external[i] = opts->external[i];
	for (size_t i = 0; i < n_external; i++)
		b->external[opts->n_external + i] = external[i];
	opts->n_inherit_fd += n_inherit;
	opts->n_external += n_external;
	opts->inherit_fd = b->inherit;
	opts->external = b->external;
	return 0;
}

void base_fini(struct base *b)
{
	if (b->req)
		crpc__req__free_unpacked(b->req, NULL);
	free(b->inherit);
	free(b->external);
	*b = (struct base){ 0 };
}

/* Of both requests. */
static void fill(Crpc__Opts *opts, const struct criu_opts *o)
{
	opts->images_dir_fd = o->images_fd;
	opts->has_work_dir_fd = true;
	opts->work_dir_fd = o->images_fd;
	opts->has_log_level = true;
	opts->log_level = 2;
	opts->has_notify_scripts = opts->notify_scripts = true;
	opts->has_tcp_close = true;
	opts->tcp_close = o->tcp_close;
	opts->has_tcp_established = true;
	opts->tcp_established = !o->tcp_close;
	/* do not fail the migration for a connection that is not yet accepted */
	opts->has_tcp_skip_in_flight = opts->tcp_skip_in_flight = true;
	opts->has_shell_job = opts->has_ext_unix_sk = opts->has_file_locks = true;
	opts->shell_job = o->shell_job;
	opts->ext_unix_sk = o->ext_unix;
	opts->file_locks = o->file_locks;
	opts->has_ghost_limit = true;
	opts->ghost_limit = CRIU_GHOST_MAX_BYTES;
	opts->has_timeout = true;
	opts->timeout = SEIZE_LIMIT_S;
	opts->has_manage_cgroups = true; /* not: img_forget_cgroups() */
	opts->manage_cgroups = false;
	opts->has_network_lock = true;
	opts->network_lock = o->version < LOCK_SKIPS ? NETWORK_LOCK_NFT : NETWORK_LOCK_SKIP;
}

void base_dump(Crpc__Opts *opts, const struct criu_opts *o, Crpc__PageServer *ps, int pages_fd)
{
	fill(opts, o);
	opts->has_pid = true;
	opts->pid = o->pid;
	opts->leave_stopped = criu_leaves_stopped(o->version);
	opts->has_leave_stopped = opts->leave_stopped;
	opts->has_leave_running = opts->leave_running = !opts->leave_stopped;
	opts->parent_img = (char *)o->parent;
	opts->has_track_mem = opts->track_mem = o->parent != NULL;
	ps->has_fd = true;
	ps->fd = pages_fd;
	opts->ps = ps;
}

void base_restore(Crpc__Opts *opts, const struct criu_opts *o)
{
	fill(opts, o);
	opts->has_lazy_pages = opts->lazy_pages = true;
	if (o->base) /* the runtime has said whose child it becomes */
		return;
	opts->has_rst_sibling = true;
	opts->rst_sibling = o->sibling;
}
