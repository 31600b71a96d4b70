// SPDX-License-Identifier: GPL-2.0-or-later
/* groups.c - findings of one kind are one line, what stands in the way comes last. */
#include "hauler/report/groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/auto.h"

static const struct {
	const char *severity, *word;
} order[] = { { "info", "note   " }, { "warning", "warning" }, { "blocker", "BLOCKER" } };

struct group {
	json_t *first;
	unsigned int more;
};

static struct {
	struct group *v;
	size_t n, cap;
} groups;

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* Addresses: they differ in letters, too. */
static bool is_hex(const char *word, size_t n)
{
	return n > 6 && strspn(word, "0123456789abcdef-") >= n;
}

/* Do two texts differ in numbers only: process IDs, descriptors, addresses? */
static bool reads_alike(const char *a, const char *b)
{
	while (*a && *b) {
		size_t m = strcspn(a, " "), n = strcspn(b, " ");

		if (is_hex(a, m) && is_hex(b, n)) {
			a += m;
			b += n;
		}
		a += strspn(a, "0123456789");
		b += strspn(b, "0123456789");
		if (*a != *b)
			return false;
		a += *a != 0;
		b += *b != 0;
	}
	return !*a && !*b;
}

/* What stands in the way is told one by one: each is to be mended. */
static bool is_alike(const json_t *a, const json_t *b)
{
	return !strcmp(str(a, "severity"), str(b, "severity")) &&
	       !strcmp(str(a, "code"), str(b, "code")) &&
	       (strcmp(str(a, "severity"), "blocker") != 0 ||
	        reads_alike(str(a, "text"), str(b, "text")));
}

static void print(const json_t *o, const char *word, unsigned int more)
{
	const char *remedy = str(o, "remedy");

	printf("  %s  %-18s %s\n", word, str(o, "code"), str(o, "text"));
	if (more)
		printf("           %-18s and %u more of this kind (--verbose)\n", "", more);
	if (remedy[0] && strcmp(str(o, "severity"), "info"))
		printf("           %-18s -> %s\n", "", remedy);
}

void groups_add(json_t *o, bool all)
{
	for (size_t i = 0; !all && i < groups.n; i++)
		if (is_alike(groups.v[i].first, o)) {
			groups.v[i].more++;
			return;
		}
	if (array_grow(&groups.v, groups.n, &groups.cap, sizeof(*groups.v)) < 0)
		print(o, order[ARRAY_SIZE(order) - 1].word, 0);
	else
		groups.v[groups.n++] = (struct group){ .first = json_incref(o) };
}

void groups_print(void)
{
	for (size_t k = 0; k < ARRAY_SIZE(order); k++)
		for (size_t i = 0; i < groups.n; i++)
			if (!strcmp(str(groups.v[i].first, "severity"), order[k].severity))
				print(groups.v[i].first, order[k].word, groups.v[i].more);
	for (size_t i = 0; i < groups.n; i++)
		json_decref(groups.v[i].first);
	free(groups.v);
	groups.v = NULL;
	groups.n = groups.cap = 0;
}
