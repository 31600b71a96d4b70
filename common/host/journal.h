/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal.h - records of what a migration has promised, written before the promise is sent, so that
 * another program can finish or undo what a killed one started. docs/HANDOVER.md lists the records.
 *
 * One file for each migration and side, one line for each record:
 *   CHECKSUM WORD key=value key=value ...
 * A line without its newline does not count: no message that depends on it was sent.
 * The records describe processes of this boot, which end when the host goes down. So a record
 * must survive only our own death, and nothing is synced to disk while a tree is stopped.
 */
#ifndef HAUL_JOURNAL_H
#define HAUL_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/auto.h"
#include "common/err.h"

#define JOURNAL_DIR        "/run/haul/journal"
#define JOURNAL_BYTES_MAX  (4u << 20)
#define JOURNAL_BOOT_BYTES 40

enum journal_side { JOURNAL_SOURCE, JOURNAL_DEST };

struct journal;

/** journal_new() - make one and lock it until journal_close(). -EEXIST: there is one already */
int journal_new(struct journal **out, const char *dir, enum journal_side side, uint64_t id,
                struct err *e);
/**
 * journal_adopt() - open and lock one that a dead process left behind
 * Return: 0; -EBUSY its migration is alive; -ENOENT; -EBADMSG it is damaged
 */
int journal_adopt(struct journal **out, const char *dir, enum journal_side side, uint64_t id,
                  struct err *e);
/**
 * journal_take() - use one that this process has open and locked already: a successor inherits
 * the worker's
 * @fd: taken on success
 * Return: 0; -EBADMSG it is damaged
 */
int journal_take(struct journal **out, const char *dir, enum journal_side side, uint64_t id, int fd,
                 struct err *e);
/**
 * journal_add() - append one record. Return: 0; -E2BIG: the file would be too large; -errno
 * @word, keys: letters, digits, '-'. Values: anything printable without blanks.
 * @fmt: "key=%s key=%u ...", or "" for none
 */
int journal_add(struct journal *j, struct err *e, const char *word, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/** journal_word() - of the last record; "" when there is none */
const char *journal_word(const struct journal *j);
/** journal_get() - the value recorded last, valid until the next call; NULL: none */
const char *journal_get(const struct journal *j, const char *key);
/** journal_of_this_boot() - false: the host was rebooted, so its processes are gone */
bool journal_of_this_boot(const struct journal *j);
/** journal_fd() - the locked file: no other process can adopt it while this one is open */
int journal_fd(const struct journal *j);
/** journal_close() - @remove: delete the file, too. Takes NULL */
void journal_close(struct journal *j, bool remove);

/** journal_each() - call @fn for each ID of @side in @dir. Return: 0, or what @fn returned */
int journal_each(const char *dir, enum journal_side side, int (*fn)(void *arg, uint64_t id),
                 void *arg);
/** journal_sweep() - remove journals of @side that no process owns and older than @max_s */
void journal_sweep(const char *dir, enum journal_side side, unsigned int max_s);

/** journal_boot_id() - the boot ID of this host */
void journal_boot_id(char out[JOURNAL_BOOT_BYTES]);

#endif
