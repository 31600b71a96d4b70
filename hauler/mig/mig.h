/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mig.h - one migration seen from the source: options, states, report. */
#ifndef HAUL_HAULER_H
#define HAUL_HAULER_H

#include <pthread.h>
#include <stdio.h>

#include "common/journal.h"
#include "common/page.h"
#include "engine/criu/class_runs.h"
#include "engine/criu/criu.h"
#include "engine/criu/img.h"
#include "engine/criu/scans.h"
#include "engine/criu/sink.h"
#include "engine/pager/pager.h"
#include "engine/proc/frost.h"
#include "engine/proc/proc.h"
#include "engine/proc/slow.h"
#include "engine/tracker/tracker.h"
#include "hauler/dirs/dirs.h"
#include "hauler/files/needs.h"
#include "hauler/inspect/inspect.h"
#include "hauler/net/net.h"
#include "hauler/pages/send.h"
#include "policies/policies.h"
#include "transport/transport.h"

#define STREAMS_LIMIT 16

/* ---- options ---- */

#define OPTS_GIVEN_MAX 256 /* options of one command line */

struct option_row;

struct opts {
	pid_t pid;
	const char *dest;
	unsigned int port;
	const char *identity, *known_hosts, *criu, *config;
	const char *agent; /* "none", "local", a URL; NULL: see hauler/cli/http.c */
	const char *token_file, *ca; /* of a URL */
	bool owned; /* all of the tree has to be of @owner */
	unsigned int owner;
	int priority; /* in hauld's queue */
	struct given {
		const char *name;
		const struct option_row *row; /* of options_table; NULL: an option of policies */
		const char *text; /* NULL: a flag */
	} given[OPTS_GIVEN_MAX]; /* every option of the command line, in order */
	unsigned int n_given;
	const char *policy, *row_text[POL_NOPTIONS]; /* as given on the command line */
	struct policy pol;
	unsigned int connect_limit_ms, link_limit_s;
	const char *record, *trace; /* watch, policy simulate */
	unsigned int bandwidth_mbit, seconds, sample_ms;
	bool json, quiet, verbose, yes;
	bool list, keep_here, drop_here; /* recover, resolve */
	struct net_opts net;
	const char *into_root; /* the tree's root directory at the destination */
	struct dirs_opts fs;
};

/* ---- cmd_peers.c ---- */

/* A host as it describes itself. */
struct peer {
	char host[256], program[64], kernel[80];
	unsigned int port, criu_version;
	uint64_t mem_free_bytes;
	bool reached;
	struct err err; /* why not */
};

/* ---- mig.c ---- */

/* In the order in which they are passed; the table in mig.c has a row for each. */
enum mig_state {
	MIG_NEW,
	MIG_CONNECT,
	MIG_NEGOTIATE,
	MIG_PREPARE,
	MIG_ROUNDS,
	MIG_FREEZE,
	MIG_SEND,
	MIG_RESTORE,
	MIG_COMMIT,
	MIG_POSTCOPY,
	MIG_RELINK, /* the link was lost after the commit: asking for the outcome */
	MIG_DONE,
	MIG_UNDO,
	MIG_UNDONE,
	MIG_LOST, /* past the commit, the peer is gone: stopped copy kept */
	MIG_NSTATES
};

/* Where the tree may run while a state lasts, and what its failure means. */
enum mig_home { HOME_SOURCE, HOME_NOBODY, HOME_DEST };

struct task_mem {
	pid_t pid;
	int fd;
};

struct held {
	pid_t pid;
	int pidfd;
	bool was_stopped;
};

/* A mapping that CRIU did not look into: haul knows its pages and brings them. */
struct own_vma {
	pid_t pid;
	uint64_t start, end;
};

struct left_obj {
	uint64_t obj;
	struct class_runs runs;
};

/* Times of the steps, in microseconds of the monotonic clock; 0: not reached. */
struct mig_times {
	uint64_t start_us, freeze_us, stopped_us, dumped_us, scanned_us, sent_us, restored_us,
	        running_us, end_us;
	uint64_t look_us; /* duration of the last scan, which runs beside CRIU's dump */
	uint64_t dest_restore_us, dest_images_us, dest_resume_us, rtt_us; /* durations */
};

/*
 * A migration is made of the parts below; each names the folder or file that owns it. Locks are
 * taken in this order: halt.lock, link.lock, rest.lock, dump.lock; most code holds one at a time.
 */

/* Whether the user wants to stop, and whether that is still possible. Owner: mig/mig.c. */
struct halt {
	pthread_mutex_t lock; /* also guards the pointers that mig_stop() cancels: link.ctl,
	                         dump.criu, pages.send, fs */
	bool stop; /* stop asked for before the commit */
	bool committed; /* COMMIT may have been sent: only the destination knows the outcome */
	bool leave; /* Ctrl-C after the commit: do not wait for a lost link */
};

/* The connections to the destination. Owner: mig/. */
struct link {
	pthread_mutex_t lock; /* lost, why */
	struct chan *ctl; /* halt.lock: the signal thread cancels it */
	struct chan *urgent, *data[STREAMS_LIMIT];
	uint64_t route;
	uint8_t secret[32];
	char peer_boot[JOURNAL_BOOT_BYTES]; /* boot id of the destination */
	bool aborted; /* ABORT was sent: once is enough */
	bool lost; /* a thread has lost a connection */
	struct err why; /* its error */
};

/* CRIU at work, and what is learned from its images. Owner: run/. */
struct dump {
	char criu_path[512];
	unsigned int criu_version;
	struct criu *criu; /* halt.lock */
	struct sink *sink;
	int images_fd;
	bool done; /* CRIU has its last answer and leaves the processes stopped */

	struct scans *scans; /* NULL: CRIU walks all pages itself */
	struct smaps *smaps; /* NULL: CRIU reads the kernel's smaps */
	unsigned int smaps_answered; /* atomic */
	pthread_mutex_t lock; /* ours, n_ours */
	struct own_vma *ours; /* mappings whose scans were answered */
	size_t n_ours;
	struct exist *exist; /* the last scan; run/present.h */
	struct ship *ship; /* images on their way */
	struct class_runs *maps; /* one for each object of the sink */
	size_t n_maps;
};

/* Copying while the program runs: what is measured, and what is decided. Owner: run/rounds.c. */
struct precopy {
	struct tracker *trk;
	enum tracker_kind tracker_kind;
	struct pol_state decision;
	struct pol_answer answer;
	struct slow *slow; /* NULL: the program runs at full speed */
	uint64_t cpu_us, cpu_at_us; /* CPU time of the tree when rounds began, and when that was */
	bool switch_over; /* send the rest after the program has resumed */
};

/* The sender of pages and what it reads from. Owner: pages/ and mig/memfd.c. */
struct pages {
	struct sent *sent;
	struct send *send; /* halt.lock */
	uint32_t mark;
	struct task_mem *mem; /* /proc/PID/mem of the round; more are opened as needed */
	size_t n_mem, cap_mem; /* nothing is added while another thread answers a WANT */
};

/* The stopped processes at the source. Owner: run/freeze.c. */
struct copy {
	struct frost *frost; /* holds the stopped copy; NULL: SIGSTOP alone does */
	char *home; /* the cgroup in which frost makes its own, below the mount */
	struct held *held;
	size_t n_held;
	struct rings *rings; /* AIO rings whose answers must not change any more; NULL: none */
};

/* Pages that go after the switch. Owner: run/postcopy.c. */
struct rest {
	pthread_mutex_t lock; /* order */
	struct order *order; /* of @left, while it is pushed */
	struct left_obj *left; /* what the destination still lacks */
	size_t n_left;
	pthread_t urgent_thread, push_thread;
	bool urgent_running, push_running;
	bool ran; /* the destination has said that the program runs there */
	bool drained; /* the destination has every page */
};

/* Figures for the report. Each step writes those it measures. */
struct figures {
	struct mig_times t;
	unsigned int rounds;
	uint64_t round_pages, round_us; /* of the last round */
	unsigned int slowest_percent;
	uint64_t peer_left_pages, peer_faults; /* as the destination says meanwhile */
	uint64_t faults, faults_remote;
	uint32_t fault_p50_us, fault_p99_us, fault_max_us;
	uint64_t fault_n[PAGER_FAULT_BOUNDS + 1]; /* by pager_fault_le_us */
	uint64_t store_peak_bytes;
	struct send_stats sent_stats; /* of links that were lost */
	struct tracker_stats tracker_stats;
	uint64_t remote_pages, eager_pages, final_pages, present_pages;
	uint64_t early_pages; /* of the remote ones, at the destination when the gate opened */
	uint64_t rss_bytes;
	unsigned int shipped_files;
	uint64_t shipped_bytes, ship_us; /* us: of the last pass, in the freeze */
	char comm[32];
	unsigned int tasks;
};

struct mig {
	const struct opts *opt;
	enum mig_state state; /* written by run.c only; other threads read it atomically */
	enum mig_state back_to; /* where RELINK leads */
	uint64_t id;
	struct err err;
	struct peer *peer; /* haul peers: to be filled; NULL */
	struct journal *journal; /* from the freeze on */
	struct {
		char *dest, *identity, *known_hosts; /* of the journal, for @opt */
	} loaded;

	struct inspect *insp;
	struct needs *needs;
	struct mnet *net;
	struct fs *fs; /* directories that travel; NULL: none. halt.lock */

	struct halt halt;
	struct link link;
	struct dump dump;
	struct precopy precopy;
	struct pages pages;
	struct copy copy;
	struct rest rest;
	struct figures fig;
};

/** mig_init() - an empty migration: its locks, and no open file */
void mig_init(struct mig *m);
/** link_lost() - a connection was lost, with error @why. Return: is it the first one? */
bool link_lost(struct link *l, const struct err *why);
/** link_reason() - @e: out, why the first connection was lost. Return: was one lost? */
bool link_reason(struct link *l, struct err *e);
/** mig_run() - the whole migration. Return: 0, or -errno with m->err set */
int mig_run(struct mig *m, const struct opts *opt);
/** mig_recover() - from the journal of a commit: ask, and go on from the answer */
int mig_recover(struct mig *m);
/** mig_stop() - from the signal thread. Return: false: past the commit, it only stops waiting */
bool mig_stop(struct mig *m);
/** mig_stopped() - by mig_stop() */
bool mig_stopped(struct mig *m);
void mig_fini(struct mig *m);
/** mig_send_stats() - of all links of this migration; @out may be m->sent_stats */
void mig_send_stats(struct mig *m, struct send_stats *out);
const char *mig_state_name(enum mig_state s);
enum mig_home mig_state_home(enum mig_state s);
/** mig_may() - is there an edge? tests/t-handover-tables.sh has docs/HANDOVER.md agree */
bool mig_may(enum mig_state from, enum mig_state to);
/** mig_freeze_end() - until then the tree may stand */
uint64_t mig_freeze_end(const struct mig *m);
/** mig_deadline() - of a step that waits: that, or half a minute while the tree runs */
uint64_t mig_deadline(const struct mig *m);

/* ---- talk.c: control messages of the source ---- */

struct Haul__Msg;
/** talk_expect() - the next message of kind @want; ABORT becomes @e */
int talk_expect(struct mig *m, struct chan *ch, int want, struct Haul__Msg **out,
                uint64_t deadline_us, struct err *e);
int talk_connect(struct mig *m, struct err *e);
int talk_streams(struct mig *m, struct err *e);
struct Haul__Doubt;
/** talk_prove() - answer the destination's question about files */
int talk_prove(struct mig *m, const struct Haul__Doubt *d, struct err *e);
/** talk_files() - the connection for trees */
int talk_files(struct mig *m, struct chan **out, struct err *e);
/** talk_resume() - a control connection in the place of one that was lost */
int talk_resume(struct mig *m, struct err *e);
int talk_offer(struct mig *m, bool check_only, struct findings *out, struct err *e);
int talk_start(struct mig *m, struct err *e);
int talk_marked(struct mig *m, uint32_t mark, uint64_t deadline_us, struct err *e);
int talk_ping(struct mig *m, struct err *e);
int talk_switch(struct mig *m, struct err *e);

struct ship;
/** ship_start() - CRIU is going to dump: images go to the destination as they are written */
int ship_start(struct mig *m, struct err *e);
/** ship_end() - CRIU is done: what is not there yet goes; before SWITCH */
int ship_end(struct mig *m, struct err *e);
/** ship_free() - on failure the tree has to go on first: a send may take until the deadline */
void ship_free(struct ship *s);
/** talk_placed() - the destination takes pages that come later; before, they would be lost */
int talk_placed(struct mig *m, struct err *e);
int talk_restored(struct mig *m, struct err *e);
struct Haul__Drained;
/** talk_drained() - every page is there: keep the figures */
void talk_drained(struct mig *m, const struct Haul__Drained *d);
int talk_simple(struct mig *m, int kind, struct err *e);
/** talk_reason() - replace a link error by the ABORT that the peer sent, if any */
void talk_reason(struct mig *m, struct err *e);
void talk_abort(struct mig *m, const struct err *why);

/* ---- steps of the table ---- */

int connect_run(struct mig *m, struct err *e);
void connect_undo(struct mig *m);
int negotiate_run(struct mig *m, struct err *e);
int prepare_run(struct mig *m, struct err *e);
void prepare_undo(struct mig *m);
int rounds_run(struct mig *m, struct err *e);
void rounds_undo(struct mig *m);
int freeze_run(struct mig *m, struct err *e);
void freeze_undo(struct mig *m);
int final_run(struct mig *m, struct err *e);
int restore_run(struct mig *m, struct err *e);
void restore_undo(struct mig *m);
int commit_run(struct mig *m, struct err *e);
int postcopy_run(struct mig *m, struct err *e);
/** relink_run() - until the destination answers; then m->back_to says where to go on */
int relink_run(struct mig *m, struct err *e);

/** freeze_shmem() - sink_ops.shmem: pages of shared memory, sent as they come */
int freeze_shmem(void *arg, uint64_t obj, uint64_t vaddr, const void *data, size_t pages);
/** postcopy_listen() - answer WANT from now on; before SWITCH is sent */
int postcopy_listen(struct mig *m, struct err *e);
/** postcopy_push() - the rest goes, hottest first; from PLACED on, though the tree does not run yet */
int postcopy_push(struct mig *m, struct err *e);
void postcopy_end_threads(struct mig *m);
/** ours_start() - answer CRIU: large anonymous mappings are ours. @listener: taken */
int ours_start(struct mig *m, int listener, struct err *e);
/**
 * ours_mode() - how the freeze works: "push" (CRIU walks and streams all pages), "push-dirty" (it
 * streams those with soft-dirty bits), "scans" (it walks not those that haul brings),
 * "scans+smaps" (and smaps is answered, too); as in START.freeze
 */
const char *ours_mode(const struct mig *m);
/** ours_clean() - does CRIU leave out clean pages? Our last scan has to end before it dumps */
bool ours_clean(const struct mig *m);
/** ours_could() - may CRIU's scan of this mapping be answered? */
bool ours_could(const struct vma *v);
/** limits_apply() - to the bulk of pages; @frozen: haul may use all the CPU it can get */
void limits_apply(struct mig *m, bool frozen);
/** rounds_free() - at full speed again; also when it was not slowed down */
void rounds_free(struct mig *m);
/** mem_fd() - /proc/PID/mem, kept open until mem_close_all() */
int mem_fd(struct mig *m, pid_t pid, struct err *e);
void mem_close_all(struct mig *m);
/** freeze_stands() - -EINTR: somebody has woken it: what was sent is not what it is now */
int freeze_stands(const struct mig *m, struct err *e);
/** freeze_kept() - before the commit: held as freeze_hold() has left it. -EINTR: no more */
int freeze_kept(const struct mig *m, struct err *e);
/** freeze_hold() - the stopped tree into the frozen cgroup, where it stands; before the commit */
int freeze_hold(struct mig *m, struct err *e);
/** freeze_watch() - after the commit: stop again whom somebody has woken, or moved elsewhere */
void freeze_watch(struct mig *m);
/** source_kill() - SIGKILL the stopped copy and wait until it is gone */
void source_kill(struct mig *m);

/* ---- record.c: the journal of the source ---- */

/** rec_freeze() - before anything stops */
int rec_freeze(struct mig *m, struct err *e);
/** rec_held() - before CRIU leaves the tasks stopped */
int rec_held(struct mig *m, struct err *e);
/** rec_commit() - before COMMIT is sent */
int rec_commit(struct mig *m, struct err *e);
/** rec_undone() - before a tree goes on here although `commit` is on record */
void rec_undone(struct mig *m);
/** rec_ran() - the destination has said that it runs there: a later UNDONE is not believed */
void rec_ran(struct mig *m);
/** rec_end() - @remove: nothing is left to be ended */
void rec_end(struct mig *m, bool remove);
/** rec_load() - options and secret from m->journal; what @o has already stays */
int rec_load(struct mig *m, struct opts *o, struct err *e);
/** rec_held_again() - the stopped tasks; @gone: how many of them are no more */
int rec_held_again(struct mig *m, unsigned int *gone, struct err *e);

/* ---- report.c ---- */

void rep_state(const struct mig *m);
/** rep_freeze_mode() - which of ours_mode() it will be, and how writes are tracked */
void rep_freeze_mode(const struct mig *m);
void rep_round(const struct mig *m);
/** rep_throttle() - slowed down, or more than before */
void rep_throttle(const struct mig *m);
/** rep_running() - at the destination, for the first time */
void rep_running(const struct mig *m);
void rep_progress(struct mig *m, bool force);
void rep_end(struct mig *m);
/** rep_waiting() - the link is lost, we try again */
void rep_waiting(const struct mig *m, const struct err *e);
void rep_findings(const struct findings *f, bool json);
/** rep_needs() - files and what the destination has of them; @all: also those that are the same */
void rep_needs(const struct needs *n, bool json, bool all);
void rep_error(const struct err *e, bool json);

#endif
