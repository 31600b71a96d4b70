// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bring.c - sends files to the destination: all of them while the tree runs; those that it writes
 * again just before it stops; and what changed of these once it is stopped.
 *
 * The digest of each block is taken of the bytes that were sent, so a file that was written while it
 * was read is corrected by a later pass. Times are not compared: a write through a mapping may leave
 * them unchanged.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/clock.h"
#include "common/log.h"
#include "hauler/files/needs.h"
#include "hauler/mig/mig.h"
#include "transport/msg/haul.pb-c.h"

#define BLOCK_BYTES   (64u << 10)
#define PART_BYTES    (1u << 20)
#define SEND_LIMIT_MS 60000
#define XATTRS_MAX    64
#define XATTR_BYTES   65536

struct bring_block {
	XXH128_hash_t hash;
	bool data; /* it was sent; else the destination reads zero there */
};

/* A pass over one file. */
struct pass {
	struct mig *m;
	struct need *k;
	uint32_t number;
	int fd; /* open, or O_PATH; -1: the file does not exist here */
	bool by_link; /* fd is O_PATH: attributes are read by its link in /proc */
	uint8_t *buf; /* PART_BYTES */
	uint64_t deadline_us; /* 0: the tree runs */
};

static int send_part(struct pass *p, uint64_t offset, const uint8_t *data, size_t n,
                     Haul__FileMeta *meta, struct err *e)
{
	Haul__FilePart part = HAUL__FILE_PART__INIT;

	part.file = p->number;
	part.offset = offset;
	part.data.data = (uint8_t *)data;
	part.data.len = n;
	part.meta = meta;
	p->m->fig.shipped_bytes += n;
	if (!p->deadline_us)
		send_paced(p->m->pages.send, n);
	return wire_say(p->m->link.ctl, HAUL__MSG__BODY_FILE_PART, &part,
	                p->deadline_us ? p->deadline_us : DEADLINE_NEVER, e);
}

/* ---- metadata ---- */

static int add_xattr(Haul__FileMeta *meta, const struct pass *p, const char *link, const char *name)
{
	uint8_t *value = malloc(XATTR_BYTES);
	Haul__Xattr *x = malloc(sizeof(*x));
	ssize_t n = !value || !x ? -1
	            : p->by_link ? getxattr(link, name, value, XATTR_BYTES)
	                         : fgetxattr(p->fd, name, value, XATTR_BYTES);

	if (n < 0 || meta->n_xattr == XATTRS_MAX) {
		free(value);
		free(x);
		return n < 0 && value && x && errno == ENODATA ? 0 : -ENOMEM;
	}
	haul__xattr__init(x);
	x->name = (char *)name; /* in the list of names */
	x->value.data = value;
	x->value.len = (size_t)n;
	meta->xattr[meta->n_xattr++] = x;
	return 0;
}

/* Labels of a security module belong to the host, not to the file. */
static bool is_label(const char *name)
{
	return !strncmp(name, "security.", 9) && strcmp(name, "security.capability");
}

static int add_xattrs(Haul__FileMeta *meta, const struct pass *p, char *names, struct err *e)
{
	const char *path = p->k->here;
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", p->fd);
	ssize_t n = p->by_link ? listxattr(link, names, XATTR_BYTES)
	                       : flistxattr(p->fd, names, XATTR_BYTES);

	if (n < 0 && errno != ENOTSUP)
		return err_sys(e, "extended attributes of %s", path);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
		if (!is_label(names + at) && add_xattr(meta, p, link, names + at) < 0)
			return err_sys(e, "extended attribute %s of %s", names + at, path);
	return 0;
}

static uint64_t ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

static int send_meta(struct pass *p, const struct stat *st, struct err *e)
{
	Haul__Xattr *xattr[XATTRS_MAX];
	Haul__FileMeta meta = HAUL__FILE_META__INIT;
	AUTO(mem) char *names = malloc(XATTR_BYTES);

	if (!names)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %s", p->k->here);
	meta.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
	meta.mode = st->st_mode;
	meta.uid = st->st_uid;
	meta.gid = st->st_gid;
	meta.mtime_ns = ns(&st->st_mtim);
	meta.atime_ns = ns(&st->st_atim);
	meta.xattr = xattr;
	int r = S_ISLNK(st->st_mode) || p->fd < 0 ? 0 : add_xattrs(&meta, p, names, e);

	if (r == 0)
		r = send_part(p, 0, NULL, 0, &meta, e);
	for (size_t i = 0; i < meta.n_xattr; i++) {
		free(xattr[i]->value.data);
		free(xattr[i]);
	}
	return r;
}

/* ---- content ---- */

static int grow_blocks(struct need *k, size_t n)
{
	if (n <= k->n_blocks)
		return 0;
	size_t cap = n + n / 2 + 16;
	struct bring_block *v = realloc(k->block, cap * sizeof(*v));

	if (!v)
		return -ENOMEM;
	memset(v + k->n_blocks, 0, (cap - k->n_blocks) * sizeof(*v));
	k->block = v;
	k->n_blocks = cap;
	return 0;
}

/* How many bytes at the beginning the destination has from an older copy: they need not be zero. */
static uint64_t old_bytes(const struct need *k)
{
	return k->state == HAUL__FILE_STATE__FILE_TAIL ? k->there_bytes : 0;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && !memcmp(p, p + 1, n - 1);
}

/* Does the destination have block @b (@n bytes) with this content? From now on it counts as sent. */
static bool is_there(struct need *k, uint64_t seed, size_t b, const uint8_t *data, size_t n)
{
	struct bring_block *block = &k->block[b];
	uint64_t at = (uint64_t)b * BLOCK_BYTES;

	if (!block->data && at >= old_bytes(k) && is_zero(data, n))
		return true;
	XXH128_hash_t h = XXH3_128bits_withSeed(data, n, seed);
	bool known = block->data && XXH128_isEqual(h, block->hash) && at + n <= k->sent_bytes;

	*block = (struct bring_block){ h, true };
	return known;
}

static int send_range(struct pass *p, uint64_t at, size_t n, struct err *e)
{
	struct need *k = p->k;
	size_t first = (size_t)(at / BLOCK_BYTES), from = 0, to = 0;
	int r = grow_blocks(k, first + PART_BYTES / BLOCK_BYTES);

	if (r < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the blocks of %s", k->here);
	for (size_t done = 0; r == 0 && done < n;) {
		size_t size = n - done < BLOCK_BYTES ? n - done : BLOCK_BYTES;
		bool there = is_there(k, p->m->link.route, first + done / BLOCK_BYTES,
		                      p->buf + done, size);

		if (!there) {
			from = to == done && to > from ? from : done;
			to = done + size;
		}
		done += size;
		if (to > from && (there || done == n)) {
			r = send_part(p, at + from, p->buf + from, to - from, NULL, e);
			from = to = done;
		}
	}
	return r;
}

/* Read a part. Return: its bytes, fewer than PART_BYTES at the end of the file; -errno */
static ssize_t read_part(const struct pass *p, uint64_t at, struct err *e)
{
	size_t n = 0;

	while (n < PART_BYTES) {
		ssize_t got = pread(p->fd, p->buf + n, PART_BYTES - n, (off_t)(at + n));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, "read %s", p->k->here);
		if (got == 0)
			break;
		n += (size_t)got;
	}
	return (ssize_t)n;
}

/*
 * The destination has the beginning of the file, as both compared it. If our bytes are still the same,
 * their blocks count as sent.
 */
static int know_beginning(struct pass *p, struct err *e)
{
	struct need *k = p->k;
	uint64_t whole = k->there_bytes - k->there_bytes % BLOCK_BYTES;
	XXH128_canonical_t now;
	XXH3_state_t all;

	if (k->state != HAUL__FILE_STATE__FILE_TAIL || !whole)
		return 0;
	if (grow_blocks(k, (size_t)(whole / BLOCK_BYTES)) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the blocks of %s", k->here);
	XXH3_INITSTATE(&all);
	XXH3_128bits_reset_withSeed(&all, p->m->link.route);
	for (uint64_t at = 0; at < k->there_bytes; at += BLOCK_BYTES) {
		size_t n = at < whole ? BLOCK_BYTES : (size_t)(k->there_bytes - at);

		if (pread(p->fd, p->buf, n, (off_t)at) != (ssize_t)n)
			return 0; /* it became shorter: send all of it */
		XXH3_128bits_update(&all, p->buf, n);
		if (at < whole)
			k->block[at / BLOCK_BYTES] = (struct bring_block){
				XXH3_128bits_withSeed(p->buf, n, p->m->link.route), true
			};
	}
	XXH128_canonicalFromHash(&now, XXH3_128bits_digest(&all));
	if (!memcmp(now.digest, k->proven, DIGEST_BYTES))
		k->sent_bytes = whole; /* the rest is sent in any case */
	return 0;
}

/* How many bytes from @at on, in whole parts, are a hole of which nothing was sent? */
static uint64_t skip_hole(const struct pass *p, uint64_t at)
{
	const struct need *k = p->k;
	uint64_t until = at, end;
	struct stat st;
	off_t data = lseek(p->fd, (off_t)at, SEEK_DATA);

	if (at < old_bytes(k) || (data < 0 && errno != ENXIO) || fstat(p->fd, &st) < 0)
		return 0;
	end = data < 0 ? (uint64_t)st.st_size : (uint64_t)data;
	while (until + BLOCK_BYTES <= end &&
	       (until / BLOCK_BYTES >= k->n_blocks || !k->block[until / BLOCK_BYTES].data))
		until += BLOCK_BYTES;
	return (until - at) / PART_BYTES * PART_BYTES;
}

static int send_content(struct pass *p, struct err *e)
{
	struct need *k = p->k;
	uint64_t at = 0;
	int r = k->begun ? 0 : know_beginning(p, e);

	while (r == 0) {
		at += skip_hole(p, at);
		if (at > k->sent_bytes)
			k->sent_bytes = at;
		ssize_t n = read_part(p, at, e);

		if (n <= 0) {
			r = n < 0 ? (int)n : 0;
			break;
		}
		r = send_range(p, at, (size_t)n, e);
		at += (uint64_t)n;
		if (at > k->sent_bytes)
			k->sent_bytes = at;
		if (n < (ssize_t)PART_BYTES)
			break;
	}
	k->begun = true;
	return r;
}

/* ---- all ---- */

/* The file became shorter: the destination reads zero after its new end. */
static void forget_from(struct need *k, uint64_t bytes)
{
	size_t first = (size_t)((bytes + BLOCK_BYTES - 1) / BLOCK_BYTES);

	k->sent_bytes = bytes;
	if (first < k->n_blocks)
		memset(k->block + first, 0, (k->n_blocks - first) * sizeof(*k->block));
}

static int bring_regular(struct pass *p, struct err *e)
{
	struct stat st;

	p->fd = needs_open(p->m->needs, p->k, e);
	if (p->fd < 0)
		return p->fd;
	int r = send_content(p, e);

	if (r < 0)
		return r;
	if (fstat(p->fd, &st) < 0)
		return err_sys(e, "%s", p->k->here);
	/* bytes that were appended meanwhile are in no block: a later pass sends them */
	if ((uint64_t)st.st_size > p->k->sent_bytes)
		st.st_size = (off_t)p->k->sent_bytes;
	if ((uint64_t)st.st_size < p->k->sent_bytes)
		forget_from(p->k, (uint64_t)st.st_size);
	r = send_meta(p, &st, e);
	needs_close(p->m->needs, p->k);
	return r;
}

/*
 * A directory, link or node, which no process need hold: only metadata is read, and only of the kind of
 * file that was offered. Return: an O_PATH descriptor; -errno
 */
static int open_other(const struct pass *p)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		                .resolve = RESOLVE_NO_SYMLINKS };
	const struct need *k = p->k;

	if (k->held.link[0])
		return held_path(p->m->needs->root_pid, &k->held);
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, k->here, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* Those that a private root directory gets besides need not exist here. */
static int bring_other(struct pass *p, struct err *e)
{
	const struct need *k = p->k;
	struct stat st = { .st_mode = k->file.directory ? S_IFDIR | (k->file.mode & 07777)
		                                        : k->file.mode,
		           .st_uid = k->file.uid,
		           .st_gid = k->file.gid };
	struct stat here;
	mode_t kind = st.st_mode & S_IFMT;
	AUTO(fd) int fd = open_other(p);

	/* not there, behind a link, or a directory by a link (/var/run): made as it was offered */
	if (fd < 0 && fd != -ENOENT && fd != -ELOOP)
		return err_set(e, ERR_SYS, -fd, "%s: %s", k->here, strerror(-fd));
	if (fd >= 0 && fstat(fd, &here) < 0)
		return err_sys(e, "%s", k->here);
	bool link = fd >= 0 && k->file.directory && S_ISLNK(here.st_mode);

	if (link)
		close(steal_fd(&fd));
	else if (fd >= 0)
		st = here;
	if ((st.st_mode & S_IFMT) != kind) {
		err_set(e, ERR_TARGET, ESTALE, "%s is no longer the same kind of file", k->here);
		return err_fix(e, "try again");
	}
	p->fd = fd;
	p->by_link = true;
	return send_meta(p, &st, e);
}

int bring_files(struct mig *m, bool first, struct err *e)
{
	AUTO(mem) uint8_t *buf = malloc(PART_BYTES);
	uint64_t t0 = now_us();
	unsigned int files = 0;
	int r = 0;

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for files");
	chan_silence(m->link.ctl, SEND_LIMIT_MS);
	for (uint32_t i = 0; r == 0 && i < m->needs->n; i++) {
		struct need *k = &m->needs->v[i];
		struct pass p = { .m = m, .k = k, .number = i, .fd = -1, .buf = buf };
		bool regular = S_ISREG(k->file.mode) && !k->file.directory;

		if (!needs_travels(k) || (!first && !(regular && k->file.write)))
			continue;
		p.deadline_us = m->fig.t.stopped_us ? mig_deadline(m) : 0;
		r = regular ? bring_regular(&p, e) : bring_other(&p, e);
		files++;
	}
	m->fig.shipped_files += first ? files : 0;
	m->fig.ship_us = now_us() - t0;
	log_debug("files sent: %u in %llu us", files, (unsigned long long)m->fig.ship_us);
	return r < 0 ? err_wrap(e, "files") : 0;
}
