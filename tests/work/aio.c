/* SPDX-License-Identifier: GPL-2.0-or-later */
/* aio.c - native AIO past the page cache: requests are always under way; each must be answered, rightly. */
#include "work.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX   256
#define BLOCK_BYTES 65536UL
#define BLOCK_WORDS (BLOCK_BYTES / 8)
#define WAIT_NS     10000000L
#define DRAIN_MS    10000

struct request {
	struct iocb cb;
	uint64_t *block;
	uint64_t number; /* of the block in the file */
	bool writes, out; /* out: under way */
};

static const char *file;
static long mib = 64, depth = 16, write_percent = 30;
static const struct work_opt opts[] = {
	{ "--file", "where the blocks are; made anew", NULL, &file, NULL },
	{ "--mib", "its size (64)", &mib, NULL, NULL },
	{ "--depth", "requests at a time (16)", &depth, NULL, NULL },
	{ "--write-percent", "of the requests (30)", &write_percent, NULL, NULL },
	{ 0 },
};

static struct request requests[DEPTH_MAX];
static struct rnd rnd;
static aio_context_t context;
static int fd;
static long under_way;

static uint64_t word_of(uint64_t number, size_t k)
{
	return rnd_mix(number << 32 ^ k);
}

static void fill(struct request *q)
{
	for (size_t k = 0; k < BLOCK_WORDS; k++)
		q->block[k] = word_of(q->number, k);
}

static void check(const struct request *q)
{
	for (size_t k = 0; k < BLOCK_WORDS; k++)
		if (q->block[k] != word_of(q->number, k)) {
			work_fail("block %lu: word %zu is %lx, not %lx", q->number, k, q->block[k],
			          word_of(q->number, k));
			return;
		}
}

static void submit(struct request *q)
{
	struct iocb *cb = &q->cb;

	q->number = rnd_below(&rnd, (uint64_t)mib * 1048576 / BLOCK_BYTES);
	q->writes = (long)rnd_below(&rnd, 100) < write_percent;
	if (q->writes)
		fill(q);
	else
		memset(q->block, 0xa5, BLOCK_BYTES);
	*cb = (struct iocb){ .aio_data = (uint64_t)(uintptr_t)q,
		             .aio_lio_opcode = q->writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		             .aio_fildes = (uint32_t)fd,
		             .aio_buf = (uint64_t)(uintptr_t)q->block,
		             .aio_nbytes = BLOCK_BYTES,
		             .aio_offset = (int64_t)(q->number * BLOCK_BYTES) };
	if (syscall(SYS_io_submit, context, 1, &cb) != 1)
		work_fail("a request is not taken: %m");
	q->out = true;
	under_way++;
}

static void reap(void)
{
	struct io_event v[DEPTH_MAX];
	struct timespec ts = { 0, WAIT_NS };
	long n = syscall(SYS_io_getevents, context, 1, DEPTH_MAX, v, &ts);

	for (long i = 0; i < n; i++) {
		struct request *q = (void *)(uintptr_t)v[i].data;

		if (!q->out || v[i].res != (int64_t)BLOCK_BYTES)
			work_fail("block %lu: answered with %ld", q->number, (long)v[i].res);
		else if (!q->writes)
			check(q);
		q->out = false;
		under_way--;
	}
	work_count(n > 0 ? (uint64_t)n : 0);
}

/* Those that were under way when it moved are answered, too. */
static void verify(struct report *r)
{
	int64_t end_us = work_now_us() + DRAIN_MS * 1000;

	while (under_way && work_now_us() < end_us)
		reap();
	if (under_way)
		rep_error(r, "%ld requests are never answered", under_way);
	r->checked_pages = (uint64_t)depth * BLOCK_BYTES / PAGE_BYTES;
}

static void turn(void)
{
	for (long i = 0; i < depth && work_may_write(); i++)
		if (!requests[i].out)
			submit(&requests[i]);
	if (under_way)
		reap();
	else
		work_nap_us(1000);
}

static void set_up(void)
{
	unsigned char *base = work_map((size_t)depth * BLOCK_BYTES / PAGE_BYTES);

	for (long i = 0; i < depth; i++)
		requests[i].block = (uint64_t *)(base + (size_t)i * BLOCK_BYTES);
	fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0666);
	if (fd < 0)
		work_die("%s: %m", file);
	for (uint64_t b = 0; b < (uint64_t)mib * 1048576 / BLOCK_BYTES; b++) {
		requests[0].number = b;
		fill(&requests[0]);
		if (pwrite(fd, requests[0].block, BLOCK_BYTES, (off_t)(b * BLOCK_BYTES)) !=
		    (ssize_t)BLOCK_BYTES)
			work_die("%s: %m", file);
	}
	if (syscall(SYS_io_setup, depth, &context) < 0)
		work_die("io_setup: %m");
}

int main(int argc, char **argv)
{
	work_start(argc, argv, opts);
	if (!file || mib < 1 || depth < 1 || depth > DEPTH_MAX)
		work_die("an option is missing or out of range");
	set_up();
	work_ready();
	while (work_poll(verify))
		turn();
	return 0;
}
