// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * frame.c - page frames. Header, 24 bytes, network order:
 *   u32 magic 0x48465231 "HFR1"   u8 type   u8 codec   u16 n_runs
 *   u32 mark                      u32 data_pages
 *   u32 body_bytes                u32 zero
 * then n_runs runs of 24 bytes {u64 obj, u64 vaddr, u32 pages, u32 kind}, then the
 * data pages in the order of the runs, or one LZ4 block of them.
 */
#include "transport/transport.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_MAGIC 0x48465231u
#define VADDR_MAX   (1ULL << 47)

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t)(v >> 32));
	put32(p + 4, (uint32_t)v);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t get64(const uint8_t *p)
{
	return (uint64_t)get32(p) << 32 | get32(p + 4);
}

size_t frame_pack(struct frame *f, uint8_t *head, uint32_t packed_bytes)
{
	uint8_t *p = head + FRAME_HEAD_BYTES;

	f->data_pages = 0;
	for (uint32_t i = 0; i < f->n_runs; i++, p += FRAME_RUN_BYTES) {
		const struct frame_run *r = &f->runs[i];

		put64(p, r->obj);
		put64(p + 8, r->vaddr);
		put32(p + 16, r->pages);
		put32(p + 20, r->kind);
		/* a WANT carries no bytes, whatever its runs are */
		if (r->kind == RUN_DATA && f->type == FRAME_PAGES)
			f->data_pages += r->pages;
	}
	f->body_bytes = f->n_runs * FRAME_RUN_BYTES + packed_bytes;
	put32(head, FRAME_MAGIC);
	head[4] = (uint8_t)f->type;
	head[5] = (uint8_t)f->codec;
	head[6] = (uint8_t)(f->n_runs >> 8);
	head[7] = (uint8_t)f->n_runs;
	put32(head + 8, f->mark);
	put32(head + 12, f->data_pages);
	put32(head + 16, f->body_bytes);
	put32(head + 20, 0);
	return (size_t)(p - head);
}

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_PEER, EBADMSG, "bad page frame: %s", what);
}

int frame_unpack_head(struct frame *f, const uint8_t head[FRAME_HEAD_BYTES], struct err *e)
{
	if (get32(head) != FRAME_MAGIC)
		return bad(e, "magic");
	f->type = (enum frame_type)head[4];
	f->codec = (enum frame_codec)head[5];
	f->n_runs = (uint32_t)head[6] << 8 | head[7];
	f->mark = get32(head + 8);
	f->data_pages = get32(head + 12);
	f->body_bytes = get32(head + 16);
	if (f->type < FRAME_PAGES || f->type > FRAME_BYE)
		return bad(e, "type");
	if (f->codec > CODEC_LZ4)
		return bad(e, "codec");
	if (f->n_runs > FRAME_RUNS_MAX || f->data_pages > FRAME_PAGES_MAX)
		return bad(e, "too many runs or pages");
	if (f->body_bytes < f->n_runs * FRAME_RUN_BYTES || f->body_bytes > FRAME_BODY_MAX)
		return bad(e, "length");
	if ((f->type == FRAME_MARK || f->type == FRAME_BYE) && (f->n_runs || f->body_bytes))
		return bad(e, "a mark with a body");
	if (f->type == FRAME_WANT && f->data_pages)
		return bad(e, "a question with data");
	return 0;
}

static int get_run(struct frame_run *r, const uint8_t *p, struct err *e)
{
	r->obj = get64(p);
	r->vaddr = get64(p + 8);
	r->pages = get32(p + 16);
	r->kind = get32(p + 20);
	if (r->kind < RUN_DATA || r->kind > RUN_GONE)
		return bad(e, "kind of a run");
	if (r->vaddr % FRAME_PAGE_BYTES || r->vaddr >= VADDR_MAX || r->pages == 0 ||
	    r->pages > (VADDR_MAX - r->vaddr) / FRAME_PAGE_BYTES)
		return bad(e, "address of a run");
	if ((r->obj & 0xff) != 1 && (r->obj & 0xff) != 2)
		return bad(e, "object of a run");
	return 0;
}

int frame_unpack_body(struct frame *f, const uint8_t *body, uint8_t *data, const uint8_t **out,
                      struct err *e)
{
	uint64_t pages = 0;
	uint32_t runs_bytes = f->n_runs * FRAME_RUN_BYTES;

	for (uint32_t i = 0; i < f->n_runs; i++) {
		int r = get_run(&f->runs[i], body + (size_t)i * FRAME_RUN_BYTES, e);

		if (r < 0)
			return r;
		if (f->runs[i].kind == RUN_DATA && f->type == FRAME_PAGES)
			pages += f->runs[i].pages;
	}
	if (pages != f->data_pages)
		return bad(e, "runs and pages do not agree");
	const uint8_t *packed = body + runs_bytes;
	uint32_t packed_bytes = f->body_bytes - runs_bytes;
	uint32_t raw_bytes = f->data_pages * FRAME_PAGE_BYTES;

	*out = packed;
	if (f->codec == CODEC_NONE)
		return packed_bytes == raw_bytes ? 0 : bad(e, "length of the data");
	if (LZ4_decompress_safe((const char *)packed, (char *)data, (int)packed_bytes,
	                        (int)raw_bytes) != (int)raw_bytes)
		return bad(e, "compressed data");
	*out = data;
	return 0;
}

/* One block of all pages. Return: bytes, 0 when it did not get smaller */
static uint32_t compress(const struct iovec *data, int n, uint8_t *raw, uint8_t *packed)
{
	size_t bytes = 0;

	for (int i = 0; i < n; i++) {
		memcpy(raw + bytes, data[i].iov_base, data[i].iov_len);
		bytes += data[i].iov_len;
	}
	int r = LZ4_compress_default((const char *)raw, (char *)packed, (int)bytes,
	                             (int)(bytes - bytes / 32));

	return r > 0 ? (uint32_t)r : 0;
}

int frame_send(struct chan *c, struct frame *f, const struct iovec *data, int n,
               uint64_t deadline_us, struct err *e)
{
	uint8_t head[FRAME_HEAD_BYTES + FRAME_RUNS_MAX * FRAME_RUN_BYTES];
	struct iovec iov[1 + FRAME_PAGES_MAX];
	AUTO(mem) uint8_t *room = NULL;
	uint32_t bytes = 0, packed = 0;

	if (n < 0 || n > (int)FRAME_PAGES_MAX || f->n_runs > FRAME_RUNS_MAX)
		return err_set(e, ERR_BUG, EINVAL, "frame with %d pieces", n);
	for (int i = 0; i < n; i++)
		bytes += (uint32_t)data[i].iov_len;
	if (f->codec == CODEC_LZ4 && bytes)
		room = malloc(2 * (size_t)bytes);
	if (room)
		packed = compress(data, n, room, room + bytes);
	if (!packed)
		f->codec = CODEC_NONE;
	iov[0].iov_base = head;
	iov[0].iov_len = frame_pack(f, head, packed ? packed : bytes);
	if (packed) {
		iov[1] = (struct iovec){ room + bytes, packed };
		return chan_write(c, iov, 2, deadline_us, e);
	}
	if (n)
		memcpy(iov + 1, data, (size_t)n * sizeof(*iov));
	return chan_write(c, iov, n + 1, deadline_us, e);
}

int frame_recv(struct chan *c, struct frame *f, uint8_t *buf, const uint8_t **data,
               uint64_t deadline_us, struct err *e)
{
	uint8_t head[FRAME_HEAD_BYTES];
	int r = chan_read(c, head, sizeof(head), deadline_us, e);

	if (r == 0)
		r = frame_unpack_head(f, head, e);
	if (r == 0 && f->body_bytes)
		r = chan_read(c, buf, f->body_bytes, deadline_us, e);
	if (r == 0)
		r = frame_unpack_body(f, buf, buf + FRAME_BODY_MAX, data, e);
	return r;
}
