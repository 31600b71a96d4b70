// SPDX-License-Identifier: GPL-2.0-or-later
/* allow.c - lists of directories that keys may write below. */
#include "agent/check/allow.h"

#include <string.h>

static const char blank[] = " \t";

bool allow_clean(const char *path)
{
	if (path[0] != '/' || !path[1])
		return false;
	for (const char *part = path; *part;) {
		size_t n = strcspn(++part, "/");

		if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && !strncmp(part, "..", 2)))
			return false;
		part += n;
	}
	return true;
}

bool allow_key(const char *key, const char *word, size_t n)
{
	return key && strcspn(key, " ") == n && !strncmp(key, word, n);
}

/* Of one word: DIR, or FINGERPRINT=DIR. */
static long dir_of_word(const char *word, size_t n, const char *key, const char *path)
{
	const char *eq = word[0] == '/' ? NULL : memchr(word, '=', n);
	size_t skip = eq ? (size_t)(eq - word) + 1 : 0;

	if (eq && !allow_key(key, word, skip - 1))
		return -1;
	word += skip;
	n -= skip;
	if (!n || word[0] != '/')
		return -1;
	while (n > 0 && word[n - 1] == '/')
		n--;
	return !strncmp(path, word, n) && path[n] == '/' && path[n + 1] ? (long)n : -1;
}

long allow_dir(const char *list, const char *key, const char *path)
{
	long found = -1;

	if (!allow_clean(path))
		return -1;
	for (const char *p = list; found < 0 && *(p += strspn(p, blank));) {
		size_t n = strcspn(p, blank);

		found = dir_of_word(p, n, key, path);
		p += n;
	}
	return found;
}
