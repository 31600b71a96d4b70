/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sink.h - what CRIU streams in push mode. */
#ifndef HAUL_SINK_H
#define HAUL_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"
#include "engine/runs.h"

struct sink;

struct sink_obj {
	uint64_t obj;
	struct runs lazy; /* may arrive after the resume */
	struct runs eager; /* must arrive before the first instruction */
	struct runs clean; /* left out by CRIU, with sink_ops.parent: lazy or eager */
};

struct sink_ops {
	/* pages of shared memory as they arrive; data is borrowed */
	int (*shmem)(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages);
	/* the same for pages of tasks; NULL: they are discarded */
	int (*task)(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages);
	/* claim to have an earlier dump of each task: CRIU then only names clean pages */
	bool parent;
	void *arg;
};

/**
 * sink_start() - a thread that answers CRIU's page stream
 * @fd:           our end of the socketpair; taken
 * @criu_version: decides the layout: 24-byte headers up to 4.1.1, 32 from 4.2 Pages of tasks are
 * only listed; those of shared memory are passed to @ops.
 */
int sink_start(struct sink **out, int fd, unsigned int criu_version, const struct sink_ops *ops,
               struct err *e);
/**
 * sink_wait() - wait until the thread has ended
 * Return: 0 the stream is complete; -errno; ERR_CRIU, ETIMEDOUT: it has not ended
 */
int sink_wait(struct sink *s, uint64_t deadline_us, struct err *e);
/** sink_objs() - the objects of the stream, after sink_wait() returned 0 */
const struct sink_obj *sink_objs(const struct sink *s, size_t *n);
void sink_free(struct sink *s);
DEFINE_AUTO(sink, sink_free)

/** sink_head_parse() - one header of either layout; pure, for tests */
struct sink_head {
	unsigned int cmd, flags;
	uint64_t pages, vaddr, obj;
};
/** sink_head_bytes() - size of a header in this version's layout, in bytes */
size_t sink_head_bytes(unsigned int criu_version);
void sink_head_parse(const uint8_t *raw, unsigned int criu_version, struct sink_head *h);

#endif
