/* SPDX-License-Identifier: GPL-2.0-or-later */
/* frame.h - page frames: pure functions over buffers, and one frame on a channel. */
#ifndef HAUL_TRANSPORT_FRAME_H
#define HAUL_TRANSPORT_FRAME_H

#include <stdint.h>
#include <sys/uio.h>

#include "common/err.h"
#include "common/page.h"

struct chan;

#define FRAME_HEAD_BYTES 24u
#define FRAME_RUN_BYTES  24u
#define FRAME_PAGES_MAX  128u /* data pages in one frame: 512 KiB */
#define FRAME_RUNS_MAX   128u
#define FRAME_BODY_MAX   (FRAME_RUNS_MAX * FRAME_RUN_BYTES + FRAME_PAGES_MAX * PAGE_BYTES + 4096u)

enum frame_type {
	FRAME_PAGES = 1, /* runs, then the bytes of the data runs in order */
	FRAME_MARK = 2, /* everything of round @mark was sent on this stream */
	FRAME_WANT = 3, /* destination asks for the runs' pages, now */
	FRAME_BYE = 4, /* nothing follows */
};

/* RUN_SAME: content of the pages that a data run before it in the frame has at the same addresses */
enum run_kind { RUN_DATA = 1, RUN_ZERO = 2, RUN_GONE = 3, RUN_SAME = 4 };

struct frame_run {
	uint64_t obj; /* obj_of_task(pid) or obj_of_shmem(ID) */
	uint64_t vaddr; /* page aligned */
	uint32_t pages;
	uint32_t kind; /* enum run_kind */
};

enum frame_codec { CODEC_NONE = 0, CODEC_LZ4 = 1 };

struct frame {
	enum frame_type type;
	enum frame_codec codec;
	uint32_t mark;
	uint32_t n_runs;
	uint32_t data_pages; /* sum over RUN_DATA runs */
	uint32_t body_bytes; /* what follows the header on the wire */
	struct frame_run runs[FRAME_RUNS_MAX];
};

/**
 * frame_pack() - header and runs into @head; the data follows as it is or packed
 * @f:    type, codec, mark, runs are given; counts are computed
 * @head: room for FRAME_HEAD_BYTES + FRAME_RUNS_MAX * FRAME_RUN_BYTES
 * @packed_bytes: bytes of the data part as it will be sent
 * Return: bytes used in @head
 */
size_t frame_pack(struct frame *f, uint8_t *head, uint32_t packed_bytes);

/**
 * frame_unpack_head() - check and read the 24 bytes of a header
 * Every length is checked here, before anything is allocated or read.
 */
int frame_unpack_head(struct frame *f, const uint8_t head[FRAME_HEAD_BYTES], struct err *e);

/**
 * frame_unpack_body() - runs from a body of f->body_bytes, data decompressed
 * @data: room for FRAME_PAGES_MAX pages, used when the codec is not NONE
 * @out:  where the data pages are: inside @body or @data
 * Checks: aligned, below 2^56, counts agree, kinds known, no overflow.
 */
int frame_unpack_body(struct frame *f, const uint8_t *body, uint8_t *data, const uint8_t **out,
                      struct err *e);

/**
 * frame_same() - where the bytes of run number @i are, a RUN_SAME of a frame that was unpacked
 * @data: its data pages
 */
const uint8_t *frame_same(const struct frame *f, uint32_t i, const uint8_t *data);

/**
 * frame_send() / frame_recv() - one frame on a channel
 * @data for send: f->data_pages * PAGE_BYTES bytes as iovecs; compressed here when
 * f->codec says so. @buf for recv: FRAME_BODY_MAX + FRAME_PAGES_MAX pages.
 */
int frame_send(struct chan *c, struct frame *f, const struct iovec *data, int n,
               uint64_t deadline_us, struct err *e);
int frame_recv(struct chan *c, struct frame *f, uint8_t *buf, const uint8_t **data,
               uint64_t deadline_us, struct err *e);

#endif
