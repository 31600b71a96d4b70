// SPDX-License-Identifier: GPL-2.0-or-later
/* sandbox.c - what processes have put upon themselves, and would not have at the destination. */
#include "hauler/inspect/tree/tree.h"

#include <linux/seccomp.h>
#include <string.h>

#include "common/log.h"
#include "engine/criu/sandbox.h"

static int say_landlock(struct inspect *i, pid_t pid)
{
	return inspect_say(
	        i, SEV_BLOCKER, "landlock",
	        "start the program without its sandbox; it cannot be read, nor made anew",
	        "pid %d has restricted itself with Landlock rules, which it would not have at the "
	        "destination",
	        pid);
}

static int say_mdwe(struct inspect *i, pid_t pid)
{
	return inspect_say(
	        i, SEV_BLOCKER, "mdwe",
	        "start the program without it; in a systemd unit it is MemoryDenyWriteExecute=",
	        "pid %d has forbidden itself memory that is written and executed (PR_SET_MDWE), "
	        "which it "
	        "would not have at the destination",
	        pid);
}

static int say_sealed(struct inspect *i, pid_t pid, uint64_t at)
{
	return inspect_say(
	        i, SEV_BLOCKER, "sealed", "start the program without it",
	        "mapping %llx of pid %d is sealed (mseal(2)), and would not be at the destination",
	        (unsigned long long)at, pid);
}

static int say_dispatch(struct inspect *i, pid_t pid)
{
	return inspect_say(i, SEV_BLOCKER, "syscall-dispatch",
	                   "start the program without it; Wine uses it for Windows programs",
	                   "pid %d has system calls sent back to itself "
	                   "(PR_SET_SYSCALL_USER_DISPATCH), which would reach the kernel at the "
	                   "destination",
	                   pid);
}

static bool is_strict(pid_t pid)
{
	AUTO(file) FILE *f = inspect_open(pid, "status");
	char line[128];
	int mode = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Seccomp: %d", &mode) == 1)
			break;
	return mode == SECCOMP_MODE_STRICT;
}

/* Of the processor: what CRIU does not save. */
static int say_processor(struct inspect *i, pid_t pid, const struct sandbox_seen *s)
{
	int r = 0;

	if (s->ports)
		r = inspect_say(i, SEV_BLOCKER, "io-ports",
		                "the program has to give them up before the move",
		                "pid %d may use I/O ports (iopl, ioperm): they belong to this host",
		                pid);
	if (r == 0 && s->ldt)
		r = inspect_say(i, SEV_BLOCKER, "ldt",
		                "start the program without it; Wine uses it for 16-bit programs",
		                "pid %d has segments of its own (modify_ldt), which CRIU does not "
		                "save",
		                pid);
	/* seccomp's strict mode has it, too, and is restored */
	if (r == 0 && s->no_tsc && !is_strict(pid))
		r = inspect_say(i, SEV_WARNING, "task-flags",
		                "the program has to set it again after the move",
		                "pid %d has forbidden itself the time stamp counter (PR_SET_TSC), "
		                "and may read it at the destination",
		                pid);
	return r;
}

static int say_keys(struct inspect *i, pid_t pid, bool own)
{
	return inspect_say(
	        i, own ? SEV_WARNING : SEV_INFO, "keyring",
	        own ? "the program has to add its keys again after the move" : NULL,
	        own ? "pid %d has keys in a keyring of its own (keyrings(7)), and none at the "
	              "destination"
	            : "pid %d has a session keyring with keys (keyrings(7)); at the destination it "
	              "has an empty one",
	        pid);
}

/* The first mapping shows the policy of the process, unless it has one of its own. */
static int say_policy(struct inspect *i, pid_t pid)
{
	char line[256], policy[64] = "default";
	AUTO(file) FILE *f = inspect_open(pid, "numa_maps");

	if (f && fgets(line, sizeof(line), f))
		sscanf(line, "%*x %63s", policy);
	bool own = strcmp(policy, "default") != 0;

	return inspect_say(
	        i, SEV_WARNING, "memory-policy", "the program has to set it again after the move",
	        "pid %d has %s%s (set_mempolicy, mbind, numactl), which is the default at the "
	        "destination",
	        pid, own ? "the memory policy " : "a thread or a mapping with a memory policy",
	        own ? policy : "");
}

static int look(struct inspect *i, const struct sandbox *s, pid_t pid)
{
	struct sandbox_seen seen;
	struct err why = ERR_INIT;
	int r = 0;

	if (sandbox_look(s, pid, &seen, &why) < 0) {
		log_info("pid=%d: %s", pid, why.msg);
		return 0; /* it has ended */
	}
	if (seen.landlock)
		r = say_landlock(i, pid);
	if (r >= 0 && seen.mdwe)
		r = say_mdwe(i, pid);
	if (r >= 0 && seen.sealed)
		r = say_sealed(i, pid, seen.sealed);
	if (r >= 0 && seen.dispatch)
		r = say_dispatch(i, pid);
	if (r >= 0)
		r = say_processor(i, pid, &seen);
	if (r >= 0 && (seen.keys || seen.session_keys))
		r = say_keys(i, pid, seen.keys);
	return r >= 0 && seen.policy ? say_policy(i, pid) : r;
}

int inspect_sandboxes(struct inspect *i)
{
	struct err why = ERR_INIT;
	int r = 0;

	if (i->foreign)
		return 0;
	if (sandbox_new(&i->sandbox, &why) < 0) {
		log_info("this kernel does not tell of sandboxes: %s", why.msg);
		return 0;
	}
	for (size_t k = 0; r >= 0 && k < i->procs.n; k++)
		if (!i->tasks[k].zombie)
			r = look(i, i->sandbox, i->tasks[k].pid);
	return r;
}

int inspect_sandboxed(const struct inspect *i, pid_t pid, struct err *e)
{
	struct sandbox_seen seen;
	struct err ignore = ERR_INIT;

	if (!i->sandbox || sandbox_look(i->sandbox, pid, &seen, &ignore) < 0 ||
	    (!seen.landlock && !seen.mdwe && !seen.sealed && !seen.dispatch))
		return 0;
	err_set(e, ERR_TARGET, EPERM,
	        "pid %d has put a restriction upon itself that it would not have at the "
	        "destination (%s)",
	        pid,
	        seen.landlock ? "Landlock"
	        : seen.mdwe   ? "PR_SET_MDWE"
	        : seen.sealed ? "mseal"
	                      : "PR_SET_SYSCALL_USER_DISPATCH");
	return err_fix(e, "start the program without it");
}
