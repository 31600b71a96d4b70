/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - shared by the files of hauler/pages: the queue, its threads, and an item of the queue. */
#ifndef HAUL_SEND_PRIV_H
#define HAUL_SEND_PRIV_H

#include <pthread.h>

#include "hauler/pages/send.h"
#include "transport/msg/frame.h"

#define STREAMS_MAX 16

struct item {
	struct item *next;
	enum send_what what;
	uint64_t obj;
	int memfd; /* -1: data holds the bytes */
	uint8_t *data;
	uint32_t round; /* the mark before it */
	unsigned int n_runs, pages;
	struct frame_run runs[FRAME_RUNS_MAX];
};

struct stream {
	struct send *s;
	struct chan *ch;
	pthread_t thread;
	bool started;
	uint32_t mark_done;
	bool busy;
	uint8_t *buf;
	struct codec_choice codec;
};

struct send {
	struct sent *sent;
	struct kin *kin;
	struct tracker *trk; /* of pages read while the tree runs; NULL: none are */
	struct pace pace;
	pthread_mutex_t lock;
	pthread_cond_t work, room, idle;
	struct item *head, *tail, *filling, *spare;
	unsigned int queued;
	uint32_t mark;
	bool stop;
	int result;
	struct err err;
	struct err lost; /* about the first page of SEND_ALL that could not be read */
	struct send_stats st;
	unsigned int n;
	struct stream stream[STREAMS_MAX];
};

/** item_send() - read the pages, leave out those that the destination has, send a frame. Return: 0; -errno */
int item_send(struct stream *t, const struct item *it, struct err *e);

#endif
