// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * space.c - the berth of a tree whose pids are taken here: a pid namespace of its own, with its own /proc, in a
 * cgroup of its own. Process 1 there is a small program of ours (spacekeeper.c), which starts CRIU.
 */
#include "agent/berth/priv.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/berth/spacekeeper.h"
#include "common/clock.h"
#include "common/log.h"
#include "engine/proc/frost.h"
#include "engine/proc/proc.h"
#include "transport/msg/haul.pb-c.h"

#define READY_LIMIT_MS 10000

static int check(struct findings *f, const Haul__Offer *o)
{
	if (o->land[0] || o->unit[0] || o->into_root[0])
		return finding_add(f, SEV_BLOCKER, "pid-namespace", "leave out one of them",
		                   "--pid=own-namespace cannot be combined with %s",
		                   o->land[0]   ? "--as"
		                   : o->unit[0] ? "a service of systemd's"
		                                : "--into-root");
	for (size_t i = 0; i < o->n_pid; i++)
		if (o->pid[i] == 1)
			return finding_add(f, SEV_BLOCKER, "pid-namespace",
			                   "run haul outside, for the process that made it",
			                   "process 1 of a pid namespace cannot move by itself");
	return 0;
}

static int offer(struct wrk *w, const Haul__Offer *o, struct findings *f, struct err *e)
{
	w->keep->own_pids = true;
	for (size_t i = 0; i < o->n_pid; i++)
		w->berth->top = o->pid[i] > w->berth->top ? o->pid[i] : w->berth->top;
	return check(f, o) < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory for findings") : 0;
}

static int start(struct wrk *w, struct err *e)
{
	(void)w;
	(void)e;
	bare_sweep();
	return 0;
}

/* ---- process 1 of the namespace ---- */

/* In the child: async-signal-safe calls only. */
static void become_keeper(int ctl, int images, char *top)
{
	char name[] = "hauld", word[] = SPACEKEEPER_WORD, numbers[2][16];
	char *argv[] = { name, word, numbers[0], numbers[1], top, NULL };

	snprintf(numbers[0], sizeof(numbers[0]), "%d", ctl);
	snprintf(numbers[1], sizeof(numbers[1]), "%d", images);
	if (fcntl(ctl, F_SETFD, 0) < 0 || fcntl(images, F_SETFD, 0) < 0)
		_exit(126);
	execv("/proc/self/exe", argv);
	_exit(127);
}

/* CRIU looks for the images at the number that they have in this process. */
static int clone_keeper(struct wrk *w, struct err *e)
{
	char top[16];
	int ends[2];

	snprintf(top, sizeof(top), "%u", w->berth->top);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, "socketpair");
	w->berth->ctl = ends[0];
	AUTO(fd) int theirs = ends[1];
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, NULL, NULL,
	                           NULL, 0UL);

	if (pid == 0)
		become_keeper(theirs, w->images_fd, top);
	if (pid < 0)
		return err_sys(e, "a pid namespace");
	w->keep->berth_pid = pid;
	w->keep->berth_start = procs_start(pid);
	return 0;
}

static int ask(struct wrk *w, struct stand_mail *mail, struct err *e)
{
	int r = mail->m.word ? stand_say(w->berth->ctl, mail) : 0;

	r = r < 0 ? r : stand_hear(w->berth->ctl, mail, deadline_in_ms(READY_LIMIT_MS));
	if (r < 0)
		return err_set(e, ERR_SYS, -r, "process 1 of the pid namespace: %s", strerror(-r));
	if (mail->m.word == STAND_YES)
		return 0;
	stand_drop(mail);
	return err_set(e, ERR_SYS, ECANCELED, "the pid namespace: %s", mail->m.text);
}

static int make_space(struct wrk *w, struct err *e)
{
	struct stand_mail ready = { 0 };
	struct err why = ERR_INIT;
	int r = clone_keeper(w, e);

	r = r < 0 ? r : ask(w, &ready, e);
	stand_drop(&ready);
	if (r < 0)
		return r;
	if (bare_room(w, w->keep->berth_pid, &why) < 0)
		log_warn("the process will be in hauld's cgroup: %s", why.msg);
	return 0;
}

/* ---- CRIU ---- */

static int adopt_criu(struct wrk *w, struct stand_mail *mail, struct err *e)
{
	AUTO(pidspace) struct pidspace s = { 0 };

	if (mail->n_fds != 1)
		return err_set(e, ERR_SYS, EPROTO, "%zu sockets of CRIU", mail->n_fds);
	if (pidspace_load(&s, w->keep->berth_pid) < 0 || !pidspace_outer(&s, mail->m.pid))
		return err_set(e, ERR_CRIU, ESRCH, "CRIU has ended");
	int r = criu_adopt(&w->criu, mail->fd[0], pidspace_outer(&s, mail->m.pid), e);

	if (r < 0)
		return r;
	mail->n_fds = 0; /* CRIU's now */
	return 0;
}

static int spawn(struct wrk *w, const char *root, const struct criu_inherit *v, size_t n,
                 struct err *e)
{
	struct stand_mail mail = { .m.word = STAND_SPAWN, .n_fds = n };
	struct criu *before = steal(w->criu);

	(void)root; /* check() has refused one */
	criu_free(before);
	if (n > STAND_FDS_MAX)
		return err_set(e, ERR_BUG, E2BIG, "%zu descriptors for CRIU", n);
	for (size_t i = 0; i < n; i++)
		mail.fd[i] = v[i].fd;
	snprintf(mail.m.text, sizeof(mail.m.text), "%s", w->conf->criu_path);

	if ((w->berth->ctl < 0 && make_space(w, e) < 0) || ask(w, &mail, e) < 0)
		return err_code(e);
	int r = adopt_criu(w, &mail, e);

	stand_drop(&mail);
	return r;
}

/* ---- afterwards ---- */

static int map(struct wrk *w, struct err *e)
{
	return pidspace_load(&w->berth->pids, w->keep->berth_pid) < 0
	               ? err_set(e, ERR_SYS, ESRCH, "the pid namespace has ended")
	               : 0;
}

/* The namespace ends with its last process. */
static void runs(struct wrk *w)
{
	if (w->berth->ctl >= 0)
		close(w->berth->ctl);
	w->berth->ctl = -1;
}

/* With process 1 every process of the namespace ends. */
static void undo(struct wrk *w)
{
	pid_t pid = w->keep->berth_pid;

	if (pid > 0 && procs_start(pid) == w->keep->berth_start)
		kill(pid, SIGKILL);
	runs(w);
	w->keep->berth_pid = 0;
	bare_leave(w);
}

const struct berth_kind space_kind = {
	.name = "space",
	.offer = offer,
	.start = start,
	.spawn = spawn,
	.map = map,
	.runs = runs,
	.undo = undo,
};
