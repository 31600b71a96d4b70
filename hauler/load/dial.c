// SPDX-License-Identifier: GPL-2.0-or-later
/* dial.c - the worker that takes the tree: hauld --arrive, started by us; later found by its door. */
#include "hauler/load/priv.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/local/door.h"

#define ARRIVE_FD  3
#define PATH_BYTES 4200
#define SOCK_BYTES (2 << 20)

/* hauld is where haul is. */
static void hauld_path(char *out, size_t bytes)
{
	char own[4096];
	ssize_t n = readlink("/proc/self/exe", own, sizeof(own) - 1);

	if (n > 0) {
		own[n] = 0;
		char *slash = strrchr(own, '/');

		if (slash)
			slash[1] = 0;
	}
	snprintf(out, bytes, "%shauld", n > 0 ? own : "");
}

/* In the child. The signals that haul waits for are not blocked in others. */
_Noreturn static void become(const struct load *l, int fd, const char *route)
{
	char path[PATH_BYTES], number[8];
	sigset_t none;
	AUTO(fd) int null = open("/dev/null", O_RDONLY);

	hauld_path(path, sizeof(path));
	snprintf(number, sizeof(number), "%d", ARRIVE_FD);
	setsid();
	if (l->verbose)
		setenv("HAUL_VERBOSE", "1", 1); /* arrive.c */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (null >= 0)
		dup2(null, STDIN_FILENO);
	if (fd == ARRIVE_FD)
		fcntl(fd, F_SETFD, 0);
	else
		dup2(fd, ARRIVE_FD);
	execl(path, "hauld", "--arrive", number, l->config, l->criu ? l->criu : "", route,
	      (char *)NULL);
	_exit(127);
}

/* A grandchild: nobody has to wait for it. */
static int start(const struct load *l, int fd, uint64_t route, struct err *e)
{
	char text[20];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)route);
	char path[PATH_BYTES];

	hauld_path(path, sizeof(path));
	if (strchr(path, '/') && access(path, X_OK) < 0)
		return err_sys(e, "%s, which takes the processes", path);
	pid_t pid = fork();

	if (pid == 0)
		become(l, fd, text);
	return pid < 0 ? err_sys(e, "fork") : 0;
}

int load_dial(void *arg, uint64_t route, struct err *e)
{
	const struct load *l = arg;
	int sk[2], bytes = SOCK_BYTES;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sk) < 0)
		return err_sys(e, "socketpair");
	setsockopt(sk[0], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	int r = route ? door_pass(route, sk[1]) : -ENOENT;

	/* no worker yet, or it is dead and its journal answers */
	if (r == -ENOENT || r == -ECONNREFUSED)
		r = start(l, sk[1], route, e);
	else if (r < 0)
		err_set(e, ERR_LINK, -r, "the worker does not answer: %s", strerror(-r));
	close(sk[1]);
	if (r < 0)
		close(sk[0]);
	return r < 0 ? r : sk[0];
}
