// SPDX-License-Identifier: GPL-2.0-or-later
/* hash.c - which blocks of a file are not as they were sent? On all processors, for large files. */
#include "hauler/dirs/priv.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 16
#define CHUNK_BYTES (4u << 20)
#define STEP_BYTES  (256u << 10)

struct hunt {
	const struct fs *f;
	const XXH128_hash_t *was; /* of the first block */
	int fd;
	uint64_t at, end;
	uint64_t next; /* chunk to be taken; atomic */
	uint8_t *changed;
};

XXH128_hash_t fs_digest(const struct fs *f, const uint8_t *data, size_t n)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(data, n, f->seed);

	h.high64 |= 1; /* never that of a hole */
	return h;
}

ssize_t fs_read_at(int fd, uint8_t *buf, size_t n, uint64_t at)
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

/* What cannot be read counts as changed: who sends it finds out why. */
static void step(struct hunt *h, uint8_t *buf, uint64_t at, size_t want)
{
	ssize_t n = fs_read_at(h->fd, buf, want, at);
	size_t b = (size_t)((at - h->at) / FS_BLOCK_BYTES);

	for (size_t done = 0; done < want; done += FS_BLOCK_BYTES, b++) {
		size_t size = want - done < FS_BLOCK_BYTES ? want - done : FS_BLOCK_BYTES;
		bool read = n > 0 && done + size <= (size_t)n;

		h->changed[b] = !read ||
		                !XXH128_isEqual(fs_digest(h->f, buf + done, size), h->was[b]);
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

int fs_changed(const struct fs *f, const struct fs_ino *i, int fd, uint64_t at, uint64_t end,
               uint8_t *changed)
{
	struct hunt h = { .f = f,
		          .was = i->block + at / FS_BLOCK_BYTES,
		          .fd = fd,
		          .at = at,
		          .end = end,
		          .changed = changed };
	pthread_t thread[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	long n = 0;

	/* what nobody comes to is sent */
	memset(changed, 1, (size_t)((end - at + FS_BLOCK_BYTES - 1) / FS_BLOCK_BYTES));
	while (n < cpus - 1 && n < THREADS_MAX &&
	       pthread_create(&thread[n], NULL, hunt_main, &h) == 0)
		n++;
	hunt_main(&h);
	while (n > 0)
		pthread_join(thread[--n], NULL);
	return __atomic_load_n(&f->stop, __ATOMIC_RELAXED) ? -ECANCELED : 0;
}
