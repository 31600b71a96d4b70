/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shared.c - memory that two processes share, of several kinds; both write and both look. */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAP_US        1000
#define SLICE_MS      100
#define ANSWER_SLICES 600
#define SIDES         2 /* the parent's half, the child's half */

/* The first page of each segment. */
struct mailbox {
	atomic_ullong beat[SIDES]; /* the child repeats what the parent says */
	uint64_t salt;
};

struct segment {
	const char *name;
	void *(*map)(size_t bytes);
	bool off;
	unsigned char *base;
	struct area half[SIDES]; /* the models are shared memory too */
};

static long mib = 4, rate = 2000, stall_s = 60;
static bool sysv, posix;
static const struct work_opt opts[] = {
	{ "--mib", "size of each segment in MiB (4)", &mib, NULL, NULL },
	{ "--rate", "page writes per second and process (2000)", &rate, NULL, NULL },
	{ "--stall-s", "no beat of the other side that long is a fault (60)", &stall_s, NULL,
	  NULL },
	{ "--sysv", "with a SysV segment (CRIU wants an IPC namespace for it)", NULL, NULL, &sysv },
	{ "--posix", "with a shm_open() segment, a file in /dev/shm", NULL, NULL, &posix },
	{ 0 },
};

static int memfd = -1, shmid = -1;
static off_t memfd_at; /* the descriptor's offset; it is shared with the child */
static unsigned me; /* 0 parent, 1 child */
static pid_t child;
static int command[2], answer[2];
static struct rnd rnd;
static char posix_name[64];

static void *map_anon(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void *map_memfd(size_t bytes)
{
	memfd = memfd_create("haul-work", 0);
	if (memfd < 0 || ftruncate(memfd, (off_t)bytes))
		return MAP_FAILED;
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
}

static void *map_sysv(size_t bytes)
{
	void *p;

	shmid = shmget(IPC_PRIVATE, bytes, IPC_CREAT | 0600);
	if (shmid < 0)
		return MAP_FAILED;
	p = shmat(shmid, NULL, 0);
	return p == (void *)-1 ? MAP_FAILED : p;
}

static void *map_posix(size_t bytes)
{
	void *p = MAP_FAILED;
	int fd;

	snprintf(posix_name, sizeof(posix_name), "/haul-work-%d", (int)getpid());
	fd = shm_open(posix_name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return p;
	if (ftruncate(fd, (off_t)bytes) == 0)
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p;
}

static struct segment segments[] = {
	{ .name = "anonymous", .map = map_anon },
	{ .name = "memfd", .map = map_memfd },
	{ .name = "sysv", .map = map_sysv },
	{ .name = "posix", .map = map_posix },
};

static struct mailbox *mailbox(const struct segment *s)
{
	return (struct mailbox *)(void *)s->base;
}

static void open_segment(struct segment *s, unsigned number)
{
	size_t pages = (size_t)mib * MIB_PAGES, half = pages / SIDES;
	size_t want_bytes = half * sizeof(uint64_t);

	s->base = s->map((pages + 1) * PAGE_BYTES);
	if (s->base == MAP_FAILED)
		work_die("%s segment: %s", s->name, strerror(errno));
	mailbox(s)->salt = number + 77;
	for (unsigned side = 0; side < SIDES; side++) {
		struct area *a = &s->half[side];

		area_init(a, s->base + (1 + side * half) * PAGE_BYTES, half, number * SIDES + side,
		          (uint16_t)side);
		a->want = map_anon(want_bytes);
		if (a->want == MAP_FAILED)
			work_die("model: %s", strerror(errno));
		/* a quarter stays a hole */
		for (size_t i = 0; i < half * 3 / 4; i++)
			area_stamp(a, i);
	}
}

static void write_one(void)
{
	struct segment *s;

	do {
		s = &segments[rnd_below(&rnd, ARRAY_SIZE(segments))];
	} while (s->off);
	area_write(&s->half[me], rnd_below(&rnd, s->half[me].pages * 3 / 4));
}

/* The memory file read through the descriptor holds what the mapping holds. */
static void check_memfd(struct report *r)
{
	struct segment *s = &segments[1];
	uint64_t words[PAGE_WORDS];

	for (unsigned side = 0; side < SIDES; side++) {
		struct area *a = &s->half[side];

		for (size_t i = 0; i < a->pages; i += 16) {
			off_t at = (off_t)((size_t)(a->base - s->base) + i * PAGE_BYTES);

			if (pread(memfd, words, PAGE_BYTES, at) != (ssize_t)PAGE_BYTES)
				rep_error(r, "memfd: cannot read: %s", strerror(errno));
			else
				area_check_at(a, i, words, r);
		}
	}
	if (!me && lseek(memfd, 0, SEEK_CUR) != memfd_at)
		rep_error(r, "memfd: offset is %ld, not %ld", lseek(memfd, 0, SEEK_CUR), memfd_at);
}

/* Each side looks at both halves through its own mappings. */
static void verify_own(struct report *r)
{
	for (size_t n = 0; n < ARRAY_SIZE(segments); n++) {
		struct segment *s = &segments[n];

		if (s->off)
			continue;
		for (unsigned side = 0; side < SIDES; side++)
			area_verify(&s->half[side], r);
		if (mailbox(s)->salt != n + 77)
			rep_error(r, "%s: mailbox is wrong", s->name);
	}
	check_memfd(r);
	if (work_failed())
		rep_error(r, "%s", work_reason());
}

static void echo_beats(void)
{
	for (size_t n = 0; n < ARRAY_SIZE(segments); n++) {
		if (!segments[n].off)
			mailbox(&segments[n])->beat[1] = mailbox(&segments[n])->beat[0];
	}
}

static void run_child(void)
{
	struct pollfd p = { .fd = command[0], .events = POLLIN };
	struct pace pace;
	struct report r;
	char c = 'g';

	pace_init(&pace, rate);
	while (c != 'q') {
		unsigned due = pace_due(&pace);

		echo_beats();
		if (poll(&p, 1, 0) > 0) {
			memset(&r, 0, sizeof(r));
			if (read(command[0], &c, 1) != 1)
				return;
			if (c == 'v')
				verify_own(&r);
			if (write(answer[1], &r, sizeof(r)) != (ssize_t)sizeof(r))
				return;
		}
		if (c == 'g' && work_may_write()) {
			for (unsigned i = 0; i < due; i++)
				write_one();
		}
		work_nap_us(NAP_US);
	}
}

/* Sends a command, waits for the report; memory shared with the child goes on beating. */
static void tell(char c, struct report *r)
{
	struct pollfd p = { .fd = answer[0], .events = POLLIN };
	struct report got;
	int n = 0;

	if (write(command[1], &c, 1) != 1) {
		rep_error(r, "cannot tell the child");
		return;
	}
	while (n < ANSWER_SLICES && poll(&p, 1, SLICE_MS) <= 0)
		n++;
	if (n == ANSWER_SLICES || read(answer[0], &got, sizeof(got)) != (ssize_t)sizeof(got))
		rep_error(r, "the child does not answer '%c'", c);
	else
		rep_merge(r, &got, "child");
}

/* A beat through each segment and back proves that both still share it. */
static void check_sharing(struct report *r)
{
	for (size_t n = 0; n < ARRAY_SIZE(segments); n++) {
		struct segment *s = &segments[n];
		struct mailbox *m = s->off ? NULL : mailbox(s);
		uint64_t beat = m ? ++m->beat[0] : 0;
		long naps = 0;

		while (m && m->beat[1] != beat && naps++ < stall_s * 1000)
			work_nap_us(NAP_US);
		if (m && m->beat[1] != beat)
			rep_error(r, "%s: no longer shared with the child", s->name);
	}
}

static void verify(struct report *r)
{
	tell('s', r);
	check_sharing(r);
	if (work_sabotage_due() == 5)
		lseek(memfd, 1, SEEK_CUR);
	else if (work_sabotage_due())
		area_sabotage(&segments[sysv ? 2 : 1].half[1], 3, work_sabotage_due());
	tell('v', r);
	verify_own(r);
	tell(work_may_write() ? 'g' : 's', r);
}

static void watch(void)
{
	static bool going = true;
	struct report r = { 0 };
	int status;

	if (going != work_may_write()) {
		going = work_may_write();
		tell(going ? 'g' : 's', &r);
	}
	if (waitpid(child, &status, WNOHANG) > 0)
		work_fail("the child ended with status %x", (unsigned)status);
	memfd_at = (memfd_at + 13) % 100000;
	lseek(memfd, memfd_at, SEEK_SET);
}

static void set_up(void)
{
	segments[2].off = !sysv;
	segments[3].off = !posix;
	for (unsigned n = 0; n < ARRAY_SIZE(segments); n++) {
		if (!segments[n].off)
			open_segment(&segments[n], n);
	}
	if (pipe(command) || pipe(answer))
		work_die("pipe: %s", strerror(errno));
	child = fork();
	if (child < 0)
		work_die("fork: %s", strerror(errno));
	me = child == 0;
	rnd.state = me;
	close(command[me ? 1 : 0]);
	close(answer[me ? 0 : 1]);
}

int main(int argc, char **argv)
{
	struct report r = { 0 };
	struct pace pace;

	work_start(argc, argv, opts);
	set_up();
	if (me) {
		work_child();
		run_child();
		return 0;
	}
	work_ready();
	pace_init(&pace, rate);
	while (work_poll(verify)) {
		unsigned due = pace_due(&pace);

		work_count(work_may_write() ? due : 0);
		while (due-- && work_may_write())
			write_one();
		watch();
		work_nap_us(NAP_US);
	}
	tell('q', &r);
	waitpid(child, NULL, 0);
	if (shmid >= 0)
		shmctl(shmid, IPC_RMID, NULL);
	if (posix)
		shm_unlink(posix_name);
	return 0;
}
