// SPDX-License-Identifier: GPL-2.0-or-later
/* img_fds.c - the descriptors of a dumped tree: ids-PID.img names each task's table, fdinfo-ID.img has it. */
#include "engine/images/img_priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/array.h"

#define MAGIC_IDS 0x54432030u
#define FIRST     8 /* message of an image */

struct fds {
	int dirfd;
	uint32_t *tables; /* that were read: threads and the like share one */
	size_t n_tables, cap_tables;
	img_fd_fn fn;
	void *arg;
	struct err *e;
};

static int files_id(struct fds *p, pid_t pid, uint32_t *id)
{
	AUTO(mem) uint8_t *img = NULL;
	const uint8_t *msg;
	size_t bytes, n, at = FIRST;
	char name[32];

	*id = 0;
	snprintf(name, sizeof(name), "ids-%d.img", pid);
	int r = img_load_framed(p->dirfd, name, MAGIC_IDS, &img, &bytes, p->e);

	if (r == -ENOENT) {
		err_clear(p->e);
		return 0; /* a zombie */
	}
	if (r < 0 || img_next(img, bytes, &at, &msg, &n) <= 0)
		return r;
	Cimg__TaskIds *ids = cimg__task_ids__unpack(NULL, n, msg);

	*id = ids ? ids->files_id : 0;
	cimg__task_ids__free_unpacked(ids, NULL);
	return 0;
}

static int read_table(struct fds *p, pid_t pid, uint32_t id)
{
	AUTO(mem) uint8_t *img = NULL;
	const uint8_t *msg;
	size_t bytes, n, at = FIRST;
	char name[32];

	snprintf(name, sizeof(name), "fdinfo-%u.img", id);
	int r = img_load_framed(p->dirfd, name, MAGIC_FDINFO, &img, &bytes, p->e);

	if (r < 0)
		return r;
	while ((r = img_next(img, bytes, &at, &msg, &n)) > 0) {
		Cimg__Fdinfo *d = cimg__fdinfo__unpack(NULL, n, msg);

		r = d ? p->fn(p->arg, pid, d) : -EBADMSG;
		cimg__fdinfo__free_unpacked(d, NULL);
		if (r < 0)
			return err_set(p->e, ERR_CRIU, -r, "image %s: %s", name, strerror(-r));
	}
	return 0;
}

static int look_task(struct fds *p, pid_t pid)
{
	uint32_t id;
	int r = files_id(p, pid, &id);

	if (r < 0 || !id)
		return r;
	for (size_t i = 0; i < p->n_tables; i++)
		if (p->tables[i] == id)
			return 0;
	if (array_grow(&p->tables, p->n_tables, &p->cap_tables, sizeof(*p->tables)) < 0)
		return err_set(p->e, ERR_SYS, ENOMEM, "no memory for descriptors");
	p->tables[p->n_tables++] = id;
	return read_table(p, pid, id);
}

int img_each_fd(int dirfd, const struct img_tree *tree, img_fd_fn fn, void *arg, struct err *e)
{
	struct fds p = { .dirfd = dirfd, .fn = fn, .arg = arg, .e = e };
	int r = 0;

	for (size_t i = 0; r == 0 && i < tree->n; i++)
		r = look_task(&p, tree->v[i].pid);
	free(p.tables);
	return r;
}
