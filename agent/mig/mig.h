/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mig.h - a migration at the destination: its struct, the facts of its states, its conversation. */
#ifndef HAUL_AGENT_MIG_H
#define HAUL_AGENT_MIG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/check/rights.h"
#include "agent/check/uids.h"
#include "agent/mig/settle.h"
#include "common/err.h"
#include "common/host/journal.h"
#include "common/host/systemctl.h"
#include "engine/container/container.h"
#include "engine/criu/criu.h"
#include "engine/images/held.h"
#include "engine/net/net.h"
#include "engine/pager/guard.h"
#include "engine/pager/pager.h"
#include "engine/store/store.h"
#include "transport/keys/secret.h"
#include "transport/msg/wire.h"
#include "transport/transport.h"

#define AGENT_STREAMS_MAX 20 /* 16 data, urgent, files, one that resumes, one stranger */
#define AGENT_DATA_MAX    16

struct agent_conf {
	const char *bind;
	unsigned int port;
	const char *host_key, *authorized_keys, *criu, *config;
	char criu_path[512];
};

/* In the order in which they are passed; the table in agent/worker/worker.c has a row for each. */
enum wrk_state {
	WRK_HELLO,
	WRK_OFFER,
	WRK_START,
	WRK_ROUNDS,
	WRK_GATE, /* restored, held before the first instruction */
	WRK_RUNNING,
	WRK_DONE,
	WRK_UNDONE,
	WRK_LOST, /* killed here, although an instruction may have run */
	WRK_ENDED, /* it ended by itself, or was killed, while pages were missing */
	WRK_NSTATES
};

/* What is true in a state. Read by all parts; only worker.c moves struct wrk from one to another. */
struct wrk_facts {
	enum wrk_state state;
	const char *name;
	enum wrk_state next, fails, ends; /* ends: where the end of the tree itself leads */
	bool runs; /* the tree may run here */
};

struct wrk;

/* A further connection of the migration. A slot of the table below. */
struct stream {
	struct wrk *w;
	struct chan *ch;
	pthread_t thread;
	int fd; /* until SSH owns it */
	int peer; /* a duplicate: shutdown() on it ends a connection that says nothing */
	uint64_t since_us;
	bool used, registered, urgent, files;
	bool over; /* the thread has nothing more to do; atomic */
	uint32_t mark;
};

struct Haul__Hello;

/* Owner: agent/worker/streams.c and stream_table.c. wrk.lock guards the table, n_data and marked. */
struct wrk_streams {
	int door; /* further sockets of this migration arrive here */
	struct stream slot[AGENT_STREAMS_MAX];
	unsigned int n_data; /* promised by START */
	uint32_t marked;
	pthread_t accept_thread;
	bool accepting;
	int stop_fd; /* eventfd: the accept thread must end */
	struct chan *urgent; /* under urgent_lock, which is held while it is written to */
	pthread_mutex_t urgent_lock;
	/* takes over a connection that resumes: resume_run(), set by the worker */
	int (*resume)(struct stream *t, const struct Haul__Hello *h, struct err *e);
};

/* Owner: agent/worker/net.c. What must not be forgotten when the worker dies; in wrk_keep. */
struct net_keep {
	bool tcp_move, locked, arrived;
	size_t n_moves;
	struct net_move move[NET_MOVES_MAX];
	bool added[NET_MOVES_MAX];
};

/* What a successor needs besides the pager's memory; shared (guard_user()). */
struct wrk_keep {
	uint8_t secret[SECRET_BYTES];
	pid_t root_pid, criu_pid;
	uint64_t criu_start; /* its start time; 0: no restore was begun */
	int criu_rpc; /* -1: CRIU has ended */
	int images_fd, journal_fd;
	int berth_fd; /* connection to the haul land that takes the tree; -1: none */
	pid_t berth_pid; /* of that; of the process that stands in for the unit's; of the pid namespace's first */
	uint64_t berth_start; /* its start time */
	bool own_pids; /* the tree is in a pid namespace of its own, whose process 1 is berth_pid */
	char unit[SYSTEMCTL_UNIT_BYTES]; /* that the tree becomes; empty: none */
	bool unit_changed; /* and has a drop-in for that */
	struct container container; /* that it is; runtime "": none */
	int relay_rpc; /* connection to that runtime's restore; -1: none */
	int place_fd; /* record of shipped files (place.h); -1: there is none */
	bool opening; /* CRIU may have been told to let the tree run */
	bool resumed; /* CRIU has said that it runs */
	struct net_keep net;
};

/* For the report only. */
struct wrk_figures {
	uint64_t image_bytes; /* received */
	uint64_t images_us; /* to write the images that CRIU reads */
	uint64_t left_remote_pages; /* still at the source when the gate opened */
};

struct wrk {
	const struct agent_conf *conf;
	const struct chan_server *server;
	const struct wrk_facts *at; /* written by worker.c; atomic */
	uint64_t route;
	uint8_t secret[SECRET_BYTES];
	/* NULL: no link yet (a successor). Changes after the commit only, under ctl_lock. */
	struct chan *ctl;
	pthread_mutex_t ctl_lock; /* held while ctl is written to; taken before lock */
	struct journal *journal; /* from the gate on */
	bool nobody_asks; /* the source knows how it ended: the journal may go */

	/* the offer and its answer */
	struct {
		struct {
			uint32_t *v;
			size_t n;
		} pids;
		uint64_t rss_bytes;
		struct {
			struct files_doubt *v;
			size_t n;
		} doubts; /* answered by the source */
		bool refused; /* a finding is a blocker */
	} offer;
	char *into_root; /* NULL: the root directory is the host's */
	struct rights rights; /* of the tree, as offered */
	struct uids uids; /* who may arrive */
	struct bring *bring; /* the offer's files; from the answer on */

	/* the restore */
	struct {
		unsigned int version;
		bool lazy;
	} own_criu;
	struct criu *criu;
	int images_fd;
	struct img_regs regs; /* files in the images, from "open files" on until CRIU has them */
	struct {
		struct {
			struct img_epoll *v;
			size_t n;
		} epolls; /* sets that CRIU restores empty */
		struct objects *objects; /* shared memory that is here already (objects.c); NULL */
		struct holders
		        *holders; /* descriptors by which CRIU opens files (holders.c); NULL */
		struct names
		        *names; /* UNIX sockets that CRIU restores without a path (names.c); NULL */
	} gate; /* Owner: agent/gate */
	pid_t root_pid;
	uint64_t limit_ms;
	struct guard *guard;
	struct wrk_keep *keep;
	struct store *store;
	struct pager *pager;
	struct net_in *net;
	struct out_places *outs;
	struct berth *berth;
	struct dirs_in *fs; /* directories that are received; NULL: none */
	struct settle settle;
	struct wrk_figures fig;

	/* shared by the threads of the connections */
	pthread_mutex_t lock; /* at (for waiters), streams, failed, err, resuming */
	pthread_cond_t changed; /* state, registered streams, resuming */
	struct wrk_streams streams;
	bool deliver; /* pages of tasks go to the pager, not to the store; atomic */
	bool failed;
	struct err err; /* the first failure */
	bool resuming; /* a connection takes the place of a lost one */
};

/** wrk_at() - the facts of the state that @w is in; with or without w->lock */
const struct wrk_facts *wrk_at(const struct wrk *w);
/** wrk_committed() - the tree runs here, or did: nothing is undone any more */
bool wrk_committed(const struct wrk *w);
/**
 * wrk_wait() - wait for w->changed, with w->lock held
 * Return: 0; ETIMEDOUT
 */
int wrk_wait(struct wrk *w, uint64_t deadline_us);
/**
 * wrk_say() - send one message on the control connection, whichever that is now
 * @kind: HAUL__MSG__BODY_...
 * @body: the message of that kind, borrowed
 * Return: 0; -ENOTCONN when the source has not come back; -errno of the connection
 */
int wrk_say(struct wrk *w, int kind, const void *body, struct err *e);
/**
 * wrk_say_abort() - tell the source why it ends
 * @end: true: before the commit, close the connection afterwards
 */
void wrk_say_abort(struct wrk *w, const struct err *why, bool end);
/**
 * wrk_fail() - from any thread: keep the first reason, and tell the source. Before the commit this
 * ends the migration; after it the tree stays and its threads wait for missing pages.
 */
void wrk_fail(struct wrk *w, const struct err *why);
/** wrk_has_failed() - was there a wrk_fail()? Then @why becomes its reason */
bool wrk_has_failed(struct wrk *w, struct err *why);

#endif
