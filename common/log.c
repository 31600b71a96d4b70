// SPDX-License-Identifier: GPL-2.0-or-later
/* log.c - one write per line, so that threads and processes do not mix. */
#include "common/log.h"

#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = { "err", "warn", "info", "debug" };
	char line[1200];
	int keep = errno;
	struct timespec now;
	struct tm tm;
	va_list ap;

	if (level > log_max)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	int n = snprintf(line, sizeof(line), "%02d:%02d:%02d.%03ld %s[%d] level=%s ", tm.tm_hour,
	                 tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000, log_program, getpid(),
	                 names[level]);

	if (log_mig)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "mig=%016llx ",
		              (unsigned long long)log_mig);
	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);

	va_end(ap);
	if (m < 0)
		m = 0;
	n += m;
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n] = 0;
	err_line(line);
	line[n++] = '\n';
	ssize_t w = write(STDERR_FILENO, line, (size_t)n);

	(void)w;
	errno = keep;
}
