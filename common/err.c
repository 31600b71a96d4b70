// SPDX-License-Identifier: GPL-2.0-or-later
/* err.c - fill and extend error objects. */
#include "common/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/printable.h"

static int err_vset(struct err *e, enum err_src src, int code, const char *fmt, va_list ap)
{
	if (code <= 0)
		code = EIO;
	if (!e || e->src != ERR_NONE)
		return -code;
	e->src = src;
	e->code = code;
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	printable(e->msg);
	return -code;
}

int err_set(struct err *e, enum err_src src, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = err_vset(e, src, code, fmt, ap);

	va_end(ap);
	return r;
}

int err_sys(struct err *e, const char *fmt, ...)
{
	int code = errno;
	char text[ERR_MSG_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(e, ERR_SYS, code, "%s: %s", text, strerror(code));
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char ctx[ERR_MSG_BYTES], old[ERR_MSG_BYTES];
	va_list ap;

	if (!e)
		return -EIO;
	va_start(ap, fmt);
	vsnprintf(ctx, sizeof(ctx), fmt, ap);
	va_end(ap);
	memcpy(old, e->msg, sizeof(old));
	size_t n = strnlen(ctx, sizeof(ctx) / 2);

	snprintf(e->msg, sizeof(e->msg), "%.*s: %.*s", (int)n, ctx, (int)(sizeof(e->msg) - n - 3),
	         old);
	printable(e->msg);
	return e->code ? -e->code : -EIO;
}

int err_fix(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -EIO;
	if (!e->fix[0]) {
		va_start(ap, fmt);
		vsnprintf(e->fix, sizeof(e->fix), fmt, ap);
		printable(e->fix);
		va_end(ap);
	}
	return e->code ? -e->code : -EIO;
}

void err_clear(struct err *e)
{
	memset(e, 0, sizeof(*e));
}

const char *err_src_name(enum err_src src)
{
	static const char *const names[] = {
		[ERR_NONE] = "none",     [ERR_SYS] = "system",      [ERR_USER] = "usage",
		[ERR_PEER] = "peer",     [ERR_LINK] = "link",       [ERR_CRIU] = "criu",
		[ERR_TARGET] = "target", [ERR_STOPPED] = "stopped", [ERR_BUG] = "bug",
	};

	if ((unsigned int)src >= sizeof(names) / sizeof(names[0]))
		return "unknown";
	return names[src];
}
