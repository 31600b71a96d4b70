// SPDX-License-Identifier: GPL-2.0-or-later
/* util.c - what every file of the inspection uses: reading /proc/PID, growing arrays. */
#include "hauler/inspect/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/printable.h"

bool inspect_in_tree(const struct inspect *i, pid_t pid)
{
	for (size_t k = 0; k < i->procs.n; k++)
		if (i->procs.pid[k] == pid)
			return true;
	return false;
}

int inspect_grow(void *array, size_t n, size_t *cap, size_t size)
{
	void *p;

	if (n < *cap)
		return 0;
	size_t more = *cap ? 2 * *cap : 16;

	memcpy(&p, array, sizeof(p));
	p = realloc(p, more * size);
	if (!p)
		return -ENOMEM;
	memcpy(array, &p, sizeof(p));
	*cap = more;
	return 0;
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
	for (size_t k = 0; k < i->n_numbers; k++)
		if (i->numbers[k] == (uint32_t)id)
			return 0;
	if (inspect_grow(&i->numbers, i->n_numbers, &i->cap_numbers, sizeof(*i->numbers)) < 0)
		return -ENOMEM;
	i->numbers[i->n_numbers++] = (uint32_t)id;
	return 0;
}
