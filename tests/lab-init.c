// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lab-init.c - pid 1 of a lab host, and the small tools that talk to it.
 *
 *   lab-init init SOCKET HOST   pid 1: starts workloads on request, reaps everything
 *   lab-init spawn SOCKET LOG CMD...   asks it for a workload, prints its pid
 *   lab-init pid SOCKET         prints the pid of that init as seen from here
 *   lab-init run SOCKET FOLDER CMD...  runs CMD in the host of that init, with no descriptor above 2
 *
 * A request is one packet of NUL-separated words: log file, then the command.
 * The answer is the pid as text, or "!" and the reason.
 *
 * Pids: the helpers of host N (0, 1, 2) live in an area of their own, low down,
 * and each workload starts an area far above, so that no pid of one host is in
 * use on another when a process moves.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_MAX    65536
#define WORDS_MAX      1024
#define HELPER_FIRST   300
#define HELPER_PIDS    3000
#define WORKLOAD_FIRST 10000
#define WORKLOAD_STEP  200
#define WORKLOAD_PIDS  9800
#define PID_LAST       32600 /* below the default pid_max */
#define SETTLE_MS      150 /* how long what a workload forks first still gets its pids */
#define TICK_MS        1000

struct init {
	int helper_first;
	int workload_first;
	int workload_next;
	int helper_last; /* where helpers had got to before the last spawn */
	int in_area; /* a workload has just been started */
	long long settle_until_ms;
};

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int last_pid(void)
{
	FILE *f = fopen("/proc/sys/kernel/ns_last_pid", "re");
	int pid = 0;

	if (f && fscanf(f, "%d", &pid) != 1)
		pid = 0;
	if (f)
		fclose(f);
	return pid;
}

static void set_last_pid(int pid)
{
	FILE *f = fopen("/proc/sys/kernel/ns_last_pid", "we");

	if (f) {
		fprintf(f, "%d", pid);
		fclose(f);
	}
}

static int is_helper(const struct init *in, int pid)
{
	return pid >= in->helper_first && pid < in->helper_first + HELPER_PIDS;
}

/* The next processes of this host belong to a new workload. */
static void enter_area(struct init *in)
{
	int last = last_pid();

	if (is_helper(in, last))
		in->helper_last = last;
	set_last_pid(in->workload_next - 1);
	in->workload_next += WORKLOAD_STEP;
	if (in->workload_next >= in->workload_first + WORKLOAD_PIDS ||
	    in->workload_next + WORKLOAD_STEP > PID_LAST)
		in->workload_next = in->workload_first;
	in->in_area = 1;
	in->settle_until_ms = now_ms() + SETTLE_MS;
}

/* Keeps helpers in their own area. Return: how long to sleep at most, in ms. */
static int leave_area(struct init *in)
{
	long long left_ms = in->settle_until_ms - now_ms();
	int last;

	if (left_ms > 0)
		return (int)left_ms;
	last = last_pid();
	if (in->in_area && !is_helper(in, last))
		set_last_pid(in->helper_last);
	else if (!is_helper(in, last))
		set_last_pid(in->helper_first);
	in->in_area = 0;
	return TICK_MS;
}

static void become(char **argv, const char *log, int reason)
{
	sigset_t none;
	int in, fd, saved;

	setsid();
	umask(022);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* opened here: CRIU refuses a file of the mounts outside */
	in = open("/dev/null", O_RDONLY);
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
	if (in >= 0 && fd >= 0) {
		dup2(in, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		dup3(reason, 3, O_CLOEXEC);
		syscall(SYS_close_range, 4, ~0U, 0);
		reason = 3;
		execvp(argv[0], argv);
	}
	saved = errno;
	if (write(reason, &saved, sizeof(saved)) < 0)
		_exit(126);
	_exit(127);
}

/* Return: the pid of the new workload, or -errno. */
static int start(struct init *in, char **argv, const char *log)
{
	int ends[2], failed = 0;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	enter_area(in);
	pid = fork();
	if (pid == 0)
		become(argv, log, ends[1]);
	if (pid < 0)
		failed = errno;
	close(ends[1]);
	if (pid > 0 && read(ends[0], &failed, sizeof(failed)) > 0)
		waitpid(pid, NULL, 0);
	close(ends[0]);
	return failed ? -failed : pid;
}

static void serve(struct init *in, int conn)
{
	static char buf[REQUEST_MAX + 1];
	static char *words[WORDS_MAX + 1];
	struct timeval limit = { .tv_sec = 2 };
	ssize_t bytes;
	int n = 0, pid;

	setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	bytes = recv(conn, buf, REQUEST_MAX, 0);
	if (bytes <= 0)
		return;
	buf[bytes] = 0;
	for (char *p = buf; p < buf + bytes && n < WORDS_MAX; p += strlen(p) + 1)
		words[n++] = p;
	words[n] = NULL;
	pid = n < 2 ? -EINVAL : start(in, words + 1, words[0]);
	if (pid < 0)
		dprintf(conn, "!%s", strerror(-pid));
	else
		dprintf(conn, "%d", pid);
}

static void nothing(int sig)
{
	(void)sig;
}

static int name_socket(struct sockaddr_un *a, const char *path)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(a->sun_path)) {
		fprintf(stderr, "lab-init: the path of the lab's folder is too long: %s\n", path);
		return -1;
	}
	strcpy(a->sun_path, path);
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

static int init_main(const char *path, int host)
{
	struct init in = {
		.helper_first = HELPER_FIRST + host * HELPER_PIDS,
		.workload_first = WORKLOAD_FIRST * (host + 1),
		.workload_next = WORKLOAD_FIRST * (host + 1),
	};
	struct sigaction sa = { .sa_handler = nothing };
	struct sockaddr_un a;
	sigset_t block, none;
	int sk = name_socket(&a, path);

	/* SIGCHLD arrives only in ppoll(), so no death is missed before it */
	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGCHLD);
	sigprocmask(SIG_BLOCK, &block, NULL);
	sigaction(SIGCHLD, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	in.helper_last = in.helper_first;
	leave_area(&in);
	if (sk < 0 || bind(sk, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(sk, 64) < 0) {
		perror(path);
		return 1;
	}
	for (;;) {
		struct pollfd p = { .fd = sk, .events = POLLIN };
		struct timespec t = { 0 };
		int wait_ms, conn;

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		wait_ms = leave_area(&in);
		t.tv_sec = wait_ms / 1000;
		t.tv_nsec = wait_ms % 1000 * 1000000L;
		if (ppoll(&p, 1, &t, &none) <= 0)
			continue;
		conn = accept4(sk, NULL, NULL, SOCK_CLOEXEC);
		if (conn >= 0) {
			serve(&in, conn);
			close(conn);
		}
	}
}

static int reach(const char *path)
{
	struct sockaddr_un a;
	int sk = name_socket(&a, path);

	if (sk >= 0 && connect(sk, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(sk);
		return -1;
	}
	return sk;
}

/* The pid of the init as seen from here; -1: it is not there */
static pid_t pid_of(const char *path)
{
	struct ucred who;
	socklen_t bytes = sizeof(who);
	int sk = reach(path);

	if (sk < 0 || getsockopt(sk, SOL_SOCKET, SO_PEERCRED, &who, &bytes) < 0)
		return -1;
	close(sk);
	return who.pid;
}

static int pid_main(const char *path)
{
	pid_t pid = pid_of(path);

	if (pid < 0)
		return 1;
	printf("%d\n", pid);
	return 0;
}

static int spawn_main(const char *path, char **words)
{
	static char buf[REQUEST_MAX];
	size_t bytes = 0;
	ssize_t n;
	int sk = reach(path);

	for (; *words; words++) {
		size_t len = strlen(*words) + 1;

		if (bytes + len > sizeof(buf)) {
			fputs("lab: the command is too long\n", stderr);
			return 2;
		}
		memcpy(buf + bytes, *words, len);
		bytes += len;
	}
	if (sk < 0 || send(sk, buf, bytes, MSG_NOSIGNAL) < 0 ||
	    (n = recv(sk, buf, sizeof(buf) - 1, 0)) <= 0) {
		fputs("lab: the host's init does not answer\n", stderr);
		return 1;
	}
	buf[n] = 0;
	if (buf[0] == '!') {
		fprintf(stderr, "lab: cannot start it: %s\n", buf + 1);
		return 127;
	}
	puts(buf);
	return 0;
}

/* A host with a cgroup namespace (lab up --containers): its root is where the host's programs are. */
static void enter_cgroup(void)
{
	char root[256] = "";
	int fd = open("/proc/1/cgroup", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, root, sizeof(root) - 1);

	if (fd >= 0)
		close(fd);
	fd = n > 0 && strstr(root, "0::/\n")
	             ? open("/sys/fs/cgroup/cgroup.procs", O_WRONLY | O_CLOEXEC)
	             : -1;
	if (fd >= 0 && write(fd, "0", 1) != 1)
		fprintf(stderr, "lab: not in the host's cgroup: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void run_child(const char *folder, char **argv)
{
	/* when our parent is killed from outside, so are we */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	syscall(SYS_close_range, 3, ~0U, 0);
	enter_cgroup();
	if (chdir(folder) < 0 && chdir("/") < 0)
		_exit(126);
	execvp(argv[0], argv);
	fprintf(stderr, "lab: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static int run_main(const char *path, const char *folder, char **argv)
{
	int fd = (int)syscall(SYS_pidfd_open, pid_of(path), 0), status;
	pid_t pid;

	if (fd < 0 || setns(fd, CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS |
	                                CLONE_NEWIPC | CLONE_NEWCGROUP) < 0) {
		fprintf(stderr, "lab: cannot enter the host: %s\n", strerror(errno));
		return 125;
	}
	pid = fork();
	if (pid == 0)
		run_child(folder, argv);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return 125;
	/* an exit status even when a signal ended it: the caller's shell says nothing then */
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "init"))
		return init_main(argv[2], atoi(argv[3]));
	if (argc == 3 && !strcmp(argv[1], "pid"))
		return pid_main(argv[2]);
	if (argc > 4 && !strcmp(argv[1], "spawn"))
		return spawn_main(argv[2], argv + 3);
	if (argc > 4 && !strcmp(argv[1], "run"))
		return run_main(argv[2], argv[3], argv + 4);
	fputs("usage: lab-init init SOCKET HOST | pid SOCKET | spawn SOCKET LOG CMD...\n"
	      "       lab-init run SOCKET FOLDER CMD...\n",
	      stderr);
	return 2;
}
