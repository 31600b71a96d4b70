// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kin.c - processes that share pages since a fork, copy on write: such a page is sent once, and the frame names the
 * others that have it.
 *
 * Two processes share a page if the same frame of memory is mapped in both at the same address (/proc/PID/pagemap).
 * The kernel gives a process that writes a frame of its own, so what was read from one of them is what the other one
 * has, as long as the frame was the same before the read and after it. What is written later the next scan reports.
 */
#include "hauler/pages/kin.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/page.h"
#include "engine/proc/inner.h"

#define KIN_MAX       16u /* more are not looked at: each costs a read of its page map for each frame */
#define TRIES_MAX     1024u /* frames in vain, then no more in this round */
#define FRAME_BITS    ((1ULL << 55) - 1)
#define FRAME_PRESENT (1ULL << 63)

struct kin {
	struct kin_process v[KIN_MAX];
	size_t n;
	bool many; /* there are several processes, also if none is listed here */
	unsigned int tries; /* frames in which nothing was shared, since something was */
};

static void close_all(struct kin *k)
{
	while (k->n)
		close(k->v[--k->n].pagemap);
}

int kin_new(struct kin **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void kin_set(struct kin *k, const pid_t *pid, size_t n, bool twins)
{
	char path[32];

	close_all(k);
	k->tries = 0;
	k->many = n > 1;
	for (size_t i = 0; twins && n > 1 && i < n && k->n < KIN_MAX; i++) {
		pid_t outer = inner_outer(pid[i]);

		snprintf(path, sizeof(path), "/proc/%d/pagemap", outer);
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd >= 0)
			k->v[k->n++] = (struct kin_process){ pid[i], outer, fd };
	}
}

static size_t place_of(const struct kin *k, pid_t pid)
{
	size_t i = 0;

	while (i < k->n && k->v[i].pid != pid)
		i++;
	return i;
}

bool kin_has(const struct kin *k, pid_t pid)
{
	return k->n > 1 && place_of(k, pid) < k->n;
}

bool kin_many(const struct kin *k)
{
	return k->many;
}

/* The frame of each page; 0: it has none, or we may not know */
static void read_frames(int fd, uint64_t vaddr, size_t pages, uint64_t *out)
{
	ssize_t n = pread(fd, out, pages * 8, (off_t)(vaddr / PAGE_BYTES * 8));

	for (size_t i = 0; i < pages; i++)
		out[i] = n >= (ssize_t)(8 * (i + 1)) && out[i] & FRAME_PRESENT ? out[i] & FRAME_BITS
		                                                               : 0;
}

void kin_frames(const struct kin *k, pid_t pid, uint64_t vaddr, size_t pages, uint64_t *out)
{
	size_t i = place_of(k, pid);

	if (i < k->n)
		read_frames(k->v[i].pagemap, vaddr, pages, out);
	else
		memset(out, 0, pages * sizeof(*out));
}

bool kin_tired(const struct kin *k)
{
	return __atomic_load_n(&k->tries, __ATOMIC_RELAXED) > TRIES_MAX;
}

void kin_found(struct kin *k, bool any)
{
	if (any)
		__atomic_store_n(&k->tries, 0, __ATOMIC_RELAXED);
	else
		__atomic_add_fetch(&k->tries, 1, __ATOMIC_RELAXED);
}

int kin_each(const struct kin *k, pid_t pid, uint64_t vaddr, const uint64_t *frames, size_t pages,
             kin_fn fn, void *arg)
{
	uint64_t theirs[FRAME_PAGES_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < k->n; i++) {
		if (k->v[i].pid == pid)
			continue;
		read_frames(k->v[i].pagemap, vaddr, pages, theirs);
		for (size_t p = 0; r == 0 && p < pages; p++)
			if (frames[p] && theirs[p] == frames[p])
				r = fn(arg, &k->v[i], p);
	}
	return r;
}

void kin_free(struct kin *k)
{
	if (k)
		close_all(k);
	free(k);
}
