// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-tracker.c - a child that writes, maps, unmaps, moves and discards pages while
 * the tracker runs; a mirror built from its reports must equal the child's memory.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "engine/engine.h"

#define ROUNDS     40
#define AREA_PAGES 4096
#define SLOTS      (1 << 17)

/* ---- the child ---- */

static volatile uint64_t ticks;

static void *writer(void *arg)
{
	uint8_t *area = arg;
	uint64_t x = (uintptr_t)area | 1;

	for (;;) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		*(volatile uint64_t *)(area + (x >> 33) % AREA_PAGES * 4096 + 8) = x;
		if ((++ticks & 1023) == 0)
			usleep(200);
	}
	return NULL;
}

static void churn(void)
{
	uint8_t *m[16] = { 0 };

	for (uint64_t i = 1;; i++) {
		uint8_t **p = &m[i % 16];
		size_t n = 64 * 4096;

		if (!*p) {
			*p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			          0);
			memset(*p, (int)i, n);
		} else if (i % 5 == 0) {
			madvise(*p, n / 2, MADV_DONTNEED);
			(*p)[0] = (uint8_t)i;
		} else if (i % 5 == 1) {
			mmap(*p, n / 4, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			(*p)[4096] = (uint8_t)i;
		} else if (i % 5 == 2) {
			uint8_t *to = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			*p = mremap(*p, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		} else if (i % 5 == 3) {
			munmap(*p, n);
			*p = NULL;
		} else {
			mprotect(*p, 4096, PROT_NONE);
			mprotect(*p, 4096, PROT_READ | PROT_WRITE);
			(*p)[123] = (uint8_t)i;
		}
		usleep(500);
	}
}

static void child(void)
{
	uint8_t *area[3];

	for (int i = 0; i < 3; i++) {
		pthread_t t;

		area[i] = mmap(NULL, AREA_PAGES * 4096, PROT_READ | PROT_WRITE,
		               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (i == 1)
			madvise(area[i], AREA_PAGES * 4096, MADV_HUGEPAGE);
		memset(area[i], i + 1, AREA_PAGES * 4096);
		pthread_create(&t, NULL, writer, area[i]);
	}
	uint8_t *none = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	                     -1, 0);

	memset(none, 0x5a, 8 * 4096);
	mprotect(none, 8 * 4096, PROT_NONE);
	churn();
}

/* ---- the mirror: address -> last content seen ---- */

struct page {
	uint64_t vaddr;
	uint8_t *data;
	int round; /* in which it was last reported */
};

struct mirror {
	pid_t pid;
	int fd;
	struct page *slot;
	uint64_t reported, present, wrong, twice;
	int round;
	bool check;
	struct page *seen;
};

static struct page *slot_of(struct mirror *m, uint64_t vaddr)
{
	size_t i = (size_t)((vaddr >> 12) * 0x9e3779b97f4a7c15ULL >> 40) % SLOTS;

	while (m->slot[i].vaddr && m->slot[i].vaddr != vaddr)
		i = (i + 1) % SLOTS;
	return &m->slot[i];
}

static int take(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                unsigned int flags)
{
	struct mirror *m = arg;

	(void)pid;
	(void)vma;
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t at = vaddr + i * 4096;
		struct page *p = slot_of(m, at);
		uint8_t now[4096];

		if (flags & TRK_ZERO)
			continue;
		m->reported++;
		if (m->check && !(flags & TRK_DIRTY)) {
			m->present++;
			if (!p->data || mem_read(m->fd, m->pid, at, now, 1) != 1 ||
			    memcmp(p->data, now, 4096)) {
				if (!m->wrong++)
					fprintf(stderr, "clean page %llx differs (%s)\n",
					        (unsigned long long)at,
					        p->data ? "stale" : "never seen");
			}
			continue;
		}
		if (!p->data)
			p->data = malloc(4096);
		p->vaddr = at;
		m->twice += p->round == m->round && !m->check;
		p->round = m->round;
		if (mem_read(m->fd, m->pid, at, p->data, 1) != 1)
			memset(p->data, 0xee, 4096);
	}
	return 0;
}

static char *slurp_maps(pid_t pid)
{
	char path[64], *buf = calloc(1, 1 << 20);

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(buf, 1, (1 << 20) - 1, f) : 0;

	buf[n] = 0;
	if (f)
		fclose(f);
	return buf;
}

static int wait_restart_child(void)
{
	struct timespec t = { 0, 300000000 };
	int pfd[2];
	char c;

	if (pipe(pfd))
		_exit(3);
	alarm(5);
	/* a signal handler with no SA_RESTART would show EINTR; here nothing may show */
	if (nanosleep(&t, NULL) != 0)
		_exit(1);
	if (fork() == 0) {
		usleep(200000);
		_exit(write(pfd[1], "x", 1) != 1);
	}
	if (read(pfd[0], &c, 1) != 1)
		_exit(2);
	wait(NULL);
	_exit(0);
}

static int test_restart(void)
{
	struct err e = ERR_INIT;
	int status, n = 0;
	pid_t pid = fork();

	if (pid == 0)
		wait_restart_child();
	for (int i = 0; i < 100; i++) {
		int fd = -1;

		if (inject_uffd(pid, &fd, &e) == 0)
			n++;
		if (fd >= 0)
			close(fd);
		err_clear(&e);
		usleep(5000);
		if (waitpid(pid, &status, WNOHANG) == pid)
			goto done;
	}
	waitpid(pid, &status, 0);
done:
	printf("restart: %d injections, child status %d\n", n, status);
	return n < 20 || status != 0;
}

static int test_mirror(void)
{
	struct err e = ERR_INIT;
	struct trk *t = NULL;
	struct trk_stats st = { 0 };
	struct mirror m = { 0 };
	uint64_t first_us = 0, stop_us = 0;
	pid_t pid = fork();

	if (pid == 0)
		child();
	usleep(200000);
	m.pid = pid;
	m.fd = mem_open(pid, &e);
	m.slot = calloc(SLOTS, sizeof(*m.slot));
	if (trk_new(&t, pid, TRK_WP_ASYNC, &e) < 0)
		return 1;
	for (int i = 0; i < ROUNDS; i++) {
		m.round = i + 1;
		if (trk_round(t, take, &m, &st, &e) < 0) {
			fprintf(stderr, "round: %s\n", e.msg);
			return 1;
		}
		if (i == 0)
			first_us = st.scan_us;
		if (st.stopped_us > stop_us)
			stop_us = st.stopped_us;
		usleep(20000);
	}
	kill(pid, SIGSTOP);
	usleep(50000);
	m.check = true;
	int r = trk_final(t, take, &m, &st, &e);

	printf("mirror: %llu reported, final %llu clean pages checked, %llu wrong; first round "
	       "%llu "
	       "us, final %llu us, attach %llu us\n",
	       (unsigned long long)m.reported, (unsigned long long)m.present,
	       (unsigned long long)m.wrong, (unsigned long long)first_us,
	       (unsigned long long)st.scan_us, (unsigned long long)stop_us);
	trk_free(t);
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "grep -qE '^VmFlags:.* (um|uw|ui)( |$)' /proc/%d/smaps", pid);
	int left = system(cmd) == 0;

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (m.twice)
		fprintf(stderr, "%llu pages were reported twice in one round\n",
		        (unsigned long long)m.twice);
	return r < 0 || m.wrong || m.twice || m.present < 1000 || left;
}

static int test_as_found(void)
{
	struct err e = ERR_INIT;
	struct trk *t = NULL;
	struct trk_stats st;
	struct mirror m = { .slot = calloc(SLOTS, sizeof(struct page)) };
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	usleep(50000);
	m.pid = pid;
	m.fd = mem_open(pid, &e);
	char *before = slurp_maps(pid);

	trk_new(&t, pid, TRK_WP_ASYNC, &e);
	trk_round(t, take, &m, &st, &e);
	trk_free(t);
	char *after = slurp_maps(pid);
	int r = strcmp(before, after);

	printf("as found: %s\n", r ? "maps differ" : "maps equal");
	if (r)
		fprintf(stderr, "%s---\n%s", before, after);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r != 0;
}

int main(void)
{
	struct err e = ERR_INIT;

	if (geteuid() != 0 || trk_probe(TRK_WP_ASYNC, &e) < 0) {
		printf("skipped: %s\n", e.msg[0] ? e.msg : "needs root");
		return 77;
	}
	return test_restart() | test_as_found() | test_mirror() ? 1 : 0;
}
