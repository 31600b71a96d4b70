/* SPDX-License-Identifier: GPL-2.0-or-later */
/* batch.h - operations on files of the destination, many in one message. */
#ifndef HAUL_TRANSPORT_BATCH_H
#define HAUL_TRANSPORT_BATCH_H

#include "transport/msg/haul.pb-c.h"
#include "transport/msg/wire.h"

#define BATCH_RAW_MAX_BYTES  (8u << 20)
#define BATCH_DATA_MAX_BYTES (1u << 20) /* of one operation */
#define BATCH_PATH_MAX_BYTES 3500u
#define BATCH_XATTRS_MAX     256u

/** batch_send() - send @ops, packed if that is shorter. @wire_bytes: grows by the bytes sent */
int batch_send(struct chan *c, const Haul__TreeOps *ops, uint64_t deadline_us, uint64_t *wire_bytes,
               struct err *e);
/**
 * batch_unpack() - the operations of @b. Only lengths are checked: call batch_op_ok() for each
 * @out: the caller's, freed by haul__tree_ops__free_unpacked()
 */
int batch_unpack(const Haul__Batch *b, Haul__TreeOps **out, struct err *e);
/** batch_op_ok() - is the kind known, do paths stay below the root, do lengths fit? Return: 0; -EBADMSG */
int batch_op_ok(const Haul__TreeOp *op, struct err *e);

#endif
