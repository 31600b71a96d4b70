// SPDX-License-Identifier: GPL-2.0-or-later
/* img_ttys.c - terminals whose numbers are taken here get others, before CRIU opens them. */
#include "engine/images/img_priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "engine/images/images.pb-c.h"

#define TTY_INFO       "tty-info.img"
#define MAGIC_TTY_INFO 0x59453036u
#define HEAD_BYTES     8

struct renumber {
	uint32_t from[IMG_PTS_MAX], to[IMG_PTS_MAX];
	size_t n;
};

static bool is_taken(uint32_t number)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/pts/%u", number);
	return access(path, F_OK) == 0;
}

/* Return: the row of @from in the table, which gets one if there is room; NULL */
static uint32_t *row_of(struct renumber *r, uint32_t from)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->from[i] == from)
			return &r->to[i];
	if (r->n == IMG_PTS_MAX)
		return NULL;
	r->from[r->n] = from;
	return &r->to[r->n++];
}

/* CRIU opens terminals until it has the right number, at most 32: so the lowest that are free. */
static void choose(struct renumber *r)
{
	uint32_t next = 0;
	bool keep = true;

	for (size_t i = 0; i < r->n; i++)
		keep &= !is_taken(r->from[i]) && r->from[i] < IMG_PTS_TRIES;
	for (size_t i = 0; i < r->n; i++) {
		while (!keep && is_taken(next))
			next++;
		r->to[i] = keep ? r->from[i] : next++;
		if (r->to[i] != r->from[i])
			log_info("the terminal pts/%u has the number %u here", r->from[i],
			         r->to[i]);
	}
}

/* @out: NULL: only note the numbers. Return: 0; -errno */
static int each_info(const uint8_t *img, size_t bytes, struct renumber *r, FILE *out)
{
	size_t at = HEAD_BYTES, n;
	const uint8_t *msg;
	int rc;

	while ((rc = img_next(img, bytes, &at, &msg, &n)) > 0) {
		Cimg__TtyInfo *t = cimg__tty_info__unpack(NULL, n, msg);
		uint32_t *to = t && t->pty ? row_of(r, t->pty->index) : NULL;
		int put = 0;

		if (!t)
			return -EBADMSG;
		if (to && out)
			t->pty->index = *to;
		if (out)
			put = img_put_message(out, &t->base);
		cimg__tty_info__free_unpacked(t, NULL);
		if (put < 0)
			return put;
	}
	return rc;
}

static int rename_file(void *arg, Cimg__File *f, struct err *e)
{
	struct renumber *r = arg;
	const char *at = f->reg ? strstr(f->reg->name, "/pts/") : NULL;
	uint32_t number;
	int end = 0;
	char *name;

	if (!at || sscanf(at, "/pts/%u%n", &number, &end) != 1 || at[end])
		return 0;
	uint32_t *to = row_of(r, number);

	if (!to || *to == number)
		return 0;
	if (asprintf(&name, "%.*s/pts/%u", (int)(at - f->reg->name), f->reg->name, *to) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for terminals");
	free(f->reg->name);
	f->reg->name = name;
	return 1;
}

int img_renumber_ttys(int dirfd, struct err *e)
{
	AUTO(mem) uint8_t *img = NULL;
	AUTO(mem) char *text = NULL;
	struct renumber r = { .n = 0 };
	size_t bytes, n = 0;
	int rc = img_load_framed(dirfd, TTY_INFO, MAGIC_TTY_INFO, &img, &bytes, e);

	if (rc == -ENOENT) {
		err_clear(e);
		return 0;
	}
	if (rc == 0 && each_info(img, bytes, &r, NULL) < 0)
		rc = err_set(e, ERR_CRIU, EBADMSG, "image %s makes no sense", TTY_INFO);
	if (rc < 0)
		return rc;
	choose(&r);
	AUTO(file) FILE *out = open_memstream(&text, &n);

	if (!out || fwrite(img, 1, HEAD_BYTES, out) != HEAD_BYTES ||
	    each_info(img, bytes, &r, out) < 0 || fflush(out) != 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for terminals");
	rc = img_edit_files(dirfd, rename_file, &r, e);
	return rc < 0 ? rc : img_save(dirfd, TTY_INFO, text, n, e);
}
