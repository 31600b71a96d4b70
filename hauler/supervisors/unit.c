// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * unit.c - the service of systemd's that the tree is, while it leaves: it is not started again, its watchdog
 * does not bite while it is stopped, and its end here is a success.
 */
#include "hauler/supervisors/supervisors.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/host/systemctl.h"

static const char asked[] =
        "--property=MainPID,WatchdogUSec,TriggeredBy,UnitFileState,ControlGroup";

/* What stays behind in its cgroup would keep it from ending. */
static int all_move(struct mig *m, const char *group, struct err *e)
{
	char mount[256], path[1024];
	int pid;

	if (frost_mount(mount, sizeof(mount)) < 0)
		return 0;
	snprintf(path, sizeof(path), "%s%s/cgroup.procs", mount, group);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fscanf(f, "%d", &pid) == 1)
		if (!inspect_in_tree(m->insp, pid)) {
			err_set(e, ERR_TARGET, EBUSY,
			        "process %d of %s is not below its main process %d", pid,
			        m->opt->unit, m->opt->pid);
			return err_fix(e, "end it first, or move the main process by its pid");
		}
	return 0;
}

static int judge(struct mig *m, const char *text, struct err *e)
{
	char value[SYSTEMCTL_VALUE_BYTES];

	systemctl_value(text, "MainPID", value, sizeof(value));
	if (atoi(value) != m->opt->pid)
		return err_set(e, ERR_TARGET, ESTALE, "%s has another main process now",
		               m->opt->unit);
	systemctl_value(text, "TriggeredBy", value, sizeof(value));
	if (value[0]) {
		err_set(e, ERR_TARGET, EPERM, "%s is started by %s", m->opt->unit, value);
		return err_fix(e, "systemctl stop %s, which would start another one here", value);
	}
	systemctl_value(text, "ControlGroup", value, sizeof(value));
	return all_move(m, value, e);
}

int unit_guard(struct mig *m, struct err *e)
{
	char text[4096], value[SYSTEMCTL_VALUE_BYTES];
	const char *unit = m->opt->unit;

	if (!unit)
		return 0;
	int r = systemctl_show(unit, asked, text, sizeof(text));

	if (r < 0)
		return err_set(e, ERR_SYS, -r, "systemd says nothing about %s: %s", unit,
		               strerror(-r));
	if (judge(m, text, e) < 0)
		return err_code(e);
	systemctl_value(text, "WatchdogUSec", value, sizeof(value));
	m->unit.watchdog_us = systemctl_us(value);
	systemctl_value(text, "UnitFileState", value, sizeof(value));
	/* one that is not enabled may be wanted by another unit */
	m->unit.lasting = strcmp(value, "transient") != 0;
	m->unit.guarded = true;
	r = systemctl_change(unit, SYSTEMCTL_LEAVING, NULL, e);
	if (r < 0)
		return r;
	m->unit.lock = systemctl_hold(unit); /* as long as we live, or the migration is on record */
	if (m->unit.lasting && systemctl_change(unit, SYSTEMCTL_AWAY, NULL, e) < 0)
		return err_code(e);
	return systemctl_run("daemon-reload", NULL, e);
}

static void set_watchdog(const struct mig *m, uint64_t us)
{
	char text[48];

	snprintf(text, sizeof(text), "WATCHDOG_USEC=%llu", (unsigned long long)us);
	int r = m->unit.watchdog_us ? systemctl_notify(m->opt->pid, text) : 0;

	if (r < 0)
		log_err("the watchdog of %s: %s", m->opt->unit, strerror(-r));
}

int unit_disarm(struct mig *m, struct err *e)
{
	(void)e;
	if (m->opt->unit)
		set_watchdog(m, 0);
	return 0;
}

/* If this host is restarted while pages are missing at the destination, its next boot must not start another one. */
int unit_away(struct mig *m, struct err *e)
{
	const char *unit = m->opt->unit;
	int r = unit ? systemctl_mark(unit, SYSTEMCTL_LEAVING, true, e) : 0;

	return r == 0 && unit && m->unit.lasting ? systemctl_mark(unit, SYSTEMCTL_AWAY, true, e)
	                                         : r;
}

static void unmark(const char *unit, enum systemctl_change what)
{
	struct err e = ERR_INIT;

	if (systemctl_mark(unit, what, false, &e) < 0)
		log_err("%s", e.msg);
}

void unit_back(struct mig *m)
{
	struct err e = ERR_INIT;
	const char *unit = m->opt->unit;

	if (!m->unit.guarded)
		return;
	m->unit.guarded = false;
	set_watchdog(m, m->unit.watchdog_us);
	unmark(unit, SYSTEMCTL_LEAVING);
	unmark(unit, SYSTEMCTL_AWAY);
	bool away = systemctl_unchange(unit, SYSTEMCTL_AWAY);

	if ((systemctl_unchange(unit, SYSTEMCTL_LEAVING) || away) &&
	    systemctl_run("daemon-reload", NULL, &e) < 0)
		log_err("%s", e.msg);
}
