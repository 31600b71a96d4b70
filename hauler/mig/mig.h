/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mig.h - one migration, seen from the source: its options, state, parts and conversation. */
#ifndef HAUL_HAULER_MIG_H
#define HAUL_HAULER_MIG_H

#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>

#include "common/host/journal.h"
#include "common/page.h"
#include "engine/container/container.h"
#include "engine/images/class_runs.h"
#include "engine/criu/criu.h"
#include "engine/images/img.h"
#include "engine/criu/scans.h"
#include "engine/criu/sink.h"
#include "engine/pager/pager.h"
#include "engine/proc/frost.h"
#include "engine/proc/proc.h"
#include "engine/proc/slow.h"
#include "engine/proc/warm.h"
#include "engine/tracker/tracker.h"
#include "hauler/inspect/inspect.h"
#include "hauler/mig/threads.h"
#include "hauler/options/dirs.h"
#include "hauler/options/net.h"
#include "hauler/pages/order.h"
#include "hauler/pages/send.h"
#include "policies/policies.h"
#include "transport/keys/secret.h"
#include "transport/msg/wire.h"
#include "transport/transport.h"

#define STREAMS_LIMIT 16

/* ---- options ---- */

#define OPTS_GIVEN_MAX 256 /* options of one command line */

struct option_row;

struct mig;
struct Haul__Doubt;
struct Haul__Msg;
struct left_obj;
struct order;
struct present;
struct capture;
struct images;
struct signals;
struct needs;
struct mnet;
struct save;
struct load;

struct opts {
	pid_t pid;
	pid_t outer_pid; /* what it is where haul was started, if that is another pid namespace; else 0 */
	const char *dest;
	unsigned int port;
	const char *identity, *known_hosts, *criu, *config;
	struct {
		const char *agent; /* "none", "local", a URL; NULL: see hauler/cli/http.c */
		const char *token_file, *ca; /* of a URL */
		int priority; /* in its queue */
	} hauld; /* that is asked to do it */
	struct {
		bool owned; /* all of the tree has to be of @owner */
		unsigned int owner;
		struct account account; /* of @owner; loaded before anything is stopped */
	} user;
	struct given {
		const char *name;
		const struct option_row *row; /* of options_table; NULL: an option of policies */
		const char *text; /* NULL: a flag */
	} given[OPTS_GIVEN_MAX]; /* every option of the command line, in order */
	unsigned int n_given;
	const char *policy, *row_text[POL_NOPTIONS]; /* as given on the command line */
	struct policy pol;
	unsigned int connect_limit_ms, link_limit_s;
	struct {
		const char *record, *trace;
		unsigned int bandwidth_mbit, seconds, sample_ms;
	} watch; /* haul watch, policy simulate */
	bool json, quiet, verbose, yes;
	struct {
		bool list, keep_here, drop_here;
	} resolve; /* haul recover, resolve */
	struct net_opts net;
	const char *into_root; /* the tree's root directory at the destination */
	const char *unit; /* the service of systemd's that the tree is; NULL: it moves as a tree */
	const char *unit_settings; /* of that: unitfile_settings(); NULL: not known */
	const char *pids; /* how it gets its pids there: keep, own-namespace, auto; NULL: auto */
	const char *as; /* key of a haul land; NULL: none */
	struct container container; /* whose tree it is; runtime "": none */
	struct {
		const char *give_on; /* the signal that gives the program away; NULL: none */
		int give_signal; /* its number */
		unsigned int park_s, away_status;
	} launch; /* run, land */
	struct {
		bool end, stop, runs; /* what becomes of the saved tree */
		bool copy; /* although another may live */
		const char *lazy; /* "no": NULL: yes */
		bool loads; /* @dest is loaded, not written */
		unsigned int keep, state; /* states that stay; the one to load: 0: the latest */
	} archive; /* haul save, haul load */
	struct rlimit nofile; /* of open files, before haul raised it */
	struct dirs_opts fs;
};

/* ---- cli/peers.c ---- */

/* A host as it describes itself. */
struct peer {
	char host[256], program[64], kernel[80];
	unsigned int port, criu_version;
	uint64_t mem_free_bytes;
	bool reached;
	struct err err; /* why not */
};

/* ---- states ---- */

/* In the order in which they are passed; the table in run/run.c has a row for each. */
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

/* What all may know of a state; run/run.c has the table and hands a row down as m->at. */
struct state_facts {
	const char *name;
	unsigned int may_go_to; /* bit mask of states */
	enum mig_home home; /* which side may run the tree while it lasts */
	bool frozen; /* counts against the freeze limit */
};

struct task_mem {
	pid_t pid;
	int fd;
};

struct held {
	pid_t pid, inner; /* inner: as images and the destination know it (inner.h) */
	int pidfd;
	bool was_stopped;
};

/* A mapping that CRIU need not look into: haul knows its pages and brings them. */
struct own_vma {
	uint64_t start, end;
	bool answered; /* CRIU has asked, and did not look */
};

/* Those of one stopped process, as its maps were read once. */
struct own_task {
	pid_t pid;
	struct own_vma *v; /* ascending */
	size_t n, cap, n_answered;
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
	pthread_mutex_t lock; /* also guards the pointers that run_stop() cancels: link.ctl,
	                         dump.criu, pages.send, dirs */
	bool stop; /* stop asked for before the commit */
	bool committed; /* COMMIT may have been sent: only the destination knows the outcome */
	bool leave; /* Ctrl-C after the commit: do not wait for a lost link */
};

/* The connections to the destination. Owner: mig/. */
struct link {
	pthread_mutex_t lock; /* lost, why */
	struct chan *ctl; /* halt.lock: the signal thread cancels it */
	struct chan *urgent, *data[STREAMS_LIMIT];
	struct chan *files; /* directories of an archive that is loaded; run/archived_files.c */
	uint64_t route;
	uint8_t secret[SECRET_BYTES];
	char peer_boot[JOURNAL_BOOT_BYTES]; /* boot id of the destination */
	bool aborted; /* ABORT was sent: once is enough */
	/* answers DOUBT, while an OFFER waits for its ANSWER; NULL: DOUBT may not come */
	int (*prove)(struct mig *m, const struct Haul__Doubt *d, struct err *e);
	bool lost; /* a thread has lost a connection */
	struct err why; /* its error */
	/* as in struct chan_target; NULL: the destination is a host */
	int (*dial)(void *arg, uint64_t route, struct err *e);
	void *dial_arg;
};

/* CRIU at work, and what is learned from its images. Owner: run/. */
struct dump {
	char criu_path[512];
	unsigned int criu_version;
	struct criu *criu; /* halt.lock */
	struct sink *sink;
	int images_fd;
	bool done; /* CRIU has its last answer and leaves the processes stopped */
	bool gone; /* and it has ended */

	struct scans *scans; /* NULL: CRIU walks all pages itself */
	struct smaps *smaps; /* NULL: CRIU reads the kernel's smaps */
	unsigned int smaps_answered; /* atomic */
	pthread_mutex_t lock; /* own, n_own, n_answered */
	struct own_task *own; /* of which CRIU has asked; ascending by pid */
	size_t n_own, cap_own, n_answered; /* n_answered: mappings of all */
	struct present *present; /* the last scan; run/present.h */
	struct images *images; /* images on their way */
	struct sockets *sockets; /* where they are; NULL: not looked yet */
	struct threads *threads; /* what CRIU does not restore of them; NULL before the dump */
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
	enum pol_freeze freeze_how; /* as was predicted */
	struct pol_costs costs; /* of earlier stops */
};

/* The sender of pages and what it reads from. Owner: pages/ and mig/memfd.c. */
struct pages {
	struct sent *sent;
	struct send *send; /* halt.lock */
	bool same_runs; /* the destination knows pages that several processes share */
	uint32_t mark;
	/* pages of an archive, in place of those of processes; Return: 0; -errno. NULL: none */
	int (*read)(void *arg, uint64_t obj, uint64_t vaddr, void *buf, size_t pages,
	            struct err *e);
	bool (*has)(void *arg, uint64_t obj);
	void *read_arg;
	struct task_mem *mem; /* /proc/PID/mem of the round; more are opened as needed */
	size_t n_mem, cap_mem; /* nothing is added while another thread answers a WANT */
};

/* The stopped processes at the source. Owner: run/freeze.c. */
struct copy {
	struct frost *frost; /* holds the stopped copy; NULL: SIGSTOP alone does */
	char *home; /* the cgroup in which frost makes its own, below the mount */
	struct held *held;
	size_t n_held;
	struct signals *signals; /* pending when the tree had stopped; run/signals.c */
	struct ttys *ttys; /* what waits in its terminals; mig/ttys.h */
	struct warm warm_locks; /* locks_warm() */
	struct locks *locks; /* on files that both hosts see; NULL: none. files/locks.h */
	int starter; /* connection to the haul run that has started the tree; -1: none */
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
	uint64_t degraded_us, fault_wait_us; /* after it ran there */
	uint64_t fault_n[PAGER_FAULT_BOUNDS + 1]; /* by pager_fault_le_us */
	uint64_t store_peak_bytes;
	char ended[64]; /* how the process has ended there since; empty: it runs */
	struct send_stats sent_stats; /* of links that were lost */
	struct tracker_stats tracker_stats;
	uint64_t remote_pages, eager_pages, final_pages, present_pages;
	uint64_t early_pages; /* of the remote ones, at the destination when the gate opened */
	uint64_t rss_bytes;
	unsigned int shipped_files;
	uint64_t shipped_bytes, ship_us; /* us: of the last pass, in the freeze */
	char comm[32];
	unsigned int tasks;
	uint32_t
	        host_pid; /* of the root on the destination, outside its own pid namespace; 0: as here */
	struct {
		unsigned int state;
		uint64_t bytes; /* of the whole file */
	} archive;
};

struct mig {
	const struct opts *opt;
	enum mig_state state; /* written by run/run.c only */
	const struct state_facts *at; /* of @state; other threads read it atomically */
	enum mig_state back_to; /* where RELINK leads */
	uint64_t id;
	struct err err;
	struct peer *peer; /* haul peers: to be filled; NULL */
	struct journal *journal; /* from the freeze on */
	struct {
		char *dest, *identity, *known_hosts, *unit; /* of the journal, for @opt */
	} loaded;

	struct inspect *insp;
	struct needs *needs;
	struct opened *opened; /* run/opened.c */
	struct mnet *net;
	struct dirs *dirs; /* directories that move; NULL: none. halt.lock */
	struct save *save; /* the destination is an archive; save/save.h */
	struct load *load; /* the source is an archive; load/load.h */
	bool kept; /* it is saved and runs on: undone on purpose, without an ABORT */

	struct {
		bool guarded;
		bool lasting; /* the next boot could start it: it is more than a transient unit */
		int lock; /* of its drop-in; -1 */
		uint64_t watchdog_us;
	} unit; /* of opt->unit; run/unit.c */

	struct capture *capture; /* of opt->container; run/capture.c */

	struct halt halt;
	struct link link;
	struct dump dump;
	struct precopy precopy;
	struct pages pages;
	struct copy copy;
	struct rest rest;
	struct figures fig;
};

/** mig_well() - has it ended as it was meant to? Moved; or saved, and it stays here */
bool mig_well(const struct mig *m);
/** mig_init() - an empty migration: its locks, no open file, in state new */
void mig_init(struct mig *m);
/** mig_stopped() - has the user stopped it (Ctrl-C) before the commit? */
bool mig_stopped(struct mig *m);
/** mig_unless_stopped() - Return: 0; -ECANCELED with @e, when the user has stopped it */
int mig_unless_stopped(struct mig *m, struct err *e);
/* The option that limits how long the tree may be stopped, and its value. */
struct freeze_max {
	const char *option;
	unsigned int ms;
};
/** mig_freeze_max() - freeze-limit-ms, or downtime-max-ms where that is less */
struct freeze_max mig_freeze_max(const struct mig *m);
/** mig_freeze_end() - until when the tree may be stopped, in us */
uint64_t mig_freeze_end(const struct mig *m);
/** mig_deadline() - of a step that waits: mig_freeze_end(), or half a minute while the tree runs */
uint64_t mig_deadline(const struct mig *m);
/** mig_send_stats() - sums over all links of this migration */
void mig_send_stats(const struct mig *m, struct send_stats *out);
/** mig_link_lost() - a connection was lost, with error @why. Return: is it the first one? */
bool mig_link_lost(struct link *l, const struct err *why);
/** mig_link_reason() - @e: out, why the first connection was lost. Return: was one lost? */
bool mig_link_reason(struct link *l, struct err *e);

/* ---- memfd.c ---- */

/** memfd_get() - /proc/PID/mem of @pid, kept open until memfd_close_all(). Return: fd; -errno */
int memfd_get(struct mig *m, pid_t pid, struct err *e);
/** memfd_close_all() - close what memfd_get() has opened */
void memfd_close_all(struct mig *m);

/* ---- freeze_mode.c ---- */

/**
 * freeze_mode() - how the pages of the freeze are found, as in START.freeze
 * Return: "push" (CRIU walks and streams all pages), "push-dirty" (it streams those with soft-dirty
 * bits), "scans" (it skips the mappings whose pages haul brings), "scans+smaps" (and haul answers
 * its reads of smaps)
 */
const char *freeze_mode(const struct mig *m);
/** freeze_mode_clean() - does CRIU leave out clean pages? Then our last scan ends before its dump */
bool freeze_mode_clean(const struct mig *m);

/* ---- talk.c: control messages of the source ---- */

/* Which message may come in which states; a row of the table in talk.c. */
struct talk_rule {
	const char *name;
	enum mig_state from, to; /* both included */
};

/** talk_rule() - row @i of the table, for the test. Return: false: there are no more */
bool talk_rule(size_t i, struct talk_rule *out);
/**
 * talk_next() - receive one message and do what its rule says
 * @want: HAUL__MSG__BODY_..., returned in @out; 0: none
 * Return: 1: @out is what was wanted, for the caller to free; 0: another one, dealt with; -errno:
 * the link, an ABORT, or a message that may not come now
 */
int talk_next(struct mig *m, struct chan *ch, int want, struct Haul__Msg **out,
              uint64_t deadline_us, struct err *e);
/** talk_expect() - talk_next() until the wanted one is there. Return: 0; -errno */
int talk_expect(struct mig *m, struct chan *ch, int want, struct Haul__Msg **out,
                uint64_t deadline_us, struct err *e);
/** talk_say() - send a message of kind @kind on the control connection; @body as in wire_say() */
int talk_say(struct mig *m, int kind, const void *body, struct err *e);
/** talk_connect() - the control connection, with HELLO */
int talk_connect(struct mig *m, struct err *e);
/** talk_streams() - the connections for pages */
int talk_streams(struct mig *m, struct err *e);
/** talk_files() - the connection for directories. @out: the caller frees it */
int talk_files(struct mig *m, struct chan **out, struct err *e);
/** talk_resume() - a control connection in place of one that was lost */
int talk_resume(struct mig *m, struct err *e);
/** talk_start() - START, STARTED: the destination is ready for pages */
int talk_start(struct mig *m, struct err *e);
/** talk_marked() - wait until the destination has passed mark @mark on every stream */
int talk_marked(struct mig *m, uint32_t mark, uint64_t deadline_us, struct err *e);
/** talk_ping() - measure the round trip: m->fig.t.rtt_us */
int talk_ping(struct mig *m, struct err *e);
/** talk_placed() - wait until the destination takes pages that come later; before, they would be lost */
int talk_placed(struct mig *m, struct err *e);
/** talk_restored() - wait until the tree is at the gate */
int talk_restored(struct mig *m, struct err *e);
/** talk_reason() - replace a link error by the ABORT that the peer sent, if any */
void talk_reason(struct mig *m, struct err *e);
/** talk_abort() - send ABORT, once, and wait a few seconds for UNDONE */
void talk_abort(struct mig *m, const struct err *why);

#endif
