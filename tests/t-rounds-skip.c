// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-rounds-skip.c - what a round leaves out, since a look found it written again, counts as not
 * sent: the next scan need not find it written any more (soft-dirty, and swap). And a tree may have
 * many processes.
 */
#include <signal.h>
#include <sys/wait.h>

#define send_pages noted_pages
#include "common/page.h"
#include "tests/checks.h"
#include "hauler/run/rounds.c" /* NOLINT */
#undef send_pages

#define OBJ   obj_of_task(4711)
#define BASE  0x7f0000100000ULL
#define PAGES 16u

static bool queued[PAGES];

static uint64_t page(unsigned int i)
{
	return BASE + i * PAGE_BYTES;
}

int noted_pages(struct send *s, enum send_what what, uint64_t obj, int memfd, uint64_t vaddr,
                uint64_t pages, struct err *e)
{
	(void)s;
	(void)memfd;
	(void)e;
	MUST(what == SEND_CHANGED && obj == OBJ && vaddr >= BASE);
	for (uint64_t i = (vaddr - BASE) / PAGE_BYTES; pages--; i++) {
		MUST(i < PAGES && !queued[i]);
		queued[i] = true;
	}
	return 0;
}

/* Of the list, 2 to 13, these were written again: 0 to 3, 6, 12 to 15. */
static bool is_again(unsigned int i)
{
	return i < 4 || i == 6 || i >= 12;
}

/* 600 processes have their memory open at once. */
static void many(struct mig *m)
{
	static pid_t child[600];
	struct err e = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(child); i++)
		if ((child[i] = fork()) == 0)
			for (;;)
				pause();
	for (size_t i = 0; i < ARRAY_SIZE(child); i++)
		MUST(child[i] > 0 && memfd_get(m, child[i], &e) >= 0);
	MUST(m->pages.n_mem == ARRAY_SIZE(child) &&
	     memfd_get(m, child[0], &e) == m->pages.mem[0].fd &&
	     m->pages.n_mem == ARRAY_SIZE(child));
	memfd_close_all(m);
	for (size_t i = 0; i < ARRAY_SIZE(child); i++)
		kill(child[i], SIGKILL);
	while (wait(NULL) > 0)
		;
}

int main(void)
{
	static struct mig m;
	struct round r = { .m = &m };
	struct err e = ERR_INIT;

	MUST(sent_new(&m.pages.sent, &e) == 0);
	for (unsigned int i = 0; i < PAGES; i++) {
		sent_same(m.pages.sent, OBJ, page(i), (struct sent_hash){ 1, i });
		if (is_again(i))
			MUST(page_list_add(&r.again, OBJ, page(i), 1) == 0);
	}
	MUST(send_run(&r, OBJ, -1, page(2), 12, &e) == 0);
	for (unsigned int i = 0; i < PAGES; i++) {
		bool listed = i >= 2 && i < 14, has;

		sent_span(m.pages.sent, OBJ, page(i), 1, &has);
		MUST(queued[i] == (listed && !is_again(i)));
		MUST(has == !(listed && is_again(i)));
	}
	MUST(r.queued_pages == 7 && r.done_pages == 12);
	page_list_fini(&r.again);
	sent_free(m.pages.sent);
	many(&m);
	return 0;
}
