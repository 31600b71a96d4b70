// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-sink.c - CRIU's page stream in both header layouts: the pages of a good one;
 * one cut at every byte and hostile ones end with a clear error, and CRIU is told.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "engine/criu/sink.h"
#include "engine/images/class_runs.h"
#include "tests/checks.h"

#define TASK(id)     ((uint64_t)(id) << 8 | 1)
#define SHMEM(id)    ((uint64_t)(id) << 8 | 2)
#define STREAM_BYTES (1u << 20)

/* Commands of CRIU's page server, as numbers on the wire. */
enum { ADD = 1, OPEN = 3, OPEN2 = 4, PARENT = 5, ADD_F = 6, CLOSE = 0x1023 };

/* ---- a stream, made here ---- */

struct stream {
	unsigned int version;
	uint8_t *bytes;
	size_t n;
	size_t answer_bytes;
};

static void put(struct stream *s, const void *p, size_t n)
{
	MUST(s->n + n <= STREAM_BYTES);
	memcpy(s->bytes + s->n, p, n);
	s->n += n;
}

static void head(struct stream *s, unsigned int cmd, unsigned int flags, uint64_t obj,
                 uint64_t vaddr, uint64_t pages)
{
	uint32_t word = cmd | flags << 16, pages32 = (uint32_t)pages, zero = 0;

	put(s, &word, 4);
	if (s->version >= 40200) {
		put(s, &zero, 4);
		put(s, &pages, 8);
	} else {
		put(s, &pages32, 4);
	}
	put(s, &vaddr, 8);
	put(s, &obj, 8);
	s->answer_bytes += cmd == OPEN2 ? 1 : cmd == PARENT || cmd == CLOSE ? 4 : 0;
}

static void data(struct stream *s, uint8_t fill, size_t pages)
{
	uint8_t page[4096];

	for (size_t i = 0; i < pages; i++) {
		memset(page, fill + (int)i, sizeof(page));
		put(s, page, sizeof(page));
	}
}

/* ---- our side of the socketpair plays CRIU ---- */

struct feed {
	struct stream *s;
	int fd;
	size_t answered;
};

static void *feed_main(void *arg)
{
	struct feed *f = arg;

	for (size_t at = 0; at < f->s->n;) {
		ssize_t n = send(f->fd, f->s->bytes + at, f->s->n - at, MSG_NOSIGNAL);

		if (n < 0)
			break; /* it hung up, as it should on what it refuses */
		at += (size_t)n;
	}
	shutdown(f->fd, SHUT_WR);
	return NULL;
}

struct seen {
	uint64_t obj, pages, sum;
	int refuse; /* -errno to answer with */
};

static int on_shmem(void *arg, uint64_t obj, uint64_t vaddr, const void *p, size_t pages)
{
	struct seen *seen = arg;

	seen->obj = obj;
	seen->pages += pages;
	for (size_t i = 0; i < pages; i++)
		seen->sum += ((const uint8_t *)p)[i * 4096 + 4095] * (vaddr / 4096 + i);
	return seen->refuse;
}

/* Run a stream through a sink. Return: what sink_wait() says */
static int run(struct stream *s, struct seen *seen, struct sink **out, struct err *e)
{
	struct sink_ops ops = { .shmem = on_shmem, .arg = seen };
	struct sink *sink = NULL;
	struct feed f = { .s = s };
	pthread_t t;
	char buf[64];
	int sk[2];

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sk) == 0);
	f.fd = sk[0];
	MUST(sink_start(&sink, sk[1], s->version, &ops, e) == 0);
	MUST(pthread_create(&t, NULL, feed_main, &f) == 0);
	int r = sink_wait(sink, DEADLINE_NEVER, e);

	pthread_join(t, NULL);
	for (ssize_t n; (n = recv(f.fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0;)
		f.answered += (size_t)n;
	MUST(r < 0 || f.answered == s->answer_bytes);
	/* at a failure the other end must see it: CRIU gives up the dump then */
	if (r < 0)
		MUST(recv(f.fd, buf, 1, 0) <= 0);
	close(f.fd);
	if (out)
		*out = sink;
	else
		sink_free(sink);
	return r;
}

static void begin(struct stream *s, unsigned int version)
{
	s->version = version;
	s->n = s->answer_bytes = 0;
}

/* ---- what goes in comes out ---- */

static void good_stream(struct stream *s)
{
	head(s, OPEN2, 0, TASK(7), 0, 0);
	head(s, PARENT, 0, TASK(7), 0, 0);
	head(s, ADD_F, PE_PRESENT | PE_LAZY, TASK(7), 0x10000, 2);
	data(s, 1, 2);
	head(s, ADD_F, PE_PRESENT | PE_LAZY, TASK(7), 0x12000, 1);
	data(s, 3, 1);
	head(s, ADD_F, PE_PRESENT, TASK(7), 0x7fff00000000, 1);
	data(s, 4, 1);
	head(s, OPEN2, 0, SHMEM(9), 0, 0);
	head(s, ADD_F, PE_PRESENT, SHMEM(9), 0x3000, 70);
	data(s, 5, 70);
	head(s, ADD, 0, TASK(7), 0x20000, 1);
	data(s, 6, 1);
	head(s, CLOSE, 0, 0, 0, 0);
}

static void check_good(struct stream *s, unsigned int version)
{
	struct err e = ERR_INIT;
	struct seen seen = { 0 };
	struct sink *sink = NULL;
	uint64_t sum = 0;
	size_t n;

	begin(s, version);
	good_stream(s);
	MUST(run(s, &seen, &sink, &e) == 0);
	const struct sink_obj *o = sink_objs(sink, &n);

	MUST(n == 2 && o[0].obj == TASK(7) && o[1].obj == SHMEM(9));
	MUST(o[0].lazy.n == 1 && o[0].lazy.pages == 3 && o[0].lazy.v[0].vaddr == 0x10000);
	MUST(o[0].eager.n == 2 && o[0].eager.pages == 2);
	MUST(o[0].eager.v[0].vaddr == 0x7fff00000000 && o[0].eager.v[1].vaddr == 0x20000);
	MUST(o[1].lazy.n == 0 && o[1].eager.n == 1 && o[1].eager.pages == 70);
	for (unsigned int i = 0; i < 70; i++)
		sum += (5 + i) * (3 + i);
	MUST(seen.obj == SHMEM(9) && seen.pages == 70 && seen.sum == sum);
	sink_free(sink);
}

/* CRIU may die at any byte. */
static void check_cut(struct stream *s, unsigned int version)
{
	size_t head_bytes = sink_head_bytes(version), cuts = 0;

	begin(s, version);
	good_stream(s);
	for (size_t whole = s->n, at = 0; at < whole; at += at % 4096 < 300 ? 1 : 517) {
		struct err e = ERR_INIT;
		struct seen seen = { 0 };

		s->n = at;
		MUST(run(s, &seen, NULL, &e) == -EPIPE);
		MUST(e.src == ERR_CRIU && strstr(e.msg, "broke off"));
		cuts++;
		s->n = whole;
	}
	printf("layout of %zu bytes: good, and cut at %zu places\n", head_bytes, cuts);
}

/* ---- hostile streams ---- */

struct hostile {
	const char *what, *word;
	unsigned int cmd, flags;
	uint64_t obj, vaddr, pages;
	bool wide_only; /* the number does not fit the older layout */
};

static const struct hostile hostile[] = {
	{ "an unknown command", "unknown command 99", 99, 0, TASK(7), 0, 1, false },
	{ "the command of old servers", "unknown command 3", OPEN, 0, TASK(7), 0, 0, false },
	{ "a wrong magic", "unknown command", 0x4319, 0x5456, TASK(7), 0, 0, false },
	{ "no pages", "bad page run", ADD_F, PE_LAZY, TASK(7), 0x1000, 0, false },
	{ "an address inside a page", "bad page run", ADD_F, PE_LAZY, TASK(7), 0x1008, 1, false },
	{ "2^52 pages", "bad page run", ADD_F, PE_LAZY, TASK(7), 0x1000, 1ULL << 52, true },
	{ "2^64 - 1 pages", "bad page run", ADD, 0, TASK(7), 0x1000, UINT64_MAX, true },
	{ "shared memory of 2^63 pages", "bad page run", ADD_F, 4, SHMEM(8), 0, 1ULL << 63, true },
	{ "a run beyond the end", "bad page run", ADD_F, 4, TASK(7), -4096ULL, 2, false },
	{ "an object that was not opened", "unopened", ADD_F, 4, TASK(6), 0x1000, 1, false },
	{ "2^32 - 1 pages, no data", "broke off", ADD_F, 2, TASK(7), 0x1000, UINT32_MAX, false },
	{ "shared memory of 16 TiB, no data", "broke off", ADD_F, 4, SHMEM(8), 0, UINT32_MAX,
	  false },
};

static void check_hostile(struct stream *s, unsigned int version)
{
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		const struct hostile *h = &hostile[i];
		struct err e = ERR_INIT;
		struct seen seen = { 0 };

		if (h->wide_only && version < 40200)
			continue;
		begin(s, version);
		head(s, OPEN2, 0, TASK(7), 0, 0);
		head(s, OPEN2, 0, SHMEM(8), 0, 0);
		head(s, h->cmd, h->flags, h->obj, h->vaddr, h->pages);
		int r = run(s, &seen, NULL, &e);

		if (r >= 0 || e.src != ERR_CRIU || !strstr(e.msg, h->word)) {
			fprintf(stderr, "%s: %d, \"%s\"\n", h->what, r, e.msg);
			exit(1);
		}
	}
}

/* Read by the other version's layout it must end, one way or the other: with an error. */
static void check_mistaken(struct stream *s)
{
	static const unsigned int versions[2] = { 40101, 40201 };

	for (int i = 0; i < 2; i++) {
		struct err e = ERR_INIT;
		struct seen seen = { 0 };

		begin(s, versions[i]);
		good_stream(s);
		s->version = versions[!i];
		MUST(run(s, &seen, NULL, &e) < 0 && e.msg[0]);
	}
}

/* The store is full: the reason must come through, and CRIU must be told. */
static void check_refused(struct stream *s)
{
	struct err e = ERR_INIT;
	struct seen seen = { .refuse = -ENOSPC };

	begin(s, 40201);
	good_stream(s);
	MUST(run(s, &seen, NULL, &e) == -ENOSPC && strstr(e.msg, "No space"));
}

static void check_layout(void)
{
	struct sink_head h;
	uint8_t raw[32];

	for (int i = 0; i < 32; i++)
		raw[i] = (uint8_t)(i + 1);
	MUST(sink_head_bytes(31700) == 24 && sink_head_bytes(40101) == 24);
	MUST(sink_head_bytes(40200) == 32 && sink_head_bytes(40201) == 32);
	sink_head_parse(raw, 40101, &h);
	MUST(h.cmd == 0x0201 && h.flags == 0x0403 && h.pages == 0x08070605);
	MUST(h.vaddr == 0x100f0e0d0c0b0a09 && h.obj == 0x1817161514131211);
	sink_head_parse(raw, 40200, &h);
	MUST(h.cmd == 0x0201 && h.flags == 0x0403 && h.pages == 0x100f0e0d0c0b0a09);
	MUST(h.vaddr == 0x1817161514131211 && h.obj == 0x201f1e1d1c1b1a19);
}

int main(void)
{
	struct stream s = { .bytes = malloc(STREAM_BYTES) };
	static const unsigned int versions[] = { 40101, 40200, 40201 };

	MUST(s.bytes);
	alarm(600); /* a sink that hangs is a failure too; in an emulated machine it takes 100 s */
	check_layout();
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		check_good(&s, versions[i]);
		check_cut(&s, versions[i]);
		check_hostile(&s, versions[i]);
	}
	check_mistaken(&s);
	check_refused(&s);
	free(s.bytes);
	return 0;
}
