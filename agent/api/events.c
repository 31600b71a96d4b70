// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * events.c - files of events. One write per line and O_APPEND: lines of several writers do
 * not mix, and the position after a line is its number for ever.
 */
#include "agent/api/events.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"

static void append(int fd, const char *text, size_t bytes)
{
	if (write(fd, text, bytes) != (ssize_t)bytes)
		log_warn("cannot store an event: %s", strerror(errno));
}

void events_put(int job_dir, int all_fd, const char *id, const char *line)
{
	char text[EVENT_BYTES];
	size_t n = strlen(line);

	while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
		n--;
	if (n < 3 || line[0] != '{' || line[n - 1] != '}' || n + 80 > sizeof(text))
		return;
	int bytes = snprintf(text, sizeof(text), "{\"job\":\"%s\",\"at_ms\":%llu,%.*s\n", id,
	                     (unsigned long long)now_wall_ms(), (int)n - 1, line + 1);
	AUTO(fd)
	int fd = openat(job_dir, "events.jsonl", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd >= 0)
		append(fd, text, (size_t)bytes);
	append(all_fd, text, (size_t)bytes);
}

ssize_t events_line(int fd, uint64_t pos, char *buf, size_t bytes)
{
	ssize_t n = pread(fd, buf, bytes - 1, (off_t)pos);

	if (n <= 0)
		return n < 0 ? -errno : 0;
	const char *end = memchr(buf, '\n', (size_t)n);

	if (!end)
		return 0;
	n = end - buf + 1;
	buf[n] = 0;
	return n;
}

bool events_skip_hole(int fd, uint64_t *pos)
{
	char first = '{';
	off_t data = pread(fd, &first, 1, (off_t)*pos) == 1 && first == 0
	                     ? lseek(fd, (off_t)*pos, SEEK_DATA)
	                     : -1;

	if (data <= (off_t)*pos)
		return false;
	*pos = (uint64_t)data;
	return true;
}
