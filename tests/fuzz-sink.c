// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-sink.c - any bytes as CRIU's page stream, in the layout that the first byte says:
 * no crash, an end, and a reason. With -DFUZZ_REPLAY: run the files given.
 */
#include "engine/criu.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "replay.h"

#define STREAM_BYTES_MAX 65536

static int on_shmem(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	(void)arg;
	if (OBJ_TYPE(obj) != 2 || vaddr % ENG_PAGE_BYTES)
		abort();
	for (size_t i = 0; i < pages * ENG_PAGE_BYTES; i++)
		sum ^= p[i]; /* all of it can be read */
	*(volatile uint8_t *)&sum = sum;
	return 0;
}

static void check(const struct sink *s)
{
	size_t n;
	const struct sink_obj *o = sink_objs(s, &n);

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < o[i].lazy.n; k++)
			if (o[i].lazy.v[k].pages == 0 || OBJ_TYPE(o[i].obj) != 1)
				abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	struct sink_ops ops = { .shmem = on_shmem };
	struct sink *s = NULL;
	struct err e = ERR_INIT;
	int sk[2], room = 4 << 20;

	if (bytes < 1 || bytes > STREAM_BYTES_MAX || socketpair(AF_UNIX, SOCK_STREAM, 0, sk) < 0)
		return 0;
	/* nobody reads its answers while it goes on */
	setsockopt(sk[1], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	setsockopt(sk[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	if (send(sk[0], p + 1, bytes - 1, MSG_NOSIGNAL) != (ssize_t)bytes - 1)
		abort();
	shutdown(sk[0], SHUT_WR);
	if (sink_start(&s, sk[1], p[0] & 1 ? 40101 : 40201, &ops, &e) < 0)
		abort();
	int r = sink_wait(s, &e);

	if ((r < 0) != (e.msg[0] != 0))
		abort();
	if (r == 0)
		check(s);
	sink_free(s);
	close(sk[0]);
	return 0;
}
