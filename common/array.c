// SPDX-License-Identifier: GPL-2.0-or-later
/* array.c - arrays that grow. */
#include "common/array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ELEMENTS 16

int array_grow(void *array, size_t n, size_t *cap, size_t size)
{
	void *old, *p;

	if (n < *cap)
		return 0;
	size_t more = *cap ? 2 * *cap : FIRST_ELEMENTS;

	/* the pointer has a type of its own, which ours may not alias */
	memcpy(&old, array, sizeof(old));
	p = realloc(old, more * size);
	if (!p)
		return -ENOMEM;
	memcpy(array, &p, sizeof(p));
	*cap = more;
	return 0;
}
