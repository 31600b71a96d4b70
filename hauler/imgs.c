// SPDX-License-Identifier: GPL-2.0-or-later
/* imgs.c - CRIU's images on their way to the destination: in SWITCH, large ones ahead of it. */
#include "hauler/imgs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"

#define IMAGE_BYTES_MAX  (48u << 20)
#define IMAGE_PART_BYTES (4u << 20)

void imgs_fini(struct imgs *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i]->name);
		free(l->v[i]->data.data);
		free(l->v[i]);
	}
	free(l->v);
}

static int add_image(struct imgs *l, int dirfd, const char *name, struct err *e)
{
	Haul__Image *img = malloc(sizeof(*img));
	Haul__Image **v = realloc(l->v, (l->n + 1) * sizeof(*v));

	if (v)
		l->v = v;
	if (!img || !v) {
		free(img);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for images");
	}
	haul__image__init(img);
	l->v[l->n++] = img;
	img->data.data = NULL;
	img->name = strdup(name);
	int r = img_load(dirfd, name, IMAGE_BYTES_MAX - l->bytes, &img->data.data, &img->data.len,
	                 e);

	l->bytes += r == 0 ? img->data.len : 0;
	return r < 0 || img->name ? r : err_set(e, ERR_SYS, ENOMEM, "no memory for images");
}

int imgs_load(struct mig *m, struct imgs *l, struct err *e)
{
	int fd = openat(m->images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(dir) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct stat st;

	if (!d)
		return err_sys(e, "images");
	for (struct dirent *de; (de = readdir(d));) {
		if (!img_name_ok(de->d_name) || fstatat(fd, de->d_name, &st, 0) < 0 ||
		    st.st_size > IMAGE_PART_BYTES)
			continue;
		int r = add_image(l, m->images_fd, de->d_name, e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- large ones ---- */

static int send_part(struct mig *m, const char *name, uint8_t *buf, size_t n, struct err *e)
{
	Haul__Msg msg = HAUL__MSG__INIT;
	Haul__Image part = HAUL__IMAGE__INIT;

	part.name = (char *)name;
	part.data.data = buf;
	part.data.len = n;
	msg.body_case = HAUL__MSG__BODY_PART;
	msg.part = &part;
	return wire_send(m->ctl, &msg, mig_deadline(m), e);
}

static int send_parts(struct mig *m, int dirfd, const char *name, struct err *e)
{
	AUTO(fd) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO(mem) uint8_t *buf = malloc(IMAGE_PART_BYTES);
	ssize_t n;
	int r = 0;

	if (fd < 0 || !buf)
		return err_sys(e, "image %s", name);
	while (r == 0 && (n = read(fd, buf, IMAGE_PART_BYTES)) > 0)
		r = send_part(m, name, buf, (size_t)n, e);
	return r < 0 || n == 0 ? r : err_sys(e, "read image %s", name);
}

int imgs_send_large(struct mig *m, struct err *e)
{
	int fd = openat(m->images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(dir) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct stat st;
	int r = 0;

	if (!d)
		return err_sys(e, "images");
	for (struct dirent *de; r == 0 && (de = readdir(d));)
		if (img_name_ok(de->d_name) && fstatat(fd, de->d_name, &st, 0) == 0 &&
		    st.st_size > IMAGE_PART_BYTES)
			r = send_parts(m, fd, de->d_name, e);
	return r;
}
