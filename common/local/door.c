// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * door.c - a worker receives further sockets of its migration here: a Unix socket named by
 * the route. A daemon that was started after the worker finds it, too.
 */
#include "common/local/door.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/local/passfd.h"
#include "common/host/rundir.h"

#define RUN_DIR      "/run/haul"
#define DOOR_BACKLOG 32
#define TAKE_LIMIT_S 1 /* from the daemon's connect to its message */

static void door_name(struct sockaddr_un *a, uint64_t route)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(a->sun_path, sizeof(a->sun_path), "%s/%016llx", RUN_DIR,
	         (unsigned long long)route);
}

int door_open(uint64_t route, struct err *e)
{
	struct sockaddr_un a;
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, "socket");
	if (rundir_make(RUN_DIR, 0755, e) < 0)
		return -e->code;
	door_name(&a, route);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, DOOR_BACKLOG) < 0)
		return err_sys(e, "%s", a.sun_path);
	return steal_fd(&fd);
}

void door_remove(uint64_t route)
{
	struct sockaddr_un a;

	door_name(&a, route);
	unlink(a.sun_path);
}

/* Return: a socket that is connected to the worker of @route; -errno. Its name goes if the worker is dead. */
static int knock(uint64_t route)
{
	struct sockaddr_un a;
	/* a worker that does not accept must not hold up the daemon */
	AUTO(fd) int sk = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (sk < 0)
		return -errno;
	door_name(&a, route);
	if (connect(sk, (struct sockaddr *)&a, sizeof(a)) == 0)
		return steal_fd(&sk);
	int code = errno;

	if (code == ECONNREFUSED)
		unlink(a.sun_path);
	return -code;
}

void door_sweep(void)
{
	AUTO(dir) DIR *d = opendir(RUN_DIR);
	const struct dirent *ent;

	while (d && (ent = readdir(d))) {
		if (strlen(ent->d_name) != 16 || strspn(ent->d_name, "0123456789abcdef") != 16)
			continue;
		int sk = knock(strtoull(ent->d_name, NULL, 16));

		if (sk >= 0)
			close(sk);
	}
}

int door_pass(uint64_t route, int fd)
{
	char byte = 0;
	AUTO(fd) int sk = knock(route);

	return sk < 0 ? sk : passfd_send(sk, &byte, 1, &fd, 1, MSG_DONTWAIT);
}

int door_take(int door)
{
	char byte;
	struct timeval limit = { .tv_sec = TAKE_LIMIT_S };
	AUTO(fd) int sk = accept4(door, NULL, NULL, SOCK_CLOEXEC);
	size_t n = 1;
	int fd;

	if (sk < 0)
		return -EAGAIN;
	setsockopt(sk, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return passfd_take(sk, &byte, 1, &fd, &n) > 0 && n == 1 ? fd : -EAGAIN;
}
