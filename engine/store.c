// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * store.c - pages that have arrived: a sparse memfd per object, where the file
 * offset of a page is its address, and one byte of state per page.
 *
 * pwrite(2) is the quickest way in: a write fault on a mapping clears each page
 * before we overwrite it. State bytes hang in a tree that only grows, so readers
 * and writers of different pages need no lock. The protocol never has the same
 * page under way on two streams at once.
 */
#include "engine/engine.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define VADDR_BITS  47
#define CHUNK_PAGES 512u /* state bytes in one piece: 2 MiB of addresses */
#define LEAF_CHUNKS 512u /* 1 GiB */
#define MID_LEAVES  512u /* 512 GiB */
#define ROOT_MIDS   256u /* 2^47 */
#define OBJ_BUCKETS 256u
#define PAGES_MAX   (1ULL << (VADDR_BITS - ENG_PAGE_SHIFT))
#define LEAF_PAGES  ((uint64_t)CHUNK_PAGES * LEAF_CHUNKS)
#define MID_PAGES   (LEAF_PAGES * MID_LEAVES)

struct chunk {
	uint8_t st[CHUNK_PAGES];
};

/* Inner nodes point by void *, so that one function can make any of them. */
struct leaf {
	void *c[LEAF_CHUNKS];
};

struct mid {
	void *l[MID_LEAVES];
};

struct sobj {
	struct sobj *next;
	struct store *store;
	uint64_t obj;
	int fd;
	void *root[ROOT_MIDS];
};

struct store {
	pthread_mutex_t lock; /* making objects */
	struct sobj *bucket[OBJ_BUCKETS];
	uint64_t data_pages, peak_pages;
};

static unsigned int bucket_of(uint64_t obj)
{
	return (unsigned int)((obj * 0x9e3779b97f4a7c15ULL) >> 56);
}

int store_new(struct store **out, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the page store");
	pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return 0;
}

static struct sobj *obj_new(struct store *s, uint64_t obj)
{
	AUTO(mem) struct sobj *o = calloc(1, sizeof(*o));
	AUTO(fd) int fd = memfd_create("haul-pages", MFD_CLOEXEC);

	if (!o || fd < 0 || ftruncate(fd, (off_t)1 << VADDR_BITS) < 0)
		return NULL;
	o->store = s;
	o->obj = obj;
	o->fd = steal_fd(&fd);
	return steal(o);
}

static struct sobj *obj_find(const struct store *s, uint64_t obj)
{
	struct sobj *o = __atomic_load_n(&s->bucket[bucket_of(obj)], __ATOMIC_ACQUIRE);

	while (o && o->obj != obj)
		o = o->next;
	return o;
}

struct sobj *store_obj(struct store *s, uint64_t obj, bool create)
{
	struct sobj *o = obj_find(s, obj);

	if (o || !create)
		return o;
	pthread_mutex_lock(&s->lock);
	o = obj_find(s, obj);
	if (!o) {
		o = obj_new(s, obj);
		if (o) {
			o->next = s->bucket[bucket_of(obj)];
			__atomic_store_n(&s->bucket[bucket_of(obj)], o, __ATOMIC_RELEASE);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return o;
}

/* ---- the tree of states ---- */

/* A node of @bytes at @slot, made when it is not there; whoever is second frees. */
static void *node_get(void **slot, size_t bytes, bool create)
{
	void *have = __atomic_load_n(slot, __ATOMIC_ACQUIRE);

	if (have || !create)
		return have;
	void *fresh = calloc(1, bytes);

	if (!fresh)
		return NULL;
	if (__atomic_compare_exchange_n(slot, &have, fresh, false, __ATOMIC_ACQ_REL,
	                                __ATOMIC_ACQUIRE))
		return fresh;
	free(fresh);
	return have;
}

/*
 * The chunk that holds page number @pg. When there is none (@create is false),
 * *@skip is the number of pages up to the end of the absent part of the tree.
 */
static struct chunk *chunk_get(const struct sobj *o, uint64_t pg, bool create, uint64_t *skip)
{
	void **root = ((struct sobj *)o)->root; /* nodes appear also for readers of @o */
	struct mid *m = node_get(&root[pg / MID_PAGES], sizeof(*m), create);

	*skip = MID_PAGES - pg % MID_PAGES;
	if (!m)
		return NULL;
	struct leaf *l = node_get(&m->l[pg % MID_PAGES / LEAF_PAGES], sizeof(*l), create);

	*skip = LEAF_PAGES - pg % LEAF_PAGES;
	if (!l)
		return NULL;
	*skip = CHUNK_PAGES - pg % CHUNK_PAGES;
	return node_get(&l->c[pg % LEAF_PAGES / CHUNK_PAGES], sizeof(struct chunk), create);
}

/* Addresses come from a peer. */
static bool range_ok(uint64_t vaddr, uint64_t pages)
{
	uint64_t pg = vaddr >> ENG_PAGE_SHIFT;

	return vaddr % ENG_PAGE_BYTES == 0 && pg < PAGES_MAX && pages <= PAGES_MAX - pg;
}

static int range_err(uint64_t vaddr, uint64_t pages, struct err *e)
{
	return err_set(e, ERR_PEER, EINVAL, "page address out of range: %llx, %llu pages",
	               (unsigned long long)vaddr, (unsigned long long)pages);
}

static void count_data(struct store *s, int64_t change)
{
	uint64_t now = __atomic_add_fetch(&s->data_pages, (uint64_t)change, __ATOMIC_RELAXED);
	uint64_t peak = __atomic_load_n(&s->peak_pages, __ATOMIC_RELAXED);

	while (change > 0 && now > peak &&
	       !__atomic_compare_exchange_n(&s->peak_pages, &peak, now, true, __ATOMIC_RELAXED,
	                                    __ATOMIC_RELAXED))
		;
}

static void punch(const struct sobj *o, uint64_t pg, uint64_t pages)
{
	fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(pg << ENG_PAGE_SHIFT),
	          (off_t)(pages << ENG_PAGE_SHIFT));
}

/*
 * Give @n pages inside one chunk the state @to. Memory of pages that were data is
 * freed; what lies between them holds none and may go with them, unless it is data
 * that stays (then @to is PAGE_DATA and nothing is freed).
 */
static void chunk_set(struct sobj *o, struct chunk *c, uint64_t pg, size_t n, enum page_state to)
{
	uint8_t *st = &c->st[pg % CHUNK_PAGES];
	size_t first = n, last = 0, had = 0;

	for (size_t i = 0; i < n; i++) {
		if (__atomic_exchange_n(&st[i], (uint8_t)to, __ATOMIC_ACQ_REL) != PAGE_DATA)
			continue;
		first = first == n ? i : first;
		last = i;
		had++;
	}
	if (to == PAGE_DATA) {
		count_data(o->store, (int64_t)(n - had));
	} else if (had) {
		punch(o, pg + first, last - first + 1);
		count_data(o->store, -(int64_t)had);
	}
}

/* For all pages of a range; chunks are made only for a state that says something. */
static int range_set(struct sobj *o, uint64_t vaddr, uint64_t pages, enum page_state to,
                     struct err *e)
{
	uint64_t pg = vaddr >> ENG_PAGE_SHIFT, end = pg + pages, skip;

	while (pg < end) {
		struct chunk *c = chunk_get(o, pg, to != PAGE_ABSENT, &skip);
		uint64_t n = skip < end - pg ? skip : end - pg;

		if (!c && to != PAGE_ABSENT)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for page states");
		if (c)
			chunk_set(o, c, pg, (size_t)n, to);
		pg += n;
	}
	return 0;
}

/* ---- public ---- */

int sobj_write(struct sobj *o, uint64_t vaddr, const void *data, size_t pages, struct err *e)
{
	const uint8_t *from = data;
	size_t left = pages * ENG_PAGE_BYTES;
	uint64_t at = vaddr;

	if (!range_ok(vaddr, pages))
		return range_err(vaddr, pages, e);
	while (left) {
		ssize_t n = pwrite(o->fd, from, left, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, "write to the page store");
		from += n;
		at += (uint64_t)n;
		left -= (size_t)n;
	}
	return range_set(o, vaddr, pages, PAGE_DATA, e);
}

int sobj_zero(struct sobj *o, uint64_t vaddr, size_t pages, struct err *e)
{
	if (!range_ok(vaddr, pages))
		return range_err(vaddr, pages, e);
	return range_set(o, vaddr, pages, PAGE_ZERO, e);
}

void sobj_drop(struct sobj *o, uint64_t vaddr, uint64_t pages)
{
	if (range_ok(vaddr, pages))
		range_set(o, vaddr, pages, PAGE_ABSENT, NULL);
}

void sobj_keep_only(struct sobj *o, const struct runs *keep)
{
	uint64_t at = 0;

	for (size_t i = 0; i < keep->n; i++) {
		if (keep->v[i].vaddr > at)
			sobj_drop(o, at, (keep->v[i].vaddr - at) >> ENG_PAGE_SHIFT);
		at = keep->v[i].vaddr + keep->v[i].pages * ENG_PAGE_BYTES;
	}
	if (at < PAGES_MAX << ENG_PAGE_SHIFT)
		sobj_drop(o, at, PAGES_MAX - (at >> ENG_PAGE_SHIFT));
}

enum page_state sobj_state(const struct sobj *o, uint64_t vaddr)
{
	uint64_t pg = vaddr >> ENG_PAGE_SHIFT, skip;

	if (pg >= PAGES_MAX)
		return PAGE_ABSENT;
	struct chunk *c = chunk_get(o, pg, false, &skip);

	return c ? __atomic_load_n(&c->st[pg % CHUNK_PAGES], __ATOMIC_ACQUIRE) : PAGE_ABSENT;
}

/* Pages at the start of the @n that are in @st. */
static uint64_t same_in_chunk(const struct chunk *c, uint64_t pg, uint64_t n, enum page_state st)
{
	uint64_t i = 0;

	if (!c)
		return st == PAGE_ABSENT ? n : 0;
	while (i < n && __atomic_load_n(&c->st[pg % CHUNK_PAGES + i], __ATOMIC_ACQUIRE) == st)
		i++;
	return i;
}

size_t sobj_span(const struct sobj *o, uint64_t vaddr, size_t max, enum page_state *st)
{
	uint64_t first = vaddr >> ENG_PAGE_SHIFT, pg = first, skip;

	*st = sobj_state(o, vaddr);
	if (first >= PAGES_MAX)
		return max;
	uint64_t end = max < PAGES_MAX - first ? first + max : PAGES_MAX;

	while (pg < end) {
		struct chunk *c = chunk_get(o, pg, false, &skip);
		uint64_t n = skip < end - pg ? skip : end - pg;
		uint64_t same = same_in_chunk(c, pg, n, *st);

		pg += same;
		if (same < n)
			break;
	}
	return (size_t)(pg - first);
}

static int read_data(const struct sobj *o, uint64_t vaddr, uint8_t *to, size_t left, struct err *e)
{
	while (left) {
		ssize_t n = pread(o->fd, to, left, (off_t)vaddr);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, "read from the page store");
		to += n;
		vaddr += (uint64_t)n;
		left -= (size_t)n;
	}
	return 0;
}

int sobj_read(const struct sobj *o, uint64_t vaddr, void *buf, size_t pages, struct err *e)
{
	uint8_t *to = buf;
	enum page_state st;

	if (!range_ok(vaddr, pages))
		return range_err(vaddr, pages, e);
	while (pages) {
		size_t n = sobj_span(o, vaddr, pages, &st), bytes = n * ENG_PAGE_BYTES;
		int r = 0;

		if (st == PAGE_ABSENT)
			return err_set(e, ERR_BUG, ENODATA, "page %llx is not in the store",
			               (unsigned long long)vaddr);
		if (st == PAGE_ZERO)
			memset(to, 0, bytes);
		else
			r = read_data(o, vaddr, to, bytes, e);
		if (r < 0)
			return r;
		to += bytes;
		vaddr += bytes;
		pages -= n;
	}
	return 0;
}

int sobj_fd(const struct sobj *o)
{
	return o->fd;
}

uint64_t store_data_pages(const struct store *s)
{
	return __atomic_load_n(&s->data_pages, __ATOMIC_RELAXED);
}

uint64_t store_peak_pages(const struct store *s)
{
	return __atomic_load_n(&s->peak_pages, __ATOMIC_RELAXED);
}

/* ---- the end ---- */

static void leaf_free(struct leaf *l)
{
	for (size_t i = 0; l && i < LEAF_CHUNKS; i++)
		free(l->c[i]);
	free(l);
}

static void mid_free(struct mid *m)
{
	for (size_t i = 0; m && i < MID_LEAVES; i++)
		leaf_free(m->l[i]);
	free(m);
}

static void obj_free(struct sobj *o)
{
	for (size_t i = 0; i < ROOT_MIDS; i++)
		mid_free(o->root[i]);
	close(o->fd);
	free(o);
}

void store_free(struct store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < OBJ_BUCKETS; i++)
		while (s->bucket[i]) {
			struct sobj *o = s->bucket[i];

			s->bucket[i] = o->next;
			obj_free(o);
		}
	pthread_mutex_destroy(&s->lock);
	free(s);
}
