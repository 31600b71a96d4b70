/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - the steps of the table in run.c, and what they share. */
#ifndef HAUL_HAULER_RUN_PRIV_H
#define HAUL_HAULER_RUN_PRIV_H

#include "engine/criu/smaps.h"
#include "hauler/dirs/dirs.h"
#include "hauler/files/locks.h"
#include "hauler/files/needs.h"
#include "hauler/files/relinks.h"
#include "hauler/mig/ttys.h"
#include "hauler/net/net.h"
#include "hauler/pages/order.h"
#include "hauler/run/present.h"
#include "hauler/recheck/recheck.h"
#include "hauler/run/run.h"
#include "hauler/supervisors/supervisors.h"

/* ---- parts.c ---- */

/* A part of a step. */
struct part {
	const char *name; /* what it does, for its error */
	int (*run)(struct mig *m, struct err *e);
};

/**
 * parts_run() - run @n parts in order, up to the first that fails
 * @e: names the part, and has the destination's reason if it sent one
 */
int parts_run(struct mig *m, const struct part *parts, size_t n, struct err *e);
/** parts_run_here() - the same, but never waits for the destination's reason */
int parts_run_here(struct mig *m, const struct part *parts, size_t n, struct err *e);

/* ---- steps; each returns 0, or -errno with @e set ---- */

/** connect_run() - connect to the destination and open the channel */
int connect_run(struct mig *m, struct err *e);
/** connect_undo() - tell the destination that nothing comes */
void connect_undo(struct mig *m);
/** negotiate_run() - OFFER and its answer: findings, files */
int negotiate_run(struct mig *m, struct err *e);
/** connect_prepare() - PREPARE: the destination makes room; opens the streams */
int connect_prepare(struct mig *m, struct err *e);
/** connect_sender() - start the threads that send pages */
int connect_sender(struct mig *m, struct err *e);
/** connect_prepare_undo() - stop sending, tell the destination, put the network and the unit back */
void connect_prepare_undo(struct mig *m);
/** rounds_run() - copy memory while the tree runs, until the policy says stop */
int rounds_run(struct mig *m, struct err *e);
/** rounds_undo() - end throttling, sending and tracking */
void rounds_undo(struct mig *m);
/** freeze_run() - stop the tree, look at it again, let CRIU dump it */
int freeze_run(struct mig *m, struct err *e);
/** freeze_resume() - SIGCONT to what we have stopped */
void freeze_resume(struct mig *m);
/** freeze_undo() - let the tree run on here */
void freeze_undo(struct mig *m);
/** switch_send() - send the images and SWITCH */
int switch_send(struct mig *m, struct err *e);
/** switch_restore() - wait until the destination has restored the tree up to the gate */
int switch_restore(struct mig *m, struct err *e);
/** switch_restore_undo() - stop sending: freeze_undo() lets the tree run first */
void switch_restore_undo(struct mig *m);
/** switch_commit() - record commit, send COMMIT: past this call there is no undo */
int switch_commit(struct mig *m, struct err *e);
/** postcopy_run() - serve the pages that are still here, until DONE */
int postcopy_run(struct mig *m, struct err *e);
/** relink_run() - until the destination answers; then m->back_to is the next state */
int relink_run(struct mig *m, struct err *e);

/* ---- answer_criu.c ---- */

/**
 * answer_criu_start() - answer CRIU: haul brings large anonymous mappings
 * @listener: taken
 * @smaps: its opens of smaps are answered, too
 * @object: called with the mig; NULL: CRIU reads shared memory itself
 */
int answer_criu_start(struct mig *m, int listener, bool smaps, scans_object_fn object,
                      struct err *e);
/** answer_criu_could() - may CRIU's scan of this mapping be answered? */
bool answer_criu_could(const struct vma *v);
/** answer_criu_task() - the mappings of @pid that haul may bring; NULL: CRIU has asked for none */
struct own_task *answer_criu_task(const struct mig *m, pid_t pid);
/** answer_criu_forget() - free what was read for the answers */
void answer_criu_forget(struct mig *m);

/* ---- freeze.c ---- */

/** freeze_shmem() - sink_ops.shmem: pages of shared memory, sent as they come */
int freeze_shmem(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages);
/** freeze_hold() - move the stopped tree into the frozen cgroup; before the commit */
int freeze_hold(struct mig *m, struct err *e);
/** freeze_kept() - before the commit: is it still held as freeze_hold() left it? -EINTR: no */
int freeze_kept(const struct mig *m, struct err *e);
/** freeze_watch() - after the commit: stop those again that were woken or moved elsewhere */
void freeze_watch(struct mig *m);
/** freeze_kill() - SIGKILL the stopped copy and wait until it is gone */
void freeze_kill(struct mig *m);

/* ---- images.c ---- */

/** images_start() - CRIU is about to dump: its images are sent as it writes them */
int images_start(struct mig *m, struct err *e);
/** images_end() - CRIU is done: send the images that were not sent yet; before SWITCH */
int images_end(struct mig *m, struct err *e);
/** images_free() - may block in a send until the deadline: on failure resume the tree first */
void images_free(struct images *s);

/* ---- negotiate.c: what a load shares with a move ---- */

struct Haul__Answer;
/** negotiate_ask() - say OFFER, wait for @answer, the caller's. The destination may ask for digests meanwhile */
int negotiate_ask(struct mig *m, struct Haul__Offer *offer, struct Haul__Msg **answer,
                  struct err *e);
/** negotiate_findings() - add those of the destination */
int negotiate_findings(const struct Haul__Answer *a, struct findings *out, struct err *e);
/** negotiate_verdict() - report them. Return: 0; -EPERM: one is a blocker */
int negotiate_verdict(struct mig *m, const struct findings *f, struct err *e);

/* ---- archived_files.c: what files hold, from the archive to the worker ---- */

/** archived_prove() - the worker asks in DOUBT; @prove of struct link */
int archived_prove(struct mig *m, const Haul__Doubt *d, struct err *e);
/** archived_offer() - directories in the offer, as this load wants them */
int archived_offer(const struct mig *m, Haul__Offer *o, struct err *e);
/** archived_files() - single files that the worker lacks; before SWITCH */
int archived_files(struct mig *m, struct err *e);
/** archived_tree() - directories that were saved with --fs; before SWITCH */
int archived_tree(struct mig *m, struct err *e);

/* ---- from_archive.c: the steps of a load ---- */

/** from_archive_connect() - start the worker, say HELLO */
int from_archive_connect(struct mig *m, struct err *e);
/** from_archive_negotiate() - OFFER as it was saved; the findings of this host */
int from_archive_negotiate(struct mig *m, struct err *e);
/** from_archive_prepare() - START, streams, the sender */
int from_archive_prepare(struct mig *m, struct err *e);
/** from_archive_rounds() - nothing: no program runs */
int from_archive_rounds(struct mig *m, struct err *e);
/** from_archive_freeze() - the record: from here on recovery knows of it */
int from_archive_freeze(struct mig *m, struct err *e);
/** from_archive_send() - images, and pages that are needed before the gate */
int from_archive_send(struct mig *m, struct err *e);
/** from_archive_restore() - SWITCH, until the tree is at the gate */
int from_archive_restore(struct mig *m, struct err *e);
/** from_archive_commit() - note the use in the archive, then COMMIT */
int from_archive_commit(struct mig *m, struct err *e);
/** from_archive_undo() - the worker undoes; the archive is as it was */
void from_archive_undo(struct mig *m);

/* ---- postcopy.c ---- */

/** postcopy_listen() - answer WANT from now on; before SWITCH is sent */
int postcopy_listen(struct mig *m, struct err *e);
/**
 * postcopy_archived() - read pages of the archive and queue them, @max at a time
 * @buf: @max pages
 * Return: 0; -errno
 */
int postcopy_archived(struct mig *m, uint64_t obj, uint64_t vaddr, uint64_t pages, uint8_t *buf,
                      size_t max, struct err *e);
/** postcopy_push() - send the rest, hottest pages first; from PLACED on, before the tree runs */
int postcopy_push(struct mig *m, struct err *e);
/** postcopy_end_threads() - end the threads that push and serve */
void postcopy_end_threads(struct mig *m);

/* ---- record.c: the journal of the source ---- */

/** record_freeze() - before anything stops */
int record_freeze(struct mig *m, struct err *e);
/** record_held() - before CRIU leaves the tasks stopped */
int record_held(struct mig *m, struct err *e);
/** record_commit() - before COMMIT is sent */
int record_commit(struct mig *m, struct err *e);
/** record_undone() - before a tree resumes here although `commit` is on record */
void record_undone(struct mig *m);
/** record_ran() - the destination has said that the tree runs there: a later UNDONE is not believed */
void record_ran(struct mig *m);
/** record_end() - @remove: nothing is left to do */
void record_end(struct mig *m, bool remove);
/** record_load() - options and secret from m->journal; values that @o has already are kept */
int record_load(struct mig *m, struct opts *o, struct err *e);
/** record_held_again() - find the stopped tasks again. @gone: how many of them no longer exist */
int record_held_again(struct mig *m, unsigned int *gone, struct err *e);

/* ---- send_switch.c ---- */

/** send_switch_run() - SWITCH: final page maps, options, flows, files as they are now */
int send_switch_run(struct mig *m, struct err *e);

/* ---- throttle.c ---- */

/** throttle_limits() - set haul's own limits; @frozen: it may use all the CPU it can get */
void throttle_limits(struct mig *m, bool frozen);
/** throttle_more() - slow the program down as the last decision says */
void throttle_more(struct mig *m);
/** throttle_check() - the keeper process that would thaw the tree may have been killed */
void throttle_check(struct mig *m);
/** throttle_free() - the program runs at full speed again; also when it was not slowed down */
void throttle_free(struct mig *m);

/* ---- unread.c ---- */

struct Haul__Switch;
/** unread_switch() - put what is in the pipes of a haul run into SWITCH */
int unread_switch(const struct mig *m, struct Haul__Switch *s, struct err *e);
void unread_switch_free(struct Haul__Switch *s);

#endif
