// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * img_objects.c - shared memory in the images becomes a plain file that CRIU opens by a path of /proc:
 * then CRIU neither makes it nor reads its pages. Anonymous shared memory is a memory file, too, for CRIU.
 */
#include "engine/images/img_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/array.h"
#include "engine/images/images.pb-c.h"

#define MAGIC_MM       0x57492820u
#define MAGIC_MEMFD    0x48453499u
#define MAGIC_SEGMENTS 0x46283044u

#define IMAGE "memfd.img"

#define TYPE_REG   1u
#define TYPE_MEMFD 18u

#define STATUS_MEMFD (1u << 14) /* of a mapping */

#define PATH_BYTES 48

/* What is found. */
struct objects {
	struct img_object *v;
	size_t n, cap;
};

/* What takes its place. */
struct placed {
	int dirfd;
	pid_t pid; /* whose descriptors CRIU opens */
	const struct img_object *v;
	size_t n;
	uint32_t *turned; /* entries of files.img that have become plain files */
	size_t n_turned, cap_turned;
};

/* ---- memory files in the images ---- */

static int note_memfd(struct objects *o, const Cimg__MemfdInode *m)
{
	if (strcmp(m->name, IMG_OBJECT_NAME) != 0 || m->has_hugetlb_flag)
		return 0;
	if (array_grow(&o->v, o->n, &o->cap, sizeof(*o->v)) < 0)
		return -ENOMEM;
	o->v[o->n++] = (struct img_object){ .shmid = m->shmid,
		                            .bytes = m->size,
		                            .inode_id = m->inode_id,
		                            .uid = m->uid,
		                            .gid = m->gid,
		                            .mode = m->has_mode ? m->mode & 07777 : 0777,
		                            .seals = m->seals,
		                            .fd = -1 };
	return 0;
}

static int note_memfds(struct objects *o, const uint8_t *img, size_t bytes)
{
	size_t at = 8, n;
	const uint8_t *msg;
	int r;

	while ((r = img_next(img, bytes, &at, &msg, &n)) > 0) {
		Cimg__MemfdInode *m = cimg__memfd_inode__unpack(NULL, n, msg);

		r = m ? note_memfd(o, m) : -EBADMSG;
		if (m)
			cimg__memfd_inode__free_unpacked(m, NULL);
		if (r < 0)
			break;
	}
	return r;
}

int img_objects(int dirfd, struct img_object **out, size_t *n, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	struct objects o = { 0 };
	struct err why = ERR_INIT;
	size_t bytes = 0;
	int r = img_load_framed(dirfd, IMAGE, MAGIC_MEMFD, &img, &bytes, &why);

	*out = NULL;
	*n = 0;
	if (r < 0 && why.code == ENOENT) /* there are none */
		return 0;
	if (r < 0) {
		*e = why;
		return r;
	}
	r = note_memfds(&o, img, bytes);
	if (r < 0) {
		free(o.v);
		return err_set(e, ERR_CRIU, -r, "image %s: %s", IMAGE, strerror(-r));
	}
	*out = o.v;
	*n = o.n;
	return 0;
}

/* ---- what takes its place ---- */

static void path_of(const struct placed *o, const struct img_object *x, char out[PATH_BYTES])
{
	snprintf(out, PATH_BYTES, "/proc/%d/fd/%d", o->pid, x->fd);
}

static const struct img_object *of_inode(const struct placed *o, uint64_t inode_id)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->v[i].inode_id == inode_id && o->v[i].fd >= 0)
			return &o->v[i];
	return NULL;
}

static Cimg__RegFile *new_reg(const struct placed *o, const struct img_object *x, uint32_t id)
{
	Cimg__RegFile *reg = malloc(sizeof(*reg));
	char *name = malloc(PATH_BYTES);

	if (!reg || !name) {
		free(reg);
		free(name);
		return NULL;
	}
	cimg__reg_file__init(reg);
	path_of(o, x, name);
	reg->id = id;
	reg->name = name;
	return reg;
}

/* A memory file: the descriptors and mappings that have it keep its number, flags and position. */
static int turn_memfd(void *arg, Cimg__File *f, struct err *e)
{
	struct placed *o = arg;
	const struct img_object *x = f->memfd ? of_inode(o, f->memfd->inode_id) : NULL;

	if (!x)
		return 0;
	Cimg__RegFile *reg = new_reg(o, x, f->id);

	if (!reg || array_grow(&o->turned, o->n_turned, &o->cap_turned, sizeof(*o->turned)) < 0) {
		if (reg)
			cimg__reg_file__free_unpacked(reg, NULL);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for shared memory");
	}
	reg->flags = f->memfd->flags;
	reg->pos = f->memfd->pos;
	reg->fown = steal(f->memfd->fown);
	cimg__memfd_file__free_unpacked(steal(f->memfd), NULL);
	f->reg = reg;
	f->type = TYPE_REG;
	o->turned[o->n_turned++] = f->id;
	return 1;
}

static bool is_turned(const struct placed *o, uint64_t file_id)
{
	for (size_t i = 0; i < o->n_turned; i++)
		if (o->turned[i] == file_id)
			return true;
	return false;
}

static int turn_vmas(const struct placed *o, pid_t pid, struct err *e)
{
	struct err why = ERR_INIT;
	char name[32];
	void *at = NULL;
	bool changed = false;

	snprintf(name, sizeof(name), "mm-%d.img", pid);
	int r = img_load_message(o->dirfd, name, MAGIC_MM, &cimg__mm__descriptor, &at, &why);

	if (r < 0 && why.code != ENOENT) /* a zombie has none */
		*e = why;
	if (r < 0)
		return why.code == ENOENT ? 0 : r;
	Cimg__Mm *mm = at;

	for (size_t i = 0; i < mm->n_vmas; i++) {
		Cimg__Vma *v = mm->vmas[i];

		if (!(v->status & STATUS_MEMFD) || !is_turned(o, v->shmid))
			continue;
		v->status &= ~STATUS_MEMFD;
		changed = true;
	}
	if (changed)
		r = img_save_message(o->dirfd, name, MAGIC_MM, &mm->base, e);
	cimg__mm__free_unpacked(mm, NULL);
	return r;
}

static int turn_mappings(const struct placed *o, struct err *e)
{
	AUTO(img_tree) struct img_tree tree = { 0 };
	int r = img_tree(o->dirfd, &tree, e);

	for (size_t i = 0; r == 0 && i < tree.n; i++)
		r = turn_vmas(o, tree.v[i].pid, e);
	return r;
}

/* A descriptor of a memory file is of a plain file now. */
static int turn_fd(void *arg, ProtobufCMessage *m, struct err *e)
{
	Cimg__Fdinfo *d = (Cimg__Fdinfo *)m;

	(void)e;
	if (d->type != TYPE_MEMFD || !is_turned(arg, d->id))
		return 0;
	d->type = TYPE_REG;
	return 1;
}

static int turn_table(struct placed *o, const char *name, struct err *e)
{
	const struct img_kind table = { name, MAGIC_FDINFO, &cimg__fdinfo__descriptor };

	return img_edit(o->dirfd, &table, turn_fd, o, e);
}

static int turn_tables(struct placed *o, struct err *e)
{
	int fd = openat(o->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	AUTO(dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *at;

	if (!d)
		return err_sys(e, "list images");
	while (r == 0 && (at = readdir(d)))
		if (!strncmp(at->d_name, "fdinfo-", strlen("fdinfo-")))
			r = turn_table(o, at->d_name, e);
	return r;
}

int img_place_objects(int dirfd, const struct img_object *v, size_t n, pid_t pid, struct err *e)
{
	struct placed o = { .dirfd = dirfd, .pid = pid, .v = v, .n = n };
	int r = img_edit_files(dirfd, turn_memfd, &o, e);

	if (r >= 0 && o.n_turned)
		r = turn_tables(&o, e);
	if (r >= 0 && o.n_turned)
		r = turn_mappings(&o, e);
	free(o.turned);
	return r < 0 ? r : 0;
}

/* ---- numbers that two have ---- */

struct numbers {
	int dirfd;
	uint32_t *v; /* of memory files */
	size_t n, cap;
};

static int note_number(void *arg, ProtobufCMessage *m, struct err *e)
{
	struct numbers *x = arg;

	if (array_grow(&x->v, x->n, &x->cap, sizeof(*x->v)) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for shared memory");
	x->v[x->n++] = ((const Cimg__MemfdInode *)m)->shmid;
	return 0;
}

static int check_segment(void *arg, ProtobufCMessage *m, struct err *e)
{
	const struct numbers *x = arg;
	uint32_t id = ((const Cimg__IpcShm *)m)->desc->id;

	for (size_t i = 0; i < x->n; i++)
		if (x->v[i] == id) {
			err_set(e, ERR_TARGET, EBUSY,
			        "the System V segment %u and other shared memory of the tree have "
			        "the same inode number, by which CRIU has mixed them up",
			        id);
			return err_fix(e,
			               "restart the program: its memory then has another number");
		}
	return 0;
}

static int check_segments(struct numbers *x, struct err *e)
{
	int fd = openat(x->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	AUTO(dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *at;

	if (!d)
		return err_sys(e, "list images");
	while (r == 0 && (at = readdir(d))) {
		const struct img_kind segments = { at->d_name, MAGIC_SEGMENTS,
			                           &cimg__ipc_shm__descriptor };

		if (!strncmp(at->d_name, "ipcns-shm-", strlen("ipcns-shm-")))
			r = img_edit(x->dirfd, &segments, check_segment, x, e);
	}
	return r;
}

int img_objects_differ(int dirfd, struct err *e)
{
	static const struct img_kind files = { IMAGE, MAGIC_MEMFD, &cimg__memfd_inode__descriptor };
	struct numbers x = { .dirfd = dirfd };

	if (faccessat(dirfd, IMAGE, F_OK, 0) < 0) /* there are none */
		return 0;
	int r = img_edit(dirfd, &files, note_number, &x, e);

	r = r < 0 ? r : check_segments(&x, e);
	free(x.v);
	return r;
}
