// SPDX-License-Identifier: GPL-2.0-or-later
/* state.c - the state that is being saved: from OFFER and SWITCH to a durable index. */
#include "hauler/save/priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "archive/archive.pb-c.h"
#include "archive/pagemap.h"
#include "common/log.h"
#include "common/host/machine.h"
#include "config.h"
#include "engine/images/class_runs.h"
#include "engine/images/img.h"
#include "engine/proc/proc.h"

#define IMAGE_MAX (16ULL << 30)

static int no_memory(struct err *e)
{
	return err_set(e, ERR_SYS, ENOMEM, "no memory for a state");
}

static uint64_t since_1970_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- OFFER ---- */

static int put_message(struct save *s, const ProtobufCMessage *m, Archive__Blob **out,
                       struct err *e)
{
	size_t bytes = protobuf_c_message_get_packed_size(m);
	AUTO(mem) uint8_t *buf = malloc(bytes + 1);

	if (!buf)
		return no_memory(e);
	protobuf_c_message_pack(m, buf);
	return archive_put_blob(s->a, buf, bytes, out, e);
}

static Archive__Who *who_is(pid_t pid)
{
	Archive__Who *w = malloc(sizeof(*w));
	struct machine m;

	if (!w)
		return NULL;
	archive__who__init(w);
	machine_here(&m);
	w->machine = strdup(m.id);
	w->boot = strdup(m.boot);
	w->host = strdup(m.host);
	w->pidns = m.pidns;
	w->pid = (uint32_t)pid;
	w->start = procs_start(pid);
	return w;
}

int save_state_begin(struct save *s, const Haul__Offer *o, struct err *e)
{
	Archive__State *st = malloc(sizeof(*st));

	if (!st)
		return no_memory(e);
	archive__state__init(st);
	s->state = st;
	st->number = archive_index(s->a)->last_number + 1;
	st->id = s->route;
	st->mark = (Archive__Mark)s->mark_left;
	st->comm = strdup(o->comm);
	st->program = strdup(PACKAGE_STRING);
	st->rss_bytes = o->rss_bytes;
	st->owned = s->owned;
	st->owner = s->owner;
	st->who = who_is((pid_t)o->root_pid);
	if (!st->comm || !st->program || !st->who ||
	    wire_copy(&st->secret, s->secret, sizeof(s->secret)) < 0)
		return no_memory(e);
	return put_message(s, &o->base, &st->offer, e);
}

/* ---- SWITCH: page maps ---- */

/* One object while its map is built. */
struct build {
	struct save *s;
	uint64_t obj;
	struct pagemap map;
	uint8_t *sums;
};

static uint64_t pages_in(const struct class_runs *runs)
{
	uint64_t n = 0;

	for (size_t i = 0; i < runs->n; i++)
		n += runs->v[i].pages;
	return n;
}

static int build_page(struct build *b, uint64_t vaddr, struct err *e)
{
	const struct save_page *p = save_page(b->s, b->obj, vaddr);

	if (!p || !(p->flags & PAGE_HERE))
		return err_set(e, ERR_BUG, ENODATA, "page %llx has not come",
		               (unsigned long long)vaddr);
	struct pagemap_run r = { vaddr, 1, p->piece, p->first, p->round };

	memcpy(b->sums + b->map.pages * ARCHIVE_SUM_BYTES, p->sum, ARCHIVE_SUM_BYTES);
	return pagemap_add(&b->map, &r) < 0 ? no_memory(e) : 0;
}

static int build(struct build *b, const struct class_runs *runs, struct err *e)
{
	int r = 0;

	b->sums = malloc(pages_in(runs) * ARCHIVE_SUM_BYTES + 1);
	if (!b->sums)
		return no_memory(e);
	for (size_t i = 0; i < runs->n; i++)
		for (uint64_t k = 0; r == 0 && k < runs->v[i].pages; k++)
			r = build_page(b, runs->v[i].vaddr + k * PAGE_BYTES, e);
	return r;
}

static int put_object(struct save *s, const Haul__Object *in, Archive__Object *out, struct err *e)
{
	AUTO(class_runs) struct class_runs runs = { 0 };
	struct build b = { .s = s, .obj = in->obj };
	bool done = class_runs_unpack(in->runs.data, in->runs.len, &runs, e) == 0 &&
	            build(&b, &runs, e) == 0 && pagemap_save(s->a, &b.map, out, e) == 0 &&
	            archive_put_blob(s->a, b.sums, b.map.pages * ARCHIVE_SUM_BYTES, &out->sums,
	                             e) == 0;

	out->obj = in->obj;
	pagemap_fini(&b.map);
	free(b.sums);
	return done ? 0 : err_code(e);
}

int save_state_maps(struct save *s, const Haul__Switch *sw, struct err *e)
{
	Archive__State *st = s->state;
	int r = 0;

	if (!st)
		return err_set(e, ERR_BUG, EPROTO, "SWITCH without OFFER");
	st->tasks = sw->tasks;
	st->object = calloc(sw->n_object + 1, sizeof(*st->object));
	for (size_t i = 0; st->object && r == 0 && i < sw->n_object; i++) {
		Archive__Object *o = malloc(sizeof(*o));

		if (!o)
			return no_memory(e);
		archive__object__init(o);
		st->object[st->n_object++] = o;
		r = put_object(s, sw->object[i], o, e);
	}
	if (!st->object)
		return no_memory(e);
	return r < 0 ? r : put_message(s, &sw->base, &st->switch_over, e);
}

/* ---- images ---- */

static int put_image(struct save *s, const char *name, struct err *e)
{
	AUTO(mem) uint8_t *data = NULL;
	size_t bytes = 0;
	Archive__State *st = s->state;
	int r = img_load(s->images_fd, name, IMAGE_MAX, &data, &bytes, e);
	Archive__Image **v = r < 0 ? NULL : realloc(st->image, (st->n_image + 1) * sizeof(*v));

	if (!v)
		return r < 0 ? r : no_memory(e);
	st->image = v;
	Archive__Image *img = malloc(sizeof(*img));

	if (!img)
		return no_memory(e);
	archive__image__init(img);
	v[st->n_image++] = img;
	img->name = strdup(name);
	return img->name ? archive_put_blob(s->a, data, bytes, &img->data, e) : no_memory(e);
}

static int put_images(struct save *s, struct err *e)
{
	int fd = openat(s->images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int r = 0;

	if (!d)
		return err_sys(e, "images");
	for (const struct dirent *de; r == 0 && (de = readdir(d));)
		if (img_name_ok(de->d_name))
			r = put_image(s, de->d_name, e);
	return r;
}

/* ---- the index ---- */

/* Only the last @keep states stay; their pieces are not given back here. */
static void retire(Archive__Index *x, unsigned int keep)
{
	while (keep && x->n_state > keep) {
		archive__state__free_unpacked(x->state[0], NULL);
		memmove(x->state, x->state + 1, (x->n_state - 1) * sizeof(*x->state));
		x->n_state--;
	}
}

/* The index owns the state from here on. */
static int enter_index(struct save *s, struct err *e)
{
	Archive__Index *x = archive_index(s->a);
	Archive__State **v = realloc(x->state, (x->n_state + 1) * sizeof(*v));

	if (!v)
		return no_memory(e);
	x->state = v;
	x->last_number = s->number = s->state->number;
	v[x->n_state++] = steal(s->state);
	return 0;
}

/* The new state counts already: what goes wrong here is not an error of the save. */
static void prune(struct save *s)
{
	struct err e = ERR_INIT;
	uint64_t freed;

	if (!s->keep || archive_index(s->a)->n_state <= s->keep)
		return;
	retire(archive_index(s->a), s->keep);
	if (archive_prune(s->a, &freed, &e) < 0)
		log_warn("older states stay in the archive: %s", e.msg);
}

/* With --end it can be dropped until COMMIT; otherwise not from here on. Return: 0; -ECANCELED */
static int begin_to_write(struct save *s, struct err *e)
{
	pthread_mutex_lock(&s->lock);
	while (!s->ends && !s->go && !s->stop)
		pthread_cond_wait(&s->decided, &s->lock);
	bool stop = s->stop;

	s->writing = !stop && !s->ends;
	pthread_mutex_unlock(&s->lock);
	return stop ? err_set(e, ERR_STOPPED, ECANCELED, "stopped") : 0;
}

int save_state_finish(struct save *s, struct err *e)
{
	s->state->time_us = since_1970_us();
	if (put_images(s, e) < 0 || save_files_finish(s, e) < 0 || begin_to_write(s, e) < 0 ||
	    enter_index(s, e) < 0 || archive_commit(s->a, e) < 0)
		return err_code(e);
	s->durable = true;
	s->settled = !s->ends;
	if (s->settled)
		prune(s);
	return 0;
}

int save_state_ended(struct save *s, struct err *e)
{
	Archive__State *st = archive_state(s->a, s->number);

	if (!st)
		return err_set(e, ERR_BUG, EPROTO, "COMMIT without a state");
	st->mark = ARCHIVE__MARK__MARK_ENDED;
	s->settled = true;
	int r = archive_commit(s->a, e);

	if (r == 0)
		prune(s);
	return r;
}

void save_state_drop(struct save *s)
{
	Archive__Index *x = archive_index(s->a);
	struct err e = ERR_INIT;

	if (!s->durable || s->settled)
		return;
	archive__state__free_unpacked(x->state[--x->n_state], NULL);
	x->last_number = s->number - 1;
	s->number = 0;
	s->durable = false;
	if ((x->n_state ? archive_commit(s->a, &e) : archive_remove(s->a, &e)) < 0)
		log_err("the state of this save, which was undone, stays in the archive: %s",
		        e.msg);
}
