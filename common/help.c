// SPDX-License-Identifier: GPL-2.0-or-later
/* help.c - the lines of a program's --help. */
#include "common/help.h"

#include <string.h>

#define HELP_COLUMNS 80

/* How many bytes of @text, whole words, fit in @room columns? At least one word. */
static size_t fits(const char *text, size_t room)
{
	size_t n = 0;

	for (;;) {
		size_t word = strcspn(text + n, " ");

		if (n && n + word > room)
			return n;
		n += word;
		if (!text[n])
			return n;
		n += strspn(text + n, " ");
	}
}

void help_item(FILE *f, unsigned int column, const char *flag, const char *text)
{
	size_t flag_columns = strlen(flag);

	fputs(flag, f);
	if (flag_columns + 2 > column) {
		fputc('\n', f);
		flag_columns = 0;
	}
	while (*text) {
		size_t n = fits(text, HELP_COLUMNS - column), words = n;

		while (words && text[words - 1] == ' ')
			words--;
		fprintf(f, "%*s%.*s\n", (int)(column - flag_columns), "", (int)words, text);
		text += n;
		flag_columns = 0;
	}
}
