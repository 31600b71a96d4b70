// SPDX-License-Identifier: GPL-2.0-or-later
/* before.c - judge by the images what CRIU will make, before it runs: users, sockets, files without a name. */
#include "agent/gate/before.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/check/files.h"
#include "agent/files/bring.h"
#include "agent/gate/here.h"
#include "agent/mig/mig.h"
#include "engine/images/held.h"
#include "engine/images/img.h"
#include "engine/images/img_pins.h"

#define DELETED " (deleted)"

static void dir_of(const char *path, char dir[PATH_MAX])
{
	snprintf(dir, PATH_MAX, "%s", path);
	char *slash = strrchr(dir, '/');

	slash[slash == dir] = 0;
}

/*
 * CRIU makes a file that has lost its name anew: as root, with its name, and for a moment it can be seen. Only where
 * @id could make one, or where root did at the source: a directory with the same owner and mode, which the tree cannot
 * change.
 */
bool before_may_make(const struct wrk *w, const struct rights_id *id, const char *path)
{
	const struct rights_file was = { .uid = id->uid, .gid = id->gid };
	char dir[PATH_MAX];
	struct stat st;

	dir_of(path, dir);
	if (rights_create(&w->rights, path, &was, NULL) == 0)
		return true;
	const struct bring_file *f = bring_find(w->bring, dir);

	return f && rights_guarded(&w->rights, dir) == 0 && lstat(dir, &st) == 0 &&
	       st.st_uid == f->uid && st.st_gid == f->gid &&
	       (st.st_mode & 07777) == (f->mode & 07777);
}

/* Memory that is shared by descriptors or System V calls looks like a file in the root directory. */
bool before_is_kernels(const char *path)
{
	/* the name of a memfd may have any character */
	return !strchr(path + 1, '/') || !strcmp(path, "/dev/zero" DELETED) ||
	       !strncmp(path, "/memfd:", 7);
}

/* ---- files without a name ---- */

/* Who may start the file would have its owner's rights: the owner must be there. */
static bool has_owner(const struct rights *r, const struct img_ghost *g)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].uid == g->uid && (!(g->mode & S_ISGID) || r->v[i].gid == g->gid))
			return true;
	return !r->owned && rights_all_root(r);
}

/* No device, and no program that gives rights, comes to a user because she has it open. */
static int judge_kind(const struct wrk *w, const struct img_reg *f, struct err *e)
{
	struct img_ghost g;
	char path[256];
	int r = f->ghost ? img_ghost_open(w->images_fd, f->ghost, &g, e) : -ENOENT;

	if (r < 0)
		return f->ghost ? r : 0;
	close(g.fd);
	files_clean(f->name, path, sizeof(path));
	if ((S_ISCHR(g.mode) || S_ISBLK(g.mode)) &&
	    (w->rights.owned || !rights_all_root(&w->rights)))
		return err_set(e, ERR_TARGET, EACCES,
		               "%s is a device that has lost its name: it is not for the processes "
		               "of a user",
		               path);
	if (S_ISREG(g.mode) && g.mode & (S_ISUID | S_ISGID) && !has_owner(&w->rights, &g))
		return err_set(
		        e, ERR_TARGET, EACCES,
		        "%s, which has lost its name, runs as user %u, group %u: no process of "
		        "theirs is moved",
		        path, g.uid, g.gid);
	return 0;
}

static int judge_ghost(const struct wrk *w, const char *name, struct err *e)
{
	char path[256];

	for (size_t i = 0; i < w->rights.n; i++)
		if (before_is_kernels(name) || before_may_make(w, &w->rights.v[i], name))
			return 0;
	files_clean(name, path, sizeof(path));
	err_set(e, ERR_TARGET, EACCES,
	        "no process of the tree may make %s, which has lost its name, there", path);
	return err_fix(e,
	               "give its directory there the owner, group and mode it has at the source");
}

int before_ghosts(const struct wrk *w, struct err *e)
{
	for (size_t i = 0; i < w->regs.n; i++) {
		const struct img_reg *g = &w->regs.v[i];

		if (g->nameless && g->name[0] == '/' &&
		    (judge_ghost(w, g->name, e) < 0 || judge_kind(w, g, e) < 0))
			return err_code(e);
	}
	return 0;
}

/* ---- mounts ---- */

int before_mounts(const struct wrk *w, struct err *e)
{
	return here_has_mounts(w->images_fd)
	               ? err_set(e, ERR_PEER, EBADMSG,
	                         "images of a mount namespace, which was not offered")
	               : 0;
}

/* ---- users ---- */

static int judge_thread(const struct wrk *w, pid_t tid, struct err *e)
{
	struct img_creds c;
	int r = img_creds(w->images_fd, tid, &c, e);

	if (r < 0)
		return r == -ENODATA ? 0 : r;
	struct uids_thread t = { .uid = c.uids,
		                 .n_uid = ARRAY_SIZE(c.uids),
		                 .gid = c.gids,
		                 .n_gid = ARRAY_SIZE(c.gids),
		                 .group = c.groups,
		                 .n_group = c.n_groups,
		                 .caps = c.caps_any };

	r = uids_judge(&w->uids, &t, e);
	img_creds_fini(&c);
	return r < 0 ? err_wrap(e, "pid %d", tid) : 0;
}

int before_users(struct wrk *w, struct err *e)
{
	struct img_tree tree = { 0 };

	if (!w->uids.limited && !w->uids.owned)
		return 0;
	int r = img_tree(w->images_fd, &tree, e);

	for (size_t i = 0; r == 0 && i < tree.n; i++)
		for (unsigned int k = 0; r == 0 && k < tree.v[i].n_threads; k++)
			r = judge_thread(w, tree.v[i].threads[k], e);
	img_tree_fini(&tree);
	return r;
}

/* ---- UNIX sockets ---- */

/* Does a program of this host have a socket at @path? */
static bool is_in_use(const char *path)
{
	AUTO(mem) char *line = NULL;
	AUTO(file) FILE *f = fopen("/proc/self/net/unix", "re");
	size_t cap = 0, n = strlen(path);

	while (f && getline(&line, &cap, f) > 0) {
		char *at = strchr(line, '/');

		line[strcspn(line, "\n")] = 0;
		if (at && strlen(at) == n && !strcmp(at, path))
			return true;
	}
	return false;
}

const struct rights_id *before_binder(const struct rights *r, const char *path, uint32_t uid,
                                      const struct stat *old)
{
	static const struct rights_id root = { .caps = UINT64_MAX };
	const struct rights_id *best = NULL;
	char dir[PATH_MAX];
	struct stat st;

	dir_of(path, dir);
	for (size_t i = 0; i < r->n; i++) {
		const struct rights_id *id = &r->v[i];
		AUTO(fd) int fd = rights_open(id, dir, true, W_OK | X_OK, &st);

		if (fd < 0 || (old && !rights_is_root(id) && old->st_uid != id->uid))
			continue;
		if (!best || rights_is_root(best) || (id->uid == uid && !rights_is_root(id)))
			best = id;
	}
	if (best || r->owned || uid != 0 || (old && old->st_uid != 0))
		return best;
	return rights_guarded(r, dir) == 0 ? &root : NULL;
}

static int judge_socket(const struct wrk *w, const struct img_socket *s, struct err *e)
{
	char path[sizeof(s->path)];
	struct stat st;
	bool old = lstat(s->path, &st) == 0;

	files_clean(s->path, path, sizeof(path));
	if (old && (!S_ISSOCK(st.st_mode) || is_in_use(s->path))) {
		err_set(e, ERR_TARGET, EADDRINUSE, "UNIX socket %s is in use at the destination",
		        path);
		return err_fix(e, "end the program that listens there");
	}
	if (before_binder(&w->rights, s->path, s->uid, old ? &st : NULL))
		return 0;
	err_set(e, ERR_TARGET, EACCES, "no process of the tree may bind the UNIX socket %s there",
	        path);
	return err_fix(e,
	               "give its directory there the owner, group and mode it has at the source");
}

int before_sockets(struct wrk *w, struct err *e)
{
	struct img_socket *v = NULL;
	size_t n = 0;
	int r = img_sockets(w->images_fd, &v, &n, e);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = v[i].outside ? 0 : judge_socket(w, &v[i], e);
	free(v);
	return r;
}
