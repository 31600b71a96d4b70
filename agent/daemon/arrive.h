/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arrive.h - hauld --arrive FD CONFIG CRIU ROUTE: a worker for haul load. */
#ifndef HAUL_AGENT_DAEMON_ARRIVE_H
#define HAUL_AGENT_DAEMON_ARRIVE_H

/**
 * arrive_main() - take a tree on the connected socket FD; ROUTE not 0: answer from its journal
 * Return: exit status
 */
int arrive_main(int argc, char **argv);

#endif
