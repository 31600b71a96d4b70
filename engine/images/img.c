// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * img.c - CRIU's image files: their directory, the few images that haul reads, and the page maps
 * that it writes at the destination.
 *
 * Framing (CRIU images): u32 0x54564319, u32 type magic, then [u32 size][message] repeated, little
 * endian. pages-N.img has no framing.
 */
#include "engine/images/img.h"
#include "engine/images/img_priv.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/page.h"
#include "engine/images/class_runs.h"
#include "engine/images/images.pb-c.h"
#include "engine/store/store.h"

#define MAGIC_PAGEMAP   0x56084025u
#define MAGIC_PSTREE    0x50273030u
#define MAGIC_INVENTORY 0x58313116u
#define IMG_VERSION     2

#define IMG_FILE_MAX       (64u << 20)
#define COPY_PAGES         64
#define TASK_STATE_STOPPED 3

int img_dir(int *fd, struct err *e)
{
	AUTO(fd) int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs < 0)
		return err_sys(e, "fsopen tmpfs");
	if (fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0700", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(e, "fsconfig tmpfs");
	*fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (*fd < 0)
		return err_sys(e, "fsmount tmpfs");
	return 0;
}

bool img_name_ok(const char *name)
{
	size_t n = strlen(name);

	if (n < 5 || n > 64 || name[0] == '.' || strcmp(name + n - 4, ".img"))
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_' && *p != '.')
			return false;
	return strstr(name, "..") == NULL;
}

int img_load(int dirfd, const char *name, size_t max, uint8_t **data, size_t *bytes, struct err *e)
{
	AUTO(fd) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "image %s", name);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max)
		return err_set(e, ERR_CRIU, EFBIG, "image %s has %lld bytes", name,
		               (long long)st.st_size);
	AUTO(mem) uint8_t *buf = malloc((size_t)st.st_size + 1);

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for image %s", name);
	size_t got = 0;

	while (got < (size_t)st.st_size) {
		ssize_t n = read(fd, buf + got, (size_t)st.st_size - got);

		if (n <= 0)
			return err_sys(e, "read image %s", name);
		got += (size_t)n;
	}
	*data = steal(buf);
	*bytes = got;
	return 0;
}

static int write_full(int fd, const void *data, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = write(fd, (const char *)data + done, bytes - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		done += (size_t)n;
	}
	return 0;
}

int img_save_at(int dirfd, const char *name, uint64_t at, const void *data, size_t bytes,
                struct err *e)
{
	AUTO(fd)
	int fd = openat(dirfd, name,
	                O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (at ? 0 : O_TRUNC), 0600);

	if (fd < 0)
		return err_sys(e, "create image %s", name);
	if (lseek(fd, (off_t)at, SEEK_SET) < 0 || write_full(fd, data, bytes) < 0)
		return err_sys(e, "write image %s", name);
	return 0;
}

int img_save(int dirfd, const char *name, const void *data, size_t bytes, struct err *e)
{
	return img_save_at(dirfd, name, 0, data, bytes, e);
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void img_put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

int img_put_message(FILE *out, const ProtobufCMessage *m)
{
	uint8_t small[128];
	size_t n = protobuf_c_message_get_packed_size(m);
	AUTO(mem) uint8_t *large = n + 4 > sizeof(small) ? malloc(n + 4) : NULL;
	uint8_t *buf = large ? large : small;

	if (n + 4 > sizeof(small) && !large)
		return -ENOMEM;
	img_put_le32(buf, (uint32_t)n);
	protobuf_c_message_pack(m, buf + 4);
	return fwrite(buf, 1, n + 4, out) == n + 4 ? 0 : -EIO;
}

int img_next(const uint8_t *img, size_t bytes, size_t *at, const uint8_t **msg, size_t *n)
{
	if (*at == bytes)
		return 0;
	if (bytes - *at < 4)
		return -EBADMSG;
	*n = le32(img + *at);
	if (*n > bytes - *at - 4)
		return -EBADMSG;
	*msg = img + *at + 4;
	*at += 4 + *n;
	return 1;
}

int img_load_framed(int dirfd, const char *name, uint32_t magic, uint8_t **img, size_t *bytes,
                    struct err *e)
{
	int r = img_load(dirfd, name, IMG_FILE_MAX, img, bytes, e);

	if (r < 0)
		return r;
	if (*bytes < 8 || le32(*img) != MAGIC_COMMON || le32(*img + 4) != magic) {
		free(*img);
		*img = NULL;
		return err_set(e, ERR_CRIU, EBADMSG, "image %s has a wrong magic", name);
	}
	return 0;
}

int img_load_message(int dirfd, const char *name, uint32_t magic,
                     const ProtobufCMessageDescriptor *type, void **out, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	size_t bytes, at = 8, n;
	const uint8_t *msg;
	int r = img_load_framed(dirfd, name, magic, &img, &bytes, e);

	if (r < 0)
		return r;
	if (img_next(img, bytes, &at, &msg, &n) <= 0)
		return err_set(e, ERR_CRIU, EBADMSG, "image %s is cut short", name);
	*out = protobuf_c_message_unpack(type, NULL, n, msg);
	return *out ? 0 : err_set(e, ERR_CRIU, EBADMSG, "image %s makes no sense", name);
}

int img_save_message(int dirfd, const char *name, uint32_t magic, const ProtobufCMessage *m,
                     struct err *e)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	AUTO(mem) uint8_t *img = malloc(12 + n);

	if (!img)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for image %s", name);
	img_put_le32(img, MAGIC_COMMON);
	img_put_le32(img + 4, magic);
	img_put_le32(img + 8, (uint32_t)n);
	protobuf_c_message_pack(m, img + 12);
	return img_save(dirfd, name, img, 12 + n, e);
}

int img_unpack_core(int dirfd, pid_t tid, Cimg__Core **out, struct err *e)
{
	void *core = NULL;
	char name[32];

	snprintf(name, sizeof(name), "core-%d.img", tid);
	int r = img_load_message(dirfd, name, MAGIC_CORE, &cimg__core__descriptor, &core, e);

	*out = core;
	return r;
}

int img_save_core(int dirfd, pid_t tid, const Cimg__Core *c, struct err *e)
{
	char name[32];

	snprintf(name, sizeof(name), "core-%d.img", tid);
	return img_save_message(dirfd, name, MAGIC_CORE, &c->base, e);
}

static int add_task(struct img_tree *t, const Cimg__Pstree *p)
{
	struct img_task *v = realloc(t->v, (t->n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	t->v = v;
	struct img_task *task = &v[t->n];

	task->pid = (pid_t)p->pid;
	task->n_threads = (unsigned int)p->n_threads;
	task->threads = calloc(p->n_threads + 1, sizeof(pid_t));
	if (!task->threads)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_threads; i++)
		task->threads[i] = (pid_t)p->threads[i];
	t->n++;
	return 0;
}

int img_tree(int dirfd, struct img_tree *out, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	size_t bytes, at = 8, n;
	const uint8_t *msg;
	int r = img_load_framed(dirfd, "pstree.img", MAGIC_PSTREE, &img, &bytes, e);

	if (r < 0)
		return r;
	while ((r = img_next(img, bytes, &at, &msg, &n)) > 0) {
		Cimg__Pstree *p = cimg__pstree__unpack(NULL, n, msg);

		r = p ? add_task(out, p) : -EBADMSG;
		if (p)
			cimg__pstree__free_unpacked(p, NULL);
		if (r < 0)
			break;
	}
	if (r < 0) {
		img_tree_fini(out);
		return err_set(e, ERR_CRIU, -r, "image pstree.img: %s", strerror(-r));
	}
	return 0;
}

void img_tree_fini(struct img_tree *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i].threads);
	free(t->v);
	memset(t, 0, sizeof(*t));
}

int img_core(int dirfd, pid_t tid, struct img_core *out, struct err *e)
{
	Cimg__Core *c = NULL;
	int r = img_unpack_core(dirfd, tid, &c, e);

	memset(out, 0, sizeof(*out));
	if (r < 0)
		return r;
	if (c->thread_core && c->thread_core->rseq_entry)
		out->rseq = c->thread_core->rseq_entry->rseq_abi_pointer;
	out->stopped = c->tc && c->tc->task_state == TASK_STATE_STOPPED;
	cimg__core__free_unpacked(c, NULL);
	return 0;
}

/* Return: 1 the thread had one; 0; -code of @e */
static int forget_parent_death(int dirfd, pid_t tid, struct err *e)
{
	Cimg__Core *c = NULL;
	int r = img_unpack_core(dirfd, tid, &c, e);

	if (r < 0)
		return r;
	if (c->thread_core && c->thread_core->pdeath_sig) {
		c->thread_core->has_pdeath_sig = false;
		r = img_save_core(dirfd, tid, c, e);
		r = r < 0 ? r : 1;
	}
	cimg__core__free_unpacked(c, NULL);
	return r;
}

int img_forget_parent_death(int dirfd, const struct img_task *root, struct err *e)
{
	int found = 0;

	for (unsigned int k = 0; k < root->n_threads; k++) {
		int r = forget_parent_death(dirfd, root->threads[k], e);

		if (r < 0)
			return r;
		found += r;
	}
	return found;
}

void img_forget_cgroups(int dirfd)
{
	unlinkat(dirfd, "cgroup.img", 0);
}

/* ---- an earlier dump that never was ---- */

int img_parent(int dirfd, const char *name, struct err *e)
{
	Cimg__Inventory inv = CIMG__INVENTORY__INIT;
	uint8_t img[64];

	/* no process may be younger than that: CRIU would dump it completely */
	inv.img_version = IMG_VERSION;
	inv.has_dump_uptime = true;
	inv.dump_uptime = INT64_MAX;
	size_t n = cimg__inventory__get_packed_size(&inv);

	/* the only image that begins with its own magic */
	img_put_le32(img, MAGIC_INVENTORY);
	img_put_le32(img + 4, (uint32_t)n);
	cimg__inventory__pack(&inv, img + 8);
	if (mkdirat(dirfd, name, 0700) < 0)
		return err_sys(e, "make %s", name);
	AUTO(fd) int dir = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? err_sys(e, "%s", name) : img_save(dir, "inventory.img", img, 8 + n, e);
}

/* ---- writing page maps ---- */

struct img_out {
	FILE *map;
	int pages;
	const struct sobj *store;
	uint8_t *buf;
};

int img_put_pages(FILE *f, uint64_t vaddr, uint64_t pages, uint32_t flags)
{
	Cimg__PagemapEntry m = CIMG__PAGEMAP_ENTRY__INIT;

	m.vaddr = vaddr;
	m.nr_pages32 = (uint32_t)pages;
	m.has_nr_pages = true;
	m.nr_pages = pages;
	m.has_flags = true;
	m.flags = flags;
	return img_put_message(f, &m.base);
}

static int put_eager(struct img_out *o, const struct class_run *run, struct err *e)
{
	for (uint64_t done = 0; done < run->pages;) {
		size_t n = run->pages - done > COPY_PAGES ? COPY_PAGES
		                                          : (size_t)(run->pages - done);
		int r = store_read(o->store, run->vaddr + done * PAGE_BYTES, o->buf, n, e);

		if (r < 0)
			return err_wrap(e, "page map");
		if (write_full(o->pages, o->buf, n * PAGE_BYTES) < 0)
			return err_sys(e, "write pages image");
		done += n;
	}
	return 0;
}

/* Lazy runs, here or remote, look the same to CRIU: merge neighbours. */
static int put_runs(struct img_out *o, const struct class_runs *runs, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < runs->n;) {
		uint64_t vaddr = runs->v[i].vaddr, pages = 0;
		bool eager = runs->v[i].class == PC_EAGER;

		while (i < runs->n && runs->v[i].vaddr == vaddr + pages * PAGE_BYTES &&
		       (runs->v[i].class == PC_EAGER) == eager &&
		       pages + runs->v[i].pages <= UINT32_MAX) {
			if (eager && (r = put_eager(o, &runs->v[i], e)) < 0)
				return r;
			pages += runs->v[i++].pages;
		}
		if (pages == 0)
			return err_set(e, ERR_BUG, ERANGE, "page map run too long");
		r = img_put_pages(o->map, vaddr, pages, eager ? PE_PRESENT : PE_LAZY);
	}
	return r < 0 ? err_set(e, ERR_SYS, -r, "write page map: %s", strerror(-r)) : 0;
}

static FILE *create(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (!f && fd >= 0)
		close(fd);
	return f;
}

int img_pagemap(int dirfd, uint64_t obj, uint32_t id, const struct class_runs *runs,
                const struct sobj *o, struct err *e)
{
	Cimg__PagemapHead head = CIMG__PAGEMAP_HEAD__INIT;
	char map_name[48], pages_name[48];
	uint8_t magic[8];

	snprintf(map_name, sizeof(map_name), "pagemap-%s%llu.img",
	         obj_is_shmem(obj) ? "shmem-" : "", (unsigned long long)obj_id(obj));
	snprintf(pages_name, sizeof(pages_name), "pages-%u.img", id);
	AUTO(file) FILE *map = create(dirfd, map_name);
	AUTO(fd)
	int pages = openat(dirfd, pages_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	AUTO(mem) uint8_t *buf = malloc(COPY_PAGES * PAGE_BYTES);

	if (!map || pages < 0 || !buf)
		return err_sys(e, "create %s", map_name);
	img_put_le32(magic, MAGIC_COMMON);
	img_put_le32(magic + 4, MAGIC_PAGEMAP);
	head.pages_id = id;
	if (fwrite(magic, 1, 8, map) != 8 || img_put_message(map, &head.base) < 0)
		return err_sys(e, "write %s", map_name);
	struct img_out out = { .map = map, .pages = pages, .store = o, .buf = buf };
	int r = put_runs(&out, runs, e);

	if (r)
		return r;
	if (fflush(map) != 0)
		r = err_sys(e, "write %s", map_name);
	return r;
}
