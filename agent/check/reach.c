// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * reach.c - act as another process: connect to a UNIX socket as the process that is to have the connection.
 *
 * The server's end gets user, group and process ID of the process that calls connect(2), for good.
 * So a child does that which has the identity of the process that will be restored, and, as that is
 * not there yet, its number.
 */
#include "agent/check/reach.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/clock.h"

#define LIMIT_S 5

/* ---- the child: system calls only, since other threads of the parent may have held locks ---- */

static int take_caps(uint64_t caps)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct v[2];

	if (syscall(SYS_capget, &h, v) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		v[i].effective &= (uint32_t)(caps >> (32 * i));
		v[i].permitted &= (uint32_t)(caps >> (32 * i));
		v[i].inheritable = 0;
	}
	return syscall(SYS_capset, &h, v) < 0 ? -errno : 0;
}

/* A user other than root loses all capabilities with the user ID. */
static int become(const struct rights_id *id)
{
	if (syscall(SYS_setgroups, id->n_groups, id->groups) < 0 ||
	    syscall(SYS_setresgid, id->gid, id->gid, id->gid) < 0 ||
	    syscall(SYS_setresuid, id->uid, id->uid, id->uid) < 0)
		return -errno;
	return id->uid ? 0 : take_caps(id->caps);
}

struct talk {
	const char *first; /* of struct reach */
	const struct sockaddr_un *a;
	socklen_t bytes;
	int fd;
};

static int begin(void *arg)
{
	const struct talk *t = arg;

	if (connect(t->fd, (const struct sockaddr *)t->a, t->bytes) < 0)
		return -errno;
	if (!t->first)
		return 0;
	size_t n = strlen(t->first);

	shutdown(t->fd, SHUT_RD);
	return send(t->fd, t->first, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -EIO;
}

static int act(const struct rights_id *id, const char *root, reach_fn fn, void *arg)
{
	int code = syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;

	if (code == 0 && root)
		code = chroot(root) < 0 || chdir("/") < 0 ? -errno : 0;
	if (code == 0)
		code = become(id);
	return code < 0 ? code : fn(arg);
}

/* Return: as fork(2). The parent gets SIGCHLD when it ends */
static pid_t child(pid_t pid)
{
	struct clone_args args = { .exit_signal = SIGCHLD,
		                   .set_tid = (uint64_t)(uintptr_t)&pid,
		                   .set_tid_size = 1 };
	long r = pid > 0 ? syscall(SYS_clone3, &args, sizeof(args)) : -1;

	if (r >= 0)
		return (pid_t)r;
	args.set_tid = args.set_tid_size = 0;
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* ---- the parent ---- */

/* Another process of that user can stop it: it is killed then. Return: as of waitpid(2) */
static int wait_for(pid_t pid)
{
	AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	uint64_t deadline = deadline_in_ms(2 * LIMIT_S * 1000);
	int status = -1;

	while (pidfd >= 0 && poll(&p, 1, deadline_poll_ms(deadline)) < 0 && errno == EINTR)
		;
	if (!p.revents)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* @end: an open descriptor of the socket's file; the path is that of the descriptor */
static int address(const struct reach *r, int *end, struct sockaddr_un *a, socklen_t *bytes)
{
	size_t n = strlen(r->path);
	struct stat st;

	if (n >= sizeof(a->sun_path))
		return -ENAMETOOLONG;
	*bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (r->path[0] == '@') {
		memcpy(a->sun_path + 1, r->path + 1, n - 1);
		return 0;
	}
	*end = rights_open(r->id, r->path, true, W_OK, &st);
	if (*end < 0)
		return *end;
	n = (size_t)snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d", *end);
	*bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return S_ISSOCK(st.st_mode) ? 0 : -ECONNREFUSED;
}

static int limit(int fd, time_t seconds)
{
	struct timeval t = { .tv_sec = seconds };

	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0 ? -errno : 0;
}

int reach_as(const struct rights_id *id, pid_t number, const char *root, reach_fn fn, void *arg)
{
	pid_t pid = child(number);

	if (pid == 0)
		syscall(SYS_exit_group, -act(id, root, fn, arg));
	if (pid < 0)
		return -errno;
	int status = wait_for(pid);

	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

int reach_connect(const struct reach *r)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t bytes;
	AUTO(fd) int end = -1;
	int code = address(r, &end, &a, &bytes);

	if (code < 0)
		return code;
	AUTO(fd) int fd = socket(AF_UNIX, r->type | SOCK_CLOEXEC, 0);

	if (fd < 0 || limit(fd, LIMIT_S) < 0)
		return -errno;
	struct talk t = { r->first, &a, bytes, fd };

	code = reach_as(r->id, r->pid, NULL, begin, &t);
	if (code < 0)
		return code;
	code = limit(fd, 0);
	return code < 0 ? code : steal_fd(&fd);
}
