/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * place.h - files arrive under hidden names, get their own just before the restore, and lose them
 * again if it fails. Each step is on record first (/run/haul/files/ID), so that a process that comes
 * after a crash can undo or finish it.
 *
 * No path leads through a symbolic link: a link that is swapped in is an error, not another place.
 */
#ifndef HAUL_AGENT_PLACE_H
#define HAUL_AGENT_PLACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "common/auto.h"
#include "common/err.h"

#define PLACE_DIR "/run/haul/files"

struct place;

/** place_new() - create the record, nothing else */
int place_new(struct place **out, uint64_t id, struct err *e);
/**
 * place_temp() - create an empty file on the file system where @path will be
 * @name: out, freed by the caller
 * Return: its descriptor, for reading and writing; -errno
 */
int place_temp(struct place *p, const char *path, char **name, struct err *e);
/** place_put() - give @temp the name @path; @replace: exchange it with the file there */
int place_put(struct place *p, const char *temp, const char *path, bool replace, struct err *e);
/** place_dir(), place_link(), place_node() - create it; -EEXIST when the name is taken */
int place_dir(struct place *p, const char *path, mode_t mode, struct err *e);
int place_link(struct place *p, const char *path, const char *to, struct err *e);
/* @as: mode, device, owner and times of the node */
int place_node(struct place *p, const char *path, const struct stat *as, struct err *e);

/* A file here that is about to become longer. */
struct place_grown {
	const char *path;
	ino_t ino;
	uint64_t from, to; /* its length before and after */
	struct timespec mtime; /* before */
};
/** place_grow() - on record before the append: an undo cuts it off, unless others have appended, too */
int place_grow(struct place *p, const struct place_grown *g, struct err *e);
/** place_fd() - the record's descriptor: while it is open the record is locked */
int place_fd(const struct place *p);
/** place_keep() - put on record that the placed files stay */
int place_keep(struct place *p, struct err *e);
/** place_end() - after place_keep(): remove the replaced files; without it: undo all */
void place_end(struct place *p);
/** place_adopt() - the same by the record of a dead worker. Return: 0; -EAGAIN: it lives */
int place_adopt(uint64_t id);
/** place_sweep() - the same for all records of this host */
void place_sweep(void);

/**
 * place_parent() - open the directory that holds @path
 * @nearest: or the nearest directory above it that exists
 * @rest:    out, may be NULL: the part of @path below that directory
 * Return: a descriptor (O_PATH), the caller's; -ELOOP a symbolic link is in the way; -errno
 */
int place_parent(const char *path, bool nearest, const char **rest);

#endif
