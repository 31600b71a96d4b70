// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * switch.c - the tree is stopped: last scan, class of each page, send what is needed before the
 * gate, switch over, commit.
 *
 * A present page (present.c) is clean if it was sent and not written since. A page that was sent
 * but is no longer present was discarded by the program: it is in no run, so it reads as zero.
 */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "engine/proc/inner.h"
#include "hauler/report/report.h"
#include "hauler/save/save.h"
#include "transport/msg/haul.pb-c.h"

/* One object while it is classified. */
struct classify {
	struct mig *m;
	uint64_t obj;
	pid_t pid;
	int memfd;
	const struct runs *dirty;
	size_t at_dirty;
	const uint64_t *now; /* pages that must be there before the gate; ascending */
	size_t n_now;
	struct class_runs *out;
	struct err *e;
};

/* How many of at most @max pages from @vaddr on are alike: dirty or clean. */
static uint64_t dirty_span(struct classify *c, uint64_t vaddr, uint64_t max, bool *is)
{
	const struct runs *d = c->dirty;

	while (c->at_dirty < d->n &&
	       d->v[c->at_dirty].vaddr + d->v[c->at_dirty].pages * PAGE_BYTES <= vaddr)
		c->at_dirty++;
	*is = false;
	if (c->at_dirty == d->n)
		return max;
	const struct run *r = &d->v[c->at_dirty];
	uint64_t n;

	if (r->vaddr > vaddr) {
		n = (r->vaddr - vaddr) >> PAGE_BITS;
	} else {
		*is = true;
		n = r->pages - ((vaddr - r->vaddr) >> PAGE_BITS);
	}
	return n < max ? n : max;
}

static bool is_now(const struct classify *c, uint64_t vaddr, uint64_t pages, uint64_t *first)
{
	size_t low = 0, high = c->n_now;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->now[mid] < vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == c->n_now || c->now[low] >= vaddr + pages * PAGE_BYTES)
		return false;
	*first = c->now[low];
	return true;
}

static int send_now(struct classify *c, uint64_t vaddr, uint64_t pages, enum page_class class)
{
	int r = send_pages(c->m->pages.send, SEND_STANDING, c->obj, c->memfd, vaddr, pages, c->e);

	c->m->fig.final_pages += pages;
	return r ? r : class_runs_add(c->out, vaddr, pages, class);
}

/* Pages of which the destination does not have the present content. */
static int class_stale(struct classify *c, uint64_t vaddr, uint64_t pages, bool eager)
{
	uint64_t first;
	int r = 0;

	if (eager)
		return send_now(c, vaddr, pages, PC_EAGER);
	if (!c->m->precopy.switch_over)
		return send_now(c, vaddr, pages, PC_LAZY_HERE);
	while (r == 0 && pages && is_now(c, vaddr, pages, &first)) {
		uint64_t before = (first - vaddr) >> PAGE_BITS;

		c->m->fig.remote_pages += before;
		if (before)
			r = class_runs_add(c->out, vaddr, before, PC_LAZY_REMOTE);
		if (r)
			return r;
		r = send_now(c, first, 1, PC_LAZY_HERE);
		vaddr = first + PAGE_BYTES;
		pages -= before + 1;
	}
	if (r)
		return r;
	if (pages) {
		c->m->fig.remote_pages += pages;
		r = class_runs_add(c->out, vaddr, pages, PC_LAZY_REMOTE);
	}
	return r;
}

static int class_run(void *arg, const struct run *run, bool eager)
{
	struct classify *c = arg;
	uint64_t vaddr = run->vaddr, left = run->pages;
	int r = 0;

	while (r == 0 && left) {
		bool dirty, sent = false;
		uint64_t n = dirty_span(c, vaddr, left, &dirty);

		if (!dirty)
			n = sent_span(c->m->pages.sent, c->obj, vaddr, n, &sent);
		if (dirty || !sent)
			r = class_stale(c, vaddr, n, eager);
		else
			r = class_runs_add(c->out, vaddr, n, eager ? PC_EAGER : PC_LAZY_HERE);
		vaddr += n * PAGE_BYTES;
		left -= n;
	}
	c->m->fig.present_pages += run->pages;
	c->m->fig.eager_pages += eager ? run->pages : 0;
	return r;
}

static int class_task(struct mig *m, const struct img_tree *tree, const struct present *x,
                      const struct sink_obj *o, struct class_runs *out, struct err *e)
{
	pid_t inner = (pid_t)obj_id(o->obj), pid = inner_outer(inner);
	static const struct runs none;
	struct classify c = { .m = m, .obj = o->obj, .pid = pid, .out = out, .e = e };
	AUTO(mem) uint64_t *now = NULL;
	const struct img_task *task = NULL;

	for (size_t i = 0; i < tree->n; i++)
		if (tree->v[i].pid == inner)
			task = &tree->v[i];
	if (!task || !pid)
		return err_set(e, ERR_CRIU, EPROTO, "CRIU sent pages of pid %d outside the tree",
		               inner);
	int r = img_rseq_pages(m->dump.images_fd, task, &now, &c.n_now, e);

	if (r < 0)
		return r;
	c.memfd = memfd_get(m, pid, e);
	if (c.memfd < 0)
		return c.memfd;
	const struct present_task *t = present_task(x, pid);

	c.now = now;
	c.dirty = t ? &t->dirty : &none;
	return present_walk(m, t, o, class_run, &c, e);
}

/* Shared memory may have been written unseen: all its pages are compared with what was sent before. */
static int compare_object(struct mig *m, const struct present_object *p, struct err *e)
{
	int fd = tracker_object_fd(m->precopy.trk, p->obj), r = 0;

	for (size_t i = 0; r == 0 && i < p->data.n; i++)
		r = send_pages(m->pages.send, SEND_STANDING, p->obj, fd, p->data.v[i].vaddr,
		               p->data.v[i].pages, e);
	m->fig.final_pages += p->dirty_pages;
	return r;
}

/* CRIU has streamed its pages, or was told that it has none. */
static int class_shmem(struct mig *m, const struct present *x, const struct sink_obj *o,
                       struct class_runs *out, struct err *e)
{
	const struct present_object *p = o->eager.n ? NULL : present_object(x, o->obj);
	const struct runs *all = p ? &p->data : &o->eager;

	for (size_t i = 0; i < all->n; i++)
		if (class_runs_add(out, all->v[i].vaddr, all->v[i].pages, PC_EAGER) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
	m->fig.present_pages += all->pages;
	m->fig.eager_pages += all->pages;
	return p ? compare_object(m, p, e) : 0;
}

/* What stays here for now is sent by another way, and each page by itself. */
static void tell_kin(struct mig *m, const struct sink_obj *objs, size_t n)
{
	AUTO(mem) pid_t *pid = calloc(n + 1, sizeof(*pid));
	size_t k = 0;

	for (size_t i = 0; pid && i < n; i++)
		if (obj_is_task(objs[i].obj))
			pid[k++] = (pid_t)obj_id(objs[i].obj);
	if (pid)
		send_kin(m->pages.send, pid, k, m->pages.same_runs && !m->precopy.switch_over);
}

static int class_all(struct mig *m, const struct present *x, struct err *e)
{
	AUTO(img_tree) struct img_tree tree = { 0 };
	size_t n;
	const struct sink_obj *objs = sink_objs(m->dump.sink, &n);
	int r = img_tree(m->dump.images_fd, &tree, e);

	if (r < 0)
		return r;
	m->dump.maps = calloc(n + 1, sizeof(*m->dump.maps));
	if (!m->dump.maps)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for page maps");
	m->dump.n_maps = n;
	tell_kin(m, objs, n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (obj_is_task(objs[i].obj))
			r = class_task(m, &tree, x, &objs[i], &m->dump.maps[i], e);
		else
			r = class_shmem(m, x, &objs[i], &m->dump.maps[i], e);
	}
	return r;
}

/* CRIU has sent its last message; it leaves the tasks in state T and ends. */
static int criu_gone(struct mig *m, struct err *e)
{
	int r = m->dump.gone ? 0 : criu_pump(m->dump.criu, CRIU_EV_DONE, NULL, mig_deadline(m), e);

	m->dump.gone = r == 0;
	return r < 0 ? err_wrap(e, "CRIU did not leave the processes stopped") : 0;
}

/* A lock that belongs to a process can be given up by that process alone, which CRIU holds until it ends. */
static int give_locks(struct mig *m, struct err *e)
{
	int r = locks_are_posix(m->copy.locks) ? criu_gone(m, e) : 0;

	return r < 0 ? r : locks_give(m->copy.locks, e);
}

static int class_present(struct mig *m, struct err *e)
{
	int r = present_wait(m->dump.present, &m->fig.t.look_us, e);

	return r ? r : class_all(m, m->dump.present, e);
}

/* Until the destination has all pages that were sent. */
static int wait_for_mark(struct mig *m, struct err *e)
{
	int r = send_barrier(m->pages.send, ++m->pages.mark, mig_deadline(m), e);

	return r ? r : talk_marked(m, m->pages.mark, mig_deadline(m), e);
}

static int send_present(struct mig *m, struct err *e)
{
	int r = class_present(m, e);

	m->fig.t.scanned_us = now_us();
	return r < 0 ? r : wait_for_mark(m, e);
}

int switch_send(struct mig *m, struct err *e)
{
	int r = send_present(m, e);

	m->fig.t.sent_us = now_us();
	present_free(steal(m->dump.present));
	if (r < 0)
		talk_reason(m, e);
	return r;
}

static int listen_for_wants(struct mig *m, struct err *e)
{
	return m->fig.remote_pages ? postcopy_listen(m, e) : 0;
}

static int change_images(struct mig *m, struct err *e)
{
	int fd = m->dump.images_fd;
	size_t n_renames, n_relinks;
	const struct img_rename *renames = inspect_renames(m->insp, &n_renames);
	const struct img_relink *relinks = inspect_relinks(m->insp, &n_relinks);

	if (outs_refit(inspect_outs(m->insp), fd, e) < 0 ||
	    img_rename_sockets(fd, renames, n_renames, e) < 0 ||
	    img_relink_files(fd, relinks, n_relinks, e) < 0 || mnet_images(m, e) < 0)
		return err_code(e);
	return needs_reroot(m->needs, fd, e);
}

static int send_files(struct mig *m, struct err *e)
{
	return bring_files(m, false, e);
}

static int push(struct mig *m, struct err *e)
{
	int r = m->fig.remote_pages ? postcopy_push(m, e) : 0;

	if (r)
		return r;
	fault_at(FAULT_S_PLACED);
	return 0;
}

/* Since the look the program may have restricted itself. Nothing waits for this: the destination restores. */
static int same_sandboxes(struct mig *m, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->copy.n_held; i++)
		r = inspect_sandboxed(m->insp, m->copy.held[i].pid, e);
	return r;
}

/*
 * While the destination restores: CRIU, which has held the tree by ptrace so far, stops it and
 * ends. With thousands of sockets that takes long, as does moving the tree into a cgroup.
 */
static const struct part restore_parts[] = {
	{ "listen for page requests", listen_for_wants },
	{ "send directories", dirs_wait },
	{ "files of the container", capture_late },
	{ "give up the addresses", mnet_give },
	{ "change the images", change_images },
	{ "send the images", images_end },
	{ "send files", send_files },
	{ "give up locks", give_locks },
	{ "send SWITCH", send_switch_run },
	{ "send packets", mnet_ship },
	{ "wait for PLACED", talk_placed },
	{ "push pages", push },
	{ "wait for CRIU", criu_gone },
	{ "hold the stopped processes", freeze_hold },
	{ "guard the container", capture_guard },
	{ "sandboxes", same_sandboxes },
	{ "restore", talk_restored },
};

/* An archive needs no locks, and its connections do not move. Up to PLACED it needs the stopped tree. */
static const struct part save_parts[] = {
	{ "save directories", dirs_wait },  { "change the images", change_images },
	{ "send the images", images_end },  { "save files", send_files },
	{ "send SWITCH", send_switch_run }, { "wait for PLACED", talk_placed },
};

static const struct part end_parts[] = {
	{ "wait for CRIU", criu_gone },
	{ "hold the stopped processes", freeze_hold },
	{ "sandboxes", same_sandboxes },
	{ "write the archive", talk_restored },
};

/* It is saved, and continues here: undo, without an ABORT. */
static int keep(struct mig *m, struct err *e)
{
	int r = m->opt->archive.stop ? criu_gone(m, e) : 0;

	if (r < 0)
		return r;
	m->kept = m->link.aborted = true;
	save_go(m->save);
	return err_set(e, ERR_STOPPED, ECANCELED, "it stays here");
}

static int save(struct mig *m, struct err *e)
{
	int r = parts_run(m, save_parts, ARRAY_SIZE(save_parts), e);

	if (r < 0)
		return r;
	return m->opt->archive.end ? parts_run(m, end_parts, ARRAY_SIZE(end_parts), e) : keep(m, e);
}

int switch_restore(struct mig *m, struct err *e)
{
	int r = m->save ? save(m, e) : parts_run(m, restore_parts, ARRAY_SIZE(restore_parts), e);

	m->fig.t.restored_us = now_us();
	return r;
}

void switch_restore_undo(struct mig *m)
{
	/* finish() waits for the threads, so resume the tree first */
	if (m->pages.send)
		send_cancel(m->pages.send);
}

/* The latest moment at which a stop that lasts too long can be undone. */
static int in_time(const struct mig *m, struct err *e)
{
	struct freeze_max max = mig_freeze_max(m);

	if (now_us() < mig_freeze_end(m))
		return 0;
	err_set(e, ERR_SYS, ETIMEDOUT, "the stop took longer than %s, %u ms", max.option, max.ms);
	return err_fix(e, "try again when the hosts are less busy, or with a larger --%s",
	               max.option);
}

int switch_commit(struct mig *m, struct err *e)
{
	Haul__Msg *answer = NULL;

	/* the last checks, after everything that can wait */
	if (mnet_ship(m, e) < 0 || freeze_kept(m, e) < 0 ||
	    (m->copy.rings && direct_rings_same(m->copy.rings, e) < 0) ||
	    send_lost(m->pages.send, e) < 0 || record_commit(m, e) < 0)
		return err_code(e);
	fault_at(FAULT_S_COMMIT_RECORDED);
	/* who has started it does not touch it from here on; what it has sent before is seen next */
	if (starter_given(m, e) < 0 || unit_away(m, e) < 0)
		return err_code(e);
	/* the very last check: later signals are meant for the copy that was handed over */
	if (signals_check(m, e) < 0)
		return -e->code;
	if (in_time(m, e) < 0)
		return err_code(e);
	pthread_mutex_lock(&m->halt.lock);
	if (m->halt.stop) {
		pthread_mutex_unlock(&m->halt.lock);
		return err_set(e, ERR_STOPPED, ECANCELED, "stopped");
	}
	if (mig_link_reason(&m->link, e)) {
		pthread_mutex_unlock(&m->halt.lock);
		return err_wrap(e, "before the hand-over");
	}
	m->halt.committed = true; /* from here on the tree may run at the destination */
	pthread_mutex_unlock(&m->halt.lock);
	int r = talk_say(m, HAUL__MSG__BODY_COMMIT, NULL, e);

	fault_at(FAULT_S_COMMIT_SENT);
	if (r == 0)
		r = talk_expect(m, m->link.ctl, HAUL__MSG__BODY_RUNNING, &answer,
		                deadline_in_ms(m->opt->pol.v.freeze_limit_ms), e);
	if (r < 0) {
		/* another connection may have broken first, and have the reason */
		mig_link_reason(&m->link, e);
		return err_wrap(e, "no answer from the destination after the commit");
	}
	m->fig.t.running_us = now_us();
	record_ran(m);
	m->fig.t.dest_resume_us = answer->running->resume_us;
	if (answer->running->left_remote_pages < m->fig.remote_pages)
		m->fig.early_pages = m->fig.remote_pages - answer->running->left_remote_pages;
	haul__msg__free_unpacked(answer, NULL);
	mnet_running(m);
	report_running(m);
	return 0;
}
