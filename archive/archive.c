// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * archive.c - head, roots, index: what makes an archive durable, and which of its states counts.
 * docs/ARCHIVE.md section 3 has the order of writes; nothing here may change without it.
 */
#include "archive/priv.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <zstd.h>

#include "archive/archive.pb-c.h"
#include "common/fault.h"

#define HEAD_MAGIC  "HAULARC1"
#define ROOT_MAGIC  "HAULROOT"
#define MAGIC_BYTES 8u
#define VERSION     1u
#define INDEX_LEVEL 3
#define SUM_AT      (HEAD_BYTES - ARCHIVE_SUM_BYTES)

struct root {
	uint64_t generation, end, at, stored, raw;
	uint8_t sum[ARCHIVE_SUM_BYTES];
};

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (56 - 8 * i));
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

/* ---- head and roots ---- */

static void seal(const struct archive *a, uint8_t block[HEAD_BYTES])
{
	archive_sum(a, block, SUM_AT, block + SUM_AT);
}

static bool is_sealed(const struct archive *a, const uint8_t block[HEAD_BYTES])
{
	uint8_t sum[ARCHIVE_SUM_BYTES];

	archive_sum(a, block, SUM_AT, sum);
	return !memcmp(sum, block + SUM_AT, sizeof(sum));
}

static int read_head(struct archive *a, struct err *e)
{
	uint8_t head[HEAD_BYTES];
	struct err ignore = ERR_INIT;

	if (place_read(&a->place, 0, head, sizeof(head), &ignore) < 0 ||
	    memcmp(head, HEAD_MAGIC, MAGIC_BYTES))
		return err_set(e, ERR_USER, EBADMSG, "%s is not an archive of haul save",
		               a->place.path);
	a->seed = get64(head + 16);
	if (!is_sealed(a, head))
		return err_set(e, ERR_USER, EBADMSG, "%s is damaged: its head", a->place.path);
	if (get64(head + 8) >> 32 == VERSION)
		return 0;
	err_set(e, ERR_USER, EPROTONOSUPPORT, "%s was written by a newer haul", a->place.path);
	return err_fix(e, "install that haul here");
}

static int write_head(struct archive *a, struct err *e)
{
	uint8_t head[HEAD_BYTES] = HEAD_MAGIC;

	if (getrandom(&a->seed, sizeof(a->seed), 0) != sizeof(a->seed))
		return err_sys(e, "getrandom");
	put64(head + 8, (uint64_t)VERSION << 32);
	put64(head + 16, a->seed);
	seal(a, head);
	return place_write(&a->place, 0, head, sizeof(head), e);
}

static uint64_t root_offset(uint64_t generation)
{
	return generation % 2 ? 2 * HEAD_BYTES : HEAD_BYTES;
}

/* Return: is there a valid root? */
static bool read_root(const struct archive *a, uint64_t at, struct root *out)
{
	uint8_t b[HEAD_BYTES];
	struct err ignore = ERR_INIT;

	if (place_read(&a->place, at, b, sizeof(b), &ignore) < 0 ||
	    memcmp(b, ROOT_MAGIC, MAGIC_BYTES) || !is_sealed(a, b))
		return false;
	*out = (struct root){ get64(b + 8),  get64(b + 16), get64(b + 24),
		              get64(b + 32), get64(b + 40), { 0 } };
	memcpy(out->sum, b + 48, sizeof(out->sum));
	return root_offset(out->generation) == at;
}

static int write_root(const struct archive *a, const struct root *root, struct err *e)
{
	uint8_t b[HEAD_BYTES] = ROOT_MAGIC;

	put64(b + 8, root->generation);
	put64(b + 16, root->end);
	put64(b + 24, root->at);
	put64(b + 32, root->stored);
	put64(b + 40, root->raw);
	memcpy(b + 48, root->sum, sizeof(root->sum));
	seal(a, b);
	return place_write(&a->place, root_offset(root->generation), b, sizeof(b), e);
}

static int latest_root(const struct archive *a, struct root *out, struct err *e)
{
	struct root even, odd;
	bool has_even = read_root(a, HEAD_BYTES, &even),
	     has_odd = read_root(a, 2 * HEAD_BYTES, &odd);

	if (!has_even && !has_odd)
		return err_set(e, ERR_USER, EBADMSG, "%s is damaged: it has no root",
		               a->place.path);
	*out = !has_odd || (has_even && even.generation > odd.generation) ? even : odd;
	return 0;
}

/* ---- the index ---- */

static int check_root(const struct archive *a, const struct root *r, struct err *e)
{
	uint64_t size = archive_bytes(a);

	if (r->end > size)
		return err_set(e, ERR_USER, EBADMSG, "%s is cut off: it has %llu of %llu bytes",
		               a->place.path, (unsigned long long)size, (unsigned long long)r->end);
	if (r->at < DATA_OFFSET || r->at > r->end || r->stored > r->end - r->at ||
	    r->raw > INDEX_RAW_MAX || r->stored == 0)
		return err_set(e, ERR_USER, EBADMSG, "%s is damaged: its root", a->place.path);
	return 0;
}

static int load_index(struct archive *a, const struct root *root, struct err *e)
{
	AUTO(mem) uint8_t *stored = malloc((size_t)root->stored + 1);
	AUTO(mem) uint8_t *raw = malloc((size_t)root->raw + 1);
	uint8_t sum[ARCHIVE_SUM_BYTES];

	if (!stored || !raw)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the index of %s", a->place.path);
	int r = place_read(&a->place, root->at, stored, (size_t)root->stored, e);

	if (r < 0)
		return r;
	archive_sum(a, stored, (size_t)root->stored, sum);
	if (memcmp(sum, root->sum, sizeof(sum)) ||
	    piece_unpack(CODEC_ZSTD, stored, (size_t)root->stored, raw, (size_t)root->raw) < 0)
		return err_set(e, ERR_USER, EBADMSG, "%s is damaged: its index", a->place.path);
	a->end = a->safe_end = root->end;
	a->index_at = root->at;
	a->index_stored = root->stored;
	a->generation = root->generation;
	return index_read(a, raw, (size_t)root->raw, e);
}

static int load(struct archive *a, struct err *e)
{
	struct root root;

	if (read_head(a, e) < 0 || latest_root(a, &root, e) < 0 || check_root(a, &root, e) < 0)
		return err_code(e);
	return load_index(a, &root, e);
}

static int begin(struct archive *a, struct err *e)
{
	a->index = malloc(sizeof(*a->index));
	if (!a->index)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for an archive");
	archive__index__init(a->index);
	a->end = a->safe_end = DATA_OFFSET;
	return write_head(a, e);
}

/* ---- open, commit, close ---- */

int archive_open(struct archive **out, const char *path, enum archive_how how, struct err *e)
{
	struct archive *a = calloc(1, sizeof(*a));

	if (!a)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for an archive");
	pthread_mutex_init(&a->pieces.lock, NULL);
	a->how = how;
	int r = place_open(&a->place, path, how, e);

	if (r == 0)
		r = a->place.nameless ? begin(a, e) : load(a, e);
	/* what a killed haul has left behind the end */
	if (r == 0 && how != ARCHIVE_READ && !a->place.nameless && archive_bytes(a) > a->end &&
	    ftruncate(a->place.fd, (off_t)a->end) < 0)
		r = err_sys(e, "%s", path);
	if (r == 0) {
		*out = a;
		return 0;
	}
	a->how = ARCHIVE_READ; /* touch nothing */
	archive_free(a);
	return r;
}

static int sync_all(const struct archive *a, struct err *e)
{
	return fdatasync(a->place.fd) < 0 ? err_sys(e, "write %s", a->place.path) : 0;
}

/* Append the index. @root: what has to be said of it */
static int put_index(struct archive *a, struct root *root, struct err *e)
{
	AUTO(mem) uint8_t *raw = NULL;
	size_t bytes = 0;
	int r = index_write(a, &raw, &bytes, e);

	if (r < 0)
		return r;
	size_t room = ZSTD_compressBound(bytes);
	AUTO(mem) uint8_t *stored = malloc(room + 1);
	size_t n = stored ? ZSTD_compress(stored, room, raw, bytes, INDEX_LEVEL) : 0;

	if (!stored || ZSTD_isError(n) || bytes > INDEX_RAW_MAX)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the index");
	*root = (struct root){ .generation = a->generation + 1,
		               .end = a->end + n,
		               .at = a->end,
		               .stored = n,
		               .raw = bytes };
	archive_sum(a, stored, n, root->sum);
	r = place_write(&a->place, a->end, stored, n, e);
	if (r == 0)
		a->end = root->end;
	else if (ftruncate(a->place.fd, (off_t)a->end) < 0)
		(void)errno; /* it does not count */
	return r;
}

int archive_commit(struct archive *a, struct err *e)
{
	struct root root;

	if (put_index(a, &root, e) < 0 || sync_all(a, e) < 0)
		return err_code(e);
	fault_at(FAULT_A_INDEX);
	if (write_root(a, &root, e) < 0 || sync_all(a, e) < 0)
		return err_code(e);
	fault_at(FAULT_A_ROOT);
	a->generation = root.generation;
	a->safe_end = root.end;
	a->index_at = root.at;
	a->index_stored = root.stored;
	return place_name(&a->place, e);
}

void archive_flush(struct archive *a)
{
	sync_file_range(a->place.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

void archive_free(struct archive *a)
{
	if (!a)
		return;
	if (a->how != ARCHIVE_READ && !a->place.nameless && a->end > a->safe_end &&
	    ftruncate(a->place.fd, (off_t)a->safe_end) < 0)
		(void)errno; /* it does not count, and the next save tries again */
	place_close(&a->place);
	if (a->index)
		archive__index__free_unpacked(a->index, NULL);
	free(a->pieces.v);
	pthread_mutex_destroy(&a->pieces.lock);
	free(a);
}

void archive_trust(const char *ca)
{
	web_trust(ca);
}

/* ---- facts ---- */

Archive__Index *archive_index(struct archive *a)
{
	return a->index;
}

int archive_own(const struct archive *a, struct err *e)
{
	return place_own(&a->place, e);
}

int archive_remove(struct archive *a, struct err *e)
{
	return place_remove(&a->place, e);
}

const char *archive_path(const struct archive *a)
{
	return a->place.path;
}

uint64_t archive_bytes(const struct archive *a)
{
	return place_bytes(&a->place);
}

Archive__State *archive_state(struct archive *a, unsigned int number)
{
	Archive__Index *x = a->index;

	if (number == 0)
		return x->n_state ? x->state[x->n_state - 1] : NULL;
	for (size_t i = 0; i < x->n_state; i++)
		if (x->state[i]->number == number)
			return x->state[i];
	return NULL;
}
