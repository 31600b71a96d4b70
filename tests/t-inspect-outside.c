// SPDX-License-Identifier: GPL-2.0-or-later
/* t-inspect-outside.c - objects that a process outside the tree has, too; supervisors; leases and watches. */
#include <linux/capability.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "tests/insp-child.h"

#define STACK_BYTES 65536
#define FILE_PATH   "/tmp/t-inspect-outside"
#define DIR_PATH    "/var/tmp/t-inspect-watch"

/* A process that keeps all that is open here, and shared memory that is mapped here. */
static pid_t start_holder(void)
{
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

static void shared_fd(const char *name, int fd, const char *code, enum severity severity)
{
	CHECK(fd >= 0, "%s: cannot be made", name);
	if (fd < 0)
		return;
	pid_t holder = start_holder();

	t_case_fd(name, fd, code, severity);
	t_end(holder);
	t_case_fd(name, fd, NULL, SEV_INFO); /* nobody else: no finding */
	close(fd);
}

static void check_descriptors(void)
{
	sigset_t none;

	sigemptyset(&none);
	shared_fd("eventfd", eventfd(0, 0), "shared-outside", SEV_BLOCKER);
	shared_fd("epoll", epoll_create1(0), "shared-outside", SEV_BLOCKER);
	shared_fd("timerfd", timerfd_create(CLOCK_MONOTONIC, 0), "shared-outside", SEV_BLOCKER);
	shared_fd("signalfd", signalfd(-1, &none, 0), "shared-outside", SEV_BLOCKER);
	shared_fd("inotify", inotify_init1(0), "shared-outside", SEV_BLOCKER);
	shared_fd("memfd", memfd_create("t", 0), "shared-outside", SEV_BLOCKER);
	shared_fd("socket", socket(AF_INET, SOCK_DGRAM, 0), "shared-socket", SEV_WARNING);
	shared_fd("null", open("/dev/null", O_RDWR), NULL, SEV_INFO);
}

static int has_two_eventfds(void *arg)
{
	(void)arg;
	return eventfd(0, 0) < 0 || eventfd(0, 0) < 0 ? 1 : 0;
}

static int maps_anything(void *arg)
{
	(void)arg;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) ==
	       MAP_FAILED;
}

static void check_memory(void)
{
	/* mapped here: the holder and the child both get it */
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t holder = start_holder();

	t_case("shared memory", NULL, NULL, "shared-outside", SEV_BLOCKER);
	munmap(p, 4096);
	t_end(holder);
	t_case("shared memory of its own", maps_anything, NULL, NULL, SEV_INFO);
	int fd = open(FILE_PATH, O_RDWR | O_CREAT, 0600);

	CHECK(fd >= 0 && ftruncate(fd, 4096) == 0, "no file");
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	holder = start_holder();
	t_case("a file mapped for writing", NULL, NULL, "shared-file", SEV_WARNING);
	munmap(p, 4096);
	t_end(holder);
	/* others have eventfds, too: not these */
	fd = eventfd(0, 0);
	holder = start_holder();
	t_case("eventfds of its own", has_two_eventfds, NULL, NULL, SEV_INFO);
	t_end(holder);
	close(fd);
}

static int waits(void *arg)
{
	/* with a table of its own it has the end that t_child() waits for, too */
	if (!((intptr_t)arg & CLONE_FILES))
		close(1000);
	for (;;)
		pause();
	return 0;
}

/* What a process and one outside its tree have together. */
struct sister {
	int flags; /* of clone() */
	int open; /* of open(), 0 none */
};

/* The child of t_child() starts a process outside its tree: a sister, by CLONE_PARENT. */
static int has_sister(void *arg)
{
	const struct sister *s = arg;
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
	                   -1, 0);

	if (s->open && open(FILE_PATH, s->open) < 0)
		return 1;
	return clone(waits, stack + STACK_BYTES, s->flags | CLONE_PARENT | SIGCHLD,
	             (void *)(intptr_t)s->flags) < 0;
}

static void with_sister(const char *name, struct sister s, const char *code, enum severity severity)
{
	char path[64], text[256] = "";

	t_case(name, has_sister, &s, code, severity);
	/* sisters are children of this process */
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	AUTO(file) FILE *f = fopen(path, "re");

	if (f && fgets(text, sizeof(text), f))
		for (char *save, *w = strtok_r(text, " \n", &save); w;
		     w = strtok_r(NULL, " \n", &save))
			t_end(atoi(w));
}

/* ---- leases, watches ---- */

static int has_lease(void *arg)
{
	int fd = open(FILE_PATH, O_RDWR | O_CREAT | O_EXCL, 0600);

	(void)arg;
	/* mapped: haul opens such files, for their build-id. SIGIO ends the holder if a lease is broken */
	if (fd < 0 || ftruncate(fd, 4096) < 0 ||
	    mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		return 1;
	return fcntl(fd, F_SETLEASE, F_WRLCK) < 0 ? 77 : 0;
}

static void check_lease(void)
{
	unlink(FILE_PATH);
	pid_t pid = t_child(has_lease, NULL);
	int status;

	CHECK(pid > 0, "no child with a lease");
	AUTO(inspect) struct inspect *i = pid > 0 ? t_look(pid) : NULL;

	if (i)
		CHECK(t_find(i, "lease") && t_find(i, "lease")->severity == SEV_BLOCKER,
		      "no finding for a lease");
	CHECK(pid > 0 && waitpid(pid, &status, WNOHANG) == 0,
	      "the inspection ended the holder of a lease");
	struct Haul__File *const *files;
	size_t n = 0;

	files = i ? inspect_files(i, &n) : NULL;
	for (size_t k = 0; k < n; k++)
		CHECK(strcmp(files[k]->path, FILE_PATH) != 0,
		      "the leased file would be opened later");
	if (pid > 0)
		t_end(pid);
}

/* Of a folder that no other process opens */
static int watches_reads(void *arg)
{
	int fd = inotify_init1(0);

	(void)arg;
	return fd < 0 || (mkdir(DIR_PATH, 0700) < 0 && errno != EEXIST) ||
	       inotify_add_watch(fd, DIR_PATH, IN_OPEN) < 0;
}

/* A user's group of events: the kernel gives it less than root's. */
static int watches_as_user(void *arg)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct v[2];

	(void)arg;
	if (syscall(SYS_capget, &h, v) < 0)
		return 1;
	v[0].effective &= ~(1u << CAP_SYS_ADMIN);
	if (syscall(SYS_capset, &h, v) < 0)
		return 1;
	return fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID, O_RDONLY) < 0 ? 77 : 0;
}

static int scans_on_access(void *arg)
{
	int fd = fanotify_init(FAN_CLASS_CONTENT, O_RDONLY);

	(void)arg;
	return fd < 0 || fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, FILE_PATH) < 0
	               ? 77
	               : 0;
}

/* ---- supervisors ---- */

/* A parent named @name with a child that is looked at. */
static void supervised(const char *name, const char *word, bool ignored, enum severity severity)
{
	int ends[2];
	pid_t child = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	fflush(stdout);
	pid_t parent = fork();

	if (parent == 0) {
		prctl(PR_SET_NAME, name);
		child = fork();
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			setsid();
			close_range(0, ~0U, 0);
			for (;;)
				pause();
		}
		if (write(ends[1], &child, sizeof(child)) < 0)
			_exit(1);
		close_range(0, ~0U, 0);
		for (;;)
			pause();
	}
	close(ends[1]);
	CHECK(read(ends[0], &child, sizeof(child)) == sizeof(child), "no child of a supervisor");
	/* until both have closed their end, and so all that they have */
	CHECK(read(ends[0], &severity, 0) == 0, "read");
	close(ends[0]);
	struct err e = ERR_INIT;
	struct inspect_net net = { .ignore_supervisor = ignored };
	AUTO(inspect) struct inspect *i = NULL;

	CHECK(inspect_new_with(&i, child, &net, NULL, &e) == 0, "%s: %s", name, e.msg);
	const struct finding *f = i ? t_find(i, "supervised") : NULL;

	CHECK(f && f->severity == severity && strstr(f->text, word), "%s: %s", name,
	      f ? f->text : "not found");
	kill(child, SIGKILL);
	t_end(parent);
}

static int has_own_parent(void *arg)
{
	(void)arg;
	return 0;
}

int main(void)
{
	if (t_need_root())
		return 77;
	check_descriptors();
	check_memory();
	with_sister("CLONE_VM", (struct sister){ CLONE_VM, 0 }, "shared-process", SEV_BLOCKER);
	with_sister("CLONE_FILES", (struct sister){ CLONE_FILES, 0 }, "shared-process",
	            SEV_BLOCKER);
	with_sister("CLONE_FS", (struct sister){ CLONE_FS, 0 }, "shared-process", SEV_BLOCKER);
	with_sister("CLONE_SIGHAND", (struct sister){ CLONE_VM | CLONE_SIGHAND, 0 },
	            "shared-process", SEV_BLOCKER);
	with_sister("position", (struct sister){ 0, O_RDWR }, "shared-position", SEV_WARNING);
	with_sister("appended", (struct sister){ 0, O_WRONLY | O_APPEND }, NULL, SEV_INFO);
	with_sister("nothing", (struct sister){ 0, 0 }, NULL, SEV_INFO);
	check_lease();
	t_case("watch of reads", watches_reads, NULL, "watch-reads", SEV_INFO);
	t_case("fanotify of a user", watches_as_user, NULL, "fanotify-user", SEV_BLOCKER);
	t_case("on-access scan", scans_on_access, NULL, "fanotify-permission", SEV_BLOCKER);
	supervised("runsv", "runit", false, SEV_BLOCKER);
	supervised("loop", "loop", false, SEV_BLOCKER);
	supervised("loop", "loop", true, SEV_INFO);
	t_case("a child of haul's own ancestors", has_own_parent, NULL, NULL, SEV_INFO);
	unlink(FILE_PATH);
	rmdir(DIR_PATH);
	return checks_end();
}
