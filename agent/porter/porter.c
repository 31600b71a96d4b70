// SPDX-License-Identifier: GPL-2.0-or-later
/* porter.c - starts the porter, passes guests to it, answers its questions. */
#include "agent/porter/porter.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/porter/post.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/local/passfd.h"

#define AGAIN_MS     200
#define ANSWERS_ONCE 32 /* then others have their turn */

/* It begins anew, as another program: nothing of hauld's memory, descriptors or environment is left in it. */
__attribute__((noreturn)) static void become(int fd, int verbose)
{
	static const char *const kept[] = { "JOURNAL_STREAM", "LD_LIBRARY_PATH", "ASAN_OPTIONS",
		                            "TSAN_OPTIONS", "UBSAN_OPTIONS" };
	char level[2] = { (char)('0' + verbose), 0 }, text[ARRAY_SIZE(kept)][512];
	char *env[ARRAY_SIZE(kept) + 1] = { NULL };
	size_t n = 0;
	sigset_t none;

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (getenv(kept[i])) {
			snprintf(text[n], sizeof(text[n]), "%s=%s", kept[i], getenv(kept[i]));
			env[n] = text[n];
			n++;
		}
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), own = fcntl(fd, F_DUPFD_CLOEXEC, 10);

	if (null >= 0 && own >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1 &&
	    dup2(own, POST_FD) == POST_FD) {
		syscall(SYS_close_range, POST_FD + 1, ~0U, 0);
		execle("/proc/self/exe", "hauld", "--porter", level, NULL, env);
	}
	log_err("cannot start the porter: %s", strerror(errno));
	_exit(1);
}

void porter_tick(struct porter *p)
{
	int pair[2];

	if (p->pid || now_us() < p->again_us)
		return;
	p->again_us = deadline_in_ms(AGAIN_MS);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	pid_t pid = fork();

	if (pid == 0)
		become(pair[1], p->verbose);
	close(pair[1]);
	if (pid < 0) {
		log_err("cannot start the porter: %s", strerror(errno));
		close(pair[0]);
		return;
	}
	porter_forget(p);
	p->pid = pid;
	p->fd = pair[0];
}

bool porter_died(struct porter *p, pid_t pid, int status)
{
	if (!p->pid || p->pid != pid)
		return false;
	if (WIFSIGNALED(status))
		log_err("porter=%d was killed by signal %d; restarting it", pid, WTERMSIG(status));
	else
		log_err("porter=%d has ended; restarting it", pid);
	p->pid = 0;
	porter_forget(p);
	porter_tick(p);
	return true;
}

/* @fd: goes along; -1: none */
static int send_down(const struct porter *p, const struct post_down *m, int fd)
{
	return passfd_send(p->fd, m, sizeof(*m), &fd, fd >= 0, MSG_DONTWAIT);
}

int porter_pass(struct porter *p, int fd, const struct crowd_one *who)
{
	struct post_down m;

	if (p->fd < 0)
		return -ENOTCONN;
	memset(&m, 0, sizeof(m));
	m.guest = true;
	m.who = *who;
	return send_down(p, &m, fd);
}

void porter_answer(struct porter *p, const struct gate *g)
{
	struct post_up up;
	struct post_down m;

	for (int i = 0; i < ANSWERS_ONCE && p->fd >= 0; i++) {
		ssize_t n = recv(p->fd, &up, sizeof(up), MSG_DONTWAIT);

		if (n == 0) { /* it is dead, and reaped soon */
			porter_forget(p);
			return;
		}
		if (n != sizeof(up) || !memchr(up.print, 0, sizeof(up.print)))
			return;
		memset(&m, 0, sizeof(m));
		m.slot = up.slot;
		m.serial = up.serial;
		m.yes = gate_issue(g, up.print, &m.ticket);
		send_down(p, &m, -1); /* lost: the guest tries again */
	}
}

void porter_forget(struct porter *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}
