/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * append.h - complete an older copy of a log in place: the file here keeps its inode, its owner and
 * its beginning, and programs that read it go on.
 */
#ifndef HAUL_AGENT_APPEND_H
#define HAUL_AGENT_APPEND_H

#include "agent/files/bring.h"

/**
 * append_open() - open the file here with the rights of the tree, and prove its beginning
 * @f: accepted as FILE_TAIL; f->to is set on success
 * Return: 0; -ESTALE it is another file, or another content, than was accepted; -errno
 */
int append_open(const struct wrk *w, struct bring_file *f, struct err *e);
/**
 * append_same() - bytes of the source that the file here has already: are they the same?
 * Return: 0; -ESTALE the log was written anew at the source
 */
int append_same(const struct bring_file *f, const Haul__FilePart *part, struct err *e);
/**
 * append_upto() - append what f->fd has, until the file here has @size bytes. On record first
 * Return: 0; -ESTALE another process has written it here, or it became shorter at the source; -errno
 */
int append_upto(struct place *p, struct bring_file *f, uint64_t size, struct err *e);

#endif
