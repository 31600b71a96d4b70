/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * journal.h - what a migration has promised, on record before it is said; so that another
 * program can end what a killed one began. docs/HANDOVER.md says which record means what.
 *
 * One file for each migration and side, one line for each record:
 *   CHECKSUM WORD key=value key=value ...
 * A line without its newline was not written: what depends on it was never said.
 * The records describe processes of this boot. A host that dies takes them along, so a
 * record has to survive our death only, and nothing is synced while a tree is stopped.
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

/** journal_new() - @out is ours alone until journal_close(); -EEXIST when there is one */
int journal_new(struct journal **out, const char *dir, enum journal_side side, uint64_t id,
                struct err *e);
/**
 * journal_adopt() - one that was left behind
 * Return: 0; -EBUSY its migration is alive; -ENOENT; -EBADMSG it is damaged
 */
int journal_adopt(struct journal **out, const char *dir, enum journal_side side, uint64_t id,
                  struct err *e);
/**
 * journal_take() - one that this process has open and locked already: the worker's, in the
 * process that goes on in its place
 * @fd: taken on success
 * Return: 0; -EBADMSG it is damaged
 */
int journal_take(struct journal **out, const char *dir, enum journal_side side, uint64_t id, int fd,
                 struct err *e);
/**
 * journal_add() - one record, there when this returns 0; -E2BIG: the file would be too large
 * @word, keys: letters, digits, '-'. Values: anything printable without blanks.
 * @fmt: "key=%s key=%u ...", or "" for none
 */
int journal_add(struct journal *j, struct err *e, const char *word, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
/** journal_word() - of the last record; "" when there is none */
const char *journal_word(const struct journal *j);
/** journal_get() - the value that was recorded last, until the next call; NULL: none */
const char *journal_get(const struct journal *j, const char *key);
/** journal_of_this_boot() - false: the processes that it tells of are gone */
bool journal_of_this_boot(const struct journal *j);
/** journal_fd() - the open, locked file: who has it open keeps others from adopting it */
int journal_fd(const struct journal *j);
/** journal_close() - @remove: nobody will ask any more. Takes NULL */
void journal_close(struct journal *j, bool remove);

/** journal_each() - the ids of @side in @dir. Return: 0, or what @fn returned */
int journal_each(const char *dir, enum journal_side side, int (*fn)(void *arg, uint64_t id),
                 void *arg);
/** journal_sweep() - remove those of @side that nobody owns and that are older than @max_s */
void journal_sweep(const char *dir, enum journal_side side, unsigned int max_s);

/** boot_id() - of this host */
void boot_id(char out[JOURNAL_BOOT_BYTES]);

#endif
