// SPDX-License-Identifier: GPL-2.0-or-later
/* img_pins.c - other names for files in files.img; files without a name, which CRIU need not make. */
#include "engine/images/img_pins.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/images/img_priv.h"

#define REMAPS           "remap-fpath.img"
#define HEAD_BYTES       8
#define REMAPS_BYTES_MAX (64u << 20)
#define MESSAGE_MAX      4096
#define NS_OF_US         1000

struct pins {
	const struct img_pin *v;
	size_t n;
};

static int by_id(const void *a, const void *b)
{
	const struct img_pin *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static const struct img_pin *find(const struct pins *p, uint32_t id)
{
	const struct img_pin key = { .id = id };

	return p->n ? bsearch(&key, p->v, p->n, sizeof(key), by_id) : NULL;
}

static int pin_file(void *arg, Cimg__File *f, struct err *e)
{
	const struct img_pin *p = f->reg ? find(arg, f->reg->id) : NULL;
	char *name = p ? strdup(p->name) : NULL;

	if (!p)
		return 0;
	if (!name)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for names of files");
	free(f->reg->name);
	f->reg->name = name;
	/* the name is one in /proc/PID/fd, a link; the file that was made is no link */
	if (p->made)
		f->reg->flags &= ~(uint32_t)O_NOFOLLOW;
	return 1;
}

/* Return: 1 CRIU shall still make it; 0; -EBADMSG */
static int stays(const struct pins *p, size_t n, const uint8_t *msg)
{
	Cimg__RemapPath *m = cimg__remap_path__unpack(NULL, n, msg);

	if (!m)
		return -EBADMSG;
	const struct img_pin *pin = find(p, m->orig_id);

	cimg__remap_path__free_unpacked(m, NULL);
	return !pin || !pin->made;
}

static int drop_remaps(int dirfd, const struct pins *p, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	size_t bytes, at = HEAD_BYTES, n, kept = HEAD_BYTES;
	const uint8_t *msg;
	int r = img_load(dirfd, REMAPS, REMAPS_BYTES_MAX, &img, &bytes, e);

	if (r < 0 || bytes < HEAD_BYTES)
		return r < 0 ? r : err_set(e, ERR_CRIU, EBADMSG, "image %s is cut short", REMAPS);
	while ((r = img_next(img, bytes, &at, &msg, &n)) > 0) {
		int stay = stays(p, n, msg);

		if (stay < 0)
			return err_set(e, ERR_CRIU, EBADMSG, "image %s makes no sense", REMAPS);
		if (!stay)
			continue;
		memmove(img + kept, msg - 4, n + 4); /* with its size */
		kept += n + 4;
	}
	return r < 0 ? err_set(e, ERR_CRIU, -r, "image %s is cut short", REMAPS)
	             : img_save(dirfd, REMAPS, img, kept, e);
}

int img_pin_files(int dirfd, const struct img_pin *v, size_t n, struct err *e)
{
	struct pins p = { v, n };
	bool made = false;

	for (size_t i = 0; i < n; i++)
		made |= v[i].made;
	int r = n ? img_edit_files(dirfd, pin_file, &p, e) : 0;

	return r < 0 || !made ? r : drop_remaps(dirfd, &p, e);
}

/* ---- files without a name ---- */

/* A message of the image, which is too large to be held as a whole. Return: its bytes; 0 at the end; -errno */
static int read_message(int fd, uint8_t buf[MESSAGE_MAX])
{
	uint8_t size[4];
	ssize_t got = read(fd, size, sizeof(size));

	if (got <= 0)
		return got < 0 ? -errno : 0;
	uint32_t n = (uint32_t)size[0] | (uint32_t)size[1] << 8 | (uint32_t)size[2] << 16 |
	             (uint32_t)size[3] << 24;

	if (got < (ssize_t)sizeof(size) || n > MESSAGE_MAX || read(fd, buf, n) != (ssize_t)n)
		return -EBADMSG;
	return (int)n;
}

static struct timespec time_of(const Cimg__Timeval *t)
{
	return (struct timespec){ .tv_sec = (time_t)t->sec, .tv_nsec = (long)t->usec * NS_OF_US };
}

static void take_ghost(const Cimg__GhostFile *m, struct img_ghost *g)
{
	*g = (struct img_ghost){ .uid = m->uid,
		                 .gid = m->gid,
		                 .mode = m->mode,
		                 .has_times = m->atim && m->mtim,
		                 .chunks = m->chunks,
		                 .bytes = m->size,
		                 .fd = -1 };
	if (!g->has_times)
		return;
	g->atime = time_of(m->atim);
	g->mtime = time_of(m->mtim);
}

int img_ghost_open(int dirfd, uint32_t id, struct img_ghost *out, struct err *e)
{
	char name[32];
	uint8_t buf[MESSAGE_MAX];

	snprintf(name, sizeof(name), "ghost-file-%x.img", id);
	AUTO(fd) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || lseek(fd, HEAD_BYTES, SEEK_SET) < 0)
		return err_sys(e, "image %s", name);
	int n = read_message(fd, buf);
	Cimg__GhostFile *m = n > 0 ? cimg__ghost_file__unpack(NULL, (size_t)n, buf) : NULL;

	if (!m)
		return err_set(e, ERR_CRIU, EBADMSG, "image %s makes no sense", name);
	take_ghost(m, out);
	cimg__ghost_file__free_unpacked(m, NULL);
	out->fd = steal_fd(&fd);
	return 0;
}

/* Return: 0; -errno */
static int copy(int from, int to, uint64_t bytes)
{
	while (bytes) {
		ssize_t n = sendfile(to, from, NULL, bytes);

		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		bytes -= (uint64_t)n;
	}
	return 0;
}

static int copy_chunk(const struct img_ghost *g, int to, const uint8_t *msg, size_t n)
{
	Cimg__GhostChunk *c = cimg__ghost_chunk__unpack(NULL, n, msg);

	if (!c)
		return -EBADMSG;
	bool ok = c->off <= g->bytes && c->len <= g->bytes - c->off;
	int r = !ok                                      ? -EBADMSG
	        : lseek(to, (off_t)c->off, SEEK_SET) < 0 ? -errno
	                                                 : copy(g->fd, to, c->len);

	cimg__ghost_chunk__free_unpacked(c, NULL);
	return r;
}

static int copy_content(const struct img_ghost *g, int to)
{
	uint8_t buf[MESSAGE_MAX];
	struct stat st;
	int r;

	if (!g->chunks) {
		off_t at = lseek(g->fd, 0, SEEK_CUR);

		if (at < 0 || fstat(g->fd, &st) < 0)
			return -errno;
		return copy(g->fd, to, (uint64_t)(st.st_size - at));
	}
	if (ftruncate(to, (off_t)g->bytes) < 0)
		return -errno;
	while ((r = read_message(g->fd, buf)) > 0) {
		r = copy_chunk(g, to, buf, (size_t)r);
		if (r < 0)
			break;
	}
	return r;
}

int img_ghost_copy(const struct img_ghost *g, int to, struct err *e)
{
	int r = copy_content(g, to);

	return r < 0 ? err_set(e, ERR_SYS, -r, "a file without a name: %s", strerror(-r)) : 0;
}
