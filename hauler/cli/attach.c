// SPDX-License-Identifier: GPL-2.0-or-later
/* attach.c - haul attach PID: connects this terminal to that of a process that was moved here. */
#include "hauler/cli/cli.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "common/local/ttydoor.h"

#define DETACH_KEY    0x1d /* Ctrl-] */
#define REST_LIMIT_MS 2000

static int connect_door(pid_t pid)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), TTYDOOR_PATH, pid);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static void send_size(int door)
{
	char packet[1 + sizeof(struct winsize)] = { TTYDOOR_SIZE };
	struct winsize size;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
		return;
	memcpy(packet + 1, &size, sizeof(size));
	send(door, packet, sizeof(packet), MSG_NOSIGNAL);
}

/* Return: 1: read on; 0: no more input; -1: the key that detaches was typed */
static int take_input(int door)
{
	char packet[TTYDOOR_BYTES] = { TTYDOOR_DATA };
	ssize_t n = read(STDIN_FILENO, packet + 1, sizeof(packet) - 1);

	if (n <= 0)
		return 0;
	char *key = memchr(packet + 1, DETACH_KEY, (size_t)n);

	if (key)
		n = key - (packet + 1);
	if (n > 0)
		send(door, packet, (size_t)n + 1, MSG_NOSIGNAL);
	return key ? -1 : 1;
}

static bool take_output(int door)
{
	char packet[TTYDOOR_BYTES];
	ssize_t n = recv(door, packet, sizeof(packet), 0);

	for (ssize_t at = 1; at < n && packet[0] == TTYDOOR_DATA;) {
		ssize_t w = write(STDOUT_FILENO, packet + at, (size_t)(n - at));

		if (w <= 0)
			return false;
		at += w;
	}
	return n > 0;
}

/* What the holder has sent belongs to this terminal: it would not be sent again. */
static void take_rest(int door)
{
	struct pollfd p = { .fd = door, .events = POLLIN };

	shutdown(door, SHUT_WR);
	while (poll(&p, 1, REST_LIMIT_MS) > 0 && take_output(door))
		;
}

static const char *relay(int door, int signals)
{
	struct pollfd p[] = { { .fd = STDIN_FILENO, .events = POLLIN },
		              { .fd = door, .events = POLLIN },
		              { .fd = signals, .events = POLLIN } };
	struct signalfd_siginfo si;

	send_size(door);
	for (;;) {
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		if (p[1].revents && !take_output(door))
			return "the terminal is closed";
		if (p[2].revents && read(signals, &si, sizeof(si)) > 0)
			send_size(door);
		int r = p[0].revents ? take_input(door) : 1;

		if (r < 0) {
			take_rest(door);
			return "detached";
		}
		if (r == 0)
			p[0].fd = -1;
	}
}

int cli_attach(struct opts *o, int argc, char **argv)
{
	pid_t pid = o->pid;
	AUTO(fd) int door = connect_door(pid);
	struct termios was, raw;
	bool tty = tcgetattr(STDIN_FILENO, &was) == 0;
	sigset_t set;

	(void)argc;
	(void)argv;
	if (door < 0) {
		fprintf(stderr, "haul: no terminal is held here for process %d: %s\n", pid,
		        strerror(-door));
		return EXIT_FAILED;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	AUTO(fd) int signals = signalfd(-1, &set, SFD_CLOEXEC);

	if (tty) {
		fprintf(stderr, "haul: attached to %d; Ctrl-] detaches\n", pid);
		raw = was;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	}
	const char *why = relay(door, signals);

	if (tty) {
		tcsetattr(STDIN_FILENO, TCSADRAIN, &was);
		fprintf(stderr, "\nhaul: %s\n", why);
	}
	return EXIT_OK;
}
