// SPDX-License-Identifier: GPL-2.0-or-later
/* img_eventfds.c - counts of eventfds that are greater than CRIU can give a new one. */
#include <stdlib.h>

#include "common/array.h"
#include "engine/images/img_priv.h"
#include "engine/images/images.pb-c.h"

struct counts {
	uint32_t type; /* CRIU's of an eventfd; 0: none is so great */
	struct count {
		uint32_t id;
		uint64_t more;
	} * v;
	size_t n, cap;
	struct img_eventfd *out;
	size_t n_out, cap_out;
};

static int find(void *arg, Cimg__File *f, struct err *e)
{
	struct counts *c = arg;

	if (!f->efd || f->efd->counter <= UINT32_MAX)
		return 0;
	if (array_grow(&c->v, c->n, &c->cap, sizeof(*c->v)) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for eventfds");
	c->type = f->type;
	c->v[c->n++] = (struct count){ f->id, f->efd->counter & ~(uint64_t)UINT32_MAX };
	return 0;
}

/* The first process that has it is enough. */
static int note(void *arg, pid_t pid, const Cimg__Fdinfo *d)
{
	struct counts *c = arg;

	for (size_t i = 0; d->type == c->type && i < c->n; i++) {
		if (c->v[i].id != d->id || !c->v[i].more)
			continue;
		if (array_grow(&c->out, c->n_out, &c->cap_out, sizeof(*c->out)) < 0)
			return -ENOMEM;
		c->out[c->n_out++] = (struct img_eventfd){ pid, (int)d->fd, c->v[i].more };
		c->v[i].more = 0;
	}
	return 0;
}

int img_eventfds(int dirfd, struct img_eventfd **out, size_t *n, struct err *e)
{
	AUTO(img_tree) struct img_tree tree = { 0 };
	struct counts c = { 0 };
	int r = img_edit_files(dirfd, find, &c, e);

	if (r == 0 && c.n)
		r = img_tree(dirfd, &tree, e);
	if (r == 0 && c.n)
		r = img_each_fd(dirfd, &tree, note, &c, e);
	free(c.v);
	if (r < 0) {
		free(c.out);
		return r;
	}
	*out = c.out;
	*n = c.n_out;
	return 0;
}
