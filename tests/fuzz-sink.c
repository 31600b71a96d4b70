// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-sink.c - any bytes as CRIU's page stream, in the layout that the first byte says:
 * no crash, an end, and a reason. The parser is run on a buffer instead of its thread and
 * socket, for which t-sink.c is there. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "replay.h"

static const uint8_t *in_at;
static size_t in_left;

static ssize_t fuzz_recv(int fd, void *buf, size_t bytes, int flags)
{
	size_t n = bytes < in_left ? bytes : in_left;

	(void)fd, (void)flags;
	memcpy(buf, in_at, n);
	in_at += n;
	in_left -= n;
	return (ssize_t)n;
}

static ssize_t fuzz_send(int fd, const void *buf, size_t bytes, int flags)
{
	(void)fd, (void)buf, (void)flags;
	return (ssize_t)bytes;
}

/* From the stream into the pipe, which is empty each time, or from there away. */
static ssize_t fuzz_splice(int in, const void *o, int out, const void *p, size_t bytes,
                           unsigned int flags)
{
	size_t n = bytes < in_left ? bytes : in_left;

	(void)o, (void)out, (void)p, (void)flags;
	if (in >= 0)
		return (ssize_t)bytes;
	in_at += n;
	in_left -= n;
	return (ssize_t)n;
}

#define recv   fuzz_recv
#define send   fuzz_send
#define splice fuzz_splice
#include "common/page.h"
#include "engine/criu/sink.c" /* NOLINT: its step() is what is tested */
#include "engine/criu/sink.h"
#undef recv
#undef send
#undef splice

static int on_shmem(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	(void)arg;
	if (!obj_is_shmem(obj) || vaddr % PAGE_BYTES)
		abort();
	for (size_t i = 0; i < pages; i++) /* all of it can be read */
		sum ^= p[i * PAGE_BYTES] ^ p[(i + 1) * PAGE_BYTES - 1];
	*(volatile uint8_t *)&sum = sum;
	return 0;
}

static void check(const struct sink *s)
{
	size_t n;
	const struct sink_obj *o = sink_objs(s, &n);

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < o[i].lazy.n; k++)
			if (o[i].lazy.v[k].pages == 0 || !obj_is_task(o[i].obj))
				abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	struct sink *s = calloc(1, sizeof(*s));
	struct err e = ERR_INIT;

	if (bytes < 1 || !s) {
		free(s);
		return 0;
	}
	in_at = p + 1;
	in_left = bytes - 1;
	s->fd = s->pipe[1] = s->null = -1;
	s->pipe[0] = 0; /* fuzz_splice(): what is in the pipe */
	s->criu_version = p[0] & 1 ? 40101 : 40201;
	s->ops.shmem = on_shmem;
	sink_main(s);
	int r = sink_wait(s, DEADLINE_NEVER, &e);

	if ((r < 0) != (e.msg[0] != 0))
		abort();
	if (r == 0)
		check(s);
	s->pipe[0] = -1;
	sink_free(s);
	return 0;
}
