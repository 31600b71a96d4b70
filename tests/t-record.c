// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-record.c - the source's journal of a tree of thousands of processes is read back whole: each
 * is found again by pid and start, those that have ended are counted, a reused pid is not taken. Options that recovery needs are in it.
 */
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hauler/run/priv.h"
#include "tests/checks.h"

#define ID       0x0123456789abcdefULL
#define CHILDREN 40u
#define TASKS    6000u /* each child many times: a record does not mind */

static struct err e;
static pid_t child[CHILDREN];

static struct mig *new_mig(void)
{
	struct mig *m = calloc(1, sizeof(*m));

	MUST_E(m, e);
	mig_init(m);
	m->id = m->link.route = ID;
	return m;
}

static void end(struct mig *m, bool remove)
{
	record_end(m, remove);
	run_fini(m);
	free(m);
}

static void record(void)
{
	struct mig *m = new_mig();

	MUST_E(journal_new(&m->journal, JOURNAL_DIR, JOURNAL_SOURCE, ID, &e) == 0, e);
	m->copy.held = calloc(TASKS, sizeof(*m->copy.held));
	for (; m->copy.n_held < TASKS; m->copy.n_held++)
		m->copy.held[m->copy.n_held] =
		        (struct held){ .pid = child[m->copy.n_held % CHILDREN],
			               .pidfd = -1,
			               .was_stopped = m->copy.n_held % 3 == 0 };
	MUST_E(record_held(m, &e) == 0 && strlen(journal_get(m->journal, "pids")) > 65536, e);
	MUST_E(record_commit(m, &e) == 0, e);
	end(m, false);
}

/* Return: who is found again */
static struct mig *found(unsigned int *gone)
{
	struct mig *m = new_mig();

	MUST_E(journal_adopt(&m->journal, JOURNAL_DIR, JOURNAL_SOURCE, ID, &e) == 0, e);
	MUST_E(!strcmp(journal_word(m->journal), "commit"), e);
	MUST_E(record_held_again(m, gone, &e) == 0 && m->copy.n_held + *gone == TASKS, e);
	for (size_t i = 0; i < m->copy.n_held; i++)
		MUST_E(m->copy.held[i].pidfd >= 0, e);
	return m;
}

/* Who has that pid now is another one, which started at another time. */
static void pid_is_used_again(void)
{
	struct mig *m = new_mig();
	unsigned int gone = 0;

	MUST_E(journal_new(&m->journal, JOURNAL_DIR, JOURNAL_SOURCE, ID, &e) == 0, e);
	MUST_E(journal_add(m->journal, &e, "held", "pids=%d:%llu:0:/,%d:1:0:/", child[0],
	                   (unsigned long long)procs_start(child[0]), child[1]) == 0,
	       e);
	MUST_E(record_held_again(m, &gone, &e) == 0 && gone == 1 && m->copy.n_held == 1, e);
	MUST_E(m->copy.held[0].pid == child[0], e);
	/* then it runs on here: that is said once, and only behind a commit */
	record_undone(m);
	MUST_E(!strcmp(journal_word(m->journal), "held"), e);
	MUST_E(record_commit(m, &e) == 0, e);
	record_undone(m);
	MUST_E(!strcmp(journal_word(m->journal), "undone"), e);
	end(m, true);
}

/* What recovery needs of the options: the limits hold for it, too. */
static void options(void)
{
	struct opts was = { .pid = child[0], .dest = "hostB", .port = 4285 }, now = { 0 };
	struct mig *m = new_mig();

	was.pol.v.streams = 3;
	was.pol.v.bandwidth_limit_mbit = 7;
	was.pol.v.cpu_limit_percent = 50;
	m->opt = &was;
	MUST_E(mnet_adopt(m, "none", &e) == 0 && record_freeze(m, &e) == 0, e);
	end(m, false);
	m = new_mig();
	MUST_E(journal_adopt(&m->journal, JOURNAL_DIR, JOURNAL_SOURCE, ID, &e) == 0, e);
	MUST_E(record_load(m, &now, &e) == 0, e);
	MUST_E(now.pid == was.pid && !strcmp(now.dest, was.dest) && now.port == was.port, e);
	MUST_E(now.pol.v.streams == 3 && now.pol.v.bandwidth_limit_mbit == 7 &&
	               now.pol.v.cpu_limit_percent == 50,
	       e);
	end(m, true);
}

int main(void)
{
	struct rlimit l = { TASKS + 100, TASKS + 100 };
	unsigned int gone = 0;

	if (geteuid() != 0) {
		puts("SKIP: needs root");
		return 77;
	}
	MUST_E(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
	       e);
	MUST_E(mount("none", "/run", "tmpfs", 0, "mode=755") == 0 &&
	               setrlimit(RLIMIT_NOFILE, &l) == 0,
	       e);
	for (unsigned int i = 0; i < CHILDREN; i++)
		if ((child[i] = fork()) == 0) {
			signal(SIGTERM, SIG_DFL);
			pause();
			_exit(0);
		}
	options();
	record();
	struct mig *m = found(&gone);

	MUST_E(gone == 0, e);
	for (size_t i = 0; i < TASKS; i++)
		MUST_E(m->copy.held[i].pid == child[i % CHILDREN] &&
		               m->copy.held[i].was_stopped == (i % 3 == 0),
		       e);
	end(m, false);
	MUST_E(kill(child[7], SIGKILL) == 0 && waitpid(child[7], NULL, 0) == child[7], e);
	m = found(&gone);
	MUST_E(gone == TASKS / CHILDREN, e);
	end(m, true);
	pid_is_used_again();
	for (unsigned int i = 0; i < CHILDREN; i++)
		if (i != 7)
			kill(child[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
