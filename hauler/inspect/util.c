// SPDX-License-Identifier: GPL-2.0-or-later
/* util.c - used by every file of the inspection: reading /proc/PID. */
#include "hauler/inspect/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/printable.h"

bool inspect_in_tree(const struct inspect *i, pid_t pid)
{
	for (size_t k = 0; k < i->procs.n; k++)
		if (i->procs.pid[k] == pid)
			return true;
	return false;
}

FILE *inspect_open(pid_t pid, const char *what)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	return fopen(path, "re");
}

ssize_t inspect_link(pid_t pid, const char *what, char *out, size_t bytes)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	ssize_t n = readlink(path, out, bytes - 1);

	out[n > 0 ? n : 0] = 0;
	return n < 0 ? -errno : n;
}

void inspect_comm(pid_t pid, char out[INSPECT_COMM_MAX])
{
	printable_comm(pid, out, INSPECT_COMM_MAX);
}

int inspect_number(struct inspect *i, pid_t id)
{
	for (size_t k = 0; k < i->numbers.n; k++)
		if (i->numbers.v[k] == (uint32_t)id)
			return 0;
	if (array_grow(&i->numbers.v, i->numbers.n, &i->numbers.cap, sizeof(*i->numbers.v)) < 0)
		return -ENOMEM;
	i->numbers.v[i->numbers.n++] = (uint32_t)id;
	return 0;
}
