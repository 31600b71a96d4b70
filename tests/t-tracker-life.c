// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-tracker-life.c - the tracker on processes with a life of their own: it is killed at
 * any moment, they exec, exit, are stopped, filtered, out of descriptors, another user's.
 * Each is left as it was found, and the next tracker can begin.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "engine/proc/proc.h"
#include "engine/tracker/tracker.h"
#include "tests/checks.h"

#define AREA_PAGES 512
#define KILLS      150
#define NOBODY     65534

static enum tracker_kind kind;

/* What targets count in: seen by us, also after exec. */
static volatile uint64_t *ticks;
static int ticks_fd;

/* ---- targets ---- */

static uint8_t *area_new(void)
{
	uint8_t *a = mmap(NULL, AREA_PAGES * 4096, PROT_READ | PROT_WRITE,
	                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(a, 1, AREA_PAGES * 4096);
	return a;
}

static void work(void)
{
	uint8_t *a = area_new();

	for (uint64_t i = 0;; i++) {
		a[i % AREA_PAGES * 4096] = (uint8_t)i;
		__atomic_add_fetch(ticks, 1, __ATOMIC_RELAXED);
		if (i % 64 == 0)
			usleep(100);
	}
}

static void *work_thread(void *arg)
{
	work();
	return arg;
}

static void threads(void)
{
	pthread_t t;

	for (int i = 0; i < 4; i++)
		pthread_create(&t, NULL, work_thread, NULL);
	work();
}

static void *short_life(void *arg)
{
	char stack[64];

	memset(stack, 7, sizeof(stack));
	*(volatile char *)stack = 1;
	return arg;
}

/* Threads come and go; a failure to make or to join one ends the process. */
static void come_and_go(void)
{
	pthread_t t[4];

	area_new();
	for (;;) {
		for (int i = 0; i < 4; i++)
			if (pthread_create(&t[i], NULL, short_life, NULL))
				_exit(1);
		for (int i = 0; i < 4; i++)
			if (pthread_join(t[i], NULL))
				_exit(2);
		__atomic_add_fetch(ticks, 1, __ATOMIC_RELAXED);
	}
}

/* userfaultfd(2) would kill it. */
static void filtered(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { .len = ARRAY_SIZE(f), .filter = f };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) < 0)
		_exit(77);
	work();
}

/* No descriptor is free below the soft limit, nor below the hard one when @hard. */
static void fill_table(bool hard)
{
	struct rlimit l = { 32, hard ? 32 : 256 };

	setrlimit(RLIMIT_NOFILE, &l);
	while (dup(0) >= 0)
		;
	if (errno != EMFILE)
		_exit(3);
	work();
}

static void full_soft(void)
{
	fill_table(false);
}

static void full_hard(void)
{
	fill_table(true);
}

static void other_user(void)
{
	if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		_exit(77);
	work();
}

static void execs(int sig)
{
	char fd[] = { (char)('0' + ticks_fd / 10), (char)('0' + ticks_fd % 10), 0 };
	char *argv[] = { (char *)"after-exec", fd, NULL };

	(void)sig;
	execv("/proc/self/exe", argv);
	_exit(4);
}

static void ready_to_exec(void)
{
	struct sigaction sa = { .sa_handler = execs };

	sigaction(SIGUSR1, &sa, NULL);
	work();
}

static void with_child(void)
{
	if (fork() == 0)
		work();
	signal(SIGCHLD, SIG_IGN);
	work();
}

static pid_t target(void (*run)(void))
{
	uint64_t limit = deadline_in_ms(5000);

	*ticks = 0;
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		run();
		_exit(0);
	}
	while (*ticks < 100 && now_us() < limit)
		usleep(1000);
	CHECK(*ticks >= 100, "the target does not begin");
	return pid;
}

static bool goes_on(void)
{
	uint64_t limit = deadline_in_ms(5000), before = *ticks;

	while (*ticks < before + 20 && now_us() < limit)
		usleep(500);
	return *ticks >= before + 20;
}

/* ---- what is left in a process ---- */

static bool file_has(const char *path, const char *start, const char *word)
{
	AUTO(file) FILE *f = fopen(path, "re");
	char line[1024];

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, start, strlen(start)) && strstr(line, word))
			return true;
	return false;
}

static unsigned int descriptors(pid_t pid, bool *uffd)
{
	char path[64], link[64];
	unsigned int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));) {
		ssize_t k = readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1);

		link[k > 0 ? k : 0] = 0;
		*uffd |= strstr(link, "userfaultfd") != NULL;
		n++;
	}
	return n;
}

static void check_threads(pid_t pid, bool stopped)
{
	char path[64], status[96];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));) {
		snprintf(status, sizeof(status), "%s/%.16s/status", path, de->d_name);
		if (de->d_name[0] == '.' || access(status, F_OK) < 0)
			continue;
		CHECK(!file_has(status, "State:", "tracing"), "thread %s", de->d_name);
		CHECK(file_has(status, "State:", "(stopped)") == stopped, "thread %s", de->d_name);
		CHECK(file_has(status, "TracerPid:", "\t0") || access(status, F_OK) < 0,
		      "thread %s is traced", de->d_name);
	}
}

static void check_clean(pid_t pid, unsigned int n_fds, bool stopped)
{
	char path[64];
	bool uffd = false;
	int status;

	CHECK(waitpid(pid, &status, WNOHANG) == 0, "it ended: status %#x", status);
	check_threads(pid, stopped);
	unsigned int n = descriptors(pid, &uffd);

	CHECK(n == n_fds && !uffd, "%u descriptors, %u before", n, n_fds);
	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	CHECK(!file_has(path, "VmFlags:", " um") && !file_has(path, "VmFlags:", " uw"),
	      "mappings are registered still");
}

static unsigned int fds_of(pid_t pid)
{
	bool uffd = false;

	return descriptors(pid, &uffd);
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- tracking ---- */

struct taker {
	void (*first)(struct taker *t); /* in mid-round, once */
	pid_t pid;
	uint64_t pages;
};

static int take(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                unsigned int flags)
{
	struct taker *t = arg;

	(void)pid, (void)vma, (void)vaddr, (void)flags;
	t->pages += pages;
	if (t->first) {
		void (*first)(struct taker *) = t->first;

		t->first = NULL;
		first(t);
	}
	return 0;
}

/* Rounds on @pid. Return: processes that were tracked in the last one */
static unsigned int rounds(pid_t pid, int n, struct taker *tk, struct tracker_stats *st)
{
	struct err e = ERR_INIT;
	AUTO(tracker) struct tracker *t = NULL;

	CHECK(tracker_new(&t, pid, kind, &e) == 0, "%s", e.msg);
	for (int i = 0; i < n; i++) {
		usleep(3000);
		CHECK(tracker_round(t, take, tk, st, &e) == 0, "round %d: %s", i, e.msg);
	}
	return st->procs;
}

/* All that a plain target needs to show. @tracked: processes of it that can be */
static void ordinary(const char *name, void (*run)(void), unsigned int tracked)
{
	struct taker tk = { 0 };
	struct tracker_stats st = { 0 };

	checks_title = name;
	pid_t pid = target(run);
	unsigned int n_fds = fds_of(pid);

	for (int i = 0; i < 3; i++) {
		unsigned int got = rounds(pid, 3, &tk, &st);

		CHECK(got == tracked, "%u of %u tracked", got, tracked);
		CHECK(!tracked || tk.pages >= AREA_PAGES, "%llu pages",
		      (unsigned long long)tk.pages);
		CHECK(goes_on(), "it does not run");
		check_clean(pid, n_fds, false);
	}
	end(pid);
}

/* ---- the tracker is killed ---- */

static void track_for_ever(pid_t pid, bool inject_only)
{
	struct err e = ERR_INIT;
	struct taker tk = { 0 };
	struct tracker_stats st;
	struct tracker *t = NULL;

	if (tracker_new(&t, pid, kind, &e) < 0)
		_exit(1);
	for (;;) {
		int fd = -1;

		if (!inject_only)
			tracker_round(t, take, &tk, &st, &e);
		else if (inject_uffd(pid, &fd, &e) == 0)
			close(fd);
	}
}

/* What a helper of the tracker has begun, it finishes; we have inherited it by then. */
static bool alone_with(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	for (int i = 0; i < 3000; i++) {
		AUTO(file) FILE *f = fopen(path, "re");
		int child, others = 0;

		while (f && fscanf(f, "%d", &child) == 1)
			if (child != pid && waitpid(child, NULL, WNOHANG | __WALL) == 0)
				others++;
		if (f && !others)
			return true;
		usleep(1000);
	}
	return false;
}

static void killed(const char *name, void (*run)(void), bool inject_only)
{
	struct taker tk = { 0 };
	struct tracker_stats st = { 0 };

	checks_title = name;
	pid_t pid = target(run);
	unsigned int n_fds = fds_of(pid);

	unsigned int failed_before = checks_failed;

	srand(1);
	for (int i = 0; i < KILLS && checks_failed == failed_before; i++) {
		fflush(stdout);
		pid_t tracker = fork();

		if (tracker == 0)
			track_for_ever(pid, inject_only);
		usleep((useconds_t)(500 + rand() % 4000));
		end(tracker);
		CHECK(goes_on(), "it does not run after kill %d", i);
		CHECK(alone_with(pid), "the tracker's helper does not end");
		check_clean(pid, n_fds, false);
	}
	CHECK(rounds(pid, 3, &tk, &st) == 1 && tk.pages >= AREA_PAGES, "the next tracker");
	check_clean(pid, n_fds, false);
	end(pid);
}

/* ---- in mid-round ---- */

static void exec_it(struct taker *t)
{
	char path[64];

	kill(t->pid, SIGUSR1);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", t->pid);
	for (int i = 0; i < 1000 && !file_has(path, "after-exec", "after-exec"); i++)
		usleep(1000);
	usleep(20000);
}

static void kill_it(struct taker *t)
{
	kill(t->pid, SIGKILL);
	usleep(20000);
}

static void exec_in_round(void)
{
	struct taker tk = { .first = exec_it };
	struct tracker_stats st = { 0 };

	checks_title = "exec in mid-round";
	pid_t pid = target(ready_to_exec);

	tk.pid = pid;
	rounds(pid, 1, &tk, &st);
	CHECK(goes_on(), "it does not run");
	check_clean(pid, fds_of(pid), false);
	struct err e = ERR_INIT;
	struct tracker *t = NULL;

	/* the same, and on: the new memory is tracked, whole at first and then in part */
	end(pid);
	pid = tk.pid = target(ready_to_exec);
	tk.first = exec_it;
	CHECK(tracker_new(&t, pid, kind, &e) == 0, "%s", e.msg);
	for (int i = 0; i < 3; i++) {
		tk.pages = 0;
		CHECK(tracker_round(t, take, &tk, &st, &e) == 0, "%s", e.msg);
	}
	CHECK(st.procs == 1 && st.vmas_untracked == 0, "%u tracked, %u mappings not", st.procs,
	      st.vmas_untracked);
	CHECK(goes_on(), "it does not run after exec"); /* and its memory is filled again */
	kill(pid, SIGSTOP);
	usleep(20000);
	tk.pages = 0;
	CHECK(tracker_final(t, take, &tk, &st, &e) == 0 && tk.pages >= AREA_PAGES,
	      "final: %llu pages; %s", (unsigned long long)tk.pages, e.msg);
	tracker_free(t);
	check_clean(pid, fds_of(pid), true);
	end(pid);
}

static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	AUTO(file) FILE *f = fopen(path, "re");

	return f && fscanf(f, "%d", &child) == 1 ? child : 0;
}

static void exit_in_round(void)
{
	struct taker tk = { .first = kill_it };
	struct tracker_stats st = { 0 };

	checks_title = "a child exits in mid-round";
	pid_t pid = target(with_child);

	tk.pid = child_of(pid);
	CHECK(tk.pid > 0, "no child");
	if (tk.pid > 0)
		CHECK(rounds(pid, 3, &tk, &st) == 1, "%u tracked", st.procs);
	CHECK(goes_on(), "the rest does not run");
	check_clean(pid, fds_of(pid), false);
	end(pid);

	checks_title = "the whole tree exits in mid-round";
	struct err e = ERR_INIT;
	AUTO(tracker) struct tracker *t = NULL;

	pid = tk.pid = target(work);
	tk.first = kill_it;
	CHECK(tracker_new(&t, pid, kind, &e) == 0, "%s", e.msg);
	int r = tracker_round(t, take, &tk, &st, &e); /* a zombie now, and no error so far */

	CHECK(r == 0, "%d %s", r, e.msg);
	waitpid(pid, NULL, 0);
	r = tracker_round(t, take, &tk, &st, &e);
	CHECK(r == -ESRCH && e.src == ERR_TARGET && e.msg[0], "%d %s", r, e.msg);
}

/* ---- stopped before ---- */

static void stopped_before(void)
{
	struct taker tk = { 0 };
	struct tracker_stats st = { 0 };

	checks_title = "job-stopped before";
	pid_t pid = target(threads);
	unsigned int n_fds = fds_of(pid);

	kill(pid, SIGSTOP);
	usleep(50000);
	uint64_t before = *ticks;

	for (int i = 0; i < 3; i++) {
		CHECK(rounds(pid, 3, &tk, &st) == 1, "%u tracked", st.procs);
		check_clean(pid, n_fds, true);
	}
	CHECK(*ticks == before, "it went on for %llu ticks", (unsigned long long)(*ticks - before));
	kill(pid, SIGCONT);
	CHECK(goes_on(), "it does not run after SIGCONT");
	end(pid);
}

static void all(void)
{
	printf("%s\n", tracker_kind_name(kind));
	alarm(600);
	ordinary("threads", threads, 1);
	ordinary("threads come and go", come_and_go, 1);
	ordinary("seccomp that kills at userfaultfd", filtered, 1);
	ordinary("another user's", other_user, 1);
	ordinary("no descriptor free, soft limit", full_soft, 1);
	/* only one of them needs a descriptor for a moment */
	ordinary("no descriptor free, hard limit", full_hard, kind == TRACKER_SOFT_DIRTY);
	stopped_before();
	exit_in_round();
	exec_in_round();
	killed("the tracker is killed", threads, false);
	killed("the tracker is killed while it injects", threads, true);
}

int main(int argc, char **argv)
{
	ticks_fd = argc > 1 ? atoi(argv[1]) : memfd_create("ticks", 0);
	if (ticks_fd > 99 || ftruncate(ticks_fd, 4096) < 0)
		return 1;
	ticks = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ticks_fd, 0);
	if (argc > 1)
		work(); /* after exec */
	if (geteuid() != 0 || tracker_best() == TRACKER_NONE) {
		printf("skipped: needs root and a tracker\n");
		return 77;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (kind = TRACKER_WP_ASYNC; kind <= TRACKER_SOFT_DIRTY; kind++) {
		struct err e = ERR_INIT;

		if (tracker_probe(kind, &e) < 0)
			printf("%s: not on this kernel: %s\n", tracker_kind_name(kind), e.msg);
		else
			all();
	}
	return checks_end();
}
