/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pager-lab.h - a restore without CRIU: tasks that hand over their userfaultfds as
 * CRIU's would, a source that delivers late and twice, and pages that tell who they are.
 */
#ifndef HAUL_PAGER_LAB_H
#define HAUL_PAGER_LAB_H

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/page.h"
#include "engine/pager/pager.h"
#include "engine/store/store.h"
#include "engine/runs.h"

#define PG 4096ULL

/* What a page contains: a number that fills it in its own way; small ones are special. */
enum { ID_GONE, ID_ZERO, ID_FIRST };

enum class { C_ABSENT, C_LOCAL, C_LOCAL_ZERO, C_REMOTE, C_REMOTE_ZERO, C_N };

struct lab {
	uint64_t seed;
	uint8_t *base; /* reserved in the parent, so at the same place in the tasks */
	size_t pages; /* lazy at the start */
	size_t room; /* pages reserved in all, for moves; the rest is unmapped */
	uint8_t *class; /* of each lazy page */
	unsigned int n_tasks;
	pid_t pid[8];
	int go[2], ready[2];
	int pass[2]; /* CRIU's one connection comes to the tasks through here */
	int criu;
	pthread_mutex_t *criu_lock; /* shared: whole announcements only */
	char dir[64];
	int dirfd;
	struct store *store;
	struct pager *pager;
	/* the source */
	pthread_t source;
	pthread_mutex_t lock;
	struct {
		uint64_t obj, vaddr;
	} asked[65536];
	size_t n_asked, asked_at, asked_sum;
	bool source_stop, source_done;
	unsigned int delay_us, late_rounds;
	bool only_asked; /* nothing comes by itself */
};

static inline uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static inline uint64_t rnd(uint64_t *s)
{
	*s += 0x9e3779b97f4a7c15ULL;
	return mix(*s);
}

static inline void page_put(void *page, uint64_t id)
{
	uint64_t *w = page, h = mix(id);

	for (size_t i = 0; i < PG / 8; i++)
		w[i] = id == ID_ZERO ? 0 : h + i * 0x10001;
}

/* Return: is every byte of it as it should be? */
static inline bool page_is(const void *page, uint64_t id)
{
	const uint64_t *w = page;
	uint64_t h = mix(id), diff = 0;

	for (size_t i = 0; i < PG / 8; i++)
		diff |= w[i] ^ (id == ID_ZERO ? 0 : h + i * 0x10001);
	return diff == 0;
}

/* What task @t has in lazy page @i. */
static inline uint64_t first_id(const struct lab *l, unsigned int t, size_t i)
{
	bool data = l->class[i] == C_LOCAL || l->class[i] == C_REMOTE;

	return data ? ID_FIRST + (uint64_t)t * 0x1000000 + i : ID_ZERO;
}

#define LAB_DIE(...)                                                                               \
	do {                                                                                       \
		fprintf(stderr, "FAIL %s:%d ", __FILE__, __LINE__);                                \
		fprintf(stderr, __VA_ARGS__);                                                      \
		fprintf(stderr, "\n");                                                             \
		_exit(1);                                                                          \
	} while (0)

#define LAB_CHECK(x)                                                                               \
	do {                                                                                       \
		if (!(x))                                                                          \
			LAB_DIE("%s: %s", #x, strerror(errno));                                    \
	} while (0)

static inline uint64_t lab_seed(void)
{
	const char *s = getenv("SEED");
	uint64_t seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();

	printf("SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

static inline unsigned int lab_seconds(unsigned int dflt)
{
	const char *s = getenv("SECONDS_LONG");

	return s ? (unsigned int)atoi(s) : dflt;
}

/* Skips the test where a userfaultfd with events cannot be had. */
static inline int lab_uffd(void)
{
	struct uffdio_api a = { .api = UFFD_API,
		                .features = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
		                            UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &a) < 0) {
		printf("SKIP userfaultfd with events: %s\n", strerror(errno));
		_exit(77);
	}
	return fd;
}

static inline void lab_register(int uffd, void *at, size_t pages)
{
	struct uffdio_register r = { .range = { (uintptr_t)at, pages * PG },
		                     .mode = UFFDIO_REGISTER_MODE_MISSING };

	LAB_CHECK(ioctl(uffd, UFFDIO_REGISTER, &r) == 0);
}

/* ---- the source ---- */

static inline int lab_want(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	struct lab *l = arg;

	pthread_mutex_lock(&l->lock);
	for (uint64_t i = 0; i < pages && l->n_asked < 65536; i++) {
		l->asked[l->n_asked].obj = obj;
		l->asked[l->n_asked++].vaddr = vaddr + i * PG;
	}
	l->asked_sum += pages;
	pthread_mutex_unlock(&l->lock);
	return 0;
}

static inline unsigned int lab_task_of(const struct lab *l, uint64_t obj)
{
	unsigned int t = 0;

	while (t < l->n_tasks && obj_of_task(l->pid[t]) != obj)
		t++;
	return t;
}

/* Pages from @i on that can go in one delivery: same class, at most @max. */
static inline size_t lab_deliver(struct lab *l, unsigned int t, size_t i, size_t max, uint8_t *buf)
{
	struct err e = ERR_INIT;
	size_t n = 1;

	if (l->class[i] != C_REMOTE && l->class[i] != C_REMOTE_ZERO)
		return 1;
	while (n < max && i + n < l->pages && l->class[i + n] == l->class[i])
		n++;
	for (size_t k = 0; k < n && l->class[i] == C_REMOTE; k++)
		page_put(buf + k * PG, first_id(l, t, i + k));
	if (pager_deliver(l->pager, obj_of_task(l->pid[t]), (uintptr_t)l->base + i * PG, n,
	                  l->class[i] == C_REMOTE ? buf : NULL, &e) < 0)
		LAB_DIE("deliver: %s", e.msg);
	return n;
}

static inline void lab_answer(struct lab *l, uint8_t *buf)
{
	pthread_mutex_lock(&l->lock);
	while (l->asked_at < l->n_asked) {
		uint64_t obj = l->asked[l->asked_at].obj, v = l->asked[l->asked_at].vaddr;

		l->asked_at++;
		pthread_mutex_unlock(&l->lock);
		size_t i = (v - (uintptr_t)l->base) / PG;
		unsigned int t = lab_task_of(l, obj);

		if (t == l->n_tasks || i >= l->pages ||
		    (l->class[i] != C_REMOTE && l->class[i] != C_REMOTE_ZERO))
			LAB_DIE("asked for a page that is not at the source: %llx",
			        (unsigned long long)v);
		lab_deliver(l, t, i, 1, buf);
		pthread_mutex_lock(&l->lock);
	}
	if (l->n_asked == 65536)
		LAB_DIE("asked too often");
	pthread_mutex_unlock(&l->lock);
}

static inline bool lab_stopped(struct lab *l)
{
	return __atomic_load_n(&l->source_stop, __ATOMIC_ACQUIRE);
}

/* All remote pages once, in random order, then again and again: late ones. */
static inline void *lab_source(void *arg)
{
	struct lab *l = arg;
	uint8_t *buf = malloc(64 * PG);
	uint64_t s = l->seed ^ 0x50;
	size_t n = l->pages * l->n_tasks, *order = malloc(n * sizeof(*order));

	for (size_t i = 0; i < n; i++) {
		size_t k = rnd(&s) % (i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	for (unsigned int round = 0; round <= l->late_rounds && !lab_stopped(l); round++) {
		for (size_t i = 0; i < n && !lab_stopped(l) && !l->only_asked; i++) {
			lab_answer(l, buf);
			lab_deliver(l, (unsigned int)(order[i] / l->pages), order[i] % l->pages,
			            1 + rnd(&s) % 48, buf);
			if (l->delay_us && rnd(&s) % 8 == 0)
				usleep((useconds_t)(rnd(&s) % (2 * l->delay_us)));
		}
	}
	__atomic_store_n(&l->source_done, true, __ATOMIC_RELEASE);
	while (!lab_stopped(l)) {
		lab_answer(l, buf);
		usleep(50);
	}
	free(order);
	free(buf);
	return NULL;
}

/* ---- tasks ---- */

static inline void lab_send_fd(int sk, int fd)
{
	char byte = 0, room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { &byte, 1 };
	struct msghdr h = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	LAB_CHECK(sendmsg(sk, &h, 0) == 1);
}

static inline int lab_recv_fd(int sk)
{
	char byte, room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec io = { &byte, 1 };
	struct msghdr h = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room)
	};
	int fd = -1;

	LAB_CHECK(recvmsg(sk, &h, 0) == 1);
	LAB_CHECK(CMSG_FIRSTHDR(&h));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&h)), sizeof(fd));
	return fd;
}

static inline void lab_announce(struct lab *l, int sk, int32_t pid, int uffd)
{
	pthread_mutex_lock(l->criu_lock);
	LAB_CHECK(write(sk, &pid, sizeof(pid)) == sizeof(pid));
	if (uffd >= 0)
		lab_send_fd(sk, uffd);
	pthread_mutex_unlock(l->criu_lock);
}

static inline int lab_connect(const struct lab *l)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int sk = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/lazy-pages.socket", l->dirfd);
	LAB_CHECK(connect(sk, (struct sockaddr *)&a, sizeof(a)) == 0);
	return sk;
}

/* In the task: as CRIU's restorer, then wait for the word to go, then @prog. */
static inline void lab_task(struct lab *l, unsigned int t, int (*prog)(struct lab *, unsigned int))
{
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int sk = lab_recv_fd(l->pass[0]), uffd = lab_uffd();

	LAB_CHECK(mmap(l->base, l->pages * PG, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == l->base);
	LAB_CHECK(munmap(l->base + l->pages * PG, (l->room - l->pages) * PG) == 0);
	lab_announce(l, sk, getpid(), uffd);
	lab_register(uffd, l->base, l->pages);
	close(uffd);
	close(sk);
	LAB_CHECK(write(l->ready[1], "r", 1) == 1);
	LAB_CHECK(read(l->go[0], &byte, 1) == 1);
	_exit(prog(l, t));
}

static inline void lab_new(struct lab *l, uint64_t seed, size_t pages, size_t room)
{
	memset(l, 0, sizeof(*l));
	l->seed = seed;
	l->pages = pages;
	l->room = room;
	/* far from where the kernel puts what nobody placed; sanitizers allow it, too */
	l->base = mmap((void *)0x567000000000, room * PG, PROT_NONE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	LAB_CHECK(l->base != MAP_FAILED);
	l->class = malloc(pages);
	pthread_mutex_init(&l->lock, NULL);
	strcpy(l->dir, "/tmp/t-pager-XXXXXX");
	LAB_CHECK(mkdtemp(l->dir));
	l->dirfd = open(l->dir, O_RDONLY | O_DIRECTORY);
	LAB_CHECK(l->dirfd >= 0 && pipe(l->go) == 0 && pipe(l->ready) == 0);
	LAB_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, l->pass) == 0);
	l->criu_lock = mmap(NULL, PG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(l->criu_lock, &a);
}

/* Classes in runs of random length; @mask: which. */
static inline void lab_classes(struct lab *l, unsigned int mask, unsigned int max_run)
{
	uint64_t s = l->seed ^ 0xc1a55;

	for (size_t i = 0; i < l->pages;) {
		unsigned int c = (unsigned int)(rnd(&s) % C_N);

		if (!(mask & BIT(c)))
			continue;
		for (size_t n = 1 + rnd(&s) % max_run; n && i < l->pages; n--)
			l->class[i++] = (uint8_t)c;
	}
}

/* Before any thread: a forked task must not inherit held locks. */
static inline void lab_fork(struct lab *l, unsigned int n, int (*prog)(struct lab *, unsigned int))
{
	l->n_tasks = n;
	for (unsigned int t = 0; t < n; t++) {
		l->pid[t] = fork();
		LAB_CHECK(l->pid[t] >= 0);
		if (l->pid[t] == 0)
			lab_task(l, t, prog);
	}
}

static inline void lab_add(struct lab *l, unsigned int t)
{
	AUTO(runs) struct runs local = { 0 };
	AUTO(runs) struct runs remote = { 0 };
	struct err e = ERR_INIT;
	struct sobj *o = store_obj(l->store, obj_of_task(l->pid[t]), true);
	uint8_t page[PG];

	for (size_t i = 0; i < l->pages; i++) {
		uint64_t v = (uintptr_t)l->base + i * PG;

		if (l->class[i] == C_LOCAL) {
			page_put(page, first_id(l, t, i));
			LAB_CHECK(store_write(o, v, page, 1, &e) == 0);
		}
		if (l->class[i] == C_LOCAL_ZERO)
			LAB_CHECK(store_zero(o, v, 1, &e) == 0);
		if (l->class[i] == C_LOCAL || l->class[i] == C_LOCAL_ZERO)
			LAB_CHECK(runs_add(&local, v, 1) == 0);
		if (l->class[i] == C_REMOTE || l->class[i] == C_REMOTE_ZERO)
			LAB_CHECK(runs_add(&remote, v, 1) == 0);
	}
	if (pager_add(l->pager, l->pid[t], &local, &remote, &e) < 0)
		LAB_DIE("pager_add: %s", e.msg);
}

/* The tasks run; @n tokens. */
static inline void lab_go(struct lab *l, unsigned int n)
{
	for (unsigned int t = 0; t < n; t++)
		LAB_CHECK(write(l->go[1], "g", 1) == 1);
}

/* Until every task waits at the gate. */
static inline void lab_start(struct lab *l)
{
	struct pager_ops ops = { lab_want, l };
	struct err e = ERR_INIT;
	char byte;

	LAB_CHECK(store_new(&l->store, &e) == 0);
	LAB_CHECK(pager_new(&l->pager, l->store, &ops, &e) == 0);
	for (unsigned int t = 0; t < l->n_tasks; t++)
		lab_add(l, t);
	if (pager_start(l->pager, l->dirfd, l->n_tasks + 1, &e) < 0)
		LAB_DIE("pager_start: %s", e.msg);
	l->criu = lab_connect(l);
	lab_announce(l, l->criu, -4711, -1); /* a zombie, too */
	for (unsigned int t = 0; t < l->n_tasks; t++)
		lab_send_fd(l->pass[1], l->criu);
	for (unsigned int t = 0; t < l->n_tasks; t++)
		LAB_CHECK(read(l->ready[0], &byte, 1) == 1);
}

/* The commit: background filling begins, tasks run. */
static inline void lab_resume(struct lab *l)
{
	pager_push(l->pager);
	lab_announce(l, l->criu, 0x52535446, -1);
	lab_go(l, l->n_tasks);
	close(l->criu);
}

static inline void lab_source_start(struct lab *l)
{
	LAB_CHECK(pthread_create(&l->source, NULL, lab_source, l) == 0);
}

/* Return: 0 when all tasks ended well within @ms */
static inline int lab_join(struct lab *l, unsigned int ms)
{
	uint64_t until = deadline_in_ms(ms);
	int bad = 0;

	for (unsigned int t = 0; t < l->n_tasks; t++) {
		int st = 0, r = 0;

		while ((r = waitpid(l->pid[t], &st, WNOHANG)) == 0 && now_us() < until)
			usleep(1000);
		if (r == 0) {
			struct pager_stats ps;

			pager_get_stats(l->pager, &ps);
			fprintf(stderr, "task %u hangs; left %llu, remote %llu\n", t,
			        (unsigned long long)ps.left_pages,
			        (unsigned long long)ps.left_remote_pages);
			kill(l->pid[t], SIGKILL);
			waitpid(l->pid[t], &st, 0);
		}
		bad |= !(WIFEXITED(st) && WEXITSTATUS(st) == 0);
		if (WIFEXITED(st) && WEXITSTATUS(st) == 77)
			exit(77);
	}
	return bad;
}

static inline void lab_source_stop(struct lab *l)
{
	__atomic_store_n(&l->source_stop, true, __ATOMIC_RELEASE);
	pthread_join(l->source, NULL);
}

/* All but pager and store, which a guardian may have freed. */
static inline void lab_close(struct lab *l)
{
	rmdir(l->dir);
	close(l->dirfd);
	for (int i = 0; i < 2; i++) {
		close(l->go[i]);
		close(l->ready[i]);
		close(l->pass[i]);
	}
	munmap(l->base, l->room * PG);
	munmap(l->criu_lock, PG);
	free(l->class);
}

static inline void lab_free(struct lab *l)
{
	pager_free(l->pager);
	store_free(l->store);
	lab_close(l);
}

#endif
