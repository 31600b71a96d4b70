/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what the files of the inspection share. */
#ifndef HAUL_INSPECT_PRIV_H
#define HAUL_INSPECT_PRIV_H

#include <stdio.h>
#include <sys/stat.h>

#include "common/local/stand.h"
#include "engine/images/img.h"
#include "engine/proc/proc.h"
#include "hauler/rights/held.h"
#include "hauler/inspect/inspect.h"
#include "transport/msg/haul.pb-c.h"

#define INSPECT_PATH_MAX 4096
#define INSPECT_COMM_MAX 32

struct inspect_task {
	pid_t pid, pgid, sid;
	int tty; /* the device number of its controlling terminal; 0: none */
	bool zombie;
};

/* A mount of this host, as /proc/self/mountinfo lists it. */
struct inspect_mount {
	int id, parent;
	char *point, *fstype;
	bool hidden; /* another one is mounted on top of it */
	bool used; /* a file of the tree lies on it */
};

/* A descriptor of the tree on a pipe, a fifo or a socket. */
struct inspect_end {
	uint64_t inode;
	pid_t pid;
	int fd;
	pid_t owner; /* of a UNIX socket: the process that counts as its user; 0: pid */
	bool reads, writes;
	bool fifo;
};

struct inspect_ends {
	struct inspect_end *v;
	size_t n, cap;
};

/* A pipe or socket: which process outside the tree has it? */
struct inspect_want {
	uint64_t inode;
	pid_t pid; /* the first process found; 0: none */
	bool reads, writes; /* of all outside ends of a pipe */
	char comm[INSPECT_COMM_MAX];
};

enum inspect_shm_kind { INSPECT_OBJECT, INSPECT_GHOST, INSPECT_SEGMENT };

/* Shared memory that travels with the tree: each object counts once. */
struct inspect_shm {
	uint64_t dev, inode, bytes;
	enum inspect_shm_kind kind;
	bool mixed; /* it was said that there are two of this number */
};

/* A TCP connection of the tree. */
struct inspect_conn {
	struct net_sock sock; /* without a copy of it */
	bool inner; /* the other end is in the tree, too */
	bool incoming; /* a program of this host listens on its port */
	uint64_t peer; /* the inode of the other end, if that is on this host; 0: it is not */
	pid_t peer_pid; /* a process outside that has it; 0: none was found */
	char peer_comm[INSPECT_COMM_MAX];
};

/* A file that a process of the tree holds a lease on: haul must not open it. */
struct inspect_lease {
	uint64_t dev, inode;
};

struct inspect_stray;
struct inspect_tty;
struct sandbox;

struct inspect {
	pid_t root;
	struct stand_msg
	        stand; /* what the haul run or haul land that is its parent says; word 0: none is */
	struct proc_list procs;
	uint64_t listed; /* when, see procs_now() */
	struct inspect_task *tasks; /* as many as procs.n */
	struct findings findings;
	bool shell_job, ext_unix, moves_tcp;
	bool unfit; /* the root cannot be moved: look no further */
	bool aio;
	struct {
		bool frozen;
		pid_t limits; /* the first of another user, whose limits we may not ask for; 0: none */
	} said; /* once is enough */
	bool own_ipc; /* the tree has an IPC namespace of its own, which moves */
	bool foreign; /* in other namespaces: paths and sockets here are not the tree's */
	struct {
		uint64_t anon, shm, ghost, huge, locked, untouched;
	} bytes;
	char comm[INSPECT_COMM_MAX];
	struct {
		char path[INSPECT_PATH_MAX];
		char fixed[160]; /* why it cannot be changed; empty: it can */
	} root_dir;
	struct {
		char kernel[72], machine[72];
	} host;
	struct {
		Haul__File **v;
		size_t n, cap;
		void *by_path; /* the same files, a tsearch() tree */
	} files;
	struct {
		struct inspect_mount *v;
		size_t n;
		char **used; /* for the offer; borrows from @v */
	} mounts;
	struct {
		uint32_t *v;
		size_t n;
	} uids;
	struct {
		uint32_t *v;
		size_t n, cap;
	} numbers; /* pids, then thread ids and ids of dead leaders */
	struct {
		struct inspect_shm *v;
		size_t n;
	} shm;
	struct inspect_ends pipes, sockets;
	struct {
		struct {
			struct inspect_tty *v;
			size_t n, cap;
		} ttys;
		struct {
			struct inspect_pair *v;
			size_t n, cap;
		} pairs; /* those that move */
		struct {
			uint32_t *v;
			size_t n;
		} pts; /* their numbers, for the offer */
	} terminals;
	struct {
		Haul__Port **v;
		size_t n, cap;
	} ports;
	struct {
		char **v;
		size_t n, cap;
	} unix_names; /* addresses that sockets of the tree are bound to */
	struct {
		char **v;
		size_t n, cap;
	} devices; /* interfaces to which sockets are bound */
	struct {
		struct img_rename *v;
		size_t n, cap;
	} renames; /* UNIX sockets that are bound to names which have changed */
	struct sandbox *sandbox; /* NULL: this kernel does not tell of them */
	struct {
		struct img_relink *v;
		size_t n, cap;
	} relinks; /* files that have another name now */
	struct {
		unsigned int maps, file_maps, fds;
		unsigned int passed_fds; /* queued in UNIX sockets */
		unsigned int passed_seen; /* of them */
		unsigned int filtered; /* tasks with seccomp filters */
	} count;
	struct {
		int *v;
		size_t n, cap;
	} passed; /* copies of files that are queued in UNIX sockets */
	struct inspect_net net;
	const struct dirs_opts *fs; /* directories that move; may be NULL */
	struct {
		struct {
			struct inspect_conn *v;
			size_t n, cap;
		} conns;
		struct {
			struct net_addr *v;
			size_t n, cap;
		} locals;
	} tcp;
	struct outs outs;
	uint64_t rules_used; /* bits */
	struct {
		struct inspect_stray *v;
		size_t n, cap;
	} strays; /* files of the processes that started the tree */
	struct {
		struct inspect_lease *v;
		size_t n;
	} leases;
};

/** inspect_say() - finding_add() to the list of @i */
#define inspect_say(i, ...) finding_add(&(i)->findings, __VA_ARGS__)

/* ---- util.c ---- */
/** inspect_open() - /proc/PID/@what for reading lines; NULL: it does not exist */
FILE *inspect_open(pid_t pid, const char *what);
/** inspect_link() - target of /proc/PID/@what. Return: its length; -errno */
ssize_t inspect_link(pid_t pid, const char *what, char *out, size_t bytes);
/** inspect_comm() - name of a process, "?" when it has exited */
void inspect_comm(pid_t pid, char out[INSPECT_COMM_MAX]);
/** inspect_number() - an id that must be free at the destination */
int inspect_number(struct inspect *i, pid_t id);

/* ---- files.c ---- */
enum inspect_use {
	INSPECT_SEEN, /* it must exist */
	INSPECT_MAPPED = BIT(0),
	INSPECT_OPEN = BIT(1), /* CRIU compares its size and mode */
	INSPECT_WRITE = BIT(2),
	INSPECT_DIR = BIT(3),
};
/**
 * inspect_file() - add @path to the files of the offer
 * @use: bits of enum inspect_use. A file only written by appending is INSPECT_WRITE
 *       without INSPECT_OPEN: its size may differ at the destination.
 */
int inspect_file(struct inspect *i, const char *path, unsigned int use);
/**
 * inspect_file_held() - the same for a file that a process holds
 * @st:   of the file itself
 * @link: where it is held, "/proc/7/fd/3"
 */
int inspect_file_held(struct inspect *i, const char *path, unsigned int use, const struct stat *st,
                      const char *link);
/** inspect_parent() - the directory of @path must exist at the destination */
int inspect_parent(struct inspect *i, const char *path);
/**
 * inspect_reachable() - is @path still the file @st that the tree uses?
 * @what: "descriptor 3 of pid 7", for the text of a finding
 * Return: 1 yes; 0 no, and that was told; -ENOMEM
 */
int inspect_reachable(struct inspect *i, const char *path, const struct stat *st, const char *what);
/** inspect_mounts() - add the mounts that the files are on. Return: 0; -ENOMEM */
int inspect_mounts(struct inspect *i, struct err *e);
/* ---- relinks.c ---- */
/**
 * inspect_relink() - @path was deleted: has the file another name beside it?
 * Return: 1 yes: inspect_relinked(); 0 no; -ENOMEM
 */
int inspect_relink(struct inspect *i, const char *path, const struct stat *st);
/** inspect_relinked() - the other name of @path, or @path itself */
const char *inspect_relinked(const struct inspect *i, const char *path);
void inspect_relinks_fini(struct inspect *i);
/* ---- files.c ---- */
/** inspect_mount_by_id() - NULL: not visible to us */
const struct inspect_mount *inspect_mount_by_id(const struct inspect *i, int id);
/**
 * inspect_shm() - memory that travels
 * @kind: INSPECT_OBJECT (anonymous or a memory file), INSPECT_GHOST (a file without a name),
 *        INSPECT_SEGMENT (System V)
 * Return: 0; -ENOMEM
 */
int inspect_shm(struct inspect *i, const struct stat *st, enum inspect_shm_kind kind);
void inspect_files_fini(struct inspect *i);

/* ---- maps.c ---- */
int inspect_maps(struct inspect *i, pid_t pid);

/* ---- fds.c, ends.c ---- */
int inspect_fds(struct inspect *i, pid_t pid);
/** inspect_anon() - an anon_inode by its name; @what as above. Not for pidfds */
int inspect_anon(struct inspect *i, const char *what, const char *name);
/** inspect_end_add() - append a copy of @end. Return: 0; -ENOMEM */
int inspect_end_add(struct inspect_ends *l, struct inspect_end end);
/** inspect_end_take() - remove and return the end with @inode: 1 found, 0 not */
int inspect_end_take(struct inspect_ends *left, uint64_t inode, struct inspect_end *out);

/* ---- passed.c ---- */
/** inspect_passed() - the files whose descriptors wait in the queue of the UNIX socket @fd; @what: its name */
int inspect_passed(struct inspect *i, pid_t pid, int fd, const char *what);
void inspect_passed_fini(struct inspect *i);

/* ---- leads.c ---- */

/* A file that is connected to a process outside, or that a rule may name. */
struct inspect_lead {
	pid_t pid;
	int fd;
	enum refit_kind kind;
	const char *what; /* "descriptor 3 of pid 7, a pipe to pid 9 (tee)," */
	pid_t owner; /* whose user a connection is to have; 0: pid */
	uint64_t inode, peer_inode;
	const char *peer; /* name of the UNIX socket at the other end; NULL: none */
	int sock_type;
	bool reads, writes;
	bool stray; /* inherited, as far as can be told */
	uint64_t rdev, dev; /* of a terminal */
	bool unseen; /* on a mount that is hidden */
	int mnt_id;
};

/* A descriptor on a terminal. */
struct inspect_tty {
	struct inspect_lead lead; /* its text is made when it is told */
	int number; /* of a pseudo-terminal, both ends; -1: another kind */
	bool master;
	pid_t outside; /* of the first with this number: a process outside that has it; 0: none */
	char name[64], what[48];
};

/** inspect_out() - is there a rule for it? Return: 1 yes, and that was reported; 0 no; -errno */
int inspect_out(struct inspect *i, const struct inspect_lead *l);
/** inspect_rules_unused() - last: report rules that matched no descriptor */
int inspect_rules_unused(struct inspect *i);
/** inspect_ancestors() - note the open files of the processes that started the tree */
int inspect_ancestors(struct inspect *i);
/** inspect_inherited() - which of them has the same open file? 0: none */
pid_t inspect_inherited(const struct inspect *i, pid_t pid, int fd, const struct stat *st);

/* ---- epolls.c ---- */
/** inspect_epoll() - does @pid have open what its epoll set @set watches? Return: 0; -ENOMEM */
int inspect_epoll(struct inspect *i, pid_t pid, int set, const char *what);

/* ---- ttys.c ---- */
/** inspect_is_terminal() - of either end, or of another kind */
bool inspect_is_terminal(const struct stat *st);
/** inspect_tty_add() - note a descriptor on a terminal; what becomes of it is told by inspect_ttys() */
int inspect_tty_add(struct inspect *i, const struct inspect_lead *l, const char *name);
/** inspect_ttys() - after all descriptors: those with both ends in the tree move */
int inspect_ttys(struct inspect *i);

/* ---- pipes.c ---- */
int inspect_pipes(struct inspect *i);
/** inspect_outside() - fill @want from all processes outside the tree */
void inspect_outside(const struct inspect *i, struct inspect_want *want, size_t n, bool fifos);
/** inspect_holder() - "pid 7 (bash)" for a text */
void inspect_holder(const struct inspect_want *w, char *out, size_t bytes);
/** inspect_want_find() - after inspect_outside(), which sorts; NULL: not wanted */
const struct inspect_want *inspect_want_find(const struct inspect_want *want, size_t n,
                                             uint64_t inode);

/* ---- unix.c, sockets.c, ports.c: each takes the sockets that it knows out of @left ---- */
int inspect_unix(struct inspect *i, struct inspect_ends *left);
/** inspect_sockets() - TCP, UDP and other sockets. Return: 0; -errno */
int inspect_sockets(struct inspect *i, struct inspect_ends *left);
struct inet_diag_msg;
/** inspect_port() - a bound socket of the tree goes into the offer */
int inspect_port(struct inspect *i, const struct inspect_end *end, const struct inet_diag_msg *m,
                 bool udp);
void inspect_ports_fini(struct inspect *i);
/* ---- traits.c ---- */
/** inspect_traits() - before the sockets are sorted: what some of them have that cannot move. Return: 0; -ENOMEM */
int inspect_traits(struct inspect *i);
struct nlmsghdr;
/** inspect_keys() - the same of a TCP socket that the kernel lists, as @h. Return: 0; -ENOMEM */
int inspect_keys(struct inspect *i, const struct inspect_end *end, const struct nlmsghdr *h);
/** inspect_devices_fini() - free the names of interfaces */
void inspect_devices_fini(struct inspect *i);
/* ---- tcp.c ---- */
/** inspect_goes_along() - does the address move with the tree? */
bool inspect_goes_along(const struct inspect *i, const struct net_addr *a);
/** inspect_conn() - remember a connection. Return: 0; -ENOMEM */
int inspect_conn(struct inspect *i, const struct net_sock *s);
/** inspect_orphan() - a connection without a descriptor still has @bytes to send */
int inspect_orphan(struct inspect *i, const struct net_sock *s, uint32_t bytes);
/** inspect_tcp() - last: what becomes of each connection */
int inspect_tcp(struct inspect *i);

/* ---- peers.c ---- */
/** inspect_sock_of() - a socket that the kernel lists; without a copy of it */
void inspect_sock_of(const struct inet_diag_msg *m, const struct inspect_end *end,
                     struct net_sock *s);
/** inspect_peers() - fill in what is known of the other end of each connection. Return: 0; -ENOMEM */
int inspect_peers(struct inspect *i);

/* ---- watches.c ---- */
/** inspect_leases() - before any file is opened: which must not be opened? Return: 0; -ENOMEM */
int inspect_leases(struct inspect *i);
/** inspect_is_leased() - would an open of @path break a lease of the tree? */
bool inspect_is_leased(const struct inspect *i, const char *path);
/** inspect_watches() - an inotify or fanotify descriptor; @name: of its anon_inode, @what: "descriptor 3 of pid 7" */
int inspect_watches(struct inspect *i, pid_t pid, int fd, const char *what, const char *name);

#endif
