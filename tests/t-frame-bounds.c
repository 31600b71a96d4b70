// SPDX-License-Identifier: GPL-2.0-or-later
/* t-frame-bounds.c - page frames: what goes in comes out, and every check bites. */
#include "tests/checks.h"
#include "transport/msg/frame.h"
#include "transport/transport.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"

#define WIRE_BYTES (FRAME_HEAD_BYTES + FRAME_BODY_MAX)

/* ---- a channel that is a buffer: frame_send() fills it, frame_recv() empties it ---- */

struct chan {
	uint8_t bytes[4 * WIRE_BYTES];
	size_t put, got;
	int writes;
};

static struct chan pipe_;
static uint8_t recv_buf[FRAME_BODY_MAX + FRAME_PAGES_MAX * PAGE_BYTES];

int chan_write(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us, struct err *e)
{
	(void)deadline_us;
	(void)e;
	c->writes++;
	for (int i = 0; i < n; i++) {
		MUST(c->put + iov[i].iov_len <= sizeof(c->bytes));
		memcpy(c->bytes + c->put, iov[i].iov_base, iov[i].iov_len);
		c->put += iov[i].iov_len;
	}
	return 0;
}

int chan_read(struct chan *c, void *buf, size_t bytes, uint64_t deadline_us, struct err *e)
{
	(void)deadline_us;
	if (bytes > c->put - c->got)
		return err_set(e, ERR_LINK, EPIPE, "end");
	memcpy(buf, c->bytes + c->got, bytes);
	c->got += bytes;
	return 0;
}

static void pipe_clear(void)
{
	pipe_.put = pipe_.got = 0;
	pipe_.writes = 0;
}

/* ---- round trips ---- */

static uint8_t pages[FRAME_PAGES_MAX * PAGE_BYTES];

static void fill(bool packable)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < sizeof(pages); i++) {
		x = x * 1664525 + 1013904223;
		pages[i] = packable ? (uint8_t)(i / 1000) : (uint8_t)(x >> 24);
	}
}

static struct frame frame_of(enum frame_type type, enum frame_codec codec, uint32_t n_runs,
                             uint32_t pages_each)
{
	struct frame f = { .type = type, .codec = codec, .n_runs = n_runs };

	for (uint32_t i = 0; i < n_runs; i++)
		f.runs[i] = (struct frame_run){ .obj = (uint64_t)(i + 1) << 8 | 1,
			                        .vaddr = (uint64_t)i << 20,
			                        .pages = pages_each,
			                        .kind = RUN_DATA };
	return f;
}

static void same_runs(const struct frame *a, const struct frame *b)
{
	MUST(a->n_runs == b->n_runs);
	for (uint32_t i = 0; i < a->n_runs; i++) {
		MUST(a->runs[i].obj == b->runs[i].obj && a->runs[i].vaddr == b->runs[i].vaddr);
		MUST(a->runs[i].pages == b->runs[i].pages && a->runs[i].kind == b->runs[i].kind);
	}
}

/* @pieces: in how many iovecs the data is handed over */
static void trip(enum frame_codec codec, bool packable, uint32_t n_runs, uint32_t pages_each,
                 int pieces)
{
	static struct frame in, out;
	uint32_t bytes = n_runs * pages_each * PAGE_BYTES;
	struct iovec iov[FRAME_PAGES_MAX];
	const uint8_t *data = NULL;
	struct err e = ERR_INIT;

	pipe_clear();
	fill(packable);
	in = frame_of(FRAME_PAGES, codec, n_runs, pages_each);
	for (int i = 0; i < pieces; i++)
		iov[i] = (struct iovec){ pages + (size_t)i * (bytes / (uint32_t)pieces),
			                 bytes / (uint32_t)pieces };
	MUST(frame_send(&pipe_, &in, iov, pieces, DEADLINE_NEVER, &e) == 0);
	MUST(in.data_pages == n_runs * pages_each);
	MUST(pipe_.put == FRAME_HEAD_BYTES + in.body_bytes);
	MUST(in.codec == (codec == CODEC_LZ4 && packable ? CODEC_LZ4 : CODEC_NONE));
	if (in.codec == CODEC_LZ4)
		MUST(in.body_bytes < n_runs * FRAME_RUN_BYTES + bytes);
	MUST(frame_recv(&pipe_, &out, recv_buf, &data, DEADLINE_NEVER, &e) == 0);
	MUST(pipe_.got == pipe_.put && out.type == FRAME_PAGES);
	MUST(out.data_pages == in.data_pages && !memcmp(data, pages, bytes));
	same_runs(&in, &out);
}

static void round_trips(void)
{
	for (int packable = 0; packable < 2; packable++) {
		for (int codec = CODEC_NONE; codec <= CODEC_LZ4; codec++) {
			trip((enum frame_codec)codec, packable, 1, 1, 1);
			trip((enum frame_codec)codec, packable, 1, 128, 1);
			trip((enum frame_codec)codec, packable, 1, 128, 128);
			trip((enum frame_codec)codec, packable, 128, 1, 128);
			trip((enum frame_codec)codec, packable, 3, 7, 21);
		}
	}
}

static void without_data(void)
{
	static struct frame in, out;
	const uint8_t *data;
	struct err e = ERR_INIT;

	pipe_clear();
	in = (struct frame){ .type = FRAME_MARK, .mark = 0xfffffffe };
	MUST(frame_send(&pipe_, &in, NULL, 0, DEADLINE_NEVER, &e) == 0);
	in = frame_of(FRAME_WANT, CODEC_NONE, 128, 128);
	MUST(frame_send(&pipe_, &in, NULL, 0, DEADLINE_NEVER, &e) == 0);
	in = frame_of(FRAME_PAGES, CODEC_LZ4, 2, 128);
	in.runs[0].kind = RUN_ZERO;
	in.runs[1].kind = RUN_GONE;
	in.runs[1].obj = 9 << 8 | 2;
	MUST(frame_send(&pipe_, &in, NULL, 0, DEADLINE_NEVER, &e) == 0 && in.codec == CODEC_NONE);
	in = (struct frame){ .type = FRAME_BYE };
	MUST(frame_send(&pipe_, &in, NULL, 0, DEADLINE_NEVER, &e) == 0);
	MUST(pipe_.writes == 4);
	MUST(frame_recv(&pipe_, &out, recv_buf, &data, DEADLINE_NEVER, &e) == 0);
	MUST(out.type == FRAME_MARK && out.mark == 0xfffffffe && out.n_runs == 0);
	MUST(frame_recv(&pipe_, &out, recv_buf, &data, DEADLINE_NEVER, &e) == 0);
	MUST(out.type == FRAME_WANT && out.n_runs == 128 && out.runs[127].pages == 128);
	MUST(frame_recv(&pipe_, &out, recv_buf, &data, DEADLINE_NEVER, &e) == 0);
	MUST(out.data_pages == 0 && out.runs[1].kind == RUN_GONE &&
	     out.runs[1].obj == (9 << 8 | 2));
	MUST(frame_recv(&pipe_, &out, recv_buf, &data, DEADLINE_NEVER, &e) == 0);
	MUST(out.type == FRAME_BYE);
	MUST(frame_recv(&pipe_, &out, recv_buf, &data, DEADLINE_NEVER, &e) == -EPIPE);
}

/* Runs that repeat the pages of another process: where their bytes are, and which are refused. */
static void same(void)
{
	static struct frame in, out;
	struct iovec io = { pages, 4 * PAGE_BYTES };
	const uint8_t *data;
	struct err e = ERR_INIT;

	fill(false);
	for (int bad = 0; bad < 4; bad++) {
		pipe_clear();
		in = frame_of(FRAME_PAGES, CODEC_NONE, 4, 2);
		in.runs[0].vaddr = 0x10000;
		in.runs[1].vaddr = 0x40000;
		in.runs[2] = (struct frame_run){ 8 << 8 | 1, 0x41000, 1, RUN_SAME };
		in.runs[3] = (struct frame_run){ 8 << 8 | 1, 0x10000, 2, RUN_SAME };
		if (bad == 1)
			in.runs[2].pages = 2; /* beyond its end */
		if (bad == 2)
			in.runs[3].vaddr = 0x20000;
		if (bad == 3)
			in.runs[1].kind = RUN_SAME; /* before any data of that address */
		io.iov_len = (bad == 3 ? 2 : 4) * PAGE_BYTES;
		MUST(frame_send(&pipe_, &in, &io, 1, DEADLINE_NEVER, &e) == 0);
		int r = frame_recv(&pipe_, &out, recv_buf, &data, DEADLINE_NEVER, &e);

		MUST(r == (bad ? -EBADMSG : 0));
		err_clear(&e);
	}
	pipe_clear();
	in.runs[1].kind = RUN_DATA;
	io.iov_len = 4 * PAGE_BYTES;
	MUST(frame_send(&pipe_, &in, &io, 1, DEADLINE_NEVER, &e) == 0);
	MUST(frame_recv(&pipe_, &out, recv_buf, &data, DEADLINE_NEVER, &e) == 0);
	MUST(frame_same(&out, 2, data) == data + 3 * PAGE_BYTES);
	MUST(frame_same(&out, 3, data) == data);
}

/* A header and bytes that do not agree must not leave the house. */
static void send_checks(void)
{
	static struct frame f;
	struct iovec one = { pages, PAGE_BYTES };
	struct err e = ERR_INIT;

	pipe_clear();
	f = frame_of(FRAME_PAGES, CODEC_NONE, 1, 2);
	MUST(frame_send(&pipe_, &f, &one, 1, DEADLINE_NEVER, &e) == -EINVAL && e.src == ERR_BUG);
	f = frame_of(FRAME_PAGES, CODEC_NONE, 1, 129);
	MUST(frame_send(&pipe_, &f, &one, 1, DEADLINE_NEVER, NULL) == -EINVAL);
	f = frame_of(FRAME_MARK, CODEC_NONE, 0, 0);
	MUST(frame_send(&pipe_, &f, &one, 1, DEADLINE_NEVER, NULL) == -EINVAL);
	f = frame_of(FRAME_PAGES, CODEC_NONE, 1, 1);
	f.n_runs = FRAME_RUNS_MAX + 1;
	MUST(frame_send(&pipe_, &f, &one, 1, DEADLINE_NEVER, NULL) == -EINVAL);
	MUST(pipe_.put == 0);
}

/* ---- headers, bit by bit ---- */

static void poke(uint8_t *p, int bytes, uint64_t v)
{
	for (int i = bytes - 1; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

enum {
	AT_MAGIC = 0,
	AT_TYPE = 4,
	AT_CODEC = 5,
	AT_RUNS = 6,
	AT_PAGES = 12,
	AT_BODY = 16,
	AT_ZERO = 20
};

/* Change one field of a good frame's header (a second one with @at2 >= 0). */
static void bad_head(struct frame good, uint32_t packed, int at, int bytes, uint64_t v, int at2,
                     uint64_t v2)
{
	uint8_t head[FRAME_HEAD_BYTES + FRAME_RUNS_MAX * FRAME_RUN_BYTES];
	static struct frame out;
	struct err e = ERR_INIT;

	frame_pack(&good, head, packed);
	MUST(frame_unpack_head(&out, head, &e) == 0);
	poke(head + at, bytes, v);
	if (at2 >= 0)
		poke(head + at2, 4, v2);
	MUST(frame_unpack_head(&out, head, &e) == -EBADMSG);
	MUST(e.src == ERR_PEER && e.msg[0]);
}

static void bad_heads(void)
{
	static struct frame p, z, m, w;
	uint32_t page = PAGE_BYTES, run = FRAME_RUN_BYTES;

	p = frame_of(FRAME_PAGES, CODEC_NONE, 2, 3);
	z = frame_of(FRAME_PAGES, CODEC_LZ4, 2, 3);
	m = (struct frame){ .type = FRAME_MARK };
	w = frame_of(FRAME_WANT, CODEC_NONE, 2, 3);
	bad_head(p, 6 * page, AT_MAGIC, 4, 0x48465232, -1, 0);
	bad_head(p, 6 * page, AT_ZERO, 4, 1, -1, 0);
	bad_head(p, 6 * page, AT_TYPE, 1, 0, -1, 0);
	bad_head(p, 6 * page, AT_TYPE, 1, 5, -1, 0);
	bad_head(p, 6 * page, AT_TYPE, 1, 0xff, -1, 0);
	bad_head(p, 6 * page, AT_CODEC, 1, 2, -1, 0);
	bad_head(p, 6 * page, AT_RUNS, 2, FRAME_RUNS_MAX + 1, -1, 0);
	bad_head(p, 6 * page, AT_RUNS, 2, 0xffff, -1, 0);
	bad_head(p, 6 * page, AT_PAGES, 4, FRAME_PAGES_MAX + 1, -1, 0);
	bad_head(p, 6 * page, AT_PAGES, 4, 0xffffffff, AT_BODY, 2 * run - 4096);
	bad_head(p, 6 * page, AT_BODY, 4, 2 * run - 1, -1, 0);
	bad_head(p, 6 * page, AT_BODY, 4, 0, -1, 0);
	bad_head(p, 6 * page, AT_BODY, 4, 0xffffffff, -1, 0);
	bad_head(p, 6 * page, AT_BODY, 4, 2 * run + 6 * page - 1, -1, 0);
	bad_head(p, 6 * page, AT_BODY, 4, 2 * run + 6 * page + 1, -1, 0);
	bad_head(z, 100, AT_BODY, 4, 2 * run, -1, 0);
	bad_head(z, 100, AT_BODY, 4, 2 * run + 6 * page + 1, -1, 0);
	bad_head(m, 0, AT_CODEC, 1, CODEC_LZ4, -1, 0);
	bad_head(m, 0, AT_BODY, 4, 1, -1, 0);
	bad_head(m, 0, AT_PAGES, 4, 1, AT_BODY, page);
	bad_head(m, 0, AT_RUNS, 2, 1, AT_BODY, run);
	bad_head(w, 0, AT_PAGES, 4, 1, AT_BODY, 2 * run + page);
	bad_head(w, 0, AT_CODEC, 1, CODEC_LZ4, -1, 0);
	bad_head(w, 0, AT_TYPE, 1, FRAME_BYE, -1, 0);
}

/* ---- bodies ---- */

static uint8_t wire[WIRE_BYTES];

/* Change @bytes of run 1 (of two) of a good frame. */
static void bad_run(int at, int bytes, uint64_t v, bool good)
{
	static struct frame f, out;
	uint8_t room[1];
	const uint8_t *data;
	struct err e = ERR_INIT;

	f = frame_of(FRAME_PAGES, CODEC_NONE, 2, 1);
	MUST(frame_pack(&f, wire, 2 * PAGE_BYTES) == FRAME_HEAD_BYTES + 2 * FRAME_RUN_BYTES);
	poke(wire + FRAME_HEAD_BYTES + FRAME_RUN_BYTES + at, bytes, v);
	MUST(frame_unpack_head(&out, wire, &e) == 0);
	int r = frame_unpack_body(&out, wire + FRAME_HEAD_BYTES, room, &data, &e);

	MUST(r == (good ? 0 : -EBADMSG));
	MUST(good ? data == wire + FRAME_HEAD_BYTES + 2 * FRAME_RUN_BYTES : e.src == ERR_PEER);
}

static void bad_runs(void)
{
	uint64_t last = (1ULL << 56) - PAGE_BYTES;

	bad_run(0, 8, 5 << 8 | 1, true);
	bad_run(0, 8, 5 << 8 | 2, true);
	bad_run(0, 8, 5 << 8, false);
	bad_run(0, 8, 5 << 8 | 3, false);
	bad_run(8, 8, 0, true);
	bad_run(8, 8, last, true);
	bad_run(8, 8, last + PAGE_BYTES, false);
	bad_run(8, 8, 0xfffffffffffff000, false);
	bad_run(8, 8, PAGE_BYTES - 1, false);
	bad_run(8, 8, 8, false);
	bad_run(16, 4, 0, false);
	bad_run(16, 4, 2, false);
	bad_run(16, 4, 0xffffffff, false);
	bad_run(20, 4, 0, false);
	bad_run(20, 4, RUN_ZERO, false); /* then there are too many pages */
	bad_run(20, 4, 4, false);
	bad_run(20, 4, 0x100, false);
}

/* A run that ends beyond the last address. */
static void overflow(void)
{
	static struct frame f, out;
	const uint8_t *data;
	struct err e = ERR_INIT;

	f = (struct frame){ .type = FRAME_WANT, .n_runs = 1 };
	f.runs[0] = (struct frame_run){ 1 << 8 | 1, (1ULL << 56) - 4 * PAGE_BYTES, 4, RUN_DATA };
	frame_pack(&f, wire, 0);
	MUST(frame_unpack_head(&out, wire, &e) == 0);
	MUST(frame_unpack_body(&out, wire + FRAME_HEAD_BYTES, NULL, &data, &e) == 0);
	f.runs[0].pages = 5;
	frame_pack(&f, wire, 0);
	MUST(frame_unpack_head(&out, wire, &e) == 0);
	MUST(frame_unpack_body(&out, wire + FRAME_HEAD_BYTES, NULL, &data, &e) == -EBADMSG);
}

/* LZ4 blocks that are broken, too short, too long. */
static void bad_packed(void)
{
	static struct frame f, out;
	struct iovec io = { pages, 4 * PAGE_BYTES };
	const uint8_t *data;
	struct err e = ERR_INIT;

	fill(true);
	for (int how = 0; how < 4; how++) {
		pipe_clear();
		err_clear(&e);
		f = frame_of(FRAME_PAGES, CODEC_LZ4, 1, 4);
		MUST(frame_send(&pipe_, &f, &io, 1, DEADLINE_NEVER, &e) == 0);
		MUST(f.codec == CODEC_LZ4);
		uint8_t *run = pipe_.bytes + FRAME_HEAD_BYTES;

		if (how == 1) /* says it is more */
			poke(run + 16, 4, 5), poke(pipe_.bytes + AT_PAGES, 4, 5);
		if (how == 2) /* says it is less */
			poke(run + 16, 4, 3), poke(pipe_.bytes + AT_PAGES, 4, 3);
		if (how == 3)
			memset(run + FRAME_RUN_BYTES, 0xff, f.body_bytes - FRAME_RUN_BYTES);
		MUST(frame_recv(&pipe_, &out, recv_buf, &data, DEADLINE_NEVER, &e) ==
		     (how ? -EBADMSG : 0));
	}
}

/* The stream ends: between frames that is an end, in a frame it is not. */
static void cut_off(void)
{
	static struct frame f, out;
	struct iovec io = { pages, PAGE_BYTES };
	const uint8_t *data;
	struct err e = ERR_INIT;

	pipe_clear();
	f = frame_of(FRAME_PAGES, CODEC_NONE, 1, 1);
	MUST(frame_send(&pipe_, &f, &io, 1, DEADLINE_NEVER, &e) == 0);
	pipe_.put--;
	MUST(frame_recv(&pipe_, &out, recv_buf, &data, DEADLINE_NEVER, &e) == -EBADMSG);
	MUST(e.src == ERR_PEER);
}

int main(void)
{
	round_trips();
	without_data();
	same();
	send_checks();
	bad_heads();
	bad_runs();
	overflow();
	bad_packed();
	cut_off();
	return 0;
}
