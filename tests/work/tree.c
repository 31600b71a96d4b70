// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tree.c - a ring of seven processes (root, three children, three grandchildren),
 * joined by pipes and socket pairs of all types; numbered tokens go round; each
 * process has stamped memory of its own and some that it inherited.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/work/work.h"

#define RING	   7
#define TOKENS	   5
#define OWN_PAGES  512
#define HERITAGE   256

struct token {
	uint64_t id, hops, check;
	char fill[104];
};

static int in_fd[RING], out_fd[RING];
static uint8_t *heritage, *own;
static uint32_t gen[OWN_PAGES];
static uint32_t old_gen[HERITAGE];

static uint64_t sum(const struct token *t)
{
	uint64_t s = t->id * 31 + t->hops * 1000003;

	for (size_t i = 0; i < sizeof(t->fill); i++)
		s = s * 131 + (uint8_t)t->fill[i];
	return s;
}

static void make_link(int k, int fd[2])
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };

	if (k % 2 ? socketpair(AF_UNIX, types[k / 2 % 3], 0, fd) : pipe(fd))
		exit(1);
	if (k % 2) {	/* written end second, as with pipes */
		int t = fd[0];

		fd[0] = fd[1];
		fd[1] = t;
	}
}

static void read_all(int fd, void *buf, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = read(fd, (char *)buf + got, n - got);

		if (r <= 0)
			work_failed("read: %zd", r);
		got += (size_t)r;
	}
}

static void touch_memory(int k, uint64_t *x)
{
	size_t p = next_random(x) % OWN_PAGES, q = next_random(x) % HERITAGE;
	uint64_t id = (uint64_t)k + 10;

	if (!stamp_ok(own + p * PAGE, id, p, gen[p]))
		work_failed("process %d own page %zu", k, p);
	stamp_put(own + p * PAGE, id, p, ++gen[p]);
	/* written only now and then: most of it stays shared by copy-on-write */
	if (!stamp_ok(heritage + q * PAGE, 7, q, old_gen[q]))
		work_failed("process %d inherited page %zu", k, q);
	if (next_random(x) % 64 == 0)
		stamp_put(heritage + q * PAGE, 7, q, ++old_gen[q]);
}

static void pass(int k, uint64_t *last_hops)
{
	struct token t;

	read_all(in_fd[k], &t, sizeof(t));
	if (t.check != sum(&t) || t.id >= TOKENS)
		work_failed("process %d: token damaged", k);
	if (t.hops <= last_hops[t.id] && last_hops[t.id])
		work_failed("process %d: token %d came twice or late", k, (int)t.id);
	last_hops[t.id] = t.hops++;
	t.check = sum(&t);
	if (write(out_fd[k], &t, sizeof(t)) != sizeof(t))
		work_failed("process %d: write", k);
}

static void setup_own(int k)
{
	own = mmap(NULL, OWN_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	for (size_t i = 0; i < OWN_PAGES; i++)
		stamp_put(own + i * PAGE, (uint64_t)k + 10, i, 0);
}

static void member(int k)
{
	uint64_t last[TOKENS] = { 0 }, x = (uint64_t)k + 12345;

	signal(SIGUSR1, SIG_IGN);
	setup_own(k);
	for (;;) {
		pass(k, last);
		touch_memory(k, &x);
		usleep(300);
	}
}

/* Every token must come by with more hops than before; the memory must be right. */
static void root(void)
{
	uint64_t last[TOKENS] = { 0 }, x = 777, passed = 0;

	for (;;) {
		pass(0, last);
		touch_memory(0, &x);
		passed++;
		if (!work_wanted())
			continue;
		uint64_t before[TOKENS], bad = 0;

		memcpy(before, last, sizeof(before));
		for (int i = 0; i < 2 * TOKENS; i++)
			pass(0, last);
		for (int i = 0; i < TOKENS; i++)
			bad += last[i] <= before[i];
		for (size_t i = 0; i < OWN_PAGES; i++)
			bad += !stamp_ok(own + i * PAGE, 10, i, gen[i]);
		work_report(bad == 0, "\"bad\": %llu, \"passed\": %llu", (unsigned long long)bad,
			    (unsigned long long)passed);
	}
}

int main(int argc, char **argv)
{
	work_init(argc, argv);
	heritage = mmap(NULL, HERITAGE * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	for (size_t i = 0; i < HERITAGE; i++)
		stamp_put(heritage + i * PAGE, 7, i, 0);
	for (int k = 0; k < RING; k++) {
		int fd[2];

		make_link(k, fd);
		out_fd[k] = fd[1];
		in_fd[(k + 1) % RING] = fd[0];
	}
	for (int k = 1; k <= 3; k++) {
		if (fork() == 0) {
			if (fork() == 0)
				member(k + 3);
			member(k);
		}
	}
	setup_own(0);
	usleep(100000);
	for (uint64_t i = 0; i < TOKENS; i++) {
		struct token t = { .id = i };

		memset(t.fill, 'a' + (int)i, sizeof(t.fill));
		t.check = sum(&t);
		if (write(out_fd[0], &t, sizeof(t)) != sizeof(t))
			return 1;
	}
	work_ready();
	root();
}
