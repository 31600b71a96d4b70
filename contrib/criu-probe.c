// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * criu-probe.c - a small process with a listening TCP socket, for find-criu: it
 * answers one byte to whoever connects. `criu-probe serve PORT` is dumped and
 * restored; `criu-probe ask PORT` exits 0 when it gets the answer.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in loopback(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	a.sin_port = htons((unsigned short)atoi(port));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static int serve(const char *port)
{
	struct sockaddr_in a = loopback(port);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 8) < 0)
		return 1;
	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c >= 0) {
			ssize_t n = write(c, "k", 1);

			(void)n;
			close(c);
		}
	}
}

static int ask(const char *port)
{
	struct sockaddr_in a = loopback(port);
	struct timeval limit = { .tv_sec = 2 };
	char byte = 0;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return 1;
	return read(fd, &byte, 1) == 1 && byte == 'k' ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "ask"))
		return ask(argv[2]);
	fputs("usage: criu-probe serve|ask PORT\n", stderr);
	return 2;
}
