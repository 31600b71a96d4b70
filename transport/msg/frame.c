// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * frame.c - page frames. Header, 24 bytes, integers in network order:
 *
 *   offset bytes field
 *        0     4 magic 0x48465231, "HFR1"
 *        4     1 type: 1 PAGES, 2 MARK, 3 WANT, 4 BYE
 *        5     1 codec of the data: 0 none, 1 LZ4
 *        6     2 n_runs, at most 128
 *        8     4 mark: number of the round, for MARK
 *       12     4 data_pages: pages of all data runs of PAGES, at most 128
 *       16     4 body_bytes: 24 * n_runs + bytes of the data as sent
 *       20     4 zero
 *
 * then n_runs runs of 24 bytes {obj u64, vaddr u64, pages u32, kind u32}, then the data
 * pages in the order of the runs, 4096 bytes each, or one LZ4 block of them all, which
 * is never longer than they are. Only PAGES has data; MARK and BYE have no body.
 */
#include "transport/msg/frame.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "transport/transport.h"

#define FRAME_MAGIC 0x48465231u
#define VADDR_END   (1ULL << 56) /* five levels of page tables */

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

/* What a frame of this type may carry; the numbers in @f are within their bounds. */
static const char *head_fault(const struct frame *f)
{
	uint32_t runs_bytes = f->n_runs * FRAME_RUN_BYTES;
	uint32_t raw_bytes = f->data_pages * PAGE_BYTES;

	if (f->body_bytes < runs_bytes)
		return "length";
	uint32_t packed_bytes = f->body_bytes - runs_bytes;

	if ((f->type == FRAME_MARK || f->type == FRAME_BYE) && f->n_runs)
		return "runs in a mark";
	if (f->type != FRAME_PAGES && (f->data_pages || f->codec != CODEC_NONE))
		return "pages in a frame without data";
	if (f->codec == CODEC_NONE && packed_bytes != raw_bytes)
		return "length of the data";
	if (f->codec == CODEC_LZ4 && (packed_bytes == 0 || packed_bytes > raw_bytes))
		return "length of the packed data";
	return NULL;
}

int frame_unpack_head(struct frame *f, const uint8_t head[FRAME_HEAD_BYTES], struct err *e)
{
	if (get32(head) != FRAME_MAGIC || get32(head + 20))
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
	const char *fault = head_fault(f);

	return fault ? bad(e, fault) : 0;
}

static int get_run(struct frame_run *r, const uint8_t *p, struct err *e)
{
	r->obj = get64(p);
	r->vaddr = get64(p + 8);
	r->pages = get32(p + 16);
	r->kind = get32(p + 20);
	if (r->kind < RUN_DATA || r->kind > RUN_SAME)
		return bad(e, "kind of a run");
	/* a run without data costs its sender nothing, but costs us a state for each page */
	if (r->pages == 0 || r->pages > FRAME_PAGES_MAX)
		return bad(e, "length of a run");
	if (r->vaddr % PAGE_BYTES || r->vaddr >= VADDR_END ||
	    r->pages > (VADDR_END - r->vaddr) / PAGE_BYTES)
		return bad(e, "address of a run");
	if (!obj_is_task(r->obj) && !obj_is_shmem(r->obj))
		return bad(e, "object of a run");
	return 0;
}

/* In which run before number @i of @f does it lie? @skip: data pages before it. Return: -1: in none */
static int source_of(const struct frame *f, uint32_t i, uint64_t *skip)
{
	const struct frame_run *s = &f->runs[i];
	uint64_t before = 0;

	for (uint32_t k = 0; k < i; k++) {
		const struct frame_run *d = &f->runs[k];

		if (d->kind != RUN_DATA)
			continue;
		if (s->vaddr >= d->vaddr && s->vaddr + (uint64_t)s->pages * PAGE_BYTES <=
		                                    d->vaddr + (uint64_t)d->pages * PAGE_BYTES) {
			*skip = before + (s->vaddr - d->vaddr) / PAGE_BYTES;
			return (int)k;
		}
		before += d->pages;
	}
	return -1;
}

const uint8_t *frame_same(const struct frame *f, uint32_t i, const uint8_t *data)
{
	uint64_t skip = 0;

	return source_of(f, i, &skip) < 0 ? NULL : data + skip * PAGE_BYTES;
}

int frame_unpack_body(struct frame *f, const uint8_t *body, uint8_t *data, const uint8_t **out,
                      struct err *e)
{
	uint64_t pages = 0, skip = 0;
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
	for (uint32_t i = 0; i < f->n_runs; i++)
		if (f->runs[i].kind == RUN_SAME &&
		    (f->type != FRAME_PAGES || source_of(f, i, &skip) < 0))
			return bad(e, "a run that repeats no other");
	const uint8_t *packed = body + runs_bytes;
	uint32_t packed_bytes = f->body_bytes - runs_bytes;
	uint32_t raw_bytes = f->data_pages * PAGE_BYTES;

	*out = packed;
	if (f->codec == CODEC_NONE)
		return 0; /* the header was checked: these are all pages */
	if (LZ4_decompress_safe((const char *)packed, (char *)data, (int)packed_bytes,
	                        (int)raw_bytes) != (int)raw_bytes)
		return bad(e, "compressed data");
	*out = data;
	return 0;
}

/* ---- on a channel ---- */

/*
 * Pack all pages into one block. LZ4 needs them in one piece.
 * @room: for @bytes twice
 * Return: where it is, with *packed_bytes; NULL when it did not get smaller
 */
static uint8_t *pack_data(const struct iovec *data, int n, uint32_t bytes, uint8_t *room,
                          uint32_t *packed_bytes)
{
	const char *raw = n == 1 ? data[0].iov_base : (const char *)room;
	uint8_t *at = room;

	for (int i = 0; n > 1 && i < n; i++) {
		memcpy(at, data[i].iov_base, data[i].iov_len);
		at += data[i].iov_len;
	}
	/* less than 3 % is not worth the receiver's time */
	int r = LZ4_compress_fast(raw, (char *)room + bytes, (int)bytes, (int)(bytes - bytes / 32),
	                          1);

	*packed_bytes = r > 0 ? (uint32_t)r : 0;
	return r > 0 ? room + bytes : NULL;
}

/* Return: -errno when header and data disagree: the peer would have to hang up */
static int check_send(const struct frame *f, const struct iovec *data, int n, uint32_t *bytes,
                      struct err *e)
{
	uint64_t sum = 0, pages = 0;

	if (n < 0 || n > (int)FRAME_PAGES_MAX || f->n_runs > FRAME_RUNS_MAX)
		return err_set(e, ERR_BUG, EINVAL, "frame of %u runs in %d pieces", f->n_runs, n);
	for (int i = 0; i < n; i++)
		sum += data[i].iov_len;
	for (uint32_t i = 0; i < f->n_runs; i++)
		if (f->type == FRAME_PAGES && f->runs[i].kind == RUN_DATA)
			pages += f->runs[i].pages;
	if (pages > FRAME_PAGES_MAX || sum != pages * PAGE_BYTES)
		return err_set(e, ERR_BUG, EINVAL, "frame of %llu pages with %llu bytes",
		               (unsigned long long)pages, (unsigned long long)sum);
	*bytes = (uint32_t)sum;
	return 0;
}

int frame_send(struct chan *c, struct frame *f, const struct iovec *data, int n,
               uint64_t deadline_us, struct err *e)
{
	uint8_t head[FRAME_HEAD_BYTES + FRAME_RUNS_MAX * FRAME_RUN_BYTES];
	struct iovec iov[1 + FRAME_PAGES_MAX];
	AUTO(mem) uint8_t *room = NULL;
	uint8_t *packed = NULL;
	uint32_t bytes = 0, packed_bytes = 0;
	int r = check_send(f, data, n, &bytes, e);

	if (r < 0)
		return r;
	if (f->codec == CODEC_LZ4 && bytes)
		room = malloc(2 * (size_t)bytes);
	if (room)
		packed = pack_data(data, n, bytes, room, &packed_bytes);
	if (!packed)
		f->codec = CODEC_NONE;
	iov[0].iov_base = head;
	iov[0].iov_len = frame_pack(f, head, packed ? packed_bytes : bytes);
	if (packed) {
		iov[1] = (struct iovec){ packed, packed_bytes };
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

	if (r < 0)
		return r;
	r = frame_unpack_head(f, head, e);
	if (r < 0)
		return r;
	if (f->body_bytes)
		r = chan_read(c, buf, f->body_bytes, deadline_us, e);
	if (r == -EPIPE && e)
		err_clear(e); /* an end of the stream is fine between frames, not here */
	if (r == -EPIPE)
		return bad(e, "it ends in the middle");
	return r < 0 ? r : frame_unpack_body(f, buf, buf + FRAME_BODY_MAX, data, e);
}
