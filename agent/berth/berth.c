// SPDX-License-Identifier: GPL-2.0-or-later
/* berth.c - which kind of berth a tree lands in, and its steps. */
#include "agent/berth/priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "transport/msg/haul.pb-c.h"

static struct berth *new_berth(const struct berth_kind *kind)
{
	struct berth *b = calloc(1, sizeof(*b));

	if (b)
		*b = (struct berth){ .kind = kind,
			             .stream = { -1, -1, -1 },
			             .ctl = -1,
			             .ask = { .rpc = -1, .front = -1 },
			             .archive = -1 };
	return b;
}

int berth_offer(struct wrk *w, const Haul__Offer *o, bool own_pids, struct findings *f,
                struct err *e)
{
	w->berth = new_berth(o->container ? &container_kind
	                     : own_pids   ? &space_kind
	                     : o->land[0] ? &land_kind
	                     : o->unit[0] ? &unit_kind
	                                  : &bare_kind);
	if (!w->berth)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the berth");
	return w->berth->kind->offer ? w->berth->kind->offer(w, o, f, e) : 0;
}

int berth_start(struct wrk *w, struct err *e)
{
	return w->berth->kind->start(w, e);
}

int berth_stream(const struct wrk *w, const char *name)
{
	static const char *const names[STAND_STREAMS] = { "in", "out", "err" };

	for (int i = 0; i < STAND_STREAMS; i++)
		if (!strcmp(name, names[i]) && w->berth->stream[i] >= 0)
			return fcntl(w->berth->stream[i], F_DUPFD_CLOEXEC, 0);
	return -ENOENT;
}

int berth_spawn(struct wrk *w, const char *root, const struct criu_inherit *v, size_t n,
                struct err *e)
{
	return w->berth->kind->spawn(w, root, v, n, e);
}

int berth_map(struct wrk *w, struct err *e)
{
	return w->berth->kind->map ? w->berth->kind->map(w, e) : 0;
}

bool berth_contains(const struct wrk *w)
{
	return w->keep->container.runtime[0];
}

pid_t berth_pid(const struct wrk *w, pid_t pid)
{
	return w->berth && (w->keep->own_pids || berth_contains(w))
	               ? pidspace_outer(&w->berth->pids, pid)
	               : pid;
}

int berth_proc(const struct wrk *w, dev_t *dev, char *path, size_t bytes)
{
	struct stat st, host;
	bool own = w->keep->own_pids || w->keep->unit[0];
	int n = own ? snprintf(path, bytes, "/proc/%d/root/proc", w->keep->berth_pid)
	            : snprintf(path, bytes, "/proc");

	if (dev)
		*dev = own && stat(path, &st) == 0 && stat("/proc", &host) == 0 &&
		                       st.st_dev != host.st_dev
		               ? st.st_dev
		               : 0;
	return n;
}

int berth_part(struct wrk *w, const Haul__Berth *m, const struct criu_inherit *v, size_t n,
               struct err *e)
{
	return w->berth->kind->part ? w->berth->kind->part(w, m, v, n, e)
	                            : err_set(e, ERR_PEER, EPROTO, "an archive of no container");
}

void berth_options(struct wrk *w, struct criu_opts *o)
{
	if (w->berth->kind->options)
		w->berth->kind->options(w, o);
}

void berth_refused(struct wrk *w)
{
	if (w->berth && w->berth->kind->refused)
		w->berth->kind->refused(w);
}

int berth_gate(struct wrk *w, struct err *e)
{
	return w->berth->kind->gate ? w->berth->kind->gate(w, e) : 0;
}

void berth_runs(struct wrk *w)
{
	if (w->berth && w->berth->kind->runs)
		w->berth->kind->runs(w);
}

void berth_undo(struct wrk *w)
{
	if (w->berth && w->berth->kind->undo)
		w->berth->kind->undo(w);
}

void berth_free(struct wrk *w)
{
	if (w->berth && w->berth->kind->over)
		w->berth->kind->over(w);
	struct berth *b = steal(w->berth);

	for (int i = 0; b && i < STAND_STREAMS; i++)
		if (b->stream[i] >= 0)
			close(b->stream[i]);
	if (b) {
		pidspace_fini(&b->pids);
		if (b->ctl >= 0)
			close(b->ctl);
	}
	free(b);
	if (w->keep->berth_fd >= 0)
		close(w->keep->berth_fd);
	w->keep->berth_fd = -1;
}

void berth_adopt(struct wrk *w)
{
	w->berth = new_berth(berth_contains(w)        ? &container_kind
	                     : w->keep->berth_fd >= 0 ? &land_kind
	                     : w->keep->own_pids      ? &space_kind
	                     : w->keep->unit[0]       ? &unit_kind
	                                              : &bare_kind);
}
