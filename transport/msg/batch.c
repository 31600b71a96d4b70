// SPDX-License-Identifier: GPL-2.0-or-later
/* batch.c - batches of file operations: packing, and the checks that need no file system. */
#include "transport/msg/batch.h"

#include <limits.h>
#include <lz4.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auto.h"

#define XATTR_NAME_BYTES  255u
#define XATTR_VALUE_BYTES 65536u
#define NS_IN_S           1000000000u
#define WORTH_PACKING     4096 /* a shorter message takes a packet or two either way */

int batch_send(struct chan *c, const Haul__TreeOps *ops, uint64_t deadline_us, uint64_t *wire_bytes,
               struct err *e)
{
	Haul__Batch b = HAUL__BATCH__INIT;
	size_t n = haul__tree_ops__get_packed_size(ops);
	AUTO(mem) uint8_t *raw = malloc(n + 1);
	AUTO(mem) uint8_t *packed = malloc(n + 1);

	if (!raw || !packed)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for files on their way");
	if (n > BATCH_RAW_MAX_BYTES)
		return err_set(e, ERR_BUG, EMSGSIZE, "a batch of %zu bytes", n);
	haul__tree_ops__pack(ops, raw);
	int k = n < WORTH_PACKING ? 0
	                          : LZ4_compress_default((const char *)raw, (char *)packed, (int)n,
	                                                 (int)(n - n / 16));

	b.raw_bytes = (uint32_t)n;
	b.packed.data = k > 0 ? packed : raw;
	b.packed.len = k > 0 ? (size_t)k : n;
	*wire_bytes += b.packed.len;
	return wire_say(c, HAUL__MSG__BODY_BATCH, &b, deadline_us, e);
}

int batch_unpack(const Haul__Batch *b, Haul__TreeOps **out, struct err *e)
{
	AUTO(mem) uint8_t *raw = NULL;
	const uint8_t *data = b->packed.data;

	if (b->raw_bytes > BATCH_RAW_MAX_BYTES || b->packed.len > b->raw_bytes)
		return err_set(e, ERR_PEER, EBADMSG, "a batch of files of %u bytes", b->raw_bytes);
	if (b->packed.len < b->raw_bytes) {
		data = raw = malloc(b->raw_bytes);
		if (!raw)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for files");
		if (LZ4_decompress_safe((const char *)b->packed.data, (char *)raw,
		                        (int)b->packed.len, (int)b->raw_bytes) != (int)b->raw_bytes)
			return err_set(e, ERR_PEER, EBADMSG, "a batch of files cannot be unpacked");
	}
	*out = haul__tree_ops__unpack(NULL, b->raw_bytes, data);
	return *out ? 0 : err_set(e, ERR_PEER, EBADMSG, "a batch of files that cannot be decoded");
}

/* Relative, no empty part, no "." or "..", no NUL. */
static bool path_ok(const ProtobufCBinaryData *p, bool may_be_empty)
{
	if (p->len == 0)
		return may_be_empty;
	const uint8_t *at = p->data, *end = p->data + p->len;

	if (p->len > BATCH_PATH_MAX_BYTES || memchr(p->data, 0, p->len))
		return false;
	for (;;) {
		const uint8_t *slash = memchr(at, '/', (size_t)(end - at));
		size_t n = (size_t)((slash ? slash : end) - at);

		if (n == 0 || n > NAME_MAX || (n == 1 && at[0] == '.') ||
		    (n == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		if (!slash)
			return true;
		at = slash + 1;
	}
}

static bool meta_ok(const Haul__TreeMeta *m)
{
	bool type = S_ISREG(m->mode) || S_ISDIR(m->mode) || S_ISLNK(m->mode) || S_ISFIFO(m->mode) ||
	            S_ISSOCK(m->mode) || S_ISCHR(m->mode) || S_ISBLK(m->mode);

	if (!type || (m->mode & ~(uint32_t)(S_IFMT | 07777)) || m->mtime_ns >= NS_IN_S ||
	    m->atime_ns >= NS_IN_S || m->size > INT64_MAX || m->n_xattr > BATCH_XATTRS_MAX)
		return false;
	for (size_t i = 0; i < m->n_xattr; i++) {
		const Haul__TreeXattr *x = m->xattr[i];

		if (x->name.len == 0 || x->name.len > XATTR_NAME_BYTES ||
		    memchr(x->name.data, 0, x->name.len) || x->value.len > XATTR_VALUE_BYTES)
			return false;
	}
	return true;
}

static bool link_text_ok(const ProtobufCBinaryData *to)
{
	return to->len > 0 && to->len < PATH_MAX && !memchr(to->data, 0, to->len);
}

static bool range_ok(uint64_t offset, uint64_t bytes)
{
	return offset <= INT64_MAX && bytes <= INT64_MAX - offset;
}

static bool op_ok(const Haul__TreeOp *op)
{
	if (op->data.len > BATCH_DATA_MAX_BYTES || (op->meta && !meta_ok(op->meta)))
		return false;
	switch (op->kind) {
	case HAUL__TREE_KIND__TREE_MAKE:
		return op->meta && path_ok(&op->path, S_ISDIR(op->meta->mode)) &&
		       (!op->data.len ||
		        (S_ISREG(op->meta->mode) && op->data.len <= op->meta->size)) &&
		       (!S_ISLNK(op->meta->mode) || link_text_ok(&op->to));
	case HAUL__TREE_KIND__TREE_META:
		return op->meta && path_ok(&op->path, true);
	case HAUL__TREE_KIND__TREE_WRITE:
		return path_ok(&op->path, false) && range_ok(op->offset, op->data.len);
	case HAUL__TREE_KIND__TREE_PUNCH:
		return path_ok(&op->path, false) && op->bytes && range_ok(op->offset, op->bytes);
	case HAUL__TREE_KIND__TREE_LINK:
		return path_ok(&op->path, false) && path_ok(&op->to, false);
	case HAUL__TREE_KIND__TREE_REMOVE:
		return path_ok(&op->path, false);
	case HAUL__TREE_KIND__TREE_PASS:
		return op->offset <= UINT32_MAX;
	default:
		return false;
	}
}

int batch_op_ok(const Haul__TreeOp *op, struct err *e)
{
	return op_ok(op) ? 0
	                 : err_set(e, ERR_PEER, EBADMSG,
	                           "the source asks for an operation on files that is not allowed "
	                           "(%d)",
	                           (int)op->kind);
}
