// SPDX-License-Identifier: GPL-2.0-or-later
/* holder.c - the process between the front and the program: the program's parent. */
#include "hauler/launch/priv.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/host/nofile.h"

#define EXIT_FAILED 1

static void reap(struct holder *h)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	while (read(h->signals, &si, sizeof(si)) == sizeof(si))
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == h->root)
			fate_ended(h, status);
		else
			give_tried(h, pid, status);
	}
}

static void serve(struct holder *h)
{
	while (!h->over) {
		struct pollfd p[4 + GUESTS_MAX] = {
			{ .fd = h->signals, .events = POLLIN },
			{ .fd = h->front, .events = POLLIN },
			{ .fd = h->run_door, .events = POLLIN },
			{ .fd = h->land_door, .events = POLLIN },
		};

		for (int i = 0; i < GUESTS_MAX; i++)
			p[4 + i] = (struct pollfd){ .fd = h->guest[i].fd, .events = POLLIN };
		if (poll(p, ARRAY_SIZE(p), deadline_poll_ms(give_due_us(h))) < 0)
			continue;
		/* what is said of an end before the end itself */
		for (int i = 0; i < GUESTS_MAX; i++)
			if (p[4 + i].revents)
				guests_hear(h, &h->guest[i]);
		if (p[1].revents && h->front >= 0)
			fate_front(h);
		if (p[0].revents)
			reap(h);
		for (int i = 2; i < 4; i++)
			if (p[i].revents)
				guests_add(h, p[i].fd);
		give_step(h);
	}
}

static int open_doors(struct holder *h, struct err *e)
{
	h->run_door = stand_listen(e);
	if (h->run_door < 0)
		return h->run_door;
	if (h->l->argv)
		return 0;
	h->land_door = stand_listen_as(h->l->opt->as, e);
	return h->land_door < 0 ? h->land_door : 0;
}

static int begin(struct holder *h, struct err *e)
{
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	h->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (h->signals < 0)
		return err_sys(e, "signalfd");
	if (open_doors(h, e) < 0)
		return err_code(e);
	if (!h->l->argv)
		return 0;
	h->root = start_program(h, e);
	if (h->root < 0)
		return h->root;
	fate_runs(h);
	return 0;
}

/* Error messages still go to the caller's error output. */
static void leave_caller(void)
{
	AUTO(fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
}

/* A socket that is closed with something unread in it takes the last word from the other end. */
static void part(struct holder *h)
{
	struct line l;

	while (h->front >= 0 && line_hear(h->front, &l) == 0)
		;
}

int holder_main(const struct launch *l, struct streams *s, int front, const struct before *before)
{
	static struct holder h;
	struct err e = ERR_INIT;

	h = (struct holder){ .l = l,
		             .before = before,
		             .s = s,
		             .front = front,
		             .run_door = -1,
		             .land_door = -1,
		             .signals = -1 };
	for (int i = 0; i < GUESTS_MAX; i++)
		h.guest[i].fd = -1;
	leave_caller();
	if (begin(&h, &e) < 0) {
		fprintf(stderr, "haul: %s\n", e.msg);
		line_say(front, LINE_END, EXIT_FAILED << 8);
		part(&h);
		return EXIT_FAILED;
	}
	serve(&h);
	part(&h);
	return 0;
}
