/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tool.h - the command of a runtime: run, watched, its words taken. */
#ifndef HAUL_TOOL_H
#define HAUL_TOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct tool;

/**
 * tool_start() - run @argv with its output and errors taken
 * @path: value of PATH for it; NULL: ours
 */
int tool_start(struct tool **out, const char *const *argv, const char *path, struct err *e);
/** tool_pidfd() - readable when it has ended */
int tool_pidfd(const struct tool *c);
/**
 * tool_wait() - until it ends; killed at the deadline. Return: 0 exit status 0; -ETIMEDOUT; -EPROTO it failed: @e has its words
 */
int tool_wait(struct tool *c, uint64_t deadline_us, struct err *e);
/** tool_out() - its standard output as a file, its own */
int tool_out(const struct tool *c);
/** tool_free() - one that runs on is left alone */
void tool_free(struct tool *c);
DEFINE_AUTO(tool, tool_free)

/** tool_run() - all of it. @said: its output; NULL: not wanted */
int tool_run(const char *const *argv, unsigned int limit_ms, char *said, size_t bytes,
             struct err *e);

#endif
