// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-batch.c - any bytes as a batch of file operations: no crash, no memory out of proportion,
 * and what passes the checks names nothing outside its tree. The first byte says whether the rest
 * is packed; then the next two are its length, in 64 bytes. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */
#include "transport/msg/batch.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auto.h"
#include "replay.h"

/* Said in another way than batch.c does: with the slashes taken as ends of strings. */
static void stays_inside(const ProtobufCBinaryData *path)
{
	char text[BATCH_PATH_MAX_BYTES + 3];

	if (path->len > BATCH_PATH_MAX_BYTES)
		abort();
	snprintf(text, sizeof(text), "/%.*s/", (int)path->len, (const char *)path->data);
	if (path->len && (strlen(text) != path->len + 2 || strstr(text, "//") ||
	                  strstr(text, "/../") || strstr(text, "/./")))
		abort();
}

static void look(const Haul__TreeOp *op)
{
	struct err e = ERR_INIT;

	if (batch_op_ok(op, &e) < 0) {
		if (!e.msg[0])
			abort();
		return;
	}
	if (op->kind == HAUL__TREE_KIND__TREE_PASS)
		return;
	stays_inside(&op->path);
	if (op->kind == HAUL__TREE_KIND__TREE_LINK)
		stays_inside(&op->to);
	if (op->meta && S_ISLNK(op->meta->mode) && op->kind == HAUL__TREE_KIND__TREE_MAKE &&
	    (op->to.len == 0 || op->to.len >= PATH_MAX))
		abort();
	if (op->kind == HAUL__TREE_KIND__TREE_WRITE && op->offset + op->data.len > INT64_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	Haul__Batch b = HAUL__BATCH__INIT;
	struct err e = ERR_INIT;
	Haul__TreeOps *ops = NULL;

	if (bytes < 3)
		return 0;
	b.packed.data = (uint8_t *)p + (p[0] & 1 ? 3 : 1);
	b.packed.len = bytes - (p[0] & 1 ? 3 : 1);
	b.raw_bytes = p[0] & 1 ? (p[1] | (uint32_t)p[2] << 8) * 64 : (uint32_t)b.packed.len;
	if (batch_unpack(&b, &ops, &e) < 0)
		return e.msg[0] ? 0 : (abort(), 0);
	for (size_t i = 0; i < ops->n_op; i++)
		look(ops->op[i]);
	haul__tree_ops__free_unpacked(ops, NULL);
	return 0;
}
