// SPDX-License-Identifier: GPL-2.0-or-later
/* supervisor.c - which program would start the tree again, or kill its stopped copy, after a move. */
#include "hauler/inspect/tree/tree.h"

#include <stdlib.h>
#include <string.h>

#include "common/host/systemctl.h"

#define ANCESTORS_MAX 64
#define WORD_BYTES    128

/* A process and its job control, from /proc/PID/stat. */
struct process {
	pid_t pid;
	int parent, group, session, terminal, foreground; /* foreground: group of the terminal */
	char state;
	char comm[INSPECT_COMM_MAX];
};

/* The systemd unit that the cgroup of the root belongs to. */
struct unit {
	char name[WORD_BYTES];
	bool user; /* of a user's manager */
	bool asked; /* the fields below are known */
	pid_t main;
	char restart[WORD_BYTES], watchdog[WORD_BYTES], triggers[WORD_BYTES];
};

/* Programs that start others again, by their name in the kernel. */
static const struct {
	const char *comm, *name;
} known[] = {
	{ "supervisord", "supervisord" },
	{ "runsv", "runit" },
	{ "s6-supervise", "s6" },
	{ "supervise", "daemontools" },
	{ "supervise-daemo", "OpenRC" },
	{ "monit", "monit" },
	{ "circusd", "circus" },
	{ "inetd", "inetd" },
	{ "xinetd", "xinetd" },
	{ "tcpserver", "tcpserver" },
	{ "s6-ipcserverd", "s6" },
	{ "containerd-shim", "a container runtime" },
	{ "conmon", "a container runtime" },
	{ "slurmstepd", "Slurm" },
	{ "pbs_mom", "PBS" },
	{ "condor_starter", "HTCondor" },
	{ "sge_shepherd", "Grid Engine" },
	{ "hydra_pmi_proxy", "an MPI launcher" },
	{ "orted", "an MPI launcher" },
	{ "prted", "an MPI launcher" },
	{ "PM2 ", "PM2" },
};

static const char *const shells[] = { "sh",   "bash", "dash", "zsh",  "ksh",
	                              "mksh", "ash",  "fish", "tcsh", "busybox" };

/* ---- reading ---- */

static bool read_process(pid_t pid, struct process *p)
{
	char buf[1024];
	AUTO(file) FILE *f = inspect_open(pid, "stat");
	size_t n = f ? fread(buf, 1, sizeof(buf) - 1, f) : 0;

	buf[n] = 0;
	const char *at = strrchr(buf, ')'); /* the name may contain any character */

	*p = (struct process){ .pid = pid };
	if (!at || sscanf(at + 1, " %c %d %d %d %d %d", &p->state, &p->parent, &p->group,
	                  &p->session, &p->terminal, &p->foreground) != 6)
		return false;
	inspect_comm(pid, p->comm);
	return true;
}

/* The last component of its cgroup's path that is a systemd service. */
static bool read_unit(pid_t pid, struct unit *u)
{
	char line[INSPECT_PATH_MAX], copy[INSPECT_PATH_MAX];
	AUTO(file) FILE *f = inspect_open(pid, "cgroup");

	while (f && fgets(line, sizeof(line), f)) {
		char *path = strncmp(line, "0::", 3) == 0 ? line + 3
		                                          : strstr(line, "name=systemd:");
		const char *tail = ".service";

		if (!path)
			continue;
		path = strchr(path, '/');
		if (!path)
			continue;
		path[strcspn(path, "\n")] = 0;
		snprintf(copy, sizeof(copy), "%s", path);
		for (char *save, *part = strtok_r(copy, "/", &save); part;
		     part = strtok_r(NULL, "/", &save)) {
			size_t n = strlen(part), k = strlen(tail);

			if (n <= k || strcmp(part + n - k, tail))
				continue;
			if (!strncmp(part, "user@", 5)) {
				u->user = true;
				continue;
			}
			snprintf(u->name, sizeof(u->name), "%s", part);
		}
		if (u->name[0])
			return true;
	}
	return false;
}

/* ---- systemctl ---- */

static void ask_systemd(struct unit *u)
{
	char text[4096], main[WORD_BYTES];

	/* a user's manager answers only its user */
	if (u->user ||
	    systemctl_show(u->name, "--property=MainPID,Restart,WatchdogUSec,TriggeredBy", text,
	                   sizeof(text)) < 0)
		return;
	systemctl_value(text, "MainPID", main, sizeof(main));
	systemctl_value(text, "Restart", u->restart, sizeof(u->restart));
	systemctl_value(text, "WatchdogUSec", u->watchdog, sizeof(u->watchdog));
	systemctl_value(text, "TriggeredBy", u->triggers, sizeof(u->triggers));
	u->asked = main[0] && u->restart[0];
	u->main = atoi(main);
	if (!strcmp(u->watchdog, "0") || !strcmp(u->watchdog, "infinity"))
		u->watchdog[0] = 0;
}

/* ---- findings ---- */

static enum severity severity(const struct inspect *i, enum severity usual)
{
	return i->net.ignore_supervisor ? SEV_INFO : usual;
}

/* Return: 1 the unit is the supervisor, and was reported; 0 it is not; -ENOMEM */
static int say_unit(struct inspect *i, const struct process *parent)
{
	struct unit u = { 0 };
	bool by_manager = parent && !strcmp(parent->comm, "systemd");
	int r;

	if (!by_manager || !read_unit(i->root, &u))
		return 0;
	if (i->net.unit && !strcmp(i->net.unit, u.name))
		return 1; /* it moves as that unit */
	ask_systemd(&u);
	if (!u.asked) {
		r = inspect_say(i, severity(i, SEV_BLOCKER), "supervised",
		                "see Restart= of the unit (systemctl show); --supervisor=ignore if "
		                "it is \"no\"",
		                "pid %d belongs to %s of systemd, and systemd does not say whether "
		                "it would start another one",
		                i->root, u.name);
		return r < 0 ? r : 1;
	}
	if (u.main && u.main != i->root)
		return 0;
	bool restarts = strcmp(u.restart, "no") != 0 || u.triggers[0];

	if (!restarts && !u.watchdog[0])
		r = inspect_say(
		        i, severity(i, SEV_WARNING), "supervised",
		        "haul NAME.service HOST moves it as a service, and makes it a success",
		        "pid %d is %s of systemd, which will be \"failed\" here after the move",
		        i->root, u.name);
	else
		r = inspect_say(i, severity(i, SEV_BLOCKER), "supervised",
		                u.triggers[0]
		                        ? "stop what triggers it, then haul NAME.service HOST; or "
		                          "--supervisor=ignore"
		                        : "haul NAME.service HOST moves it as a service; or "
		                          "--supervisor=ignore",
		                "pid %d is %s of systemd (Restart=%s%s%s%s%s), which would %s",
		                i->root, u.name, u.restart, u.watchdog[0] ? ", WatchdogSec=" : "",
		                u.watchdog, u.triggers[0] ? ", triggered by " : "", u.triggers,
		                u.watchdog[0] ? "kill the stopped copy, or start another one"
		                              : "start another one here");
	return r < 0 ? r : 1;
}

static const char *known_name(const char *comm)
{
	for (size_t k = 0; k < ARRAY_SIZE(known); k++) {
		size_t n = strlen(known[k].comm);

		/* PM2 adds its version to its name */
		if (!strcmp(comm, known[k].comm) ||
		    (known[k].comm[n - 1] == ' ' && !strncmp(comm, known[k].comm, n)))
			return known[k].name;
	}
	return NULL;
}

/* Did @pid order this move itself, as a script does that started the program? */
static bool is_ancestor_of_haul(pid_t pid)
{
	pid_t at = getpid();

	for (int n = 0; at > 1 && n < ANCESTORS_MAX; n++, at = procs_parent(at))
		if (at == pid)
			return true;
	return false;
}

/*
 * A shell that gives each job a process group: it reports the end of a job and returns to its
 * prompt.
 */
static bool is_job_of_shell(const struct process *root, const struct process *parent)
{
	if (!parent->terminal || root->group == parent->group)
		return false;
	for (size_t k = 0; k < ARRAY_SIZE(shells); k++)
		if (!strcmp(parent->comm, shells[k]))
			return true;
	return false;
}

/* A server that keeps a number of workers: they run the program of their master. */
static bool is_worker(const struct process *root, const struct process *parent)
{
	char a[32], b[32];
	struct stat of_root, of_parent;

	snprintf(a, sizeof(a), "/proc/%d/exe", root->pid);
	snprintf(b, sizeof(b), "/proc/%d/exe", parent->pid);
	return stat(a, &of_root) == 0 && stat(b, &of_parent) == 0 &&
	       of_root.st_dev == of_parent.st_dev && of_root.st_ino == of_parent.st_ino;
}

static int say_worker(struct inspect *i, const struct process *root, const struct process *parent)
{
	char remedy[128];

	snprintf(remedy, sizeof(remedy),
	         "move the whole server (haul %d HOST), or --supervisor=ignore if it starts no "
	         "other",
	         parent->pid);
	return inspect_say(
	        i, severity(i, SEV_BLOCKER), "supervised", remedy,
	        "pid %d is a child of pid %d (%s), which runs the same program and waits "
	        "for it: a server that keeps a number of workers would start another one",
	        root->pid, parent->pid, parent->comm);
}

static int say_parent(struct inspect *i, const struct process *root, const struct process *parent)
{
	const char *name = known_name(parent->comm);

	if (name)
		return inspect_say(
		        i, severity(i, SEV_BLOCKER), "supervised",
		        "tell it not to start the program again, then --supervisor=ignore",
		        "pid %d was started by pid %d (%s), which is %s: it would start another "
		        "one, or mistake the move for a crash",
		        root->pid, parent->pid, parent->comm, name);
	if (parent->pid == 1 || is_ancestor_of_haul(parent->pid))
		return 0;
	if (is_job_of_shell(root, parent))
		return inspect_say(
		        i, severity(i, SEV_WARNING), "supervised",
		        "start it by setsid -f PROGRAM, or make sure that the shell does not start "
		        "it in a loop",
		        "pid %d is a job of pid %d (%s), which will be told that it was killed",
		        root->pid, parent->pid, parent->comm);
	if (is_worker(root, parent))
		return say_worker(i, root, parent);
	return inspect_say(i, severity(i, SEV_BLOCKER), "supervised",
	                   "start the program without a parent (setsid -f PROGRAM), move the tree "
	                   "of the parent, or "
	                   "--supervisor=ignore if it starts no other",
	                   "pid %d is a child of pid %d (%s), which waits for it and will mistake "
	                   "the move for a crash: it may start another one",
	                   root->pid, parent->pid, parent->comm);
}

/* A haul run or haul land, which knows what a move is. */
static bool ask_stand(struct inspect *i, pid_t parent)
{
	struct stand_mail mail = { .m.word = STAND_ASK };
	struct err ignore = ERR_INIT;
	AUTO(fd) int fd = stand_of(parent);

	if (fd < 0 || stand_ask(fd, &mail, STAND_LIMIT_MS, &ignore) < 0)
		return false;
	stand_drop(&mail);
	if (mail.m.pid != i->root)
		return false;
	i->stand = mail.m;
	return true;
}

int inspect_supervisor(struct inspect *i)
{
	struct process root, parent;
	bool has_parent;

	if (i->net.container)
		return 0; /* its runtime is asked itself */
	if (!read_process(i->root, &root))
		return 0; /* ended meanwhile */
	has_parent = root.parent > 0 && read_process(root.parent, &parent) && parent.state != 'Z';
	if (!has_parent || ask_stand(i, parent.pid))
		return 0;
	int r = say_unit(i, &parent);

	if (r || !strcmp(parent.comm, "systemd"))
		return r < 0 ? r : 0;
	return say_parent(i, &root, &parent);
}
