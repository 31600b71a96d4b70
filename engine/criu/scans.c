// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * scans.c - answer CRIU's page scans for memory that haul brings itself, and its opens of smaps,
 * so that the freeze does not grow with memory.
 *
 * CRIU learns from PAGEMAP_SCAN alone which pages to dump and skips those in no region. A seccomp
 * filter in the CRIU process passes that one ioctl to us; for a mapping that is ours we answer "no
 * region, scanned to the end", all others continue into the kernel. An open of /proc/PID/smaps
 * gets a file that was written without looking at pages. If we die, the call fails and CRIU aborts
 * the dump cleanly. Of shared memory CRIU asks where its data is, by lseek(SEEK_DATA): that of which
 * haul brings the pages has none.
 *
 * A root without CAP_SYS_RESOURCE, as in many containers, may not ask prlimit(2) for the limits of another user's
 * process, though /proc/PID/limits shows them: so we read them there, and answer.
 */
#include "engine/criu/scans.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "common/log.h"
#include "engine/tracker/pagemap_scan.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS      SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

struct scans {
	int listener, stop;
	pid_t criu;
	struct scans_ops ops;
	pthread_t thread;
	bool started;
};

/* ---- in the child, between fork and exec ---- */

#define OPENAT_AT 3 /* the instruction that asks for openat() */
#define LIMITS_AT 4 /* and that for prlimit() */

bool scans_limits(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct v[2] = { 0 };

	return syscall(SYS_capget, &h, v) == 0 &&
	       !(v[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective & CAP_TO_MASK(CAP_SYS_RESOURCE));
}

int scans_install(bool opens)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 11),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 7, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 9, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_lseek, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 6),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)PAGEMAP_SCAN, 5, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SEEK_DATA, 3, 2),
		/* only plain opens, as CRIU opens smaps: about thirty, and one for each descriptor */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, O_RDONLY, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	};
	if (!opens)
		f[OPENAT_AT].k = UINT32_MAX; /* no such call */
	if (!scans_limits())
		f[LIMITS_AT].k = UINT32_MAX;
	struct sock_fprog prog = { .len = ARRAY_SIZE(f), .filter = f };

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
	                    &prog);
}

/* ---- the supervisor ---- */

/* "/proc/123@tail" behind a descriptor of CRIU. Return: the pid; 0 none */
static pid_t pid_of_fd(pid_t criu, int fd, const char *tail)
{
	char path[48], link[64] = "";
	int pid = 0, end = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", criu, fd);
	if (readlink(path, link, sizeof(link) - 1) <= 0)
		return 0;
	if (sscanf(link, "/proc/%d%n", &pid, &end) != 1 || strcmp(link + end, tail))
		return 0;
	return pid;
}

/* Is it still the same call? Its process could have ended. */
static bool is_valid(const struct scans *s, uint64_t id)
{
	return ioctl(s->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
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

static bool scan_answered(struct scans *s, const struct seccomp_notif *n)
{
	struct pm_scan_arg a;
	uint64_t at = n->data.args[2];
	pid_t pid = pid_of_fd((pid_t)n->pid, (int)n->data.args[0], "/pagemap");

	if (pid <= 0 || !read_arg((pid_t)n->pid, at, &a) || !is_valid(s, n->id))
		return false;
	return a.flags == 0 && s->ops.scan(s->ops.arg, pid, a.start, a.end) &&
	       write_walk_end((pid_t)n->pid, at, a.end);
}

/* openat(/proc/PID, "smaps"). Return: true: CRIU has its answer */
static bool open_answered(struct scans *s, const struct seccomp_notif *n)
{
	char name[sizeof("smaps")] = "";
	struct iovec to = { name, sizeof(name) };
	struct iovec from = { (void *)(uintptr_t)n->data.args[1], sizeof(name) };

	if (!s->ops.smaps || process_vm_readv((pid_t)n->pid, &to, 1, &from, 1, 0) != sizeof(name) ||
	    memcmp(name, "smaps", sizeof(name)))
		return false;
	pid_t pid = pid_of_fd((pid_t)n->pid, (int)n->data.args[0], "");

	if (pid <= 0 || pid == (pid_t)n->pid || !is_valid(s, n->id))
		return false;
	AUTO(fd) int fd = s->ops.smaps(s->ops.arg, pid);
	struct seccomp_notif_addfd add = { .id = n->id,
		                           .flags = SECCOMP_ADDFD_FLAG_SEND,
		                           .srcfd = (uint32_t)fd };

	return fd >= 0 && ioctl(s->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0;
}

/* lseek(SEEK_DATA) in shared memory. Return: true: CRIU is to be told that there is no data */
static bool seek_answered(const struct scans *s, const struct seccomp_notif *n)
{
	char path[48];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)n->pid, (int)n->data.args[0]);
	return s->ops.object && stat(path, &st) == 0 && is_valid(s, n->id) &&
	       s->ops.object(s->ops.arg, st.st_dev, st.st_ino);
}

/* The limits of a process are listed by their numbers. Return: true: @out has number @which */
static bool read_limit(pid_t pid, unsigned int which, uint64_t out[2])
{
	char path[32], line[128], soft[24], hard[24];

	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	/* a title, then a line for each: a name of 25 characters, and the two numbers */
	for (unsigned int i = 0; f && fgets(line, sizeof(line), f); i++) {
		if (i != which + 1)
			continue;
		if (strlen(line) < 26 || sscanf(line + 26, "%23s %23s", soft, hard) != 2)
			return false;
		out[0] = soft[0] == 'u' ? UINT64_MAX : strtoull(soft, NULL, 10);
		out[1] = hard[0] == 'u' ? UINT64_MAX : strtoull(hard, NULL, 10);
		return true;
	}
	return false;
}

/* prlimit() that only asks, about another process. Return: true: CRIU's memory has the answer */
static bool limits_answered(const struct scans *s, const struct seccomp_notif *n)
{
	uint64_t v[2];
	struct iovec from = { v, sizeof(v) };
	struct iovec to = { (void *)(uintptr_t)n->data.args[3], sizeof(v) };
	pid_t pid = (pid_t)n->data.args[0];

	return pid > 0 && !n->data.args[2] && n->data.args[3] &&
	       read_limit(pid, (unsigned int)n->data.args[1], v) && is_valid(s, n->id) &&
	       process_vm_writev((pid_t)n->pid, &from, 1, &to, 1, 0) == sizeof(v);
}

static void answer(struct scans *s)
{
	struct seccomp_notif n = { 0 };
	struct seccomp_notif_resp r = { 0 };

	if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0)
		return;
	if (n.data.nr == SYS_openat && open_answered(s, &n))
		return;
	r.id = n.id;
	/* in doubt the kernel carries out the call */
	if (n.data.nr == SYS_lseek && seek_answered(s, &n))
		r.error = -ENXIO;
	else if (!(n.data.nr == SYS_ioctl && scan_answered(s, &n)) &&
	         !(n.data.nr == SYS_prlimit64 && limits_answered(s, &n)))
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

int scans_start(struct scans **out, int listener, const struct scans_ops *ops, struct err *e)
{
	AUTO(fd) int own = listener;
	struct scans *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	s->ops = *ops;
	s->listener = steal_fd(&own);
	/* CRIU and our thread take turns: on one processor that needs no other to be woken. Linux 6.6 */
	if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) <
	    0)
		log_debug("scans: answers by turns: %s", strerror(errno));
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
