// SPDX-License-Identifier: GPL-2.0-or-later
/* ends.c - the list of descriptors that are ends of pipes and sockets. */
#include "hauler/inspect/priv.h"

#include <string.h>

#include "common/array.h"

int inspect_end_add(struct inspect_ends *l, struct inspect_end end)
{
	if (array_grow(&l->v, l->n, &l->cap, sizeof(*l->v)) < 0)
		return -ENOMEM;
	l->v[l->n++] = end;
	return 0;
}

int inspect_end_take(struct inspect_ends *left, uint64_t inode, struct inspect_end *out)
{
	for (size_t k = 0; k < left->n; k++) {
		if (left->v[k].inode != inode)
			continue;
		if (out)
			*out = left->v[k];
		memmove(&left->v[k], &left->v[k + 1], (left->n - k - 1) * sizeof(*left->v));
		left->n--;
		return 1;
	}
	return 0;
}
