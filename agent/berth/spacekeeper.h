/* SPDX-License-Identifier: GPL-2.0-or-later */
/* spacekeeper.h - process 1 of a pid namespace in which a tree lands. */
#ifndef HAUL_BERTH_SPACEKEEPER_H
#define HAUL_BERTH_SPACEKEEPER_H

#define SPACEKEEPER_WORD "--keep-space"

/**
 * spacekeeper_main() - hauld --keep-space SOCKET IMAGES TOP, descriptors that it inherits, and the highest pid of the tree
 * Return: exit status, when the socket is closed and the namespace is empty
 */
int spacekeeper_main(int argc, char **argv);

#endif
