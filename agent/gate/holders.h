/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * holders.h - descriptors that CRIU opens by name: /proc/PID/fd/N. This process has them; helpers have them where they
 * are too many for it, or where CRIU is in a pid namespace in which this process has no number.
 */
#ifndef HAUL_AGENT_HOLDERS_H
#define HAUL_AGENT_HOLDERS_H

#include "agent/mig/mig.h"
#include "engine/images/img_pins.h"

#define HOLDERS_NAME_BYTES IMG_PIN_BYTES /* /proc/PID/fd/N, and for some a name in that directory */

typedef int (*holders_fn)(struct wrk *w, struct err *e);
/**
 * holders_run() - call @fn where CRIU will open files: by a thread in its mount namespace, if that is another. A file of
 * another mount namespace would be on a mount that the restored process does not see.
 * Return: as @fn; -errno
 */
int holders_run(struct wrk *w, holders_fn fn, struct err *e);

/* By @fn. */
/** holders_keep() - @fd stays open until holders_free(); always taken. @number: out. Return: 0; -errno */
int holders_keep(struct wrk *w, int fd, size_t *number, struct err *e);
/** holders_done() - all are kept, and have names now. Return: 0; -errno */
int holders_done(struct wrk *w, struct err *e);
/**
 * holders_name() - after holders_done(): the name by which CRIU opens it
 * @below: a name in that directory; NULL: the file itself
 */
void holders_name(const struct wrk *w, size_t number, const char *below,
                  char out[HOLDERS_NAME_BYTES]);
/** holders_fds() - the directory of this process's descriptors, /proc/self/fd, which CRIU's mounts may lack */
int holders_fds(const struct wrk *w);

/** holders_free() - CRIU has opened them, or will not */
void holders_free(struct wrk *w);

#endif
