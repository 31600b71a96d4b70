// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-pager-gate.c - single cases around the commit and the end: pages that come early,
 * threads that wait for what is discarded, tasks that end or were never announced.
 */
#include "tests/pager-lab.h"

#define PAGES   512u
#define ROOM    1024u
#define HANG_MS 10000

static unsigned int want_calls;

static unsigned int wants(void)
{
	return __atomic_load_n(&want_calls, __ATOMIC_RELAXED);
}

static int run_want(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages)
{
	__atomic_add_fetch(&want_calls, 1, __ATOMIC_RELAXED);
	return lab_want(arg, obj, vaddr, pages);
}

static int verify(struct lab *l, unsigned int t)
{
	for (size_t i = 0; i < l->pages; i++)
		if (!page_is(l->base + i * PG, first_id(l, t, i)))
			LAB_DIE("task %u: page %zu is wrong", t, i);
	return 0;
}

static void deliver_all(struct lab *l)
{
	uint8_t *buf = malloc(64 * PG);

	for (unsigned int t = 0; t < l->n_tasks; t++)
		for (size_t i = 0; i < l->pages;)
			i += lab_deliver(l, t, i, 48, buf);
	free(buf);
}

/* lab_start() in two steps, to do something between them */
static void listen_only(struct lab *l, unsigned int procs)
{
	struct pager_ops ops = { run_want, l };
	struct err e = ERR_INIT;

	LAB_CHECK(store_new(&l->store, &e) == 0);
	LAB_CHECK(pager_new(&l->pager, l->store, &ops, &e) == 0);
	for (unsigned int t = 0; t < l->n_tasks; t++)
		lab_add(l, t);
	LAB_CHECK(pager_start(l->pager, l->dirfd, procs, &e) == 0);
	l->criu = lab_connect(l);
}

static void announce_all(struct lab *l)
{
	char byte;

	for (unsigned int t = 0; t < l->n_tasks; t++)
		lab_send_fd(l->pass[1], l->criu);
	for (unsigned int t = 0; t < l->n_tasks; t++)
		LAB_CHECK(read(l->ready[0], &byte, 1) == 1);
}

static void finish(struct lab *l, const char *name)
{
	struct err e = ERR_INIT;
	struct pager_stats st;

	if (pager_wait(l->pager, deadline_in_ms(HANG_MS), &e) < 0)
		LAB_DIE("%s: %s", name, e.msg);
	pager_get_stats(l->pager, &st);
	if (st.left_pages || st.procs_live || store_data_pages(l->store))
		LAB_DIE("%s: left %llu, procs %u, stored %llu", name,
		        (unsigned long long)st.left_pages, st.procs_live,
		        (unsigned long long)store_data_pages(l->store));
	printf("%s: ok\n", name);
	lab_free(l);
}

/* The first eight pages have the first class of @mask's remote ones, if any. */
static void new_lab(struct lab *l, uint64_t seed, unsigned int mask, unsigned int tasks,
                    int (*prog)(struct lab *, unsigned int))
{
	want_calls = 0;
	lab_new(l, seed, PAGES, ROOM);
	lab_classes(l, mask, 20);
	if (mask & BIT(C_REMOTE))
		memset(l->class, C_REMOTE, 8);
	lab_fork(l, tasks, prog);
}

/* Everything comes before CRIU has announced a task, or before it has registered. */
static void early(uint64_t seed, bool announced)
{
	struct lab l;

	new_lab(&l, seed, BIT(C_N) - 1, 2, verify);
	listen_only(&l, 2);
	if (!announced)
		deliver_all(&l);
	announce_all(&l);
	if (announced)
		deliver_all(&l);
	lab_resume(&l);
	LAB_CHECK(lab_join(&l, HANG_MS) == 0);
	finish(&l, announced ? "pages before the commit" : "pages before the tasks");
}

/* The store has older copies of what is at the source: sent, and written since. */
static void make_stale(struct lab *l)
{
	struct sobj *o = store_obj(l->store, obj_of_task(l->pid[0]), true);
	AUTO(runs) struct runs keep = { 0 };
	struct err e = ERR_INIT;
	uint8_t page[PG];

	for (size_t i = 0; i < l->pages; i++) {
		uint64_t v = (uintptr_t)l->base + i * PG;

		page_put(page, ID_FIRST + 0x777000 + i);
		if (l->class[i] == C_LOCAL)
			LAB_CHECK(runs_add(&keep, v, 1) == 0);
		else
			LAB_CHECK(store_write(o, v, page, 1, &e) == 0);
	}
	store_keep_only(o, &keep);
}

static void *early_link(void *arg)
{
	deliver_all(arg);
	return NULL;
}

/* The commit, and the end of what is stale, while pages come over their older copies. */
static void swept(uint64_t seed)
{
	struct lab l;
	pthread_t th;

	new_lab(&l, seed, BIT(C_REMOTE) | BIT(C_LOCAL), 1, verify);
	listen_only(&l, 1);
	make_stale(&l);
	announce_all(&l);
	LAB_CHECK(pthread_create(&th, NULL, early_link, &l) == 0);
	usleep((useconds_t)(mix(seed) % 1000));
	lab_resume(&l);
	LAB_CHECK(pager_settled(l.pager));
	store_sweep(l.store);
	LAB_CHECK(pthread_join(th, NULL) == 0 && lab_join(&l, HANG_MS) == 0);
	finish(&l, "a sweep behind early pages");
}

static void *touch(void *arg)
{
	return (void *)(uintptr_t)(*(volatile uint8_t *)arg);
}

/* Before the commit a thread needs a remote page (as for struct rseq). */
static void gate(uint64_t seed)
{
	struct lab l;
	uint64_t until = deadline_in_ms(HANG_MS);
	uint8_t buf[48 * PG];

	new_lab(&l, seed, BIT(C_REMOTE) | BIT(C_LOCAL), 1, verify);
	listen_only(&l, 1);
	announce_all(&l);
	lab_go(&l, 1); /* it runs although the pager was not told to push */
	while (!wants() && now_us() < until)
		usleep(100);
	LAB_CHECK(wants() == 1);
	for (int i = 0; i < 8; i++) {
		lab_deliver(&l, 0, (size_t)i, 1, buf);
		usleep(2000);
	}
	deliver_all(&l);
	lab_source_start(&l);
	pager_push(l.pager);
	close(l.criu);
	LAB_CHECK(lab_join(&l, HANG_MS) == 0);
	lab_source_stop(&l);
	finish(&l, "a fault at the gate");
}

/* How many threads of this process wait for a page that is missing? */
static unsigned int waiting(void)
{
	AUTO(dir) DIR *d = opendir("/proc/self/task");
	unsigned int n = 0;

	for (struct dirent *de; d && (de = readdir(d));) {
		char path[300], where[64] = "";

		snprintf(path, sizeof(path), "/proc/self/task/%s/wchan", de->d_name);
		AUTO(file) FILE *f = fopen(path, "re");

		n += f && fgets(where, sizeof(where), f) && !strcmp(where, "handle_userfault");
	}
	return n;
}

/* Threads wait for pages that never come, until the program discards or unmaps them. */
static int discard_waited(struct lab *l, unsigned int t)
{
	pthread_t th[4];
	void *got;

	(void)t;
	for (size_t k = 0; k < 4; k++)
		LAB_CHECK(pthread_create(&th[k], NULL, touch, l->base + k / 2 * PG) == 0);
	for (uint64_t until = deadline_in_ms(HANG_MS); waiting() < 4 && now_us() < until;)
		usleep(1000);
	LAB_CHECK(waiting() == 4);
	LAB_CHECK(madvise(l->base, PG, MADV_DONTNEED) == 0);
	for (size_t k = 0; k < 2; k++) {
		LAB_CHECK(pthread_join(th[k], &got) == 0);
		LAB_CHECK(got == NULL);
	}
	/* the second page goes, and a new one comes in its place */
	LAB_CHECK(mmap(l->base + PG, PG, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == l->base + PG);
	for (size_t k = 2; k < 4; k++) {
		LAB_CHECK(pthread_join(th[k], &got) == 0);
		LAB_CHECK(got == NULL);
	}
	return 0;
}

static void waited(uint64_t seed)
{
	struct lab l;

	new_lab(&l, seed, BIT(C_REMOTE), 1, discard_waited);
	listen_only(&l, 1);
	announce_all(&l);
	lab_resume(&l);
	LAB_CHECK(lab_join(&l, HANG_MS) == 0);
	LAB_CHECK(wants() == 2); /* once for each page, not for each thread */
	finish(&l, "waiting for what is discarded, then exit");
}

static int do_exec(struct lab *l, unsigned int t)
{
	(void)l;
	(void)t;
	execl("/bin/sleep", "sleep", "1", (char *)NULL);
	return 1;
}

/* The source is silent; nobody needs its pages any more. */
static void ended(uint64_t seed)
{
	struct lab l;
	uint64_t t0;

	new_lab(&l, seed, BIT(C_N) - 1, 2, do_exec);
	listen_only(&l, 2);
	announce_all(&l);
	t0 = now_us();
	lab_resume(&l);
	struct err e = ERR_INIT;

	LAB_CHECK(pager_wait(l.pager, deadline_in_ms(HANG_MS), &e) == 0);
	LAB_CHECK(now_us() - t0 < 900000); /* before the new programs end */
	LAB_CHECK(lab_join(&l, HANG_MS) == 0);
	finish(&l, "exec");
}

static int sleep_long(struct lab *l, unsigned int t)
{
	(void)l;
	(void)t;
	pause();
	return 0;
}

static void missing(uint64_t seed)
{
	struct lab l;
	struct err e = ERR_INIT;
	AUTO(runs) struct runs none = { 0 };
	AUTO(runs) struct runs some = { 0 };
	struct pager_ops ops = { run_want, &l };
	uint8_t page[PG] = { 0 };

	new_lab(&l, seed, BIT(C_REMOTE), 1, sleep_long);
	LAB_CHECK(store_new(&l.store, &e) == 0);
	LAB_CHECK(pager_new(&l.pager, l.store, &ops, &e) == 0);
	lab_add(&l, 0);
	LAB_CHECK(runs_add(&some, 0x10000, 3) == 0);
	/* content that is not in the store */
	LAB_CHECK(pager_add(l.pager, 77777, &some, &none, &e) == -ENODATA);
	err_clear(&e);
	LAB_CHECK(pager_start(l.pager, l.dirfd, 1, &e) == 0);
	l.criu = lab_connect(&l);
	announce_all(&l);
	lab_resume(&l);
	LAB_CHECK(pager_wait(l.pager, deadline_in_ms(100), &e) == -ETIMEDOUT);
	err_clear(&e);
	LAB_CHECK(pager_deliver(l.pager, obj_of_task(l.pid[0]), 123, 1, page, &e) == -EINVAL);
	err_clear(&e);
	LAB_CHECK(pager_deliver(l.pager, obj_of_task(l.pid[0]), 1ULL << 47, 1, page, &e) ==
	          -EINVAL);
	err_clear(&e);
	LAB_CHECK(pager_deliver(l.pager, obj_of_task(l.pid[0]), (1ULL << 47) - PG, 2, page, &e) ==
	          -EINVAL);
	err_clear(&e);
	LAB_CHECK(pager_deliver(l.pager, obj_of_task(l.pid[0]), 0, SIZE_MAX, page, &e) == -EINVAL);
	LAB_CHECK(pager_deliver(l.pager, obj_of_task(4242), 0x1000, 1, page, NULL) == 0);
	LAB_CHECK(pager_deliver(l.pager, obj_of_task(l.pid[0]), 0x1000, 1, page, NULL) == 0);
	kill(l.pid[0], SIGKILL);
	lab_join(&l, HANG_MS);
	finish(&l, "waiting, bad addresses, killed");
}

/* CRIU forgets a task of which pages are missing: that must not end well. */
static void forgotten(uint64_t seed)
{
	struct lab l;
	struct err e = ERR_INIT;

	new_lab(&l, seed, BIT(C_LOCAL), 1, sleep_long);
	listen_only(&l, 1);
	pager_push(l.pager);
	close(l.criu);
	LAB_CHECK(pager_wait(l.pager, deadline_in_ms(HANG_MS), &e) == -ENOENT);
	kill(l.pid[0], SIGKILL);
	lab_join(&l, HANG_MS);
	printf("a task without userfaultfd: %s\n", e.msg);
	lab_free(&l);
}

static int all_zero(struct lab *l, unsigned int t)
{
	(void)t;
	for (size_t i = 0; i < l->pages; i++)
		LAB_CHECK(page_is(l->base + i * PG, ID_ZERO));
	return 0;
}

/* A task of which nothing is lazy. */
static void unknown(uint64_t seed)
{
	struct lab l;
	struct err e = ERR_INIT;
	struct pager_ops ops = { run_want, &l };

	new_lab(&l, seed, BIT(C_REMOTE), 1, all_zero);
	LAB_CHECK(store_new(&l.store, &e) == 0);
	LAB_CHECK(pager_new(&l.pager, l.store, &ops, &e) == 0);
	LAB_CHECK(pager_start(l.pager, l.dirfd, 1, &e) == 0);
	l.criu = lab_connect(&l);
	announce_all(&l);
	lab_go(&l, 1);
	LAB_CHECK(lab_join(&l, HANG_MS) == 0); /* faults are served before the push */
	lab_announce(&l, l.criu, 0x52535446, -1);
	close(l.criu);
	pager_push(l.pager);
	finish(&l, "a task without lazy pages");
}

static void nothing_at_all(void)
{
	struct store *s = NULL;
	struct pager *p = NULL;
	struct err e = ERR_INIT;
	struct pager_ops ops = { run_want, NULL };

	LAB_CHECK(store_new(&s, &e) == 0 && pager_new(&p, s, &ops, &e) == 0);
	pager_free(p);
	pager_free(NULL);
	store_free(s);
}

int main(void)
{
	uint64_t seed = lab_seed();

	setvbuf(stdout, NULL, _IONBF, 0);
	nothing_at_all();
	for (uint64_t k = 0; k < 3; k++) {
		early(seed + k, false);
		early(seed + k, true);
		gate(seed + k);
		waited(seed + k);
	}
	for (uint64_t k = 0; k < 40; k++)
		swept(seed + k);
	ended(seed);
	missing(seed);
	forgotten(seed);
	unknown(seed);
	return 0;
}
