/* SPDX-License-Identifier: GPL-2.0-or-later */
/* selfset.h - attributes that the kernel lets a thread set for itself alone; seen from outside, set by injected calls. */
#ifndef HAUL_SELFSET_H
#define HAUL_SELFSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

enum selfset_mce { SELFSET_MCE_DEFAULT, SELFSET_MCE_LATE, SELFSET_MCE_EARLY };

enum selfset_lock { SELFSET_LOCK_NO, SELFSET_LOCK_ALL, SELFSET_LOCK_ONFAULT };

struct selfset {
	pid_t tid;
	uint32_t personality; /* personality(2) */
	uint32_t mce; /* enum selfset_mce: PR_MCE_KILL */
	bool io_flusher; /* PR_SET_IO_FLUSHER */
	bool merge; /* of the process, noted for its first thread: PR_SET_MEMORY_MERGE */
	uint32_t lock_future; /* of the process: mlockall(MCL_FUTURE); selfset_read() cannot tell */
	uint32_t
	        bypass; /* speculative store bypass: PR_SPEC_DISABLE, PR_SPEC_FORCE_DISABLE; 0: as the kernel has it */
	uint32_t branch; /* the same of indirect branches */
};

/** selfset_read() - of a thread of @pid; what cannot be read is the default */
void selfset_read(pid_t pid, pid_t tid, struct selfset *out);
/** selfset_any() - is anything of it not the default? */
bool selfset_any(const struct selfset *a);
/**
 * selfset_apply() - threads of @pid get what the @n of @v have, by calls in them
 * @what, @tid: out: the first attribute that could not be set, static, and of which thread
 * Return: 0; -errno of that one, the others are set
 */
int selfset_apply(pid_t pid, const struct selfset *v, size_t n, const char **what, pid_t *tid);

#endif
