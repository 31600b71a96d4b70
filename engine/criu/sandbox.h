/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sandbox.h - what a process has put upon itself, and no file of /proc tells. */
#ifndef HAUL_SANDBOX_H
#define HAUL_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct sandbox;

struct sandbox_seen {
	bool landlock; /* a thread has a Landlock domain */
	bool mdwe; /* PR_SET_MDWE */
	bool dispatch; /* a thread has its system calls dispatched to itself (PR_SET_SYSCALL_USER_DISPATCH) */
	bool no_tsc; /* a thread may not read the time stamp counter (PR_SET_TSC) */
	bool ports; /* a thread may use I/O ports (iopl, ioperm) */
	bool ldt; /* segments of its own (modify_ldt) */
	bool keys; /* a thread or process keyring */
	bool session_keys; /* its session keyring is not empty */
	bool policy; /* a thread or a mapping has a NUMA policy */
	uint64_t
	        sealed; /* address of a mapping that is sealed (mseal), not one of the kernel's; 0: none */
};

/**
 * sandbox_new() - load the BPF programs, and find out where this kernel notes a Landlock domain: a child is
 * restricted for that
 * Return: 0; -ENOTSUP: no BPF iterators here (kernel 6.1 with BTF)
 */
int sandbox_new(struct sandbox **out, struct err *e);
/** sandbox_look() - at @pid, from outside. Return: 0; -errno */
int sandbox_look(const struct sandbox *s, pid_t pid, struct sandbox_seen *out, struct err *e);
void sandbox_free(struct sandbox *s);
DEFINE_AUTO(sandbox, sandbox_free)

#endif
