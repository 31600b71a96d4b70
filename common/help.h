/* SPDX-License-Identifier: GPL-2.0-or-later */
/* help.h - the lines of a program's --help. */
#ifndef HAUL_HELP_H
#define HAUL_HELP_H

#include <stdio.h>

/**
 * help_item() - print one item of a help: @flag on the left, @text beside it, wrapped at 80 columns
 * @column: where the text begins; a longer @flag has a line of its own
 */
void help_item(FILE *f, unsigned int column, const char *flag, const char *text);

#endif
