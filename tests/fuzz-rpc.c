// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-rpc.c - any bytes as what CRIU answers, or as its log; the first byte says which. In
 * place of its socket there is a buffer: each answer has a length of two bytes before it.
 * It runs the files given; with -DLIBFUZZER the fuzzer does.
 */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "replay.h"

static const uint8_t *in_at;
static size_t in_left;

static int fuzz_poll(struct pollfd *p, nfds_t n, int ms)
{
	(void)n, (void)ms;
	p[0].revents = POLLIN;
	return 1;
}

static ssize_t fuzz_recv(int fd, void *buf, size_t bytes, int flags)
{
	size_t n = in_left < 2 ? 0 : (size_t)in_at[0] << 8 | in_at[1];

	(void)fd;
	if (in_left < 2 || n > in_left - 2)
		return 0;
	if (flags & MSG_PEEK)
		return (ssize_t)n;
	memcpy(buf, in_at + 2, n < bytes ? n : bytes);
	in_at += n + 2;
	in_left -= n + 2;
	return (ssize_t)n;
}

static ssize_t fuzz_send(int fd, const void *buf, size_t bytes, int flags)
{
	(void)fd, (void)buf, (void)flags;
	return (ssize_t)bytes;
}

#define poll fuzz_poll
#define recv fuzz_recv
#define send fuzz_send
#include "engine/criu/criu.c" /* NOLINT: its static functions are what is tested */
#include "engine/criu/criu.h"
#undef poll
#undef recv
#undef send

enum { VERSION, LAZY, DUMPED, RESTORED, LOG, N_KINDS };

static char folder[] = "/dev/shm/fuzz-rpc.XXXXXX";
static int dir = -1, file = -1;

static void leave(void)
{
	unlinkat(dir, "log", 0);
	rmdir(folder);
}

static void set_up(void)
{
	if (!mkdtemp(folder) || (dir = open(folder, O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    (file = openat(dir, "log", O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
		abort();
	atexit(leave);
}

static void log_file(const uint8_t *p, size_t bytes)
{
	char out[64];

	if (ftruncate(file, (off_t)bytes) < 0 || pwrite(file, p, bytes, 0) != (ssize_t)bytes)
		abort();
	memset(out, 'x', sizeof(out));
	criu_why(dir, "log", NULL, 0, out, sizeof(out));
	if (!out[0] || strnlen(out, sizeof(out)) == sizeof(out) || strchr(out, '\n'))
		abort();
}

static int answers(struct criu *c, int kind, struct err *e)
{
	unsigned int version = 0;
	pid_t pid = 0;
	bool yes = false;

	switch (kind) {
	case VERSION:
		return criu_version(c, &version, DEADLINE_NEVER, e);
	case LAZY:
		return criu_has_lazy(c, &yes, DEADLINE_NEVER, e);
	case DUMPED:
		return criu_pump(c, CRIU_EV_DONE, &pid, DEADLINE_NEVER, e);
	default:
		return criu_pump(c, CRIU_EV_POST_RESTORE, &pid, DEADLINE_NEVER, e);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	static struct criu c;
	struct err e = ERR_INIT;

	if (dir < 0)
		set_up();
	if (bytes < 1)
		return 0;
	int kind = p[0] % N_KINDS;

	if (kind == LOG) {
		log_file(p + 1, bytes - 1);
		return 0;
	}
	in_at = p + 1;
	in_left = bytes - 1;
	c = (struct criu){ .rpc = -1, .wake = -1, .out = -1, .images_fd = dir };
	snprintf(c.log_name, sizeof(c.log_name), "log");
	int r = answers(&c, kind, &e);

	if ((r < 0) != (e.msg[0] != 0) || r > 0)
		abort();
	return 0;
}
