// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * store.c - pages that have arrived at the destination, in place.
 *
 * One sparse memfd per object, file offset = page address; one byte of state for each page. A page
 * has one writer at a time (PROTOCOL.md section 5), so locks protect only the list of objects and
 * the search for chunks.
 */
#include "engine/store/store.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/log.h"
#include "common/page.h"
#include "engine/runs.h"
#include "engine/sparse.h"

#define VADDR_END (1ULL << 47)
#define OBJS_MAX  65536
#define BUCKETS   256u

#define SHARED_NAME "/dev/zero"

struct sobj {
	struct sobj *next;
	struct store *store;
	uint64_t obj;
	int fd;
	struct sparse *states; /* chunk: one byte for each page, enum page_state */
};

struct store {
	pthread_mutex_t lock; /* held to make objects; finding one needs no lock */
	struct sobj *bucket[BUCKETS];
	size_t n_objs;
	uint64_t data_pages, peak_pages;
};

int store_new(struct store **out, struct err *e)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the page store");
	pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return 0;
}

static struct sobj **bucket_of(struct store *s, uint64_t obj)
{
	return &s->bucket[(obj * 0x9e3779b97f4a7c15ULL) >> 56];
}

static struct sobj *find_obj(struct store *s, uint64_t obj)
{
	struct sobj *o = __atomic_load_n(bucket_of(s, obj), __ATOMIC_ACQUIRE);

	while (o && o->obj != obj)
		o = o->next;
	return o;
}

/* @fd: -1 for a new file; taken, also on failure */
static struct sobj *make_obj(struct store *s, uint64_t obj, int fd)
{
	struct sobj *o = calloc(1, sizeof(*o));

	if (!o) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	o->store = s;
	o->obj = obj;
	/* shared memory may become the program's, with the name that CRIU would give it */
	o->fd = fd >= 0             ? fd
	        : obj_is_shmem(obj) ? memfd_create(SHARED_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING)
	                            : memfd_create("haul-store", MFD_CLOEXEC);
	o->states = sparse_new(SPARSE_PAGES);
	/* sparse: only written pages take memory */
	if (o->fd < 0 || !o->states || ftruncate(o->fd, (off_t)VADDR_END) < 0) {
		if (o->fd >= 0)
			close(o->fd);
		sparse_free(o->states);
		free(o);
		return NULL;
	}
	o->next = *bucket_of(s, obj);
	__atomic_store_n(bucket_of(s, obj), o, __ATOMIC_RELEASE);
	s->n_objs++;
	return o;
}

struct sobj *store_obj(struct store *s, uint64_t obj, bool create)
{
	struct sobj *o = find_obj(s, obj);

	if (o || !create)
		return o;
	pthread_mutex_lock(&s->lock);
	o = find_obj(s, obj);
	if (!o && s->n_objs < OBJS_MAX)
		o = make_obj(s, obj, -1);
	pthread_mutex_unlock(&s->lock);
	return o;
}

static int check_range(uint64_t vaddr, uint64_t pages, struct err *e)
{
	if (vaddr % PAGE_BYTES || vaddr >= VADDR_END || pages > (VADDR_END - vaddr) >> PAGE_BITS)
		return err_set(e, ERR_PEER, EINVAL, "page address %llx is out of range",
		               (unsigned long long)vaddr);
	return 0;
}

static void punch(struct sobj *o, uint64_t vaddr, uint64_t pages)
{
	if (fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)vaddr,
	              (off_t)(pages * PAGE_BYTES)) < 0)
		log_warn("page store: punch: %s", strerror(errno));
}

static void account(struct store *s, int64_t pages)
{
	uint64_t now = __atomic_add_fetch(&s->data_pages, (uint64_t)pages, __ATOMIC_RELAXED);
	uint64_t peak = __atomic_load_n(&s->peak_pages, __ATOMIC_RELAXED);

	while (pages > 0 && now > peak &&
	       !__atomic_compare_exchange_n(&s->peak_pages, &peak, now, true, __ATOMIC_RELAXED,
	                                    __ATOMIC_RELAXED))
		;
}

static enum page_state load(const uint8_t *st)
{
	return (enum page_state)__atomic_load_n(st, __ATOMIC_ACQUIRE);
}

static bool holds(enum page_state st)
{
	return st == PAGE_DATA || st == PAGE_STALE;
}

/* New state of a page that goes from @was to @st; only PAGE_DATA can become PAGE_STALE. */
static uint8_t next_state(uint8_t was, enum page_state st)
{
	if (st == PAGE_STALE && !holds(was))
		return PAGE_ABSENT;
	return (uint8_t)st;
}

/*
 * Set the state of pages of one chunk, @v. Memory that is no longer needed is freed. Atomic for
 * each page: the sweep and the pager may both free one, and only the one that changes its state
 * counts it.
 */
static void set_pages(struct sobj *o, uint8_t *v, uint64_t vaddr, size_t pages, enum page_state st)
{
	size_t first = (vaddr % SPARSE_BYTES) >> PAGE_BITS, freed = 0;
	int64_t gained = 0;

	for (size_t i = 0; i < pages; i++) {
		uint8_t was = __atomic_load_n(&v[first + i], __ATOMIC_ACQUIRE);

		while (!__atomic_compare_exchange_n(&v[first + i], &was, next_state(was, st), false,
		                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			;
		bool frees = holds(was) && !holds(st);

		if (!frees && freed)
			punch(o, vaddr + (i - freed) * PAGE_BYTES, freed);
		freed = frees ? freed + 1 : 0;
		gained += (int64_t)(!holds(was) && st == PAGE_DATA) - frees;
	}
	if (freed)
		punch(o, vaddr + (pages - freed) * PAGE_BYTES, freed);
	account(o->store, gained);
}

/* The same, but makes the chunk if needed. Return: 0; -ENOMEM */
static int set_chunk(struct sobj *o, uint64_t vaddr, size_t pages, enum page_state st)
{
	bool create = st == PAGE_DATA || st == PAGE_ZERO;
	uint8_t *v = sparse_get(o->states, vaddr / SPARSE_BYTES, create);

	if (v)
		set_pages(o, v, vaddr, pages, st);
	return v || !create ? 0 : -ENOMEM;
}

static size_t to_chunk_end(uint64_t vaddr, uint64_t pages)
{
	size_t room = SPARSE_PAGES - ((vaddr % SPARSE_BYTES) >> PAGE_BITS);

	return pages < room ? (size_t)pages : room;
}

static int set_state(struct sobj *o, uint64_t vaddr, uint64_t pages, enum page_state st,
                     struct err *e)
{
	while (pages) {
		size_t n = to_chunk_end(vaddr, pages);

		if (set_chunk(o, vaddr, n, st) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for the page store");
		vaddr += n * PAGE_BYTES;
		pages -= n;
	}
	return 0;
}

int store_write(struct sobj *o, uint64_t vaddr, const void *data, size_t pages, struct err *e)
{
	int r = check_range(vaddr, pages, e);
	size_t bytes = pages * PAGE_BYTES;

	for (size_t done = 0; r == 0 && done < bytes;) {
		ssize_t n = pwrite(o->fd, (const char *)data + done, bytes - done,
		                   (off_t)(vaddr + done));

		if (n <= 0)
			return err_sys(e, "page store");
		done += (size_t)n;
	}
	return r < 0 ? r : set_state(o, vaddr, pages, PAGE_DATA, e);
}

int store_zero(struct sobj *o, uint64_t vaddr, size_t pages, struct err *e)
{
	int r = check_range(vaddr, pages, e);

	return r < 0 ? r : set_state(o, vaddr, pages, PAGE_ZERO, e);
}

void store_drop(struct sobj *o, uint64_t vaddr, uint64_t pages)
{
	if (check_range(vaddr, pages, NULL) == 0)
		set_state(o, vaddr, pages, PAGE_ABSENT, NULL);
}

struct keep {
	struct sobj *o;
	const struct runs *keep;
};

static void keep_chunk(void *arg, uint64_t key, void *payload)
{
	const struct keep *k = arg;
	uint64_t at = key * SPARSE_BYTES, end = at + SPARSE_BYTES;

	for (size_t i = runs_find(k->keep, at); at < end; i++) {
		const struct run *r = i < k->keep->n ? &k->keep->v[i] : NULL;
		uint64_t from = r && r->vaddr < end ? r->vaddr : end;

		if (from > at)
			set_pages(k->o, payload, at, (from - at) >> PAGE_BITS, PAGE_STALE);
		at = r && r->vaddr < end ? r->vaddr + r->pages * PAGE_BYTES : end;
	}
}

void store_keep_only(struct sobj *o, const struct runs *keep)
{
	struct keep k = { o, keep };

	sparse_each(o->states, keep_chunk, &k);
}

static void sweep_chunk(void *arg, uint64_t key, void *payload)
{
	struct sobj *o = arg;
	uint8_t *v = payload;

	for (size_t i = 0, k; i < SPARSE_PAGES; i = k + 1) {
		for (k = i; k < SPARSE_PAGES && load(&v[k]) == PAGE_STALE; k++)
			;
		if (k > i)
			set_pages(o, v, key * SPARSE_BYTES + i * PAGE_BYTES, k - i, PAGE_ABSENT);
	}
}

void store_sweep_object(struct sobj *o)
{
	sparse_each(o->states, sweep_chunk, o);
}

void store_sweep(struct store *s)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct sobj *o = s->bucket[i]; o; o = o->next)
			store_sweep_object(o);
}

/*
 * Index of the first of v[i..end) that is not @st, else @end; eight at a time, because the tree is
 * stopped meanwhile.
 */
static size_t span_end(const uint8_t *v, size_t i, size_t end, enum page_state st)
{
	uint64_t all = 0x0101010101010101ULL * (uint8_t)st, word;

	while (i < end) {
		if (i % 8 == 0 && end - i >= 8) {
			word = __atomic_load_n((const uint64_t *)(const void *)(v + i),
			                       __ATOMIC_ACQUIRE);
			if (word == all) {
				i += 8;
				continue;
			}
		}
		if (load(&v[i]) != st)
			break;
		i++;
	}
	return i;
}

size_t store_span(const struct sobj *o, uint64_t vaddr, size_t max, enum page_state *st)
{
	const uint8_t *v = sparse_get(o->states, vaddr / SPARSE_BYTES, false);
	size_t first = (vaddr % SPARSE_BYTES) >> PAGE_BITS;
	size_t n = to_chunk_end(vaddr, max);

	*st = v ? load(&v[first]) : PAGE_ABSENT;
	if (v)
		n = span_end(v, first + 1, first + n, *st) - first;
	if (*st == PAGE_STALE)
		*st = PAGE_ABSENT;
	return n;
}

enum page_state store_state(const struct sobj *o, uint64_t vaddr)
{
	enum page_state st;

	store_span(o, vaddr, 1, &st);
	return st;
}

static int read_data(const struct sobj *o, uint64_t vaddr, uint8_t *to, size_t bytes, struct err *e)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pread(o->fd, to + done, bytes - done, (off_t)(vaddr + done));

		if (n <= 0)
			return err_sys(e, "page store");
		done += (size_t)n;
	}
	return 0;
}

int store_read(const struct sobj *o, uint64_t vaddr, void *buf, size_t pages, struct err *e)
{
	uint8_t *to = buf;

	while (pages) {
		enum page_state st;
		size_t n = store_span(o, vaddr, pages, &st);
		int r = 0;

		if (st == PAGE_ABSENT)
			return err_set(e, ERR_BUG, ENODATA, "page %llx is not in the store",
			               (unsigned long long)vaddr);
		if (st == PAGE_ZERO)
			memset(to, 0, n * PAGE_BYTES);
		else
			r = read_data(o, vaddr, to, n * PAGE_BYTES, e);
		if (r < 0)
			return r;
		to += n * PAGE_BYTES;
		vaddr += n * PAGE_BYTES;
		pages -= n;
	}
	return 0;
}

struct trim {
	struct sobj *o;
	bool (*keep)(void *arg, uint64_t vaddr);
	void *arg;
};

static void trim_chunk(void *arg, uint64_t key, void *payload)
{
	const struct trim *t = arg;
	uint8_t *v = payload;

	for (size_t i = 0, k; i < SPARSE_PAGES; i = k + 1) {
		uint64_t vaddr = key * SPARSE_BYTES + i * PAGE_BYTES;

		for (k = i; k < SPARSE_PAGES && load(&v[k]) == PAGE_DATA &&
		            !t->keep(t->arg, key * SPARSE_BYTES + k * PAGE_BYTES);
		     k++)
			;
		if (k > i)
			set_pages(t->o, v, vaddr, k - i, PAGE_ABSENT);
	}
}

/* Every page in the file is PAGE_DATA. */
static int learn_states(struct sobj *o, struct err *e)
{
	off_t end = 0, at;
	int r = 0;

	while (r == 0 && (at = lseek(o->fd, end, SEEK_DATA)) >= 0) {
		end = lseek(o->fd, at, SEEK_HOLE);
		if (end < 0)
			return err_sys(e, "page store");
		r = set_state(o, (uint64_t)at, (uint64_t)(end - at) >> PAGE_BITS, PAGE_DATA, e);
	}
	return r == 0 && errno != ENXIO ? err_sys(e, "page store") : r;
}

int store_adopt(struct sobj **out, struct store *s, uint64_t obj, int fd, struct err *e)
{
	pthread_mutex_lock(&s->lock);
	struct sobj *o = make_obj(s, obj, fd);

	pthread_mutex_unlock(&s->lock);
	if (!o)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the page store");
	*out = o;
	return learn_states(o, e);
}

void store_trim(struct sobj *o, bool (*keep)(void *arg, uint64_t vaddr), void *arg)
{
	struct trim t = { o, keep, arg };

	sparse_each(o->states, trim_chunk, &t);
}

int store_fd(const struct sobj *o)
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

void store_free(struct store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct sobj *o = s->bucket[i], *next; o; o = next) {
			next = o->next;
			close(o->fd);
			sparse_free(o->states);
			free(o);
		}
	pthread_mutex_destroy(&s->lock);
	free(s);
}
