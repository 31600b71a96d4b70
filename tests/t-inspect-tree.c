// SPDX-License-Identifier: GPL-2.0-or-later
/* t-inspect-tree.c - trees in every state, and what the offer says of them. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "engine/proc/frost.h"
#include "tests/insp-child.h"

#define PROGRAM_PATH "/var/tmp/t-inspect-32"

/* @pid is looked at as it is; @code is to be found. */
static void look_for(const char *name, pid_t pid, const char *code, enum severity severity)
{
	AUTO(inspect) struct inspect *i = t_look(pid);
	const struct finding *f = i ? t_find(i, code) : NULL;

	CHECK(f && f->severity == severity && f->remedy[0], "%s: %s", name, code);
	CHECK(i && inspect_findings(i)->n == 1, "%s: %zu findings", name, inspect_findings(i)->n);
	if (i && getenv("SHOW")) {
		printf("%s:\n", name);
		t_show(i);
	}
}

static bool offers(const Haul__Offer *o, uint32_t id)
{
	for (size_t k = 0; k < o->n_pid; k++)
		if (o->pid[k] == id)
			return true;
	return false;
}

static const Haul__File *file_of(const Haul__Offer *o, const char *path)
{
	for (size_t k = 0; k < o->n_file; k++)
		if (!strcmp(o->file[k]->path, path))
			return o->file[k];
	return NULL;
}

/* ---- processes that cannot be named ---- */

static void nobody(void)
{
	AUTO(inspect) struct inspect *i = NULL;
	struct err e = ERR_INIT;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	CHECK(inspect_new(&i, pid, &e) == -ESRCH && !i, "%s", e.msg);
	err_clear(&e);
	CHECK(inspect_new(&i, -1, &e) == -ESRCH && !i, "%s", e.msg);
	err_clear(&e);
	CHECK(inspect_new(&i, 0, &e) == -ESRCH && !i, "%s", e.msg);
}

static void zombie(void)
{
	siginfo_t si;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT);
	look_for("zombie", pid, "zombie", SEV_BLOCKER);
	waitpid(pid, NULL, 0);
}

static void kernel_thread(void)
{
	char comm[32] = "";
	AUTO(file) FILE *f = fopen("/proc/2/comm", "re");

	if (f && fgets(comm, sizeof(comm), f) && !strcmp(comm, "kthreadd\n"))
		look_for("kernel thread", 2, "kernel-thread", SEV_BLOCKER);
}

static void self(void)
{
	look_for("haul itself", getpid(), "self", SEV_BLOCKER);
	look_for("the parent of haul", getppid(), "self", SEV_BLOCKER);
}

static void traced(void)
{
	pid_t pid = t_child(NULL, NULL);

	if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0)
		look_for("traced", pid, "traced", SEV_BLOCKER);
	t_end(pid);
}

/* Its cgroup is not frozen itself, the one above is. */
static void frozen(void)
{
	char root[256], dir[320], path[768], text[16];

	if (frost_mount(root, sizeof(root)) < 0)
		return;
	snprintf(dir, sizeof(dir), "%s/t-inspect-%d", root, getpid());
	snprintf(path, sizeof(path), "mkdir -p %s/below && echo 1 >%s/cgroup.freeze", dir, dir);
	pid_t pid = t_child(NULL, NULL);

	if (system(path) != 0) {
		printf("frozen: not possible here\n");
	} else {
		snprintf(text, sizeof(text), "%d", pid);
		snprintf(path, sizeof(path), "%s/below/cgroup.procs", dir);
		AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

		CHECK(write(fd, text, strlen(text)) > 0, "%s", path);
		look_for("frozen", pid, "frozen", SEV_BLOCKER);
	}
	t_end(pid);
	snprintf(path, sizeof(path), "%s/below", dir);
	rmdir(path);
	rmdir(dir);
}

/* ---- namespaces ---- */

static int other_space(void *arg)
{
	return unshare(*(int *)arg) < 0 ? 77 : 0;
}

static void spaces(void)
{
	int mnt = CLONE_NEWNS, net = CLONE_NEWNET, uts = CLONE_NEWUTS, user = CLONE_NEWUSER;

	t_case("other mount namespace", other_space, &mnt, "namespace", SEV_BLOCKER);
	t_case("other network namespace", other_space, &net, "namespace", SEV_BLOCKER);
	t_case("other UTS namespace", other_space, &uts, "namespace", SEV_BLOCKER);
	t_case("other user namespace", other_space, &user, "container", SEV_BLOCKER);
}

/* A pid namespace is its children's. */
static int pid_space(void *arg)
{
	(void)arg;
	if (unshare(CLONE_NEWPID) < 0)
		return 77;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(1000);
		for (;;)
			pause();
	}
	return pid < 0;
}

/* ---- sessions, threads ---- */

static void shell_job(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	AUTO(inspect) struct inspect *i = t_look(pid);
	const struct finding *f = i ? t_find(i, "session") : NULL;

	CHECK(f && f->severity == SEV_WARNING && inspect_shell_job(i), "shell job");
	t_end(pid);
}

static int filter(void *arg)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = { 1, &all };

	(void)arg;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0 ? 77 : 0;
}

static int direct_aio(void *arg)
{
	int fd = open("/etc/passwd", O_RDONLY | O_DIRECT);
	unsigned long aio = 0;

	if (fd < 0 || syscall(SYS_io_setup, 1, &aio) < 0)
		return 77;
	return arg && close(fd) < 0;
}

static void *sleeper(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

static void *child_sleeper(void *arg)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return sleeper(arg);
}

/* A process whose main thread has ended. */
static pid_t headless(void)
{
	pthread_t t;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(60);
		close(1000); /* what the test waits for */
		pthread_create(&t, NULL, child_sleeper, NULL);
		pthread_exit(NULL);
	}
	usleep(50000);
	return pid;
}

static int headless_child(void *arg)
{
	(void)arg;
	return headless() < 0;
}

static void main_thread(void)
{
	pid_t pid = headless();

	look_for("main thread", pid, "main-thread", SEV_BLOCKER);
	t_end(pid);
	t_case("main thread of a child", headless_child, NULL, "main-thread", SEV_BLOCKER);
}

/*
 * A thread, and a grandchild in the session of a process that has ended: both
 * numbers, @arg's, have to be free at the destination.
 */
static int numbers(void *arg)
{
	int *shared = arg, p[2];
	pthread_t t;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (pthread_create(&t, NULL, sleeper, NULL) || pipe(p) < 0)
		return 1;
	pid_t leader = fork();

	if (leader == 0) {
		setsid();
		if (fork() == 0) {
			close(1000); /* what the test waits for */
			close(p[1]);
			for (;;)
				pause();
		}
		_exit(0);
	}
	waitpid(leader, NULL, 0);
	close(p[1]);
	if (read(p[0], shared, 1) != 0)
		return 1;
	close(p[0]);
	*shared = leader;
	return 0;
}

static pid_t second_thread(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));)
		if (atoi(de->d_name) > 0 && atoi(de->d_name) != pid)
			return atoi(de->d_name);
	return 0;
}

static void all_numbers(int *leader)
{
	pid_t pid = t_child(numbers, leader);
	AUTO(inspect) struct inspect *i = pid > 0 ? t_look(pid) : NULL;
	Haul__Offer o = HAUL__OFFER__INIT;
	struct err e = ERR_INIT;

	CHECK(i && inspect_offer(i, &o, &e) == 0, "%s", e.msg);
	if (!i)
		return;
	pid_t tid = second_thread(pid);

	CHECK(o.n_pid && o.pid[0] == (uint32_t)pid && o.root_pid == (uint32_t)pid, "root first");
	CHECK(inspect_tasks(i) == 2 && o.n_pid == 4, "%zu tasks, %zu ids", inspect_tasks(i),
	      o.n_pid);
	CHECK(offers(&o, (uint32_t)tid), "thread %d", tid);
	CHECK(offers(&o, (uint32_t)*leader), "dead leader %d", *leader);
	CHECK(inspect_findings(i)->blockers == 0, "%u", inspect_findings(i)->blockers);
	look_for("a thread", tid, "thread", SEV_BLOCKER);
	kill(-*leader, SIGKILL);
	t_end(pid);
}

/* ---- what the offer says ---- */

static int opens(void *arg)
{
	(void)arg;
	return open("/etc/passwd", O_RDONLY) < 0 ||
	       open("/var/tmp/t-inspect-log", O_WRONLY | O_APPEND | O_CREAT, 0600) < 0 ||
	       chdir("/usr") < 0;
}

static void offer(void)
{
	pid_t pid = t_child(opens, NULL);
	AUTO(inspect) struct inspect *i = t_look(pid);
	Haul__Offer o = HAUL__OFFER__INIT;
	char exe[512] = "", path[32];
	struct err e = ERR_INIT;
	struct stat st;

	CHECK(i && inspect_offer(i, &o, &e) == 0, "%s", e.msg);
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	CHECK(readlink(path, exe, sizeof(exe) - 1) > 0 && stat(exe, &st) == 0, "exe");
	const Haul__File *f = file_of(&o, exe), *passwd = file_of(&o, "/etc/passwd"),
	                 *cwd = file_of(&o, "/usr"), *log = file_of(&o, "/var/tmp/t-inspect-log");

	CHECK(f && f->mapped && !f->write && f->build_id.len >= 8, "the program");
	CHECK(f && f->size == (uint64_t)st.st_size && f->mode == st.st_mode, "its size and mode");
	CHECK(passwd && passwd->open && !passwd->mapped && !passwd->write, "open file");
	CHECK(log && log->write && !log->open, "a log that is only appended to");
	CHECK(cwd && cwd->directory, "current directory");
	CHECK(file_of(&o, "/") && file_of(&o, "/dev/null"), "root, /dev/null");
	CHECK(o.rss_bytes > 0 && o.rss_bytes < 1ULL << 32, "%llu", (unsigned long long)o.rss_bytes);
	CHECK(o.n_uid == 1 && o.uid[0] == 0 && o.page_bytes == 4096, "user, page size");
	CHECK(!strcmp(o.root_dir, "/") && strstr(exe, o.comm), "%s %s", o.root_dir, o.comm);
	t_end(pid);
	unlink("/var/tmp/t-inspect-log");
}

/* ---- a 32-bit program, as small as it gets ---- */

static const unsigned char program32[] = {
	/* clang-format off */
	0x7f, 'E', 'L', 'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 32 bits */
	2, 0, 3, 0, 1, 0, 0, 0, 0x74, 0x80, 0x04, 0x08, 52, 0, 0, 0, /* at 0x8048074 */
	0, 0, 0, 0, 0, 0, 0, 0, 52, 0, 32, 0, 2, 0, 0, 0, 0, 0, 0, 0, /* two segments */
	1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x04, 0x08, 0, 0x80, 0x04, 0x08, /* load it all */
	126, 0, 0, 0, 126, 0, 0, 0, 5, 0, 0, 0, 0, 0x10, 0, 0,
	0x51, 0xe5, 0x74, 0x64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* a stack that cannot be executed */
	0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0x10, 0, 0, 0,
	0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7, 0x90, /* pause() for ever */
	/* clang-format on */
};

static void bits32(void)
{
	AUTO(fd) int fd = open(PROGRAM_PATH, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	char comm[40];

	if (fd < 0 || write(fd, program32, sizeof(program32)) != (ssize_t)sizeof(program32))
		return;
	close(fd);
	fd = -1;
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		setsid();
		for (int n = 0; n < 3; n++)
			dup2(null, n);
		close_range(3, ~0U, 0);
		execl(PROGRAM_PATH, PROGRAM_PATH, NULL);
		_exit(77);
	}
	snprintf(comm, sizeof(comm), "/proc/%d/exe", pid);
	bool runs = false;

	/* a process that is ending has no exe either */
	for (int n = 0; n < 200 && !runs; n++) {
		char exe[64] = "";

		if (readlink(comm, exe, sizeof(exe) - 1) < 0)
			break;
		runs = !strcmp(exe, PROGRAM_PATH);
		if (!runs)
			usleep(10000);
	}
	if (runs)
		look_for("32 bits", pid, "32-bit", SEV_BLOCKER);
	else
		printf("32 bits: not possible here\n");
	t_end(pid);
	unlink(PROGRAM_PATH);
}

/* haul may not open enough for a tree: that is named before anything is touched. */
static void few_open_files(void)
{
	struct rlimit was, few;
	pid_t pid = t_child(NULL, NULL);

	CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0, "getrlimit");
	few = (struct rlimit){ 200, was.rlim_max };
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0, "setrlimit");
	look_for("few open files", pid, "open-files", SEV_BLOCKER);
	setrlimit(RLIMIT_NOFILE, &was);
	t_end(pid);
}

int main(void)
{
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (t_need_root())
		return 77;
	nobody();
	zombie();
	kernel_thread();
	self();
	traced();
	frozen();
	spaces();
	t_case("a child in another pid namespace", pid_space, NULL, "container", SEV_BLOCKER);
	shell_job();
	t_case("O_DIRECT and native AIO", direct_aio, NULL, "direct-aio", SEV_WARNING);
	t_case("native AIO", direct_aio, &t_keep, NULL, SEV_INFO);
	t_case("system call filter", filter, NULL, "seccomp", SEV_INFO);
	main_thread();
	all_numbers(shared);
	offer();
	bits32();
	few_open_files();
	return checks_end();
}
