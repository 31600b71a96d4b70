// SPDX-License-Identifier: GPL-2.0-or-later
/* throttle.c - limits on haul's bandwidth and CPU, and on the program's while rounds run. */
#include "hauler/run/priv.h"

#include "common/clock.h"
#include "common/log.h"
#include "hauler/report/report.h"

void throttle_limits(struct mig *m, bool frozen)
{
	const struct pol_options *o = &m->opt->pol.v;

	send_limit(m->pages.send, (uint64_t)o->bandwidth_limit_mbit * 1000000 / 8,
	           frozen ? 0 : o->cpu_limit_percent);
}

void throttle_free(struct mig *m)
{
	slow_free(steal(m->precopy.slow));
	pol_slowed(&m->precopy.decision, 0);
}

void throttle_check(struct mig *m)
{
	if (!m->precopy.slow || slow_kept(m->precopy.slow))
		return;
	log_warn("the throttling process was killed; the program runs at full speed");
	throttle_free(m);
	m->precopy.decision.slow_cannot = true;
}

/* CPUs that the tree has used since rounds began; it ran at full speed so far. */
static double cpus_used(const struct mig *m)
{
	uint64_t us = procs_cpu_us(m->opt->pid), since_us = now_us() - m->precopy.cpu_at_us;

	return us > m->precopy.cpu_us && since_us
	               ? (double)(us - m->precopy.cpu_us) / (double)since_us
	               : 0;
}

void throttle_more(struct mig *m)
{
	struct err why = ERR_INIT;
	unsigned int percent = m->precopy.answer.slow_percent;
	int r = 0;

	if (!m->precopy.slow)
		r = slow_new(&m->precopy.slow, m->opt->pid, m->link.route, cpus_used(m), &why);
	if (r == 0)
		r = slow_set(m->precopy.slow, percent, &why);
	if (r < 0) {
		throttle_free(m);
		m->precopy.decision.slow_cannot = true;
		log_warn("the program is not slowed down: %s", why.msg);
		return;
	}
	pol_slowed(&m->precopy.decision, percent);
	if (percent > m->fig.slowest_percent)
		m->fig.slowest_percent = percent;
	report_throttle(m);
}
