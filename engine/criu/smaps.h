/* SPDX-License-Identifier: GPL-2.0-or-later */
/* smaps.h - the part of /proc/PID/smaps that CRIU reads, without the walk over all pages. */
#ifndef HAUL_SMAPS_H
#define HAUL_SMAPS_H

#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct smaps;

/**
 * smaps_new() - learn from mappings of our own how this kernel prints each flag
 * Return: 0; -ENOTSUP: CRIU has to read the kernel's file here
 */
int smaps_new(struct smaps **out, struct err *e);
/**
 * smaps_open() - the mappings of a stopped process and their VmFlags, as a file at its
 * beginning
 * Return: a descriptor; -ENODATA: a flag is not known for certain; -errno
 */
int smaps_open(const struct smaps *s, pid_t pid, struct err *e);
void smaps_free(struct smaps *s);
DEFINE_AUTO(smaps, smaps_free)

#endif
