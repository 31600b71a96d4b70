/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * hostroot.h - the host's files for a process that has entered the mount namespace of a tree, where they may be hidden or
 * read-only.
 */
#ifndef HAUL_HOSTROOT_H
#define HAUL_HOSTROOT_H

/** hostroot_keep() - called before another mount namespace is entered. Return: 0; -errno */
int hostroot_keep(void);
/** hostroot() - what is put before an absolute path to name the host's file; empty in the host's mount namespace */
const char *hostroot(void);

#endif
