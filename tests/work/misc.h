/* SPDX-License-Identifier: GPL-2.0-or-later */
/* misc.h - the odd things a process can hold; each is set up, kept going and checked. */
#ifndef MISC_H
#define MISC_H

#include "work.h"

struct thing {
	const char *name;
	bool off;
	void (*set_up)(void);
	void (*turn)(void); /* may be NULL; every 10 ms while not paused */
	void (*check)(struct report *r);
	void (*damage)(void); /* may be NULL */
};

void misc_start_thread(void *(*run)(void *), void *arg, size_t stack_bytes);

extern struct thing misc_memory[], misc_kernel[];
extern const size_t misc_nr_memory, misc_nr_kernel;

#endif
