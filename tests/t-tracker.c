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
#include "engine/proc/proc.h"
#include "engine/tracker/tracker.h"

#define AREA_PAGES 4096
#define CALM_PAGES 4096
#define SLOTS      (1 << 17)
#define HUGE_BYTES (2u << 20)
#define PAGES_HUGE (HUGE_BYTES / 4096)

static enum tracker_kind kind;
static int n_rounds = 40;

/* ---- the child ---- */

static uint64_t ticks; /* of several threads; atomic */

static void *writer(void *arg)
{
	uint8_t *area = arg;
	uint64_t x = (uintptr_t)area | 1;

	for (;;) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		*(volatile uint64_t *)(area + (x >> 33) % AREA_PAGES * 4096 + 8) = x;
		if ((__atomic_add_fetch(&ticks, 1, __ATOMIC_RELAXED) & 1023) == 0)
			usleep(200);
	}
	return NULL;
}

/* At a multiple of 2 MiB, where the kernel moves whole page tables. */
static uint8_t *aligned(size_t bytes, int advice)
{
	uint8_t *p = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	p = (uint8_t *)(((uintptr_t)p + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1));
	mprotect(p, bytes, PROT_READ | PROT_WRITE);
	madvise(p, bytes, advice);
	return p;
}

/* Memory that is moved onto other memory, which is replaced where it came from. */
static void shove(uint8_t *to[2], uint64_t i, int advice)
{
	uint8_t *from = to[i % 2], *onto = to[(i + 1) % 2];

	if (mremap(from, HUGE_BYTES, HUGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, onto) != onto)
		_exit(5);
	mmap(from, HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
	     0);
	madvise(from, HUGE_BYTES, advice);
	memset(from, (int)i, HUGE_BYTES);
}

static void churn(void)
{
	uint8_t *m[16] = { 0 }, *small[2], *huge[2];
	/* most of it is clean at the end, on a slow machine as well */
	uint8_t *calm = aligned(CALM_PAGES * 4096, MADV_NOHUGEPAGE);

	memset(calm, 0x30, CALM_PAGES * 4096);
	for (int k = 0; k < 2; k++) {
		memset(small[k] = aligned(HUGE_BYTES, MADV_NOHUGEPAGE), 0x40 + k, HUGE_BYTES);
		memset(huge[k] = aligned(HUGE_BYTES, MADV_HUGEPAGE), 0x50 + k, HUGE_BYTES);
	}

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
		if (i % 8 == 0)
			calm[i / 8 % CALM_PAGES * 4096 + i % 4096] ^= 1;
		if (i % 61 == 0)
			shove(small, i / 61, MADV_NOHUGEPAGE);
		if (i % 67 == 0)
			shove(huge, i / 67, MADV_HUGEPAGE);
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
	uint8_t *data; /* NULL: not read, or something else in its place */
	int round; /* in which it was last reported */
};

struct mirror {
	pid_t pid;
	int fd;
	struct page *slot;
	uint64_t reported, present, wrong, twice, strayed;
	struct tracker *trk;
	int places;
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

/* As a sender does. */
static void read_page(struct mirror *m, struct page *p)
{
	bool strayed = false;

	tracker_strayed(m->trk, m->pid, m->places, p->vaddr, 1, &strayed);
	if (mem_read(m->fd, m->pid, p->vaddr, p->data, 1) != 1)
		memset(p->data, 0xee, 4096);
	tracker_strayed(m->trk, m->pid, m->places, p->vaddr, 1, &strayed);
	if (strayed) {
		free(p->data);
		p->data = NULL;
	}
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

		if (flags & TRACKER_ZERO)
			continue;
		m->reported++;
		if (m->check && !(flags & TRACKER_DIRTY)) {
			m->present++;
			if (!p->data && p->round)
				m->strayed++;
			else if (!p->data || mem_read(m->fd, m->pid, at, now, 1) != 1 ||
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
		read_page(m, p);
	}
	return 0;
}

static void mirror_fini(struct mirror *m)
{
	for (size_t i = 0; i < SLOTS; i++)
		free(m->slot[i].data);
	free(m->slot);
	close(m->fd);
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

static volatile int *enough;

static int restart_cycle(void)
{
	struct timespec t = { 0, 300000000 };
	int pfd[2];
	char c;

	if (pipe(pfd))
		return 3;
	/* a signal handler with no SA_RESTART would show EINTR; here nothing may show */
	if (nanosleep(&t, NULL) != 0)
		return 1;
	if (fork() == 0) {
		usleep(200000);
		_exit(write(pfd[1], "x", 1) != 1);
	}
	if (read(pfd[0], &c, 1) != 1)
		return 2;
	wait(NULL);
	close(pfd[0]);
	close(pfd[1]);
	return 0;
}

static void restart_child(void)
{
	int r = 0;

	alarm(120);
	while (r == 0 && !*enough)
		r = restart_cycle();
	_exit(r);
}

static int test_restart(void)
{
	struct err e = ERR_INIT;
	int status = 0, n = 0;

	enough = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();

	if (pid == 0)
		restart_child();
	for (int i = 0; i < 1000 && !*enough; i++) {
		int fd = -1;

		if (inject_uffd(pid, &fd, &e) == 0)
			n++;
		if (fd >= 0)
			close(fd);
		err_clear(&e);
		usleep(5000);
		*enough = n >= 40;
	}
	*enough = 1;
	waitpid(pid, &status, 0);
	printf("restart: %d injections, child status %d\n", n, status);
	return n < 40 || status != 0;
}

#define TOO_FEW 2 /* clean pages at the end, to show anything */

static int test_mirror(void)
{
	struct err e = ERR_INIT;
	struct tracker *t = NULL;
	struct tracker_stats st = { 0 };
	struct mirror m = { .places = -1 };
	uint64_t first_us = 0, stop_us = 0;
	pid_t pid = fork();

	if (pid == 0)
		child();
	usleep(200000);
	m.pid = pid;
	m.fd = mem_open(pid, &e);
	m.slot = calloc(SLOTS, sizeof(*m.slot));
	if (tracker_new(&t, pid, kind, &e) < 0)
		return 1;
	m.trk = t;
	m.places = tracker_places(t, pid);
	for (int i = 0; i < n_rounds; i++) {
		m.round = i + 1;
		if (tracker_round(t, take, &m, &st, &e) < 0) {
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
	int r = tracker_final(t, take, &m, &st, &e);

	printf("mirror: %llu reported, final %llu clean pages checked, %llu wrong, %llu strayed; "
	       "first round %llu us, final %llu us, attach %llu us\n",
	       (unsigned long long)m.reported, (unsigned long long)m.present,
	       (unsigned long long)m.wrong, (unsigned long long)m.strayed,
	       (unsigned long long)first_us, (unsigned long long)st.scan_us,
	       (unsigned long long)stop_us);
	tracker_free(t);
	if (m.places >= 0)
		close(m.places);
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "grep -qE '^VmFlags:.* (um|uw|ui)( |$)' /proc/%d/smaps", pid);
	int left = system(cmd) == 0;

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (m.twice)
		fprintf(stderr, "%llu pages were reported twice in one round\n",
		        (unsigned long long)m.twice);
	mirror_fini(&m);
	if (r < 0 || m.wrong || m.twice || left)
		return 1;
	return m.present < 1000 + m.strayed ? TOO_FEW : 0;
}

static int test_as_found(void)
{
	struct err e = ERR_INIT;
	struct tracker *t = NULL;
	struct tracker_stats st;
	struct mirror m = { .places = -1, .slot = calloc(SLOTS, sizeof(struct page)) };
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	usleep(50000);
	m.pid = pid;
	m.fd = mem_open(pid, &e);
	char *before = slurp_maps(pid);

	tracker_new(&t, pid, kind, &e);
	tracker_round(t, take, &m, &st, &e);
	tracker_free(t);
	char *after = slurp_maps(pid);
	int r = strcmp(before, after);

	printf("as found: %s\n", r ? "maps differ" : "maps equal");
	if (r)
		fprintf(stderr, "%s---\n%s", before, after);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	free(before);
	free(after);
	mirror_fini(&m);
	return r != 0;
}

/* ---- children, huge pages ---- */

/* Pages of one process in one range that a round reports. */
struct part {
	pid_t pid;
	uint64_t start, end, pages;
};

static int in_part(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                   unsigned int flags)
{
	struct part *p = arg;
	uint64_t end = vaddr + pages * 4096;

	(void)vma;
	(void)flags;
	vaddr = vaddr < p->start ? p->start : vaddr;
	end = end > p->end ? p->end : end;
	if (pid == p->pid && end > vaddr)
		p->pages += (end - vaddr) / 4096;
	return 0;
}

static uint64_t round_of(struct tracker *t, struct part *p)
{
	struct tracker_stats st;
	struct err e = ERR_INIT;

	p->pages = 0;
	if (tracker_round(t, in_part, p, &st, &e) < 0)
		fprintf(stderr, "round: %s\n", e.msg);
	return p->pages;
}

/* Answers a byte on @ask by what it does to its memory, then a byte on @done. */
static void obey(uint8_t *area, int ask, int done)
{
	char c;

	while (read(ask, &c, 1) == 1) {
		if (c == 'w')
			area[5 * 4096]++;
		if (c == 'f' && fork() == 0)
			for (;;)
				pause();
		if (write(done, &c, 1) != 1)
			break;
	}
	_exit(0);
}

struct servant {
	pid_t pid;
	int ask, done;
	uint8_t *area;
};

static struct servant servant(int advice)
{
	int ask[2], done[2];
	struct servant s = { .area = aligned(4 * HUGE_BYTES, advice) };

	if (pipe(ask) < 0 || pipe(done) < 0)
		exit(3);
	s.pid = fork();
	if (s.pid == 0) {
		memset(s.area, 7, 4 * HUGE_BYTES);
		obey(s.area, ask[0], done[1]);
	}
	s.ask = ask[1];
	s.done = done[0];
	close(ask[0]);
	close(done[1]);
	return s;
}

static void tell(const struct servant *s, char what)
{
	if (write(s->ask, &what, 1) != 1 || read(s->done, &what, 1) != 1)
		fprintf(stderr, "the servant has gone\n");
}

static void dismiss(struct servant *s)
{
	close(s->ask);
	close(s->done);
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	munmap(s->area, 4 * HUGE_BYTES);
}

static bool has_huge(const struct servant *s)
{
	char path[40], line[256];
	unsigned long start, stop, kib;
	bool here = false, yes = false;

	snprintf(path, sizeof(path), "/proc/%d/smaps", s->pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &stop) == 2)
			here = start == (uintptr_t)s->area;
		if (here && sscanf(line, "AnonHugePages: %lu", &kib) == 1)
			yes |= kib > 0;
	}
	return yes;
}

/* What one written page costs: that page, but all of a huge page under soft-dirty. */
static int test_one_page(int advice)
{
	struct servant s = servant(advice);
	struct part p = { s.pid, (uintptr_t)s.area, (uintptr_t)s.area + 4 * HUGE_BYTES, 0 };
	struct err e = ERR_INIT;
	AUTO(tracker) struct tracker *t = NULL;
	uint64_t want = 1;

	tell(&s, '-');
	bool huge = has_huge(&s);

	if (huge && kind == TRACKER_SOFT_DIRTY)
		want = PAGES_HUGE;
	tracker_new(&t, s.pid, kind, &e);
	uint64_t first = round_of(t, &p), idle = round_of(t, &p);

	tell(&s, 'w');
	uint64_t written = round_of(t, &p);

	printf("one page, %s: first %llu, idle %llu, after one write %llu\n",
	       huge ? "huge pages" : "small pages", (unsigned long long)first,
	       (unsigned long long)idle, (unsigned long long)written);
	dismiss(&s);
	return first != 4 * PAGES_HUGE || idle != 0 || written != want;
}

/* A child has the marks of its parent, but nobody has its pages. */
static int test_child(void)
{
	struct servant s = servant(MADV_NOHUGEPAGE);
	struct part p = { s.pid, (uintptr_t)s.area, (uintptr_t)s.area + 4 * HUGE_BYTES, 0 };
	struct proc_list l = { 0 };
	struct err e = ERR_INIT;
	AUTO(tracker) struct tracker *t = NULL;

	tell(&s, '-');
	tracker_new(&t, s.pid, kind, &e);
	uint64_t parent = round_of(t, &p);

	tell(&s, 'f');
	if (procs_tree(s.pid, &l, &e) < 0 || l.n != 2)
		return 1;
	p.pid = l.pid[1];
	uint64_t child = round_of(t, &p), again = round_of(t, &p);

	printf("child: parent %llu, child %llu, again %llu\n", (unsigned long long)parent,
	       (unsigned long long)child, (unsigned long long)again);
	kill(l.pid[1], SIGKILL);
	procs_fini(&l);
	dismiss(&s);
	return parent != 4 * PAGES_HUGE || child != parent || again != 0;
}

static int all(void)
{
	printf("%s\n", tracker_kind_name(kind));
	int r = TOO_FEW;

	/* on a busy machine the program may have written everything since the last round */
	for (int n = 0; n < 10 && r == TOO_FEW; n++)
		r = test_mirror();
	return r | test_as_found() | test_child() | test_one_page(MADV_NOHUGEPAGE) |
	       test_one_page(MADV_HUGEPAGE);
}

/* t-tracker [ROUNDS]: fewer on a slow machine */
int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	int r = 0;

	if (argc > 1)
		n_rounds = atoi(argv[1]);
	setbuf(stdout, NULL);
	if (geteuid() != 0 || tracker_best() == TRACKER_NONE) {
		printf("skipped: needs root and a tracker\n");
		return 77;
	}
	r = test_restart();
	for (kind = TRACKER_WP_ASYNC; kind <= TRACKER_SOFT_DIRTY; kind++) {
		if (tracker_probe(kind, &e) < 0)
			printf("%s: not on this kernel: %s\n", tracker_kind_name(kind), e.msg);
		else
			r |= all();
		err_clear(&e);
	}
	return r ? 1 : 0;
}
