/* SPDX-License-Identifier: GPL-2.0-or-later */
/* report.c - gathers faults of one verification; the first one is told in words. */
#include "work.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void say(struct report *r, const char *fmt, va_list ap)
{
	if (r->detail[0])
		return;
	vsnprintf(r->detail, sizeof(r->detail), fmt, ap);
	for (char *c = r->detail; *c; c++) {
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			*c = '\'';
	}
}

/* Something that is not a page is wrong. */
void rep_error(struct report *r, const char *fmt, ...)
{
	va_list ap;

	r->errors++;
	va_start(ap, fmt);
	say(r, fmt, ap);
	va_end(ap);
}

/* The page at @addr is wrong. */
void rep_page(struct report *r, const void *addr, const char *fmt, ...)
{
	va_list ap;

	if (!r->bad_pages++)
		r->first_bad = (uintptr_t)addr;
	va_start(ap, fmt);
	say(r, fmt, ap);
	va_end(ap);
}

/* Adds JSON members; @fmt starts with a comma. */
void rep_extra(struct report *r, const char *fmt, ...)
{
	size_t used = strlen(r->extra);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->extra + used, sizeof(r->extra) - used, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(r->extra) - used)
		r->extra[used] = '\0';
}

/**
 * rep_merge() - add the report of another process or thread
 * @who: named in front of its first fault
 */
void rep_merge(struct report *to, const struct report *from, const char *who)
{
	if (!to->bad_pages)
		to->first_bad = from->first_bad;
	if (!to->detail[0] && from->detail[0])
		snprintf(to->detail, sizeof(to->detail), "%s: %.250s", who, from->detail);
	to->checked_pages += from->checked_pages;
	to->bad_pages += from->bad_pages;
	to->zero_pages += from->zero_pages;
	to->stale_pages += from->stale_pages;
	to->errors += from->errors;
	to->ops += from->ops;
}
