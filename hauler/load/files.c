// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * files.c - what files and directories held in the freeze: the messages that a save has kept, for those that
 * the worker lacks. Content is judged by the worker, by the rules of a move (docs/FILES.md).
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/archive.pb-c.h"
#include "common/array.h"
#include "common/digest.h"
#include "hauler/load/priv.h"
#include "transport/msg/haul.pb-c.h"

#define RECORD_MAX   (16u << 20)
#define SIZE_MAX_    (1ULL << 50)
#define DOUBTS_MAX   65536u
#define DOUBT_BYTES_ (1ULL << 30) /* of all files, as the worker's own limit */

struct load_log {
	struct load *l;
	enum load_what what;
	const Archive__Blob *blob;
	size_t piece, n,
	        at; /* the next piece; of the one at hand: its bytes, and those that were read */
	uint8_t *raw;
	bool *came; /* for each file of the offer */
};

static int damaged(const struct load *l, struct err *e)
{
	return err_set(e, ERR_USER, EBADMSG, "%s is damaged: what files hold", l->path);
}

static int no_memory(struct err *e)
{
	return err_set(e, ERR_SYS, ENOMEM, "no memory for what files hold");
}

static const Archive__Blob *blob_of(const struct load *l, enum load_what what)
{
	return what == LOAD_TREE ? l->state->tree : l->state->files;
}

bool load_keeps(const struct load *l, enum load_what what)
{
	return blob_of(l, what) != NULL;
}

/* ---- messages, one after the other ---- */

int load_log_new(struct load_log **out, struct load *l, enum load_what what, struct err *e)
{
	struct load_log *g = calloc(1, sizeof(*g));

	if (g)
		*g = (struct load_log){ .l = l,
			                .what = what,
			                .blob = blob_of(l, what),
			                .raw = malloc(ARCHIVE_PIECE_BYTES),
			                .came = calloc(l->offer->n_file + 1, 1) };
	if (!g || !g->raw || !g->came) {
		load_log_free(g);
		return no_memory(e);
	}
	*out = g;
	return 0;
}

void load_log_free(struct load_log *g)
{
	if (!g)
		return;
	free(g->raw);
	free(g->came);
	free(g);
}

/* Return: 1; 0: the end, before the first byte; -errno */
static int take(struct load_log *g, uint8_t *out, size_t bytes, struct err *e)
{
	for (size_t got = 0; got < bytes;) {
		if (g->at == g->n) {
			if (!g->blob || g->piece == g->blob->n_piece)
				return got ? damaged(g->l, e) : 0;
			int r = archive_get(g->l->a, g->blob->piece[g->piece++], g->raw, &g->n, e);

			if (r < 0)
				return r;
			g->at = 0;
		}
		size_t some = bytes - got < g->n - g->at ? bytes - got : g->n - g->at;

		memcpy(out + got, g->raw + g->at, some);
		g->at += some;
		got += some;
	}
	return 1;
}

static bool fits(const struct load_log *g, const Haul__Msg *m)
{
	if (g->what == LOAD_TREE)
		return m->body_case == HAUL__MSG__BODY_BATCH;
	return m->body_case == HAUL__MSG__BODY_FILE_PART &&
	       m->file_part->file < g->l->offer->n_file && m->file_part->offset <= SIZE_MAX_ &&
	       (!m->file_part->meta || m->file_part->meta->size <= SIZE_MAX_);
}

static int next(struct load_log *g, Haul__Msg **out, struct err *e)
{
	uint32_t length;
	int r = take(g, (uint8_t *)&length, sizeof(length), e);
	size_t bytes = ntohl(length);

	if (r <= 0)
		return r;
	if (bytes == 0 || bytes > RECORD_MAX)
		return damaged(g->l, e);
	AUTO(mem) uint8_t *buf = malloc(bytes);

	if (!buf)
		return no_memory(e);
	r = take(g, buf, bytes, e);
	if (r <= 0)
		return r < 0 ? r : damaged(g->l, e);
	*out = haul__msg__unpack(NULL, bytes, buf);
	if (!*out)
		return damaged(g->l, e);
	if (fits(g, *out))
		return 1;
	haul__msg__free_unpacked(steal(*out), NULL);
	return damaged(g->l, e);
}

/* Of an older copy the worker has the beginning: it gets the rest. Return: is anything left of @p? */
static bool trim(const struct load *l, Haul__FilePart *p)
{
	const struct load_seen *s = &l->seen[p->file];
	uint64_t below = s->bytes > p->offset ? s->bytes - p->offset : 0;
	size_t n = below < p->data.len ? (size_t)below : p->data.len;

	if (!s->travels)
		return false;
	if (n == 0)
		return true;
	memmove(p->data.data, p->data.data + n, p->data.len - n);
	p->data.len -= n;
	p->offset += n;
	return p->data.len || p->meta;
}

static int all_came(const struct load_log *g, struct err *e)
{
	for (size_t i = 0; g->l->seen && i < g->l->offer->n_file; i++)
		if (g->l->seen[i].travels && !g->came[i]) {
			err_set(e, ERR_TARGET, ENODATA, "%s is not in %s",
			        g->l->offer->file[i]->path, g->l->path);
			return err_fix(e, "put it there before");
		}
	return 0;
}

int load_log_next(struct load_log *g, Haul__Msg **out, struct err *e)
{
	for (;;) {
		int r = next(g, out, e);

		if (r <= 0)
			return r < 0 || g->what == LOAD_TREE ? r : all_came(g, e);
		if (g->what == LOAD_TREE)
			return 1;
		g->came[(*out)->file_part->file] |= (*out)->file_part->meta != NULL;
		if (!g->l->seen || trim(g->l, (*out)->file_part))
			return 1;
		haul__msg__free_unpacked(steal(*out), NULL);
	}
}

/* ---- digests ---- */

struct doubted {
	int *fd; /* for each file of the offer; -1: it is not asked for */
	uint64_t bytes;
};

static int write_part(struct doubted *d, const Haul__FilePart *p, struct err *e)
{
	int fd = d->fd[p->file];
	size_t done = 0;

	d->bytes += p->data.len;
	if (d->bytes > 2 * DOUBT_BYTES_)
		return err_set(e, ERR_USER, EFBIG, "files that are too large to compare");
	while (done < p->data.len) {
		ssize_t n = pwrite(fd, p->data.data + done, p->data.len - done,
		                   (off_t)(p->offset + done));

		if (n <= 0)
			return err_sys(e, "memory for what a file holds");
		done += (size_t)n;
	}
	return p->meta && ftruncate(fd, (off_t)p->meta->size) < 0 ? err_sys(e, "ftruncate") : 0;
}

static int rebuild(struct load *l, struct doubted *d, struct err *e)
{
	struct load_log *g = NULL;
	Haul__Msg *msg = NULL;
	int r = load_log_new(&g, l, LOAD_FILES, e);

	while (r == 0 && (r = next(g, &msg, e)) > 0) {
		r = d->fd[msg->file_part->file] < 0 ? 0 : write_part(d, msg->file_part, e);
		haul__msg__free_unpacked(steal(msg), NULL);
	}
	load_log_free(g);
	return r;
}

static int open_doubted(const struct load *l, struct doubted *d, const Haul__Doubt *q,
                        struct err *e)
{
	d->fd = malloc((l->offer->n_file + 1) * sizeof(*d->fd));
	if (!d->fd)
		return no_memory(e);
	memset(d->fd, 0xff, (l->offer->n_file + 1) * sizeof(*d->fd));
	if (q->n_file != q->n_bytes || q->n_file > DOUBTS_MAX)
		return err_set(e, ERR_PEER, EPROTO, "a question about %zu files", q->n_file);
	for (size_t i = 0; i < q->n_file; i++)
		if (q->file[i] < l->offer->n_file && d->fd[q->file[i]] < 0)
			d->fd[q->file[i]] = memfd_create("haul-file", MFD_CLOEXEC);
	return 0;
}

int load_digests(struct load *l, const Haul__Doubt *q, uint64_t seed, uint8_t *out, struct err *e)
{
	struct doubted d = { 0 };
	int r = open_doubted(l, &d, q, e);

	if (r == 0)
		r = rebuild(l, &d, e);
	for (size_t i = 0; r == 0 && i < q->n_file; i++) {
		int fd = q->file[i] < l->offer->n_file ? d.fd[q->file[i]] : -1;

		if (fd < 0 || digest_file(fd, q->bytes[i], seed, out + i * DIGEST_BYTES) < 0)
			memset(out + i * DIGEST_BYTES, 0, DIGEST_BYTES);
	}
	for (size_t i = 0; d.fd && i < l->offer->n_file; i++)
		if (d.fd[i] >= 0)
			close(d.fd[i]);
	free(d.fd);
	return r;
}

/* ---- the offer, the answer ---- */

static uint64_t ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

/* Is the file here the one of the freeze, and was it not changed since? */
static bool is_as_it_was(const Haul__File *f, const Haul__Still *s)
{
	struct stat st;

	return lstat(f->path, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == f->inode &&
	       (uint64_t)st.st_size == s->size && ns(&st.st_ctim) == s->ctime_ns;
}

void load_fit_files(struct load *l)
{
	const Haul__Switch *w = l->switch_over;

	for (size_t i = 0; load_keeps(l, LOAD_FILES) && i < w->n_still; i++) {
		const Haul__Still *s = w->still[i];

		if (s->file >= l->offer->n_file)
			continue;
		Haul__File *f = l->offer->file[s->file];

		f->size = s->size;
		f->ctime_ns = s->ctime_ns;
		if (!is_as_it_was(f, s))
			f->inode = 0;
	}
}

/* The worker compares the shared files with SWITCH, and no others. */
static void keep_stills(struct load *l, const Haul__Answer *a)
{
	Haul__Switch *w = l->switch_over;
	size_t n = 0;

	for (size_t i = 0; i < w->n_still; i++) {
		uint32_t k = w->still[i]->file;

		if (k < a->n_seen && a->seen[k]->state == HAUL__FILE_STATE__FILE_SHARED)
			w->still[n++] = w->still[i];
		else
			haul__still__free_unpacked(w->still[i], NULL);
	}
	w->n_still = n;
}

int load_seen(struct load *l, const Haul__Answer *a, struct err *e)
{
	size_t n = l->offer->n_file;

	if (!load_keeps(l, LOAD_FILES))
		return 0;
	if (a->n_seen != n)
		return err_set(e, ERR_PEER, EPROTO, "an answer about %zu of %zu files", a->n_seen,
		               n);
	l->seen = calloc(n + 1, sizeof(*l->seen));
	if (!l->seen)
		return no_memory(e);
	for (size_t i = 0; i < n; i++) {
		Haul__FileState s = a->seen[i]->state;
		bool older = s == HAUL__FILE_STATE__FILE_TAIL;

		l->seen[i].travels = older || s == HAUL__FILE_STATE__FILE_MISSING ||
		                     s == HAUL__FILE_STATE__FILE_DIFFERS;
		l->seen[i].bytes = older ? a->seen[i]->bytes : 0;
	}
	keep_stills(l, a);
	return 0;
}

bool load_wants(const struct load *l)
{
	for (size_t i = 0; l->seen && i < l->offer->n_file; i++)
		if (l->seen[i].travels)
			return true;
	return false;
}
