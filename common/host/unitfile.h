/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unitfile.h - what the files of a service of systemd's set, in a form in which two hosts can be compared. */
#ifndef HAUL_UNITFILE_H
#define HAUL_UNITFILE_H

#include <stddef.h>

#define UNITFILE_BYTES 32768 /* with the 0; of what is longer, the beginning */
#define UNITFILE_LINE  256

/**
 * unitfile_settings() - the settings of a unit and its drop-ins, without haul's and without what names, describes or
 * installs it
 * @unit: NAME.service
 * @out: lines "Section.Key=value", in the order of the files; of an enabled unit Unit.UnitFileState=enabled, too
 * Return: 0; -errno: systemd does not answer, and @out is empty
 */
int unitfile_settings(const char *unit, char out[UNITFILE_BYTES]);
/**
 * unitfile_only() - the lines of one text that the other lacks
 * @first: out: the first of them, without control characters; empty: none
 * Return: how many there are
 */
unsigned int unitfile_only(const char *text, const char *other, char first[UNITFILE_LINE]);

#endif
