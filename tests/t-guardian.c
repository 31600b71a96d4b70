// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-guardian.c - the pager is killed again and again, and its guardians: at random, and at
 * the worst moments; every page is compared with a model. Nobody may read a wrong byte.
 */
#include "tests/pager-storm.h"

#include <poll.h>

#include "engine/pager/priv.h"

#define HANG_MS   240000
#define KILLS_MAX 15

/* Shared by the test, the process with the pager, and its successors. */
struct ctl {
	unsigned int moment; /* PAT_N: none */
	int nth; /* die at the nth such moment; below 0: never again */
	unsigned int deaths_at_moment, again; /* this many deaths, then one every @again moments */
	bool resumed, linkless, link_now, verified;
	int status; /* of the last: -1 not yet, 0 all is well */
	uint64_t left_first; /* missing when the first successor began */
	uint64_t zeros, first_zero_us, reads;
	pid_t serves;
	bool two; /* served at once */
};

static struct ctl *ctl;
static struct guard *guard;
static int hup; /* hangs up when all who served are dead */

static void die_here(enum pager_moment m)
{
	if (m != __atomic_load_n(&ctl->moment, __ATOMIC_RELAXED))
		return;
	if (__atomic_sub_fetch(&ctl->nth, 1, __ATOMIC_RELAXED) != 0)
		return;
	__atomic_add_fetch(&ctl->deaths_at_moment, 1, __ATOMIC_RELAXED);
	if (ctl->again-- > 1)
		__atomic_store_n(&ctl->nth, 20, __ATOMIC_RELAXED);
	kill(getpid(), SIGKILL);
	pause();
}

struct list {
	struct {
		uint64_t obj, vaddr, pages;
	} run[65536];
	size_t n;
};

static int note_run(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	struct list *m = arg;

	LAB_CHECK(m->n < ARRAY_SIZE(m->run));
	m->run[m->n].obj = obj;
	m->run[m->n].vaddr = vaddr;
	m->run[m->n++].pages = pages;
	return 0;
}

static void bring(struct lab *l, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	uint8_t *buf = malloc(64 * PG);
	size_t first = (vaddr - (uintptr_t)l->base) / PG;

	for (size_t i = first; i < first + pages;) {
		size_t left = first + pages - i;

		i += lab_deliver(l, lab_task_of(l, obj), i, left < 16 ? left : 16, buf);
		if (l->delay_us)
			usleep(l->delay_us / 4);
	}
	free(buf);
}

static void bring_missing(struct lab *l)
{
	struct list *m = calloc(1, sizeof(*m));

	LAB_CHECK(m && pager_missing(l->pager, note_run, m) == 0);
	for (size_t i = 0; i < m->n; i++)
		bring(l, m->run[i].obj, m->run[i].vaddr, m->run[i].pages);
	free(m);
}

static int to_the_end(struct lab *l)
{
	struct err e = ERR_INIT;
	struct pager_stats st;

	if (pager_wait(l->pager, deadline_in_ms(HANG_MS), &e) < 0)
		LAB_DIE("pager_wait: %s", e.msg);
	pager_get_stats(l->pager, &st);
	if (st.left_pages || st.left_remote_pages || st.procs_live || store_data_pages(l->store))
		LAB_DIE("left %llu remote %llu procs %u stored %llu",
		        (unsigned long long)st.left_pages, (unsigned long long)st.left_remote_pages,
		        st.procs_live, (unsigned long long)store_data_pages(l->store));
	__atomic_store_n(&ctl->status, 0, __ATOMIC_RELEASE);
	guard_over(guard);
	return 0;
}

static int no_link(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	struct lab *l = arg;

	/* asked for again and again while a thread waits would be a fault of the pager */
	return __atomic_load_n(&ctl->link_now, __ATOMIC_ACQUIRE) ? lab_want(l, obj, vaddr, pages)
	                                                         : -ENOTCONN;
}

/* In a successor: the lab is as it was at guard_start(). */
static int succeed(void *arg, struct guard *g)
{
	struct lab *l = arg;
	struct pager_ops ops = { no_link, l };
	struct err e = ERR_INIT;
	struct pager_stats st;

	pid_t before = __atomic_exchange_n(&ctl->serves, getpid(), __ATOMIC_ACQ_REL);

	if (procs_lives(before))
		__atomic_store_n(&ctl->two, true, __ATOMIC_RELEASE);
	LAB_CHECK(store_new(&l->store, &e) == 0);
	if (pager_adopt(&l->pager, g, l->store, &ops, &e) < 0)
		LAB_DIE("pager_adopt: %s", e.msg);
	pager_get_stats(l->pager, &st);
	if (!ctl->left_first)
		ctl->left_first = st.left_pages;
	while (ctl->linkless && !__atomic_load_n(&ctl->link_now, __ATOMIC_ACQUIRE))
		usleep(1000);
	__atomic_store_n(&ctl->link_now, true, __ATOMIC_RELEASE);
	l->only_asked = true;
	lab_source_start(l);
	pager_ask_again(l->pager);
	bring_missing(l);
	return to_the_end(l);
}

/* The process with the pager. */
static void worker(struct lab *l)
{
	struct pager_ops ops = { lab_want, l };
	struct guard_ops gops = { .succeed = succeed, .arg = l };
	struct err e = ERR_INIT;
	char byte;

	pager_test_hook = die_here;
	LAB_CHECK(setsid() > 0);
	ctl->serves = getpid();
	if (guard_start(guard, &gops, &e) < 0)
		LAB_DIE("guard_start: %s", e.msg);
	guard_keep(guard, hup);
	LAB_CHECK(store_new(&l->store, &e) == 0);
	LAB_CHECK(pager_new_guarded(&l->pager, guard, l->store, &ops, &e) == 0);
	for (unsigned int t = 0; t < l->n_tasks; t++)
		lab_add(l, t);
	LAB_CHECK(pager_start(l->pager, l->dirfd, l->n_tasks + 1, &e) == 0);
	l->criu = lab_connect(l);
	lab_announce(l, l->criu, -4711, -1);
	for (unsigned int t = 0; t < l->n_tasks; t++)
		lab_send_fd(l->pass[1], l->criu);
	for (unsigned int t = 0; t < l->n_tasks; t++)
		LAB_CHECK(read(l->ready[0], &byte, 1) == 1);
	LAB_CHECK(pager_announced(l->pager, deadline_in_ms(HANG_MS), &e) == 0);
	guard_tree(guard, l->pid[0]);
	guard_arm(guard);
	if (!ctl->linkless)
		lab_source_start(l);
	__atomic_store_n(&ctl->resumed, true, __ATOMIC_RELEASE);
	pager_push(l->pager);
	lab_announce(l, l->criu, 0x52535446, -1);
	close(l->criu);
	_exit(to_the_end(l));
}

static pid_t begin(struct lab *l, uint64_t seed, unsigned int mask, unsigned int tasks,
                   int (*prog)(struct lab *, unsigned int))
{
	struct err e = ERR_INIT;
	uint64_t s = seed;
	int sk[2];

	memset(ctl, 0, sizeof(*ctl));
	ctl->moment = PAT_N;
	ctl->status = -1;
	LAB_CHECK(guard_new(&guard, &e) == 0);
	lab_new(l, seed, PAGES, ROOM);
	lab_classes(l, mask, 1 + (unsigned int)(rnd(&s) % 40));
	l->delay_us = (unsigned int)(rnd(&s) % 400);
	lab_fork(l, tasks, prog);
	LAB_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sk) == 0);
	return sk[0] | sk[1] << 16;
}

static void wait_resumed(void)
{
	uint64_t until = deadline_in_ms(HANG_MS);

	while (!__atomic_load_n(&ctl->resumed, __ATOMIC_ACQUIRE) && now_us() < until)
		usleep(50);
	LAB_CHECK(ctl->resumed);
}

/* After begin(), when ctl is as the case wants it. Return: the pid of the worker */
static pid_t launch(struct lab *l, int socks)
{
	pid_t pid = fork();

	LAB_CHECK(pid >= 0);
	if (pid == 0) {
		close(socks & 0xffff);
		hup = guard_watched(socks >> 16);
		worker(l);
	}
	close(socks >> 16);
	hup = socks & 0xffff;
	wait_resumed();
	lab_go(l, l->n_tasks);
	return pid;
}

/* Return: does nobody serve any more? */
static bool hung_up(int ms)
{
	struct pollfd p = { .fd = hup, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

static bool tasks_end(struct lab *l)
{
	bool bad = false;
	uint64_t until = deadline_in_ms(HANG_MS);

	for (unsigned int t = 0; t < l->n_tasks; t++) {
		int st = 0, r;

		while ((r = waitpid(l->pid[t], &st, WNOHANG)) == 0 && now_us() < until)
			usleep(500);
		if (r == 0) {
			fprintf(stderr, "task %u pid %d hangs\n", t, l->pid[t]);
			kill(l->pid[t], SIGKILL);
			waitpid(l->pid[t], &st, 0);
		}
		bad |= r == 0 || !WIFEXITED(st) || WEXITSTATUS(st);
	}
	return !bad;
}

static void finish(struct lab *l, pid_t pid, const char *name, uint64_t seed)
{
	bool ok = tasks_end(l);
	uint64_t until = deadline_in_ms(HANG_MS);

	while (ok && __atomic_load_n(&ctl->status, __ATOMIC_ACQUIRE) && now_us() < until)
		usleep(500);
	ok = ok && ctl->status == 0;
	if (!ok)
		LAB_DIE("%s, SEED=%llu: status %d after %u deaths", name, (unsigned long long)seed,
		        ctl->status, guard_deaths(guard));
	if (__atomic_load_n(&ctl->two, __ATOMIC_ACQUIRE))
		LAB_DIE("%s, SEED=%llu: two served at once", name, (unsigned long long)seed);
	if (!hung_up(2000))
		LAB_DIE("%s: a guardian stays although all is done", name);
	waitpid(pid, NULL, 0);
	close(hup);
	guard_free(guard);
	l->pager = NULL;
	l->store = NULL;
	lab_close(l);
}

/* ---- at the worst moments ---- */

static void at_moment(uint64_t seed, unsigned int moment, int nth, const char *name)
{
	struct lab l;
	int socks = begin(&l, seed, BIT(C_N) - 1, 2, storm);

	ctl->moment = moment;
	ctl->nth = nth;
	ctl->again = 4;
	pid_t pid = launch(&l, socks);
	unsigned int deaths;

	finish(&l, pid, name, seed);
	deaths = ctl->deaths_at_moment;
	if (deaths == 0)
		LAB_DIE("%s: it never came to this", name);
	printf("%s: %u deaths\n", name, deaths);
}

/* ---- at random, and guardians, too ---- */

/* All three seats are taken again: only then the next may die. */
static bool complete_again(pid_t pid[3])
{
	for (uint64_t until = deadline_in_ms(HANG_MS); now_us() < until; usleep(200)) {
		if (__atomic_load_n(&ctl->status, __ATOMIC_ACQUIRE) == 0)
			return false;
		guard_pids(guard, pid, 3);
		if (procs_lives(pid[0]) && procs_lives(pid[1]) && procs_lives(pid[2]) &&
		    pid[0] != pid[1] && pid[1] != pid[2] && pid[0] != pid[2])
			return true;
	}
	LAB_DIE("nobody takes the empty seat");
}

static void kill_some(uint64_t *s)
{
	static const unsigned int whom[] = { 1, 1, 1, 1, 2, 4, 3, 3, 5 };
	unsigned int mask = whom[rnd(s) % ARRAY_SIZE(whom)];
	pid_t pid[3] = { 0 };

	if (!complete_again(pid))
		return;
	for (unsigned int i = 0; i < 3; i++)
		if (mask & BIT(i))
			kill(pid[i], SIGKILL);
	/* who is dying still looks alive: it must not be counted on */
	for (unsigned int i = 0; i < 3; i++)
		while ((mask & BIT(i)) && procs_lives(pid[i]))
			usleep(100);
}

static unsigned int at_random(uint64_t seed)
{
	struct lab l;
	uint64_t s = seed ^ 0x6b;
	int socks = begin(&l, seed, BIT(C_N) - 1, 2, storm);
	pid_t pid = launch(&l, socks);

	for (unsigned int k = 0; k < KILLS_MAX && ctl->status; k++) {
		usleep((useconds_t)(1000 + rnd(&s) % 20000));
		if (__atomic_load_n(&ctl->status, __ATOMIC_ACQUIRE) == 0)
			break;
		kill_some(&s);
	}
	unsigned int deaths = guard_deaths(guard);

	finish(&l, pid, "at random", seed);
	return deaths;
}

/* ---- single cases ---- */

static int verify(struct lab *l, unsigned int t)
{
	for (size_t i = 0; i < l->pages; i++)
		if (!page_is(l->base + i * PG, first_id(l, t, i)))
			LAB_DIE("task %u: page %zu is wrong", t, i);
	__atomic_store_n(&ctl->verified, true, __ATOMIC_RELEASE);
	return 0;
}

/* Slowly enough to be in the midst of it when the pager dies. */
static int verify_slowly(struct lab *l, unsigned int t)
{
	for (size_t i = 0; i < l->pages; i++) {
		size_t k = (i * 1021) % l->pages;

		if (!page_is(l->base + k * PG, first_id(l, t, k)))
			LAB_DIE("task %u: page %zu is wrong", t, k);
		usleep(10);
	}
	return 0;
}

/* All is in the store: no link is needed. */
static void all_here(uint64_t seed)
{
	struct lab l;
	int socks = begin(&l, seed, BIT(C_LOCAL) | BIT(C_LOCAL_ZERO) | BIT(C_ABSENT), 2,
	                  verify_slowly);

	ctl->linkless = true;
	ctl->link_now = true; /* nothing comes, and none is waited for */
	ctl->moment = PAT_FILLED;
	ctl->nth = 5;
	ctl->again = 2;
	pid_t pid = launch(&l, socks);

	finish(&l, pid, "all is here", seed);
	LAB_CHECK(ctl->left_first > 0 && ctl->deaths_at_moment >= 1);
	printf("all is here: %llu pages were missing at the first death\n",
	       (unsigned long long)ctl->left_first);
}

/* Without a link a thread waits; with it, the thread continues. */
static void link_later(uint64_t seed)
{
	struct lab l;
	pid_t pid[3];
	int socks = begin(&l, seed, BIT(C_LOCAL) | BIT(C_REMOTE) | BIT(C_REMOTE_ZERO), 1, verify);

	ctl->linkless = true;
	pid_t first = launch(&l, socks);

	usleep(20000);
	guard_pids(guard, pid, 3);
	LAB_CHECK(pid[0] == first && kill(first, SIGKILL) == 0);
	usleep(300000);
	LAB_CHECK(guard_deaths(guard) == 1);
	LAB_CHECK(!ctl->verified && waitpid(l.pid[0], NULL, WNOHANG) == 0);
	/* and once more while it waits */
	guard_pids(guard, pid, 3);
	LAB_CHECK(pid[0] != first && kill(pid[0], SIGKILL) == 0);
	usleep(100000);
	LAB_CHECK(guard_deaths(guard) == 2);
	LAB_CHECK(!ctl->verified && waitpid(l.pid[0], NULL, WNOHANG) == 0);
	__atomic_store_n(&ctl->link_now, true, __ATOMIC_RELEASE);
	finish(&l, first, "the link comes later", seed);
	LAB_CHECK(ctl->verified);
	printf("the link comes later: ok\n");
}

/* ---- all of them at once ---- */

static int __attribute__((noreturn)) read_on(struct lab *l, unsigned int t)
{
	for (size_t i = 0;; i = (i + 1) % l->pages) {
		uint64_t id = first_id(l, t, i);

		__atomic_add_fetch(&ctl->reads, 1, __ATOMIC_RELAXED);
		if (id == ID_ZERO || page_is(l->base + i * PG, id))
			continue;
		if (__atomic_add_fetch(&ctl->zeros, 1, __ATOMIC_RELAXED) == 1)
			ctl->first_zero_us = now_us();
	}
}

/* Return: microseconds from the first wrong page until the tree was held */
static uint64_t all_die(uint64_t seed)
{
	struct lab l;
	struct err e = ERR_INIT;
	unsigned int killed = 0;
	pid_t pid[3];
	int st, socks = begin(&l, seed, BIT(C_REMOTE), 1, read_on);

	ctl->linkless = true;
	pid_t first = launch(&l, socks);

	usleep(20000);
	LAB_CHECK(complete_again(pid));
	/* in one moment: else the last would go on */
	for (int i = 0; i < 3; i++)
		LAB_CHECK(kill(pid[i], SIGSTOP) == 0);
	for (int i = 0; i < 3; i++)
		LAB_CHECK(kill(pid[i], SIGKILL) == 0);
	LAB_CHECK(hung_up(2000));
	LAB_CHECK(guard_end_tree(guard, &killed, &e) == 0);
	uint64_t end = now_us();

	LAB_CHECK(killed == 1);
	LAB_CHECK(waitpid(l.pid[0], &st, 0) == l.pid[0] && WIFSIGNALED(st));
	waitpid(first, NULL, 0);
	guard_free(guard);
	close(hup);
	close(l.dirfd);
	rmdir(l.dir);
	munmap(l.base, l.room * PG);
	free(l.class);
	/* stopped between the count and the clock: it was in this moment */
	return ctl->first_zero_us ? end - ctl->first_zero_us : 0;
}

/* Before the commit a death undoes: guardians leave, every descriptor closes. */
static int never(struct lab *l, unsigned int t)
{
	(void)l;
	(void)t;
	return 0;
}

static void before_commit(uint64_t seed)
{
	struct lab l;
	struct err e = ERR_INIT;
	struct guard_ops gops = { .succeed = succeed, .arg = &l };
	int socks = begin(&l, seed, BIT(C_LOCAL), 1, never);
	pid_t pid = fork();

	if (pid == 0) {
		close(socks & 0xffff);
		LAB_CHECK(guard_start(guard, &gops, &e) == 0);
		kill(getpid(), SIGKILL);
	}
	close(socks >> 16);
	hup = socks & 0xffff;
	LAB_CHECK(hung_up(2000));
	LAB_CHECK(guard_deaths(guard) == 0);
	kill(l.pid[0], SIGKILL);
	waitpid(l.pid[0], NULL, 0);
	waitpid(pid, NULL, 0);
	guard_free(guard);
	close(hup);
	rmdir(l.dir);
	munmap(l.base, l.room * PG);
	free(l.class);
	printf("before the commit: ok\n");
}

int main(void)
{
	static const char *const name[PAT_N] = { "an event is read", "an event is half done",
		                                 "a page is filled" };
	uint64_t seed = lab_seed(), worst = 0;
	unsigned int deaths = 0, rounds = 0;

	setvbuf(stdout, NULL, _IONBF, 0);
	close(lab_uffd());
	signal(SIGPIPE, SIG_IGN);
	ctl = mmap(NULL, sizeof(*ctl), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	LAB_CHECK(ctl != MAP_FAILED);
	before_commit(seed);
	all_here(seed);
	link_later(seed);
	for (unsigned int m = 0; m < PAT_N; m++)
		for (int nth = 1; nth <= 40; nth += 13)
			at_moment(seed + m * 100 + (unsigned int)nth, m, nth, name[m]);
	for (uint64_t until = now_us() + lab_seconds(8) * 1000000ULL; now_us() < until; rounds++)
		deaths += at_random(seed + 1000 + rounds);
	printf("at random: %u rounds, %u successors\n", rounds, deaths);
	for (int i = 0; i < 5; i++) {
		uint64_t us = all_die(seed + 5000);

		printf("all die: %llu wrong pages read, held after %llu us\n",
		       (unsigned long long)ctl->zeros, (unsigned long long)us);
		worst = us > worst ? us : worst;
	}
	LAB_CHECK(worst < 500000);
	return deaths == 0;
}
