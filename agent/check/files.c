// SPDX-License-Identifier: GPL-2.0-or-later
/* files.c - for each file of an OFFER: the same here, missing, different, shared? */
#include "agent/check/files.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/elf.h"

#define BUILD_ID_MAX 64

/*
 * A file without a build-id is read as a whole on both hosts, up to this size. A larger one counts
 * as the same if its size and its time of modification, to the nanosecond, are.
 */
#define READ_FILE_MAX_BYTES (64ULL << 20)
#define READ_ALL_MAX_BYTES  (1ULL << 30)

/* A file of this host, open. */
struct here {
	int fd; /* O_PATH */
	bool readable; /* by the tree */
	struct statx st;
};

static uint64_t ns(const struct statx_timestamp *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + t->tv_nsec;
}

/* By the descriptor whose type we know: no one can put a device there meanwhile. */
static int open_again(const struct here *h)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", h->fd);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static bool is_same_build(const struct here *h, const Haul__File *f)
{
	uint8_t id[BUILD_ID_MAX];
	AUTO(fd) int fd = open_again(h);
	size_t n = fd >= 0 ? elf_build_id(fd, id, sizeof(id)) : 0;

	return n == f->build_id.len && !memcmp(id, f->build_id.data, n);
}

/*
 * The very same file on storage that both hosts see, or on a copied disk where it was not written
 * since: only then do inode number and times agree.
 */
static bool is_one_inode(const struct here *h, const Haul__File *f)
{
	return f->ctime_ns && f->inode == h->st.stx_ino && f->ctime_ns == ns(&h->st.stx_ctime) &&
	       f->size == h->st.stx_size;
}

/* Not on a disk of this host. 9p before Linux 6.6 has no type of its own in statfs(2). */
static bool is_on_network(const struct here *h)
{
	struct statfs fs;

	return h->st.stx_dev_major == 0 && fstatfs(h->fd, &fs) == 0 && fs.f_type != TMPFS_MAGIC &&
	       fs.f_type != RAMFS_MAGIC && fs.f_type != OVERLAYFS_SUPER_MAGIC;
}

/*
 * While a file is written its times change, except the time of birth. Network file systems without
 * that (9p, NFS) must show later times. Looked at again in the freeze.
 */
static bool may_be_shared(const struct here *h, const Haul__File *f)
{
	if (!f->ctime_ns || f->inode != h->st.stx_ino)
		return false;
	if (f->btime_ns && h->st.stx_mask & STATX_BTIME)
		return f->btime_ns == ns(&h->st.stx_btime);
	return f->ctime_ns == ns(&h->st.stx_ctime) ||
	       (f->ctime_ns < ns(&h->st.stx_ctime) && is_on_network(h));
}

/* Ask the source to compare contents? Then the state is open until it has answered. */
static bool doubt(struct files *fs, uint32_t i, const struct here *h, uint64_t bytes)
{
	/* a log that is not compared keeps its old content here: only the sum is limited */
	uint64_t most = fs->o->file[i]->write ? READ_ALL_MAX_BYTES : READ_FILE_MAX_BYTES;

	if (!fs->prove || !h->readable || bytes > most ||
	    fs->doubt_bytes + bytes > READ_ALL_MAX_BYTES)
		return false;
	fs->doubt[fs->n_doubt++] = (struct files_doubt){ .file = i, .bytes = bytes };
	fs->doubt_bytes += bytes;
	return true;
}

/* A file that the tree does not write: programs, libraries, data that is only read. */
static Haul__FileState look_fixed(struct files *fs, uint32_t i, const struct here *h)
{
	const Haul__File *f = fs->o->file[i];
	bool sized = f->mapped || f->open;

	if (sized && f->size != h->st.stx_size)
		return HAUL__FILE_STATE__FILE_DIFFERS;
	if (!sized || is_one_inode(h, f))
		return HAUL__FILE_STATE__FILE_SAME;
	if (f->build_id.len)
		return is_same_build(h, f) ? HAUL__FILE_STATE__FILE_SAME
		                           : HAUL__FILE_STATE__FILE_DIFFERS;
	if (!fs->prove || !f->size || doubt(fs, i, h, f->size) ||
	    (h->readable && f->mtime_ns == ns(&h->st.stx_mtime)))
		return HAUL__FILE_STATE__FILE_SAME; /* until a doubt says otherwise */
	return HAUL__FILE_STATE__FILE_DIFFERS;
}

/* A log: an older copy of it is completed, another log of that name stays. */
static Haul__FileState look_log(struct files *fs, uint32_t i, const struct here *h)
{
	const Haul__File *f = fs->o->file[i];

	if (fs->o->files == HAUL__FILES__FILES_REQUIRE || h->st.stx_size > f->size)
		return HAUL__FILE_STATE__FILE_KEPT;
	if (!h->st.stx_size || doubt(fs, i, h, h->st.stx_size))
		return HAUL__FILE_STATE__FILE_TAIL; /* until a doubt says otherwise */
	return HAUL__FILE_STATE__FILE_KEPT;
}

static Haul__FileState look_written(struct files *fs, uint32_t i, const struct here *h)
{
	const Haul__File *f = fs->o->file[i];

	if (may_be_shared(h, f))
		return HAUL__FILE_STATE__FILE_SHARED;
	if (files_is_log(f))
		return look_log(fs, i, h);
	/* an older source sends no times: CRIU will compare sizes */
	if (!f->ctime_ns && f->size == h->st.stx_size)
		return HAUL__FILE_STATE__FILE_SAME;
	/* the content that the tree wrote a moment ago: an older copy */
	if (fs->o->files != HAUL__FILES__FILES_REQUIRE && f->size == h->st.stx_size &&
	    (!f->size || doubt(fs, i, h, f->size)))
		return HAUL__FILE_STATE__FILE_TAIL; /* until a doubt says otherwise */
	return HAUL__FILE_STATE__FILE_DIFFERS;
}

/* Names that mean nothing on another host, or move with the tree. */
static bool is_exempt(const Haul__Offer *o, const char *path)
{
	size_t root = strlen(o->into_root);

	if (root > 1 && !strncmp(path, o->into_root, root) && !strncmp(path + root, "/proc/", 6))
		return true; /* it will be mounted there */
	return !strncmp(path, "/memfd:", 7) ||
	       (!strncmp(path, "/proc/", 6) && isdigit((unsigned char)path[6]));
}

/* What the process does with it is what it must be allowed to do. */
static int need_of(const Haul__File *f)
{
	bool content = f->mapped || f->open;

	if (f->directory)
		return content ? X_OK : 0;
	if (S_ISLNK(f->mode))
		return 0;
	if (S_ISSOCK(f->mode)) /* a datagram socket of the tree will be connected to it */
		return W_OK;
	return f->write ? W_OK : content ? R_OK : 0;
}

/* Return: a descriptor (O_PATH) of the file here, if the tree may have it; -errno */
static int find(struct files *fs, uint32_t i)
{
	const Haul__File *f = fs->o->file[i];
	const struct rights_file was = { f->uid, f->gid, f->mode };
	bool link = !f->directory && S_ISLNK(f->mode);
	int need = need_of(f);
	struct stat st;
	int fd = rights_find(fs->rights, f->path, !link, need, &was, &st);

	/* a program may be executed, and so mapped, by who may not read it */
	if (fd == -EACCES && need == R_OK && f->mapped)
		fd = rights_find(fs->rights, f->path, !link, X_OK, &was, &st);
	if (fd >= 0 && fs->id)
		fs->id[i] = (struct file_id){
			.dev = st.st_dev, .ino = st.st_ino, .mtime = st.st_mtim, .file = i
		};
	return fd;
}

/* May the tree read it? Only then the source may be told whether its content is the same. */
static bool is_readable(const struct files *fs, int fd, const Haul__File *f)
{
	struct stat st;

	for (size_t k = 0; k < fs->rights->n; k++)
		if (rights_access(&fs->rights->v[k], fd, R_OK) == 0)
			return true;
	if (fs->rights->owned || fstat(fd, &st) < 0)
		return false;
	return st.st_uid == f->uid && st.st_gid == f->gid &&
	       (st.st_mode & 07777) == (f->mode & 07777);
}

static Haul__FileState look(struct files *fs, uint32_t i)
{
	const Haul__File *f = fs->o->file[i];
	uint32_t kind = f->directory ? S_IFDIR : f->mode & S_IFMT;

	if (is_exempt(fs->o, f->path))
		return HAUL__FILE_STATE__FILE_NONE;
	AUTO(fd) int fd = find(fs, i);
	struct here h = { .fd = fd };

	if (fd < 0 && fd != -ENOENT && fd != -ENOTDIR) {
		files_say_denied(fs, f, fd);
		return HAUL__FILE_STATE__FILE_NONE; /* the source learns nothing about it */
	}
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC,
	                    STATX_BASIC_STATS | STATX_BTIME, &h.st) < 0)
		return HAUL__FILE_STATE__FILE_MISSING;
	fs->seen[i].bytes = h.st.stx_size;
	fs->no_memory |= locks_check(f, fd, fs->out) < 0;
	if (kind && (h.st.stx_mode & S_IFMT) != kind)
		return kind == S_IFLNK ? HAUL__FILE_STATE__FILE_SAME
		                       : HAUL__FILE_STATE__FILE_DIFFERS;
	if ((h.st.stx_mode & S_IFMT) != S_IFREG)
		return HAUL__FILE_STATE__FILE_SAME;
	h.readable = is_readable(fs, fd, f);
	return f->write ? look_written(fs, i, &h) : look_fixed(fs, i, &h);
}

/* The source's digest decides. */
static void settle(struct files *fs, const struct files_doubt *d)
{
	const Haul__File *f = fs->o->file[d->file];
	uint8_t ours[DIGEST_BYTES];
	AUTO(fd) int path = find(fs, d->file);
	struct here h = { .fd = path };
	struct stat st;
	AUTO(fd)
	int fd = path >= 0 && fstat(path, &st) == 0 && S_ISREG(st.st_mode) ? open_again(&h) : -1;

	if (d->known && fd >= 0 && digest_file(fd, d->bytes, fs->seed, ours) == 0 &&
	    !memcmp(ours, d->theirs, DIGEST_BYTES))
		return;
	fs->seen[d->file].state = files_is_log(f) ? HAUL__FILE_STATE__FILE_KEPT
	                                          : HAUL__FILE_STATE__FILE_DIFFERS;
}

int files_check(struct files *fs, struct err *e)
{
	AUTO(mem) struct files_doubt *v = calloc(fs->o->n_file + 1, sizeof(*v));
	int r = 0;

	if (!v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %zu files", fs->o->n_file);
	fs->doubt = v;
	for (uint32_t i = 0; i < fs->o->n_file; i++)
		fs->seen[i].state = look(fs, i);
	if (fs->n_doubt)
		r = fs->prove(fs->arg, v, fs->n_doubt, e);
	for (size_t i = 0; r == 0 && i < fs->n_doubt; i++)
		settle(fs, &v[i]);
	if (r == 0)
		files_judge(fs);
	fs->doubt = NULL;
	return r;
}
