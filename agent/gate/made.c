// SPDX-License-Identifier: GPL-2.0-or-later
/* made.c - find and kill the processes that a restore made, when it is given up. */
#include "agent/gate/made.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "engine/proc/proc.h"

#define GONE_LIMIT_MS  5000
#define ALONE_LIMIT_MS 2000
#define LOOK_EVERY_US  20000

/* A process, told from a later one with the same pid. */
struct made {
	pid_t pid;
	uint64_t start;
};

struct list {
	struct made *v;
	size_t n;
};

void made_begin(struct wrk *w)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		log_warn("orphans of the restore cannot be adopted: %s", strerror(errno));
	w->keep->criu_pid = criu_pid(w->criu);
	w->keep->criu_start = procs_start(w->keep->criu_pid);
}

void made_over(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

/* Guardians, and whatever else of hauld this worker has forked. */
bool made_is_hauld(pid_t pid)
{
	char path[32];
	struct stat ours, theirs;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	return stat("/proc/self/exe", &ours) == 0 && stat(path, &theirs) == 0 &&
	       ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

static bool is_there(const struct made *p)
{
	return p->start && procs_start(p->pid) == p->start;
}

/* Add the living descendants of @root that are not on the list. @self: without @root and hauld */
static void note(struct list *l, pid_t root, bool self)
{
	struct proc_list found = { 0 };
	struct err ignore = ERR_INIT;

	if (procs_tree(root, &found, &ignore) < 0)
		found.n = 0;
	for (size_t i = 0; i < found.n; i++) {
		struct made p = { found.pid[i], procs_start(found.pid[i]) };
		bool known = !p.start || (self && (p.pid == root || made_is_hauld(p.pid)));

		for (size_t k = 0; k < l->n && !known; k++)
			known = l->v[k].pid == p.pid && l->v[k].start == p.start;
		struct made *v = known ? NULL : realloc(l->v, (l->n + 1) * sizeof(*v));

		if (!v)
			continue;
		l->v = v;
		v[l->n++] = p;
	}
	procs_fini(&found);
}

/* Where it waits in the kernel, as a word for the log. */
static void where(pid_t pid, char *out, size_t bytes)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/wchan", pid);
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(out, 1, bytes - 1, f) : 0;

	if (f)
		fclose(f);
	out[n] = 0;
}

/* Return: the number that are still there */
static size_t kill_listed(const struct list *l, bool first)
{
	size_t left = 0;

	for (size_t i = 0; i < l->n; i++) {
		char at[64];

		if (!is_there(&l->v[i]))
			continue;
		left++;
		where(l->v[i].pid, at, sizeof(at));
		if (first)
			log_warn("pid=%d was made by the restore (state %c, waits in %s): killed",
			         l->v[i].pid, procs_state(l->v[i].pid), at[0] ? at : "-");
		kill(l->v[i].pid, SIGKILL);
		waitpid(l->v[i].pid, NULL, WNOHANG); /* an orphan is our child now */
	}
	return left;
}

static void say_left(const struct list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		char at[64];

		if (!is_there(&l->v[i]))
			continue;
		where(l->v[i].pid, at, sizeof(at));
		log_err("pid=%d was made by the restore and cannot be killed (state %c in %s)",
		        l->v[i].pid, procs_state(l->v[i].pid), at);
	}
}

static void note_all(struct list *l, const struct wrk *w)
{
	const struct wrk_keep *k = w->keep;

	note(l, getpid(), true);
	if (k->berth_fd >= 0 && procs_start(k->berth_pid) == k->berth_start)
		note(l, k->berth_pid, true);
}

void made_end(const struct wrk *w)
{
	uint64_t deadline = deadline_in_ms(GONE_LIMIT_MS);
	struct list l = { 0 };
	size_t left, told = 0;

	do {
		note_all(&l, w);
		left = kill_listed(&l, told < l.n);
		told = l.n;
		if (left)
			usleep(LOOK_EVERY_US);
	} while (left && now_us() < deadline);
	if (l.n)
		log_info("the restore was given up: looked at the descendants of this worker, "
		         "%zu made by CRIU, %zu left",
		         l.n, left);
	say_left(&l);
	free(l.v);
	made_over();
}

void made_end_orphans(pid_t criu, uint64_t criu_start)
{
	uint64_t alone = deadline_in_ms(ALONE_LIMIT_MS),
	         deadline = deadline_in_ms(ALONE_LIMIT_MS + GONE_LIMIT_MS);
	struct made root = { criu, criu_start };
	struct list l = { 0 };
	bool told = false;
	size_t left = 1;

	if (!criu)
		return;
	while (left && now_us() < deadline) {
		if (is_there(&root))
			note(&l, criu, false);
		left = 0;
		for (size_t i = 0; i < l.n; i++)
			left += is_there(&l.v[i]);
		if (left && now_us() >= alone) {
			kill_listed(&l, !told);
			told = true;
		}
		usleep(LOOK_EVERY_US);
	}
	say_left(&l);
	free(l.v);
}
