// SPDX-License-Identifier: GPL-2.0-or-later
/* bring.c - receive files under hidden names, and give them their own at the switch. */
#include "agent/files/bring.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/mig/mig.h"
#include "agent/check/files.h"
#include "agent/files/append.h"
#include "common/log.h"

#define PART_MAX_BYTES (1u << 20)
#define SIZE_MAX_BYTES (1ULL << 50)

static bool travels(const struct bring_file *f)
{
	return f->state == HAUL__FILE_STATE__FILE_MISSING ||
	       f->state == HAUL__FILE_STATE__FILE_DIFFERS ||
	       f->state == HAUL__FILE_STATE__FILE_TAIL;
}

static int by_path(const void *a, const void *b)
{
	const struct bring_file *x = *(struct bring_file *const *)a,
	                        *y = *(struct bring_file *const *)b;

	return strcmp(x->path, y->path);
}

const struct bring_file *bring_find(const struct bring *s, const char *path)
{
	struct bring_file key = { .path = (char *)path };
	const struct bring_file *k = &key;
	struct bring_file **found =
	        s->n ? bsearch(&k, s->by_path, s->n, sizeof(*s->by_path), by_path) : NULL;

	return found ? *found : NULL;
}

int bring_new(struct wrk *w, const Haul__Offer *o, const Haul__FileSeen *seen,
              const struct file_id *id, struct err *e)
{
	struct bring *s = calloc(1, sizeof(*s));

	if (s)
		s->v = calloc(o->n_file + 1, sizeof(*s->v));
	if (s)
		s->by_path = calloc(o->n_file + 1, sizeof(*s->by_path));
	if (!s || !s->v || !s->by_path) {
		bring_free(s);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %zu files", o->n_file);
	}
	for (size_t i = 0; i < o->n_file; i++) {
		const Haul__File *f = o->file[i];

		s->v[i] = (struct bring_file){
			.path = strdup(f->path),
			.mode = f->directory ? S_IFDIR | (f->mode & 07777) : f->mode,
			.device = f->device,
			.there_bytes = seen[i].bytes,
			.uid = f->uid,
			.gid = f->gid,
			.dev = id[i].dev,
			.ino = id[i].ino,
			.compared = id[i].mtime,
			.directory = f->directory,
			.write = f->write,
			.state = seen[i].state,
			.link = f->link.len ? strndup((const char *)f->link.data, f->link.len)
			                    : strdup(""),
			.fd = -1,
			.append = seen[i].state == HAUL__FILE_STATE__FILE_TAIL && files_is_log(f),
			.to = -1
		};
		s->n++;
		if (!s->v[i].path || !s->v[i].link) {
			bring_free(s);
			return err_set(e, ERR_SYS, ENOMEM, "no memory for %zu files", o->n_file);
		}
	}
	for (size_t i = 0; i < s->n; i++)
		s->by_path[i] = &s->v[i];
	qsort(s->by_path, s->n, sizeof(*s->by_path), by_path);
	for (size_t i = 0; i < w->offer.doubts.n; i++)
		memcpy(s->v[w->offer.doubts.v[i].file].proven, w->offer.doubts.v[i].theirs,
		       DIGEST_BYTES);
	w->bring = s;
	return 0;
}

void bring_free(struct bring *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n; i++) {
		struct bring_file *f = &s->v[i];

		if (f->fd >= 0)
			close(f->fd);
		if (f->to >= 0)
			close(f->to);
		if (f->meta)
			haul__file_meta__free_unpacked(f->meta, NULL);
		free(f->path);
		free(f->link);
		free(f->temp);
	}
	free(s->v);
	free(s->by_path);
	free(s);
}

/* ---- receiving ---- */

/* This host has the beginning already: copy exactly as much as the source has compared. */
static int copy_beginning(const struct wrk *w, struct bring_file *f, struct err *e)
{
	uint8_t digest[DIGEST_BYTES];
	const char *name;
	AUTO(fd) int dir = place_parent(f->path, false, &name);
	AUTO(fd)
	int from = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (from < 0)
		return err_sys(e, "%s", f->path);
	for (uint64_t left = f->there_bytes; left;) {
		ssize_t n = copy_file_range(from, NULL, f->fd, NULL, left, 0);

		if (n <= 0)
			return n < 0 ? err_sys(e, "copy %s", f->path)
			             : err_set(e, ERR_SYS, ESTALE, "%s became shorter", f->path);
		left -= (uint64_t)n;
	}
	if (f->there_bytes && (digest_file(f->fd, f->there_bytes, w->route, digest) < 0 ||
	                       memcmp(digest, f->proven, DIGEST_BYTES)))
		return err_set(e, ERR_SYS, ESTALE, "%s has changed at the destination meanwhile",
		               f->path);
	return 0;
}

static int begin(struct wrk *w, struct bring_file *f, struct err *e)
{
	struct bring *s = w->bring;
	int r = s->place ? 0 : place_new(&s->place, w->route, e);

	if (r < 0)
		return r;
	w->keep->place_fd = place_fd(s->place);
	if (!S_ISREG(f->mode))
		return 0;
	f->fd = place_temp(s->place, f->path, &f->temp, e);
	if (f->fd < 0)
		return f->fd;
	if (f->append)
		return append_open(w, f, e);
	return f->state == HAUL__FILE_STATE__FILE_TAIL ? copy_beginning(w, f, e) : 0;
}

static int write_at(const struct bring_file *f, const Haul__FilePart *part, struct err *e)
{
	for (size_t done = 0; done < part->data.len;) {
		ssize_t n = pwrite(f->fd, part->data.data + done, part->data.len - done,
		                   (off_t)(part->offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, "write %s", f->path);
		done += (size_t)n;
	}
	return 0;
}

/* Capabilities of a program, and what only root may read. */
static bool gives_rights(const char *xattr)
{
	return !strncmp(xattr, "security.", 9) || !strncmp(xattr, "trusted.", 8);
}

/*
 * The owner and mode of the offer are what was judged. Capabilities of a program are to be treated as its set-user-ID bit:
 * they come with root's own processes only.
 */
static int judge_meta(const struct wrk *w, const struct bring_file *f, const Haul__FileMeta *m,
                      struct err *e)
{
	if (m->uid != f->uid || m->gid != f->gid ||
	    (m->mode & ~f->mode & (S_ISUID | S_ISGID | S_ISVTX)))
		return err_set(e, ERR_TARGET, ESTALE, "%s has another owner or mode by now",
		               f->path);
	if (!w->rights.owned && rights_all_root(&w->rights))
		return 0;
	for (size_t i = 0; i < m->n_xattr; i++)
		if (gives_rights(m->xattr[i]->name)) {
			err_set(e, ERR_TARGET, EPERM,
			        "%s has the attribute %s, which comes with root's own processes "
			        "only",
			        f->path, m->xattr[i]->name);
			return err_fix(e, "install the file at the destination");
		}
	return 0;
}

/* The last part of a pass. Only the first pass waits for the disk: the process runs then. */
static int take_meta(struct bring_file *f, const Haul__FileMeta *m, struct err *e)
{
	size_t n = haul__file_meta__get_packed_size(m);
	AUTO(mem) uint8_t *buf = malloc(n + 1);
	bool first = !f->meta;

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %s", f->path);
	haul__file_meta__pack(m, buf);
	if (f->meta)
		haul__file_meta__free_unpacked(f->meta, NULL);
	f->meta = haul__file_meta__unpack(NULL, n, buf);
	if (!f->meta)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %s", f->path);
	if (f->fd < 0)
		return 0;
	if (ftruncate(f->fd, (off_t)m->size) < 0 || (first && fdatasync(f->fd) < 0))
		return err_sys(e, "write %s", f->path);
	return 0;
}

int bring_part(struct wrk *w, const Haul__FilePart *part, struct err *e)
{
	struct bring *s = w->bring;

	if (part->file >= s->n || !travels(&s->v[part->file]))
		return err_set(e, ERR_PEER, EBADMSG, "file %u was not asked for", part->file);
	struct bring_file *f = &s->v[part->file];

	if (part->data.len > PART_MAX_BYTES || part->offset > SIZE_MAX_BYTES ||
	    (part->meta && part->meta->size > SIZE_MAX_BYTES) ||
	    (part->data.len && !S_ISREG(f->mode)))
		return err_set(e, ERR_PEER, EBADMSG, "file %u: %zu bytes at %llu", part->file,
		               part->data.len, (unsigned long long)part->offset);
	int r = f->fd < 0 && !f->meta ? begin(w, f, e) : 0;

	if (r < 0)
		return r;
	r = f->append ? append_same(f, part, e) : 0;
	if (r < 0)
		return r;
	r = part->data.len ? write_at(f, part, e) : 0;
	if (r < 0 || !part->meta)
		return r;
	r = judge_meta(w, f, part->meta, e);
	if (r < 0)
		return r;
	r = take_meta(f, part->meta, e);
	return r < 0 || !f->append ? r : append_upto(s->place, f, part->meta->size, e);
}

/* ---- placing ---- */

static struct timespec at_ns(uint64_t ns)
{
	return (struct timespec){ (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
}

/* Owner before mode: a change of owner clears the set-user-ID bit. Times last. */
static int look_like(int fd, const struct bring_file *f, struct err *e)
{
	const Haul__FileMeta *m = f->meta;
	struct timespec times[2] = { at_ns(m->atime_ns), at_ns(m->mtime_ns) };

	if (fchown(fd, m->uid, m->gid) < 0 || fchmod(fd, m->mode & 07777) < 0)
		return err_sys(e, "owner and mode of %s", f->path);
	for (size_t i = 0; i < m->n_xattr; i++)
		if (fsetxattr(fd, m->xattr[i]->name, m->xattr[i]->value.data,
		              m->xattr[i]->value.len, 0) < 0)
			return err_sys(e, "extended attribute %s of %s", m->xattr[i]->name,
			               f->path);
	return futimens(fd, times) < 0 ? err_sys(e, "times of %s", f->path) : 0;
}

static int open_placed(const struct bring_file *f, int flags)
{
	const char *name;
	AUTO(fd) int dir = place_parent(f->path, false, &name);

	return dir < 0 ? dir : openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags);
}

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A regular file, which has its content already. */
static int put(struct place *p, struct bring_file *f, struct err *e)
{
	bool replace = f->state != HAUL__FILE_STATE__FILE_MISSING;
	struct stat st;
	int r = look_like(f->fd, f, e);

	if (r < 0)
		return r;
	if (fstat(f->fd, &st) == 0) {
		f->dev = st.st_dev;
		f->ino = st.st_ino;
	}
	return place_put(p, f->temp, f->path, replace, e);
}

static int place_one(struct wrk *w, struct bring_file *f, struct err *e)
{
	struct bring *s = w->bring;
	int r;

	if (!f->meta)
		return err_set(e, ERR_PEER, EPROTO, "the source has not sent %s", f->path);
	if (f->append) {
		r = append_upto(s->place, f, f->meta->size, e);
		settle_note(&w->settle, f->to);
		return r;
	}
	f->ino = 0; /* another one from here on */
	if (S_ISLNK(f->mode))
		return place_link(s->place, f->path, f->link, e);
	if (f->directory) {
		if (is_dir(f->path))
			return 0; /* through a link: it was made by its other name */
		r = place_dir(s->place, f->path, f->meta->mode, e);
		AUTO(fd) int fd = r < 0 ? -1 : open_placed(f, O_DIRECTORY);

		return r < 0 ? r : look_like(fd, f, e);
	}
	struct stat st = { .st_mode = f->mode,
		           .st_rdev = (dev_t)f->device,
		           .st_uid = f->meta->uid,
		           .st_gid = f->meta->gid,
		           .st_atim = at_ns(f->meta->atime_ns),
		           .st_mtim = at_ns(f->meta->mtime_ns) };

	if (!S_ISREG(f->mode))
		return place_node(s->place, f->path, &st, e);
	r = put(s->place, f, e);
	settle_note(&w->settle, f->fd);
	close(steal_fd(&f->fd));
	return r;
}

static int by_depth(const void *a, const void *b)
{
	const struct bring_file *x = *(struct bring_file *const *)a,
	                        *y = *(struct bring_file *const *)b;

	if (x->directory != y->directory)
		return x->directory ? -1 : 1;
	if (x->behind_link != y->behind_link)
		return x->behind_link ? 1 : -1;
	return strcmp(x->path, y->path); /* a directory before its files */
}

int bring_place(struct wrk *w, struct err *e)
{
	struct bring *s = w->bring;
	AUTO(mem) struct bring_file **v = calloc(s->n + 1, sizeof(*v));
	size_t n = 0;
	int r = 0;

	if (!v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %zu files", s->n);
	for (size_t i = 0; i < s->n; i++)
		if (travels(&s->v[i])) {
			AUTO(fd) int dir = place_parent(s->v[i].path, true, NULL);

			s->v[i].behind_link = dir == -ELOOP || dir == -ENOTDIR;
			v[n++] = &s->v[i];
		}
	qsort(v, n, sizeof(*v), by_depth);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = place_one(w, v[i], e);
	/* the files put into a directory have changed its times */
	for (size_t i = n; r == 0 && i > 0; i--) {
		AUTO(fd) int fd = v[i - 1]->directory ? open_placed(v[i - 1], O_DIRECTORY) : -1;

		if (fd >= 0)
			r = look_like(fd, v[i - 1], e);
	}
	if (n)
		log_info("files placed: %zu", n);
	return r < 0 ? err_wrap(e, "files") : 0;
}

void bring_keep(struct wrk *w)
{
	struct err e = ERR_INIT;

	if (w->bring && w->bring->place && place_keep(w->bring->place, &e) < 0)
		log_err("%s", e.msg);
}

void bring_end(struct wrk *w)
{
	if (!w->bring || !w->bring->place)
		return;
	w->keep->place_fd = -1;
	place_end(steal(w->bring->place));
}
