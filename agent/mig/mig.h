/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mig.h - the destination: hauld's daemon and its worker, one per migration. */
#ifndef HAUL_AGENT_H
#define HAUL_AGENT_H

#include <pthread.h>

#include "agent/check/check.h"
#include "agent/dirs/dirs.h"
#include "agent/files/settle.h"
#include "agent/worker/net.h"
#include "agent/worker/out.h"
#include "common/journal.h"
#include "common/page.h"
#include "engine/criu/class_runs.h"
#include "engine/criu/criu.h"
#include "engine/criu/img.h"
#include "engine/pager/guard.h"
#include "engine/pager/pager.h"
#include "engine/pager/store.h"
#include "engine/proc/proc.h"
#include "transport/transport.h"

#define AGT_STREAMS_MAX 20 /* 16 data, urgent, files, one that resumes, a stranger */
#define AGT_DATA_MAX    16
#define AGT_RUN_DIR     "/run/haul"

#define WRK_SECRET_BYTES 32

struct agt_conf {
	const char *bind;
	unsigned int port;
	const char *host_key, *authorized_keys, *criu, *config;
	char criu_path[512];
};

/* ---- worker.c ---- */

/* In the order in which they are passed; the table in worker.c has a row for each. */
enum wrk_state {
	WRK_HELLO,
	WRK_OFFER,
	WRK_START,
	WRK_ROUNDS,
	WRK_GATE, /* restored, held before the first instruction */
	WRK_RUNNING,
	WRK_DONE,
	WRK_UNDONE,
	WRK_LOST, /* ended here, although an instruction may have run */
	WRK_NSTATES
};

struct stream {
	struct wrk *w;
	struct chan *ch;
	pthread_t thread;
	int fd; /* until SSH has it */
	int peer; /* the same socket: to hang up on who says nothing */
	uint64_t since_us;
	bool used, registered, urgent, files;
	bool over; /* the thread has nothing more to do; atomic */
	uint32_t mark;
};

/* What a successor needs besides the pager's memory; shared (guard_user()). */
struct wrk_keep {
	uint8_t secret[32];
	pid_t root_pid, criu_pid;
	int criu_rpc; /* -1: CRIU has ended */
	int images_fd, journal_fd;
	int place_fd; /* record of files that were brought (place.h); -1: there is none */
	bool known; /* the source has shown a key that is authorised */
	bool opening; /* CRIU may have been told to let the tree run */
	bool resumed; /* it has said that it runs */
	struct anet_keep net;
};

struct wrk {
	const struct agt_conf *conf;
	const struct chan_server *server;
	enum wrk_state state;
	uint64_t route;
	uint8_t secret[WRK_SECRET_BYTES];
	struct chan *
	        ctl; /* NULL: no link yet (a successor); changes after the commit only, under ctl_lock */
	pthread_mutex_t ctl_lock; /* held while it is written to */
	int door; /* further sockets of this migration arrive here */
	struct err err;
	struct journal *journal; /* from the gate on */
	bool nobody_asks; /* the source knows how it ended: the journal may go */

	unsigned int criu_version;
	bool criu_lazy;
	struct criu *criu;
	int images_fd;
	pid_t root_pid;
	uint32_t *pids;
	size_t n_pids;
	char *into_root; /* of the offer; NULL: the root directory is the host's */
	struct files_doubt *doubts; /* what the source has answered */
	size_t n_doubts;
	struct bring *bring; /* the offer's files; from the answer on */

	pthread_mutex_t lock; /* state for others, streams, marks, deliver, failed */
	pthread_cond_t changed; /* state, registered streams, resuming */
	struct stream stream[AGT_STREAMS_MAX];
	unsigned int n_data; /* promised by START */
	uint32_t marked;
	bool deliver; /* pages of tasks go to the pager, not to the store */
	bool failed;
	bool refused; /* the offer: something stands in the way */
	bool resuming; /* a connection takes the place of one that was lost */
	pthread_t accept_thread;
	bool accepting;
	int stop_fd; /* eventfd: accept thread must end */

	struct guard *guard;
	struct wrk_keep *keep;
	struct store *store;
	struct pager *pager;
	struct chan *urgent; /* under urgent_lock */
	pthread_mutex_t urgent_lock;
	uint64_t limit_ms;
	uint64_t rss_bytes; /* as offered */
	uint64_t image_bytes; /* that came */
	uint64_t images_us; /* to write what CRIU reads; for the report */
	uint64_t left_remote_pages; /* still at the source when the gate opened; for the report */
	struct anet *net;
	struct out_places *outs;
	struct dirs_in *fs; /* trees that come; NULL: none */
	struct settle settle;
};

/**
 * wrk_main() - a whole migration at the destination. Return: exit status
 * @g: new; its guardians are started first of all
 */
int wrk_main(const struct agt_conf *conf, const struct chan_server *server, struct guard *g,
             int ctl_fd, uint64_t route);
/** wrk_go_on() - in a successor, with the pager adopted: from the commit to the end */
int wrk_go_on(struct wrk *w);
/** wrk_fail() - from any thread before the commit: tell the source why, undo */
void wrk_fail(struct wrk *w, const struct err *why);
const char *wrk_state_name(enum wrk_state s);
/** wrk_may() - is there an edge? tests/t-handover-tables.sh has docs/HANDOVER.md agree */
bool wrk_may(enum wrk_state from, enum wrk_state to);
struct Haul__Msg;
/** wrk_say() - on the control connection, whichever it is now */
int wrk_say(struct wrk *w, struct Haul__Msg *msg, struct err *e);
/** wrk_wait() - for w->changed; w->lock is held. Return: 0, or ETIMEDOUT */
int wrk_wait(struct wrk *w, uint64_t deadline_us);
/** wrk_committed() - the tree runs here, or did: nothing is undone any more */
bool wrk_committed(const struct wrk *w);
/** wrk_may_run() - may it run here in this state? */
bool wrk_may_run(enum wrk_state s);

/** wrk_secret_is() - does @in match? In time that does not depend on where it differs */
bool wrk_secret_is(const uint8_t secret[WRK_SECRET_BYTES], const uint8_t *in, size_t bytes);
/** wrk_secret_parse() - from the journal's hexadecimal. Return: 0; -EBADMSG */
int wrk_secret_parse(const char *hex, uint8_t secret[WRK_SECRET_BYTES]);

void wrk_secret_print(const uint8_t secret[WRK_SECRET_BYTES], char out[2 * WRK_SECRET_BYTES + 1]);

/* ---- proof.c: files of the offer ---- */

struct files_doubt;
/** proof_ask() - check_host.prove: the source's digests. @arg: struct wrk * */
int proof_ask(void *arg, struct files_doubt *v, size_t n, struct err *e);
struct Haul__Switch;
/** proof_still() - are they still the same? Before the restore */
int proof_still(struct wrk *w, const struct Haul__Switch *s, struct err *e);

/* ---- refuse.c ---- */

/** agt_refuse() - ABORT, on any connection */
void agt_refuse(struct chan *ch, const struct err *why);

/* ---- answer.c ---- */

/** ans_main() - the source asks for a migration that has no worker. Return: exit status */
int ans_main(const struct chan_server *server, int fd, uint64_t route);
/** ans_filled() - the worker and its guardians are dead, but every page is in place: on record */
void ans_filled(uint64_t route);
/** ans_outcome() - how it ended, and ended it is then. Return: Haul__State, or -errno */
int ans_outcome(struct journal *j, struct err *e);

/* ---- secret.c, resume.c ---- */

struct Haul__Hello;
/**
 * res_run() - @t's connection takes the place of a lost control connection: what the
 * outcome is, and after the commit what is still missing. @t->ch is taken on success.
 */
int res_run(struct stream *t, const struct Haul__Hello *h, struct err *e);

/* ---- door.c ---- */

/** door_open() - Return: a listening socket, or -errno */
int door_open(uint64_t route, struct err *e);
void door_remove(uint64_t route);
/** door_pass() - daemon: hand @fd to the worker of @route. Return: 0, -ENOENT, -ECONNREFUSED */
int door_pass(uint64_t route, int fd);
/** door_take() - worker: a socket that was passed, or -EAGAIN */
int door_take(int door);

/* ---- recv.c: streams of a worker ---- */

int rcv_start(struct wrk *w, struct err *e);
void rcv_stop(struct wrk *w);
/** rcv_drop_streams() - end every stream that carries pages; not @but, not strangers */
void rcv_drop_streams(struct wrk *w, const struct stream *but);
/** rcv_wait_streams() - until the urgent one and w->n_data others have said HELLO */
int rcv_wait_streams(struct wrk *w, uint64_t deadline_us, struct err *e);
/** rcv_want() - pager_ops.want */
int rcv_want(void *arg, uint64_t obj, uint64_t vaddr, uint64_t pages);

/* ---- huge.c ---- */

/** huge_again() - when all pages are in place: mappings that ask for huge pages get them */
void huge_again(struct wrk *w);

/* ---- successor.c ---- */

/**
 * suc_undone() - guard_ops.undone: what the dead worker did to this host's network
 * suc_main() - guard_ops.succeed: in the process that takes the dead worker's place
 * @arg: struct wrk as it was at guard_start(); gets store, pager, secret, root_pid
 * Serves what is here; threads wait for the rest until the source comes back (resume.c).
 */
int suc_main(void *arg, struct guard *g);
void suc_undone(void *arg, struct guard *g);

/* ---- last.c: after the commit ---- */

/** lst_fill() - until every page is in place; the source is told */
void lst_fill(struct wrk *w);
/** lst_bye() - until the source says BYE, for a while */
void lst_bye(struct wrk *w);

/* ---- restore.c ---- */

struct Haul__Switch;
#define WRK_CRIU_LIMIT_MS 10000

struct Haul__Msg;
/** offer_take() - check what is offered and say what stands in the way: an ANSWER */
int offer_take(struct wrk *w, const struct Haul__Msg *msg, struct err *e);

struct Haul__Images;
/** rst_images() - images of the source, each as soon as it was written; before SWITCH */
int rst_images(struct wrk *w, const struct Haul__Images *m, struct err *e);
/** rst_run() - from SWITCH to the gate; on failure nothing of the tree is left */
int rst_run(struct wrk *w, const struct Haul__Switch *s, struct err *e);
/** rst_undo() - close the gate: CRIU kills what it made */
void rst_undo(struct wrk *w);
/** rst_open() - tell CRIU to let the tree run. -errno: it was not told, and never will be */
int rst_open(struct wrk *w, struct err *e);
/** rst_resume() - wait until it does */
int rst_resume(struct wrk *w, struct err *e);
/** rst_kill() - tasks that are still there although CRIU is not */
void rst_kill(struct wrk *w);
/** rst_finish() - let CRIU end, after RUNNING was said */
void rst_finish(struct wrk *w);

#endif
