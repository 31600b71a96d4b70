// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tty.c - holds the master of a terminal that a hauled process uses, so that the process can read
 * and write whether or not a user is attached. A program of its own: it outlives worker and hauld.
 */
#include "agent/gate/tty.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/local/ttydoor.h"

#define MASTER_FD  3
#define DOOR_FD    4
#define HIGH_FD    16
#define KEEP_BYTES 65536 /* of output that was not shown yet */

/* ---- in the worker ---- */

static int open_door(pid_t pid, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), TTYDOOR_PATH, pid);
	unlink(a.sun_path); /* of an earlier process with this pid */
	/* whatever our umask is: the terminal is root's to show */
	if (fd < 0 || fchmod(fd, 0600) < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(fd, 4) < 0)
		return err_sys(e, "%s", a.sun_path);
	return steal_fd(&fd);
}

static void become_holder(int master, int door, char *pid)
{
	char name[] = "hauld", word[] = "--hold-tty";
	char *argv[] = { name, word, pid, NULL };
	int null = open("/dev/null", O_RDWR);

	master = fcntl(master, F_DUPFD, HIGH_FD);
	door = fcntl(door, F_DUPFD, HIGH_FD);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	dup2(master, MASTER_FD);
	dup2(door, DOOR_FD);
	syscall(SYS_close_range, DOOR_FD + 1, ~0U, 0);
	setsid();
	execv("/proc/self/exe", argv);
	_exit(127);
}

int tty_open(pid_t pid, int *slave, struct err *e)
{
	AUTO(fd) int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	AUTO(fd) int door = open_door(pid, e);
	AUTO(fd) int end = -1;
	char name[64], number[16];

	if (door < 0)
		return door;
	if (master < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof(name)) ||
	    (end = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
		return err_sys(e, "a terminal");
	snprintf(number, sizeof(number), "%d", pid);
	pid_t child = fork();

	if (child < 0)
		return err_sys(e, "fork for a terminal's holder");
	if (child == 0) {
		/* twice, so that we need not wait for it */
		if (fork() == 0)
			become_holder(master, door, number);
		_exit(0);
	}
	syscall(SYS_wait4, child, NULL, 0, NULL);
	*slave = steal_fd(&end);
	return 0;
}

/* ---- the holder ---- */

struct holder {
	pid_t pid;
	int client; /* -1: no user is attached */
	bool ended;
	char keep[KEEP_BYTES];
	size_t n;
};

static void drop_client(struct holder *h)
{
	if (h->client >= 0)
		close(h->client);
	h->client = -1;
}

/* Without a client, drop the oldest half when there is no room. */
static void take_output(struct holder *h)
{
	if (h->n > KEEP_BYTES - TTYDOOR_BYTES) {
		h->n /= 2;
		memmove(h->keep, h->keep + h->n, h->n);
	}
	ssize_t n = read(MASTER_FD, h->keep + h->n, TTYDOOR_BYTES);

	if (n > 0)
		h->n += (size_t)n;
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		h->ended = true; /* EIO: no process has the terminal open */
}

static void show(struct holder *h)
{
	char packet[TTYDOOR_BYTES];

	while (h->client >= 0 && h->n) {
		size_t n = h->n < sizeof(packet) - 1 ? h->n : sizeof(packet) - 1;

		packet[0] = TTYDOOR_DATA;
		memcpy(packet + 1, h->keep, n);
		if (send(h->client, packet, n + 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
			if (errno != EAGAIN)
				drop_client(h);
			return;
		}
		h->n -= n;
		memmove(h->keep, h->keep + n, h->n);
	}
}

/* To its process group if it leads one; else the group may be that of the restore. */
static void signal_job(const struct holder *h, int sig)
{
	if (getpgid(h->pid) == h->pid)
		kill(-h->pid, sig);
	else
		kill(h->pid, sig);
}

/* A terminal of a session sends its signals itself. */
static bool has_session(void)
{
	pid_t sid;

	return ioctl(MASTER_FD, TIOCGSID, &sid) == 0 && sid > 0;
}

static int signal_of(char c)
{
	static const struct {
		int which, sig;
	} keys[] = { { VINTR, SIGINT }, { VQUIT, SIGQUIT }, { VSUSP, SIGTSTP } };
	struct termios t;

	if (tcgetattr(MASTER_FD, &t) < 0 || !(t.c_lflag & ISIG) || has_session())
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (t.c_cc[keys[i].which] != _POSIX_VDISABLE && (char)t.c_cc[keys[i].which] == c)
			return keys[i].sig;
	return 0;
}

static void take_keys(const struct holder *h, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int sig = signal_of(p[i]);

		if (sig)
			signal_job(h, sig);
		else if (write(MASTER_FD, &p[i], 1) < 0)
			return; /* its input is full: as on any terminal, the rest is lost */
	}
}

static void take_packet(struct holder *h)
{
	char packet[TTYDOOR_BYTES];
	struct winsize size;
	ssize_t n = recv(h->client, packet, sizeof(packet), 0);

	if (n <= 0) {
		drop_client(h);
		return;
	}
	if (packet[0] == TTYDOOR_DATA)
		take_keys(h, packet + 1, (size_t)n - 1);
	if (packet[0] == TTYDOOR_SIZE && n == 1 + sizeof(size)) {
		memcpy(&size, packet + 1, sizeof(size));
		ioctl(MASTER_FD, TIOCSWINSZ, &size);
		if (!has_session())
			signal_job(h, SIGWINCH);
	}
}

int tty_main(const char *pid)
{
	static struct holder h = { .client = -1 };
	char path[64];

	h.pid = (pid_t)atoi(pid);
	if (h.pid <= 0)
		return 2;
	fcntl(MASTER_FD, F_SETFL, O_NONBLOCK);
	while (!h.ended) {
		bool room = h.client < 0 || h.n <= KEEP_BYTES - TTYDOOR_BYTES;
		struct pollfd p[] = {
			{ .fd = room ? MASTER_FD : -1, .events = POLLIN },
			{ .fd = DOOR_FD, .events = POLLIN },
			{ .fd = h.client, .events = (short)(POLLIN | (h.n ? POLLOUT : 0)) },
		};

		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[0].revents)
			take_output(&h);
		if (p[2].revents & (POLLIN | POLLHUP | POLLERR))
			take_packet(&h);
		if (p[1].revents) {
			drop_client(&h); /* the newest client gets the terminal */
			h.client = accept4(DOOR_FD, NULL, NULL, SOCK_CLOEXEC);
		}
		show(&h);
	}
	if (h.client >= 0)
		show(&h);
	snprintf(path, sizeof(path), TTYDOOR_PATH, h.pid);
	unlink(path);
	return 0;
}
