// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pages.c - pages of a state. After the commit, while the archive cannot be read, a read waits and tries again: the threads
 * that need the page wait, too, and see no zeros.
 */
#include "hauler/load/priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

#define AGAIN_US    100000
#define AGAIN_TIMES 10

/* Return: the piece in the cache, or the slot that it replaces. Lock held */
static struct cached *slot_of(struct load *l, uint64_t piece)
{
	struct cached *oldest = &l->cache[0];

	for (size_t i = 0; i < LOAD_CACHE; i++) {
		if (l->cache[i].piece == piece)
			return &l->cache[i];
		if (l->cache[i].used < oldest->used)
			oldest = &l->cache[i];
	}
	return oldest;
}

/* Return: 0 with the pages in @buf; -errno. Lock held */
static int from_piece(struct load *l, uint64_t piece, size_t first, size_t pages, uint8_t *buf,
                      struct err *e)
{
	struct cached *c = slot_of(l, piece);

	if (!c->raw)
		c->raw = malloc(ARCHIVE_PIECE_BYTES);
	if (!c->raw)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a piece");
	if (c->piece != piece) {
		c->piece = 0;
		int r = archive_get(l->a, piece, c->raw, &c->bytes, e);

		if (r < 0)
			return r;
		c->piece = piece;
	}
	c->used = ++l->clock;
	if ((first + pages) * PAGE_BYTES > c->bytes)
		return err_set(e, ERR_USER, EBADMSG, "%s is damaged: a page map", l->path);
	memcpy(buf, c->raw + first * PAGE_BYTES, pages * PAGE_BYTES);
	return 0;
}

static int read_now(struct load *l, const struct pagemap *m, uint64_t vaddr, uint8_t *buf,
                    size_t pages, struct err *e)
{
	while (pages) {
		const struct pagemap_run *r = pagemap_find(m, vaddr);

		if (!r || r->vaddr > vaddr)
			return err_set(e, ERR_PEER, ENODATA, "%s has no page %llx", l->path,
			               (unsigned long long)vaddr);
		size_t skip = (size_t)((vaddr - r->vaddr) >> PAGE_BITS);
		size_t n = r->pages - skip < pages ? (size_t)(r->pages - skip) : pages;

		if (r->piece) {
			int x = from_piece(l, r->piece, r->first + skip, n, buf, e);

			if (x < 0)
				return x;
		} else {
			memset(buf, 0, n * PAGE_BYTES);
		}
		buf += n * PAGE_BYTES;
		vaddr += n * PAGE_BYTES;
		pages -= n;
	}
	return 0;
}

static bool stopped(const struct load *l)
{
	return __atomic_load_n(&l->stop, __ATOMIC_RELAXED);
}

static bool is_committed(const struct load *l)
{
	return __atomic_load_n(&l->committed, __ATOMIC_RELAXED);
}

/* One thread says it, once. */
static void tell(struct load *l, const struct err *e)
{
	if (!__atomic_exchange_n(&l->told, true, __ATOMIC_RELAXED))
		log_err("%s; threads that need its pages wait until it can be read", e->msg);
}

static void rest(const struct load *l)
{
	for (int i = 0; i < AGAIN_TIMES && !stopped(l); i++)
		usleep(AGAIN_US);
}

const struct pagemap *load_map(const struct load *l, uint64_t obj)
{
	for (size_t i = 0; i < l->n_objs; i++)
		if (l->obj[i].obj == obj)
			return &l->obj[i].map;
	return NULL;
}

int load_read(void *arg, uint64_t obj, uint64_t vaddr, void *buf, size_t pages, struct err *e)
{
	struct load *l = arg;
	const struct pagemap *m = load_map(l, obj);

	if (!m)
		return err_set(e, ERR_PEER, EPROTO, "the worker asks for pages of object %llx",
		               (unsigned long long)obj);
	for (;;) {
		pthread_mutex_lock(&l->lock);
		int r = read_now(l, m, vaddr, buf, pages, e);

		pthread_mutex_unlock(&l->lock);
		if (r == 0 && __atomic_exchange_n(&l->told, false, __ATOMIC_RELAXED))
			log_warn("%s can be read again", l->path);
		if (r == 0 || e->src == ERR_PEER || stopped(l) || !is_committed(l))
			return r;
		tell(l, e);
		rest(l);
		if (stopped(l))
			return r;
		err_clear(e);
	}
}

bool load_has(void *arg, uint64_t obj)
{
	return load_map(arg, obj) != NULL;
}

void load_commit(struct load *l)
{
	__atomic_store_n(&l->committed, true, __ATOMIC_RELAXED);
}

void load_stop(struct load *l)
{
	__atomic_store_n(&l->stop, true, __ATOMIC_RELAXED);
}
