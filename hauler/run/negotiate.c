// SPDX-License-Identifier: GPL-2.0-or-later
/* negotiate.c - offer the tree to the destination, and read its answer. */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/printable.h"
#include "hauler/rights/identity.h"
#include "hauler/mig/sockets.h"
#include "hauler/report/report.h"
#include "transport/msg/haul.pb-c.h"

#define ANSWER_LIMIT_MS 30000
#define FINDINGS_MAX    4096u

int negotiate_findings(const Haul__Answer *a, struct findings *out, struct err *e)
{
	if (a->n_finding > FINDINGS_MAX)
		return err_set(e, ERR_PEER, EBADMSG, "the destination has %zu findings",
		               a->n_finding);
	for (size_t i = 0; i < a->n_finding; i++) {
		const Haul__Finding *f = a->finding[i];
		/* a newer destination may have more degrees of severity: then better stop */
		enum severity severity = (unsigned int)f->severity <= SEV_BLOCKER
		                                 ? (enum severity)f->severity
		                                 : SEV_BLOCKER;

		printable(f->code);
		printable(f->text);
		printable(f->remedy);
		if (finding_add(out, severity, f->code, f->remedy, "%s", f->text) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for findings");
	}
	return 0;
}

/* CPU features of this host, for the destination to compare. */
static void load_cpuinfo(struct mig *m, int dir, uint8_t **data, size_t *bytes)
{
	struct err ignore = ERR_INIT;

	if (criu_cpuinfo(m->dump.criu_path, dir, false, deadline_in_ms(5000), &ignore) < 0 ||
	    img_load(dir, "cpuinfo.img", 65536, data, bytes, &ignore) < 0)
		log_warn("no CPU information from CRIU: %s", ignore.msg);
}

static void fill_criu(struct mig *m, Haul__Criu *c, uint8_t **cpu)
{
	AUTO(fd) int dir = -1;
	struct err ignore = ERR_INIT;
	size_t n = 0;

	c->path = m->dump.criu_path;
	c->version = m->dump.criu_version;
	if (img_dir(&dir, &ignore) == 0)
		load_cpuinfo(m, dir, cpu, &n);
	c->cpuinfo.data = *cpu;
	c->cpuinfo.len = *cpu ? n : 0;
}

/* Whose rights apply at the destination. */
static int fill_rights(const struct mig *m, Haul__Offer *o, struct err *e)
{
	size_t n;
	const pid_t *pid = inspect_pids(m->insp, &n);

	o->owned = m->opt->user.owned;
	o->owner = m->opt->user.owner;
	o->owner_name = (char *)m->opt->user.account.name; /* messages have no const */
	return identity_offer(pid, n, o, e);
}

static int fill_offer(struct mig *m, Haul__Offer *o, struct findings *out, struct err *e)
{
	if (inspect_offer(m->insp, o, e) < 0 || outs_offer(inspect_outs(m->insp), o, e) < 0 ||
	    fill_rights(m, o, e) < 0 ||
	    (!m->needs && needs_new(&m->needs, m->insp, m->opt, out, e) < 0) ||
	    capture_offer(m, o, out, e) < 0 || mnet_offer(m, o, e) < 0 ||
	    dirs_offer(m, o, out, e) < 0 || threads_offer(m->opt->pid, o, e) < 0 ||
	    sockets_offer(m->opt->pid, o, out, e) < 0)
		return err_code(e);
	return 0;
}

static void free_offer(Haul__Offer *o)
{
	threads_offer_free(o);
	sockets_offer_free(o);
	outs_offer_fini(o);
	dirs_offer_free(o);
	identity_offer_fini(o);
}

/* The destination may ask for digests of files before it answers. */
int negotiate_ask(struct mig *m, Haul__Offer *offer, Haul__Msg **answer, struct err *e)
{
	int r = talk_say(m, HAUL__MSG__BODY_OFFER, offer, e);

	return r ? r
	         : talk_expect(m, m->link.ctl, HAUL__MSG__BODY_ANSWER, answer,
	                       deadline_in_ms(ANSWER_LIMIT_MS), e);
}

static int judge(struct mig *m, const Haul__Answer *a, struct findings *out, struct err *e)
{
	int r = negotiate_findings(a, out, e);

	m->pages.same_runs = a->same_runs;
	m->needs->archived = m->save != NULL;
	needs_seen(m->needs, a);
	if (r)
		return r;
	if (needs_say_sqlite(m->needs, m->insp, out) < 0 || locks_say(m->needs, m->insp, out) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for findings");
	if (!a->accepted && out->blockers == 0)
		return err_set(e, ERR_PEER, EPROTO, "refused without a reason");
	return 0;
}

int negotiate_offer(struct mig *m, bool check_only, struct findings *out, struct err *e)
{
	Haul__Msg *answer = NULL;
	Haul__Offer offer = HAUL__OFFER__INIT;
	Haul__Criu criu = HAUL__CRIU__INIT;
	AUTO(mem) uint8_t *cpu = NULL;
	int r = fill_offer(m, &offer, out, e);

	if (r < 0) {
		free_offer(&offer);
		return r;
	}
	locks_note(m->needs, m->insp);
	needs_offer(m->needs, &offer);
	offer.unit = (char *)(m->opt->unit ? m->opt->unit : "");
	offer.unit_settings = (char *)(m->opt->unit_settings ? m->opt->unit_settings : "");
	offer.pid_mode = (char *)(m->opt->pids ? m->opt->pids : "auto");
	offer.land = (char *)(m->opt->as ? m->opt->as : "");
	offer.files = (Haul__Files)m->opt->pol.v.files;
	fill_criu(m, &criu, &cpu);
	offer.criu = &criu;
	offer.check_only = check_only;
	m->fig.rss_bytes = offer.rss_bytes;
	m->fig.tasks = inspect_tasks(m->insp);
	snprintf(m->fig.comm, sizeof(m->fig.comm), "%s", offer.comm);
	m->link.prove = needs_prove;
	r = negotiate_ask(m, &offer, &answer, e);
	free_offer(&offer);
	m->link.prove = NULL;
	if (r < 0)
		return err_wrap(e, "negotiation");
	r = judge(m, answer->answer, out, e);
	haul__msg__free_unpacked(answer, NULL);
	return r;
}

int negotiate_verdict(struct mig *m, const struct findings *f, struct err *e)
{
	if (f->n)
		report_findings(f, m->opt->json, m->opt->verbose);
	if (!f->blockers)
		return 0;
	err_set(e, ERR_PEER, EPERM, "%s cannot take process %d: %s", m->opt->dest, m->opt->pid,
	        f->v[0].text);
	for (size_t i = 0; i < f->n; i++)
		if (f->v[i].severity == SEV_BLOCKER) {
			snprintf(e->msg, sizeof(e->msg), "%s cannot take process %d: %s",
			         m->opt->dest, m->opt->pid, f->v[i].text);
			err_fix(e, "%s", f->v[i].remedy);
			break;
		}
	return -e->code;
}

int negotiate_run(struct mig *m, struct err *e)
{
	AUTO(findings) struct findings f = { 0 };
	int r = mnet_findings(m, &f, e);

	if (r)
		return r;
	r = f.blockers ? 0 : negotiate_offer(m, false, &f, e);
	return r ? r : negotiate_verdict(m, &f, e);
}
