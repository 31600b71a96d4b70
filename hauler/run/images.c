// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * images.c - send CRIU's images as they are written, while CRIU still dumps. A file is sent when it
 * is closed, and again when it was opened and closed again.
 */
#include "hauler/run/priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "transport/msg/haul.pb-c.h"

#define IMAGE_PART_BYTES (8u << 20)
#define EVENT_BYTES      16384

struct gone {
	char *name;
	size_t bytes;
};

struct images {
	struct mig *m;
	int notify, stop;
	pthread_t thread;
	bool running;
	bool lost; /* the kernel dropped events: send everything again */
	void *gone; /* for tsearch(): struct gone by name; there are several for each process */
	uint8_t *part; /* IMAGE_PART_BYTES */
	int result;
	struct err err;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct gone *)a)->name, ((const struct gone *)b)->name);
}

static void gone_free(void *arg)
{
	struct gone *g = arg;

	free(g->name);
	free(g);
}

/* @make: if there is none yet. Return: NULL: none, or no memory */
static struct gone *gone_of(struct images *s, const char *name, bool make)
{
	struct gone key = { .name = (char *)name };
	struct gone **at = tfind(&key, &s->gone, by_name);
	struct gone *g = at || !make ? NULL : calloc(1, sizeof(*g));

	if (at || !g)
		return at ? *at : NULL;
	g->name = strdup(name);
	if (g->name && tsearch(g, &s->gone, by_name))
		return g;
	gone_free(g);
	return NULL;
}

static int send_part(struct images *s, const struct gone *g, uint64_t at, uint8_t *data, size_t n,
                     struct err *e)
{
	Haul__Images images = HAUL__IMAGES__INIT;
	Haul__Image img = HAUL__IMAGE__INIT, *one = &img;

	img.name = g->name;
	img.at = at;
	img.data.data = data;
	img.data.len = n;
	images.n_image = 1;
	images.image = &one;
	return wire_say(s->m->link.ctl, HAUL__MSG__BODY_IMAGES, &images, mig_deadline(s->m), e);
}

/* In parts: a deleted file may be as large as CRIU_GHOST_MAX_BYTES. */
static int send_one(struct images *s, const char *name, struct err *e)
{
	AUTO(fd) int fd = openat(s->m->dump.images_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct gone *g = gone_of(s, name, true);
	ssize_t n = 0;
	int r = 0;

	if (!g)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for images");
	if (fd < 0)
		return err_sys(e, "image %s", name);
	g->bytes = 0;
	do {
		n = read(fd, s->part, IMAGE_PART_BYTES);
		if (n > 0 || (n == 0 && g->bytes == 0))
			r = send_part(s, g, g->bytes, s->part, (size_t)n, e);
		g->bytes += n > 0 ? (size_t)n : 0;
	} while (r == 0 && n > 0);
	return r < 0 || n == 0 ? r : err_sys(e, "read image %s", name);
}

/* Return: 0 when no event is left */
static int take_events(struct images *s, struct err *e)
{
	_Alignas(struct inotify_event) char buf[EVENT_BYTES];
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = read(s->notify, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0; r == 0 && at < n;) {
			const struct inotify_event *ev = (const void *)(buf + at);

			s->lost |= (ev->mask & IN_Q_OVERFLOW) != 0;
			if (ev->len && img_name_ok(ev->name))
				r = send_one(s, ev->name, e);
			at += (ssize_t)(sizeof(*ev) + ev->len);
		}
	return r;
}

static void *images_main(void *arg)
{
	struct images *s = arg;
	struct pollfd p[2] = { { .fd = s->notify, .events = POLLIN },
		               { .fd = s->stop, .events = POLLIN } };

	while (s->result == 0 && !p[1].revents) {
		s->result = take_events(s, &s->err);
		if (s->result == 0 && poll(p, 2, -1) < 0 && errno != EINTR)
			break;
	}
	return NULL;
}

int images_start(struct mig *m, struct err *e)
{
	struct images *s = m->dump.images = calloc(1, sizeof(*s));
	char path[40];

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for images");
	s->m = m;
	s->part = malloc(IMAGE_PART_BYTES);
	s->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	s->stop = eventfd(0, EFD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->dump.images_fd);
	if (!s->part)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for images");
	if (s->notify < 0 || s->stop < 0 || inotify_add_watch(s->notify, path, IN_CLOSE_WRITE) < 0)
		return err_sys(e, "watch the images");
	int r = pthread_create(&s->thread, NULL, images_main, s);

	s->running = r == 0;
	return r ? err_set(e, ERR_SYS, r, "thread for images") : 0;
}

static void end_thread(struct images *s)
{
	if (!s->running)
		return;
	eventfd_write(s->stop, 1);
	pthread_join(s->thread, NULL);
	s->running = false;
}

/*
 * Events are not relied on: send every file of the directory that was not sent in its present form.
 */
static int send_rest(struct images *s, struct err *e)
{
	int fd = openat(s->m->dump.images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(dir) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	int r = d ? 0 : err_sys(e, "images");

	for (struct dirent *de; r == 0 && (de = readdir(d));) {
		struct stat st;

		if (!img_name_ok(de->d_name))
			continue;
		if (fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(e, "image %s", de->d_name);
		const struct gone *g = gone_of(s, de->d_name, false);

		if (s->lost || !g || g->bytes != (size_t)st.st_size)
			r = send_one(s, de->d_name, e);
	}
	return r;
}

int images_end(struct mig *m, struct err *e)
{
	struct images *s = m->dump.images;

	end_thread(s);
	if (s->result < 0) {
		*e = s->err;
		return s->result;
	}
	int r = take_events(s, e);

	return r == 0 ? send_rest(s, e) : r;
}

void images_free(struct images *s)
{
	if (!s)
		return;
	end_thread(s);
	tdestroy(s->gone, gone_free);
	free(s->part);
	if (s->notify >= 0)
		close(s->notify);
	if (s->stop >= 0)
		close(s->stop);
	free(s);
}
