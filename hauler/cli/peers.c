// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * peers.c - haul peers [PID]: the hosts whose keys are trusted, asked all at once. Can they
 * be reached, what runs there, how much memory is free, and would the tree of PID fit?
 */
#include "hauler/cli/cli.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "hauler/report/say.h"
#include "transport/msg/haul.pb-c.h"

#define PEERS_MAX       64
#define PEER_LIMIT_MS   5000
#define MEM_SPARE_BYTES (64ull << 20) /* as the destination's own check has it */

struct ask {
	struct peer p;
	const struct opts *o;
	pthread_t thread;
	bool started;
};

/* "[hostB]:4285 ssh-ed25519 ..." or "hostB ssh-ed25519 ..."; hashed names are skipped */
static bool parse(char *line, struct peer *p)
{
	char *rest = line, *name = strtok_r(line, " ,\t\n", &rest), *end;

	if (!name || strchr("#|@*", *name))
		return false;
	p->port = TR_PORT_DEFAULT;
	if (*name == '[' && (end = strchr(++name, ']'))) {
		if (end[1] == ':')
			p->port = (unsigned int)strtoul(end + 2, NULL, 10);
		*end = 0;
	}
	return snprintf(p->host, sizeof(p->host), "%s", name) < (int)sizeof(p->host) && *name &&
	       p->port > 0 && p->port < 65536;
}

static bool listed(const struct ask *v, size_t n, const struct peer *p)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(v[i].p.host, p->host) && v[i].p.port == p->port)
			return true;
	return false;
}

static size_t load(struct ask *v, const struct opts *o)
{
	AUTO(file) FILE *f = fopen(o->known_hosts ? o->known_hosts : "/etc/haul/known_hosts", "re");
	char line[8192];
	size_t n = 0;

	while (f && n < PEERS_MAX && fgets(line, sizeof(line), f)) {
		v[n] = (struct ask){ .o = o };
		if (parse(line, &v[n].p) && !listed(v, n, &v[n].p))
			n++;
	}
	return n;
}

size_t cli_trusted(const struct opts *o, char (*host)[CLI_HOST_BYTES], size_t max)
{
	AUTO(mem) struct ask *v = calloc(PEERS_MAX, sizeof(*v));
	size_t n = v ? load(v, o) : 0;

	n = n < max ? n : max;
	for (size_t i = 0; i < n; i++)
		snprintf(host[i], CLI_HOST_BYTES, "%s", v[i].p.host);
	return n;
}

static void *ask_main(void *arg)
{
	struct ask *a = arg;
	AUTO(mem) struct mig *m = calloc(1, sizeof(*m));
	struct opts o = *a->o;

	if (!m)
		return NULL;
	mig_init(m);
	o.dest = a->p.host;
	o.port = a->p.port;
	if (o.connect_limit_ms > PEER_LIMIT_MS)
		o.connect_limit_ms = PEER_LIMIT_MS;
	m->opt = &o;
	m->peer = &a->p;
	if (talk_connect(m, &a->p.err) == 0)
		talk_say(m, HAUL__MSG__BODY_BYE, NULL, &(struct err)ERR_INIT);
	run_fini(m);
	return NULL;
}

/* Resident memory of the whole tree. Return: 0; -ESRCH */
static int tree_bytes(pid_t pid, uint64_t *bytes, struct err *e)
{
	struct proc_list l = { 0 };
	int r = procs_tree(pid, &l, e);

	*bytes = 0;
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		char path[64];
		unsigned long long pages = 0;

		snprintf(path, sizeof(path), "/proc/%d/statm", l.pid[i]);
		AUTO(file) FILE *f = fopen(path, "re");

		if (f && fscanf(f, "%*u %llu", &pages) == 1)
			*bytes += pages * PAGE_BYTES;
	}
	procs_fini(&l);
	return r;
}

static void criu_text(unsigned int v, char *out, size_t bytes)
{
	snprintf(out, bytes, v ? "%u.%u.%u" : "none", v / 10000, v / 100 % 100, v % 100);
}

static json_t *peer_json(const struct peer *p, uint64_t want)
{
	json_t *o = json_pack("{s:s,s:s,s:I,s:b}", "event", "peer", "host", p->host, "port",
	                      (json_int_t)p->port, "reachable", p->reached);
	char criu[32];

	criu_text(p->criu_version, criu, sizeof(criu));
	if (p->reached)
		json_object_update_new(o,
		                       json_pack("{s:s,s:s,s:s,s:I}", "program", p->program,
		                                 "kernel", p->kernel, "criu", criu,
		                                 "mem_free_bytes", (json_int_t)p->mem_free_bytes));
	else
		json_object_update_new(
		        o, json_pack("{s:s,s:s}", "error", p->err.msg, "remedy", p->err.fix));
	if (p->reached && want)
		json_object_set_new(
		        o, "fits",
		        json_boolean(want + want / 10 + MEM_SPARE_BYTES <= p->mem_free_bytes));
	return o;
}

int cli_peers(struct opts *o, int argc, char **argv)
{
	AUTO(mem) struct ask *v = calloc(PEERS_MAX, sizeof(*v));
	struct err e = ERR_INIT;
	uint64_t want = 0;
	size_t n = v ? load(v, o) : 0;

	(void)argc;
	(void)argv;
	if (o->pid && tree_bytes(o->pid, &want, &e) < 0) {
		report_error(&e, o->json);
		return EXIT_BLOCKED;
	}
	for (size_t i = 0; i < n; i++)
		v[i].started = pthread_create(&v[i].thread, NULL, ask_main, &v[i]) == 0;
	for (size_t i = 0; i < n; i++) {
		if (v[i].started)
			pthread_join(v[i].thread, NULL);
		say_event(peer_json(&v[i].p, want), (struct say_how){ .json = o->json });
	}
	return EXIT_OK;
}
