// SPDX-License-Identifier: GPL-2.0-or-later
/* restore.c - from the SWITCH message to the gate, and through it. */
#include "agent/worker/restore.h"
#include "agent/gate/before.h"
#include "agent/gate/held.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "agent/berth/berth.h"
#include "agent/check/check.h"
#include "agent/dirs/dirs.h"
#include "agent/gate/epolls.h"
#include "agent/gate/holders.h"
#include "agent/gate/made.h"
#include "agent/gate/names.h"
#include "agent/worker/net.h"
#include "agent/gate/out.h"
#include "agent/gate/objects.h"
#include "agent/gate/pins.h"
#include "agent/gate/sockets.h"
#include "agent/worker/streams.h"
#include "agent/gate/terminals.h"
#include "agent/gate/threads.h"
#include "agent/gate/watches.h"
#include "agent/gate/eventfds.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/page.h"
#include "engine/images/class_runs.h"
#include "engine/images/img.h"
#include "engine/proc/proc.h"
#include "engine/runs.h"
#include "transport/msg/haul.pb-c.h"

#define RESUME_LIMIT_MS 30000
#define LOG_NAME        "restore.log"

/* Every page of class "here" must be here: a hole would read as zero. */
static int check_here(const struct sobj *o, const struct class_runs *runs, struct err *e)
{
	for (size_t i = 0; i < runs->n; i++) {
		const struct class_run *r = &runs->v[i];

		if (r->class == PC_LAZY_REMOTE)
			continue;
		for (uint64_t done = 0; done < r->pages;) {
			enum page_state st = PAGE_ABSENT;
			uint64_t vaddr = r->vaddr + done * PAGE_BYTES;
			size_t n = o ? store_span(o, vaddr, r->pages - done, &st) : 0;

			if (n == 0 || st == PAGE_ABSENT)
				return err_set(e, ERR_PEER, ENODATA,
				               "page %llx should be here and is not",
				               (unsigned long long)vaddr);
			done += n;
		}
	}
	return 0;
}

static int split(const struct class_runs *runs, struct runs *local, struct runs *remote,
                 struct runs *keep)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < runs->n; i++) {
		const struct class_run *c = &runs->v[i];

		if (c->class == PC_LAZY_REMOTE)
			r = runs_add(remote, c->vaddr, c->pages);
		else
			r = runs_add(keep, c->vaddr, c->pages);
		if (r < 0)
			return r;
		if (c->class == PC_LAZY_HERE)
			r = runs_add(local, c->vaddr, c->pages);
	}
	return r;
}

static void drop_eager(struct sobj *o, const struct class_runs *runs)
{
	for (size_t i = 0; i < runs->n; i++)
		if (runs->v[i].class == PC_EAGER)
			store_drop(o, runs->v[i].vaddr, runs->v[i].pages);
}

/* A process; or shared memory, which CRIU reads as a whole before the program runs. */
static int check_object(uint64_t obj, const struct class_runs *runs, struct err *e)
{
	if ((!obj_is_task(obj) && !obj_is_shmem(obj)) ||
	    (obj_is_task(obj) && (obj_id(obj) == 0 || obj_id(obj) > INT_MAX)))
		return err_set(e, ERR_PEER, EBADMSG, "page map of an object %llx that is none",
		               (unsigned long long)obj);
	for (size_t i = 0; obj_is_shmem(obj) && i < runs->n; i++)
		if (runs->v[i].class != PC_EAGER)
			return err_set(e, ERR_PEER, EBADMSG, "shared memory cannot come later");
	return 0;
}

static int put_runs(struct wrk *w, const Haul__Object *obj, uint32_t id,
                    const struct class_runs *runs, struct err *e)
{
	AUTO(runs) struct runs local = { 0 };
	AUTO(runs) struct runs remote = { 0 };
	AUTO(runs) struct runs keep = { 0 };
	int r = check_object(obj->obj, runs, e);

	if (r < 0)
		return r;
	struct sobj *o = store_obj(w->store, obj->obj, true);

	if (!o || split(runs, &local, &remote, &keep) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a page map");
	r = check_here(o, runs, e);
	if (r < 0)
		return r;
	store_keep_only(o, &keep);
	r = objects_take(w, obj->obj, o, e);
	if (r)
		return r < 0 ? r : 0;
	r = img_pagemap(w->images_fd, obj->obj, id, runs, o, e);
	if (r < 0)
		return r;
	drop_eager(o, runs); /* they are in the pages image now */
	return obj_is_task(obj->obj)
	               ? pager_add(w->pager, (pid_t)obj_id(obj->obj), &local, &remote, e)
	               : 0;
}

static int put_object(struct wrk *w, const Haul__Object *obj, uint32_t id, struct err *e)
{
	AUTO(class_runs) struct class_runs runs = { 0 };
	int r = class_runs_unpack(obj->runs.data, obj->runs.len, &runs, e);

	return r < 0 ? r : put_runs(w, obj, id, &runs, e);
}

static int check_pids(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	(void)s;
	struct findings f = { 0 };

	if (w->keep->own_pids || berth_contains(w))
		return 0;
	check_pids_free(w->offer.pids.v, w->offer.pids.n, &f);
	if (f.blockers) {
		err_set(e, ERR_TARGET, EEXIST, "%s", f.v[0].text);
		err_fix(e, "%s", f.v[0].remedy);
	}
	int r = f.blockers ? -EEXIST : 0;

	findings_fini(&f);
	return r;
}

/* The CRIU that waits since START is in the host's mount namespace: this tree needs another. */
static int rooted_criu(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	(void)s;
	if (!w->into_root)
		return 0;
	size_t n;
	const struct criu_inherit *places = out_list(w->outs, &n);

	return berth_spawn(w, w->into_root, places, n, e);
}

/* An invalid image is left to CRIU, which says what is wrong. */
static int fit_images(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	struct sysinfo host;
	AUTO(img_tree) struct img_tree tree = { 0 };
	struct err ignore = ERR_INIT;
	int r = sysinfo(&host) < 0 ? -errno : img_tree(w->images_fd, &tree, &ignore);

	(void)s;
	(void)e;
	img_forget_cgroups(w->images_fd);
	if (r < 0)
		return 0;
	if (tree.n && img_forget_parent_death(w->images_fd, &tree.v[0], &ignore) > 0)
		log_info(
		        "the signal at the end of its parent is left out: the parent stays behind");
	for (size_t i = 0; r == 0 && i < tree.n; i++)
		r = img_fit(w->images_fd, tree.v[i].pid,
		            ((uint64_t)host.totalram + host.totalswap) * host.mem_unit, &ignore);
	return 0;
}

static int fit_threads(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	int r = threads_fit(w->images_fd, s, e);

	if (r != -ENOENT && r != -EBADMSG)
		return r;
	err_clear(e); /* without valid images CRIU says what is wrong */
	return 0;
}

static int fit_terminals(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	(void)s;
	return img_renumber_ttys(w->images_fd, e);
}

static int fit_epolls(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	(void)s;
	int r = img_take_epolls(w->images_fd, &w->gate.epolls.v, &w->gate.epolls.n, e);

	if (r != -ENOENT && r != -EBADMSG)
		return r;
	err_clear(e); /* without valid images CRIU says what is wrong */
	return 0;
}

static int place_directories(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	(void)s;
	return dirs_in_place(w->fs, e);
}

static int make_pager(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	struct pager_ops ops = { .want = streams_want, .arg = w };

	(void)s;
	return pager_new_guarded(&w->pager, w->guard, w->store, &ops, e);
}

static int put_page_maps(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	for (size_t i = 0; i < s->n_object; i++) {
		int r = put_object(w, s->object[i], (uint32_t)i + 1, e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int start_pager(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	int r = pager_start(w->pager, w->images_fd, s->tasks, e);

	if (r)
		return r;
	__atomic_store_n(&w->deliver, true, __ATOMIC_RELEASE);
	return 0;
}

/* CRIU is not asked for anything yet: while it restores, the link can bring pages. */
static int say_placed(struct wrk *w, struct err *e)
{
	Haul__Placed placed = HAUL__PLACED__INIT;

	return wrk_say(w, HAUL__MSG__BODY_PLACED, &placed, e);
}

/* No thread acts as a user who may not arrive. */
static int judge_users(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	(void)s;
	return before_users(w, e);
}

/* No path of a UNIX socket takes the place of a file that the tree may not replace. */
static int judge_sockets(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	int r = before_sockets(w, e);

	(void)s;
	if (r != -ENOENT)
		return r;
	err_clear(e); /* without images CRIU says what is wrong */
	return 0;
}

/* Users' sockets are bound at the gate. */
static int take_names(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	int r = names_take(w, e);

	(void)s;
	if (r != -ENOENT)
		return r;
	err_clear(e); /* without images CRIU says what is wrong */
	return 0;
}

static int read_files(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	int r = img_regs(w->images_fd, &w->regs, e);

	(void)s;
	if (r != -ENOENT)
		return r;
	err_clear(e); /* without images CRIU says what is wrong */
	return 0;
}

/* None in a directory that the tree may not write to. */
static int judge_ghosts(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	(void)s;
	return before_ghosts(w, e);
}

static int pin_all(struct wrk *w, struct err *e)
{
	int r = before_mounts(w, e);

	r = r < 0 ? r : pins_make(w, e);
	return r < 0 ? r : watches_pin(w, e);
}

/* What others than root could swap is opened by us. */
static int make_pins(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	int r = holders_run(w, pin_all, e);

	(void)s;
	if (r != -ENOENT || e->src != ERR_SYS)
		return r;
	err_clear(e); /* without images CRIU says what is wrong */
	return 0;
}

static bool has_shared(const Haul__Switch *s)
{
	for (size_t i = 0; i < s->n_object; i++)
		if (obj_is_shmem(s->object[i]->obj))
			return true;
	return false;
}

static int find_objects(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	int r = has_shared(s) ? objects_find(w, e) : 0;

	if (r != -ENOENT && r != -EBADMSG)
		return r;
	err_clear(e); /* without valid images CRIU says what is wrong */
	return 0;
}

static int place_objects(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	(void)s;
	return objects_place(w, e);
}

/* Before CRIU restores. In this order; the error names the part that failed. */
static const struct part {
	const char *name;
	int (*run)(struct wrk *w, const Haul__Switch *s, struct err *e);
} parts[] = {
	{ "process IDs", check_pids },
	{ "CRIU in the root directory", rooted_criu },
	{ "directories", place_directories },
	{ "pager", make_pager },
	{ "shared memory", find_objects },
	{ "page maps", put_page_maps },
	{ "images", fit_images },
	{ "terminals", fit_terminals },
	{ "epoll sets", fit_epolls },
	{ "threads", fit_threads },
	{ "pager's start", start_pager },
	{ "users", judge_users },
};

/* And these, by paths of this host: a container has its own. */
static const struct part host_parts[] = {
	{ "UNIX sockets", judge_sockets },
	{ "names of UNIX sockets", take_names },
	{ "open files", read_files },
	{ "files without a name", judge_ghosts },
	{ "files", make_pins },
	{ "files of shared memory", place_objects },
};

static int run_parts(struct wrk *w, const Haul__Switch *s, const struct part *v, size_t n,
                     struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t t0 = now_us(), cpu0 = now_thread_us();

		if (v[i].run(w, s, e) < 0)
			return err_wrap(e, "%s", v[i].name);
		log_debug("part=\"%s\" us=%llu cpu_us=%llu", v[i].name,
		          (unsigned long long)(now_us() - t0),
		          (unsigned long long)(now_thread_us() - cpu0));
	}
	return 0;
}

static int prepare(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	int r = run_parts(w, s, parts, ARRAY_SIZE(parts), e);

	return r < 0 || berth_contains(w) ? r
	                                  : run_parts(w, s, host_parts, ARRAY_SIZE(host_parts), e);
}

static int restore(struct wrk *w, const Haul__Switch *s, uint64_t deadline_us, struct err *e)
{
	size_t n_places;
	const struct criu_inherit *places = out_list(w->outs, &n_places);
	pid_t root = 0;
	struct criu_opts o = {
		.inherit = places,
		.n_inherit = n_places,
		.images_fd = w->images_fd,
		.tcp_close = s->tcp_close,
		.shell_job = s->shell_job,
		.ext_unix = s->ext_unix,
		.file_locks = s->file_locks,
		.sibling = w->keep->berth_fd >= 0,
		.log_name = LOG_NAME,
		.version = w->own_criu.version,
	};
	berth_options(w, &o);
	made_begin(w);
	if (criu_restore(w->criu, &o, e) < 0 ||
	    criu_pump(w->criu, CRIU_EV_POST_RESTORE, &root, deadline_us, e) < 0)
		return err_wrap(e, "restore");
	/* a runtime's CRIU is in our pid namespace, and tells the number here */
	w->root_pid = root;
	if (berth_map(w, e) < 0)
		return err_code(e);
	if (!berth_contains(w))
		w->root_pid = berth_pid(w, root);
	if (w->root_pid <= 0)
		return err_set(e, ERR_CRIU, ESRCH, "the restored tree has ended");
	/* a container's files are those of its image and of its runtime's mounts */
	return berth_contains(w) ? 0 : held_check(w, e);
}

/* From here on the worker may die: its successor has everything it needs. */
static int ready_to_die(struct wrk *w, uint64_t deadline_us, struct err *e)
{
	w->keep->root_pid = w->root_pid;
	w->keep->criu_rpc = criu_rpc(w->criu);
	w->keep->images_fd = w->images_fd;
	guard_keep(w->guard, w->keep->criu_rpc);
	guard_keep(w->guard, w->images_fd);
	guard_tree(w->guard, w->root_pid);
	return pager_announced(w->pager, deadline_us, e);
}

static int fill_epolls(struct wrk *w, struct err *e)
{
	for (size_t i = 0; i < w->gate.epolls.n; i++)
		w->gate.epolls.v[i].pid = berth_pid(w, w->gate.epolls.v[i].pid);
	return epolls_fill(w->gate.epolls.v, w->gate.epolls.n, e);
}

static int to_gate(struct wrk *w, const Haul__Switch *s, uint64_t deadline_us, struct err *e)
{
	uint64_t t0 = now_us();
	int r = prepare(w, s, e);

	w->fig.images_us = now_us() - t0;
	if (r < 0)
		return r;
	r = say_placed(w, e);
	if (r < 0)
		return r;
	fault_at(FAULT_D_PLACED);
	r = restore(w, s, deadline_us, e);
	if (r == 0 &&
	    (names_bind(w, deadline_us, e) < 0 || fill_epolls(w, e) < 0 || objects_seal(w, e) < 0))
		r = err_code(e);
	objects_free(w);
	img_epolls_free(steal(w->gate.epolls.v), w->gate.epolls.n);
	out_close(w->outs);
	watches_set(w);
	holders_free(w);
	img_regs_fini(&w->regs);
	if (r < 0)
		return r;
	eventfds_set(w);
	threads_set(w, s);
	sockets_set(w, s);
	terminals_put(w, s);
	return ready_to_die(w, deadline_us, e);
}

int restore_to_gate(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	uint64_t limit_ms = s->limit_ms && s->limit_ms < w->limit_ms ? s->limit_ms : w->limit_ms;
	int r = to_gate(w, s, deadline_in_ms(limit_ms), e);

	if (r < 0)
		restore_give_up(w);
	return r;
}

void restore_kill(struct wrk *w)
{
	struct proc_list l = { 0 };
	struct err ignore = ERR_INIT;

	if (w->root_pid <= 0 || kill(w->root_pid, 0) < 0)
		return;
	if (procs_tree(w->root_pid, &l, &ignore) == 0)
		for (size_t i = 0; i < l.n; i++)
			kill(l.pid[i], SIGKILL);
	procs_fini(&l);
}

void restore_give_up(struct wrk *w)
{
	struct err ignore = ERR_INIT;

	if (w->criu) {
		criu_reply(w->criu, false, &ignore);
		criu_free(steal(w->criu));
	}
	berth_refused(w);
	made_end(w);
	objects_free(w);
	holders_free(w);
	img_regs_fini(&w->regs);
	names_undo(w);
	w->root_pid = 0;
	dirs_in_end(w->fs);
}

int restore_open(struct wrk *w, struct err *e)
{
	struct pager_stats st;

	pager_get_stats(w->pager, &st);
	w->fig.left_remote_pages = st.left_remote_pages;
	w->keep->opening = true;
	return criu_reply(w->criu, true, e) < 0 ? err_wrap(e, "open the gate") : 0;
}

static int resume(struct wrk *w, struct err *e)
{
	uint64_t deadline = deadline_in_ms(RESUME_LIMIT_MS);
	int r = criu_pump(w->criu, CRIU_EV_PRE_RESUME, NULL, deadline, e);

	/* out of repair mode, and no instruction yet */
	if (r != -ECONNRESET)
		net_in_open(w);
	if (r == 0)
		r = criu_reply(w->criu, true, e);
	net_in_release(w); /* also after an error: an error of CRIU does not stop the tasks */
	return r < 0 ? r : criu_pump(w->criu, CRIU_EV_POST_RESUME, NULL, deadline, e);
}

int restore_resume(struct wrk *w, struct err *e)
{
	int r = resume(w, e);

	/* the program has the processors first: until here only pages that it waits for were filled */
	pager_push(w->pager);
	w->keep->resumed = r == 0;
	if (r < 0)
		return err_wrap(e, "resume");
	threads_set_later(w);
	names_keep(w);
	made_over();
	return 0;
}

void restore_finish(struct wrk *w)
{
	struct err e = ERR_INIT;

	if (!w->criu)
		return;
	if (criu_reply(w->criu, true, &e) < 0 ||
	    criu_pump(w->criu, CRIU_EV_DONE, NULL, deadline_in_ms(RESUME_LIMIT_MS), &e) < 0)
		log_warn("CRIU after the resume: %s", e.msg);
	guard_unkeep(w->guard, w->keep->criu_rpc);
	w->keep->criu_rpc = -1;
	criu_free(steal(w->criu));
}
