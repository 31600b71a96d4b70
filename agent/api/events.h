/* SPDX-License-Identifier: GPL-2.0-or-later */
/* events.h - files of events, one JSON object a line. */
#ifndef HAUL_AGENT_API_EVENTS_H
#define HAUL_AGENT_API_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define EVENT_BYTES 16384

/**
 * events_reserve() - room on the disk for the outcome of the migration of @job_dir
 * Without it a folder that fills up would lose the outcome. Return: 0, -errno
 */
int events_reserve(int job_dir);
/**
 * events_outcome() - store @text, a JSON object, as the outcome: in the room that was reserved
 * The first outcome stays. Return: 0; -EEXIST; -errno
 */
int events_outcome(int job_dir, const char *text);

/**
 * events_put() - append @line to a migration's file and to that of all
 * @job_dir: its folder; @all_fd: the file of all
 * The keys job and at_ms are put in front of it. A line that is not an object is left out.
 */
void events_put(int job_dir, int all_fd, const char *id, const char *line);
/** events_line() - the line at @pos. Return: its bytes with the end, 0: none yet, -errno */
ssize_t events_line(int fd, uint64_t pos, char *buf, size_t bytes);
/** events_skip_hole() - move @pos past blocks that were given back. Return: were there any? */
bool events_skip_hole(int fd, uint64_t *pos);

#endif
