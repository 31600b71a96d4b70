// SPDX-License-Identifier: GPL-2.0-or-later
/* checks.h - what a unit test finds not to be true is told and counted; checks_end() is its status. */
#ifndef TESTS_CHECKS_H
#define TESTS_CHECKS_H

#include <stdio.h>

static unsigned int checks_failed;
static const char *checks_title = ""; /* of the part that runs */

#define CHECK(what, ...)                                                                           \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("%s:%d: %s: not true: %s; ", __FILE__, __LINE__, checks_title,      \
			       #what);                                                             \
			printf(__VA_ARGS__);                                                       \
			printf("\n");                                                              \
			checks_failed++;                                                           \
		}                                                                                  \
	} while (0)

static inline int checks_end(void)
{
	printf("%u checks failed\n", checks_failed);
	return checks_failed ? 1 : 0;
}

#endif
