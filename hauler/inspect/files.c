// SPDX-License-Identifier: GPL-2.0-or-later
/* files.c - files that the destination must have, and the mounts they are on. */
#include "hauler/options/dirs.h"
#include "common/array.h"
#include "hauler/inspect/priv.h"

#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "common/elf.h"
#include "common/host/reopen.h"
#include "engine/criu/criu.h"

#define BUILD_ID_MAX 64

/* ---- mounts ---- */

/* mountinfo writes space, tab, newline and backslash as \ and three octal digits. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		unsigned int c;

		if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
			*to++ = (char)c;
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = 0;
}

static int add_mount(struct inspect *i, char *line)
{
	char point[INSPECT_PATH_MAX], type[64];
	char *tail = strstr(line, " - ");
	struct inspect_mount m = { 0 };

	if (!tail || sscanf(tail, " - %63s", type) != 1 ||
	    sscanf(line, "%d %d %*s %*s %4095s", &m.id, &m.parent, point) != 3)
		return 0;
	struct inspect_mount *v = realloc(i->mounts.v, (i->mounts.n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	i->mounts.v = v;
	unescape(point);
	m.point = strdup(point);
	m.fstype = strdup(type);
	v[i->mounts.n++] = m;
	return m.point && m.fstype ? 0 : -ENOMEM;
}

static void find_hidden(struct inspect *i)
{
	for (size_t k = 0; k < i->mounts.n; k++)
		for (size_t n = 0; n < i->mounts.n; n++)
			if (i->mounts.v[n].parent == i->mounts.v[k].id && n != k &&
			    !strcmp(i->mounts.v[n].point, i->mounts.v[k].point))
				i->mounts.v[k].hidden = true;
}

int inspect_mounts(struct inspect *i, struct err *e)
{
	AUTO(mem) char *line = NULL;
	AUTO(file) FILE *f = fopen("/proc/self/mountinfo", "re");
	size_t cap = 0;
	int r = 0;

	if (!f)
		return err_sys(e, "/proc/self/mountinfo");
	while (r == 0 && getline(&line, &cap, f) > 0)
		r = add_mount(i, line);
	find_hidden(i);
	return r < 0 ? err_set(e, ERR_SYS, -r, "no memory for mounts") : 0;
}

const struct inspect_mount *inspect_mount_by_id(const struct inspect *i, int id)
{
	for (size_t k = 0; k < i->mounts.n; k++)
		if (i->mounts.v[k].id == id)
			return &i->mounts.v[k];
	return NULL;
}

/* The longest mount point that contains @path; of equal ones the last, which is on top. */
static struct inspect_mount *mount_of(struct inspect *i, const char *path)
{
	struct inspect_mount *best = NULL;
	size_t best_n = 0;

	for (size_t k = 0; k < i->mounts.n; k++) {
		size_t n = strlen(i->mounts.v[k].point);

		if (n == 1)
			n = 0; /* the root */
		if (n >= best_n && !strncmp(path, i->mounts.v[k].point, n) &&
		    (path[n] == '/' || !path[n])) {
			best = &i->mounts.v[k];
			best_n = n;
		}
	}
	return best;
}

/* What a file's file system means for it. */
static int say_mount(struct inspect *i, const char *path)
{
	struct inspect_mount *m = mount_of(i, path);

	if (!m || dirs_opts_cover(i->fs, path))
		return 0;
	bool first = !m->used;

	m->used = true;
	if (first && (!strcmp(m->fstype, "overlay") || !strncmp(m->fstype, "fuse", 4)))
		return inspect_say(i, SEV_WARNING, "file-system",
		                   "mount the same there, or copy what the process uses",
		                   "%s is an %s mount: its content may differ at the destination",
		                   m->point, m->fstype);
	return 0;
}

/* ---- the table ---- */

/* The element type of inspect_files(). */
struct file {
	Haul__File f; /* the first member */
	struct held_file held;
};

const struct held_file *inspect_held(const Haul__File *f)
{
	return &((const struct file *)f)->held;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const Haul__File *)a)->path, ((const Haul__File *)b)->path);
}

static uint64_t ns(const struct statx_timestamp *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + t->tv_nsec;
}

/* Read content only through what a process holds, wherever the path leads by now. */
static void fill(const struct inspect *i, struct file *file, bool mapped)
{
	Haul__File *f = &file->f;
	bool held = file->held.link[0];
	AUTO(fd)
	int at = held ? held_path(i->root, &file->held) : open(f->path, O_PATH | O_CLOEXEC);
	uint8_t id[BUILD_ID_MAX];
	struct statx st;

	if (at < 0 || statx(at, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
		return;
	f->size = S_ISREG(st.stx_mode) ? st.stx_size : 0;
	f->stored = st.stx_blocks * 512;
	f->mode = st.stx_mode;
	f->uid = st.stx_uid;
	f->gid = st.stx_gid;
	f->mtime_ns = ns(&st.stx_mtime);
	f->ctime_ns = ns(&st.stx_ctime);
	f->btime_ns = st.stx_mask & STATX_BTIME ? ns(&st.stx_btime) : 0;
	f->inode = st.stx_ino;
	if (S_ISLNK(st.stx_mode) && (f->link.data = malloc(st.stx_size + 1))) {
		ssize_t got = readlinkat(at, "", (char *)f->link.data, st.stx_size + 1);

		f->link.len = got > 0 ? (size_t)got : 0;
	}
	f->device = makedev(st.stx_rdev_major, st.stx_rdev_minor);
	bool read = held && mapped && !reopen_leased(st.stx_ino);
	AUTO(fd) int fd = read ? reopen_read(at, 0) : -1;
	size_t n = fd >= 0 ? elf_build_id(fd, id, sizeof(id)) : 0;

	if (n && (f->build_id.data = malloc(n))) {
		memcpy(f->build_id.data, id, n);
		f->build_id.len = n;
	}
}

static void free_file(Haul__File *f)
{
	if (f) {
		free(f->path);
		free(f->build_id.data);
		free(f->link.data);
		free(f);
	}
}

/*
 * Return: the file at @path, added when it is new; NULL: no memory. @held: NULL: held by no process
 */
static Haul__File *file_at(struct inspect *i, const char *path, bool mapped,
                           const struct held_file *held)
{
	Haul__File key = { .path = (char *)path };
	void **found = tfind(&key, &i->files.by_path, by_path);

	if (found)
		return *found;
	if (array_grow(&i->files.v, i->files.n, &i->files.cap, sizeof(Haul__File *)) < 0)
		return NULL;
	struct file *file = calloc(1, sizeof(*file));
	Haul__File *f = &file->f;

	if (!file)
		return NULL;
	haul__file__init(f);
	f->path = strdup(path);
	if (!f->path || !tsearch(f, &i->files.by_path, by_path)) {
		f->build_id.data = NULL;
		free_file(f);
		return NULL;
	}
	i->files.v[i->files.n++] = f;
	if (held)
		file->held = *held;
	fill(i, file, mapped);
	return f;
}

static int add_file(struct inspect *i, const char *path, unsigned int use,
                    const struct held_file *held)
{
	if (inspect_is_leased(i, path))
		return 0; /* it was reported, and nothing may open it */
	Haul__File *f = file_at(i, path, use & INSPECT_MAPPED, held);

	if (!f)
		return -ENOMEM;
	f->mapped |= (use & INSPECT_MAPPED) != 0;
	f->open |= (use & INSPECT_OPEN) != 0;
	f->write |= (use & INSPECT_WRITE) != 0;
	f->directory |= (use & INSPECT_DIR) != 0;
	return say_mount(i, path);
}

int inspect_file(struct inspect *i, const char *path, unsigned int use)
{
	return add_file(i, path, use, NULL);
}

int inspect_file_held(struct inspect *i, const char *path, unsigned int use, const struct stat *st,
                      const char *link)
{
	struct held_file h = { .dev = st->st_dev, .ino = st->st_ino };

	snprintf(h.link, sizeof(h.link), "%s", link);
	return add_file(i, inspect_relinked(i, path), use, &h);
}

int inspect_parent(struct inspect *i, const char *path)
{
	char dir[INSPECT_PATH_MAX];
	struct stat st;

	snprintf(dir, sizeof(dir), "%s", path);
	char *slash = strrchr(dir, '/');

	if (!slash)
		return 0;
	slash[slash == dir] = 0;
	if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return 0; /* deleted too: CRIU makes it for the moment */
	AUTO(mem) char *real = realpath(dir, NULL);
	int r = real && strcmp(real, dir) ? inspect_file(i, real, INSPECT_DIR) : 0;

	/* by the name in use, too: the destination need not have the link that leads there */
	return r < 0 ? r : inspect_file(i, dir, INSPECT_DIR);
}

void inspect_files_fini(struct inspect *i)
{
	for (size_t k = 0; k < i->files.n; k++) {
		tdelete(i->files.v[k], &i->files.by_path, by_path);
		free_file(i->files.v[k]);
	}
	free(i->files.v);
	for (size_t k = 0; k < i->mounts.n; k++) {
		free(i->mounts.v[k].point);
		free(i->mounts.v[k].fstype);
	}
	free(i->mounts.v);
}

/* ---- files that have lost their name ---- */

static int say_deleted(struct inspect *i, const char *path, const struct stat *st, const char *what)
{
	uint64_t bytes = (uint64_t)st->st_blocks * 512;

	if (st->st_nlink > 0 && !S_ISDIR(st->st_mode)) {
		int r = inspect_relink(i, path, st);

		return r ? r
		         : inspect_say(i, SEV_BLOCKER, "deleted-link",
		                       "let the program open it again (restart it), or give it "
		                       "another name in that directory (ln)",
		                       "%s: %s has lost this name, but has another one elsewhere",
		                       what, path);
	}
	if (bytes > CRIU_GHOST_MAX_BYTES)
		return inspect_say(
		        i, SEV_BLOCKER, "deleted-large",
		        "restart the process; deleted files of up to 1024 MiB can travel",
		        "%s: %s holds %llu MiB", what, path, (unsigned long long)bytes >> 20);
	int r = inspect_shm(i, st, INSPECT_GHOST);

	if (r < 0)
		return r;
	r = inspect_parent(i, path);
	return r < 0 ? r
	             : inspect_say(i, SEV_INFO, "deleted-file", NULL, "%s: %s; it moves, too", what,
	                           path);
}

int inspect_reachable(struct inspect *i, const char *path, const struct stat *st, const char *what)
{
	size_t n = strlen(path), tail = strlen(" (deleted)");
	bool deleted = n > tail && !strcmp(path + n - tail, " (deleted)");
	struct stat now;
	int r;

	/* a descriptor of a symbolic link itself: O_PATH | O_NOFOLLOW */
	if (st->st_nlink > 0 &&
	    (S_ISLNK(st->st_mode) ? lstat(path, &now) : stat(path, &now)) == 0) {
		if (now.st_dev == st->st_dev && now.st_ino == st->st_ino)
			return 1;
		r = inspect_say(i, SEV_BLOCKER, "file-replaced", "restart the process",
		                "%s: another file is at %s now", what, path);
	} else if (deleted || st->st_nlink == 0) {
		r = say_deleted(i, path, st, what);
	} else {
		r = inspect_say(i, SEV_BLOCKER, "file-hidden",
		                "make it reachable by that name again",
		                "%s: %s cannot be reached: %s", what, path, strerror(errno));
	}
	return r;
}

/* ---- shared memory ---- */

/*
 * The kernel makes a segment's ID its inode number, and counts memory files and anonymous memory of the
 * same device by themselves. CRIU names the images of both by this number, and one would have the bytes
 * of the other.
 */
static int shm_again(struct inspect *i, struct inspect_shm *x, enum inspect_shm_kind kind)
{
	if (x->mixed || (x->kind == INSPECT_SEGMENT) == (kind == INSPECT_SEGMENT))
		return 0;
	x->mixed = true;
	return inspect_say(i, SEV_BLOCKER, "shared-number",
	                   "restart the program: its memory then has another number",
	                   "the System V segment %llu and other shared memory of the tree have the "
	                   "same inode number, by which CRIU would mix them up",
	                   (unsigned long long)x->inode);
}

int inspect_shm(struct inspect *i, const struct stat *st, enum inspect_shm_kind kind)
{
	for (size_t k = 0; k < i->shm.n; k++)
		if (i->shm.v[k].inode == st->st_ino && i->shm.v[k].dev == st->st_dev)
			return shm_again(i, &i->shm.v[k], kind);
	struct inspect_shm *v = realloc(i->shm.v, (i->shm.n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	i->shm.v = v;
	v[i->shm.n] = (struct inspect_shm){ .dev = st->st_dev,
		                            .inode = st->st_ino,
		                            .bytes = (uint64_t)st->st_blocks * 512,
		                            .kind = kind };
	*(kind == INSPECT_GHOST ? &i->bytes.ghost : &i->bytes.shm) += v[i->shm.n++].bytes;
	return 0;
}
