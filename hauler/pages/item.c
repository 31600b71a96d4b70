// SPDX-License-Identifier: GPL-2.0-or-later
/* item.c - an item of the queue: its pages are read and sent as one frame. */
#include "hauler/pages/priv.h"

#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/clock.h"
#include "common/page.h"
#include "engine/proc/inner.h"
#include "engine/proc/proc.h"
#include "engine/tracker/tracker.h"
#include "hauler/pages/kin.h"

static const uint8_t zero_page[PAGE_BYTES];

struct build {
	struct frame f;
	bool kin; /* others may have the same pages */
	struct page {
		uint64_t vaddr, frame; /* of memory, before the read; 0: not known */
		const uint8_t *bytes;
	} page[FRAME_PAGES_MAX]; /* that were read, if @kin */
	size_t n_pages;
	struct iovec iov[FRAME_PAGES_MAX];
	int n_iov;
	struct send_stats st;
};

static void build_page(struct build *b, uint64_t obj, uint64_t vaddr, uint8_t *page, bool zero)
{
	uint32_t kind = zero ? RUN_ZERO : RUN_DATA;
	struct frame_run *last = b->f.n_runs ? &b->f.runs[b->f.n_runs - 1] : NULL;

	if (last && last->kind == kind && last->vaddr + (uint64_t)last->pages * PAGE_BYTES == vaddr)
		last->pages++;
	else
		b->f.runs[b->f.n_runs++] = (struct frame_run){ obj, vaddr, 1, kind };
	if (zero)
		return;
	struct iovec *io = b->n_iov ? &b->iov[b->n_iov - 1] : NULL;

	if (io && (uint8_t *)io->iov_base + io->iov_len == page)
		io->iov_len += PAGE_BYTES;
	else
		b->iov[b->n_iov++] = (struct iovec){ page, PAGE_BYTES };
}

/* Note where @n pages are that will be read to @buf. */
static void note_pages(const struct send *s, const struct item *it, struct build *b, uint64_t vaddr,
                       size_t n, const uint8_t *buf)
{
	uint64_t frame[FRAME_PAGES_MAX];

	kin_frames(s->kin, (pid_t)obj_id(it->obj), vaddr, n, frame);
	for (size_t i = 0; i < n; i++)
		b->page[b->n_pages + i] = (struct page){ vaddr + i * PAGE_BYTES, frame[i],
			                                 buf + i * PAGE_BYTES };
}

static int take_page(struct send *s, const struct item *it, struct build *b, uint64_t vaddr,
                     uint8_t *page)
{
	bool zero = !memcmp(page, zero_page, PAGE_BYTES);

	b->st.pages++;
	if (b->kin && !sent_claim(s->sent, it->obj, vaddr, it->round)) {
		b->st.same_pages++; /* another process's frame had it */
		return 0;
	}
	if (it->what != SEND_ALL) {
		XXH128_hash_t h = XXH3_128bits(page, PAGE_BYTES);
		int r = sent_same(s->sent, it->obj, vaddr, (struct sent_hash){ h.low64, h.high64 });

		if (r < 0)
			return r;
		if (r == 1) {
			b->st.same_pages++;
			return 0;
		}
	}
	b->st.zero_pages += zero;
	b->st.data_pages += !zero;
	build_page(b, it->obj, vaddr, page, zero);
	return 0;
}

/*
 * A page cannot be read. While the tree runs, it was unmapped, or will be dirty again. In a stopped
 * tree it must exist: before the switch this ends the migration; after it, send_lost() reports it.
 */
static int miss_page(struct send *s, const struct item *it, struct build *b, uint64_t vaddr,
                     struct err *e)
{
	struct err why = ERR_INIT;

	b->st.gone_pages++;
	if (it->what == SEND_CHANGED) {
		sent_forget(s->sent, it->obj, vaddr, 1);
		return 0;
	}
	err_set(&why, ERR_TARGET, EIO, "page %llx of %s %llu cannot be read here",
	        (unsigned long long)vaddr, obj_is_task(it->obj) ? "process" : "shared memory",
	        (unsigned long long)obj_id(it->obj));
	err_fix(&why, "look into the kernel's log: memory or swap may be broken; or it was killed");
	if (it->what == SEND_STANDING) {
		*e = why;
		return -EIO;
	}
	pthread_mutex_lock(&s->lock);
	if (s->lost.src == ERR_NONE)
		s->lost = why;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/*
 * Add @n pages that were read. A page that was moved meanwhile (see tracker_strayed()) counts as not sent:
 * the tracker may find it clean at its old place in the next round.
 */
static int take_pages(struct send *s, const struct item *it, struct build *b, uint64_t vaddr,
                      size_t n, const bool *strayed, uint8_t *buf)
{
	int r = 0;

	for (size_t k = 0; r == 0 && k < n; k++, vaddr += PAGE_BYTES, buf += PAGE_BYTES)
		if (strayed[k])
			sent_forget(s->sent, it->obj, vaddr, 1);
		else
			r = take_page(s, it, b, vaddr, buf);
	return r;
}

/* Return: pages read; what lies behind the end of shared memory reads as zero. 0: none */
static ssize_t read_object(int fd, uint64_t at, uint8_t *buf, size_t pages)
{
	size_t want = pages * PAGE_BYTES, got = 0;

	while (got < want) {
		ssize_t n = pread(fd, buf + got, want - got, (off_t)(at + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return (ssize_t)(got / PAGE_BYTES);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	memset(buf + got, 0, want - got);
	return (ssize_t)pages;
}

static ssize_t read_pages(const struct send *s, const struct item *it, uint64_t vaddr, uint8_t *buf,
                          size_t pages)
{
	if (it->memfd < 0)
		return (ssize_t)pages;
	if (obj_is_shmem(it->obj))
		return read_object(it->memfd, vaddr, buf, pages);
	return kin_many(s->kin) ? mem_read_shared(it->memfd, vaddr, buf, pages)
	                        : mem_read(it->memfd, inner_outer((pid_t)obj_id(it->obj)), vaddr,
	                                   buf, pages);
}

/* @places: see tracker_strayed() */
static int take_run(struct send *s, const struct item *it, struct build *b, int places,
                    const struct frame_run *run, uint8_t *buf, struct err *e)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < run->pages;) {
		uint64_t vaddr = run->vaddr + (uint64_t)i * PAGE_BYTES;
		ssize_t n = run->pages - i;
		bool strayed[FRAME_PAGES_MAX] = { false };

		pid_t pid = inner_outer((pid_t)obj_id(it->obj));

		tracker_strayed(s->trk, pid, places, vaddr, (size_t)n, strayed);
		if (b->kin)
			note_pages(s, it, b, vaddr, (size_t)n, buf);
		n = read_pages(s, it, vaddr, buf, (size_t)n);
		if (n <= 0) {
			r = miss_page(s, it, b, vaddr, e);
			n = 1;
			buf += PAGE_BYTES;
		} else {
			tracker_strayed(s->trk, pid, places, vaddr, (size_t)n, strayed);
			r = take_pages(s, it, b, vaddr, (size_t)n, strayed, buf);
			b->n_pages += b->kin ? (size_t)n : 0;
			buf += n * PAGE_BYTES;
			if (r < 0)
				err_set(e, ERR_SYS, ENOMEM, "no memory to remember sent pages");
		}
		i += (uint32_t)n;
	}
	return r;
}

/* ---- pages that other processes have, too ---- */

struct twins {
	struct send *s;
	const struct item *it;
	struct build *b;
	size_t first; /* of the item's pages: that of the data run */
	bool found;
};

static bool is_strayed(const struct twins *w, const struct kin_process *who, uint64_t vaddr)
{
	bool is = false;

	if (w->it->what == SEND_CHANGED && w->s->trk)
		tracker_strayed(w->s->trk, who->outer, who->pagemap, vaddr, 1, &is);
	return is;
}

/* Name it in the frame, unless that is full, or the page had its own turn, or the destination has it. */
static int add_twin(void *arg, const struct kin_process *who, size_t number)
{
	struct twins *w = arg;
	struct frame *f = &w->b->f;
	const struct page *p = &w->b->page[w->first + number];
	uint64_t obj = obj_of_task((uint64_t)who->pid);
	struct frame_run *last = &f->runs[f->n_runs - 1];
	bool longer = last->kind == RUN_SAME && last->obj == obj &&
	              last->vaddr + (uint64_t)last->pages * PAGE_BYTES == p->vaddr && number > 0;

	w->found = true;
	if ((!longer && f->n_runs == FRAME_RUNS_MAX) || is_strayed(w, who, p->vaddr) ||
	    !sent_claim(w->s->sent, obj, p->vaddr, w->it->round))
		return 0;
	XXH128_hash_t h = XXH3_128bits(p->bytes, PAGE_BYTES);
	int r = sent_same(w->s->sent, obj, p->vaddr, (struct sent_hash){ h.low64, h.high64 });

	if (r)
		return r < 0 ? r : 0;
	w->b->st.shared_pages++;
	if (longer)
		last->pages++;
	else
		f->runs[f->n_runs++] = (struct frame_run){ obj, p->vaddr, 1, RUN_SAME };
	return 0;
}

/* A page counts only if its frame of memory is the same as before it was read. */
static int add_twins_of(struct twins *w, const struct frame_run run)
{
	pid_t pid = (pid_t)obj_id(w->it->obj);
	uint64_t frame[FRAME_PAGES_MAX];

	while (w->b->page[w->first].vaddr != run.vaddr)
		w->first++;
	kin_frames(w->s->kin, pid, run.vaddr, run.pages, frame);
	for (uint32_t i = 0; i < run.pages; i++)
		if (frame[i] != w->b->page[w->first + i].frame)
			frame[i] = 0;
	return kin_each(w->s->kin, pid, run.vaddr, frame, run.pages, add_twin, w);
}

static int add_twins(struct send *s, const struct item *it, struct build *b, struct err *e)
{
	struct twins w = { .s = s, .it = it, .b = b };
	uint32_t n = b->f.n_runs;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < n; i++)
		if (b->f.runs[i].kind == RUN_DATA)
			r = add_twins_of(&w, b->f.runs[i]);
	kin_found(s->kin, w.found);
	return r < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory to remember sent pages") : 0;
}

int item_send(struct stream *t, const struct item *it, struct err *e)
{
	struct build b = { .f = { .type = FRAME_PAGES, .codec = t->codec.use } };
	uint8_t *buf = it->data ? it->data : t->buf;
	bool strays = it->what == SEND_CHANGED && t->s->trk && obj_is_task(it->obj);
	AUTO(fd)
	int places = strays ? tracker_places(t->s->trk, inner_outer((pid_t)obj_id(it->obj))) : -1;

	b.kin = it->what != SEND_ALL && obj_is_task(it->obj) &&
	        kin_has(t->s->kin, (pid_t)obj_id(it->obj));
	for (unsigned int i = 0; i < it->n_runs; i++) {
		if (take_run(t->s, it, &b, places, &it->runs[i], buf, e) < 0)
			return -e->code;
		buf += (size_t)it->runs[i].pages * PAGE_BYTES;
	}
	if (b.kin && !kin_tired(t->s->kin) && add_twins(t->s, it, &b, e) < 0)
		return -e->code;
	if (b.f.n_runs) {
		uint64_t t0 = now_us();
		int r = frame_send(t->ch, &b.f, b.iov, b.n_iov, DEADLINE_NEVER, e);

		if (r < 0)
			return r;
		if (b.f.data_pages)
			codec_account(&t->codec, b.f.data_pages, now_us() - t0);
		b.st.frames = 1;
		b.st.packed_frames = b.f.codec != CODEC_NONE;
		b.st.wire_bytes = FRAME_HEAD_BYTES + b.f.body_bytes;
	}
	pace_correct(&t->s->pace, it->pages * PAGE_BYTES, b.st.wire_bytes);
	struct send_stats *st = &t->s->st;

	pthread_mutex_lock(&t->s->lock);
	st->pages += b.st.pages;
	st->data_pages += b.st.data_pages;
	st->zero_pages += b.st.zero_pages;
	st->same_pages += b.st.same_pages;
	st->shared_pages += b.st.shared_pages;
	st->gone_pages += b.st.gone_pages;
	st->wire_bytes += b.st.wire_bytes;
	st->frames += b.st.frames;
	st->packed_frames += b.st.packed_frames;
	pthread_mutex_unlock(&t->s->lock);
	return 0;
}
