// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * spill.c - bytes that arrived before a read asked for them, in order.
 *
 * Once the connection has failed, libssh hands out nothing, not even bytes received earlier.
 * Bytes in the spill are safe from that. It is bounded, so that the SSH window still slows the
 * peer down: the rest stays in libssh, which then grants no more window.
 */
#include "transport/priv.h"

#include <string.h>

#define SPILL_MIN (64u << 10)

static bool make_room(struct spill *s, size_t bytes)
{
	size_t used = s->tail - s->head, cap = s->cap ? s->cap : SPILL_MIN;

	if (s->cap - s->tail >= bytes)
		return true;
	if (s->head) {
		memmove(s->p, s->p + s->head, used);
		s->head = 0;
		s->tail = used;
	}
	while (cap - used < bytes)
		cap *= 2;
	if (cap == s->cap)
		return true;
	uint8_t *p = realloc(s->p, cap);

	if (!p)
		return false;
	s->p = p;
	s->cap = cap;
	return true;
}

size_t spill_put(struct spill *s, const void *p, size_t bytes)
{
	size_t room = SPILL_MAX - (s->tail - s->head);

	if (bytes > room)
		bytes = room;
	if (bytes == 0 || !make_room(s, bytes))
		return 0;
	memcpy(s->p + s->tail, p, bytes);
	s->tail += bytes;
	return bytes;
}

size_t spill_get(struct spill *s, void *p, size_t bytes)
{
	size_t used = s->tail - s->head;

	if (bytes > used)
		bytes = used;
	if (bytes == 0)
		return 0;
	memcpy(p, s->p + s->head, bytes);
	s->head += bytes;
	if (s->head == s->tail)
		s->head = s->tail = 0;
	return bytes;
}

void spill_fini(struct spill *s)
{
	free(s->p);
	*s = (struct spill){ 0 };
}
