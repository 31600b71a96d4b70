// SPDX-License-Identifier: GPL-2.0-or-later
/* dirs.c - directories that move: judge the offer, stage them, apply batches. docs/FILES.md. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/dirs/priv.h"
#include "agent/files/beneath.h"
#include "agent/mig/mig.h"
#include "agent/check/allow.h"
#include "common/clock.h"
#include "common/conf.h"

#define SPARE_PERCENT    2
#define NS_IN_S          1000000000ull
#define APPLIED_LIMIT_MS 10000

/* ---- the offer ---- */

static bool is_empty(int parent, const char *name)
{
	int fd = beneath_open(parent, name, O_RDONLY | O_DIRECTORY, 0, false);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	int n = 0;

	while (d && n < 3 && readdir(d))
		n++;
	if (d)
		closedir(d);
	return d && n <= 2;
}

/* Room for every directory on the file system of @k; said once, at the first of them. */
static void judge_room(const struct dirs_in *s, size_t k, struct findings *f)
{
	const struct dirs_in_root *r = &s->root[k];
	uint64_t bytes = 0, inodes = 0;
	struct statvfs v;

	for (size_t i = 0; i < s->n; i++)
		if (s->root[i].parent_st.st_dev == r->parent_st.st_dev) {
			if (i < k)
				return;
			bytes += s->root[i].bytes;
			inodes += s->root[i].inodes;
		}
	if (fstatvfs(r->parent_fd, &v) < 0)
		return;
	uint64_t room = (uint64_t)v.f_bavail * v.f_frsize;

	if (bytes + bytes / 100 * SPARE_PERCENT > room)
		finding_add(f, SEV_BLOCKER, "fs-space", "make room there, or --exclude something",
		            "%s/%s needs %llu MiB, %llu MiB are free", r->parent, r->name,
		            (unsigned long long)(bytes >> 20), (unsigned long long)(room >> 20));
	if (v.f_files && inodes > v.f_favail)
		finding_add(f, SEV_BLOCKER, "fs-inodes", "make room there, or --exclude something",
		            "%s/%s needs %llu inodes, %llu are free", r->parent, r->name,
		            (unsigned long long)inodes, (unsigned long long)v.f_favail);
}

/* Does something have this name already? */
static void judge_there(const Haul__TreeRoot *t, const struct dirs_in_root *r, struct findings *f)
{
	struct statx x, above;

	if (statx(r->parent_fd, r->name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &x) <
	    0)
		return;
	statx(r->parent_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &above);
	uint64_t birth = (uint64_t)x.stx_btime.tv_sec * NS_IN_S + x.stx_btime.tv_nsec;

	if (!S_ISDIR(x.stx_mode))
		finding_add(f, SEV_BLOCKER, "fs-taken", "move it away",
		            "%s/%s exists and is not a directory", r->parent, r->name);
	else if (x.stx_ino == t->inode && birth && birth == t->birth_ns)
		finding_add(f, SEV_BLOCKER, "fs-shared",
		            "leave out --fs for it: nothing has to travel",
		            "%s/%s is the same directory on both hosts", r->parent, r->name);
	else if (x.stx_dev_major != above.stx_dev_major || x.stx_dev_minor != above.stx_dev_minor ||
	         x.stx_attributes & x.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)
		finding_add(f, SEV_BLOCKER, "fs-mounted", "name a directory in it by --fs",
		            "%s/%s is a mount point there: it cannot be replaced", r->parent,
		            r->name);
	else if (!t->replace && !is_empty(r->parent_fd, r->name))
		finding_add(f, SEV_BLOCKER, "fs-exists",
		            "--fs-replace takes its place, once the process runs there",
		            "%s/%s exists and is not empty", r->parent, r->name);
}

/* The record holds one path a line. Return: the path, to be freed; NULL */
static char *take_path(const ProtobufCBinaryData *p)
{
	bool fits = p->len && p->len < BATCH_PATH_MAX_BYTES && !memchr(p->data, 0, p->len) &&
	            !memchr(p->data, '\n', p->len);
	char *path = fits ? strndup((const char *)p->data, p->len) : NULL;

	if (path && allow_clean(path))
		return path;
	free(path);
	return NULL;
}

static int take_root(struct wrk *w, const Haul__TreeRoot *t, struct findings *f, struct err *e)
{
	struct dirs_in *s = w->fs;
	struct dirs_in_root *r = &s->root[s->n];
	char list[CONF_VALUE_BYTES] = "", dir[PATH_MAX], above[PATH_MAX];
	AUTO(mem) char *path = take_path(&t->path);

	if (!path)
		return err_set(e, ERR_PEER, EBADMSG, "a directory with a path that is not allowed");
	if (conf_get(w->conf->config, CONF_FS_ALLOW, list, sizeof(list), e) < 0)
		return -e->code;
	long n = allow_dir(list, chan_peer(w->ctl), path);

	if (n < 0)
		return finding_add(f, SEV_BLOCKER, "fs-not-allowed",
		                   "there, in haul.conf: fs-allow = DIR, a directory above it",
		                   "%s: the destination lets nothing be written there by this key",
		                   path);
	const char *rest = path + n + 1;
	char *slash = strrchr(path, '/');

	snprintf(dir, sizeof(dir), "%.*s", n ? (int)n : 1, path);
	snprintf(above, sizeof(above), "%.*s", rest > slash ? 0 : (int)(slash - rest), rest);
	AUTO(fd) int top = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	r->parent_fd = top < 0 ? -1 : beneath_open(top, above, O_RDONLY | O_DIRECTORY, 0, true);
	if (r->parent_fd < 0) {
		*slash = 0;
		return finding_add(f, SEV_BLOCKER, "fs-parent",
		                   "make it there; symbolic links below the allowed directory are "
		                   "not followed",
		                   "%s cannot be written: its parent %s there: %s", slash + 1, path,
		                   strerror(errno));
	}
	r->name = strdup(slash + 1);
	*slash = 0;
	r->parent = strdup(path);
	if (!r->name || !r->parent)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	snprintf(r->box, sizeof(r->box), ".haul-%016llx-tree%zu", (unsigned long long)w->route,
	         s->n);
	if (fstat(r->parent_fd, &r->parent_st) < 0)
		return err_sys(e, "%s", r->parent);
	r->bytes = t->bytes < INT64_MAX / DIRS_IN_ROOTS_MAX ? t->bytes
	                                                    : INT64_MAX / DIRS_IN_ROOTS_MAX;
	r->inodes = t->inodes < INT64_MAX / DIRS_IN_ROOTS_MAX ? t->inodes
	                                                      : INT64_MAX / DIRS_IN_ROOTS_MAX;
	s->n++;
	judge_there(t, r, f);
	return 0;
}

int dirs_in_offer(struct wrk *w, const Haul__Offer *o, struct findings *f, struct err *e)
{
	int r = 0;

	if (!o->n_tree)
		return 0;
	if (o->n_tree > DIRS_IN_ROOTS_MAX)
		return err_set(e, ERR_PEER, E2BIG, "%zu directories", o->n_tree);
	w->fs = calloc(1, sizeof(*w->fs));
	if (!w->fs)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	w->fs->route = w->route;
	w->fs->record_fd = w->fs->at.dir_fd = w->fs->at.file_fd = -1;
	pthread_mutex_init(&w->fs->lock, NULL);
	for (size_t i = 0; i < DIRS_IN_ROOTS_MAX; i++)
		w->fs->root[i].parent_fd = w->fs->root[i].box_fd = w->fs->root[i].top_fd = -1;
	for (size_t i = 0; r == 0 && i < o->n_tree; i++)
		r = take_root(w, o->tree[i], f, e);
	for (size_t i = 0; r == 0 && i < w->fs->n; i++)
		judge_room(w->fs, i, f);
	return r;
}

int dirs_in_stage(struct dirs_in *s, struct settle *on, struct err *e)
{
	int r = s ? dirs_in_record(s, false, e) : 0;

	for (size_t i = 0; s && r == 0 && i < s->n; i++) {
		r = dirs_in_record_root(s, &s->root[i], e);
		if (r < 0)
			return r;
		r = dirs_in_box(s, &s->root[i], e);
		if (r < 0)
			return r;
		settle_note(on, s->root[i].top_fd);
	}
	return r;
}

void dirs_in_fini(struct wrk *w, bool committed)
{
	if (!w->fs)
		dirs_in_adopt(w->route, committed);
	dirs_in_end(w->fs);
	dirs_in_free(steal(w->fs));
}

/* ---- operations ---- */

static int say_applied(struct chan *ch, uint32_t pass, struct err *e)
{
	Haul__Applied a = HAUL__APPLIED__INIT;

	a.pass = pass;
	return wire_say(ch, HAUL__MSG__BODY_APPLIED, &a, deadline_in_ms(APPLIED_LIMIT_MS), e);
}

static int apply_ops(struct dirs_in *s, const Haul__TreeOps *ops, struct chan *ch, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ops->n_op; i++) {
		const Haul__TreeOp *op = ops->op[i];

		r = batch_op_ok(op, e);
		if (r < 0)
			return r;
		r = op->kind == HAUL__TREE_KIND__TREE_PASS
		            ? say_applied(ch, (uint32_t)op->offset, e)
		            : dirs_in_apply(s, op, e);
	}
	return r;
}

static int apply_batch(struct dirs_in *s, const Haul__Batch *b, struct chan *ch, struct err *e)
{
	Haul__TreeOps *ops = NULL;
	int r = batch_unpack(b, &ops, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	r = s->closed
	            ? err_set(e, ERR_PEER, EPROTO, "files after the directories were put in place")
	            : apply_ops(s, ops, ch, e);
	pthread_mutex_unlock(&s->lock);
	haul__tree_ops__free_unpacked(ops, NULL);
	return r;
}

int dirs_in_loop(struct dirs_in *s, struct chan *ch, struct err *e)
{
	for (;;) {
		Haul__Msg *msg = NULL;
		int r = wire_recv(ch, &msg, DEADLINE_NEVER, e);

		if (r < 0)
			return r;
		r = msg->body_case == HAUL__MSG__BODY_BATCH
		            ? apply_batch(s, msg->batch, ch, e)
		            : err_set(e, ERR_PEER, EPROTO, "message %d on the connection for files",
		                      (int)msg->body_case);
		haul__msg__free_unpacked(msg, NULL);
		if (r < 0)
			return r;
	}
}
