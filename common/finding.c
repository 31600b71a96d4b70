// SPDX-License-Identifier: GPL-2.0-or-later
/* finding.c - a growing list of findings. */
#include "common/finding.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array.h"
#include "common/printable.h"

static int has(const struct findings *f, const char *code, const char *text)
{
	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->v[i].code, code) && !strcmp(f->v[i].text, text))
			return 1;
	return 0;
}

int finding_add(struct findings *f, enum severity severity, const char *code, const char *remedy,
                const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);

	va_end(ap);
	if (n < 0)
		return -ENOMEM;
	printable(text);
	if (has(f, code, text)) {
		free(text);
		return 0;
	}
	char *fix = strdup(remedy ? remedy : "");

	if (fix)
		printable(fix);
	if (!fix || array_grow(&f->v, f->n, &f->cap, sizeof(*f->v)) < 0) {
		free(text);
		free(fix);
		return -ENOMEM;
	}
	f->v[f->n] = (struct finding){ severity, "", text, fix };
	snprintf(f->v[f->n].code, sizeof(f->v[f->n].code), "%s", code);
	f->n++;
	f->blockers += severity == SEV_BLOCKER;
	f->warnings += severity == SEV_WARNING;
	return 0;
}

void findings_fini(struct findings *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->v[i].text);
		free(f->v[i].remedy);
	}
	free(f->v);
	memset(f, 0, sizeof(*f));
}
