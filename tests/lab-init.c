// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lab-init.c - pid 1 of a lab host: starts what it is told to through a fifo-less
 * socket, so that workloads are its children and nobody else's, and reaps all.
 *
 * lab-init SOCKET: listens on a UNIX socket; each connection sends one request of
 * NUL-separated words (output file, then argv); the answer is the pid as text.
 * The child gets a new session, /dev/null as input, the file as output, and no
 * other descriptor.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_MAX   256
#define REQUEST_MAX 65536

static void start(char *buf, ssize_t n, int out)
{
	char *argv[WORDS_MAX + 1];
	int argc = 0;

	for (char *p = buf; p < buf + n && argc < WORDS_MAX; p += strlen(p) + 1)
		argv[argc++] = p;
	argv[argc] = NULL;
	if (argc < 2)
		return;
	pid_t pid = fork();

	if (pid == 0) {
		sigset_t none;

		setsid();
		int in = open("/dev/null", O_RDONLY);
		int log = open(argv[0], O_WRONLY | O_CREAT | O_APPEND, 0644);

		dup2(in, 0);
		dup2(log, 1);
		dup2(log, 2);
		syscall(SYS_close_range, 3, ~0U, 0);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGCHLD, SIG_DFL);
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	dprintf(out, "%d\n", pid);
}

static void nothing(int sig)
{
	(void)sig;
}

int main(int argc, char **argv)
{
	static char buf[REQUEST_MAX];
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct sigaction sa = { .sa_handler = nothing };

	if (argc != 2)
		return 2;
	sigaction(SIGCHLD, &sa, NULL);	/* interrupts accept(): then we reap */
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", argv[1]);
	unlink(a.sun_path);
	int sk = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (bind(sk, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(sk, 64) < 0)
		return 1;
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		int c = accept4(sk, NULL, NULL, SOCK_CLOEXEC);

		if (c < 0)
			continue;
		ssize_t n = recv(c, buf, sizeof(buf) - 1, 0);

		if (n > 0) {
			buf[n] = 0;
			start(buf, n, c);
		}
		close(c);
	}
}
