// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * epolls.c - fill epoll sets from outside. The kernel knows a member by its open file and the number of the
 * descriptor by which it was added: so a process with a table of its own gives a copy that number.
 */
#include "agent/gate/epolls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/images/img.h"

#define STACK_BYTES 65536

struct job {
	const struct img_epoll *v;
	size_t n;
	int result; /* -errno of the first that failed */
};

/* Above all numbers that the set's members have. */
static int highest(const struct img_epoll *k)
{
	uint32_t most = 0;

	for (size_t i = 0; i < k->n; i++)
		most = k->v[i].fd > most ? k->v[i].fd : most;
	return (int)most + 1;
}

static int add(int pidfd, int set, const struct img_watch *w)
{
	struct epoll_event ev = { .events = w->events, .data.u64 = w->data };
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)w->fd, 0);

	if (fd < 0)
		return -errno;
	if (fd != (int)w->fd && dup2(fd, (int)w->fd) < 0)
		return -errno;
	if (fd != (int)w->fd)
		close(fd);
	return epoll_ctl(set, EPOLL_CTL_ADD, (int)w->fd, &ev) < 0 ? -errno : 0;
}

/* In a process of its own: its descriptors are closed when it ends. */
static int fill(const struct img_epoll *k)
{
	int above = highest(k);
	int pidfd = (int)syscall(SYS_pidfd_open, k->pid, 0);
	int high = pidfd < 0 ? -1 : fcntl(pidfd, F_DUPFD, above);
	int set = high < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, high, k->fd, 0);
	int high_set = set < 0 ? -1 : fcntl(set, F_DUPFD, above);

	if (high_set < 0)
		return -errno;
	for (size_t i = 0; i < k->n; i++) {
		int r = add(high, high_set, &k->v[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int job_main(void *arg)
{
	struct job *j = arg;

	for (size_t i = 0; j->result == 0 && i < j->n; i++)
		j->result = fill(&j->v[i]);
	return 0;
}

int epolls_fill(const struct img_epoll *v, size_t n, struct err *e)
{
	struct job j = { .v = v, .n = n };

	if (!n)
		return 0;
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	if (stack == MAP_FAILED)
		return err_sys(e, "memory for epoll sets");
	pid_t pid = clone(job_main, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK, &j);

	if (pid < 0)
		j.result = -errno;
	while (pid > 0 && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	munmap(stack, STACK_BYTES);
	return j.result < 0 ? err_set(e, ERR_SYS, -j.result, "fill the epoll sets: %s",
	                              strerror(-j.result))
	                    : 0;
}
