/* SPDX-License-Identifier: GPL-2.0-or-later */
/* scarce.h - what this host has run out of: processes, descriptors, memory. In words that an operator knows. */
#ifndef HAUL_SCARCE_H
#define HAUL_SCARCE_H

#include "common/err.h"

/** scarce_words() - "out of descriptors" and so on; NULL: @code does not mean that */
const char *scarce_words(int code);
/**
 * scarce_now() - can the processes and descriptors that CRIU needs be had at this moment? Tries it.
 * Return: 0; -errno, and @e says what this host is out of, and which limits there are
 */
int scarce_now(struct err *e);

#endif
