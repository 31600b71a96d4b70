// SPDX-License-Identifier: GPL-2.0-or-later
/* hash.c - which blocks of a file differ from what was sent? On all processors, for large files. */
#include "hauler/dirs/priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 16
#define CHUNK_BYTES (4u << 20)
#define STEP_BYTES  (256u << 10)

struct hunt {
	const struct dirs *f;
	const XXH128_hash_t *was; /* of the first block */
	int fd;
	uint64_t at, end;
	uint64_t next; /* next chunk to take; atomic */
	uint8_t *changed;
};

XXH128_hash_t dirs_digest(const struct dirs *f, const uint8_t *data, size_t n)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(data, n, f->seed);

	h.high64 |= 1; /* never zero, as a hole has */
	return h;
}

ssize_t dirs_read_at(int fd, uint8_t *buf, size_t n, uint64_t at)
{
	size_t got = 0;

	while (got < n) {
		ssize_t k = pread(fd, buf + got, n - got, (off_t)(at + got));

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (k == 0)
			break;
		got += (size_t)k;
	}
	return (ssize_t)got;
}

/* A block that cannot be read counts as changed: sending it reports the error. */
static void step(struct hunt *h, uint8_t *buf, uint64_t at, size_t want)
{
	ssize_t n = dirs_read_at(h->fd, buf, want, at);
	size_t b = (size_t)((at - h->at) / DIRS_BLOCK_BYTES);

	for (size_t done = 0; done < want; done += DIRS_BLOCK_BYTES, b++) {
		size_t size = want - done < DIRS_BLOCK_BYTES ? want - done : DIRS_BLOCK_BYTES;
		bool read = n > 0 && done + size <= (size_t)n;

		h->changed[b] = !read ||
		                !XXH128_isEqual(dirs_digest(h->f, buf + done, size), h->was[b]);
	}
}

static void *hunt_main(void *arg)
{
	struct hunt *h = arg;
	AUTO(mem) uint8_t *buf = malloc(STEP_BYTES);

	while (buf && !__atomic_load_n(&h->f->stop, __ATOMIC_RELAXED)) {
		uint64_t chunk = __atomic_fetch_add(&h->next, 1, __ATOMIC_RELAXED);
		uint64_t at = h->at + chunk * CHUNK_BYTES;
		uint64_t end = at + CHUNK_BYTES < h->end ? at + CHUNK_BYTES : h->end;

		if (at >= h->end)
			break;
		for (; at < end; at += STEP_BYTES)
			step(h, buf, at, end - at < STEP_BYTES ? (size_t)(end - at) : STEP_BYTES);
	}
	return NULL;
}

int dirs_changed(const struct dirs *f, const struct dirs_ino *i, int fd, uint64_t at, uint64_t end,
                 uint8_t *changed)
{
	struct hunt h = { .f = f,
		          .was = i->block + at / DIRS_BLOCK_BYTES,
		          .fd = fd,
		          .at = at,
		          .end = end,
		          .changed = changed };
	pthread_t thread[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long n = 0;

	/* blocks that no thread gets to are sent */
	memset(changed, 1, (size_t)((end - at + DIRS_BLOCK_BYTES - 1) / DIRS_BLOCK_BYTES));
	while (n < cpus - 1 && n < THREADS_MAX &&
	       pthread_create(&thread[n], NULL, hunt_main, &h) == 0)
		n++;
	hunt_main(&h);
	while (n > 0)
		pthread_join(thread[--n], NULL);
	return __atomic_load_n(&f->stop, __ATOMIC_RELAXED) ? -ECANCELED : 0;
}
