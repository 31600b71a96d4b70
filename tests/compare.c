// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * compare.c - what CRIU alone would send of a frozen process, against what haul brings
 * when it answers CRIU's page scans: page by page, addresses, class and bytes.
 *
 * compare CRIU KINDS DIR: KINDS (kinds.c) sets itself up; the tracker makes a round;
 * KINDS changes what it has and stops. CRIU then dumps it twice, leaving it stopped:
 * first as it is (every page it streams is compared with what haul would read), then
 * with its scans answered. present.c's list of pages must be the first dump's, and a page
 * that the tracker calls clean must have the bytes it had in the round.
 *
 * compare CRIU KINDS DIR sysv: CRIU must refuse, both ways, and let the process go on.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/page.h"
#include "engine/criu/criu.h"
#include "engine/images/img.h"
#include "engine/criu/sink.h"
#include "engine/criu/smaps.h"
#include "engine/proc/proc.h"
#include "engine/runs.h"
#include "engine/tracker/tracker.h"
#include "hauler/run/priv.h"

#define LIMIT_MS   30000
#define FAULTS_MAX 40
#define SP_MAX     16

static const char *criu_path, *dir;
static pid_t target = -1;
static int uffd_kept = -1;
static unsigned int faults;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (target > 0)
		kill(target, SIGKILL);
	exit(1);
}

static void check(int r, const struct err *e, const char *what)
{
	if (r < 0)
		die("%s: %s", what, e->msg);
}

/* ---- where an address is, for the messages ---- */

static void describe(uint64_t vaddr, char *out, size_t bytes)
{
	char path[40], line[256];
	unsigned long start, end;

	snprintf(path, sizeof(path), "/proc/%d/maps", target);
	AUTO(file) FILE *f = fopen(path, "re");

	snprintf(out, bytes, "nowhere");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 && start <= vaddr && vaddr < end) {
			line[strcspn(line, "\n")] = 0;
			snprintf(out, bytes, "%.*s", (int)bytes - 1, line);
		}
}

static void fault(uint64_t vaddr, uint64_t pages, const char *what)
{
	char where[256];

	if (faults++ >= FAULTS_MAX)
		return;
	describe(vaddr, where, sizeof(where));
	fprintf(stderr, "page %lx (%lu pages): %s; in %s\n", (unsigned long)vaddr,
	        (unsigned long)pages, what, where);
}

/* ---- the process ---- */

static void wait_stopped(void)
{
	int status;

	if (waitpid(target, &status, WUNTRACED) != target || !WIFSTOPPED(status))
		die("the process did not stop (status %x)", status);
}

static void take_uffd(int sock)
{
	char byte;
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} c;
	struct iovec io = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)
	};

	if (recvmsg(sock, &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
		die("no userfaultfd from the process");
	memcpy(&uffd_kept, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(uffd_kept));
}

static void start(const char *kinds, const char *what)
{
	char data[256], log[256];
	int sk[2];

	snprintf(data, sizeof(data), "%s/kinds.data", dir);
	snprintf(log, sizeof(log), "%s/kinds.log", dir);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sk) < 0)
		die("socketpair");
	target = fork();
	if (target == 0) {
		int null = open("/dev/null", O_RDWR);
		int out = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		bool uffd = !strcmp(what, "uffd");

		setsid();
		dup2(null, 0);
		dup2(out, 1);
		dup2(out, 2);
		if (uffd)
			dup2(sk[1], 3);
		closefrom(uffd ? 4 : 3);
		execl(kinds, kinds, data, what, NULL);
		_exit(127);
	}
	close(sk[1]);
	if (!strcmp(what, "uffd"))
		take_uffd(sk[0]);
	close(sk[0]);
	wait_stopped();
}

/* ---- the round ---- */

struct round {
	struct sent *sent;
	uint64_t pages;
	int memfd;
};

static int remember(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                    unsigned int flags)
{
	struct round *r = arg;
	uint8_t page[PAGE_BYTES];

	(void)vma;
	(void)flags;
	for (uint64_t i = 0; i < pages; i++, vaddr += PAGE_BYTES) {
		if (mem_read(r->memfd, pid, vaddr, page, 1) != 1)
			continue;
		XXH128_hash_t h = XXH3_128bits(page, sizeof(page));

		if (sent_same(r->sent, obj_of_task(pid), vaddr,
		              (struct sent_hash){ h.low64, h.high64 }) < 0)
			return -ENOMEM;
		r->pages++;
	}
	return 0;
}

/* ---- one dump ---- */

struct shared_page {
	uint64_t obj, vaddr, hash;
};

struct one_dump {
	struct mig m;
	int memfd;
	uint64_t task_pages;
	struct shared_page *shared;
	size_t n_shared;
};

/* CRIU's bytes against those that haul reads. */
static int same_bytes(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages)
{
	struct one_dump *d = arg;
	uint8_t page[PAGE_BYTES];

	for (size_t i = 0; i < pages; i++, vaddr += PAGE_BYTES) {
		d->task_pages++;
		if (mem_read(d->memfd, (pid_t)obj_id(obj), vaddr, page, 1) != 1)
			fault(vaddr, 1, "CRIU sends it, haul cannot read it");
		else if (memcmp(page, (const uint8_t *)data + i * PAGE_BYTES, sizeof(page)))
			fault(vaddr, 1, "haul reads other bytes than CRIU sends");
	}
	return 0;
}

static int keep_shared(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages)
{
	struct one_dump *d = arg;
	struct shared_page *v = realloc(d->shared, (d->n_shared + pages) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	d->shared = v;
	for (size_t i = 0; i < pages; i++)
		v[d->n_shared++] = (struct shared_page){
			obj, vaddr + i * PAGE_BYTES,
			XXH3_64bits((const uint8_t *)data + i * PAGE_BYTES, PAGE_BYTES)
		};
	return 0;
}

/* Return: as criu_pump() to the end of the dump */
static int dump(struct one_dump *d, bool answered, struct err *e)
{
	struct mig *m = &d->m;
	struct sink_ops ops = { .shmem = keep_shared,
		                .task = answered ? NULL : same_bytes,
		                .arg = d };
	struct criu_opts o = {
		.pid = target, .tcp_close = true, .file_locks = true, .log_name = "dump.log"
	};
	int sk[2], listener = -1;

	mig_init(m);
	check(img_dir(&m->dump.images_fd, e), e, "images");
	o.images_fd = m->dump.images_fd;
	d->memfd = mem_open(target, e);
	if (d->memfd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sk) < 0)
		die("descriptors for the dump");
	check(criu_spawn_scanned(&m->dump.criu, criu_path, sk[1], true, answered ? &listener : NULL,
	                         e),
	      e, "CRIU");
	close(sk[1]);
	if (answered && listener < 0)
		die("no listener for CRIU's scans: seccomp does not allow it");
	if (answered)
		check(answer_criu_start(m, listener, true, NULL, e), e, "scans");
	check(criu_version(m->dump.criu, &o.version, deadline_in_ms(LIMIT_MS), e), e, "version");
	check(sink_start(&m->dump.sink, sk[0], o.version, &ops, e), e, "sink");
	check(criu_dump(m->dump.criu, &o, e), e, "dump");
	return criu_pump(m->dump.criu, CRIU_EV_DONE, NULL, deadline_in_ms(LIMIT_MS), e);
}

static void dump_fini(struct one_dump *d)
{
	criu_free(d->m.dump.criu);
	sink_free(d->m.dump.sink);
	scans_free(d->m.dump.scans);
	smaps_free(d->m.dump.smaps);
	answer_criu_forget(&d->m);
	free(d->shared);
	close(d->memfd);
	close(d->m.dump.images_fd);
}

/* ---- the comparison ---- */

static uint64_t sp_page[SP_MAX];
static size_t n_sp;

/* CRIU wants the page under a stack pointer early; a lazy one does as well. */
static void find_stack_pointers(void)
{
	char path[300], line[256];
	unsigned long sp;

	snprintf(path, sizeof(path), "/proc/%d/task", target);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && n_sp < SP_MAX && (de = readdir(d));) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/syscall", target, de->d_name);
		AUTO(file) FILE *f = fopen(path, "re");

		/* the last but one is the stack pointer */
		if (!f || !fgets(line, sizeof(line), f) || !strrchr(line, ' '))
			continue;
		*strrchr(line, ' ') = 0;
		if (strrchr(line, ' ') && sscanf(strrchr(line, ' '), "%lx", &sp) == 1)
			sp_page[n_sp++] = sp & ~(PAGE_BYTES - 1UL);
	}
}

static bool is_sp(uint64_t vaddr)
{
	for (size_t i = 0; i < n_sp; i++)
		if (sp_page[i] == vaddr)
			return true;
	return false;
}

/* All pages of a task as one ascending list of single pages. */
struct page {
	uint64_t vaddr;
	bool eager;
};

struct page_set {
	struct page *v;
	size_t n, cap;
};

static int add_run(void *arg, const struct run *run, bool eager)
{
	struct page_set *p = arg;

	if (p->n + run->pages > p->cap) {
		p->cap = 2 * p->cap + run->pages;
		p->v = realloc(p->v, p->cap * sizeof(*p->v));
		if (!p->v)
			return -ENOMEM;
	}
	for (uint64_t i = 0; i < run->pages; i++)
		p->v[p->n++] = (struct page){ run->vaddr + i * PAGE_BYTES, eager };
	return 0;
}

static void compare_pages(const struct page_set *criu, const struct page_set *ours)
{
	size_t i = 0, k = 0;

	while (i < criu->n || k < ours->n) {
		uint64_t a = i < criu->n ? criu->v[i].vaddr : UINT64_MAX;
		uint64_t b = k < ours->n ? ours->v[k].vaddr : UINT64_MAX;

		if (k && k < ours->n && ours->v[k].vaddr <= ours->v[k - 1].vaddr)
			fault(b, 1, "haul lists it twice or out of order");
		if (a < b)
			fault(a, 1, "CRIU alone sends it, haul does not bring it");
		else if (b < a)
			fault(b, 1, "haul brings it, CRIU alone does not send it");
		else if (criu->v[i].eager && !ours->v[k].eager && !is_sp(a))
			fault(a, 1, "needed before the first instruction, haul brings it later");
		else if (!criu->v[i].eager && ours->v[k].eager)
			fault(a, 1, "haul brings it early without need");
		i += a <= b;
		k += b <= a;
	}
}

/* A page that is not dirty must still be what it was in the round. */
static void check_clean(const struct page_set *p, const struct present_task *t, struct round *r,
                        uint64_t *clean)
{
	uint8_t page[PAGE_BYTES];

	for (size_t i = 0; i < p->n; i++) {
		uint64_t at = p->v[i].vaddr;
		size_t d = runs_find(&t->dirty, at);
		bool sent = false;

		if (d < t->dirty.n && t->dirty.v[d].vaddr <= at)
			continue;
		sent_span(r->sent, obj_of_task(target), at, 1, &sent);
		if (!sent)
			continue;
		if (mem_read(r->memfd, target, at, page, 1) != 1) {
			fault(at, 1, "cannot be read");
			continue;
		}
		XXH128_hash_t h = XXH3_128bits(page, sizeof(page));

		*clean += 1;
		if (sent_same(r->sent, obj_of_task(target), at,
		              (struct sent_hash){ h.low64, h.high64 }) != 1)
			fault(at, 1, "called clean, but not what it was in the round");
	}
}

static void compare_shared(const struct one_dump *a, const struct one_dump *b)
{
	if (a->n_shared != b->n_shared)
		die("shared memory: %zu pages from CRIU alone, %zu with its scans answered",
		    a->n_shared, b->n_shared);
	for (size_t i = 0; i < a->n_shared; i++)
		if (memcmp(&a->shared[i], &b->shared[i], sizeof(a->shared[i])))
			fault(a->shared[i].vaddr, 1, "shared memory differs");
}

/* What CRIU makes of the mappings: the same, whoever wrote the smaps that it read. */
static void compare_mm(const struct one_dump *a, const struct one_dump *b)
{
	AUTO(mem) uint8_t *x = NULL;
	AUTO(mem) uint8_t *y = NULL;
	struct err e = ERR_INIT;
	size_t n, k;
	char name[32];

	if (!b->m.dump.smaps || !b->m.dump.smaps_answered) {
		printf("smaps was CRIU's own: not compared\n");
		return;
	}
	snprintf(name, sizeof(name), "mm-%d.img", target);
	check(img_load(a->m.dump.images_fd, name, 1 << 20, &x, &n, &e), &e, name);
	check(img_load(b->m.dump.images_fd, name, 1 << 20, &y, &k, &e), &e, name);
	if (n != k || memcmp(x, y, n))
		die("%s differs when haul answers the open of smaps", name);
	printf("%s is the same, %zu bytes, with smaps answered\n", name, n);
}

static const struct sink_obj *object(const struct sink *s)
{
	size_t n;
	const struct sink_obj *o = sink_objs(s, &n);

	for (size_t i = 0; i < n; i++)
		if (o[i].obj == obj_of_task(target))
			return &o[i];
	die("CRIU sent nothing of the process");
}

static void compare(struct round *round, struct tracker *trk)
{
	struct one_dump alone = { 0 }, answered = { 0 };
	struct page_set criu = { 0 }, ours = { 0 };
	static struct mig m; /* of which only the tracker matters here */
	struct present *x = NULL;
	struct err e = ERR_INIT;
	uint64_t clean = 0;

	m.precopy.trk = trk;
	find_stack_pointers();
	check(dump(&alone, false, &e), &e, "CRIU alone");
	check(sink_wait(alone.m.dump.sink, DEADLINE_NEVER, &e), &e, "CRIU alone");
	check(dump(&answered, true, &e), &e, "CRIU with its scans answered");
	check(sink_wait(answered.m.dump.sink, DEADLINE_NEVER, &e), &e,
	      "CRIU with its scans answered");
	check(present_start(&x, &m, &e), &e, "last scan");
	check(present_wait(x, NULL, &e), &e, "last scan");
	const struct present_task *t = present_task(x, target);

	if (!t || !answered.m.dump.n_answered)
		die("nothing was left to haul: the test would prove nothing");
	check(present_walk(&alone.m, NULL, object(alone.m.dump.sink), add_run, &criu, &e), &e,
	      "pages of CRIU alone");
	const struct sink_obj *listed = object(answered.m.dump.sink);

	check(present_walk(&answered.m, t, listed, add_run, &ours, &e), &e, "pages of haul");
	compare_pages(&criu, &ours);
	check_clean(&ours, t, round, &clean);
	compare_shared(&alone, &answered);
	compare_mm(&alone, &answered);
	printf("CRIU alone: %zu pages (bytes compared: %lu), %zu shared; haul: %zu pages, %lu from "
	       "%zu mappings of its own, %lu clean since the round; %u differences\n",
	       criu.n, (unsigned long)alone.task_pages, alone.n_shared, ours.n,
	       (unsigned long)(ours.n - listed->lazy.pages - listed->eager.pages),
	       answered.m.dump.n_answered, (unsigned long)clean, faults);
	if (alone.task_pages != criu.n || clean == 0)
		die("the comparison was not complete");
	present_free(x);
	free(criu.v);
	free(ours.v);
	dump_fini(&alone);
	dump_fini(&answered);
}

static void run_kinds(const char *kinds)
{
	struct err e = ERR_INIT;
	struct tracker_stats st;
	struct round round = { 0 };
	AUTO(tracker) struct tracker *trk = NULL;
	AUTO(sent) struct sent *sent = NULL;

	start(kinds, "uffd");
	kill(target, SIGCONT);
	check(sent_new(&sent, &e), &e, "sent");
	round.sent = sent;
	round.memfd = mem_open(target, &e);
	check(tracker_new(&trk, target, TRACKER_WP_ASYNC, &e), &e, "tracker");
	check(tracker_round(trk, remember, &round, &st, &e), &e, "round");
	kill(target, SIGUSR1);
	wait_stopped();
	compare(&round, trk);
	kill(target, SIGKILL);
	close(round.memfd);
}

static void refuse(const char *kinds, bool answered)
{
	struct one_dump d = { 0 };
	struct err e = ERR_INIT;

	start(kinds, "sysv");
	if (dump(&d, answered, &e) == 0)
		die("CRIU took System V shared memory: say so in the documentation");
	printf("System V shared memory, scans %s: %s\n", answered ? "answered" : "not answered",
	       e.msg);
	dump_fini(&d);
	kill(target, SIGCONT);
	kill(target, SIGUSR1);
	wait_stopped(); /* it ran on, and did what it was told */
	kill(target, SIGKILL);
	waitpid(target, NULL, 0);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		die("compare CRIU KINDS DIR [sysv]");
	log_setup("compare", LOG_INFO_);
	criu_path = argv[1];
	dir = argv[3];
	if (argc > 4) {
		refuse(argv[2], false);
		refuse(argv[2], true);
		return 0;
	}
	run_kinds(argv[2]);
	return faults ? 1 : 0;
}
