// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-frame.c - any bytes as a stream of page frames: no crash, and what is accepted
 * packs to the same header again. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */
#include "transport/msg/frame.h"
#include "transport/transport.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "replay.h"

struct chan {
	const uint8_t *p;
	size_t left;
};

int chan_read(struct chan *c, void *buf, size_t bytes, uint64_t deadline_us, struct err *e)
{
	(void)deadline_us;
	if (bytes > c->left)
		return err_set(e, ERR_LINK, EPIPE, "end");
	memcpy(buf, c->p, bytes);
	c->p += bytes;
	c->left -= bytes;
	return 0;
}

int chan_write(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us, struct err *e)
{
	(void)c, (void)iov, (void)n, (void)deadline_us, (void)e;
	return 0;
}

/* What the receiver relies on. */
static void check(struct frame *f, const uint8_t *data, const uint8_t *wire)
{
	uint8_t head[FRAME_HEAD_BYTES + FRAME_RUNS_MAX * FRAME_RUN_BYTES];
	uint32_t pages = f->data_pages, body = f->body_bytes;
	uint8_t sum = 0;

	for (size_t i = 0; i < pages; i++) /* all of it can be read */
		sum ^= data[i * PAGE_BYTES] ^ data[(i + 1) * PAGE_BYTES - 1];
	for (uint32_t i = 0; i < f->n_runs; i++)
		if (f->runs[i].vaddr % PAGE_BYTES || f->runs[i].pages == 0 ||
		    f->runs[i].vaddr + (uint64_t)f->runs[i].pages * PAGE_BYTES > 1ULL << 56)
			abort();
	size_t n = frame_pack(f, head, body - f->n_runs * FRAME_RUN_BYTES);

	if (f->data_pages != pages || f->body_bytes != body || memcmp(head, wire, n))
		abort();
	*(volatile uint8_t *)head = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	static uint8_t buf[FRAME_BODY_MAX + FRAME_PAGES_MAX * PAGE_BYTES];
	static struct frame f;
	struct chan c = { p, bytes };
	const uint8_t *data;

	for (;;) {
		const uint8_t *wire = c.p;
		struct err e = ERR_INIT;

		if (frame_recv(&c, &f, buf, &data, DEADLINE_NEVER, &e) < 0) {
			if (!e.msg[0])
				abort();
			return 0;
		}
		check(&f, data, wire);
	}
}
