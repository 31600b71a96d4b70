// SPDX-License-Identifier: GPL-2.0-or-later
/* front.c - the process that the caller of haul run or haul land has started and waits for. */
#include "hauler/launch/priv.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/auto.h"

#define EXIT_LOST 125 /* the holder was killed */

struct front {
	const struct launch *l;
	struct pass pass[STAND_STREAMS];
	int line, signals;
	int root; /* pidfd of the program; -1 */
	struct before before;
	bool held;
};

/* ---- the end ---- */

/* End as the program did, without a dump of our own memory. */
static int end_as(int status)
{
	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	int sig = WTERMSIG(status);
	sigset_t one;

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	signal(sig, SIG_DFL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	raise(sig);
	return 128 + sig;
}

static void drain(struct front *f)
{
	/* a reader that does not read must not hold us for ever */
	sigprocmask(SIG_SETMASK, &f->before.mask, NULL);
	for (int k = STAND_OUT; k < STAND_STREAMS; k++)
		pass_drain(&f->pass[k]);
}

/* Without a holder nobody could tell how it ends: it must not run unseen. */
static int lost(struct front *f)
{
	if (f->root >= 0)
		syscall(SYS_pidfd_send_signal, f->root, SIGKILL, NULL, 0);
	fputs("haul: the process that held the program was killed; the program is killed, too\n",
	      stderr);
	return EXIT_LOST;
}

/* Return: an exit status; -1: go on */
static int hear(struct front *f)
{
	struct line l;

	if (line_hear(f->line, &l) < 0)
		return lost(f);
	switch (l.word) {
	case LINE_ROOT:
		f->root = (int)syscall(SYS_pidfd_open, l.value, 0);
		return -1;
	case LINE_HOLD:
		f->held = true;
		pass_flush(&f->pass[STAND_IN]);
		line_say(f->line, LINE_HELD, 0);
		return -1;
	case LINE_GO:
		f->held = false;
		return -1;
	case LINE_PARK:
		for (int k = STAND_OUT; k < STAND_STREAMS; k++)
			pass_flush(&f->pass[k]);
		return (int)f->l->opt->launch.away_status;
	case LINE_AWAY:
		drain(f);
		return (int)f->l->opt->launch.away_status;
	default:
		drain(f);
		return end_as(l.value);
	}
}

/* ---- until then ---- */

static void send_signal(const struct front *f)
{
	struct signalfd_siginfo si;

	if (read(f->signals, &si, sizeof(si)) == sizeof(si) && si.ssi_signo != SIGCHLD)
		line_say(f->line, LINE_SIGNAL, (int)si.ssi_signo);
}

static void send_stream(struct front *f, int k, const struct pollfd *p)
{
	struct pass *c = &f->pass[k];

	if (pass_step(c, p))
		return;
	/* the program notices: end of its input, or a pipe without a reader */
	streams_close(k == STAND_IN ? &c->to : &c->from);
	line_say(f->line, LINE_CLOSED, k);
}

static int serve(struct front *f)
{
	for (;;) {
		struct pollfd p[2 + STAND_STREAMS] = { { .fd = f->line, .events = POLLIN },
			                               { .fd = f->signals, .events = POLLIN } };

		for (int k = 0; k < STAND_STREAMS; k++)
			pass_wants(&f->pass[k], k == STAND_IN && f->held, &p[2 + k]);
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[1].revents)
			send_signal(f);
		for (int k = 0; k < STAND_STREAMS; k++)
			send_stream(f, k, &p[2 + k]);
		int status = p[0].revents ? hear(f) : -1;

		if (status >= 0)
			return status;
	}
}

/* ---- the beginning ---- */

static void set_up(struct front *f, struct streams *s)
{
	for (int k = 0; k < STAND_STREAMS; k++) {
		bool in = k == STAND_IN;

		streams_close(&s->program[k]);
		f->pass[k].from = in ? STAND_IN : s->ours[k];
		f->pass[k].to = in ? s->ours[k] : k;
		f->pass[k].over = s->ours[k] < 0;
	}
}

/* All signals are passed on but those of our own faults, and of a closed pipe, which write() tells. */
static int take_signals(struct front *f, struct err *e)
{
	static const int own[] = { SIGPIPE, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t all;

	sigfillset(&all);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(&all, own[i]);
	sigprocmask(SIG_SETMASK, &all, &f->before.mask);
	sigaction(SIGPIPE, &ignore, &f->before.pipe);
	f->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	return f->signals < 0 ? err_sys(e, "signalfd") : 0;
}

int launch_main(const struct launch *l, struct err *e)
{
	static struct front f;
	struct streams s;
	int ends[2];

	f.l = l;
	f.root = -1;
	f.held = !l->argv; /* what a program that lands had not read comes first */
	if (streams_make(&s, !l->argv, e) < 0)
		return err_code(e);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, "socketpair");
	if (take_signals(&f, e) < 0)
		return err_code(e);
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(e, "fork");
	if (pid == 0) {
		close(ends[0]);
		close(f.signals);
		_exit(holder_main(l, &s, ends[1], &f.before));
	}
	close(ends[1]);
	f.line = ends[0];
	set_up(&f, &s);
	return serve(&f);
}
