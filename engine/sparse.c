// SPDX-License-Identifier: GPL-2.0-or-later
/* sparse.c - a hash table of chunks that only grows. */
#include "engine/sparse.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct chunk {
	uint64_t key;
	struct chunk *next;
	_Alignas(16) uint8_t payload[];
};

struct sparse {
	pthread_rwlock_t lock;
	struct chunk **bucket;
	size_t n_buckets, n_chunks, chunk_bytes;
};

static size_t bucket_of(const struct sparse *s, uint64_t key)
{
	return (size_t)((key * 0x9e3779b97f4a7c15ULL) >> 20) & (s->n_buckets - 1);
}

struct sparse *sparse_new(size_t chunk_bytes)
{
	struct sparse *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->chunk_bytes = chunk_bytes;
	s->n_buckets = 1 << 8;
	s->bucket = calloc(s->n_buckets, sizeof(*s->bucket));
	pthread_rwlock_init(&s->lock, NULL);
	if (!s->bucket) {
		sparse_free(s);
		return NULL;
	}
	return s;
}

static struct chunk *find(const struct sparse *s, uint64_t key)
{
	struct chunk *c = s->bucket[bucket_of(s, key)];

	while (c && c->key != key)
		c = c->next;
	return c;
}

static void rehash(struct sparse *s)
{
	size_t old_n = s->n_buckets;
	struct chunk **old = s->bucket, **v = calloc(4 * old_n, sizeof(*v));

	if (!v)
		return; /* stays correct, only slower */
	s->bucket = v;
	s->n_buckets = 4 * old_n;
	for (size_t i = 0; i < old_n; i++)
		for (struct chunk *c = old[i], *next; c; c = next) {
			size_t b = bucket_of(s, c->key);

			next = c->next;
			c->next = v[b];
			v[b] = c;
		}
	free(old);
}

static struct chunk *make(struct sparse *s, uint64_t key)
{
	pthread_rwlock_wrlock(&s->lock);
	struct chunk *c = find(s, key);

	if (!c && (c = calloc(1, sizeof(*c) + s->chunk_bytes))) {
		if (s->n_chunks++ > 2 * s->n_buckets)
			rehash(s);
		size_t b = bucket_of(s, key);

		c->key = key;
		c->next = s->bucket[b];
		s->bucket[b] = c;
	}
	pthread_rwlock_unlock(&s->lock);
	return c;
}

void *sparse_get(struct sparse *s, uint64_t key, bool create)
{
	pthread_rwlock_rdlock(&s->lock);
	struct chunk *c = find(s, key);

	pthread_rwlock_unlock(&s->lock);
	if (!c && create)
		c = make(s, key);
	return c ? c->payload : NULL;
}

void sparse_each(struct sparse *s, void (*fn)(void *arg, uint64_t key, void *payload), void *arg)
{
	pthread_rwlock_rdlock(&s->lock);
	for (size_t i = 0; i < s->n_buckets; i++)
		for (struct chunk *c = s->bucket[i]; c; c = c->next)
			fn(arg, c->key, c->payload);
	pthread_rwlock_unlock(&s->lock);
}

void sparse_free(struct sparse *s)
{
	if (!s)
		return;
	for (size_t i = 0; s->bucket && i < s->n_buckets; i++)
		for (struct chunk *c = s->bucket[i], *next; c; c = next) {
			next = c->next;
			free(c);
		}
	free(s->bucket);
	pthread_rwlock_destroy(&s->lock);
	free(s);
}
