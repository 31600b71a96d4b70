// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-pager-kernel.c - the rules of userfaultfd that the pager relies on, asked of this
 * kernel; facts that it does not rely on are only printed.
 */
#include "tests/pager-lab.h"

#include <poll.h>

#define N 64u /* pages */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

struct pair {
	uint8_t *m; /* N pages in the task, same address here */
	int uffd, sk;
	pid_t pid;
};

static uint8_t src[N * PG] __attribute__((aligned(4096)));

/* A task with N registered pages that runs @fn when told. */
static struct pair start(void (*fn)(uint8_t *m))
{
	struct pair p;
	int sk[2];
	char c;

	p.m = mmap((void *)0x567000000000, 4 * N * PG, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	           0);
	LAB_CHECK(p.m != MAP_FAILED && socketpair(AF_UNIX, SOCK_STREAM, 0, sk) == 0);
	p.pid = fork();
	LAB_CHECK(p.pid >= 0);
	if (p.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		LAB_CHECK(munmap(p.m, 4 * N * PG) == 0);
		LAB_CHECK(mmap(p.m, N * PG, PROT_READ | PROT_WRITE,
		               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p.m);
		int u = lab_uffd();

		lab_register(u, p.m, N);
		lab_send_fd(sk[1], u);
		close(u);
		LAB_CHECK(read(sk[1], &c, 1) == 1);
		fn(p.m);
		LAB_CHECK(write(sk[1], "d", 1) == 1);
		pause();
	}
	munmap(p.m, 4 * N * PG);
	p.uffd = lab_recv_fd(sk[0]);
	p.sk = sk[0];
	return p;
}

static void stop(struct pair *p)
{
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	close(p->uffd);
	close(p->sk);
}

static void run(struct pair *p)
{
	LAB_CHECK(write(p->sk, "g", 1) == 1);
}

static void done(struct pair *p)
{
	char c;

	LAB_CHECK(read(p->sk, &c, 1) == 1);
}

static void until_event(struct pair *p)
{
	struct pollfd f = { .fd = p->uffd, .events = POLLIN };

	LAB_CHECK(poll(&f, 1, 5000) == 1);
}

static int64_t copy(struct pair *p, size_t at, size_t pages)
{
	struct uffdio_copy c = { .dst = (uintptr_t)p->m + at * PG,
		                 .src = (uintptr_t)src,
		                 .len = pages * PG };

	if (ioctl(p->uffd, UFFDIO_COPY, &c) == 0)
		return (int64_t)(pages * PG);
	return errno == EAGAIN && c.copy > 0 ? c.copy : -errno;
}

static int64_t zero(struct pair *p, size_t at)
{
	struct uffdio_zeropage z = { .range = { (uintptr_t)p->m + at * PG, PG } };

	return ioctl(p->uffd, UFFDIO_ZEROPAGE, &z) == 0 ? (int64_t)PG : -errno;
}

/* Copies that succeed shortly after: the task must first get the CPU. */
static int64_t copy_soon(struct pair *p, size_t at)
{
	uint64_t until = deadline_in_ms(2000);
	int64_t r;

	while ((r = copy(p, at, 1)) == -EAGAIN && now_us() < until)
		usleep(10);
	return r;
}

static void do_discard(uint8_t *m)
{
	LAB_CHECK(madvise(m, 4 * PG, MADV_DONTNEED) == 0);
}

static void do_free(uint8_t *m)
{
	LAB_CHECK(madvise(m, 4 * PG, MADV_FREE) == 0);
}

static void do_unmap(uint8_t *m)
{
	LAB_CHECK(munmap(m, 4 * PG) == 0);
}

static void do_map_over(uint8_t *m)
{
	LAB_CHECK(mmap(m, 4 * PG, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m);
}

static void do_move(uint8_t *m)
{
	LAB_CHECK(mremap(m, 4 * PG, 4 * PG, MREMAP_MAYMOVE | MREMAP_FIXED, m + 2 * N * PG) !=
	          MAP_FAILED);
}

static void do_fork(uint8_t *m)
{
	pid_t parent = getpid(), pid = fork();

	(void)m;
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			pause();
		_exit(0);
	}
}

/* While the event waits nothing can be filled, anywhere; after it was read, all can. */
static void waiting_blocks(const char *name, void (*fn)(uint8_t *), uint8_t event)
{
	struct pair p = start(fn);
	struct uffd_msg m;

	LAB_CHECK(copy(&p, 20, 1) == (int64_t)PG);
	run(&p);
	until_event(&p);
	for (int i = 0; i < 100; i++) {
		LAB_CHECK(copy(&p, 0, 1) == -EAGAIN);
		LAB_CHECK(copy(&p, 30, 1) == -EAGAIN);
		LAB_CHECK(zero(&p, 31) == -EAGAIN);
	}
	LAB_CHECK(read(p.uffd, &m, sizeof(m)) == sizeof(m));
	if (m.event != event)
		LAB_DIE("%s: event 0x%x", name, m.event);
	LAB_CHECK(event != UFFD_EVENT_REMAP || read(p.uffd, &m, sizeof(m)) == sizeof(m) ||
	          errno == EAGAIN);
	/* mremap says more than one thing */
	while (copy_soon(&p, 40) == -EAGAIN)
		LAB_CHECK(read(p.uffd, &m, sizeof(m)) == sizeof(m));
	printf("%s: fills wait for the event\n", name);
	stop(&p);
}

static void do_stay(uint8_t *m)
{
	(void)m;
}

static void answers(void)
{
	struct pair p = start(do_stay);

	LAB_CHECK(copy(&p, 4, 1) == (int64_t)PG);
	LAB_CHECK(copy(&p, 4, 1) == -EEXIST);
	LAB_CHECK(zero(&p, 4) == -EEXIST);
	LAB_CHECK(copy(&p, 0, 8) == (int64_t)(4 * PG)); /* up to the page that is in place */
	LAB_CHECK(copy(&p, N - 1, 2) == -ENOENT); /* over the end */
	LAB_CHECK(copy(&p, N, 1) == -ENOENT);
	LAB_CHECK(copy(&p, N - 1, 1) == (int64_t)PG);
	stop(&p);
}

static void do_protect(uint8_t *m)
{
	LAB_CHECK(mprotect(m + 8 * PG, 8 * PG, PROT_NONE) == 0);
}

static void protection(void)
{
	struct pair p = start(do_protect);

	run(&p);
	done(&p);
	LAB_CHECK(copy(&p, 8, 1) == (int64_t)PG); /* without access, too */
	LAB_CHECK(copy(&p, 4, 8) == -ENOENT); /* over a border */
	stop(&p);
}

static void do_exec(uint8_t *m)
{
	(void)m;
	execl("/bin/sleep", "sleep", "5", (char *)NULL);
}

static bool alive(struct pair *p)
{
	struct uffdio_writeprotect w = { .range = { 1ULL << 46, PG } };

	return ioctl(p->uffd, UFFDIO_WRITEPROTECT, &w) == 0 || errno != ESRCH;
}

static void ends(void)
{
	struct pair p = start(do_exec);

	LAB_CHECK(alive(&p));
	run(&p);
	for (int i = 0; alive(&p) && i < 2000; i++)
		usleep(1000);
	LAB_CHECK(!alive(&p));
	LAB_CHECK(copy(&p, 0, 1) == -ESRCH && zero(&p, 0) == -ESRCH);
	stop(&p);
	p = start(do_stay);
	kill(p.pid, SIGKILL);
	waitpid(p.pid, NULL, 0);
	for (int i = 0; alive(&p) && i < 2000; i++)
		usleep(1000);
	LAB_CHECK(copy(&p, 0, 1) == -ESRCH && !alive(&p));
	printf("exec and exit: ESRCH\n");
	stop(&p);
}

/* ---- facts ---- */

static void show_events(const char *name, void (*fn)(uint8_t *))
{
	struct pair p = start(fn);
	struct pollfd f[2] = { { .fd = p.uffd, .events = POLLIN },
		               { .fd = p.sk, .events = POLLIN } };
	struct uffd_msg m;

	printf("%s:", name);
	run(&p);
	while (poll(f, 2, 2000) > 0 && !(f[1].revents && !f[0].revents)) {
		if (read(p.uffd, &m, sizeof(m)) != sizeof(m))
			continue;
		uint64_t b = (uintptr_t)p.m;

		if (m.event == UFFD_EVENT_REMAP)
			printf(" REMAP %lld->%lld, %lld pages;",
			       ((long long)m.arg.remap.from - (long long)b) / (long long)PG,
			       ((long long)m.arg.remap.to - (long long)b) / (long long)PG,
			       (long long)(m.arg.remap.len / PG));
		else if (m.event == UFFD_EVENT_UNMAP || m.event == UFFD_EVENT_REMOVE)
			printf(" %s %lld..%lld;", m.event == UFFD_EVENT_UNMAP ? "UNMAP" : "REMOVE",
			       ((long long)m.arg.remove.start - (long long)b) / (long long)PG,
			       ((long long)m.arg.remove.end - (long long)b) / (long long)PG);
		else
			printf(" event %x;", m.event);
	}
	printf(" end\n");
	stop(&p);
}

static void do_move_on(uint8_t *m)
{
	LAB_CHECK(mremap(m, 8 * PG, 8 * PG, MREMAP_MAYMOVE | MREMAP_FIXED, m + 20 * PG) !=
	          MAP_FAILED);
}

static void do_move_shrink(uint8_t *m)
{
	LAB_CHECK(mremap(m, 8 * PG, 3 * PG, MREMAP_MAYMOVE | MREMAP_FIXED, m + 20 * PG) !=
	          MAP_FAILED);
}

static void do_move_grow(uint8_t *m)
{
	LAB_CHECK(mremap(m, 8 * PG, 12 * PG, MREMAP_MAYMOVE | MREMAP_FIXED, m + 20 * PG) !=
	          MAP_FAILED);
}

static void do_leave(uint8_t *m)
{
	LAB_CHECK(mremap(m, 8 * PG, 8 * PG, MREMAP_MAYMOVE | MREMAP_FIXED | 4, m + 20 * PG) !=
	          MAP_FAILED);
}

static void do_shrink(uint8_t *m)
{
	LAB_CHECK(mremap(m, 8 * PG, 3 * PG, 0) == m);
}

static void do_guard(uint8_t *m)
{
	if (madvise(m, 4 * PG, MADV_GUARD_INSTALL) < 0)
		printf(" (no guard pages: %s)", strerror(errno));
}

static void do_two(uint8_t *m)
{
	LAB_CHECK(mprotect(m + 4 * PG, PG, PROT_READ) == 0);
	if (mremap(m, 8 * PG, 8 * PG, MREMAP_MAYMOVE | MREMAP_FIXED, m + 20 * PG) == MAP_FAILED)
		printf(" (refused: %s)", strerror(errno));
}

static void guard_pages(void)
{
	struct pair p = start(do_guard);

	run(&p);
	done(&p);
	printf("fill of a guard page: %lld\n", (long long)copy(&p, 1, 1));
	stop(&p);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	close(lab_uffd());
	memset(src, 0x5a, sizeof(src));
	waiting_blocks("discard", do_discard, UFFD_EVENT_REMOVE);
	waiting_blocks("MADV_FREE", do_free, UFFD_EVENT_REMOVE);
	waiting_blocks("munmap", do_unmap, UFFD_EVENT_UNMAP);
	waiting_blocks("mmap over it", do_map_over, UFFD_EVENT_UNMAP);
	waiting_blocks("mremap", do_move, UFFD_EVENT_REMAP);
	waiting_blocks("fork", do_fork, UFFD_EVENT_FORK);
	answers();
	protection();
	ends();
	show_events("move onto memory", do_move_on);
	show_events("move and shrink", do_move_shrink);
	show_events("move and grow", do_move_grow);
	show_events("move, leave the place", do_leave);
	show_events("shrink", do_shrink);
	show_events("move two mappings", do_two);
	show_events("guard pages", do_guard);
	guard_pages();
	return 0;
}
