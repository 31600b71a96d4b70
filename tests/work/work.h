/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * work.h - what the workloads share: PROG --dir DIR [--name N]... writes DIR/ready
 * when set up; SIGUSR1 makes it verify all it has and write DIR/verify.K (K counts
 * in its own memory) as one line of JSON; it writes DIR/failed when it notices a
 * fault by itself. No descriptor stays open but what the test is about.
 */
#ifndef HAUL_WORK_H
#define HAUL_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096u

void work_init(int argc, char **argv);
/** work_option() - value of --name, or @dflt */
long work_option(const char *name, long dflt);
const char *work_dir(void);
void work_ready(void);
/** work_wanted() - a verification was asked for (once for each signal) */
bool work_wanted(void);
void work_report(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void work_failed(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/** stamp_put() - fill a page as a function of who, which and how often */
void stamp_put(void *page, uint64_t id, uint64_t index, uint64_t generation);
/** stamp_ok() - is it exactly that? */
bool stamp_ok(const void *page, uint64_t id, uint64_t index, uint64_t generation);
bool all_zero(const void *page);
uint64_t next_random(uint64_t *x);
uint64_t real_us(void);

#endif
