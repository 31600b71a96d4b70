// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * scans.c - answer CRIU's page scans for memory that haul brings itself, so that the
 * freeze does not grow with it.
 *
 * CRIU learns which pages to dump from PAGEMAP_SCAN alone and jumps over what is in
 * no region. A seccomp filter in the CRIU process hands that one ioctl to us; for a
 * mapping that is ours the answer is "nothing here, scanned to the end", all others
 * go on into the kernel. If we die, the call fails and CRIU aborts the dump cleanly.
 */
#include "engine/scans.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "common/log.h"
#include "engine/pagemap_scan.h"

struct scans {
	int listener, stop;
	pid_t criu;
	scans_fn fn;
	void *arg;
	pthread_t thread;
	bool started;
};

/* ---- in the child, between fork and exec ---- */

int scans_install(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)PAGEMAP_SCAN, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	};
	struct sock_fprog prog = { .len = ARRAY_SIZE(f), .filter = f };

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
	                    &prog);
}

/* ---- the supervisor ---- */

/* "/proc/123/pagemap" behind a descriptor of CRIU. Return: the pid, 0 none */
static pid_t pid_of_fd(pid_t criu, int fd)
{
	char path[48], link[64] = "";
	int pid = 0, end = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", criu, fd);
	if (readlink(path, link, sizeof(link) - 1) <= 0)
		return 0;
	if (sscanf(link, "/proc/%d/pagemap%n", &pid, &end) != 1 || !end || link[end])
		return 0;
	return pid;
}

static bool read_arg(pid_t criu, uint64_t at, struct pm_scan_arg *a)
{
	struct iovec to = { a, sizeof(*a) }, from = { (void *)(uintptr_t)at, sizeof(*a) };

	return process_vm_readv(criu, &to, 1, &from, 1, 0) == sizeof(*a);
}

static bool write_walk_end(pid_t criu, uint64_t at, uint64_t end)
{
	struct iovec from = { &end, sizeof(end) };
	struct iovec to = { (void *)(uintptr_t)(at + offsetof(struct pm_scan_arg, walk_end)),
		            sizeof(end) };

	return process_vm_writev(criu, &from, 1, &to, 1, 0) == sizeof(end);
}

static bool is_ours(struct scans *s, const struct seccomp_notif *n)
{
	struct pm_scan_arg a;
	uint64_t at = n->data.args[2], id = n->id;
	pid_t pid = pid_of_fd((pid_t)n->pid, (int)n->data.args[0]);

	if (pid <= 0 || !read_arg((pid_t)n->pid, at, &a))
		return false;
	/* still the call that we looked at? */
	if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) < 0)
		return false;
	return a.flags == 0 && s->fn(s->arg, pid, a.start, a.end) &&
	       write_walk_end((pid_t)n->pid, at, a.end);
}

static void answer(struct scans *s)
{
	struct seccomp_notif n = { 0 };
	struct seccomp_notif_resp r = { 0 };

	if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0)
		return;
	r.id = n.id;
	/* in doubt the kernel does what CRIU asked for */
	if (!is_ours(s, &n))
		r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	ioctl(s->listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
}

static void *scans_main(void *arg)
{
	struct scans *s = arg;

	for (;;) {
		struct pollfd p[2] = { { .fd = s->listener, .events = POLLIN },
			               { .fd = s->stop, .events = POLLIN } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[1].revents || (p[0].revents & (POLLHUP | POLLERR)))
			return NULL;
		if (p[0].revents & POLLIN)
			answer(s);
	}
}

int scans_start(struct scans **out, int listener, scans_fn fn, void *arg, struct err *e)
{
	AUTO(fd) int own = listener;
	struct scans *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	s->fn = fn;
	s->arg = arg;
	s->listener = steal_fd(&own);
	s->stop = eventfd(0, EFD_CLOEXEC);
	int r = pthread_create(&s->thread, NULL, scans_main, s);

	s->started = r == 0;
	if (r) {
		scans_free(s);
		return err_set(e, ERR_SYS, r, "thread for page scans");
	}
	*out = s;
	return 0;
}

void scans_free(struct scans *s)
{
	uint64_t one = 1;

	if (!s)
		return;
	if (s->started) {
		ssize_t n = write(s->stop, &one, sizeof(one));

		(void)n;
		pthread_join(s->thread, NULL);
	}
	close(s->listener);
	close(s->stop);
	free(s);
}
