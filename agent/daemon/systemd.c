// SPDX-License-Identifier: GPL-2.0-or-later
/* systemd.c - sockets from systemd, and messages to it: readiness, watchdog. */
#include "agent/daemon/systemd.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/clock.h"

#define FIRST_FD 3

void systemd_notify(const char *fmt, ...)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char text[256];
	va_list ap;

	if (!path || !*path || strlen(path) >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, strlen(path));
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));

	if (path[0] == '@')
		to.sun_path[0] = 0;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	va_end(ap);
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && n > 0)
		sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&to,
		       len);
}

uint64_t systemd_watchdog_us(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (!us || (pid && atoi(pid) != getpid()))
		return 0;
	return strtoull(us, NULL, 10);
}

int systemd_socket(const char *name)
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
	const char *names = getenv("LISTEN_FDNAMES");

	if (!pid || !n || !names || atoi(pid) != getpid())
		return -1;
	for (int fd = FIRST_FD; fd < FIRST_FD + atoi(n); fd++) {
		size_t len = strcspn(names, ":");

		if (len == strlen(name) && !strncmp(names, name, len)) {
			fcntl(fd, F_SETFD, FD_CLOEXEC);
			fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
			return fd;
		}
		names += len + (names[len] == ':');
	}
	return -1;
}
