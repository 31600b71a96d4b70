/* SPDX-License-Identifier: GPL-2.0-or-later */
/* streams.h - the data connections of a migration. */
#ifndef HAUL_AGENT_STREAMS_H
#define HAUL_AGENT_STREAMS_H

#include "agent/mig/mig.h"

/* ---- streams.c ---- */

/** streams_start() - start the thread that accepts them; w->streams.resume is set */
int streams_start(struct wrk *w, struct err *e);
/** streams_stop() - end them all, and wait for their threads */
void streams_stop(struct wrk *w);

/* ---- stream_table.c ---- */

/** stream_free() - wait for the thread, which ends soon or has ended, and empty the slot */
void stream_free(struct stream *t);
/** streams_cancel() - make the threads of all end, except that of @but; @registered: of pages only */
void streams_cancel(struct wrk *w, const struct stream *but, bool registered);
/** streams_drop() - end every connection that carries pages; not @but, no strangers */
void streams_drop(struct wrk *w, const struct stream *but);
/**
 * streams_wait() - until the urgent one and as many others as promised have said HELLO
 * Return: 0; -ETIMEDOUT
 */
int streams_wait(struct wrk *w, uint64_t deadline_us, struct err *e);
/** streams_want() - pager_ops.want: ask for pages on the urgent connection. @arg: struct wrk * */
int streams_want(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages);

#endif
