// SPDX-License-Identifier: GPL-2.0-or-later
/* scan.c - reads directories and compares them with the model, which fills the lists of a pass. */
#include "hauler/dirs/priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RECENT_MS 1000 /* a younger file may change again and look the same */

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool dirs_looks_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_size == b->st_size &&
	       a->st_uid == b->st_uid && a->st_gid == b->st_gid && a->st_rdev == b->st_rdev &&
	       same_time(&a->st_mtim, &b->st_mtim) && same_time(&a->st_ctim, &b->st_ctim);
}

uint32_t dirs_age_ms(const struct stat *st)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	long long ms = (now.tv_sec - st->st_ctim.tv_sec) * 1000ll +
	               (now.tv_nsec - st->st_ctim.tv_nsec) / 1000000;

	return ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

int dirs_mark_dirty(struct dirs *f, struct dirs_ino *i)
{
	if (i->dirty || i->dead)
		return 0;
	i->dirty = true;
	return dirs_list_add(S_ISDIR(i->st.st_mode) ? &f->scan : &f->dirty, i);
}

static bool excluded(const struct dirs *f, const struct dirs_ino *dir, const char *name)
{
	char path[2 * BATCH_PATH_MAX_BYTES];
	char in[BATCH_PATH_MAX_BYTES + 1];

	if (!f->opt->n_excludes)
		return false;
	if (dirs_ino_path(dir, false, in) < 0)
		in[0] = 0;
	snprintf(path, sizeof(path), "%s%s%s", in, in[0] ? "/" : "", name);
	for (size_t i = 0; i < f->opt->n_excludes; i++) {
		const char *p = f->opt->exclude[i];

		if (!fnmatch(p, strchr(p, '/') ? path : name, FNM_PATHNAME | FNM_PERIOD))
			return true;
	}
	return false;
}

static void note_mount(struct dirs *f, const struct dirs_ino *dir, const char *name)
{
	char in[BATCH_PATH_MAX_BYTES + 1];

	if (dirs_ino_path(dir, false, in) < 0)
		return;
	if (f->other_mounts++ == 0)
		snprintf(f->other_mount, sizeof(f->other_mount), "%.200s/%.100s%s%.100s",
		         dir->root->path, in, in[0] ? "/" : "", name);
}

/* A directory that was renamed counts as new; its files keep their inodes and are linked. */
static bool is_known(const struct dirs_ino *i, const struct dirs_ino *dir, const struct stat *st,
                     XXH128_hash_t key, const char *name)
{
	const struct dirs_name *n = i ? LIST_FIRST(&i->names) : NULL;

	if (!n || (i->st.st_mode & S_IFMT) != (st->st_mode & S_IFMT) ||
	    !XXH128_isEqual(i->key, key))
		return false;
	return !S_ISDIR(st->st_mode) || (n->dir == dir && !strcmp(n->name, name));
}

/* Return: the inode; NULL with *r: 0 no such file, -errno */
static struct dirs_ino *look(struct dirs *f, struct dirs_ino *dir, int fd, const char *name, int *r)
{
	XXH128_hash_t key = { 0 };
	struct stat st;

	*r = 0;
	if (f->watch && dirs_watch_key(fd, name, dir->root->fsid, &key) < 0)
		*r = errno == ENOENT ? 0 : errno == EOPNOTSUPP ? 0 : -errno;
	if (*r < 0 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return NULL;
	if (st.st_dev != dir->st.st_dev) {
		note_mount(f, dir, name);
		return NULL;
	}
	struct dirs_ino *i = dirs_find(dir->root, st.st_ino);
	bool known = is_known(i, dir, &st, key, name);

	if (!known)
		i = dirs_ino_new(f, dir->root, &st, key);
	if (!i) {
		*r = -ENOMEM;
		return NULL;
	}
	if (!known) {
		/* watched from here on; look again to see a change made before that */
		*r = dirs_watch_add(f->watch, key, i);
		if (*r == 0 && f->watch && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_ino == i->st.st_ino && !((st.st_mode ^ i->st.st_mode) & S_IFMT))
			i->st = st;
		dir->root->bytes += (uint64_t)st.st_blocks * 512;
		dir->root->inodes++;
		if (*r == 0 && S_ISDIR(st.st_mode))
			*r = dirs_mark_dirty(f, i);
	} else if (!dirs_looks_same(&i->st, &st) || (!f->watch && i->age_ms < RECENT_MS)) {
		*r = dirs_mark_dirty(f, i);
	}
	return i;
}

static int by_name(const void *a, const void *b)
{
	const struct dirs_name *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static struct dirs_name *child(struct dirs_name **v, size_t n, const char *name)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = strcmp(name, v[mid]->name);

		if (c == 0)
			return v[mid];
		if (c < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static int found(struct dirs *f, struct dirs_ino *dir, struct dirs_name *old, struct dirs_ino *i,
                 const char *name)
{
	if (old && old->ino == i) { /* it may have been missing when it should have been sent */
		old->seen = true;
		old->vanished = false;
		return old->there ? 0 : dirs_list_add(&f->fresh, old);
	}
	struct dirs_name *n = dirs_name_new(dir, i, name);

	if (!n)
		return -ENOMEM;
	n->seen = true;
	if (old) {
		old->seen = old->vanished = old->replaced = true; /* not to be removed */
		n->replaces = old;
	}
	return dirs_list_add(&f->fresh, n);
}

static int read_dir(struct dirs *f, struct dirs_ino *dir, DIR *d, struct dirs_name **v, size_t n)
{
	int r = 0;

	for (struct dirent *de; r == 0 && (de = readdir(d));) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..") ||
		    excluded(f, dir, de->d_name))
			continue;
		struct dirs_ino *i = look(f, dir, dirfd(d), de->d_name, &r);

		if (i && r == 0)
			r = found(f, dir, child(v, n, de->d_name), i, de->d_name);
	}
	return r;
}

static int scan_dir(struct dirs *f, struct dirs_ino *dir)
{
	char path[BATCH_PATH_MAX_BYTES + 1];
	AUTO(mem) struct dirs_name **v = NULL;
	struct dirs_name *c;
	struct stat st;
	size_t n = 0;
	int r = dirs_ino_path(dir, false, path);

	if (r < 0)
		return r == -ESTALE ? 0 : r;
	int fd = dirs_open(dir->root, path, O_RDONLY | O_DIRECTORY | O_NOATIME);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
	AUTO(dir) DIR *d = fdopendir(fd);

	if (!d)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_ino != dir->st.st_ino || st.st_dev != dir->st.st_dev)
		return 0; /* replaced meanwhile: its parent has an event */
	dir->st = st;
	LIST_FOREACH(c, &dir->children, in_dir)
	n++;
	v = malloc((n + 1) * sizeof(struct dirs_name *));
	if (!v)
		return -ENOMEM;
	n = 0;
	LIST_FOREACH(c, &dir->children, in_dir)
	if (!c->replaced) {
		c->seen = false;
		v[n++] = c;
	}
	qsort(v, n, sizeof(struct dirs_name *), by_name);
	r = read_dir(f, dir, d, v, n);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (!v[i]->seen && !v[i]->vanished) {
			v[i]->vanished = true;
			r = dirs_list_add(&f->gone, v[i]);
		}
	if (r)
		return r;
	if (!dir->due) {
		dir->due = true;
		r = dirs_list_add(&f->due, dir);
	}
	return r;
}

int dirs_scan(struct dirs *f, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < f->scan.n; i++) {
		struct dirs_ino *dir = f->scan.v[i];

		if (__atomic_load_n(&f->stop, __ATOMIC_RELAXED))
			return err_set(e, ERR_STOPPED, ECANCELED, "stopped");
		dir->dirty = false;
		if (!dir->dead)
			r = scan_dir(f, dir);
	}
	f->scan.n = 0;
	return r < 0 ? err_set(e, ERR_SYS, -r, "read the directories: %s", strerror(-r)) : 0;
}

int dirs_look_all(struct dirs *f, struct err *e)
{
	for (size_t k = 0; k < f->n_roots; k++) {
		const struct dirs_root *r = &f->root[k];

		for (size_t b = 0; b < r->n_buckets; b++)
			for (struct dirs_ino *i = r->bucket[b]; i; i = i->next)
				if (S_ISDIR(i->st.st_mode) && dirs_mark_dirty(f, i) < 0)
					return err_set(e, ERR_SYS, ENOMEM, "no memory");
	}
	return dirs_scan(f, e);
}

int dirs_top(struct dirs *f, struct dirs_root *r, struct err *e)
{
	XXH128_hash_t key = { 0 };
	struct stat st;

	if (f->watch && dirs_watch_key(r->fd, "", r->fsid, &key) < 0)
		return err_sys(e, "file handle of %s", r->path);
	if (fstat(r->fd, &st) < 0)
		return err_sys(e, "%s", r->path);
	r->top = dirs_ino_new(f, r, &st, key);
	if (!r->top || dirs_watch_add(f->watch, key, r->top) < 0 || dirs_mark_dirty(f, r->top) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	return 0;
}
