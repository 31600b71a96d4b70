/* SPDX-License-Identifier: GPL-2.0-or-later */
/* machine.h - which machine this is, and which of its boots. */
#ifndef HAUL_MACHINE_H
#define HAUL_MACHINE_H

#include "common/host/journal.h"

struct machine {
	char id[40]; /* /etc/machine-id; empty: it has none */
	char boot[JOURNAL_BOOT_BYTES];
	char host[256];
	uint64_t pidns; /* inode of our namespace of process IDs */
};

/** machine_here() - of the machine, boot and namespace that this program runs in */
void machine_here(struct machine *out);

#endif
