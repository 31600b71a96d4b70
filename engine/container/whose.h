/* SPDX-License-Identifier: GPL-2.0-or-later */
/* whose.h - which container a process is in. */
#ifndef HAUL_WHOSE_H
#define HAUL_WHOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * whose_container() - by its cgroup; no program is run
 * @word: "podman:ID", as a command line has it; runtimes that haul does not move are named, too
 * Return: false: it is in none, or in the one that we are in
 */
bool whose_container(pid_t pid, char *word, size_t bytes);

#endif
