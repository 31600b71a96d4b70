/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check.h - can this host take the tree that an OFFER describes? */
#ifndef HAUL_AGENT_CHECK_H
#define HAUL_AGENT_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/finding.h"

struct Haul__Offer;
struct Haul__FileSeen;
struct file_id;
struct rights;
struct files_doubt;

/* Offer.pid_mode */
#define CHECK_PID_OWN  "own-namespace"
#define CHECK_PID_AUTO "auto"

struct check_host {
	const char *criu_path;
	unsigned int criu_version; /* 40201; 0: no working CRIU here */
	bool criu_lazy;
	bool own_pids; /* the tree gets a pid namespace of its own: check_own_pids() */
	const char *criu_error; /* when criu_version is 0 */
	const char *scarce; /* the same: what this host is out of; NULL: nothing */
	/* asks the source for digests of files; NULL: it cannot be asked */
	int (*prove)(void *arg, struct files_doubt *v, size_t n, struct err *e);
	void *prove_arg;
	uint64_t seed; /* for these digests */
	const char *allow, *key; /* files: allow_dir(); allow NULL: anywhere */
	const struct rights
	        *rights; /* of the tree: rights_load() of the offer; NULL: loaded here */
	struct Haul__FileSeen *seen; /* out, one for each file of the offer; may be NULL */
	struct file_id *id; /* the same: the file here */
};

/**
 * check_offer() - compare kernel, machine, page size, CRIU version and lazy feature,
 * CPU (criu_cpuinfo with the source's cpuinfo.img in a private tmpfs), free
 * memory, pids taken, files (files.h), users, mount points, ports
 * @offer is untrusted: its names are only looked at (O_PATH), never written to
 * Return: 0, also with blockers in @out
 */
int check_offer(const struct Haul__Offer *offer, const struct check_host *host,
                struct findings *out, struct err *e);

/** check_own_pids() - will the tree get a pid namespace of its own here, because the source wants it or pids are taken? */
bool check_own_pids(const struct Haul__Offer *offer);

/** check_pids_free() - are these pids free? Asked again at the switch-over */
int check_pids_free(const uint32_t *pid, size_t n, struct findings *out);

/** ports_check() - is a port of the offer in use here, and by which process? */
int ports_check(const struct Haul__Offer *offer, struct findings *out);
/** ports_judge() - CRIU binds as root: may a user's tree have the ports of the offer here? Return: 0; -ENOMEM */
int ports_judge(const struct Haul__Offer *offer, const struct rights *rights, struct findings *out);
/** ports_lowest() - the first port that a process without CAP_NET_BIND_SERVICE may bind here */
unsigned int ports_lowest(void);

/**
 * check_bound() - has this host the addresses that sockets of the tree are bound to, and does a
 * living program here have the name of one of its UNIX sockets?
 * Return: 0; -ENOMEM
 */
int check_bound(const struct Haul__Offer *offer, struct findings *out);

/** check_mem_free_bytes() - MemAvailable of this host */
uint64_t check_mem_free_bytes(void);

#endif
