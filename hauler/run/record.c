// SPDX-License-Identifier: GPL-2.0-or-later
/* record.c - the source's journal: written before what depends on it, read by recover. */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/log.h"
#include "engine/proc/inner.h"
#include "hauler/load/load.h"

#define CGROUP_BYTES 256

/*
 * A word for the journal; "-" for a text that is not one word, which recovery then has to ask for.
 */
static const char *word(const char *s)
{
	for (const char *p = s; p && *p; p++)
		if (*p <= ' ' || *p > '~')
			return "-";
	return s && *s ? s : "-";
}

/* A cgroup whose name does not fit into the journal: the root is used instead. */
static const char *cgroup_word(const char *path)
{
	if (!path || strlen(path) >= CGROUP_BYTES || strpbrk(path, ",:") ||
	    !strcmp(word(path), "-"))
		return "/";
	return path;
}

int record_freeze(struct mig *m, struct err *e)
{
	char secret[SECRET_TEXT_BYTES], container[CONTAINER_WORD_BYTES] = "";
	AUTO(mem) char *net = mnet_word(m), *from = frost_cgroup_of(m->opt->pid);
	int r = net ? journal_new(&m->journal, JOURNAL_DIR, JOURNAL_SOURCE, m->link.route, e)
	            : err_set(e, ERR_SYS, ENOMEM, "no memory for a journal");

	if (r < 0)
		return r;
	secret_print(m->link.secret, secret);
	if (m->opt->container.runtime[0])
		snprintf(container, sizeof(container), "%s:%s", m->opt->container.runtime,
		         m->opt->container.id);
	if (from)
		slow_home(from);
	m->copy.home = strdup(cgroup_word(from));
	if (!m->copy.home)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a journal");
	return journal_add(
	        m->journal, e, "freeze",
	        "dest=%s port=%u streams=%u mbit=%u cpu=%u secret=%s pid=%d "
	        "start=%llu peer-boot=%s identity=%s known-hosts=%s net=%s cgroup=%s unit=%s "
	        "watchdog=%llu lasting=%d outer=%d load=%u container=%s",
	        word(m->opt->dest), m->opt->port, m->opt->pol.v.streams,
	        m->opt->pol.v.bandwidth_limit_mbit, m->opt->pol.v.cpu_limit_percent, secret,
	        m->opt->pid, (unsigned long long)procs_start(m->opt->pid), word(m->link.peer_boot),
	        word(m->opt->identity), word(m->opt->known_hosts), net, m->copy.home,
	        word(m->opt->unit), (unsigned long long)m->unit.watchdog_us, m->unit.lasting,
	        m->opt->outer_pid, m->load ? load_number(m->load) : 0, word(container));
}

int record_held(struct mig *m, struct err *e)
{
	size_t bytes = m->copy.n_held * (48 + CGROUP_BYTES) + 1, at = 0;
	AUTO(mem) char *list = calloc(1, bytes), *locks = locks_word(m->copy.locks);

	if (!list || !locks)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a journal");
	for (size_t i = 0; i < m->copy.n_held; i++) {
		AUTO(mem) char *from = frost_cgroup_of(m->copy.held[i].pid);

		at += (size_t)snprintf(list + at, bytes - at, "%s%d:%llu:%d:%s", i ? "," : "",
		                       m->copy.held[i].pid,
		                       (unsigned long long)procs_start(m->copy.held[i].pid),
		                       m->copy.held[i].was_stopped, cgroup_word(from));
	}
	return journal_add(m->journal, e, "held", "pids=%s locks=%s", list, locks);
}

int record_commit(struct mig *m, struct err *e)
{
	return journal_add(m->journal, e, "commit", "%s", "");
}

void record_undone(struct mig *m)
{
	struct err e = ERR_INIT;

	/*
	 * if this is not recorded the migration continues all the same: a recovery only asks once
	 * more
	 */
	if (m->journal && !strcmp(journal_word(m->journal), "commit") &&
	    journal_add(m->journal, &e, "undone", "%s", "") < 0)
		log_err("%s", e.msg);
}

void record_ran(struct mig *m)
{
	struct err ignore = ERR_INIT; /* then only this process knows it */

	if (!m->rest.ran && m->journal)
		journal_add(m->journal, &ignore, "commit", "ran=1");
	m->rest.ran = true;
}

void record_end(struct mig *m, bool remove)
{
	journal_close(steal(m->journal), remove);
}

/* ---- reading ---- */

static unsigned int number(const struct journal *j, const char *key)
{
	const char *v = journal_get(j, key);

	return v ? (unsigned int)strtoul(v, NULL, 10) : 0;
}

/* Return: a copy; NULL when the journal has none */
static char *text(const struct journal *j, const char *key)
{
	const char *v = journal_get(j, key);

	return v && strcmp(v, "-") ? strdup(v) : NULL;
}

/* "RUNTIME:ID" */
static void load_container(const struct journal *j, struct container *c)
{
	const char *v = journal_get(j, "container");
	const char *colon = v ? strchr(v, ':') : NULL;

	*c = (struct container){ 0 };
	if (!colon)
		return;
	snprintf(c->runtime, sizeof(c->runtime), "%.*s", (int)(colon - v), v);
	snprintf(c->id, sizeof(c->id), "%s", colon + 1);
}

int record_load(struct mig *m, struct opts *o, struct err *e)
{
	const struct journal *j = m->journal;

	o->pid = (pid_t)number(j, "pid");
	inner_tree(o->pid);
	load_container(j, &o->container);
	if (!o->dest)
		o->dest = m->loaded.dest = text(j, "dest");
	o->port = number(j, "port");
	o->pol.v.streams = number(j, "streams");
	o->pol.v.bandwidth_limit_mbit = number(j, "mbit");
	o->pol.v.cpu_limit_percent = number(j, "cpu");
	if (!o->identity)
		o->identity = m->loaded.identity = text(j, "identity");
	if (!o->known_hosts)
		o->known_hosts = m->loaded.known_hosts = text(j, "known-hosts");
	o->unit = m->loaded.unit = text(j, "unit");
	m->unit.guarded = o->unit;
	m->unit.watchdog_us = journal_get(j, "watchdog")
	                              ? strtoull(journal_get(j, "watchdog"), NULL, 10)
	                              : 0;
	m->unit.lasting = number(j, "lasting");
	o->archive.state = number(j, "load");
	m->opt = o;
	m->rest.ran = journal_get(j, "ran");
	const char *boot = journal_get(j, "peer-boot");

	snprintf(m->link.peer_boot, sizeof(m->link.peer_boot), "%s", boot ? boot : "");
	if (secret_parse(journal_get(j, "secret"), m->link.secret) < 0 || o->pol.v.streams == 0 ||
	    o->pol.v.streams > STREAMS_LIMIT || o->port == 0 || o->port > 65535)
		return err_set(e, ERR_USER, EBADMSG, "the journal is incomplete");
	if (!o->dest) {
		err_set(e, ERR_USER, EINVAL, "the journal does not name the destination");
		return err_fix(e, "name it with --to");
	}
	return 0;
}

static int hold_one(struct mig *m, const char *item)
{
	unsigned long long start;
	int pid, was_stopped, at = 0;

	if (sscanf(item, "%d:%llu:%d:%n", &pid, &start, &was_stopped, &at) != 3 || pid <= 0 ||
	    at == 0 || item[at] != '/')
		return -EBADMSG;
	struct held *h = &m->copy.held[m->copy.n_held];

	*h = (struct held){ .pid = pid, .inner = inner_of(pid), .was_stopped = was_stopped };
	h->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* open it first, then compare: so it cannot be replaced in between */
	if (h->pidfd >= 0 && procs_start(pid) != start)
		close(steal_fd(&h->pidfd));
	if (h->pidfd < 0)
		return 0;
	m->copy.n_held++;
	return m->copy.frost ? frost_know(m->copy.frost, pid, item + at) : 0;
}

int record_held_again(struct mig *m, unsigned int *gone, struct err *e)
{
	AUTO(mem) char *list = text(m->journal, "pids");
	unsigned int n = 0;
	char *save = NULL;

	for (const char *p = list; p && *p; p++)
		n += *p == ',';
	m->copy.held = calloc(n + 2, sizeof(*m->copy.held));
	if (!m->copy.held)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	n = 0;
	struct err ignore =
	        ERR_INIT; /* -ENOENT: the migration had not got that far, or there are no cgroups */

	m->copy.home = text(m->journal, "cgroup");
	if (m->copy.home)
		frost_adopt(&m->copy.frost, m->link.route, m->copy.home, &ignore);
	for (char *p = list ? strtok_r(list, ",", &save) : NULL; p;
	     p = strtok_r(NULL, ",", &save)) {
		if (hold_one(m, p) < 0)
			return err_set(e, ERR_USER, EBADMSG, "the journal's list of processes");
		n++;
	}
	*gone = n - (unsigned int)m->copy.n_held;
	return locks_adopt(m, journal_get(m->journal, "locks"), e);
}
