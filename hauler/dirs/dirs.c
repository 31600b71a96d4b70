// SPDX-License-Identifier: GPL-2.0-or-later
/* dirs.c - directories that move with the process, as steps of a migration: docs/FILES.md. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/host/reopen.h"
#include "hauler/dirs/priv.h"
#include "hauler/mig/mig.h"
#include "transport/msg/haul.pb-c.h"

#define SETTLE_PASSES  8
#define SETTLED_US     30000 /* after a pass this short little is left for the freeze */
#define FROZEN_PASSES  5 /* processes outside the tree may still write there */
#define APPLY_LIMIT_MS 600000
#define SEND_LIMIT_MS  120000 /* without progress, while the tree runs */
#define NS_IN_S        1000000000ull

/* ---- life ---- */

static int open_root(struct dirs *f, const char *path, struct err *e)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW,
		                .resolve = RESOLVE_NO_SYMLINKS };
	struct dirs_root *r = &f->root[f->n_roots];

	r->path = path;
	r->number = (uint32_t)f->n_roots;
	/* a real path: whoever owns a directory above may have put a link there since */
	r->fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	if (r->fd < 0)
		return err_sys(e, "--fs=%s", path);
	f->n_roots++;
	r->fsid = dirs_watch_fsid(r->fd);
	return 0;
}

/* Watch all directories or none: without a watch times are compared, and the report says so. */
static void start_watch(struct dirs *f)
{
	struct err why = ERR_INIT;
	int r = getenv("HAUL_FS_NO_WATCH") ? err_set(&why, ERR_USER, EPERM, "HAUL_FS_NO_WATCH")
	                                   : dirs_watch_new(&f->watch, &why);

	for (size_t i = 0; r == 0 && i < f->n_roots; i++)
		r = dirs_watch_mark(f->watch, f->root[i].fd, &why);
	if (r < 0) {
		dirs_watch_free(steal(f->watch));
		log_warn("changed files are found by their times: %s", why.msg);
	}
	f->st.watch = f->watch ? "fanotify" : "times";
}

/* @o: borrowed */
static int new_dirs(struct dirs **out, const struct dirs_opts *o, struct err *e)
{
	AUTO(dirs) struct dirs *f = calloc(1, sizeof(*f));
	int r = 0;

	if (!f)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for files");
	f->opt = o;
	if (getrandom(&f->seed, sizeof(f->seed), 0) != sizeof(f->seed))
		return err_sys(e, "getrandom");
	for (size_t i = 0; r == 0 && i < o->n_dirs; i++)
		r = open_root(f, o->dir[i], e);
	if (r)
		return r;
	start_watch(f);
	for (size_t i = 0; r == 0 && i < f->n_roots; i++)
		r = dirs_top(f, &f->root[i], e);
	if (r)
		return r;
	r = dirs_scan(f, e);
	if (r)
		return r;
	for (size_t i = 0; i < f->n_roots; i++) {
		f->st.bytes += f->root[i].bytes;
		f->st.inodes += f->root[i].inodes;
	}
	*out = steal(f);
	return 0;
}

void dirs_cancel(struct dirs *f)
{
	if (!f)
		return;
	__atomic_store_n(&f->stop, true, __ATOMIC_RELAXED);
	if (f->ch)
		chan_cancel(f->ch);
}

void dirs_free(struct dirs *f)
{
	if (!f)
		return;
	if (f->running && !f->joined) {
		dirs_cancel(f);
		pthread_join(f->thread, NULL);
	}
	dirs_watch_free(f->watch);
	dirs_bury(f);
	for (size_t i = 0; i < f->n_roots; i++)
		dirs_table_free(&f->root[i]);
	free(f->scan.v);
	free(f->fresh.v);
	free(f->dirty.v);
	free(f->gone.v);
	free(f->due.v);
	free(f->mapped);
	free(f->op);
	free(f->arena);
	free(f->buf);
	chan_free(f->ch);
	free(f);
}

const struct dirs_stats *dirs_get_stats(const struct dirs *f)
{
	return f ? &f->st : NULL;
}

/* ---- the offer ---- */

/* Its path at the destination, which may be below another root directory. */
static int map_root(const struct mig *m, struct dirs_root *r, struct findings *out)
{
	const char *from = inspect_root_dir(m->insp), *to = m->opt->into_root;

	if (!to)
		snprintf(r->there, sizeof(r->there), "%s", r->path);
	else if (root_map(r->path, from, to, r->there, sizeof(r->there)) < 0)
		return finding_add(
		        out, SEV_BLOCKER, "into-root", "name a directory below it by --fs",
		        "--fs=%s does not lie below the tree's root directory %s", r->path, from);
	return 0;
}

static Haul__TreeRoot *offer_root(const struct dirs *f, size_t i)
{
	Haul__TreeRoot *t = malloc(sizeof(*t));
	struct statx x;

	if (!t)
		return NULL;
	haul__tree_root__init(t);
	t->path.data = (uint8_t *)f->root[i].there;
	t->path.len = strlen(f->root[i].there);
	t->bytes = f->root[i].bytes;
	t->inodes = f->root[i].inodes;
	t->replace = f->opt->replace;
	if (statx(f->root[i].fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &x) == 0) {
		t->inode = x.stx_ino;
		t->birth_ns = (uint64_t)x.stx_btime.tv_sec * NS_IN_S + x.stx_btime.tv_nsec;
	}
	return t;
}

int dirs_look(struct mig *m, struct err *e)
{
	struct dirs *f = NULL;
	uint64_t t0 = now_us();

	if (!m->opt->fs.n_dirs)
		return 0;
	int r = new_dirs(&f, &m->opt->fs, e);

	if (r == 0)
		f->st.look_us = now_us() - t0;
	pthread_mutex_lock(&m->halt.lock);
	m->dirs = f;
	pthread_mutex_unlock(&m->halt.lock);
	return r;
}

int dirs_offer(struct mig *m, Haul__Offer *o, struct findings *out, struct err *e)
{
	struct dirs *f = m->dirs;

	if (!f)
		return 0;
	if (f->other_mounts)
		finding_add(out, SEV_WARNING, "fs-mount",
		            "to move it, too, name it by a --fs of its own",
		            "%s is a mount point: its files do not move (%u mount points)",
		            f->other_mount, f->other_mounts);
	o->tree = calloc(f->n_roots, sizeof(Haul__TreeRoot *));
	for (size_t i = 0; o->tree && i < f->n_roots; i++) {
		if (map_root(m, &f->root[i], out) < 0)
			break;
		o->tree[i] = offer_root(f, i);
		if (!o->tree[i])
			break;
		o->n_tree++;
	}
	if (o->n_tree != f->n_roots)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	return 0;
}

void dirs_offer_free(Haul__Offer *o)
{
	for (size_t i = 0; i < o->n_tree; i++)
		free(o->tree[i]);
	free(o->tree);
	o->tree = NULL;
	o->n_tree = 0;
}

/* ---- passes ---- */

static int applied(struct mig *m, unsigned int number, uint64_t deadline_us, struct err *e)
{
	Haul__Msg *msg = NULL;
	int r = talk_expect(m, m->dirs->ch, HAUL__MSG__BODY_APPLIED, &msg, deadline_us, e);

	if (r < 0)
		return r;
	if (msg->applied->pass != number)
		r = err_set(e, ERR_PEER, EPROTO, "pass %u of files, not %u", msg->applied->pass,
		            number);
	haul__msg__free_unpacked(msg, NULL);
	return r;
}

static int look_again(struct dirs *f, struct err *e)
{
	void **v = NULL;
	size_t n = 0;
	bool all = !f->watch;
	int r = f->watch ? dirs_watch_take(f->watch, &v, &n, &all, e) : 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		if (dirs_mark_dirty(f, v[i]) < 0)
			r = err_set(e, ERR_SYS, ENOMEM, "no memory");
	free(v);
	if (r < 0)
		return r;
	if (f->watch && all)
		log_warn("file events were lost: every file is checked");
	return all ? dirs_look_all(f, e) : dirs_scan(f, e);
}

static bool nothing_to_do(const struct dirs *f)
{
	return !f->fresh.n && !f->dirty.n && !f->gone.n && !f->due.n;
}

static int pass(struct mig *m, bool first, struct err *e)
{
	struct dirs *f = m->dirs;
	uint64_t t0 = now_us(), files = f->st.sent_files, bytes = f->st.sent_bytes;
	int r = dirs_mark_open(f, m->opt->pid, first, e);

	f->leases = reopen_leased(0);
	if (r < 0)
		return r;
	r = first ? 0 : look_again(f, e);
	if (r < 0)
		return r;
	uint64_t t1 = now_us();

	r = dirs_send_pass(f, f->st.passes + 1, e);
	if (r < 0)
		return r;
	f->st.passes++;
	log_info("files pass=%u files=%llu bytes=%llu look_us=%llu us=%llu", f->st.passes,
	         (unsigned long long)(f->st.sent_files - files),
	         (unsigned long long)(f->st.sent_bytes - bytes), (unsigned long long)(t1 - t0),
	         (unsigned long long)(now_us() - t0));
	return applied(m, f->st.passes,
	               f->deadline_us ? f->deadline_us : deadline_in_ms(APPLY_LIMIT_MS), e);
}

int dirs_first(struct mig *m, struct err *e)
{
	struct chan *ch = NULL;
	uint64_t t0 = now_us();

	if (!m->dirs)
		return 0;
	int r = talk_files(m, &ch, e);

	pthread_mutex_lock(&m->halt.lock);
	m->dirs->ch = ch;
	m->dirs->send = m->pages.send;
	if (m->halt.stop && r == 0)
		r = err_set(e, ERR_STOPPED, ECANCELED, "stopped");
	pthread_mutex_unlock(&m->halt.lock);
	if (r == 0) {
		chan_silence(ch, SEND_LIMIT_MS);
		r = pass(m, true, e);
	}
	m->dirs->st.first_us = now_us() - t0;
	return r < 0 ? err_wrap(e, "files") : 0;
}

int dirs_settle(struct mig *m, struct err *e)
{
	uint64_t last = UINT64_MAX;
	int r = 0;

	for (unsigned int i = 0; m->dirs && r == 0 && i < SETTLE_PASSES; i++) {
		uint64_t t0 = now_us();

		r = pass(m, false, e);

		uint64_t us = now_us() - t0;

		if (us < SETTLED_US || us > last / 4 * 3)
			break;
		last = us;
	}
	return r < 0 ? err_wrap(e, "files") : 0;
}

/* ---- while the tree is stopped ---- */

/* Repeat until a look finds nothing: processes outside the tree may write there. */
static int last_passes(struct mig *m, struct err *e)
{
	struct dirs *f = m->dirs;
	int r = pass(m, false, e);

	for (unsigned int i = 1; r == 0 && f->watch && i < FROZEN_PASSES; i++) {
		r = look_again(f, e);
		if (r < 0 || nothing_to_do(f))
			return r;
		log_info("files: a process outside the tree writes to the directories");
		r = pass(m, false, e);
	}
	return r;
}

static void *frozen_main(void *arg)
{
	struct mig *m = arg;
	struct dirs *f = m->dirs;
	uint64_t t0 = now_us(), bytes = f->st.sent_bytes;

	f->result = last_passes(m, &f->err);
	f->st.frozen_us = now_us() - t0;
	f->st.frozen_bytes = f->st.sent_bytes - bytes;
	return NULL;
}

int dirs_frozen(struct mig *m, struct err *e)
{
	if (!m->dirs || m->dirs->running)
		return 0;
	m->dirs->deadline_us = mig_deadline(m);
	int r = pthread_create(&m->dirs->thread, NULL, frozen_main, m);

	m->dirs->running = r == 0;
	return r ? err_set(e, ERR_SYS, r, "thread for files") : 0;
}

int dirs_wait(struct mig *m, struct err *e)
{
	struct dirs *f = m->dirs;

	if (!f)
		return 0;
	pthread_join(f->thread, NULL);
	f->joined = true;
	if (f->result < 0) {
		*e = f->err;
		return err_wrap(e, "files");
	}
	return 0;
}
