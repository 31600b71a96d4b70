/* SPDX-License-Identifier: GPL-2.0-or-later */
/* send.h - the data streams of the source: work queue, sender threads, marks. */
#ifndef HAUL_SEND_H
#define HAUL_SEND_H

#include <pthread.h>

#include "engine/tracker/tracker.h"
#include "transport/msg/frame.h"

/* ---- sent.c: which pages the destination has, and a fingerprint of their content ---- */

struct sent;

/* A fingerprint of 128 bits (XXH3): equal means the page is not sent again. */
struct sent_hash {
	uint64_t low, high;
};

/** sent_new() - which pages the destination has. *out: caller frees. Return: 0; -errno */
int sent_new(struct sent **out, struct err *e);
/**
 * sent_span() - was the page at @vaddr ever sent, and for how many pages (at most
 * @max, within its chunk) is the answer the same?
 */
uint64_t sent_span(const struct sent *s, uint64_t obj, uint64_t vaddr, uint64_t max, bool *has);
/**
 * sent_same() - does the destination have the page with this content? From now on it counts as sent
 * Return: 1 it does; 0 it does not, send it; -ENOMEM
 */
int sent_same(struct sent *s, uint64_t obj, uint64_t vaddr, struct sent_hash h);
/**
 * sent_claim() - may the caller send this page in round @round? With kin.h two senders can come to one page: the
 * first one sends it
 */
bool sent_claim(struct sent *s, uint64_t obj, uint64_t vaddr, uint32_t round);
/** sent_key() - number of the chunk that holds an object's page, for struct sparse */
uint64_t sent_key(uint64_t obj, uint64_t vaddr);
/** sent_wrote() - scan number @scan (from 1) found these pages written */
void sent_wrote(struct sent *s, uint64_t obj, uint64_t vaddr, uint64_t pages, unsigned int scan);
#define SENT_HEAT_MAX   UINT16_MAX
#define SENT_OFTEN_BITS 5u
#define SENT_LATE(heat) ((heat) >> SENT_OFTEN_BITS) /* 0: no scan has found it written */
/**
 * sent_heat() - how recently and how often a page was written: 0 to SENT_HEAT_MAX
 * @pages: in: how many pages to look at; out: how many from @vaddr on have the same heat
 */
unsigned int sent_heat(const struct sent *s, uint64_t obj, uint64_t vaddr, uint64_t *pages);
/** sent_forget() - these pages count as not sent until sent_same() has seen them again */
void sent_forget(struct sent *s, uint64_t obj, uint64_t vaddr, uint64_t pages);
void sent_free(struct sent *s);
DEFINE_AUTO(sent, sent_free)

/* ---- pace.c: limits that all sender threads share ---- */

struct pace {
	pthread_mutex_t lock;
	uint64_t Bps; /* 0: no limit */
	unsigned int cpu_percent; /* of one CPU, all threads of haul; 0: no limit */
	double tokens; /* bytes; below 0: a debt */
	uint64_t filled_us, since_us, since_cpu_us;
};

/** pace_init() - no limit */
void pace_init(struct pace *p);
/** pace_limit() - @Bps: bytes a second, 0: no limit; @cpu_percent: of one processor, 0: no limit */
void pace_limit(struct pace *p, uint64_t Bps, unsigned int cpu_percent);
/** pace_nap() - may @bytes go now? Return: false: yes, they are accounted; true: no, and we slept a while */
bool pace_nap(struct pace *p, uint64_t bytes);
/** pace_correct() - refund: @taken was reserved, only @bytes were sent */
void pace_correct(struct pace *p, uint64_t taken, uint64_t bytes);
void pace_fini(struct pace *p);

/* ---- codec.c ---- */

/* Which codec moves more memory per second on this stream. */
struct codec_choice {
	enum frame_codec use;
	bool probing;
	unsigned int frames; /* since the last change of phase */
	uint64_t pages, us; /* of this phase */
	double rate[2]; /* pages per us, by codec */
};

/** codec_account() - a frame of @pages took @us; then c->use is the codec for the next one */
void codec_account(struct codec_choice *c, unsigned int pages, uint64_t us);

/* ---- send.c ---- */

enum send_what {
	SEND_CHANGED, /* skip pages that were last sent with the same content */
	SEND_STANDING, /* the same of a stopped tree: a page that cannot be read ends the migration */
	SEND_ALL, /* post-copy: do not compare or remember; see send_lost() */
};

struct send_stats {
	uint64_t pages; /* looked at */
	uint64_t data_pages; /* sent with their bytes */
	uint64_t zero_pages;
	uint64_t same_pages; /* written, but with the same content: not sent */
	uint64_t shared_pages; /* sent as those of another process, without their bytes */
	uint64_t gone_pages; /* could not be read, and left out */
	uint64_t wire_bytes; /* frames, after compression */
	uint64_t packed_frames, frames;
};

struct send;

/** send_new() - start a thread for each of the @n channels @ch, which are borrowed. Return: 0; -errno */
int send_new(struct send **out, struct chan **ch, unsigned int n, struct sent *sent, struct err *e);

/**
 * send_pages() - queue pages of a process, or of shared memory; blocks while the queue is full
 * @memfd: /proc/PID/mem, or a descriptor of the shared memory, open until the next send_barrier()
 * Return: 0; -ECANCELED; the first error of a stream
 */
int send_pages(struct send *s, enum send_what what, uint64_t obj, int memfd, uint64_t vaddr,
               uint64_t pages, struct err *e);

/**
 * send_kin() - while nothing is queued: the processes of the tree, which may share pages since a fork
 * @twins: what they share is sent once, in the next SEND_CHANGED and SEND_STANDING
 */
void send_kin(struct send *s, const pid_t *pid, size_t n, bool twins);

/** send_bytes() - queue pages of a stopped tree (SEND_STANDING) whose bytes are given (copied) */
int send_bytes(struct send *s, uint64_t obj, uint64_t vaddr, const void *data, size_t pages,
               struct err *e);

/**
 * send_barrier() - wait until all queued pages, and MARK @mark after them, are on the wire
 * @deadline_us: with DEADLINE_NEVER, too, a link that makes no progress fails it
 */
int send_barrier(struct send *s, uint32_t mark, uint64_t deadline_us, struct err *e);

/** send_lost() - Return: 0; -EIO: pages of SEND_ALL could not be read, though the tree is stopped */
int send_lost(struct send *s, struct err *e);

/** send_unacked() - how many bytes the destination has not acknowledged */
uint64_t send_unacked(const struct send *s);

/** send_tracker() - set the tracker of SEND_CHANGED, borrowed until send_free(); call it before the first */
void send_tracker(struct send *s, struct tracker *trk);
/** send_limit() - limit all sender threads together, and send_paced(); not the urgent stream */
void send_limit(struct send *s, uint64_t Bps, unsigned int cpu_percent);
/** send_paced() - wait until @bytes may go by another connection; returns at once when cancelled */
void send_paced(struct send *s, uint64_t bytes);
/** send_get_stats() - counters as of now */
void send_get_stats(struct send *s, struct send_stats *st);
/** send_cancel() - from any thread: waiting sends return, nothing is sent any more */
void send_cancel(struct send *s);
void send_free(struct send *s);
DEFINE_AUTO(send, send_free)

#endif
