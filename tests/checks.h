// SPDX-License-Identifier: GPL-2.0-or-later
/* checks.h - what a unit test finds not to be true is told and counted; checks_end() is its status. */
#ifndef TESTS_CHECKS_H
#define TESTS_CHECKS_H

#include <stdio.h>
#include <stdlib.h>

__attribute__((unused)) static unsigned int checks_failed;
__attribute__((unused)) static const char *checks_title = ""; /* of the part that runs */

/* CHECK(CONDITION[, FORMAT, ...]): the words begin with a literal */
#define CHECK(what, ...)                                                                           \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			printf("%s:%d: %s: not true: %s;", __FILE__, __LINE__, checks_title,       \
			       #what);                                                             \
			printf(" " __VA_ARGS__);                                                   \
			printf("\n");                                                              \
			checks_failed++;                                                           \
		}                                                                                  \
	} while (0)

/* What the rest of the test builds on: when it is not true the test ends. */
#define MUST(what)                                                                                 \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #what);       \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* The same, and says what the error object holds. */
#define MUST_E(what, e)                                                                            \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: not true: %s (%s)\n", __FILE__, __LINE__, #what,   \
			        (e).msg);                                                          \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

static inline int checks_end(void)
{
	printf("%u checks failed\n", checks_failed);
	return checks_failed ? 1 : 0;
}

#endif
