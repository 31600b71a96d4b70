// SPDX-License-Identifier: GPL-2.0-or-later
/* append.c - append to a log of this host what the source's copy of it has more. */
#include "agent/files/append.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/check/rights.h"
#include "agent/mig/mig.h"

#define PIECE_BYTES (256u << 10)

static int say_changed(const struct bring_file *f, struct err *e)
{
	err_set(e, ERR_SYS, ESTALE, "%s has changed at the destination meanwhile", f->path);
	return err_fix(e, "end the program that writes it there, or move the file away");
}

/* Nobody but us has written it since the last look. */
static int look(struct bring_file *f, bool first, struct err *e)
{
	struct stat st;

	if (fstat(f->to, &st) < 0)
		return err_sys(e, "%s", f->path);
	if (!S_ISREG(st.st_mode) || st.st_dev != f->dev || st.st_ino != f->ino ||
	    (uint64_t)st.st_size != f->done)
		return say_changed(f, e);
	if (!first &&
	    (st.st_ctim.tv_sec != f->ctime.tv_sec || st.st_ctim.tv_nsec != f->ctime.tv_nsec))
		return say_changed(f, e);
	f->ctime = st.st_ctim;
	f->mtime = st.st_mtim;
	return 0;
}

int append_open(const struct wrk *w, struct bring_file *f, struct err *e)
{
	const struct rights_file was = { f->uid, f->gid, f->mode };
	uint8_t digest[DIGEST_BYTES];
	char link[32];
	struct stat st;
	AUTO(fd) int at = rights_find(&w->rights, f->path, false, W_OK, &was, &st);

	if (at < 0)
		return err_set(e, ERR_SYS, -at, "%s: %s", f->path, strerror(-at));
	if (!S_ISREG(st.st_mode) || st.st_dev != f->dev || st.st_ino != f->ino)
		return say_changed(f, e);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
	f->to = open(link, O_RDWR | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->to < 0)
		return err_sys(e, "%s", f->path);
	f->done = f->there_bytes;
	if (look(f, true, e) < 0)
		return -e->code;
	if (f->done && (digest_file(f->to, f->done, w->route, digest) < 0 ||
	                memcmp(digest, f->proven, DIGEST_BYTES)))
		return say_changed(f, e);
	return look(f, false, e);
}

/* Read the file here. Return: 0; -ESTALE it is shorter */
static int read_here(const struct bring_file *f, uint8_t *buf, size_t n, uint64_t at)
{
	for (size_t got = 0; got < n;) {
		ssize_t k = pread(f->to, buf + got, n - got, (off_t)(at + got));

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : -ESTALE;
		got += (size_t)k;
	}
	return 0;
}

int append_same(const struct bring_file *f, const Haul__FilePart *part, struct err *e)
{
	uint64_t below = f->done > part->offset ? f->done - part->offset : 0;
	size_t n = below < part->data.len ? (size_t)below : part->data.len;
	AUTO(mem) uint8_t *buf = n ? malloc(n) : NULL;

	if (n == 0)
		return 0;
	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %s", f->path);
	int r = read_here(f, buf, n, part->offset);

	if (r == -ESTALE)
		return say_changed(f, e);
	if (r < 0)
		return err_set(e, ERR_SYS, -r, "read %s: %s", f->path, strerror(-r));
	if (memcmp(buf, part->data.data, n) == 0)
		return 0;
	err_set(e, ERR_SYS, ESTALE,
	        "the beginning of %s was written anew at the source while it moved", f->path);
	return err_fix(e, "try again");
}

static int copy(struct bring_file *f, uint64_t to, struct err *e)
{
	AUTO(mem) uint8_t *buf = malloc(PIECE_BYTES);

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %s", f->path);
	for (uint64_t at = f->done; at < to;) {
		size_t want = to - at < PIECE_BYTES ? (size_t)(to - at) : PIECE_BYTES;
		ssize_t n = pread(f->fd, buf, want, (off_t)at), done = 0;

		if (n <= 0)
			return n < 0 ? err_sys(e, "read what belongs to %s", f->path)
			             : err_set(e, ERR_PEER, EPROTO,
			                       "the source has not sent all of %s", f->path);
		while (done < n) {
			ssize_t k = write(f->to, buf + done, (size_t)(n - done));

			if (k < 0 && errno == EINTR)
				continue;
			if (k <= 0)
				return err_sys(e, "append to %s", f->path);
			done += k;
		}
		at += (uint64_t)n;
	}
	return 0;
}

int append_upto(struct place *p, struct bring_file *f, uint64_t size, struct err *e)
{
	if (size < f->done) {
		err_set(e, ERR_SYS, ESTALE, "%s became shorter at the source while it moved",
		        f->path);
		return err_fix(e, "try again");
	}
	int r = look(f, false, e);

	if (r < 0 || size == f->done)
		return r;
	const struct place_grown g = {
		.path = f->path, .ino = f->ino, .from = f->done, .to = size, .mtime = f->mtime
	};

	r = place_grow(p, &g, e);
	if (r == 0)
		r = copy(f, size, e);
	f->done = size;
	return r < 0 ? r : look(f, true, e);
}
