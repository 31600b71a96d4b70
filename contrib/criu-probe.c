// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * criu-probe.c - does this CRIU work on this kernel? For contrib/find-criu.
 *
 * criu-probe CRIU FOLDER SECONDS: in pid, mount and network namespaces of its
 * own, starts a process that counts who connects to its TCP socket, dumps it
 * into FOLDER with CRIU, restores it, and connects again: the count must go on.
 * Exit status 0 when it does; else what failed is printed: the logs are in
 * FOLDER. Whatever happens, all that was started dies with the namespaces.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT 4285

static const struct sockaddr *loopback(struct sockaddr_in *a)
{
	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(PORT) };
	a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return (const struct sockaddr *)a;
}

/* The process that is moved: no terminal, no file from outside. */
static void serve(void)
{
	struct sockaddr_in a;
	unsigned char count = 0;
	int sk, null, on = 1;

	setsid();
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close(null);
	sk = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(sk, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* or TIME_WAIT hinders */
	if (sk < 0 || bind(sk, loopback(&a), sizeof(a)) < 0 || listen(sk, 8) < 0 ||
	    write(3, "r", 1) != 1)
		_exit(1);
	close(3);
	for (;;) {
		int c = accept(sk, NULL, NULL);

		if (c < 0)
			continue;
		count++;
		if (write(c, &count, 1) < 0)
			_exit(1);
		close(c);
	}
}

/* Return: the count that the process answers, or -1. */
static int ask(void)
{
	struct timeval limit = { .tv_sec = 2 };
	struct sockaddr_in a;
	unsigned char count;
	int sk = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), answer = -1;

	if (sk < 0)
		return -1;
	setsockopt(sk, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(sk, loopback(&a), sizeof(a)) == 0 && read(sk, &count, 1) == 1)
		answer = count;
	close(sk);
	return answer;
}

/* A program of the mounts outside cannot be dumped: it is started anew, by its path. */
static void become_server(int ready)
{
	char self[4096] = "";

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		_exit(1);
	dup2(ready, 3);
	syscall(SYS_close_range, 4, ~0U, 0);
	execl(self, "criu-probe", "serve", NULL);
	_exit(1);
}

static pid_t start_server(void)
{
	int ends[2];
	char byte;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		become_server(ends[1]);
	close(ends[1]);
	if (pid > 0 && read(ends[0], &byte, 1) != 1)
		pid = -1;
	close(ends[0]);
	return pid;
}

/* Return: 0 when the command succeeds; what it prints goes to FOLDER/output. */
static int run(const char *folder, char *const argv[])
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		char path[4096];
		int fd;

		snprintf(path, sizeof(path), "%s/output", folder);
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(open("/dev/null", O_RDONLY), 0);
		dup2(fd, 1);
		dup2(fd, 2);
		syscall(SYS_close_range, 3, ~0U, 0);
		execv(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int settle_in(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int sk = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int bad = sk < 0 || ioctl(sk, SIOCSIFFLAGS, &lo) < 0 || chdir("/") < 0 ||
	          mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	          mount("proc", "/proc", "proc", 0, NULL) < 0 ||
	          mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0;

	if (sk >= 0)
		close(sk);
	return bad;
}

/* Runs as pid 1 of the new namespaces. Return: what failed, NULL when nothing
 * did. */
static const char *probe(char *criu, char *folder)
{
	char pid_text[16];
	char *const dump[] = { criu, "dump", "-t", pid_text, "-D", folder, "-o", "dump.log", NULL };
	char *const restore[] = { criu, "restore", "-d", "-D", folder, "-o", "restore.log", NULL };
	pid_t pid;

	if (settle_in())
		return "namespaces cannot be set up here";
	pid = start_server();
	if (pid < 0 || ask() != 1)
		return "the process to be dumped does not start";
	snprintf(pid_text, sizeof(pid_text), "%d", pid);
	if (run(folder, dump) < 0)
		return "it cannot dump";
	if (waitpid(pid, NULL, 0) != pid)
		return "the dumped process is still there";
	if (run(folder, restore) < 0)
		return "it cannot restore";
	if (kill(pid, 0) < 0)
		return "the restored process has another pid";
	return ask() == 2 ? NULL : "the restored process does not continue where it was";
}

static int wait_for(pid_t pid, int limit_s)
{
	struct timespec limit = { .tv_sec = limit_s };
	int status = 0;
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	if (sigtimedwait(&chld, NULL, &limit) < 0 && errno == EAGAIN) {
		kill(pid, SIGKILL);
		printf("it took longer than %d s\n", limit_s);
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return 1;
	return WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
	const char *failed;
	sigset_t chld;
	pid_t pid;

	if (argc == 2 && !strcmp(argv[1], "serve"))
		serve();
	if (argc != 4) {
		fputs("usage: criu-probe CRIU FOLDER SECONDS\n", stderr);
		return 2;
	}
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET) < 0) {
		puts("namespaces cannot be made here");
		return 1;
	}
	pid = fork();
	if (pid < 0)
		return 1;
	if (pid > 0)
		return wait_for(pid, atoi(argv[3]));
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigprocmask(SIG_UNBLOCK, &chld, NULL);
	failed = probe(argv[1], argv[2]);
	if (failed)
		puts(failed);
	return failed ? 1 : 0;
}
