// SPDX-License-Identifier: GPL-2.0-or-later
/* attrs.c - affinity, I/O priority, timer slack, and what a process has beside them. */
#include "engine/proc/attrs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "common/auto.h"

#define IOPRIO_WHO_PROCESS 1
#define TEXT_BYTES         64

static int read_text(pid_t pid, const char *file, char out[TEXT_BYTES])
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, TEXT_BYTES - 1);

	if (n < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	out[n] = '\0';
	return 0;
}

static int write_text(pid_t pid, const char *file, const char *text)
{
	char path[48];
	size_t n = strlen(text);

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, n) == (ssize_t)n ? 0 : -errno;
}

void attrs_online(struct attrs_online *out)
{
	AUTO(file) FILE *f = fopen("/sys/devices/system/cpu/online", "re"); /* "0-3,5" */
	unsigned int from, to;
	int n;

	memset(out, 0, sizeof(*out));
	while (f && (n = fscanf(f, "%u-%u", &from, &to)) > 0) {
		to = n == 1 ? from : to;
		for (unsigned int c = from; c <= to && c < 8 * ATTRS_CPU_BYTES; c++) {
			out->cpus[c / 8] |= (uint8_t)(1u << c % 8);
			out->bytes = c / 8 + 1;
		}
		if (fgetc(f) != ',')
			break;
	}
}

static bool has_cpu(const uint8_t *cpus, size_t bytes, unsigned int c)
{
	return c / 8 < bytes && (cpus[c / 8] >> c % 8 & 1);
}

static int read_cpus(const struct attrs_online *host, struct attrs *a)
{
	long n = syscall(SYS_sched_getaffinity, a->tid, sizeof(a->cpus), a->cpus);

	if (n < 0)
		return -errno;
	while (n > 0 && !a->cpus[n - 1])
		n--;
	for (unsigned int c = 0; c < 8 * host->bytes; c++)
		if (has_cpu(host->cpus, host->bytes, c) && !has_cpu(a->cpus, (size_t)n, c)) {
			a->cpu_bytes = (size_t)n;
			return 0;
		}
	a->cpu_bytes = 0;
	return 0;
}

/* struct sched_attr of the kernel, as of Linux 5.3 */
struct sched {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

#define SCHED_KEEP_ALL   0x18
#define SCHED_CLAMP_MIN  0x20
#define SCHED_CLAMP_MAX  0x40
#define SCHED_CLAMP_FULL 1024u /* the greatest, and the default of util_max */

static bool is_fair(const struct sched *s)
{
	return s->policy == SCHED_OTHER || s->policy == SCHED_BATCH;
}

/* A fair thread tells how long it runs at a time: what the host gives all, or what it has asked for (Linux 6.12). */
static uint64_t slice_of_all(void)
{
	static uint64_t ns;
	struct sched s = { .size = sizeof(s) };

	if (!ns && syscall(SYS_sched_getattr, 0, &s, sizeof(s), 0) == 0 && is_fair(&s))
		ns = s.runtime;
	return ns;
}

/* Without CONFIG_UCLAMP_TASK both clamps are 0. */
static void read_sched(struct attrs *a)
{
	struct sched s = { .size = sizeof(s) };

	if (syscall(SYS_sched_getattr, a->tid, &s, sizeof(s), 0) < 0)
		return;
	if (is_fair(&s) && slice_of_all() && s.runtime != slice_of_all())
		a->run_ns = s.runtime;
	if (!s.util_max || (s.util_min == 0 && s.util_max == SCHED_CLAMP_FULL))
		return;
	a->util_min = s.util_min + 1;
	a->util_max = s.util_max + 1;
}

static int set_clamps(const struct attrs *a)
{
	struct sched s = { .size = sizeof(s),
		           .flags = SCHED_KEEP_ALL | SCHED_CLAMP_MIN | SCHED_CLAMP_MAX,
		           .util_min = a->util_min - 1,
		           .util_max = a->util_max - 1 };

	if (!a->util_min || !a->util_max)
		return 0;
	return syscall(SYS_sched_setattr, a->tid, &s, 0) < 0 ? -errno : 0;
}

static int set_slice(const struct attrs *a)
{
	struct sched s = { .size = sizeof(s) };

	if (!a->run_ns)
		return 0;
	if (syscall(SYS_sched_getattr, a->tid, &s, sizeof(s), 0) < 0)
		return -errno;
	s.runtime = a->run_ns;
	return is_fair(&s) && syscall(SYS_sched_setattr, a->tid, &s, 0) < 0 ? -errno : 0;
}

int attrs_read(pid_t pid, pid_t tid, const struct attrs_online *host, struct attrs *out)
{
	char text[TEXT_BYTES];

	memset(out, 0, sizeof(*out));
	out->tid = tid;
	out->leader = pid == tid;
	int r = read_cpus(host, out);

	if (r < 0)
		return r;
	long io = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, tid);

	out->io_priority = io > 0 ? (unsigned int)io : 0;
	read_sched(out);
	if (read_text(tid, "timerslack_ns", text) == 0)
		out->slack_ns = strtoull(text, NULL, 10);
	if (!out->leader)
		return 0;
	r = read_text(pid, "oom_score_adj", text);
	if (r < 0)
		return r;
	out->oom_score_adj = (int)strtol(text, NULL, 10);
	r = read_text(pid, "coredump_filter", text);
	out->coredump_filter = r == 0 ? (unsigned int)strtoul(text, NULL, 16) : 0;
	/* "/autogroup-29 nice 3"; not every kernel has it */
	const char *nice = read_text(pid, "autogroup", text) == 0 ? strstr(text, " nice ") : NULL;

	out->autogroup_nice = nice ? (int)strtol(nice + 6, NULL, 10) : 0;
	return r;
}

static void note(int *first, const char **what, int r, const char *name)
{
	if (r < 0 && *first == 0) {
		*first = r;
		*what = name;
	}
}

int attrs_set(const struct attrs *a, const char **what)
{
	char text[TEXT_BYTES];
	int first = 0;

	if (a->cpu_bytes && syscall(SYS_sched_setaffinity, a->tid, a->cpu_bytes, a->cpus) < 0)
		note(&first, what, -errno, "CPU affinity");
	if (a->io_priority &&
	    syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, a->tid, a->io_priority) < 0)
		note(&first, what, -errno, "I/O priority");
	snprintf(text, sizeof(text), "%llu", (unsigned long long)a->slack_ns);
	/* engine/criu/inherit.c has set it so for CRIU, from which all threads have it */
	if (a->slack_ns && a->slack_ns != ATTRS_SLACK_NS)
		note(&first, what, write_text(a->tid, "timerslack_ns", text), "timer slack");
	note(&first, what, set_slice(a), "time slice");
	note(&first, what, set_clamps(a), "utilization clamps");
	if (!a->leader)
		return first;
	snprintf(text, sizeof(text), "%d", a->oom_score_adj);
	note(&first, what, write_text(a->tid, "oom_score_adj", text), "oom_score_adj");
	snprintf(text, sizeof(text), "0x%x", a->coredump_filter);
	note(&first, what, write_text(a->tid, "coredump_filter", text), "coredump_filter");
	snprintf(text, sizeof(text), "%d", a->autogroup_nice);
	if (a->autogroup_nice)
		note(&first, what, write_text(a->tid, "autogroup", text),
		     "nice value of the autogroup");
	return first;
}

int attrs_first_missing(const uint8_t *cpus, size_t bytes)
{
	struct attrs_online host;

	attrs_online(&host);
	for (unsigned int c = 0; host.bytes && c < 8 * bytes; c++)
		if (has_cpu(cpus, bytes, c) && !has_cpu(host.cpus, host.bytes, c))
			return (int)c;
	return -1;
}
