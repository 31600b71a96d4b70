// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fanotify.c - which inodes change, by fanotify on whole file systems. An event names a file by its
 * file handle; a thread keeps the queue short and drops events of other files.
 */
#include "hauler/dirs/priv.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/statfs.h>
#include <unistd.h>

#define EVENTS                                                                                     \
	(FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM |    \
	 FAN_MOVED_TO | FAN_ONDIR)
#define EVENT_BYTES  512
#define READ_BYTES   (256u << 10)
#define HANDLE_BYTES 128

struct slot {
	XXH128_hash_t key;
	void *obj; /* NULL: free, or dropped when the key is not zero */
	bool dirty;
};

struct dirs_watch {
	pthread_mutex_t lock;
	pthread_t thread;
	bool running;
	int fd, stop_fd;
	struct slot *slot;
	size_t n_slots, used;
	XXH128_hash_t *dirty;
	size_t n_dirty, cap_dirty;
	bool overflow;
	uint8_t *buf;
};

static bool no_key(XXH128_hash_t k)
{
	return !k.low64 && !k.high64;
}

static struct slot *slot_of(const struct dirs_watch *w, XXH128_hash_t key)
{
	for (size_t i = key.low64 & (w->n_slots - 1);; i = (i + 1) & (w->n_slots - 1))
		if (no_key(w->slot[i].key) || XXH128_isEqual(w->slot[i].key, key))
			return &w->slot[i];
}

static int grow(struct dirs_watch *w)
{
	struct slot *old = w->slot;
	size_t n = w->n_slots;
	struct slot *v = calloc(n ? n * 2 : 4096, sizeof(*v));

	if (!v)
		return -ENOMEM;
	w->slot = v;
	w->n_slots = n ? n * 2 : 4096;
	w->used = 0;
	for (size_t i = 0; i < n; i++)
		if (old[i].obj) {
			*slot_of(w, old[i].key) = old[i];
			w->used++;
		}
	free(old);
	return 0;
}

int dirs_watch_add(struct dirs_watch *w, XXH128_hash_t key, void *obj)
{
	if (!w)
		return 0;
	pthread_mutex_lock(&w->lock);
	int r = (w->used + 1) * 2 > w->n_slots ? grow(w) : 0;
	struct slot *s = r == 0 ? slot_of(w, key) : NULL;

	if (s) {
		w->used += no_key(s->key);
		*s = (struct slot){ .key = key, .obj = obj, .dirty = s->dirty };
	}
	pthread_mutex_unlock(&w->lock);
	return r;
}

void dirs_watch_drop(struct dirs_watch *w, XXH128_hash_t key, const void *obj)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	struct slot *s = slot_of(w, key);

	if (s->obj == obj)
		s->obj = NULL;
	pthread_mutex_unlock(&w->lock);
}

static void note(struct dirs_watch *w, XXH128_hash_t key)
{
	struct slot *s = slot_of(w, key);

	if (!s->obj || s->dirty)
		return;
	if (w->n_dirty == w->cap_dirty) {
		size_t cap = w->cap_dirty ? w->cap_dirty * 2 : 1024;
		XXH128_hash_t *v = realloc(w->dirty, cap * sizeof(*v));

		if (!v) {
			w->overflow = true;
			return;
		}
		w->dirty = v;
		w->cap_dirty = cap;
	}
	s->dirty = true;
	w->dirty[w->n_dirty++] = key;
}

static XXH128_hash_t key_of(const struct file_handle *h, uint64_t fsid)
{
	uint8_t raw[sizeof(int) + HANDLE_BYTES] = { 0 };
	size_t n = h->handle_bytes < HANDLE_BYTES ? h->handle_bytes : HANDLE_BYTES;

	memcpy(raw, &h->handle_type, sizeof(int));
	memcpy(raw + sizeof(int), h->f_handle, n);
	XXH128_hash_t k = XXH3_128bits_withSeed(raw, sizeof(int) + n, fsid);

	k.high64 |= 1; /* never the empty key */
	return k;
}

static uint64_t fsid_word(const void *fsid)
{
	uint64_t v;

	memcpy(&v, fsid, sizeof(v));
	return v;
}

static void take_event(struct dirs_watch *w, const struct fanotify_event_metadata *m)
{
	const struct fanotify_event_info_fid *fid = (const void *)(m + 1);

	if (m->mask & FAN_Q_OVERFLOW) {
		w->overflow = true;
		return;
	}
	if (m->event_len < sizeof(*m) + sizeof(*fid) ||
	    fid->hdr.info_type != FAN_EVENT_INFO_TYPE_FID)
		return;
	note(w, key_of((const void *)fid->handle, fsid_word(&fid->fsid)));
}

/* Events in the buffer are not aligned. */
static void take_events(struct dirs_watch *w, size_t bytes)
{
	union {
		struct fanotify_event_metadata head;
		uint8_t all[EVENT_BYTES];
	} one;

	for (size_t at = 0; bytes - at >= sizeof(one.head); at += one.head.event_len) {
		size_t left = bytes - at;

		memcpy(&one, w->buf + at, left < sizeof(one) ? left : sizeof(one));
		if (one.head.event_len < sizeof(one.head) || one.head.event_len > left)
			return;
		if (one.head.event_len > sizeof(one))
			w->overflow =
			        true; /* longer than any handle: we cannot tell what changed */
		else
			take_event(w, &one.head);
	}
}

/* Take all events in the queue. Lock is held. */
static void drain(struct dirs_watch *w)
{
	for (;;) {
		ssize_t n = read(w->fd, w->buf, READ_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			w->overflow = true;
		if (n <= 0)
			return;
		take_events(w, (size_t)n);
	}
}

static void *watch_main(void *arg)
{
	struct dirs_watch *w = arg;

	for (;;) {
		struct pollfd p[2] = { { .fd = w->stop_fd, .events = POLLIN },
			               { .fd = w->fd, .events = POLLIN } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents)
			return NULL;
		pthread_mutex_lock(&w->lock);
		drain(w);
		pthread_mutex_unlock(&w->lock);
		usleep(10000); /* the kernel merges equal events meanwhile */
	}
}

int dirs_watch_take(struct dirs_watch *w, void ***out, size_t *n, bool *all, struct err *e)
{
	pthread_mutex_lock(&w->lock);
	drain(w);
	void **v = malloc((w->n_dirty + 1) * sizeof(*v));

	*n = 0;
	for (size_t i = 0; v && i < w->n_dirty; i++) {
		struct slot *s = slot_of(w, w->dirty[i]);

		s->dirty = false;
		if (s->obj)
			v[(*n)++] = s->obj;
	}
	if (v)
		w->n_dirty = 0;
	*all = w->overflow;
	w->overflow = false;
	pthread_mutex_unlock(&w->lock);
	*out = v;
	return v ? 0 : err_set(e, ERR_SYS, ENOMEM, "no memory for changed files");
}

uint64_t dirs_watch_fsid(int fd)
{
	struct statfs s;

	return fstatfs(fd, &s) < 0 ? 0 : fsid_word(&s.f_fsid);
}

int dirs_watch_key(int dirfd, const char *name, uint64_t fsid, XXH128_hash_t *out)
{
	union {
		struct file_handle h;
		uint8_t room[sizeof(struct file_handle) + HANDLE_BYTES];
	} u = { .h.handle_bytes = HANDLE_BYTES };
	int mount;

	if (name_to_handle_at(dirfd, name, &u.h, &mount, *name ? 0 : AT_EMPTY_PATH) < 0)
		return -errno;
	*out = key_of(&u.h, fsid);
	return 0;
}

int dirs_watch_mark(struct dirs_watch *w, int fd, struct err *why)
{
	char path[64];
	XXH128_hash_t key;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fanotify_mark(w->fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, EVENTS, AT_FDCWD, path) < 0)
		return err_sys(why, "fanotify on this file system");
	return dirs_watch_key(fd, "", dirs_watch_fsid(fd), &key) < 0 ? err_sys(why, "file handles")
	                                                             : 0;
}

int dirs_watch_new(struct dirs_watch **out, struct err *why)
{
	struct dirs_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return err_set(why, ERR_SYS, ENOMEM, "no memory");
	w->fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_UNLIMITED_QUEUE |
	                              FAN_NONBLOCK | FAN_CLOEXEC,
	                      O_RDONLY | O_CLOEXEC);
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	w->buf = malloc(READ_BYTES);
	pthread_mutex_init(&w->lock, NULL);
	int r = w->fd < 0 || w->stop_fd < 0 ? err_sys(why, "fanotify")
	        : !w->buf || grow(w) < 0    ? err_set(why, ERR_SYS, ENOMEM, "no memory")
	                                    : 0;

	if (r == 0 && pthread_create(&w->thread, NULL, watch_main, w))
		r = err_set(why, ERR_SYS, EAGAIN, "thread for changes of files");
	w->running = r == 0;
	if (r < 0)
		dirs_watch_free(steal(w));
	*out = w;
	return r;
}

void dirs_watch_free(struct dirs_watch *w)
{
	uint64_t one = 1;

	if (!w)
		return;
	if (w->running && write(w->stop_fd, &one, sizeof(one)) > 0)
		pthread_join(w->thread, NULL);
	if (w->fd >= 0)
		close(w->fd);
	if (w->stop_fd >= 0)
		close(w->stop_fd);
	free(w->slot);
	free(w->dirty);
	free(w->buf);
	free(w);
}
