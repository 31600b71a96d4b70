// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-wire.c - any bytes as a stream of control messages: no crash, and memory stays
 * in proportion to what was sent. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */
#include "transport/msg/wire.h"
#include "transport/transport.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "transport/msg/haul.pb-c.h"
#include "replay.h"

struct chan {
	const uint8_t *p;
	size_t left, had;
};

int chan_read(struct chan *c, void *buf, size_t bytes, uint64_t deadline_us, struct err *e)
{
	(void)deadline_us;
	/* asked for in pieces that are not far ahead of the bytes that have arrived */
	if (bytes > 64u << 10 && bytes > 2 * c->had)
		abort();
	c->had += bytes;
	if (bytes > c->left)
		return err_set(e, ERR_LINK, EPIPE, "end");
	memcpy(buf, c->p, bytes);
	c->p += bytes;
	c->left -= bytes;
	return 0;
}

int chan_write(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us, struct err *e)
{
	(void)c, (void)deadline_us, (void)e;
	/* what we send, we also take */
	for (int i = 0; i < n; i++)
		if (iov[i].iov_len < 5)
			abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	struct chan c = { p, bytes, 0 };

	for (;;) {
		struct err e = ERR_INIT;
		Haul__Msg *m = NULL;

		if (wire_recv(&c, &m, DEADLINE_NEVER, &e) < 0) {
			if (m || !e.msg[0])
				abort();
			return 0;
		}
		if (wire_send(&c, m, DEADLINE_NEVER, &e) < 0)
			abort();
		haul__msg__free_unpacked(m, NULL);
	}
}
