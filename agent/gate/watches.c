// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * watches.c - files that are watched. CRIU would open them by their paths, as root, through any link: a user would
 * learn the names of files in directories that she may not read.
 */
#include "agent/gate/watches.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/berth/berth.h"
#include "agent/check/files.h"
#include "agent/gate/holders.h"
#include "common/array.h"
#include "common/log.h"
#include "engine/images/held.h"
#include "engine/images/img_watches.h"
#include "engine/proc/proc.h"

#define NAME_BYTES 40
#define FLAGS      (IN_ONESHOT | IN_EXCL_UNLINK)

/* A watch with flags that CRIU leaves out: which descriptor it belongs to, and a copy of ours of what it watches. */
struct flagged {
	pid_t pid;
	int fd, by;
	uint32_t mask;
};

/* A worker has one tree. */
static struct {
	struct flagged *v;
	size_t n, cap;
} flagged;

static int note_flags(const struct img_watches *l, const struct img_watched *v, int by)
{
	for (size_t i = 0; i < l->n_who; i++) {
		if (l->who[i].type != v->type || l->who[i].id != v->id || !(v->mask & FLAGS))
			continue;
		if (array_grow(&flagged.v, flagged.n, &flagged.cap, sizeof(*flagged.v)) < 0)
			return -ENOMEM;
		int copy = fcntl(by, F_DUPFD_CLOEXEC, 0);

		if (copy < 0)
			return -errno;
		flagged.v[flagged.n++] = (struct flagged){ l->who[i].pid, l->who[i].fd, copy,
			                                   v->mask };
		return 0;
	}
	return 0;
}

static int refuse(const char *path, uint32_t uid, const char *why, struct err *e)
{
	char clean[256];

	files_clean(path, clean, sizeof(clean));
	err_set(e, ERR_TARGET, EACCES, "a watch of %s: user %u %s", clean, uid, why);
	return err_fix(e, "give the user the right there, or end the watch");
}

/* Return: a descriptor, the caller's; -errno with @e */
static int find(const struct img_watched *v, const struct rights_id *id, struct err *e)
{
	struct stat st;

	/* the group that root makes for it here would show more than the user's own */
	if (v->fanotify && !(id->caps >> CAP_SYS_ADMIN & 1))
		return refuse(v->path, id->uid, "may not use fanotify as root does", e);
	int fd = rights_open(id, v->path, true, R_OK, &st);

	if (fd == -EACCES || fd == -ELOOP)
		return refuse(v->path, id->uid, "may not watch it at the destination", e);
	if (fd < 0)
		return refuse(v->path, id->uid,
		              fd == -ENOENT ? "has it at the source only" : strerror(-fd), e);
	return fd;
}

static int find_as(const struct wrk *w, const struct img_watched *v, pid_t pid, struct err *e)
{
	struct img_creds c;
	int r = img_creds(w->images_fd, pid, &c, e);

	if (r < 0)
		return r;
	const struct rights_id id = { c.uid, c.gid, c.groups, c.n_groups, c.caps };

	r = find(v, &id, e);
	img_creds_fini(&c);
	return r;
}

/* All who have the descriptor may. Return: the descriptor of what is watched, the caller's; -errno with @e */
static int find_for_all(const struct wrk *w, const struct img_watches *l,
                        const struct img_watched *v, struct err *e)
{
	AUTO(fd) int fd = -1;

	if (!v->path || v->path[0] != '/')
		return err_set(e, ERR_TARGET, ENOTSUP, "a watch of a file whose name is not known");
	for (size_t i = 0; i < l->n_who; i++) {
		if (l->who[i].type != v->type || l->who[i].id != v->id)
			continue;
		int got = find_as(w, v, l->who[i].pid, e);

		if (got < 0)
			return got;
		if (fd >= 0)
			close(fd);
		fd = got;
	}
	return fd < 0 ? err_set(e, ERR_TARGET, ENOTSUP,
	                        "a watch that waits in the queue of a UNIX socket")
	              : steal_fd(&fd);
}

static int keep_one(struct wrk *w, const struct img_watches *l, const struct img_watched *v,
                    size_t *kept, struct err *e)
{
	AUTO(fd) int fd = find_for_all(w, l, v, e);
	int r = fd < 0 ? fd : note_flags(l, v, fd);

	if (fd >= 0 && r < 0)
		err_set(e, ERR_SYS, -r, "a watch of %s: %s", v->path, strerror(-r));
	return r < 0 ? r : holders_keep(w, steal_fd(&fd), kept, e);
}

static int keep_all(struct wrk *w, const struct img_watches *l, size_t *kept, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->n; i++)
		r = keep_one(w, l, &l->v[i], &kept[i], e);
	return r < 0 ? r : holders_done(w, e);
}

static int name_all(const struct wrk *w, const size_t *kept, char **name, size_t n, struct err *e)
{
	char out[HOLDERS_NAME_BYTES];

	for (size_t i = 0; i < n; i++) {
		holders_name(w, kept[i], NULL, out);
		name[i] = strdup(out);
		if (!name[i])
			return err_set(e, ERR_SYS, ENOMEM, "no memory for watches");
	}
	return img_watch_by(w->images_fd, name, n, e);
}

int watches_pin(struct wrk *w, struct err *e)
{
	struct img_watches l = { 0 };
	int r = img_watches(w->images_fd, &l, e);
	AUTO(mem) size_t *kept = calloc(l.n + 1, sizeof(*kept));
	char **name = calloc(l.n + 1, sizeof(*name));

	if (r == 0 && l.n)
		r = name && kept ? keep_all(w, &l, kept, e)
		                 : err_set(e, ERR_SYS, ENOMEM, "no memory for watches");
	if (r == 0 && l.n)
		r = name_all(w, kept, name, l.n, e);
	for (size_t i = 0; name && i < l.n; i++)
		free(name[i]);
	free(name);
	img_watches_fini(&l);
	return r;
}

/* A watch of what is watched already changes that watch, and keeps its number. */
void watches_set(const struct wrk *w)
{
	char path[NAME_BYTES];

	for (size_t i = 0; i < flagged.n; i++) {
		const struct flagged *f = &flagged.v[i];
		AUTO(fd) int fd = procs_copy_fd(berth_pid(w, f->pid), f->fd);

		snprintf(path, sizeof(path), "/proc/self/fd/%d", f->by);
		if (fd >= 0 && inotify_add_watch(fd, path, f->mask & (IN_ALL_EVENTS | FLAGS)) < 0)
			log_warn("descriptor %d of pid %d: flags of a watch are lost: %s", f->fd,
			         f->pid, strerror(errno));
		close(f->by);
	}
	free(steal(flagged.v));
	flagged.n = flagged.cap = 0;
}
