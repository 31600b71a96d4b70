// SPDX-License-Identifier: GPL-2.0-or-later
/* selfset.c - personality, machine checks, I/O flusher, merging of equal pages, speculation control. */
#include "engine/proc/selfset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "common/auto.h"
#include "engine/proc/proc.h"

#define LINE_BYTES 512
#define CALLS_MAX  7u /* of one thread */

/* Bits of the flags in /proc/PID/stat; the kernel's numbers. */
#define TASK_MCE_PROCESS   0x00000080UL
#define TASK_MEMALLOC_NOIO 0x00080000UL
#define TASK_MCE_EARLY     0x08000000UL

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif

/* The line that begins with @key in /proc/PID/task/TID/@file, without @key. Return: false: there is none */
static bool line_of(pid_t pid, pid_t tid, const char *file, const char *key, char out[LINE_BYTES])
{
	char path[80], line[LINE_BYTES];
	size_t n = strlen(key);

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, file);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, n) != 0)
			continue;
		const char *at = line + n + strspn(line + n, " \t");

		snprintf(out, LINE_BYTES, "%.*s", (int)strcspn(at, "\n"), at);
		return true;
	}
	return false;
}

static unsigned long flags_of(pid_t pid, pid_t tid)
{
	char line[LINE_BYTES];
	unsigned long flags = 0;

	if (!line_of(pid, tid, "stat", "", line))
		return 0;
	const char *at = strrchr(line, ')'); /* the name may contain any character */

	return at && sscanf(at, ") %*c %*d %*d %*d %*d %*d %lu", &flags) == 1 ? flags : 0;
}

/* In the words of /proc/PID/status: what a thread has asked for itself. */
static uint32_t speculation_of(const char *words)
{
	if (!strcmp(words, "thread force mitigated") ||
	    !strcmp(words, "conditional force disabled"))
		return PR_SPEC_FORCE_DISABLE;
	if (!strcmp(words, "thread mitigated") || !strcmp(words, "conditional disabled"))
		return PR_SPEC_DISABLE;
	return 0;
}

void selfset_read(pid_t pid, pid_t tid, struct selfset *out)
{
	char line[LINE_BYTES];
	unsigned long flags = flags_of(pid, tid);

	*out = (struct selfset){ .tid = tid, .io_flusher = flags & TASK_MEMALLOC_NOIO };
	if (flags & TASK_MCE_PROCESS)
		out->mce = flags & TASK_MCE_EARLY ? SELFSET_MCE_EARLY : SELFSET_MCE_LATE;
	if (line_of(pid, tid, "personality", "", line))
		out->personality = (uint32_t)strtoul(line, NULL, 16);
	if (line_of(pid, tid, "status", "Speculation_Store_Bypass:", line))
		out->bypass = speculation_of(line);
	if (line_of(pid, tid, "status", "SpeculationIndirectBranch:", line))
		out->branch = speculation_of(line);
	out->merge = pid == tid && line_of(pid, tid, "ksm_stat", "ksm_merge_any:", line) &&
	             !strcmp(line, "yes");
}

bool selfset_any(const struct selfset *a)
{
	return a->personality || a->mce || a->io_flusher || a->merge || a->lock_future ||
	       a->bypass || a->branch;
}

/* ---- calls ---- */

struct list {
	struct inject_call *v;
	const char **name;
	size_t n;
};

static void add(struct list *l, bool wanted, const char *name, const struct inject_call *c)
{
	if (!wanted)
		return;
	l->name[l->n] = name;
	l->v[l->n++] = *c;
}

#define CALL_PRCTL(...)                                                                            \
	&(struct inject_call)                                                                      \
	{                                                                                          \
		.tid = a->tid, .nr = SYS_prctl, .arg = { __VA_ARGS__ }                             \
	}

static void add_thread(struct list *l, const struct selfset *a)
{
	const struct inject_call person = { .tid = a->tid,
		                            .nr = SYS_personality,
		                            .arg = { a->personality } };
	const struct inject_call lock = { .tid = a->tid,
		                          .nr = SYS_mlockall,
		                          .arg = { a->lock_future == SELFSET_LOCK_ONFAULT
		                                           ? MCL_FUTURE | MCL_ONFAULT
		                                           : MCL_FUTURE } };
	uint64_t when = a->mce == SELFSET_MCE_EARLY ? PR_MCE_KILL_EARLY : PR_MCE_KILL_LATE;

	add(l, a->personality, "personality", &person);
	add(l, a->mce, "machine check policy", CALL_PRCTL(PR_MCE_KILL, PR_MCE_KILL_SET, when));
	add(l, a->io_flusher, "PR_SET_IO_FLUSHER", CALL_PRCTL(PR_SET_IO_FLUSHER, 1));
	add(l, a->merge, "PR_SET_MEMORY_MERGE", CALL_PRCTL(PR_SET_MEMORY_MERGE, 1));
	add(l, a->lock_future, "mlockall(MCL_FUTURE)", &lock);
	add(l, a->bypass, "speculative store bypass",
	    CALL_PRCTL(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, a->bypass));
	add(l, a->branch, "speculation of indirect branches",
	    CALL_PRCTL(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, a->branch));
}

int selfset_apply(pid_t pid, const struct selfset *v, size_t n, const char **what, pid_t *tid)
{
	AUTO(mem) struct inject_call *call = calloc(n * CALLS_MAX, sizeof(*call));
	AUTO(mem) const char **name = calloc(n * CALLS_MAX, sizeof(*name));
	struct list l = { call, name, 0 };
	struct err e = ERR_INIT;

	*what = "attributes of its own";
	*tid = pid;
	if (!call || !name)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		add_thread(&l, &v[i]);
	int r = inject_calls(pid, call, l.n, &e);

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		*what = name[i];
		*tid = call[i].tid;
		/* personality() returns the one before */
		r = call[i].result < 0 ? call[i].result : 0;
	}
	return r;
}
