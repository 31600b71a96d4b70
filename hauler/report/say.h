/* SPDX-License-Identifier: GPL-2.0-or-later */
/* say.h - print events for people or programs, whether this haul made them or another one. */
#ifndef HAUL_SAY_H
#define HAUL_SAY_H

#include <jansson.h>
#include <stdbool.h>

struct say_how {
	bool json, quiet, verbose;
};

/**
 * say_clean() - make every text in @o, which another program or host sent, fit to be shown
 * Keys are left as they are.
 */
void say_clean(json_t *o);

/** say_event() - on standard output, errors on standard error; @o: taken */
void say_event(json_t *o, struct say_how how);

#endif
