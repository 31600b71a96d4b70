// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * files.c - what files and directories hold: the messages that would bring them to a host, kept in the order in which they
 * come. A load says them again to its worker (hauler/run/archived_files.c). Pieces are cut where messages begin,
 * so that a later state shares those of files that are the same.
 */
#include "hauler/save/priv.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive/archive.pb-c.h"
#include "common/clock.h"
#include "transport/msg/batch.h"

#define LARGE_BYTES    (64u << 10) /* a message that begins a piece of its own */
#define CUT_MASK       0x3fu /* one in 64 of the others ends a piece */
#define APPLY_LIMIT_MS 60000

/* ---- which files ---- */

/* What belongs to a running kernel, or to a program that listens, no load could make. */
static bool is_made_by_host(const Haul__File *f)
{
	static const char *const dirs[] = { "/proc/", "/sys/", "/dev/", "/memfd:" };
	uint32_t kind = f->directory ? S_IFDIR : f->mode & S_IFMT;

	if (kind == 0 || kind == S_IFSOCK || kind == S_IFCHR || kind == S_IFBLK)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (!strncmp(f->path, dirs[i], strlen(dirs[i])))
			return strncmp(f->path, "/dev/shm/", 9) != 0;
	return false;
}

/*
 * Nothing is compared: the load finds out what has become of each file on its host. Without contents a file that is
 * written counts as shared, so that its size and time in the freeze are in SWITCH.
 */
Haul__FileState save_files_seen(const struct save *s, const Haul__File *f)
{
	if (s->with_files && !is_made_by_host(f))
		return HAUL__FILE_STATE__FILE_MISSING;
	return f->write && !f->directory && S_ISREG(f->mode) ? HAUL__FILE_STATE__FILE_SHARED
	                                                     : HAUL__FILE_STATE__FILE_SAME;
}

/* ---- the log ---- */

static int no_memory(struct err *e)
{
	return err_set(e, ERR_SYS, ENOMEM, "no memory for what files hold");
}

static int begin(struct save_log *l, struct err *e)
{
	if (l->blob)
		return 0;
	l->buf = malloc(ARCHIVE_PIECE_BYTES);
	l->blob = malloc(sizeof(*l->blob));
	if (!l->blob || !l->buf)
		return no_memory(e);
	archive__blob__init(l->blob);
	return 0;
}

/* What is in the buffer becomes a piece. */
static int cut(struct save *s, struct save_log *l, struct err *e)
{
	Archive__Blob *b = l->blob;

	if (l->n == 0)
		return 0;
	if (b->n_piece == l->cap) {
		size_t cap = l->cap * 2 + 64;
		uint64_t *v = realloc(b->piece, cap * sizeof(*v));

		if (!v)
			return no_memory(e);
		b->piece = v;
		l->cap = cap;
	}
	int r = archive_put_known(s->a, l->known, &l->hint, l->buf, l->n, &b->piece[b->n_piece], e);

	if (r < 0)
		return r;
	b->n_piece++;
	b->bytes += l->n;
	l->n = 0;
	return 0;
}

static int add(struct save *s, struct save_log *l, const uint8_t *data, size_t n, struct err *e)
{
	while (n) {
		size_t room = ARCHIVE_PIECE_BYTES - l->n, some = n < room ? n : room;

		memcpy(l->buf + l->n, data, some);
		l->n += some;
		data += some;
		n -= some;
		int r = l->n == ARCHIVE_PIECE_BYTES ? cut(s, l, e) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

static int keep(struct save *s, struct save_log *l, const Haul__Msg *msg, struct err *e)
{
	size_t n = haul__msg__get_packed_size(msg);
	AUTO(mem) uint8_t *buf = malloc(sizeof(uint32_t) + n);
	uint32_t bytes = htonl((uint32_t)n);
	uint8_t sum[ARCHIVE_SUM_BYTES];

	if (!buf)
		return no_memory(e);
	memcpy(buf, &bytes, sizeof(bytes));
	haul__msg__pack(msg, buf + sizeof(bytes));
	if (begin(l, e) < 0 || (n >= LARGE_BYTES && cut(s, l, e) < 0) ||
	    add(s, l, buf, sizeof(bytes) + n, e) < 0)
		return err_code(e);
	archive_sum(s->a, buf, sizeof(bytes) + n, sum);
	return n >= LARGE_BYTES || !(sum[0] & CUT_MASK) ? cut(s, l, e) : 0;
}

int save_files_part(struct save *s, Haul__FilePart *part, struct err *e)
{
	Haul__Msg msg = HAUL__MSG__INIT;

	msg.body_case = HAUL__MSG__BODY_FILE_PART;
	msg.file_part = part;
	return keep(s, &s->files, &msg, e);
}

/* ---- directories ---- */

static int keep_op(struct save *s, Haul__TreeOp *op, struct err *e)
{
	Haul__TreeOps ops = HAUL__TREE_OPS__INIT;
	Haul__Batch batch = HAUL__BATCH__INIT;
	Haul__Msg msg = HAUL__MSG__INIT;

	ops.op = &op;
	ops.n_op = 1;
	batch.raw_bytes = (uint32_t)haul__tree_ops__get_packed_size(&ops);
	AUTO(mem) uint8_t *raw = malloc(batch.raw_bytes + 1);

	if (!raw)
		return no_memory(e);
	haul__tree_ops__pack(&ops, raw);
	batch.packed.data = raw;
	batch.packed.len = batch.raw_bytes;
	msg.body_case = HAUL__MSG__BODY_BATCH;
	msg.batch = &batch;
	return keep(s, &s->tree, &msg, e);
}

static int say_applied(struct conn *c, const Haul__TreeOp *op, struct err *e)
{
	Haul__Applied a = HAUL__APPLIED__INIT;

	a.pass = (uint32_t)op->offset;
	return wire_say(c->ch, HAUL__MSG__BODY_APPLIED, &a, deadline_in_ms(APPLY_LIMIT_MS), e);
}

static int take_batch(struct conn *c, const Haul__Batch *b, struct err *e)
{
	Haul__TreeOps *ops = NULL;
	int r = batch_unpack(b, &ops, e);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < ops->n_op; i++) {
		r = keep_op(c->s, ops->op[i], e);
		if (r == 0 && ops->op[i]->kind == HAUL__TREE_KIND__TREE_PASS)
			r = say_applied(c, ops->op[i], e);
	}
	haul__tree_ops__free_unpacked(ops, NULL);
	return r;
}

int save_files_loop(struct conn *c, struct err *e)
{
	for (;;) {
		Haul__Msg *msg = NULL;
		int r = wire_recv(c->ch, &msg, DEADLINE_NEVER, e);

		if (r < 0)
			return r;
		r = msg->body_case == HAUL__MSG__BODY_BATCH
		            ? take_batch(c, msg->batch, e)
		            : err_set(e, ERR_BUG, EPROTO, "message %d of directories",
		                      (int)msg->body_case);
		haul__msg__free_unpacked(msg, NULL);
		if (r < 0)
			return r;
	}
}

/* ---- all of it ---- */

void save_files_known(struct save *s)
{
	const Archive__State *last = archive_state(s->a, 0);

	s->files.known = last ? last->files : NULL;
	s->tree.known = last ? last->tree : NULL;
}

int save_files_finish(struct save *s, struct err *e)
{
	if ((s->files.blob && cut(s, &s->files, e) < 0) ||
	    (s->tree.blob && cut(s, &s->tree, e) < 0))
		return err_code(e);
	s->state->files = steal(s->files.blob);
	s->state->tree = steal(s->tree.blob);
	return 0;
}

void save_files_free(struct save *s)
{
	struct save_log *all[] = { &s->files, &s->tree };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (all[i]->blob)
			archive__blob__free_unpacked(all[i]->blob, NULL);
		free(all[i]->buf);
	}
}
