// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * feed.c - server-sent events. A reader is a descriptor and a position in a file: a slow one
 * costs no memory and delays no other; one that reconnects says where it was.
 */
#include "agent/api/feed.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/api/api.h"
#include "agent/api/events.h"
#include "agent/api/jobs.h"
#include "agent/api/reply.h"
#include "common/auto.h"
#include "common/clock.h"

#define HEARTBEAT_US 15000000
#define FEEDS_MAX    500
#define KEPT_FREE    50 /* of these, for root and admins */
#define OF_ONE_MAX   40 /* of one user, or of one token that is not an admin's */

struct feed {
	struct feed *next;
	struct api *a;
	struct req *q;
	struct MHD_Connection *c;
	struct job *j; /* NULL: all */
	struct who who;
	int fd;
	uint64_t pos, last_us;
	bool waiting;
	char text[EVENT_BYTES + 256]; /* the event that is being sent */
	size_t bytes, gone;
};

/* Lines begin with {"job":"ID" */
static bool may_see(struct feed *f, const char *line)
{
	char id[JOB_ID_BYTES];

	if (f->who.role != ROLE_USER)
		return true;
	if (strlen(line) < 8 + sizeof(id))
		return false;
	snprintf(id, sizeof(id), "%.*s", JOB_ID_BYTES - 1, line + 8);
	const struct job *j = jobs_find(f->a, id);

	return j && j->uid == f->who.uid;
}

static bool load(struct feed *f)
{
	char line[EVENT_BYTES];
	ssize_t n;

	do {
		while ((n = events_line(f->fd, f->pos, line, sizeof(line))) > 0) {
			f->pos += (uint64_t)n;
			if (strncmp(line, "{\"job\":\"", 8) || !may_see(f, line))
				continue;
			f->bytes = (size_t)snprintf(f->text, sizeof(f->text),
			                            "id: %llu\ndata: %s\n",
			                            (unsigned long long)f->pos, line);
			f->gone = 0;
			return true;
		}
	} while (events_skip_hole(f->fd, &f->pos));
	return false;
}

static ssize_t read_feed(void *arg, uint64_t at, char *buf, size_t max)
{
	struct feed *f = arg;

	(void)at;
	if (f->gone == f->bytes && !load(f)) {
		if (f->j && job_over(f->j) && f->pos >= f->j->pos)
			return MHD_CONTENT_READER_END_OF_STREAM;
		f->waiting = true;
		MHD_suspend_connection(f->c);
		return 0;
	}
	size_t n = f->bytes - f->gone < max ? f->bytes - f->gone : max;

	memcpy(buf, f->text + f->gone, n);
	f->gone += n;
	f->last_us = now_us();
	return (ssize_t)n;
}

static void feed_free(void *arg)
{
	struct feed *f = arg;

	for (struct feed **p = &f->a->feed; *p; p = &(*p)->next)
		if (*p == f) {
			*p = f->next;
			break;
		}
	if (f->j)
		f->j->readers--;
	close(f->fd);
	free(f);
}

/* Return: false when it is not a number */
static bool where(struct req *q, uint64_t end, uint64_t *pos)
{
	const char *text = reply_header(q, "Last-Event-ID");
	char *rest;

	if (!text)
		text = reply_query(q, "after");
	if (!text)
		return true;
	*pos = strtoull(text, &rest, 10);
	if (*pos > end) /* of a file that is gone */
		*pos = end;
	return *text && !*rest;
}

static bool too_many(const struct req *q)
{
	unsigned int n = 0, own = 0;

	for (const struct feed *f = q->api->feed; f; f = f->next) {
		n++;
		own += f->who.role == q->who.role && !strcmp(f->who.name, q->who.name);
	}
	return q->who.role == ROLE_ADMIN ? n >= FEEDS_MAX
	                                 : n >= FEEDS_MAX - KEPT_FREE || own >= OF_ONE_MAX;
}

int feed_start(struct req *q, struct job *j)
{
	AUTO(fd)
	int fd = j ? job_open(q->api, j, "events.jsonl", O_RDONLY)
	           : openat(q->api->state_fd, "events.jsonl", O_RDONLY | O_CLOEXEC);
	uint64_t end = fd < 0 ? 0 : (uint64_t)lseek(fd, 0, SEEK_END), pos = j ? 0 : end;
	char line[EVENT_BYTES];

	if (too_many(q))
		return reply_problem(q, 503, "busy", "there are too many readers of events");
	if (fd < 0)
		return reply_problem(q, 500, "internal", "events: %s", strerror(errno));
	if (!where(q, end, &pos))
		return reply_problem(q, 400, "bad-request", "the position of an event is a number");
	/* an EventSource does not reconnect after 204; what a full folder has cut off is no line */
	if (j && job_over(j) && events_line(fd, pos, line, sizeof(line)) <= 0)
		return reply_send(q, 204,
		                  MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT),
		                  NULL);
	struct feed *f = calloc(1, sizeof(*f));

	if (!f)
		return reply_problem(q, 503, "busy", "no memory");
	*f = (struct feed){ .next = q->api->feed,
		            .a = q->api,
		            .q = q,
		            .c = q->c,
		            .j = j,
		            .who = q->who,
		            .fd = steal_fd(&fd),
		            .pos = pos,
		            .last_us = now_us() };
	f->bytes = (size_t)snprintf(f->text, sizeof(f->text), "retry: 1000\n\n");
	q->api->feed = f;
	if (j)
		j->readers++;
	struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 8192,
	                                                           read_feed, f, feed_free);

	MHD_add_response_header(r, "X-Accel-Buffering", "no");
	return reply_send(q, 200, r, "text/event-stream");
}

void feed_wake(struct api *a, bool written)
{
	uint64_t now = now_us();

	for (struct feed *f = a->feed; f; f = f->next) {
		bool news = written || (f->j && job_over(f->j));

		if (!f->waiting || (!news && now - f->last_us < HEARTBEAT_US))
			continue;
		if (!news) {
			f->bytes = (size_t)snprintf(f->text, sizeof(f->text), ":\n\n");
			f->gone = 0;
		}
		f->waiting = false;
		MHD_resume_connection(f->c);
	}
}
