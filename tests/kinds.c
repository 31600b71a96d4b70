/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kinds.c - a process with every kind of mapping, for compare.c. Stands alone, so that
 * t-compare.sh can build it with ASan, too.
 *
 * kinds FILE [sysv|uffd]: sets everything up and stops; after SIGCONT waits for SIGUSR1,
 * changes what it has (writes, discards, maps, unmaps, moves) and stops again. uffd: hands
 * the userfaultfd of one of its areas to descriptor 3. FILE: the file that it maps.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB  (1UL << 20)
#define GIB  (1UL << 30)
#define RW   (PROT_READ | PROT_WRITE)
#define HIDE (-1) /* PROT_NONE, once it is filled */

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

enum make { ANON, SHARED_ANON, MEMFD_SHARED, MEMFD_PRIVATE, FILE_SHARED, FILE_PRIVATE, ZERO_FILE };

/* How the pages of an area are touched. */
enum fill { EVERY, THIRD, FEW, READ_ONLY, NOT };

static struct area {
	const char *name;
	enum make make;
	size_t bytes;
	int prot, flags, advice;
	enum fill fill;
	int late_prot; /* after it was filled; 0: as it is */
	unsigned char *at;
} areas[] = {
	{ "anon", ANON, 6 * MIB, RW, 0, 0, EVERY, 0, NULL },
	{ "anon with holes", ANON, 24 * MIB, RW, 0, 0, THIRD, 0, NULL },
	{ "anon, small", ANON, 64 * PAGE, RW, 0, 0, THIRD, 0, NULL },
	{ "read only ever", ANON, 8 * MIB, RW, 0, 0, READ_ONLY, 0, NULL },
	{ "huge pages", ANON, 16 * MIB, RW, 0, MADV_HUGEPAGE, EVERY, 0, NULL },
	{ "huge zero page", ANON, 8 * MIB, RW, 0, MADV_HUGEPAGE, READ_ONLY, 0, NULL },
	{ "no huge pages", ANON, 4 * MIB, RW, 0, MADV_NOHUGEPAGE, EVERY, 0, NULL },
	{ "hidden", ANON, 4 * MIB, RW, 0, 0, THIRD, HIDE, NULL },
	{ "hidden, small", ANON, 16 * PAGE, RW, 0, 0, THIRD, HIDE, NULL },
	{ "code", ANON, 3 * MIB, RW, 0, 0, THIRD, PROT_READ | PROT_EXEC, NULL },
	{ "reserved", ANON, 1024 * GIB, RW, MAP_NORESERVE, 0, FEW, 0, NULL },
	{ "reserved, untouched", ANON, 1024 * GIB, RW, MAP_NORESERVE, 0, NOT, 0, NULL },
	{ "reserved, hidden", ANON, 1024 * GIB, PROT_NONE, MAP_NORESERVE, 0, NOT, 0, NULL },
	{ "growing down", ANON, 3 * MIB, RW, MAP_GROWSDOWN, 0, THIRD, 0, NULL },
	{ "droppable", ANON, 4 * MIB, RW, MAP_DROPPABLE, 0, EVERY, 0, NULL },
	{ "droppable, small", ANON, 16 * PAGE, RW, MAP_DROPPABLE, 0, EVERY, 0, NULL },
	{ "wiped at fork", ANON, 4 * MIB, RW, 0, MADV_WIPEONFORK, THIRD, 0, NULL },
	{ "not at fork", ANON, 4 * MIB, RW, 0, MADV_DONTFORK, THIRD, 0, NULL },
	{ "not in cores", ANON, 4 * MIB, RW, 0, MADV_DONTDUMP, THIRD, 0, NULL },
	{ "mergeable", ANON, 4 * MIB, RW, 0, MADV_MERGEABLE, THIRD, 0, NULL },
	{ "freed lazily", ANON, 4 * MIB, RW, 0, 0, EVERY, 0, NULL },
	{ "locked", ANON, 4 * MIB, RW, 0, 0, EVERY, 0, NULL },
	{ "locked, small", ANON, 8 * PAGE, RW, 0, 0, EVERY, 0, NULL },
	{ "locked on fault", ANON, 4 * MIB, RW, 0, 0, THIRD, 0, NULL },
	{ "guarded", ANON, 4 * MIB, RW, 0, 0, EVERY, 0, NULL },
	{ "guarded, small", ANON, 16 * PAGE, RW, 0, 0, EVERY, 0, NULL },
	{ "split by protection", ANON, 12 * MIB, RW, 0, 0, THIRD, 0, NULL },
	{ "discarded later", ANON, 8 * MIB, RW, 0, 0, EVERY, 0, NULL },
	{ "unmapped later", ANON, 4 * MIB, RW, 0, 0, EVERY, 0, NULL },
	{ "moved later", ANON, 4 * MIB, RW, 0, 0, EVERY, 0, NULL },
	{ "huge page split later", ANON, 8 * MIB, RW, 0, MADV_HUGEPAGE, EVERY, 0, NULL },
	{ "private file", FILE_PRIVATE, 8 * MIB, RW, 0, 0, THIRD, 0, NULL },
	{ "private file, read", FILE_PRIVATE, 4 * MIB, RW, 0, 0, READ_ONLY, 0, NULL },
	{ "private file, hidden", FILE_PRIVATE, 4 * MIB, RW, 0, 0, THIRD, HIDE, NULL },
	{ "private /dev/zero", ZERO_FILE, 4 * MIB, RW, 0, 0, THIRD, 0, NULL },
	{ "shared file", FILE_SHARED, 4 * MIB, RW, 0, 0, THIRD, 0, NULL },
	{ "shared", SHARED_ANON, 6 * MIB, RW, 0, 0, THIRD, 0, NULL },
	{ "memfd", MEMFD_SHARED, 4 * MIB, RW, 0, 0, THIRD, 0, NULL },
	{ "private memfd", MEMFD_PRIVATE, 4 * MIB, RW, 0, 0, THIRD, 0, NULL },
	{ "own userfaultfd", ANON, 4 * MIB, RW, 0, 0, THIRD, 0, NULL },
	{ "hugetlb", ANON, 4 * MIB, RW, MAP_HUGETLB, 0, EVERY, 0, NULL },
};

static const char *file;
static volatile sig_atomic_t told;

__attribute__((noreturn)) static void die(const char *what, const char *who)
{
	fprintf(stderr, "kinds: %s: %s: %s\n", who, what, strerror(errno));
	_exit(1);
}

static struct area *area(const char *name)
{
	for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); i++)
		if (!strcmp(areas[i].name, name))
			return &areas[i];
	die("no such area", name);
}

static int open_backing(const struct area *a)
{
	int fd = -1;

	if (a->make == MEMFD_SHARED || a->make == MEMFD_PRIVATE)
		fd = memfd_create("kinds", MFD_CLOEXEC);
	else if (a->make == FILE_SHARED || a->make == FILE_PRIVATE)
		fd = open(file, O_RDWR | O_CREAT, 0600);
	else if (a->make == ZERO_FILE)
		fd = open("/dev/zero", O_RDWR);
	else
		return -1;
	if (fd < 0 || (a->make != ZERO_FILE && ftruncate(fd, (off_t)(16 * MIB)) < 0))
		die("open", a->name);
	return fd;
}

static void map(struct area *a)
{
	int shared = a->make == SHARED_ANON || a->make == MEMFD_SHARED || a->make == FILE_SHARED;
	int fd = open_backing(a), flags = a->flags;

	if (!(flags & MAP_DROPPABLE))
		flags |= shared ? MAP_SHARED : MAP_PRIVATE;
	if (fd < 0)
		flags |= MAP_ANONYMOUS;
	void *p = mmap(NULL, a->bytes, a->prot, flags, fd, 0);

	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED) {
		/* what this host does not have; compare.c says so */
		a->at = NULL;
		fprintf(stderr, "kinds: left out: %s (%s)\n", a->name, strerror(errno));
		return;
	}
	a->at = p;
	if (a->advice && madvise(p, a->bytes, a->advice) < 0)
		fprintf(stderr, "kinds: no advice: %s (%s)\n", a->name, strerror(errno));
}

static void stamp(unsigned char *p, uint32_t salt)
{
	uint64_t *w = (uint64_t *)(void *)p;

	for (size_t i = 0; i < PAGE / sizeof(*w); i++)
		w[i] = ((uint64_t)salt << 32 | (uint32_t)i) * 0x9e3779b97f4a7c15ULL ^
		       (uint64_t)(uintptr_t)p;
}

static void fill(struct area *a, uint32_t salt)
{
	size_t pages = a->bytes / PAGE, step = 1;
	volatile unsigned char sum = 0;

	if (a->fill == THIRD)
		step = 3;
	if (a->fill == FEW)
		step = pages / 37;
	for (size_t i = 0; a->at && a->fill != NOT && i < pages; i += step) {
		if (a->fill == READ_ONLY)
			sum = (unsigned char)(sum + a->at[i * PAGE]);
		else if (i % 7 != 3)
			stamp(a->at + i * PAGE, salt + (uint32_t)i);
		else
			a->at[i * PAGE] = 0; /* there, and full of zeros */
	}
}

static void need(int r, const char *what, const char *who)
{
	if (r < 0)
		die(what, who);
}

static void guard(const char *name)
{
	struct area *a = area(name);

	if (madvise(a->at, 2 * PAGE, MADV_GUARD_INSTALL) < 0 ||
	    madvise(a->at + a->bytes / 2, 3 * PAGE, MADV_GUARD_INSTALL) < 0)
		fprintf(stderr, "kinds: left out: guard pages (%s)\n", strerror(errno));
}

static void lock(const char *name, unsigned int flags)
{
	struct area *a = area(name);

	need(flags ? mlock2(a->at, a->bytes, flags) : mlock(a->at, a->bytes), "mlock", name);
}

static void special(void)
{
	struct area *a = area("split by protection");

	lock("locked", 0);
	lock("locked, small", 0);
	lock("locked on fault", MLOCK_ONFAULT);
	guard("guarded");
	guard("guarded, small");
	need(mprotect(a->at + 4 * MIB, 4 * MIB, PROT_READ), "mprotect", a->name);
	need(madvise(area("freed lazily")->at, 2 * MIB, MADV_FREE), "MADV_FREE", "freed lazily");
	for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); i++) {
		int prot = areas[i].late_prot == HIDE ? PROT_NONE : areas[i].late_prot;

		if (areas[i].at && areas[i].late_prot)
			need(mprotect(areas[i].at, areas[i].bytes, prot), "mprotect",
			     areas[i].name);
	}
}

/*
 * Registers an area with a userfaultfd of its own and hands that out of the tree: CRIU
 * refuses a process that has one open.
 */
static void own_uffd(int sock)
{
	struct area *a = area("own userfaultfd");
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)a->at, a->bytes },
		                       .mode = UFFDIO_REGISTER_MODE_MISSING |
		                               UFFDIO_REGISTER_MODE_WP };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} c = { 0 };
	struct iovec io = { a, 1 };
	struct msghdr m = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)
	};

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		die("userfaultfd", a->name);
	c.h.cmsg_level = SOL_SOCKET;
	c.h.cmsg_type = SCM_RIGHTS;
	c.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&c.h), &fd, sizeof(fd));
	if (sendmsg(sock, &m, 0) != 1)
		die("sendmsg", a->name);
	close(fd);
	close(sock);
}

static void sysv(void)
{
	int id = shmget(IPC_PRIVATE, 4 * MIB, IPC_CREAT | 0600);
	void *p = shmat(id, NULL, 0);

	if (id < 0 || p == (void *)-1)
		die("shmat", "sysv");
	shmctl(id, IPC_RMID, NULL);
	memset(p, 1, 4 * MIB);
}

/* ---- the changes between a round and the freeze ---- */

static void change(void)
{
	struct area *a = area("anon with holes");

	for (size_t i = 1; i < a->bytes / PAGE; i += 11)
		stamp(a->at + i * PAGE, 77);
	fill(area("anon, small"), 5);
	a = area("discarded later");
	need(madvise(a->at + MIB, 5 * MIB, MADV_DONTNEED), "discard", a->name);
	stamp(a->at + 2 * MIB, 3);
	a = area("unmapped later");
	need(munmap(a->at + MIB, 2 * MIB), "unmap", a->name);
	a = area("moved later");
	void *to = mmap(NULL, 16 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mremap(a->at, a->bytes, a->bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
	           (char *)to + 4 * MIB) == MAP_FAILED)
		die("move", a->name);
	a->at = (unsigned char *)to + 4 * MIB;
	a = area("huge page split later");
	need(madvise(a->at + 5 * PAGE, PAGE, MADV_DONTNEED), "discard", a->name);
	stamp(a->at + 3 * MIB, 9);
	a = area("huge pages");
	stamp(a->at + 2 * MIB + 7 * PAGE, 9);
	a = area("private file");
	stamp(a->at + PAGE, 9);
	a = area("reserved");
	stamp(a->at + 700 * GIB, 9);
	a = area("memfd");
	stamp(a->at + PAGE, 9);
	/* new ones, large and small */
	unsigned char *p = mmap(NULL, 5 * MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t i = 0; i < 5 * MIB / PAGE; i += 2)
		stamp(p + i * PAGE, 21);
}

/* ---- stacks ---- */

static void deep(int n)
{
	volatile unsigned char pad[65536];

	memset((void *)(uintptr_t)pad, n, sizeof(pad));
	if (n > 0)
		deep(n - 1);
	pad[0] = pad[1];
}

static void *waits(void *arg)
{
	deep(40);
	for (;;)
		pause();
	return arg;
}

static void threads(void)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 8 * MIB);
	for (int i = 0; i < 3; i++)
		if (pthread_create(&t, &attr, waits, NULL))
			die("thread", "threads");
}

static void on_usr1(int sig)
{
	(void)sig;
	told = 1;
}

int main(int argc, char **argv)
{
	sigset_t block, old;

	if (argc < 2)
		return 2;
	file = argv[1];
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, &old);
	signal(SIGUSR1, on_usr1);
	if (argc > 2 && !strcmp(argv[2], "sysv"))
		sysv();
	for (size_t i = 0; i < sizeof(areas) / sizeof(*areas); i++) {
		map(&areas[i]);
		fill(&areas[i], (uint32_t)i << 20);
	}
	special();
	if (argc > 2 && !strcmp(argv[2], "uffd"))
		own_uffd(3);
	threads();
	deep(60);
	/* the heap: one brk of 4 MiB */
	char *heap = sbrk((intptr_t)(4 * MIB));

	memset(heap, 7, 3 * MIB);
	raise(SIGSTOP);
	while (!told)
		sigsuspend(&old);
	change();
	raise(SIGSTOP);
	for (;;)
		pause();
}
