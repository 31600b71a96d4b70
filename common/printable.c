// SPDX-License-Identifier: GPL-2.0-or-later
/* printable.c - texts that others chose, made fit for a terminal, a log and JSON. */
#include "common/printable.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/auto.h"

/* Ranges of characters that are not shown as they are */
static const struct {
	uint32_t from, to;
} unfit[] = {
	{ 0x7f, 0x9f }, /* DEL, C1 */
	{ 0xad, 0xad }, /* soft hyphen */
	{ 0x61c, 0x61c }, /* Arabic letter mark */
	{ 0x180e, 0x180e }, /* Mongolian vowel separator */
	{ 0x200b, 0x200f }, /* zero width, direction marks */
	{ 0x2028, 0x202e }, /* separators, embeddings, overrides */
	{ 0x2060, 0x206f }, /* word joiner, isolates */
	{ 0xd800, 0xdfff }, /* halves of UTF-16 */
	{ 0xfe00, 0xfe0f }, /* variation selectors */
	{ 0xfeff, 0xfeff }, /* byte order mark */
	{ 0xfff0, 0xfffb }, /* interlinear annotations */
	{ 0xe0000, 0xe0fff }, /* tags */
	{ 0x110000, UINT32_MAX },
};

/* The character at @s -> @c. Return: its bytes; 0: not UTF-8 */
static size_t decode(const unsigned char *s, uint32_t *c)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = *s < 0x80 ? 1 : *s >> 5 == 6 ? 2 : *s >> 4 == 14 ? 3 : *s >> 3 == 30 ? 4 : 0;

	if (n < 2) {
		*c = *s;
		return n;
	}
	*c = *s & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if (s[i] >> 6 != 2) /* also the end of the text */
			return 0;
		*c = *c << 6 | (s[i] & 0x3f);
	}
	return *c >= least[n] ? n : 0;
}

static bool fit(uint32_t c)
{
	if (c < 0x20)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(unfit); i++)
		if (c >= unfit[i].from && c <= unfit[i].to)
			return false;
	return true;
}

char *printable(char *s)
{
	char *to = s;
	const char *from = s;

	while (*from) {
		uint32_t c = 0;
		size_t n = decode((const unsigned char *)from, &c);

		if (n && fit(c)) {
			if (to != from)
				memmove(to, from, n);
			to += n;
		} else {
			*to++ = n && (c == '\n' || c == '\t') ? ' ' : '?';
		}
		from += n ? n : 1;
	}
	if (to != from) /* the text that is empty by default may be a constant */
		*to = 0;
	return s;
}

bool printable_is(const char *s)
{
	for (size_t n; *s; s += n) {
		uint32_t c = 0;

		n = decode((const unsigned char *)s, &c);
		if (!n || !fit(c))
			return false;
	}
	return true;
}

void printable_comm(pid_t pid, char *out, size_t bytes)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	AUTO(file) FILE *f = fopen(path, "re");
	size_t n = f ? fread(out, 1, bytes - 1, f) : 0;

	if (n && out[n - 1] == '\n')
		n--; /* the kernel's own */
	out[n] = 0;
	if (!n)
		snprintf(out, bytes, "?");
	printable(out);
}
