/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inspect.h - what a process tree uses, and the findings that forbid or change its move. */
#ifndef HAUL_INSPECT_H
#define HAUL_INSPECT_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/host/account.h"
#include "common/auto.h"
#include "common/err.h"
#include "common/finding.h"
#include "engine/net/net.h"
#include "hauler/options/out_rules.h"
#include "policies/policies.h"

struct inspect;

/**
 * inspect_new() - look at the tree below @root through /proc and sock_diag; touches
 * nothing, stops nothing
 * Return: 0, also when there are blockers; -ESRCH no such process
 */
int inspect_new(struct inspect **out, pid_t root, struct err *e);

/* What is wanted for TCP connections. TCP_BY_ADDRESS: those of addresses that move, and inner ones, move. */
enum tcp_wish { TCP_CLOSE_THEM, TCP_MOVE_THEM, TCP_REFUSE_THEM, TCP_BY_ADDRESS };

/* What becomes of one. */
enum tcp_fate {
	TCP_FATE_MOVES,
	TCP_FATE_CUT, /* it moves, but its peer stays on this host: reset on both */
	TCP_FATE_CLOSED,
	TCP_FATE_REFUSED,
};

struct inspect_net {
	enum tcp_wish tcp;
	bool cannot_move; /* CRIU is too old for it: what TCP_BY_ADDRESS would move is closed */
	const struct net_move *moves; /* addresses that move */
	size_t n_moves;
	const struct out_rules
	        *rules; /* rules for files that are connected to other processes; NULL: none */
	bool ignore_supervisor; /* the operator makes sure that it does not start another copy */
	const char *unit; /* the service of systemd's that moves; NULL: none does */
	bool container; /* it is the init of a container, and its runtime restores it */
	bool land; /* a haul land takes it, with the pipes of haul run */
};

struct dirs_opts;
/**
 * inspect_new_with() - the same; connections are judged by @net, NULL: they are closed;
 * files in the directories of @fs travel, NULL: none
 */
int inspect_new_with(struct inspect **out, pid_t root, const struct inspect_net *net,
                     const struct dirs_opts *fs, struct err *e);
/** inspect_fate() - what becomes of the connection @f. @inner: its other end is in the tree, too */
enum tcp_fate inspect_fate(const struct inspect_net *net, const struct net_flow *f, bool inner);
/** inspect_moves_tcp() - is there a connection that moves, or that is cut at the destination? */
bool inspect_moves_tcp(const struct inspect *i);
/** inspect_in_tree() - is @pid a process of the tree, as it was found? */
bool inspect_in_tree(const struct inspect *i, pid_t pid);
/** inspect_pids() - of the tree, root first */
const pid_t *inspect_pids(const struct inspect *i, size_t *n);
/** inspect_locals() - addresses that connections use which move, and that do not move themselves */
const struct net_addr *inspect_locals(const struct inspect *i, size_t *n);
struct img_rename;
/** inspect_renames() - UNIX sockets whose files have other names than they were bound to */
const struct img_rename *inspect_renames(const struct inspect *i, size_t *n);
struct img_relink;
/** inspect_relinks() - files that have lost the name by which they were opened, and have another one */
const struct img_relink *inspect_relinks(const struct inspect *i, size_t *n);
/* A terminal whose both ends are in the tree; slave_pid 0: no process has that end. */
struct inspect_pair {
	int number;
	pid_t master_pid, slave_pid;
	int master_fd, slave_fd;
};
/** inspect_pairs() - the terminals that move */
const struct inspect_pair *inspect_pairs(const struct inspect *i, size_t *n);
/** inspect_outs() - files that are connected to other processes, and what becomes of them */
const struct outs *inspect_outs(const struct inspect *i);
/** inspect_findings() - blockers and warnings; belongs to @i */
const struct findings *inspect_findings(const struct inspect *i);

/** inspect_shell_job() - its session leader or terminal is outside the tree */
bool inspect_shell_job(const struct inspect *i);
/** inspect_ext_unix() - datagram sockets that CRIU has to connect again by name (ext_unix) */
bool inspect_ext_unix(const struct inspect *i);
/**
 * inspect_sandboxed() - has the stopped process @pid restricted itself since the look? (Landlock, MDWE, mseal)
 * Return: 0, also where this kernel does not tell; -EPERM
 */
int inspect_sandboxed(const struct inspect *i, pid_t pid, struct err *e);
/** inspect_tasks() - number of processes of the tree; the offer's pids include threads, too */
size_t inspect_tasks(const struct inspect *i);

/** inspect_hides_limits() - has it a process whose limits CRIU cannot ask for? Then haul has to answer */
bool inspect_hides_limits(const struct inspect *i);
/** inspect_locks() - has a process of the tree locked memory? */
bool inspect_locks(const struct inspect *i);
/** inspect_size() - what makes a stop longer; @z->how is left to the caller */
void inspect_size(const struct inspect *i, struct pol_size *z);

/**
 * inspect_offer() - a filled Haul__Offer but for the CRIU part and check_only
 * @offer: struct Haul__Offer *, initialized; its pointers belong to @i
 */
struct Haul__Offer;
/** inspect_offer() - fill in what the destination has to know. Return: 0; -ENOMEM */
int inspect_offer(struct inspect *i, struct Haul__Offer *offer, struct err *e);
/** inspect_files() - what the tree uses, with paths on this host */
struct Haul__File;
struct Haul__File *const *inspect_files(const struct inspect *i, size_t *n);
/** inspect_held() - which process holds @f, one of inspect_files(); valid as long as that */
struct held_file;
const struct held_file *inspect_held(const struct Haul__File *f);
/** inspect_root_dir() - root directory of the root process; usually "/" */
const char *inspect_root_dir(const struct inspect *i);
/** inspect_unmovable_root() - why the tree cannot have another root directory; NULL: it can */
const char *inspect_unmovable_root(const struct inspect *i);
void inspect_free(struct inspect *i);
DEFINE_AUTO(inspect, inspect_free)

#endif
