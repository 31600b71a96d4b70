// SPDX-License-Identifier: GPL-2.0-or-later
/* listen.c - sockets that listen. */
#include "agent/daemon/listen.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/auto.h"

#define BACKLOG 1024 /* the kernel may lower it */

static int one(const struct addrinfo *a, unsigned int port, struct err *e)
{
	AUTO(fd)
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, off = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		err_clear(e);
		return err_sys(e, "listen on port %u", port);
	}
	return steal_fd(&fd);
}

int listen_on(const char *addr, unsigned int port, struct err *e)
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *ai;
	char service[8];
	int fd = -1;

	snprintf(service, sizeof(service), "%u", port);
	int r = getaddrinfo(addr, service, &hints, &ai);

	if (r)
		return err_set(e, ERR_USER, EINVAL, "address %s: %s", addr ? addr : "*",
		               gai_strerror(r));
	/* a dual-stack socket if possible, else the first that works */
	for (int v6 = 1; v6 >= 0 && fd < 0; v6--)
		for (const struct addrinfo *a = ai; a && fd < 0; a = a->ai_next)
			if ((a->ai_family == AF_INET6) == v6)
				fd = one(a, port, e);
	freeaddrinfo(ai);
	if (fd < 0)
		return e->src ? -e->code : err_set(e, ERR_SYS, EADDRNOTAVAIL, "no address");
	err_clear(e);
	return fd;
}

int listen_unix(const char *path, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char dir[sizeof(addr.sun_path)];

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	snprintf(dir, sizeof(dir), "%s", path);
	char *slash = strrchr(dir, '/');

	if (slash && slash > dir) {
		*slash = 0;
		mkdir(dir, 0755); /* the next step reports a failure */
	}
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    chmod(path, 0666) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(e, "%s", path);
	return steal_fd(&fd);
}
