// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * from_archive.c - the steps of a load: what those of a move are for a stopped tree, for one that is in an
 * archive. From the commit on they are the same. docs/ARCHIVE.md section 4.
 */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <string.h>

#include "archive/pagemap.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "hauler/load/load.h"
#include "hauler/report/report.h"
#include "transport/msg/haul.pb-c.h"

#define STEP_PAGES       FRAME_PAGES_MAX
#define IMAGE_PART_BYTES (8u << 20)

/* ---- connect, negotiate, prepare ---- */

int from_archive_connect(struct mig *m, struct err *e)
{
	int r = mnet_new(m, e);

	if (r < 0)
		return r;
	r = talk_connect(m, e);
	return r < 0 ? err_wrap(e, "hauld --arrive") : 0;
}

/* What is a matter of this load, not of the save. Texts are borrowed until the offer is sent. */
static void fit_offer(const struct mig *m, Haul__Offer *o)
{
	o->check_only = false;
	o->owned = m->opt->user.owned;
	o->owner = m->opt->user.owner;
	o->files = load_keeps(m->load, LOAD_FILES) ? (Haul__Files)m->opt->pol.v.files
	                                           : HAUL__FILES__FILES_REQUIRE;
	if (o->files != HAUL__FILES__FILES_REQUIRE)
		load_fit_files(m->load);
	o->proofs = true;
}

static int send_offer(struct mig *m, struct findings *out, struct err *e)
{
	Haul__Offer *o = load_offer(m->load), sent = *o;
	Haul__Msg *answer = NULL;

	fit_offer(m, &sent);
	if (archived_offer(m, &sent, e) < 0)
		return err_code(e);
	sent.unit = sent.land = (char *)"";
	sent.owner_name = (char *)m->opt->user.account.name;
	m->fig.rss_bytes = o->rss_bytes;
	m->fig.tasks = (unsigned int)o->n_pid;
	snprintf(m->fig.comm, sizeof(m->fig.comm), "%s", o->comm);
	m->link.prove = archived_prove;
	int r = negotiate_ask(m, &sent, &answer, e);

	m->link.prove = NULL;
	if (r < 0)
		return err_wrap(e, "negotiation");
	r = negotiate_findings(answer->answer, out, e);
	if (r == 0)
		r = load_seen(m->load, answer->answer, e);
	haul__msg__free_unpacked(answer, NULL);
	return r;
}

int from_archive_negotiate(struct mig *m, struct err *e)
{
	AUTO(findings) struct findings f = { 0 };
	int r = send_offer(m, &f, e);

	return r < 0 ? r : negotiate_verdict(m, &f, e);
}

static const struct part prepare_parts[] = {
	{ "send START", talk_start },
	{ "connect the streams", talk_streams },
	{ "measure the round trip", talk_ping },
	{ "start the sender", connect_sender },
};

int from_archive_prepare(struct mig *m, struct err *e)
{
	return parts_run(m, prepare_parts, ARRAY_SIZE(prepare_parts), e);
}

/* ---- pages that the worker has before the gate ---- */

static int send_now(struct mig *m, uint64_t obj, uint64_t vaddr, uint64_t pages, struct err *e)
{
	AUTO(mem) uint8_t *buf = malloc(STEP_PAGES * PAGE_BYTES);

	m->fig.final_pages += pages;
	return buf ? postcopy_archived(m, obj, vaddr, pages, buf, STEP_PAGES, e)
	           : err_set(e, ERR_SYS, ENOMEM, "no memory for pages");
}

/* One object while its pages get their classes. */
struct classify {
	struct mig *m;
	uint64_t obj;
	const uint64_t *now; /* pages that must be there before the gate; ascending */
	size_t n_now, at;
	struct class_runs out, left;
};

/* Lazy pages: those that come later, but for those that are needed now. */
static int class_lazy(struct classify *c, uint64_t vaddr, uint64_t pages, struct err *e)
{
	bool now = c->m->opt->archive.lazy && !strcmp(c->m->opt->archive.lazy, "no");
	int r = 0;

	while (r == 0 && pages) {
		while (c->at < c->n_now && c->now[c->at] < vaddr)
			c->at++;
		uint64_t gap = c->at < c->n_now ? (c->now[c->at] - vaddr) >> PAGE_BITS : pages;
		uint64_t n = now || gap == 0 ? (now ? pages : 1) : gap < pages ? gap : pages;
		bool here = now || gap == 0;

		r = here ? send_now(c->m, c->obj, vaddr, n, e) : 0;
		if (r == 0 &&
		    class_runs_add(&c->out, vaddr, n, here ? PC_LAZY_HERE : PC_LAZY_REMOTE) < 0)
			r = err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
		c->m->fig.remote_pages += here ? 0 : n;
		vaddr += n * PAGE_BYTES;
		pages -= n;
	}
	return r;
}

static int class_run(struct classify *c, const struct class_run *run, struct err *e)
{
	c->m->fig.present_pages += run->pages;
	if (run->class != PC_EAGER && obj_is_task(c->obj))
		return class_lazy(c, run->vaddr, run->pages, e);
	c->m->fig.eager_pages += run->pages;
	int r = send_now(c->m, c->obj, run->vaddr, run->pages, e);

	if (r < 0)
		return r;
	return class_runs_add(&c->out, run->vaddr, run->pages, PC_EAGER) < 0
	               ? err_set(e, ERR_SYS, ENOMEM, "no memory for page maps")
	               : 0;
}

/* How late a page was last written decides when it is pushed. */
static void warm(struct mig *m, uint64_t obj)
{
	const struct pagemap *map = load_map(m->load, obj);

	for (size_t i = 0; map && i < map->n; i++)
		if (map->v[i].round > 1)
			sent_wrote(m->pages.sent, obj, map->v[i].vaddr, map->v[i].pages,
			           map->v[i].round - 1);
}

/* The new classes replace those in @o, which the save wrote; pages that are sent later are remembered. */
static int keep_classes(struct classify *c, Haul__Object *o, struct err *e)
{
	struct left_obj *left = &c->m->rest.left[c->m->rest.n_left];

	free(o->runs.data);
	o->runs = (ProtobufCBinaryData){ 0 };
	if (class_runs_pack(&c->out, &o->runs.data, &o->runs.len) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
	*left = (struct left_obj){ c->obj, c->out };
	c->out = (struct class_runs){ 0 };
	c->m->rest.n_left++;
	warm(c->m, c->obj);
	return 0;
}

static int class_object(struct mig *m, const struct img_tree *tree, Haul__Object *o, struct err *e)
{
	AUTO(class_runs) struct class_runs runs = { 0 };
	AUTO(mem) uint64_t *now = NULL;
	struct classify c = { .m = m, .obj = o->obj };
	int r = class_runs_unpack(o->runs.data, o->runs.len, &runs, e);

	for (size_t i = 0; r == 0 && obj_is_task(o->obj) && i < tree->n; i++)
		if (obj_of_task((uint64_t)tree->v[i].pid) == o->obj && !now)
			r = img_rseq_pages(m->dump.images_fd, &tree->v[i], &now, &c.n_now, e);
	c.now = now;
	for (size_t i = 0; r == 0 && i < runs.n; i++)
		r = class_run(&c, &runs.v[i], e);
	r = r < 0 ? r : keep_classes(&c, o, e);
	class_runs_fini(&c.out);
	return r;
}

static int class_all(struct mig *m, struct err *e)
{
	Haul__Switch *s = load_switch(m->load);
	AUTO(img_tree) struct img_tree tree = { 0 };
	int r = img_tree(m->dump.images_fd, &tree, e);

	m->rest.left = calloc(s->n_object + 1, sizeof(*m->rest.left));
	if (!m->rest.left)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
	for (size_t i = 0; r == 0 && i < s->n_object; i++)
		r = class_object(m, &tree, s->object[i], e);
	return r;
}

static int unpack_images(struct mig *m, struct err *e)
{
	int r = img_dir(&m->dump.images_fd, e);

	if (r < 0)
		return r;
	r = images_start(m, e); /* each is sent as it is written, as in a dump */
	return r < 0 ? r : load_images(m->load, m->dump.images_fd, e);
}

static int wait_for_mark(struct mig *m, struct err *e)
{
	int r = send_barrier(m->pages.send, ++m->pages.mark, mig_deadline(m), e);

	return r ? r : talk_marked(m, m->pages.mark, mig_deadline(m), e);
}

static const struct part send_parts[] = {
	{ "images", unpack_images },         { "pages that are needed at once", class_all },
	{ "files", archived_files },         { "directories", archived_tree },
	{ "wait for pages", wait_for_mark },
};

int from_archive_send(struct mig *m, struct err *e)
{
	return parts_run(m, send_parts, ARRAY_SIZE(send_parts), e);
}

int from_archive_rounds(struct mig *m, struct err *e)
{
	(void)m;
	(void)e;
	return 0;
}

int from_archive_freeze(struct mig *m, struct err *e)
{
	m->fig.t.freeze_us = m->fig.t.stopped_us = m->fig.t.dumped_us = now_us();
	m->fig.t.scanned_us = m->fig.t.sent_us = m->fig.t.freeze_us;
	return record_freeze(m, e);
}

/* ---- restore, commit ---- */

static int send_switch(struct mig *m, struct err *e)
{
	Haul__Switch *s = load_switch(m->load);
	uint64_t now = now_us(), until = mig_deadline(m);

	s->limit_ms = until > now ? (until - now) / 1000 : 1;
	return talk_say(m, HAUL__MSG__BODY_SWITCH_OVER, s, e);
}

static int listen_for_wants(struct mig *m, struct err *e)
{
	return m->fig.remote_pages ? postcopy_listen(m, e) : 0;
}

static int push(struct mig *m, struct err *e)
{
	return m->fig.remote_pages ? postcopy_push(m, e) : 0;
}

static const struct part restore_parts[] = {
	{ "listen for page requests", listen_for_wants },
	{ "send the images", images_end },
	{ "send SWITCH", send_switch },
	{ "wait for PLACED", talk_placed },
	{ "push pages", push },
	{ "restore", talk_restored },
};

int from_archive_restore(struct mig *m, struct err *e)
{
	m->fig.t.sent_us = now_us();
	int r = parts_run(m, restore_parts, ARRAY_SIZE(restore_parts), e);

	m->fig.t.restored_us = now_us();
	return r;
}

int from_archive_commit(struct mig *m, struct err *e)
{
	pid_t pid = m->fig.host_pid ? (pid_t)m->fig.host_pid : m->opt->pid;
	int r = load_use(m->load, pid, m->link.route, e);

	fault_at(FAULT_A_NOTED);
	if (r < 0)
		return r;
	load_commit(m->load);
	return switch_commit(m, e);
}

void from_archive_undo(struct mig *m)
{
	load_stop(m->load);
	images_free(steal(m->dump.images));
	connect_undo(m);
}
