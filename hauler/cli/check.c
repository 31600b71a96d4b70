// SPDX-License-Identifier: GPL-2.0-or-later
/* check.c - haul check PID [HOST], done by this process itself. */
#include "hauler/cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/conf.h"
#include "hauler/dirs/dirs.h"
#include "hauler/net/net.h"
#include "hauler/report/costs.h"
#include "hauler/report/groups.h"
#include "hauler/rights/owner.h"
#include "hauler/supervisors/supervisors.h"
#include "transport/msg/haul.pb-c.h"

static int look_at_criu(struct mig *m, struct err *e)
{
	AUTO(criu) struct criu *c = NULL;
	int r = conf_criu(m->dump.criu_path, sizeof(m->dump.criu_path), m->opt->criu,
	                  m->opt->config, e);

	if (r)
		return r;
	r = criu_spawn(&c, m->dump.criu_path, -1, e);
	return r ? r : criu_version(c, &m->dump.criu_version, deadline_in_ms(10000), e);
}

static int check_remote(struct mig *m, struct findings *f, struct err *e)
{
	int r = m->dump.criu_version ? 0 : look_at_criu(m, e);

	if (r)
		return r;
	r = dirs_look(m, e);
	if (r)
		return r;
	r = talk_connect(m, e);
	if (r)
		return r;
	r = mnet_findings(m, f, e);
	if (r)
		return r;
	r = negotiate_offer(m, true, f, e);
	if (r)
		return r;
	talk_say(m, HAUL__MSG__BODY_BYE, NULL, e);
	return 0;
}

/*
 * What is known of the stop before a move: its cost without the pages that the program writes meanwhile. Where that is
 * beyond a limit the move does not begin it.
 */
static int say_stop(const struct mig *m, struct findings *f)
{
	struct pol_costs costs;
	struct pol_size z = { .costs = &costs };
	const struct pol_options *o = &m->opt->pol.v;

	costs_load(&costs, m->opt->dest);
	inspect_size(m->insp, &z);
	z.how = pol_freeze_how(&z);
	unsigned long long ms = pol_freeze_us(&z) / 1000;
	const char *option = o->downtime_max_ms && ms > o->downtime_max_ms ? "downtime-max-ms"
	                     : ms > o->freeze_limit_ms                     ? "freeze-limit-ms"
	                                                                   : NULL;

	if (option)
		return finding_add(
		        f, SEV_BLOCKER, "stop", "raise the limit, if the program bears that",
		        "the stop is expected to take %llu ms at least, which is more than "
		        "--%s allows",
		        ms, option);
	return finding_add(
	        f, SEV_INFO, "stop", NULL,
	        "the stop is expected to take about %llu ms (%u processes, %u threads, %u "
	        "mappings, %u descriptors), and as long as what is written meanwhile takes "
	        "to send",
	        ms, z.tasks, z.tasks + z.threads, z.maps + z.file_maps, z.fds);
}

/* What is found is shown, also when the destination does not answer. */
static int check(struct mig *m, struct findings *f, struct err *e)
{
	const struct opts *o = m->opt;
	int r = o->user.owned ? owner_check(o->pid, &o->user.account, e) : 0;
	struct err no_criu = ERR_INIT;

	if (r)
		return r;
	look_at_criu(
	        m,
	        &no_criu); /* an old one cannot move connections; where it is needed it is asked again */
	r = mnet_new(m, e);
	if (r)
		return r;
	r = inspect_new_with(&m->insp, o->pid, mnet_judge(m->net), &o->fs, e);
	if (r)
		return r;
	r = mnet_findings(m, f, e);
	if (r)
		return r;
	r = capture_findings(m, f, e);
	if (r)
		return r;
	if (!inspect_findings(m->insp)->blockers && say_stop(m, f) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for findings");
	if (o->dest)
		r = check_remote(m, f, e);
	if (m->needs && r == 0)
		report_needs(m->needs, o->json, o->verbose);
	report_findings(inspect_findings(m->insp), o->json, o->verbose);
	report_findings(f, o->json, o->verbose);
	groups_print();
	return r;
}

int cli_check(struct opts *o, int argc, char **argv)
{
	struct mig mig = { 0 }, *m = &mig;
	struct findings f = { 0 };

	(void)argc;
	(void)argv;
	mig_init(m);
	signal(SIGPIPE, SIG_IGN);
	m->opt = o;
	int r = check(m, &f, &m->err);

	if (r < 0)
		report_error(&m->err, o->json);
	bool no_target = m->err.src == ERR_TARGET;
	unsigned int blockers = r == 0 ? inspect_findings(m->insp)->blockers + f.blockers : 0;

	if (r == 0 && !o->json)
		printf("%s\n", blockers  ? "cannot be hauled: see the blockers"
		               : o->dest ? "nothing stands in the way"
		                         : "nothing on this host stands in the way");
	findings_fini(&f);
	run_fini(m);
	if (r < 0)
		return no_target ? EXIT_BLOCKED : EXIT_FAILED;
	return blockers ? EXIT_BLOCKED : EXIT_OK;
}
