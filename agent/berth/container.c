// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * container.c - the berth of a container: its runtime here restores it, and waits in front of CRIU until the tree is
 * to be restored. docs/CONTAINERS.md.
 */
#include "agent/berth/priv.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/container/facts.h"
#include "engine/container/front.h"
#include "engine/container/late.h"
#include "engine/container/tool.h"
#include "transport/msg/haul.pb-c.h"

#define READY_LIMIT_MS    60000
#define END_LIMIT_MS      30000
#define ARCHIVE_BYTES_MAX (4ull << 30)

/* ---- the offer ---- */

static struct container *box(struct wrk *w)
{
	return &w->keep->container;
}

static int take(struct wrk *w, const Haul__Container *m, struct err *e)
{
	struct container *c = box(w);
	const struct {
		const char *from;
		char *to;
		size_t bytes;
	} texts[] = {
		{ m->runtime, c->runtime, sizeof(c->runtime) },
		{ m->id, c->id, sizeof(c->id) },
		{ m->name, c->name, sizeof(c->name) },
		{ m->image, c->image, sizeof(c->image) },
		{ m->image_name, c->image_name, sizeof(c->image_name) },
		{ m->bundle, c->bundle, sizeof(c->bundle) },
		{ m->network, c->network, sizeof(c->network) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if ((size_t)snprintf(texts[i].to, texts[i].bytes, "%s", texts[i].from) >=
		    texts[i].bytes)
			return err_set(e, ERR_PEER, EBADMSG, "a container with a long name");
	c->cgroup_space = m->cgroup_space;
	c->alone = m->alone;
	return container_is(c) ? 0 : err_set(e, ERR_PEER, EBADMSG, "a container with a bad name");
}

static int judge_image(const struct container *c, struct findings *f, struct err *e)
{
	int r = container_image(c, e);

	if (r < 0)
		return finding_add(f, SEV_BLOCKER, "container-image", "see that podman works there",
		                   "%s at the destination", e->msg);
	if (r > 0)
		return 0;
	return finding_add(f, SEV_BLOCKER, "container-image",
	                   "podman save the image here and podman load it there; if it has another "
	                   "name there, podman tag",
	                   "the destination does not have image %s of the container as %.12s, "
	                   "which it is here",
	                   c->image_name, c->image);
}

static int judge_bundle(const struct container *c, struct findings *f)
{
	char path[CONTAINER_PATH_BYTES + 16];

	snprintf(path, sizeof(path), "%s/config.json", c->bundle);
	if (!c->bundle[0] || access(path, R_OK) == 0)
		return 0;
	return finding_add(f, SEV_BLOCKER, "container-bundle",
	                   "copy the bundle to the same folder there",
	                   "the destination has no %s, which the container is made from", path);
}

static int judge_names(const Haul__Container *m, struct findings *f, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n_net; i++)
		if (strcmp(m->net[i], "none") != 0 && strcmp(m->net[i], "host") != 0 &&
		    facts_has("network", m->net[i], e) == 0)
			r = finding_add(f, SEV_BLOCKER, "container-network",
			                "podman network create there, with the same subnet",
			                "the destination has no network %s", m->net[i]);
	for (size_t i = 0; r == 0 && i < m->n_volume; i++)
		if (facts_has("volume", m->volume[i], e) == 1)
			r = finding_add(f, SEV_BLOCKER, "container-volume",
			                "podman volume rm there",
			                "the destination has a volume %s already, which the one "
			                "from here would replace",
			                m->volume[i]);
	for (size_t i = 0; r == 0 && i < m->n_bind; i++)
		if (access(m->bind[i], F_OK) < 0)
			r = finding_add(f, SEV_BLOCKER, "container-bind",
			                "make it there, or mount the storage that has it",
			                "the destination has no %s, which is mounted in the "
			                "container",
			                m->bind[i]);
	return r;
}

static int judge_podman(const Haul__Container *m, struct findings *f, struct err *e)
{
	AUTO(mem) struct facts *here = calloc(1, sizeof(*here));

	if (!here)
		return -ENOMEM;
	if (!m->version[0] || facts_host(here, e) < 0 || !here->version || !here->storage)
		return 0;
	int r = 0;

	if (strverscmp(here->version, m->version) < 0)
		r = finding_add(f, SEV_BLOCKER, "container-version", "update podman there",
		                "podman at the destination is %s, older than %s here",
		                here->version, m->version);
	if (r == 0 && strcmp(here->storage, m->storage) != 0)
		r = finding_add(
		        f, SEV_BLOCKER, "container-storage",
		        "give podman there the same storage.conf",
		        "podman's storage is %s there, and %s here: paths are a part of the "
		        "container",
		        here->storage, m->storage);
	return r < 0 ? r : judge_names(m, f, e);
}

static int judge(struct wrk *w, const Haul__Offer *o, struct findings *f)
{
	struct container *c = box(w);
	struct err e = ERR_INIT;
	char text[256];

	if (o->owned || w->uids.limited)
		return finding_add(
		        f, SEV_BLOCKER, "container-denied",
		        "let root move it, with a key that may move root's processes",
		        "a container may be moved there by root alone: its restore is as "
		        "good as root");
	if (o->into_root[0] || o->land[0] || o->unit[0])
		return finding_add(f, SEV_BLOCKER, "container-berth", "leave out one of them",
		                   "a container lands in its runtime, and nowhere else");
	if (container_version(c, text, sizeof(text), &e) < 0)
		return finding_add(f, SEV_BLOCKER, "container-runtime", "install it there",
		                   "the destination has no %s that works: %s", c->runtime, e.msg);
	if (container_taken(c, text, sizeof(text)))
		return finding_add(f, SEV_BLOCKER, "container-taken",
		                   "remove or rename the one that is there",
		                   "%s at the destination", text);
	int r = judge_image(c, f, &e);

	if (r == 0)
		r = judge_podman(o->container, f, &e);
	return r < 0 ? r : judge_bundle(c, f);
}

static int offer(struct wrk *w, const Haul__Offer *o, struct findings *f, struct err *e)
{
	if (take(w, o->container, e) < 0)
		return err_code(e);
	return judge(w, o, f) < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory for findings") : 0;
}

/* ---- room ---- */

static int start(struct wrk *w, struct err *e)
{
	int r = asked_open(&w->berth->asked, w->route, w->conf->criu_path, w->own_criu.version, e);

	if (r < 0)
		return r;
	w->berth->archive = container_archive(box(w), w->berth->asked, e);
	return w->berth->archive < 0 ? err_code(e) : 0;
}

/* Only to be asked for its version: the one that restores comes with the runtime's request. */
static int spawn(struct wrk *w, const char *root, const struct criu_inherit *v, size_t n,
                 struct err *e)
{
	(void)root;
	(void)v;
	(void)n;
	return criu_spawn(&w->criu, w->conf->criu_path, -1, e);
}

/* The program in front becomes CRIU, with our socket in the place of the runtime's. */
static int become(struct wrk *w, const struct criu_inherit *v, size_t n, struct err *e)
{
	struct berth *b = w->berth;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, "socketpair");
	AUTO(fd) int ours = ends[0];
	AUTO(fd) int theirs = ends[1];
	struct criu *c = NULL;

	if (asked_become(&b->ask, w->conf->criu_path, box(w)->cgroup_space, theirs, v, n, e) < 0 ||
	    criu_adopt(&c, ours, b->ask.pid, e) < 0)
		return err_code(e);
	steal_fd(&ours);
	criu_relay(c, steal_fd(&b->ask.rpc));
	criu_free(w->criu);
	w->criu = c;
	w->keep->relay_rpc = criu_relay_rpc(c);
	guard_keep(w->guard, w->keep->relay_rpc);
	return 0;
}

static int begin(struct wrk *w, const struct criu_inherit *v, size_t n, struct err *e)
{
	struct berth *b = w->berth;
	uint64_t t0 = now_us();

	close(steal_fd(&b->archive));
	box(w)->made = true;
	if (container_restore(box(w), b->asked, &b->runtime, e) < 0 ||
	    asked_restore(b->asked, b->runtime, &b->ask, deadline_in_ms(READY_LIMIT_MS), e) < 0)
		return err_wrap(e, "%s at the destination", box(w)->runtime);
	log_info("container %s:%s runtime_us=%llu", box(w)->runtime, box(w)->id,
	         (unsigned long long)(now_us() - t0));
	return become(w, v, n, e);
}

static int late_part(struct wrk *w, const Haul__Berth *m, struct err *e)
{
	struct berth *b = w->berth;
	AUTO(mem) char *root = b->ask.data ? asked_root(&b->ask) : NULL;

	if (!root || m->at > INT64_MAX)
		return err_set(e, ERR_PEER, EPROTO, "files of a container that has not begun");
	return late_put(box(w), root, asked_dir(b->asked), m->into, (int64_t)m->at - 1,
	                m->data.data, m->data.len, m->last, e);
}

static int part(struct wrk *w, const Haul__Berth *m, const struct criu_inherit *v, size_t n,
                struct err *e)
{
	struct berth *b = w->berth;

	if (m->into[0])
		return late_part(w, m, e);
	if (b->archive < 0)
		return err_set(e, ERR_PEER, EPROTO, "the container's runtime has begun already");
	b->archive_bytes += m->data.len;
	if (b->archive_bytes > ARCHIVE_BYTES_MAX)
		return err_set(e, ERR_PEER, EFBIG, "an archive of more than %llu MiB",
		               ARCHIVE_BYTES_MAX >> 20);
	if (write(b->archive, m->data.data, m->data.len) != (ssize_t)m->data.len)
		return err_sys(e, "the container's archive");
	return m->last ? begin(w, v, n, e) : 0;
}

static void options(struct wrk *w, struct criu_opts *o)
{
	o->base = w->berth->ask.data;
	o->base_bytes = w->berth->ask.bytes;
	o->inherit_first = FRONT_FD_FIRST;
	o->tcp_close = !box(w)->alone;
}

/* ---- the gate, and after it ---- */

static int map(struct wrk *w, struct err *e)
{
	return pidspace_load(&w->berth->pids, w->root_pid) < 0
	               ? err_set(e, ERR_SYS, ESRCH, "the container has ended")
	               : 0;
}

/* The runtime takes the tree for its container; what it does with it then is held back by the gate. */
static int gate(struct wrk *w, struct err *e)
{
	return criu_relay_now(w->criu, e);
}

/* Until it has ended by itself. */
static void wait_runtime(struct berth *b)
{
	struct err e = ERR_INIT;

	if (!b->runtime)
		return;
	if (tool_wait(b->runtime, deadline_in_ms(END_LIMIT_MS), &e) < 0)
		log_info("the runtime: %s", e.msg);
	tool_free(steal(b->runtime));
}

static void over(struct wrk *w)
{
	struct berth *b = w->berth;

	wait_runtime(b);
	asked_fini(&b->ask);
	asked_close(steal(b->asked));
	asked_remove(w->route); /* of a worker that is dead */
	if (b->archive >= 0)
		close(steal_fd(&b->archive));
}

static void refused(struct wrk *w)
{
	w->keep->relay_rpc = -1;
	asked_fini(&w->berth->ask);
	wait_runtime(w->berth);
}

/* Nobody answers the runtime any more: it would wait, and have its container locked. Of all guardians that hold the socket. */
static void hang_up(struct wrk *w)
{
	if (w->keep->relay_rpc < 0)
		return;
	shutdown(w->keep->relay_rpc, SHUT_RDWR);
	if (w->keep->criu_rpc >= 0)
		shutdown(w->keep->criu_rpc, SHUT_RDWR);
	w->keep->relay_rpc = -1;
}

/* By w->keep alone: also for a worker that is dead. */
static void undo(struct wrk *w)
{
	struct err e = ERR_INIT;

	hang_up(w);
	if (box(w)->made && container_end(box(w), &e) < 0)
		log_info("container %s:%s is not on record here: %s", box(w)->runtime, box(w)->id,
		         e.msg);
	box(w)->made = false;
	asked_remove(w->route);
}

const struct berth_kind container_kind = {
	.name = "container",
	.offer = offer,
	.start = start,
	.spawn = spawn,
	.part = part,
	.options = options,
	.map = map,
	.gate = gate,
	.refused = refused,
	.undo = undo,
	.over = over,
};
