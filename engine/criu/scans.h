/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scans.h - answering CRIU's page scans and its opens of smaps. */
#ifndef HAUL_SCANS_H
#define HAUL_SCANS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct scans;

/* scans_object_fn - will haul bring all of this shared memory itself? */
typedef bool (*scans_object_fn)(void *arg, uint64_t dev, uint64_t inode);

/* Called from the supervisor's thread, while CRIU waits. */
struct scans_ops {
	/* will haul bring all pages of [start, end) of @pid itself? */
	bool (*scan)(void *arg, pid_t pid, uint64_t start, uint64_t end);
	scans_object_fn object; /* NULL: CRIU looks itself */
	/* a descriptor for CRIU to read as smaps of @pid, taken; -errno: use the kernel's */
	int (*smaps)(void *arg, pid_t pid);
	void *arg;
};

/** scans_limits() - do we lack CAP_SYS_RESOURCE? Then CRIU's questions about limits are answered, too */
bool scans_limits(void);
/** scans_install() - in the child before exec. @opens: of smaps, too. Return: the listener; -1 */
int scans_install(bool opens);
/** scans_start() - @listener is taken; the thread ends when CRIU does */
int scans_start(struct scans **out, int listener, const struct scans_ops *ops, struct err *e);
void scans_free(struct scans *s);

#endif
