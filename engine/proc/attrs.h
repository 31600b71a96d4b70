/* SPDX-License-Identifier: GPL-2.0-or-later */
/* attrs.h - attributes of threads that CRIU does not restore; read and set from outside. */
#ifndef HAUL_ATTRS_H
#define HAUL_ATTRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ATTRS_CPU_BYTES 1024u /* 8192 CPUs, as many as Linux can have */
#define ATTRS_SLACK_NS  50000 /* timer slack that the kernel gives */

struct attrs {
	pid_t tid;
	bool leader; /* then also what the whole process has */
	uint8_t cpus[ATTRS_CPU_BYTES]; /* affinity: CPU n is bit n % 8 of byte n / 8 */
	size_t cpu_bytes; /* 0: every CPU of its host */
	unsigned int io_priority; /* as of ioprio_get(2); 0: none */
	uint64_t slack_ns; /* timer slack; 0: not known */
	int oom_score_adj; /* of the process */
	unsigned int coredump_filter; /* of the process */
	int autogroup_nice; /* of its session, CONFIG_SCHED_AUTOGROUP */
	uint64_t run_ns; /* how long a fair thread has asked to run at a time; 0: as all */
	unsigned int util_min, util_max; /* utilization clamps, and 1 added; 0: the kernel's */
};

/* CPUs of this host that can be used. */
struct attrs_online {
	uint8_t cpus[ATTRS_CPU_BYTES];
	size_t bytes; /* 0: not known */
};

/** attrs_online() - read once for all threads */
void attrs_online(struct attrs_online *out);
/** attrs_read() - of a thread of @pid. Return: 0; -ESRCH it is gone; -errno */
int attrs_read(pid_t pid, pid_t tid, const struct attrs_online *host, struct attrs *out);
/**
 * attrs_set() - give thread a->tid what @a has
 * @what: out: the first attribute that could not be set, static
 * Return: 0; -errno of that one, the others are set
 */
int attrs_set(const struct attrs *a, const char **what);
/** attrs_first_missing() - the lowest CPU of the @bytes of @cpus that this host lacks; -1: none is */
int attrs_first_missing(const uint8_t *cpus, size_t bytes);

#endif
