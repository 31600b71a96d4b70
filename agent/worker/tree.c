// SPDX-License-Identifier: GPL-2.0-or-later
/* tree.c - whether the restored process tree lives, and how its root process ended. */
#include "agent/worker/tree.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/berth/berth.h"
#include "common/clock.h"
#include "engine/proc/proc.h"

#define FLAG_EXITING  0x4 /* PF_EXITING in the ninth field of stat */
#define HOW_LIMIT_MS  1000 /* from the end of the address space until the process is a zombie */
#define LOOK_EVERY_US 5000

/* Linux 6.15: <linux/pidfd.h> may be older */
#define INFO_EXIT (1ULL << 3)
struct info {
	uint64_t mask, cgroup;
	uint32_t pid, tgid, ppid, ids[8];
	int32_t exit_code;
};
#define GET_INFO _IOWR(0xff, 11, struct info)

void tree_watch_begin(struct tree_watch *t, const struct wrk *w)
{
	size_t n = w->offer.pids.n + 1;

	*t = (struct tree_watch){ .pid = calloc(n, sizeof(*t->pid)),
		                  .start = calloc(n, sizeof(*t->start)) };
	t->root_pidfd = (int)syscall(SYS_pidfd_open, w->root_pid, 0);
	if (!t->pid || !t->start)
		return;
	t->pid[t->n++] = w->root_pid;
	for (size_t i = 0; i < w->offer.pids.n; i++)
		t->pid[t->n++] = berth_pid(w, (pid_t)w->offer.pids.v[i]);
	for (size_t i = 0; i < t->n; i++)
		t->start[i] = procs_start(t->pid[i]);
}

/* Fields of /proc/PID/stat, or of a thread's, that are asked for. */
struct seen {
	char state;
	pid_t session;
	unsigned int flags;
	int exit_code; /* of a zombie */
};

static bool look(const char *path, struct seen *out)
{
	char text[1024] = "";
	FILE *f = fopen(path, "re");
	size_t got = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[got] = 0;
	char *name_end = strrchr(text, ')'), *last = strrchr(text, ' ');

	if (!name_end || sscanf(name_end + 1, " %c %*d %*d %d %*d %*d %u", &out->state,
	                        &out->session, &out->flags) != 3)
		return false;
	out->exit_code = (int)strtol(last, NULL, 10); /* the last field */
	return true;
}

static bool is_exiting(pid_t pid, const char *tid)
{
	char path[64];
	struct seen s;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/stat", pid, tid);
	return !look(path, &s) || s.state == 'Z' || s.state == 'X' || (s.flags & FLAG_EXITING);
}

static bool lives(pid_t pid)
{
	char path[32];
	bool any = false;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *d = opendir(path);

	for (struct dirent *de; d && !any && (de = readdir(d));)
		any = de->d_name[0] != '.' && !is_exiting(pid, de->d_name);
	if (d)
		closedir(d);
	return any;
}

static bool leads_session(const struct tree_watch *t, pid_t session)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->pid[i] == session && t->start[i])
			return true;
	return false;
}

/* A process that was made here since, whose parent has ended, is still in the tree's session. */
static bool left_any(const struct tree_watch *t)
{
	bool any = false;
	DIR *d = opendir("/proc");

	for (struct dirent *de; d && !any && (de = readdir(d));) {
		char path[64];
		struct seen s;

		snprintf(path, sizeof(path), "/proc/%.20s/stat", de->d_name);
		any = de->d_name[0] >= '1' && de->d_name[0] <= '9' && look(path, &s) &&
		      leads_session(t, s.session) && lives((pid_t)strtol(de->d_name, NULL, 10));
	}
	if (d)
		closedir(d);
	return any;
}

bool tree_lives(const struct tree_watch *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->start[i] && procs_start(t->pid[i]) == t->start[i] && lives(t->pid[i]))
			return true;
	return left_any(t);
}

/* Once it is reaped the kernel (6.15) tells it by the pidfd, before that by its stat. */
static bool root_status(const struct tree_watch *t, int *status)
{
	struct info in = { .mask = INFO_EXIT };
	struct seen s;
	char path[32];

	if (t->root_pidfd >= 0 && ioctl(t->root_pidfd, GET_INFO, &in) == 0 &&
	    (in.mask & INFO_EXIT)) {
		*status = in.exit_code;
		return true;
	}
	if (!t->n || !t->start[0])
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", t->pid[0]);
	if (procs_start(t->pid[0]) != t->start[0] || !look(path, &s) || s.state != 'Z')
		return false;
	*status = s.exit_code;
	return true;
}

bool tree_how(const struct tree_watch *t, char out[TREE_HOW_BYTES])
{
	uint64_t until = deadline_in_ms(HOW_LIMIT_MS);
	bool known;
	int status;

	while (!(known = root_status(t, &status)) && t->root_pidfd >= 0 && now_us() < until)
		usleep(LOOK_EVERY_US);
	if (!known)
		snprintf(out, TREE_HOW_BYTES, "it is not known how");
	else if (WIFSIGNALED(status))
		snprintf(out, TREE_HOW_BYTES, "killed by signal %d", WTERMSIG(status));
	else
		snprintf(out, TREE_HOW_BYTES, "exit status %d", WEXITSTATUS(status));
	return known && WIFEXITED(status);
}

void tree_record_how(char *how)
{
	for (; *how; how++)
		if (*how == ' ')
			*how = '-';
}

void tree_ended(const struct journal *j, char out[TREE_ENDED_BYTES])
{
	const char *pages = journal_get(j, "pages");
	unsigned long long n = pages ? strtoull(pages, NULL, 10) : 0;
	const char *v = journal_get(j, "how");
	char how[TREE_HOW_BYTES];

	snprintf(how, sizeof(how), "%s", v ? v : "");
	for (char *c = how; *c; c++)
		if (*c == '-')
			*c = ' ';
	snprintf(out, TREE_ENDED_BYTES,
	         "the process ended here (%s) while %llu of its pages were missing", how, n);
}

void tree_watch_end(struct tree_watch *t)
{
	free(t->pid);
	free(t->start);
	if (t->root_pidfd >= 0)
		close(t->root_pidfd);
}
