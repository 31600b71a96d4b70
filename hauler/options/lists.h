// SPDX-License-Identifier: GPL-2.0-or-later
/* lists.h - the lists of a policy file (addresses to move, maps, directories), as haul reads them. */
#ifndef HAULER_LISTS_H
#define HAULER_LISTS_H

#include "policies/policies.h"

/**
 * lists_err() - put "FILE:LINE: KEY: " before the error about item @k of list @list. Return: -code
 * of @e
 */
int lists_err(const struct policy *p, size_t list, size_t k, struct err *e);
/**
 * lists_check() - does every item have the form that haul takes? What it names may exist on another
 * host only.
 */
int lists_check(const struct policy *p, struct err *e);

#endif
