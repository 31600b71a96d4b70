/* SPDX-License-Identifier: GPL-2.0-or-later */
/* batch.h - what is done to files at the destination, many operations in a message. */
#ifndef HAUL_TRANSPORT_BATCH_H
#define HAUL_TRANSPORT_BATCH_H

#include "transport/haul.pb-c.h"
#include "transport/transport.h"

#define BATCH_RAW_MAX_BYTES  (8u << 20)
#define BATCH_DATA_MAX_BYTES (1u << 20) /* of one operation */
#define BATCH_PATH_MAX_BYTES 3500u
#define BATCH_XATTRS_MAX     256u

/** batch_send() - packed when that makes it shorter. @wire_bytes: added to */
int batch_send(struct chan *c, const Haul__TreeOps *ops, uint64_t deadline_us, uint64_t *wire_bytes,
               struct err *e);
/**
 * batch_unpack() - freed by haul__tree_ops__free_unpacked(). Nothing but lengths is checked
 * of what is in it: batch_op_ok() does that, one by one
 */
int batch_unpack(const Haul__Batch *b, Haul__TreeOps **out, struct err *e);
/** batch_op_ok() - paths that lead nowhere else, known kinds, lengths. Return: 0; -EBADMSG */
int batch_op_ok(const Haul__TreeOp *op, struct err *e);

#endif
