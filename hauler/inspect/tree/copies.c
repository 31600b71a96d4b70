// SPDX-License-Identifier: GPL-2.0-or-later
/* copies.c - memory that processes share since a fork (copy on write), and of which each has its own at the destination. */
#include "hauler/inspect/tree/tree.h"

#define LEAST_KIB 32768u /* less is not worth a word */

/* @own: all of it; @part: each page divided by the number of processes that have it */
static void read_memory(pid_t pid, uint64_t *own, uint64_t *part)
{
	AUTO(file) FILE *f = inspect_open(pid, "smaps_rollup");
	unsigned long long kib;
	char line[128];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Anonymous: %llu", &kib) == 1)
			*own += kib;
		if (sscanf(line, "Pss_Anon: %llu", &kib) == 1)
			*part += kib;
	}
}

int inspect_copies(struct inspect *i)
{
	uint64_t own = 0, part = 0;

	if (i->procs.n < 2 || i->bytes.anon / 1024 < LEAST_KIB)
		return 0;
	for (size_t k = 0; k < i->procs.n; k++)
		if (!i->tasks[k].zombie)
			read_memory(i->procs.pid[k], &own, &part);
	/* without Pss_Anon (Linux before 5.15) it is not known */
	if (!part || own < part + LEAST_KIB)
		return 0;
	return inspect_say(
	        i, SEV_WARNING, "copy-on-write",
	        "see that the destination has the memory; it goes over the network once",
	        "the processes share memory since a fork (copy on write), and each has its "
	        "own copy at the destination: %llu MiB there, %llu MiB here",
	        (unsigned long long)(own >> 10), (unsigned long long)(part >> 10));
}
