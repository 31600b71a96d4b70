// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * capture.c - a container: what its runtime would tell CRIU here, and its runtime at the destination.
 * docs/CONTAINERS.md.
 */
#include "hauler/supervisors/supervisors.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/container/facts.h"
#include "engine/container/late.h"
#include "engine/container/tool.h"
#include "engine/proc/within.h"
#include "transport/msg/haul.pb-c.h"

#define LAND_LIMIT_MS 90000
#define PART_BYTES    (1u << 20)

struct capture {
	struct wanted request; /* of a dump */
	int archive; /* the runtime's; -1: none */
	struct asked *asked;
	struct late *late; /* its files; from capture_land() on */
	struct tool *guard; /* NULL: not guarded */
	bool landed;
	bool alone; /* in its network: nobody outside it is connected */
	Haul__Container offer;
	struct facts *facts; /* that it points to */
};

void capture_free(struct capture *c)
{
	if (!c)
		return;
	asked_fini(&c->request);
	if (c->archive >= 0)
		close(c->archive);
	tool_free(c->guard);
	late_free(c->late);
	free(c->facts);
	asked_close(c->asked);
	free(c);
}

static struct capture *get(struct mig *m)
{
	if (!m->capture && (m->capture = calloc(1, sizeof(*m->capture)))) {
		m->capture->request = (struct wanted){ .rpc = -1, .front = -1 };
		m->capture->archive = -1;
	}
	return m->capture;
}

/* A network of its own with no interface but the loopback. */
static bool is_alone(pid_t pid)
{
	char path[40], line[256];
	bool alone = true;

	if (within_shares(pid, "ns/net"))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/net/dev", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		alone &= !strchr(line, ':') || strstr(line, " lo:");
	return f && alone;
}

static bool descends(pid_t pid, pid_t root)
{
	while (pid > 1 && pid != root)
		pid = procs_parent(pid);
	return pid == root;
}

/* `podman exec`: a process in the container's cgroup that is no child of its init stays behind. */
static int say_exec(struct mig *m, struct findings *out)
{
	AUTO(mem) char *group = frost_cgroup_of(m->opt->pid);
	char mount[256], path[1024];
	int pid, r = 0;

	if (!group || frost_mount(mount, sizeof(mount)) < 0)
		return 0;
	snprintf(path, sizeof(path), "%s%s/cgroup.procs", mount, group);
	AUTO(file) FILE *f = strcmp(group, "/") ? fopen(path, "re") : NULL;

	while (f && r == 0 && fscanf(f, "%d", &pid) == 1)
		if (!descends(pid, m->opt->pid) && procs_lives(pid))
			r = finding_add(out, SEV_BLOCKER, "container-exec",
			                "end it, or wait until it has ended",
			                "process %d is in the container, but is not its init's "
			                "child (exec): it would stay behind",
			                pid);
	return r;
}

static int say_all(struct mig *m, struct findings *out)
{
	const struct container *k = &m->opt->container;
	int r = say_exec(m, out);

	if (r < 0)
		return r;
	if (k->pod &&
	    finding_add(out, SEV_BLOCKER, "container-pod", "move it out of its pod",
	                "container %s belongs to a pod, whose namespaces it shares", k->name) < 0)
		return -ENOMEM;
	return m->capture->alone
	               ? 0
	               : finding_add(
	                         out, SEV_WARNING, "container-connections",
	                         "see that both ends connect again",
	                         "TCP connections of the container are closed at the destination");
}

static void list(struct facts_list *l, size_t *n, char ***v)
{
	*n = l->n;
	*v = l->v;
}

/* What the destination has to have besides. */
static void offer_facts(struct capture *c)
{
	struct facts *f = c->facts;

	list(&f->nets, &c->offer.n_net, &c->offer.net);
	list(&f->volumes, &c->offer.n_volume, &c->offer.volume);
	list(&f->binds, &c->offer.n_bind, &c->offer.bind);
	if (f->version)
		c->offer.version = f->version;
	if (f->storage)
		c->offer.storage = f->storage;
}

int capture_findings(struct mig *m, struct findings *out, struct err *e)
{
	const struct container *k = &m->opt->container;
	struct capture *c = k->runtime[0] ? get(m) : NULL;

	if (!k->runtime[0])
		return 0;
	if (c && !c->facts)
		c->facts = calloc(1, sizeof(*c->facts));
	if (!c || !c->facts)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a container");
	c->alone = is_alone(m->opt->pid);
	*c->facts = (struct facts){ 0 };
	if (facts_ask(k, c->facts, e) < 0)
		return err_code(e);
	return say_all(m, out) < 0 || facts_judge(k, c->facts, out) < 0
	               ? err_set(e, ERR_SYS, ENOMEM, "no memory for findings")
	               : 0;
}

int capture_offer(struct mig *m, Haul__Offer *o, struct findings *out, struct err *e)
{
	const struct container *k = &m->opt->container;
	int r = capture_findings(m, out, e);
	struct capture *c = m->capture;

	if (r < 0 || !k->runtime[0])
		return r;
	haul__container__init(&c->offer);
	c->offer.runtime = (char *)k->runtime; /* messages have no const */
	c->offer.id = (char *)k->id;
	c->offer.name = (char *)k->name;
	c->offer.image = (char *)k->image;
	c->offer.image_name = (char *)k->image_name;
	c->offer.bundle = (char *)k->bundle;
	c->offer.network = (char *)k->network;
	c->offer.cgroup_space = k->cgroup_space;
	c->offer.alone = c->alone;
	offer_facts(c);
	o->container = &c->offer;
	return 0;
}

int capture_take(struct mig *m, struct err *e)
{
	const struct container *k = &m->opt->container;
	struct capture *c;

	if (!k->runtime[0])
		return 0;
	c = get(m);
	if (!c)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a container");
	int r = asked_open(&c->asked, m->link.route, m->dump.criu_path, m->dump.criu_version, e);

	if (r < 0)
		return r;
	r = container_capture(k, c->asked, &c->request, &c->archive, e);
	log_info("container %s:%s request_bytes=%zu", k->runtime, k->id, c->request.bytes);
	return r;
}

void capture_base(const struct mig *m, struct criu_opts *o)
{
	if (!m->capture)
		return;
	o->base = m->capture->request.data;
	o->base_bytes = m->capture->request.bytes;
	o->tcp_close = !m->capture->alone;
}

static int send_archive(struct mig *m, struct err *e)
{
	AUTO(mem) uint8_t *buf = malloc(PART_BYTES);
	Haul__Berth part = HAUL__BERTH__INIT;
	off_t at = 0;

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for an archive");
	part.data.data = buf;
	do {
		ssize_t n = m->capture->archive < 0
		                    ? 0
		                    : pread(m->capture->archive, buf, PART_BYTES, at);

		if (n < 0)
			return err_sys(e, "the container's archive");
		at += n;
		part.data.len = (size_t)n;
		part.last = n == 0;
		int r = talk_say(m, HAUL__MSG__BODY_BERTH, &part, e);

		if (r < 0)
			return r;
	} while (!part.last);
	return 0;
}

/* The archive of its files is as old as the rounds; what changes after this is sent in the freeze. */
static int ask_again(struct mig *m, struct err *e)
{
	const struct container *k = &m->opt->container;
	struct capture *c = m->capture;
	struct wanted again = { .rpc = -1, .front = -1 };
	AUTO(mem) char *root = asked_root(&c->request);
	int r = late_new(&c->late, k, root, asked_dir(c->asked), e);

	if (r < 0)
		return r;
	close(steal_fd(&c->archive));
	r = container_capture(k, c->asked, &again, &c->archive, e);
	asked_fini(&again);
	return r;
}

int capture_land(struct mig *m, struct err *e)
{
	Haul__Msg *answer = NULL;

	if (!m->capture || m->capture->landed)
		return 0;
	m->capture->landed = true;
	if (ask_again(m, e) < 0 || send_archive(m, e) < 0 ||
	    talk_expect(m, m->link.ctl, HAUL__MSG__BODY_BERTHED, &answer,
	                deadline_in_ms(LAND_LIMIT_MS), e) < 0)
		return err_wrap(e, "container");
	haul__msg__free_unpacked(answer, NULL);
	return 0;
}

static int send_late(void *arg, const char *into, int64_t at, const uint8_t *data, size_t bytes,
                     bool last, struct err *e)
{
	Haul__Berth part = HAUL__BERTH__INIT;

	part.data.data = (uint8_t *)data;
	part.data.len = bytes;
	part.into = (char *)into;
	part.at = at < 0 ? 0 : (uint64_t)at + 1;
	part.last = last;
	return talk_say(arg, HAUL__MSG__BODY_BERTH, &part, e);
}

int capture_late(struct mig *m, struct err *e)
{
	return m->capture ? late_take(m->capture->late, send_late, m, e) : 0;
}

int capture_guard(struct mig *m, struct err *e)
{
	return m->capture ? container_guard(&m->opt->container, &m->capture->guard, e) : 0;
}

/* Also of a haul that is dead: then it is not known whether it was guarded. */
static void unguard(const struct mig *m)
{
	struct tool *guard = m->capture ? steal(m->capture->guard) : NULL;

	if (guard || !m->capture)
		container_unguard(&m->opt->container, guard);
	tool_free(guard);
}

void capture_back(const struct mig *m)
{
	if (m->opt->container.runtime[0])
		unguard(m);
}

void capture_over(const struct mig *m)
{
	const struct container *k = &m->opt->container;
	struct err e = ERR_INIT;

	if (!k->runtime[0] || !container_is(k))
		return;
	unguard(m);
	if (container_end(k, &e) < 0)
		log_err("container %s:%s is still on record here: %s", k->runtime, k->id, e.msg);
}
