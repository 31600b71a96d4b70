/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vmaflags.h - the kernel's flags of mappings, without a walk over their pages. */
#ifndef HAUL_VMAFLAGS_H
#define HAUL_VMAFLAGS_H

#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct vmaflags;

/* As in struct vm_area_struct: a plain record of the BPF program. */
struct vma_raw {
	uint64_t start, end, flags;
	uint64_t policy; /* NUMA; 0: none of its own */
};

/** vmaflags_new() - Return: 0; -ENOTSUP: no BPF iterator here (kernel 6.1 with BTF) */
int vmaflags_new(struct vmaflags **out, struct err *e);
/** vmaflags_read() - all mappings of @pid, ascending; *out is the caller's */
int vmaflags_read(const struct vmaflags *f, pid_t pid, struct vma_raw **out, size_t *n,
                  struct err *e);
void vmaflags_free(struct vmaflags *f);
DEFINE_AUTO(vmaflags, vmaflags_free)

#endif
