// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * spacekeeper.c - process 1 of a pid namespace in which a tree lands. It starts CRIU there, which finds the images
 * by the pid of the process that has made its socket; adopts and reaps what the tree leaves; ends when no other process is left.
 */
#include "agent/berth/spacekeeper.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/local/stand.h"
#include "engine/criu/criu.h"

#define HEAR_LIMIT_MS 1000
#define LOOK_EVERY_MS 1000 /* whether processes that are no children of ours are left */
#define SPARE_PIDS    64 /* above the tree's own, before the numbers begin again at the bottom */
#define LOWEST_PID    301 /* where the kernel continues after the highest number */
#define LAST_PID_FILE "/proc/sys/kernel/ns_last_pid"
#define PID_MAX_FILE  "/proc/sys/kernel/pid_max"

struct keeper {
	int ctl, images, signals;
};

/* ---- the namespace ---- */

/* Mounts that the host makes later appear here, and none of ours there. */
static int mount_proc(void)
{
	if (mount("", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -errno;
	return 0;
}

static unsigned long read_number(const char *path)
{
	AUTO(file) FILE *f = fopen(path, "re");
	unsigned long v = 0;

	return f && fscanf(f, "%lu", &v) == 1 ? v : 0;
}

/* CRIU must not take a number of the tree's for itself. */
static void leave_room(unsigned long top)
{
	unsigned long max = read_number(PID_MAX_FILE);
	AUTO(file) FILE *f = fopen(LAST_PID_FILE, "we");

	if (f && max > top + SPARE_PIDS)
		fprintf(f, "%lu", top);
	else if (f && top > 2 * LOWEST_PID)
		fprintf(f, "%d", LOWEST_PID);
}

static int set_up(struct keeper *k, unsigned long top)
{
	sigset_t mask;
	int null = open("/dev/null", O_RDWR);

	for (int fd = 3; fd < (k->ctl > k->images ? k->ctl : k->images); fd++)
		if (fd != k->ctl && fd != k->images)
			close(fd);
	syscall(SYS_close_range, (k->ctl > k->images ? k->ctl : k->images) + 1, ~0U, 0);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	fcntl(k->ctl, F_SETFD, FD_CLOEXEC);
	fcntl(k->images, F_SETFD, FD_CLOEXEC);
	setsid();
	sigfillset(&mask);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	k->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	int r = k->signals < 0 ? -errno : mount_proc();

	if (r < 0)
		return r;
	leave_room(top);
	return 0;
}

static bool is_empty(void)
{
	AUTO(dir) DIR *d = opendir("/proc");

	for (struct dirent *de; d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]) && strcmp(de->d_name, "1") != 0)
			return false;
	return d != NULL;
}

/* ---- what the worker asks ---- */

static int start_criu(struct stand_mail *mail, struct err *e)
{
	struct criu_inherit v[CRIU_INHERIT_MAX] = { 0 };
	size_t n = mail->n_fds;
	pid_t pid = 0;
	int ends[2];

	if (n > CRIU_INHERIT_MAX)
		return err_set(e, ERR_BUG, E2BIG, "%zu descriptors for CRIU", n);
	for (size_t i = 0; i < n; i++)
		v[i].fd = mail->fd[i];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, "socketpair");
	AUTO(fd) int criu = ends[1];
	int r = criu_spawn_for(mail->m.text, criu, v, n, &pid, e);

	stand_drop(mail);
	mail->m.pid = pid;
	mail->fd[mail->n_fds++] = ends[0];
	return r;
}

static int answer(struct keeper *k, struct stand_mail *mail, int r, const struct err *e)
{
	mail->m.word = r < 0 ? STAND_NO : STAND_YES;
	if (r < 0)
		snprintf(mail->m.text, sizeof(mail->m.text), "%.*s", STAND_TEXT_BYTES - 1, e->msg);
	r = stand_say(k->ctl, mail);
	stand_drop(mail);
	return r;
}

static void forget(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void hear(struct keeper *k)
{
	struct stand_mail mail = { 0 };
	struct err e = ERR_INIT;
	int r = stand_hear(k->ctl, &mail, deadline_in_ms(HEAR_LIMIT_MS));

	if (r == 0 && mail.m.word == STAND_SPAWN)
		r = answer(k, &mail, start_criu(&mail, &e), &e);
	if (r == 0)
		return;
	stand_drop(&mail);
	forget(&k->ctl);
	forget(&k->images);
}

static void reap(struct keeper *k)
{
	struct signalfd_siginfo s;

	while (read(k->signals, &s, sizeof(s)) > 0)
		;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int spacekeeper_main(int argc, char **argv)
{
	struct stand_mail ready = { 0 };
	struct err e = ERR_INIT;

	if (argc != 5)
		return 2;
	struct keeper k = { .ctl = atoi(argv[2]), .images = atoi(argv[3]), .signals = -1 };
	int r = set_up(&k, strtoul(argv[4], NULL, 10));

	if (r < 0)
		err_set(&e, ERR_SYS, -r, "%s", strerror(-r));
	if (answer(&k, &ready, r, &e) < 0 || r < 0)
		return 1;
	for (;;) {
		struct pollfd p[] = { { .fd = k.ctl, .events = POLLIN },
			              { .fd = k.signals, .events = POLLIN } };

		poll(p, ARRAY_SIZE(p), k.ctl < 0 ? LOOK_EVERY_MS : -1);
		if (p[0].revents)
			hear(&k);
		reap(&k);
		if (k.ctl < 0 && is_empty())
			return 0;
	}
}
