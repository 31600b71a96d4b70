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

#define OUTCOME       "exit.json"
#define OUTCOME_NEW   "exit.new"
#define OUTCOME_BYTES 4096

/* A line that was cut off, when the disk was full, must not run into the next one. */
static void end_line(int fd)
{
	char last = '\n';
	off_t end = lseek(fd, 0, SEEK_END);

	if (end > 0 && pread(fd, &last, 1, end - 1) == 1 && last != '\n' && write(fd, "\n", 1) < 0)
		log_warn("cannot store an event: %s", strerror(errno));
}

static void append(int fd, const char *text, size_t bytes)
{
	end_line(fd);
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
	int fd = openat(job_dir, "events.jsonl", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd >= 0)
		append(fd, text, (size_t)bytes);
	append(all_fd, text, (size_t)bytes);
}

int events_reserve(int job_dir)
{
	AUTO(fd) int fd = openat(job_dir, OUTCOME_NEW, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : -posix_fallocate(fd, 0, OUTCOME_BYTES);
}

int events_outcome(int job_dir, const char *text)
{
	ssize_t n = (ssize_t)strlen(text);
	AUTO(fd) int fd = openat(job_dir, OUTCOME_NEW, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (faccessat(job_dir, OUTCOME, F_OK, 0) == 0)
		return -EEXIST;
	/* not truncated before it is written: that would give the room away */
	if (fd < 0 || pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n) < 0 ||
	    fsync(fd) < 0 || renameat(job_dir, OUTCOME_NEW, job_dir, OUTCOME) < 0)
		return errno ? -errno : -EIO;
	return 0;
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
