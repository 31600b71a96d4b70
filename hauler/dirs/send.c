// SPDX-License-Identifier: GPL-2.0-or-later
/* send.c - turns the lists of a pass into operations and sends them in batches, without waiting for answers. */
#include "hauler/dirs/priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/host/reopen.h"
#include "hauler/pages/send.h"

#define ARENA_BYTES (2u << 20)
#define FLUSH_BYTES (1u << 20)
#define OPS_MAX     4096
#define READ_BYTES  (256u << 10)
#define SMALL_BYTES (64u << 10)
#define HUNT_BYTES  (8u << 20)

/* ---- batches ---- */

static int flush(struct dirs *f, struct err *e)
{
	Haul__TreeOps ops = HAUL__TREE_OPS__INIT;
	int r = 0;

	ops.op = f->op;
	ops.n_op = f->n_ops;
	uint64_t before = f->st.wire_bytes;

	if (f->n_ops)
		r = batch_send(f->ch, &ops, f->deadline_us ? f->deadline_us : DEADLINE_NEVER,
		               &f->st.wire_bytes, e);
	if (!f->deadline_us)
		send_paced(f->send, f->st.wire_bytes - before);
	f->n_ops = 0;
	f->used = 0;
	return r;
}

/* Memory that lives until the batch is sent. Call room() first. */
static void *take(struct dirs *f, size_t bytes)
{
	void *p = f->arena + f->used;

	f->used += (bytes + 15) & ~(size_t)15;
	return p;
}

/* Make room for one operation with @bytes of data. */
static int room(struct dirs *f, size_t bytes, struct err *e)
{
	if (!f->arena) {
		f->arena = malloc(ARENA_BYTES);
		f->op = malloc(OPS_MAX * sizeof(Haul__TreeOp *));
		f->buf = malloc(READ_BYTES);
		if (!f->arena || !f->op || !f->buf)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for files on their way");
	}
	if (f->n_ops == OPS_MAX || f->used + bytes + 2 * BATCH_PATH_MAX_BYTES + 8192 > FLUSH_BYTES)
		return flush(f, e);
	return 0;
}

static Haul__TreeOp *add_op(struct dirs *f, const struct dirs_root *r, Haul__TreeKind kind,
                            const char *path)
{
	Haul__TreeOp *op = take(f, sizeof(*op));
	size_t n = strlen(path);

	haul__tree_op__init(op);
	op->kind = kind;
	op->root = r->number;
	op->path.data = take(f, n);
	op->path.len = n;
	memcpy(op->path.data, path, n);
	f->op[f->n_ops++] = op;
	return op;
}

/* ---- metadata ---- */

static Haul__TreeMeta *add_meta(struct dirs *f, const struct stat *st, const struct xattrs *x)
{
	Haul__TreeMeta *m = take(f, sizeof(*m));

	haul__tree_meta__init(m);
	m->mode = st->st_mode;
	m->uid = st->st_uid;
	m->gid = st->st_gid;
	m->mtime_s = st->st_mtim.tv_sec;
	m->mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
	m->atime_s = st->st_atim.tv_sec;
	m->atime_ns = (uint32_t)st->st_atim.tv_nsec;
	m->major = major(st->st_rdev);
	m->minor = minor(st->st_rdev);
	m->size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
	m->n_xattr = x->n;
	m->xattr = x->n ? take(f, x->n * sizeof(Haul__TreeXattr *)) : NULL;
	for (size_t i = 0; i < x->n; i++) {
		Haul__TreeXattr *a = m->xattr[i] = take(f, sizeof(*a));

		haul__tree_xattr__init(a);
		a->name.len = strlen(x->v[i].name);
		a->name.data = take(f, a->name.len);
		memcpy(a->name.data, x->v[i].name, a->name.len);
		a->value.len = x->v[i].bytes;
		a->value.data = take(f, a->value.len + 1);
		memcpy(a->value.data, x->values + x->v[i].at, a->value.len);
	}
	return m;
}

/* ---- one inode ---- */

struct job {
	struct dirs *f;
	struct dirs_ino *i;
	char path[BATCH_PATH_MAX_BYTES + 1]; /* of the file that is sent now, here and there */
	int fd; /* an open file, or O_PATH */
	struct stat st; /* taken before it is read */
	uint32_t age_ms; /* then */
	struct xattrs *x;
	struct err *e;
};

static int vanished(int r)
{
	return r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -ESTALE || r == -EXDEV;
}

/* Return: 0; 1: it is gone, or was replaced; -errno */
static int job_open(struct job *j, bool regular)
{
	const char *root = j->i->root->path;

	AUTO(fd) int at = dirs_open(j->i->root, j->path, O_PATH);

	if (at < 0 && vanished(-errno))
		return 1;
	if (at < 0 || fstat(at, &j->st) < 0)
		return err_sys(j->e, "open %s/%s", root, j->path);
	j->age_ms = dirs_age_ms(&j->st);
	/* another file by now: it must not even be opened */
	if (j->st.st_ino != j->i->st.st_ino || j->st.st_dev != j->i->st.st_dev ||
	    (j->st.st_mode & S_IFMT) != (j->i->st.st_mode & S_IFMT))
		return 1;
	if (regular && j->f->leases && reopen_leased(j->st.st_ino)) {
		err_set(j->e, ERR_TARGET, EBUSY,
		        "%s/%s has a lease: opening it would send a signal to its holder", root,
		        j->path);
		return err_fix(j->e, "the program has to give up the lease, or --exclude the file");
	}
	j->fd = regular ? reopen_read(at, O_NOATIME) : steal_fd(&at);
	if (j->fd < 0)
		return err_set(j->e, ERR_SYS, -j->fd, "open %s/%s: %s", root, j->path,
		               strerror(-j->fd));
	int r = dirs_read_xattrs(j->x, j->fd, !regular);

	return r < 0 ? err_set(j->e, ERR_SYS, -r, "extended attributes of %s/%s: %s", root, j->path,
	                       strerror(-r))
	             : 0;
}

static int send_meta(struct job *j, Haul__TreeKind kind)
{
	char link[4096];
	ssize_t n = 0;
	int r = room(j->f, dirs_xattrs_bytes(j->x) + sizeof(link), j->e);

	if (r < 0)
		return r;
	if (S_ISLNK(j->st.st_mode)) {
		n = readlinkat(j->fd, "", link, sizeof(link));
		if (n < 0)
			return err_sys(j->e, "read link %s/%s", j->i->root->path, j->path);
	}
	Haul__TreeOp *op = add_op(j->f, j->i->root, kind, j->path);

	op->meta = add_meta(j->f, &j->st, j->x);
	op->to.data = n ? take(j->f, (size_t)n) : NULL;
	op->to.len = (size_t)n;
	if (n)
		memcpy(op->to.data, link, (size_t)n);
	return 0;
}

/* ---- content ---- */

static int grow_blocks(struct dirs_ino *i, uint64_t size)
{
	size_t n = (size_t)((size + DIRS_BLOCK_BYTES - 1) / DIRS_BLOCK_BYTES);

	if (n > i->cap_blocks) {
		size_t cap = n < 8 ? n : n + n / 8;
		XXH128_hash_t *v = realloc(i->block, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		i->block = v;
		i->cap_blocks = cap;
	}
	if (n > i->n_blocks)
		memset(i->block + i->n_blocks, 0, (n - i->n_blocks) * sizeof(*i->block));
	i->n_blocks = n; /* the destination cuts off the rest, too */
	return 0;
}

static bool is_hole(XXH128_hash_t h)
{
	return !h.low64 && !h.high64;
}

static int send_data(struct job *j, uint64_t offset, const uint8_t *data, size_t n)
{
	int r = room(j->f, n, j->e);

	if (r < 0)
		return r;
	Haul__TreeOp *op = add_op(j->f, j->i->root, HAUL__TREE_KIND__TREE_WRITE, j->path);

	op->offset = offset;
	op->data.data = take(j->f, n);
	op->data.len = n;
	memcpy(op->data.data, data, n);
	j->f->st.sent_bytes += n;
	return 0;
}

/* Send the changed ones of the whole blocks from @at on, @n bytes in f->buf. */
static int send_changed(struct job *j, uint64_t at, size_t n)
{
	struct dirs *f = j->f;
	size_t from = 0, to = 0;
	int r = 0;

	for (size_t done = 0; r == 0 && done < n;) {
		size_t size = n - done < DIRS_BLOCK_BYTES ? n - done : DIRS_BLOCK_BYTES;
		XXH128_hash_t h = dirs_digest(f, f->buf + done, size);
		XXH128_hash_t *was = &j->i->block[(at + done) / DIRS_BLOCK_BYTES];
		bool same = XXH128_isEqual(h, *was);

		*was = h;
		if (!same) {
			from = to == done && to > from ? from : done;
			to = done + size;
		}
		done += size;
		if (to > from && (same || done == n)) {
			r = send_data(j, at + from, f->buf + from, to - from);
			from = to = done;
		}
	}
	return r;
}

/* The blocks from @at to @end are holes now. */
static int send_holes(struct job *j, uint64_t at, uint64_t end)
{
	for (uint64_t b = at / DIRS_BLOCK_BYTES; b * DIRS_BLOCK_BYTES < end; b++) {
		uint64_t first = b;

		while (b * DIRS_BLOCK_BYTES < end && !is_hole(j->i->block[b]))
			memset(&j->i->block[b++], 0, sizeof(*j->i->block));
		if (b == first)
			continue;
		int r = room(j->f, 0, j->e);

		if (r < 0)
			return r;
		Haul__TreeOp *op = add_op(j->f, j->i->root, HAUL__TREE_KIND__TREE_PUNCH, j->path);

		op->offset = first * DIRS_BLOCK_BYTES;
		op->bytes = (b - first) * DIRS_BLOCK_BYTES;
	}
	return 0;
}

static int send_segment(struct job *j, uint64_t at, uint64_t end)
{
	while (at < end) {
		size_t want = end - at < READ_BYTES ? (size_t)(end - at) : READ_BYTES;
		ssize_t n = dirs_read_at(j->fd, j->f->buf, want, at);

		if (n < 0)
			return err_set(j->e, ERR_SYS, (int)-n, "read %s/%s: %s", j->i->root->path,
			               j->path, strerror((int)-n));
		if (__atomic_load_n(&j->f->stop, __ATOMIC_RELAXED))
			return err_set(j->e, ERR_STOPPED, ECANCELED, "stopped");
		/* it became shorter: the event for that brings the file again */
		int r = n ? send_changed(j, at, (size_t)n) : 0;

		if (r < 0 || (size_t)n < want)
			return r;
		at += want;
	}
	return 0;
}

/* While the tree is stopped: find the changed blocks of a large file on all processors, send only those. */
static int send_hunted(struct job *j, uint64_t at, uint64_t end)
{
	size_t n = (size_t)((end - at + DIRS_BLOCK_BYTES - 1) / DIRS_BLOCK_BYTES);
	AUTO(mem) uint8_t *changed = malloc(n);
	int r = 0;

	if (!changed)
		return send_segment(j, at, end);
	if (dirs_changed(j->f, j->i, j->fd, at, end, changed) < 0)
		return err_set(j->e, ERR_STOPPED, ECANCELED, "stopped");
	for (size_t b = 0; r == 0 && b < n; b++) {
		size_t first = b;

		while (b < n && changed[b])
			b++;
		uint64_t to = at + (uint64_t)b * DIRS_BLOCK_BYTES;

		if (b > first)
			r = send_segment(j, at + (uint64_t)first * DIRS_BLOCK_BYTES,
			                 to < end ? to : end);
	}
	return r;
}

static int send_content(struct job *j, bool fresh)
{
	uint64_t size = (uint64_t)j->st.st_size, at = 0;
	int r = grow_blocks(j->i, size) < 0
	                ? err_set(j->e, ERR_SYS, ENOMEM, "no memory for the blocks of a file")
	                : room(j->f, 0, j->e);

	while (r == 0 && at < size) {
		off_t data = lseek(j->fd, (off_t)at, SEEK_DATA);
		uint64_t from = data < 0 ? (errno == ENXIO ? size : at) : (uint64_t)data;
		off_t hole = data < 0 ? -1 : lseek(j->fd, data, SEEK_HOLE);
		uint64_t to = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;

		from -= from % DIRS_BLOCK_BYTES;
		from = from < at ? at : from > size ? size : from; /* it may have grown */
		to = (to + DIRS_BLOCK_BYTES - 1) / DIRS_BLOCK_BYTES * DIRS_BLOCK_BYTES;
		to = to > size ? size : to;
		if (data < 0 && from == size)
			return send_holes(j, at, size);
		r = send_holes(j, at, from);
		if (r)
			return r;
		r = !fresh && j->f->deadline_us && to - from >= HUNT_BYTES
		            ? send_hunted(j, from, to)
		            : send_segment(j, from, to);
		at = to;
	}
	return r;
}

/* Send a new small file as one operation. Return: 0; -errno */
static int send_small(struct job *j)
{
	struct dirs *f = j->f;
	size_t size = (size_t)j->st.st_size;
	int r = room(f, size + dirs_xattrs_bytes(j->x), j->e);

	if (r < 0)
		return r;
	if (grow_blocks(j->i, size) < 0)
		r = err_set(j->e, ERR_SYS, ENOMEM, "no memory for the blocks of a file");
	if (r < 0)
		return r;
	ssize_t n = dirs_read_at(j->fd, f->buf, size, 0);

	if (n < 0)
		return err_set(j->e, ERR_SYS, (int)-n, "read %s/%s: %s", j->i->root->path, j->path,
		               strerror((int)-n));
	for (size_t at = 0; at < (size_t)n; at += DIRS_BLOCK_BYTES)
		j->i->block[at / DIRS_BLOCK_BYTES] = dirs_digest(
		        f, f->buf + at,
		        (size_t)n - at < DIRS_BLOCK_BYTES ? (size_t)n - at : DIRS_BLOCK_BYTES);
	Haul__TreeOp *op = add_op(f, j->i->root, HAUL__TREE_KIND__TREE_MAKE, j->path);

	op->meta = add_meta(f, &j->st, j->x);
	op->data.len = (size_t)n;
	op->data.data = take(f, (size_t)n + 1);
	memcpy(op->data.data, f->buf, (size_t)n);
	f->st.sent_bytes += (uint64_t)n;
	return 0;
}

static int send_file(struct job *j, bool fresh)
{
	bool small = fresh && j->st.st_size <= (off_t)SMALL_BYTES &&
	             j->st.st_blocks * 512 >= j->st.st_size;

	/* digests are of what was sent; a fresh file has none */
	if (fresh)
		j->i->n_blocks = 0;
	if (small)
		return send_small(j);
	int r = fresh ? send_meta(j, HAUL__TREE_KIND__TREE_MAKE) : 0;

	if (r)
		return r;
	r = send_content(j, fresh);
	return r ? r : send_meta(j, HAUL__TREE_KIND__TREE_META);
}

static int send_opened(struct job *j, bool fresh)
{
	struct dirs_ino *i = j->i;
	bool regular = S_ISREG(i->st.st_mode);
	int r = job_open(j, regular);

	if (r)
		return r;
	r = room(j->f, 0, j->e);
	if (r)
		return r;
	r = regular ? send_file(j, fresh)
	            : send_meta(j, fresh ? HAUL__TREE_KIND__TREE_MAKE : HAUL__TREE_KIND__TREE_META);
	if (r)
		return r;
	i->st = j->st;
	i->sent = true;
	i->age_ms = j->age_ms;
	j->f->st.sent_files++;
	return 0;
}

/* Return: 0; 1: it is gone; -errno */
static int send_inode(struct job *j, bool fresh)
{
	int r = send_opened(j, fresh);

	if (j->fd >= 0)
		close(steal_fd(&j->fd));
	return r;
}

/* ---- lists ---- */

static int send_remove(struct job *j, const struct dirs_name *n)
{
	if (dirs_path(n, j->path) < 0)
		return 0;
	int r = room(j->f, 0, j->e);

	if (r < 0)
		return r;
	add_op(j->f, n->dir->root, HAUL__TREE_KIND__TREE_REMOVE, j->path);
	return 0;
}

static int send_link(struct job *j, const char *to)
{
	int r = room(j->f, 0, j->e);

	if (r < 0)
		return r;
	Haul__TreeOp *op = add_op(j->f, j->i->root, HAUL__TREE_KIND__TREE_LINK, j->path);

	op->to.len = strlen(to);
	op->to.data = take(j->f, op->to.len);
	memcpy(op->to.data, to, op->to.len);
	return 0;
}

/* Forget all that had the name of @n before. Return: did the destination have one of them? */
static bool forget_replaced(struct dirs *f, struct dirs_name *n)
{
	bool there = false;

	for (struct dirs_name *r = steal(n->replaces), *next; r && !r->dead; r = next) {
		next = steal(r->replaces);
		there |= r->there;
		dirs_forget(f, r);
	}
	return there;
}

static int send_name(struct job *j, struct dirs_name *n)
{
	char to[BATCH_PATH_MAX_BYTES + 1];

	if (n->dead || n->there || n->vanished)
		return 0;
	bool replaced = forget_replaced(j->f, n);

	j->i = n->ino;
	int r = dirs_path(n, j->path);

	if (r == -ENAMETOOLONG)
		return err_set(j->e, ERR_USER, ENAMETOOLONG, "a path of more than %u bytes in %s",
		               BATCH_PATH_MAX_BYTES, n->dir->root->path);
	if (r < 0)
		return 0;
	if (!S_ISDIR(n->ino->st.st_mode) && n->ino->sent && dirs_ino_path(n->ino, true, to) > 0)
		r = send_link(j, to);
	else
		r = send_inode(j, true);
	n->there = r == 0;
	if (r == 1)
		r = replaced ? send_remove(j, n) : 0;
	return r;
}

/* One of @i's names that both hosts have; NULL: there is none */
static const struct dirs_name *on_both(const struct dirs_ino *i)
{
	const struct dirs_name *n;

	LIST_FOREACH(n, &i->names, of_ino)
	if (n->there && !n->vanished)
		return n;
	return NULL;
}

static int send_dirty(struct job *j, struct dirs_ino *i)
{
	i->dirty = false;
	j->i = i;
	if (i->dead || !i->sent || dirs_ino_path(i, true, j->path) < 0)
		return 0;
	/* its name at the destination may be gone here */
	char here[BATCH_PATH_MAX_BYTES + 1];

	if (dirs_ino_path(i, false, here) < 0 || strcmp(here, j->path)) {
		const struct dirs_name *n = on_both(i);

		if (!n || dirs_path(n, j->path) < 0)
			return 0;
	}
	int r = send_inode(j, false);

	return r < 0 ? r : 0;
}

static int send_due(struct job *j, struct dirs_ino *dir)
{
	dir->due = false;
	if (dir->dead || dirs_ino_path(dir, dir != dir->root->top, j->path) < 0)
		return 0;
	j->i = dir;
	int r = send_inode(j, false);

	return r < 0 ? r : 0;
}

static int send_end(struct job *j, unsigned int number)
{
	int r = room(j->f, 0, j->e);

	if (r)
		return r;
	Haul__TreeOp *op = add_op(j->f, &j->f->root[0], HAUL__TREE_KIND__TREE_PASS, "");

	op->offset = number;
	return flush(j->f, j->e);
}

int dirs_send_pass(struct dirs *f, unsigned int number, struct err *e)
{
	AUTO(mem) struct job *j = calloc(1, sizeof(*j));
	AUTO(mem) struct xattrs *x = malloc(sizeof(*x));
	int r = 0;

	if (!j || !x)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for files");
	x->n = x->used = 0;
	*j = (struct job){ .f = f, .fd = -1, .x = x, .e = e };
	r = room(f, 0, e);
	for (size_t i = 0; r == 0 && i < f->fresh.n; i++)
		r = send_name(j, f->fresh.v[i]);
	for (size_t i = 0; r == 0 && i < f->dirty.n; i++)
		r = send_dirty(j, f->dirty.v[i]);
	for (size_t i = 0; r == 0 && i < f->gone.n; i++) {
		struct dirs_name *n = f->gone.v[i];

		if (n->dead || !n->vanished)
			continue;
		if (forget_replaced(f, n) | n->there)
			r = send_remove(j, n);
		dirs_forget(f, n);
	}
	for (size_t i = 0; r == 0 && i < f->due.n; i++)
		r = send_due(j, f->due.v[i]);
	f->fresh.n = f->dirty.n = f->gone.n = f->due.n = 0;
	if (r == 0)
		r = send_end(j, number);
	dirs_bury(f);
	return r;
}
