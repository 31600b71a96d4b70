// SPDX-License-Identifier: GPL-2.0-or-later
/* log.c - one write per line, so that threads and processes do not mix. */
#include "common/log.h"

#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/printable.h"

static const char *log_program = "haul";
static enum log_level log_max = LOG_WARN_;
static uint64_t log_mig;

void log_setup(const char *program, enum log_level max)
{
	log_program = program;
	log_max = max;
}

void log_migration(uint64_t id)
{
	log_mig = id;
}

/* How many bytes of @s, from its start, are KEY=VALUE pairs? Values may be quoted. */
static size_t pairs(const char *s)
{
	const char *p = s;

	for (;;) {
		size_t key = strspn(p, "abcdefghijklmnopqrstuvwxyz_0123456789");
		const char *v = p + key + 1;

		if (key == 0 || p[key] != '=')
			break;
		if (*v == '"') {
			const char *end = strchr(v + 1, '"');

			if (!end)
				break;
			v = end + 1;
		} else {
			v += strcspn(v, " ");
		}
		/* "worker=7: is dead": a sentence that starts with a pair */
		if (v[-1] == ':' || (*v && *v != ' '))
			break;
		p = v + strspn(v, " ");
	}
	return (size_t)(p - s);
}

/* The rest, which is not KEY=VALUE, becomes msg="...". */
static size_t put_message(char *out, size_t bytes, const char *text)
{
	size_t head = pairs(text), n = 0;

	n += (size_t)snprintf(out, bytes, "%.*s", (int)head, text);
	if (!text[head] || n + 8 > bytes)
		return n;
	n += (size_t)snprintf(out + n, bytes - n, "%smsg=\"",
	                      head && text[head - 1] != ' ' ? " " : "");
	for (const char *p = text + head; *p && n + 4 < bytes; p++) {
		if (*p == '"' || *p == '\\')
			out[n++] = '\\';
		out[n++] = *p;
	}
	out[n++] = '"';
	out[n] = 0;
	return n;
}

/* systemd's journal adds time and process itself, and reads the level from <N>. */
static size_t put_head(char *out, size_t bytes, enum log_level level)
{
	static const char *const names[] = { "err", "warn", "info", "debug" };
	static const int priority[] = { 3, 4, 6, 7 };
	struct timespec now;
	struct tm tm;

	if (getenv("JOURNAL_STREAM"))
		return (size_t)snprintf(out, bytes, "<%d>level=%s ", priority[level], names[level]);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	return (size_t)snprintf(out, bytes,
	                        "time=%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ program=%s pid=%d "
	                        "level=%s ",
	                        tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	                        tm.tm_sec, now.tv_nsec / 1000000, log_program, getpid(),
	                        names[level]);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1400], text[1000];
	int keep = errno;
	va_list ap;

	if (level > log_max)
		return;
	size_t n = put_head(line, sizeof(line), level);

	if (log_mig)
		n += (size_t)snprintf(line + n, sizeof(line) - n, "mig=%016llx ",
		                      (unsigned long long)log_mig);
	va_start(ap, fmt);
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		text[0] = 0;
	va_end(ap);
	printable(text);
	n += put_message(line + n, sizeof(line) - n - 2, text);
	line[n++] = '\n';
	ssize_t w = write(STDERR_FILENO, line, n);

	(void)w;
	errno = keep;
}
