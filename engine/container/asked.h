/* SPDX-License-Identifier: GPL-2.0-or-later */
/* asked.h - what a runtime asks of CRIU: taken by haul in CRIU's place. */
#ifndef HAUL_ASKED_H
#define HAUL_ASKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"
#include "engine/criu/criu.h"

#define ASKED_DIR_BYTES 64

struct asked;
struct tool;

/* A request of a runtime's. */
struct wanted {
	uint8_t *data; /* as it came; the holder's */
	size_t bytes;
	int rpc; /* the runtime's connection to CRIU; -1 */
	int front; /* to the program in front, which waits; -1 */
	pid_t pid; /* of that program */
};

/**
 * asked_open() - a folder with a `criu` that leads here, for PATH of a runtime
 * @id:      of the migration
 * @criu:    the real one, borrowed
 * @version: of that
 */
int asked_open(struct asked **out, uint64_t id, const char *criu, unsigned int version,
               struct err *e);
/** asked_dir() - the folder, for files of the runtime */
const char *asked_dir(const struct asked *a);
/** asked_path() - "PATH=..." for tool_start() */
const char *asked_path(const struct asked *a);
/**
 * asked_dump() - until the runtime wants a dump: it is told that it has been made; nothing is stopped
 * Return: 0 and @out without a connection; -EPROTO: @c has ended before
 */
int asked_dump(struct asked *a, struct tool *c, struct wanted *out, uint64_t deadline_us,
               struct err *e);
/** asked_restore() - until it wants a restore, which then waits */
int asked_restore(struct asked *a, struct tool *c, struct wanted *out, uint64_t deadline_us,
                  struct err *e);
/** asked_root() - the root file system of the request. Return: a copy, the caller's; NULL: it has none */
char *asked_root(const struct wanted *k);
/**
 * asked_become() - let the program in front become CRIU
 * @cgroup_space: in a cgroup namespace of its own, as the container is
 * @rpc: CRIU's end of a socket pair, ours; @v: descriptors that it gets from FRONT_FD_FIRST on
 */
int asked_become(struct wanted *k, const char *criu, bool cgroup_space, int rpc,
                 const struct criu_inherit *v, size_t n, struct err *e);
void asked_fini(struct wanted *k);
/** asked_close() - remove the folder and what is in it */
void asked_close(struct asked *a);
DEFINE_AUTO(asked, asked_close)
/** asked_remove() - the folder of a migration whose process has died */
void asked_remove(uint64_t id);

#endif
