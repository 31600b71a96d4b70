// SPDX-License-Identifier: GPL-2.0-or-later
/* offer.c - answer an offer: findings about this host. */
#include "agent/worker/offer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "agent/berth/berth.h"
#include "agent/mig/mig.h"
#include "agent/files/bring.h"
#include "agent/check/check.h"
#include "agent/dirs/dirs.h"
#include "agent/check/files.h"
#include "agent/worker/net.h"
#include "agent/gate/out.h"
#include "agent/worker/proof.h"
#include "agent/worker/restore.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/host/scarce.h"
#include "transport/msg/haul.pb-c.h"

/* Does CRIU work here, which version is it, can it restore lazily? */
static int probe_criu(struct wrk *w, struct err *e)
{
	AUTO(criu) struct criu *c = NULL;
	int r = criu_spawn(&c, w->conf->criu_path, -1, e);

	if (r < 0)
		return r;
	r = criu_version(c, &w->own_criu.version, deadline_in_ms(WRK_CRIU_LIMIT_MS), e);
	if (r < 0)
		return r;
	return criu_has_lazy(c, &w->own_criu.lazy, deadline_in_ms(WRK_CRIU_LIMIT_MS), e);
}

static void free_answer(Haul__Answer *a)
{
	for (size_t i = 0; i < a->n_finding; i++)
		free(a->finding[i]);
	free(a->finding);
}

static int fill_findings(Haul__Answer *a, const struct findings *f)
{
	a->finding = calloc(f->n + 1, sizeof(*a->finding));
	for (size_t i = 0; a->finding && i < f->n; i++) {
		Haul__Finding *m = malloc(sizeof(*m));

		if (!m)
			return -ENOMEM;
		haul__finding__init(m);
		m->severity = (Haul__Severity)f->v[i].severity;
		m->code = (char *)f->v[i].code;
		m->text = f->v[i].text;
		m->remedy = f->v[i].remedy;
		a->finding[a->n_finding++] = m;
	}
	return a->finding ? 0 : -ENOMEM;
}

static int keep_pids(struct wrk *w, const Haul__Offer *o)
{
	w->offer.pids.v = calloc(o->n_pid + 1, sizeof(*w->offer.pids.v));
	if (!w->offer.pids.v)
		return -ENOMEM;
	memcpy(w->offer.pids.v, o->pid, o->n_pid * sizeof(*w->offer.pids.v));
	w->offer.pids.n = o->n_pid;
	w->offer.rss_bytes = o->rss_bytes;
	return 0;
}

static int say_answer(struct wrk *w, const struct findings *f, Haul__FileSeen *seen, size_t n,
                      struct err *e)
{
	AUTO(mem) Haul__FileSeen **ptr = calloc(n + 1, sizeof(Haul__FileSeen *));
	Haul__Answer a = HAUL__ANSWER__INIT;
	Haul__Criu c = HAUL__CRIU__INIT;
	struct utsname u;

	uname(&u);
	c.path = (char *)w->conf->criu_path;
	c.version = w->own_criu.version;
	c.lazy_pages = w->own_criu.lazy;
	a.criu = &c;
	a.kernel = u.release;
	a.mem_free_bytes = check_mem_free_bytes();
	a.accepted = f->blockers == 0;
	a.same_runs = true;
	for (size_t i = 0; ptr && i < n; i++)
		ptr[a.n_seen++] = &seen[i];
	a.seen = ptr;
	int r = !ptr || fill_findings(&a, f) < 0
	                ? err_set(e, ERR_SYS, ENOMEM, "no memory for the answer")
	                : wrk_say(w, HAUL__MSG__BODY_ANSWER, &a, e);

	free_answer(&a);
	return r;
}

/* Every part of the host looks at its part of the offer. */
static int judge(struct wrk *w, const Haul__Offer *o, const struct check_host *host,
                 struct findings *f, struct err *e)
{
	int r = check_offer(o, host, f, e);

	if (r < 0)
		return r;
	if (uids_check(&w->uids, o, f) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for findings");
	r = net_in_offer(w, o->net, f, e);
	if (r < 0)
		return r;
	r = berth_offer(w, o, host->own_pids, f, e);
	if (r < 0)
		return r;
	r = out_offer(w, o, host->allow, f, e);
	if (r < 0)
		return r;
	return dirs_in_offer(w, o, f, e);
}

static int remember(struct wrk *w, const Haul__Offer *o, const Haul__FileSeen *seen,
                    const struct file_id *id, struct err *e)
{
	if (keep_pids(w, o) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %zu pids", o->n_pid);
	if (strlen(o->into_root) > 1 && !(w->into_root = strdup(o->into_root)))
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the root directory");
	return bring_new(w, o, seen, id, e);
}

static int answer(struct wrk *w, const Haul__Offer *o, const char *allow, Haul__FileSeen *seen,
                  struct file_id *id, struct findings *f, struct err *e)
{
	struct err criu = ERR_INIT, scarce = ERR_INIT;

	if (probe_criu(w, &criu) < 0) {
		w->own_criu.version = 0;
		scarce_now(&scarce);
	}
	struct check_host host = { .criu_path = w->conf->criu_path,
		                   .criu_version = w->own_criu.version,
		                   .criu_lazy = w->own_criu.lazy,
		                   .own_pids = check_own_pids(o),
		                   .criu_error = criu.msg,
		                   .scarce = scarce.src ? scarce.msg : NULL,
		                   .prove = proof_ask,
		                   .prove_arg = w,
		                   .seed = w->route,
		                   .allow = allow,
		                   .key = chan_peer(w->ctl),
		                   .rights = &w->rights,
		                   .seen = seen,
		                   .id = id };
	int r = judge(w, o, &host, f, e);

	if (r < 0)
		return r;
	w->offer.refused = f->blockers > 0;
	r = remember(w, o, seen, id, e);
	if (r < 0)
		return r;
	return say_answer(w, f, seen, o->n_file, e);
}

int offer_take(struct wrk *w, const Haul__Msg *msg, struct err *e)
{
	const Haul__Offer *o = msg->offer;
	AUTO(mem) Haul__FileSeen *seen = calloc(o->n_file + 1, sizeof(*seen));
	AUTO(mem) struct file_id *id = calloc(o->n_file + 1, sizeof(*id));
	struct findings f = { 0 };
	char allow[CONF_VALUE_BYTES];

	if (!seen || !id)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %zu files", o->n_file);
	for (size_t i = 0; i < o->n_file; i++)
		haul__file_seen__init(&seen[i]);
	int r = conf_get(w->conf->config, CONF_FILES_ALLOW, allow, sizeof(allow), e);

	if (r < 0)
		return r;
	int r_uids = uids_load(&w->uids, w->conf->config, w->server ? chan_peer(w->ctl) : NULL, o,
	                       e);

	if (r_uids < 0)
		return r_uids;
	if (rights_load(&w->rights, o) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %zu identities", o->n_identity);
	w->rights.owned |= uids_below_root(&w->uids);
	r = answer(w, o, r ? allow : NULL, seen, id, &f, e);
	findings_fini(&f);
	return r;
}
