/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * printable.h - texts that others chose (names of processes and files, words of a peer) made fit for
 * a terminal, a log and JSON.
 */
#ifndef HAUL_PRINTABLE_H
#define HAUL_PRINTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/**
 * printable() - replace in @s, in place, what could do more than show a character
 * That is: control characters (C0, DEL, C1; so newlines and escape sequences), line and paragraph
 * separators, marks that turn the direction of text or are invisible, and bytes that are not UTF-8.
 * Each becomes one '?', a newline or tab one blank. The text never grows.
 * Return: @s
 */
char *printable(char *s);

/** printable_is() - would printable() leave @s as it is? */
bool printable_is(const char *s);

/**
 * printable_comm() - the name of process @pid, fit to be shown; "?" when it is gone
 * The name may hold any byte, newlines too.
 */
void printable_comm(pid_t pid, char *out, size_t bytes);

#endif
