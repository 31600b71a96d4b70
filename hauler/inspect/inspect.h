/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inspect.h - what a process tree uses, and what of it stands in the way. */
#ifndef HAUL_INSPECT_H
#define HAUL_INSPECT_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"
#include "common/finding.h"
#include "engine/net/net.h"
#include "hauler/options/out_rules.h"
#include "policies/policies.h"

struct insp;

/** insp_owner() - -EPERM when a thread of the tree has another user than @uid */
int insp_owner(pid_t root, uid_t uid, struct err *e);

/**
 * insp_new() - look at the tree below @root through /proc and sock_diag; touches
 * nothing, stops nothing
 * Return: 0, also when there are blockers; -ESRCH no such process
 */
int insp_new(struct insp **out, pid_t root, struct err *e);

/* What is to become of TCP connections. */
enum tcp_fate { TCP_CLOSE_THEM, TCP_MOVE_THEM, TCP_REFUSE_THEM };

struct insp_net {
	enum tcp_fate tcp;
	const struct net_move *moves; /* addresses that go along */
	size_t n_moves;
	const struct out_rules *rules; /* for what leads out of the tree; NULL: none */
};

struct fs_opts;
/**
 * insp_new_with() - the same; connections are judged by @net, NULL: they are closed;
 * files in the directories of @fs travel, NULL: none
 */
int insp_new_with(struct insp **out, pid_t root, const struct insp_net *net,
                  const struct fs_opts *fs, struct err *e);
/** insp_pids() - of the tree, root first */
const pid_t *insp_pids(const struct insp *i, size_t *n);
/** insp_locals() - addresses of connections that move and do not go along themselves */
const struct net_addr *insp_locals(const struct insp *i, size_t *n);
/** insp_outs() - files that lead outside, and what becomes of them */
const struct outs *insp_outs(const struct insp *i);
const struct findings *insp_findings(const struct insp *i);

/** insp_shell_job() - its session leader or terminal is outside the tree */
bool insp_shell_job(const struct insp *i);
/** insp_ext_unix() - datagram sockets that CRIU has to connect again by name (ext_unix) */
bool insp_ext_unix(const struct insp *i);
/** insp_tasks() - processes of the tree; the offer's pids are more: threads too */
size_t insp_tasks(const struct insp *i);

/** insp_size() - what makes a stop longer; @z->how is left to the caller */
void insp_size(const struct insp *i, struct pol_size *z);

/**
 * insp_offer() - a filled Haul__Offer but for the CRIU part and check_only
 * @offer: struct Haul__Offer *, initialised; its pointers belong to @i
 */
struct Haul__Offer;
int insp_offer(struct insp *i, struct Haul__Offer *offer, struct err *e);
/** insp_files() - what the tree uses, with paths on this host */
struct Haul__File;
struct Haul__File *const *insp_files(const struct insp *i, size_t *n);
/** insp_root_dir() - root directory of the root process; "/" as a rule */
const char *insp_root_dir(const struct insp *i);
/** insp_unmovable_root() - why the tree cannot have another root directory; NULL: it can */
const char *insp_unmovable_root(const struct insp *i);
void insp_free(struct insp *i);
DEFINE_AUTO(insp, insp_free)

#endif
