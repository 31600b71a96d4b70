/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * place.h - files arrive under names that nobody looks for, get their own just before the restore,
 * and lose them again if it fails. What is done is on record first (/run/haul/files/ID), so that
 * whoever comes after a crash can undo or finish it.
 *
 * No path leads through a symbolic link: what somebody swaps in is an error, not another place.
 */
#ifndef HAUL_AGENT_PLACE_H
#define HAUL_AGENT_PLACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

#define PLACE_DIR "/run/haul/files"

struct place;

/** place_new() - nothing is made but the record */
int place_new(struct place **out, uint64_t id, struct err *e);
/**
 * place_temp() - a new empty file on the file system where @path will be
 * @name: out, freed by the caller
 * Return: its descriptor, for reading and writing; -errno
 */
int place_temp(struct place *p, const char *path, char **name, struct err *e);
/** place_put() - @temp gets the name @path; @replace: in the place of the file there */
int place_put(struct place *p, const char *temp, const char *path, bool replace, struct err *e);
/** place_dir(), place_link(), place_node() - make it; -EEXIST when something is there */
int place_dir(struct place *p, const char *path, mode_t mode, struct err *e);
int place_link(struct place *p, const char *path, const char *to, struct err *e);
int place_node(struct place *p, const char *path, mode_t mode, dev_t dev, struct err *e);
/** place_fd() - of the record: its lock says that it has an owner */
int place_fd(const struct place *p);
/** place_keep() - on record: what was placed stays */
int place_keep(struct place *p, struct err *e);
/** place_end() - after place_keep(): remove what was replaced; without it: undo all */
void place_end(struct place *p);
/** place_adopt() - the record of a dead worker: end it so. Return: 0; -EAGAIN it has an owner */
int place_adopt(uint64_t id);
/** place_sweep() - the same for all records of this host */
void place_sweep(void);

/**
 * place_parent() - the directory that holds @path, or the nearest one above it that is there
 * @rest: out, may be NULL: the part of @path below it
 * Return: a descriptor (O_PATH); -ELOOP a symbolic link is in the way; -errno
 */
int place_parent(const char *path, bool nearest, const char **rest);

#endif
