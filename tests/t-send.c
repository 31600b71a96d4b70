// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-send.c - what the sender threads do with pages that cannot be read, or that are sent again; and
 * how a limit paces them. The channel counts, and sends nothing.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checks.h"
#include "common/clock.h"
#include "common/page.h"
#include "engine/proc/proc.h"
#include "hauler/pages/send.h"
#include "transport/transport.h"

#define PAGES 8u
#define HOLE  3u /* is unmapped later */
#define OBJ   obj_of_task(child)

static struct err e;
static pid_t child;

/* ---- the channel ---- */

struct chan {
	uint64_t bytes;
};

int chan_write(struct chan *c, const struct iovec *iov, int n, uint64_t deadline_us,
               struct err *why)
{
	(void)deadline_us;
	(void)why;
	for (int i = 0; i < n; i++)
		c->bytes += iov[i].iov_len;
	return 0;
}

int chan_read(struct chan *c, void *buf, size_t bytes, uint64_t deadline_us, struct err *why)
{
	(void)c;
	(void)buf;
	(void)bytes;
	(void)deadline_us;
	return err_set(why, ERR_BUG, EIO, "nobody reads");
}

void chan_cancel(struct chan *c)
{
	(void)c;
}

void chan_silence(struct chan *c, unsigned int ms)
{
	(void)c;
	(void)ms;
}

uint64_t chan_unacked(const struct chan *c)
{
	(void)c;
	return 0;
}

/* ---- a process ---- */

static uint8_t *pages;

static void unmap(int sig)
{
	(void)sig;
	munmap(pages + HOLE * PAGE_BYTES, PAGE_BYTES);
	raise(SIGSTOP);
}

static void start(void)
{
	pages = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	             -1, 0);
	MUST(pages != MAP_FAILED);
	for (unsigned int i = 0; i < PAGES; i++)
		memset(pages + i * PAGE_BYTES, (int)i + 1, PAGE_BYTES);
	signal(SIGUSR1, unmap);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a check that fails ends the test */
		for (;;)
			pause();
	}
	MUST(child > 0);
}

static uint64_t page(unsigned int i)
{
	return (uintptr_t)pages + i * PAGE_BYTES;
}

/* ---- the tests ---- */

static struct sent *sent;
static struct chan wire[2];

/* All pages of the child. Return: what the barrier says; @lost: what send_lost() says */
static int push(enum send_what what, struct send_stats *st, int *lost)
{
	static uint32_t mark;
	struct chan *ch[2] = { &wire[0], &wire[1] };
	AUTO(fd) int fd = mem_open(child, &e);
	struct send *s = NULL;

	MUST_E(fd >= 0 && send_new(&s, ch, 2, sent, &e) == 0, e);
	int r = send_pages(s, what, obj_of_task((uint64_t)child), fd, page(0), PAGES, &e);

	if (r == 0)
		r = send_barrier(s, ++mark, deadline_in_ms(5000), &e);
	send_get_stats(s, st);
	*lost = send_lost(s, &e);
	send_free(s);
	return r;
}

static bool has(unsigned int i)
{
	bool is;

	sent_span(sent, OBJ, page(i), 1, &is);
	return is;
}

/* A page that was forgotten and is as it was costs nothing, and counts as sent again. */
static void forgotten(void)
{
	struct send_stats st;
	int lost;

	MUST_E(push(SEND_CHANGED, &st, &lost) == 0 && st.data_pages == PAGES && lost == 0, e);
	sent_forget(sent, OBJ, page(0), 2);
	MUST(!has(0) && !has(1) && has(2));
	MUST_E(push(SEND_CHANGED, &st, &lost) == 0 && st.data_pages == 0 && st.same_pages == PAGES,
	       e);
	MUST(has(0) && has(1));
}

static void unreadable(void)
{
	struct send_stats st;
	int status, lost;

	MUST(kill(child, SIGUSR1) == 0 && waitpid(child, &status, WUNTRACED) == child);
	/* in a round: an older copy does not count */
	MUST_E(push(SEND_CHANGED, &st, &lost) == 0 && st.gone_pages == 1 && lost == 0, e);
	for (unsigned int i = 0; i < PAGES; i++)
		MUST(has(i) == (i != HOLE));
	/* in the freeze: it ends */
	MUST_E(push(SEND_STANDING, &st, &lost) == -EIO && strstr(e.msg, "cannot be read"), e);
	err_clear(&e);
	/* after the switch-over: all others go, and then it is said */
	MUST_E(push(SEND_ALL, &st, &lost) == 0 && st.data_pages == PAGES - 1, e);
	MUST(lost == -EIO && strstr(e.msg, "cannot be read"));
	err_clear(&e);
}

/* 100 Mbit/s; then under a new limit what went before is not waited for. */
static void paced(void)
{
	struct pace p;
	uint64_t t0 = now_us(), bytes = 0;

	pace_init(&p);
	pace_limit(&p, 12500000, 0);
	while (bytes < 2500000) {
		while (pace_nap(&p, 200000))
			;
		pace_correct(&p, 200000, 100000);
		bytes += 100000;
	}
	uint64_t us = now_us() - t0;

	MUST(us > 150000 && us < 1000000);
	pace_limit(&p, 12500, 0);
	MUST(!pace_nap(&p, 512 << 10) && pace_nap(&p, 1));
	pace_limit(&p, 12500, 0); /* the stop begins */
	MUST(!pace_nap(&p, 1));
	pace_fini(&p);
}

int main(void)
{
	start();
	MUST_E(sent_new(&sent, &e) == 0, e);
	forgotten();
	unreadable();
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	sent_free(sent);
	paced();
	return 0;
}
