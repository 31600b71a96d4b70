/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what the files of the inspection share. */
#ifndef HAUL_INSP_H
#define HAUL_INSP_H

#include <stdio.h>
#include <sys/stat.h>

#include "engine/engine.h"
#include "hauler/inspect/inspect.h"
#include "transport/haul.pb-c.h"

#define INSP_PATH_MAX 4096
#define INSP_COMM_MAX 32

struct insp_task {
	pid_t pid, pgid, sid;
	bool zombie;
};

/* A mount of this host, as /proc/self/mountinfo lists it. */
struct insp_mount {
	int id, parent;
	char *point, *fstype;
	bool hidden; /* another one is mounted on top of it */
	bool used; /* a file of the tree lies on it */
};

/* A descriptor of the tree on a pipe, a fifo or a socket. */
struct insp_end {
	uint64_t inode;
	pid_t pid;
	int fd;
	bool reads, writes;
	bool fifo;
};

struct insp_ends {
	struct insp_end *v;
	size_t n, cap;
};

/* A pipe or socket of which we want to know who outside the tree has it. */
struct insp_want {
	uint64_t inode;
	pid_t pid; /* the first process found, 0 none */
	bool reads, writes; /* of all outside ends of a pipe */
	char comm[INSP_COMM_MAX];
};

/* Shared memory that travels with the tree: each object counts once. */
struct insp_shm {
	uint64_t dev, inode, bytes;
};

/* A TCP connection of the tree. */
struct insp_conn {
	struct net_sock sock; /* without a copy of it */
};

struct insp_stray;

struct insp {
	pid_t root;
	struct proc_list procs;
	struct insp_task *tasks; /* as many as procs.n */
	struct findings findings;
	bool shell_job, ext_unix;
	bool unfit; /* the root is nothing that could be moved: look no further */
	bool limits_said, frozen_said, aio;
	bool own_ipc; /* the tree has an IPC namespace, which goes along */
	bool foreign; /* in other namespaces: paths and sockets mean nothing here */
	uint64_t anon_bytes, shm_bytes, ghost_bytes, huge_bytes, locked_bytes;
	char comm[INSP_COMM_MAX], root_dir[INSP_PATH_MAX], kernel[72], machine[72];
	char fixed_root[160]; /* why its root directory has to stay; empty: it need not */
	Haul__File **files;
	size_t n_files, cap_files;
	void *by_path; /* the same files, a tsearch() tree */
	struct insp_mount *mounts;
	size_t n_mounts;
	char **used_mounts; /* for the offer; borrows from mounts */
	uint32_t *uids;
	size_t n_uids;
	uint32_t *numbers; /* pids, then thread ids and ids of dead leaders */
	size_t n_numbers, cap_numbers;
	struct insp_shm *shm;
	size_t n_shm;
	struct insp_ends pipes, sockets;
	unsigned int passed_fds; /* that wait in queues of UNIX sockets */
	Haul__Port **ports;
	size_t n_ports, cap_ports;
	unsigned int filtered; /* tasks with seccomp */
	struct insp_net net;
	const struct fs_opts *fs; /* trees that travel; may be NULL */
	struct insp_conn *conns;
	size_t n_conns, cap_conns;
	struct net_addr *locals;
	size_t n_locals, cap_locals;
	struct outs outs;
	uint64_t rules_used; /* bits */
	struct insp_stray *strays; /* files of those that started the tree */
	size_t n_strays, cap_strays;
};

/** insp_say() - finding_add() to the list of @i */
#define insp_say(i, ...) finding_add(&(i)->findings, __VA_ARGS__)

/* ---- inspect.c ---- */
bool insp_in_tree(const struct insp *i, pid_t pid);
/** insp_grow() - room for one more in an array; @size of an element. Return: 0; -ENOMEM */
int insp_grow(void *array, size_t n, size_t *cap, size_t size);
/** insp_open() - /proc/PID/@what for reading lines; NULL when it is not there */
FILE *insp_open(pid_t pid, const char *what);
/** insp_link() - target of /proc/PID/@what. Return: its length; -errno */
ssize_t insp_link(pid_t pid, const char *what, char *out, size_t bytes);
/** insp_comm() - name of a process, "?" when it is gone */
void insp_comm(pid_t pid, char out[INSP_COMM_MAX]);
/** insp_number() - an id that has to be free at the destination */
int insp_number(struct insp *i, pid_t id);

/* ---- insp_task.c ---- */
/** insp_task() - state, memory, user, threads and namespaces of task number @k */
int insp_task(struct insp *i, size_t k);
/** insp_sessions() - after all tasks: who leads their sessions and groups? */
int insp_sessions(struct insp *i);

/* ---- insp_file.c ---- */
enum insp_use {
	INSP_SEEN, /* it has to exist */
	INSP_MAPPED = BIT(0),
	INSP_OPEN = BIT(1), /* CRIU compares its size and mode */
	INSP_WRITE = BIT(2),
	INSP_DIR = BIT(3),
};
/**
 * insp_file() - add @path to the files of the offer
 * @use: bits of enum insp_use. A file only written by appending is INSP_WRITE
 *       without INSP_OPEN: its size may differ at the destination.
 */
int insp_file(struct insp *i, const char *path, unsigned int use);
/** insp_parent() - the directory of @path has to exist at the destination */
int insp_parent(struct insp *i, const char *path);
/**
 * insp_reachable() - is @path still the file @st that the tree uses?
 * @what: "descriptor 3 of pid 7", for the text of a finding
 * Return: 1 yes; 0 no, and that was told; -ENOMEM
 */
int insp_reachable(struct insp *i, const char *path, const struct stat *st, const char *what);
int insp_mounts(struct insp *i, struct err *e);
/** insp_mount_by_id() - NULL: not one that we see */
const struct insp_mount *insp_mount_by_id(const struct insp *i, int id);
/** insp_shm() - a shared memory object that travels, or a file without a name (@ghost) */
int insp_shm(struct insp *i, const struct stat *st, bool ghost);
void insp_files_fini(struct insp *i);

/* ---- insp_maps.c ---- */
int insp_maps(struct insp *i, pid_t pid);

/* ---- insp_fd.c ---- */
int insp_fds(struct insp *i, pid_t pid);
/** insp_anon() - an anon_inode by its name; @what as above. pidfds are not for here */
int insp_anon(struct insp *i, const char *what, const char *name);
int insp_end_add(struct insp_ends *l, struct insp_end end);
/** insp_dup() - a copy of a descriptor of the tree. Return: it; -errno */
int insp_dup(pid_t pid, int fd);

/* ---- insp_out.c ---- */

/* A file that leads out of the tree, or that a rule may name. */
struct insp_lead {
	pid_t pid;
	int fd;
	enum refit_kind kind;
	const char *what; /* "descriptor 3 of pid 7, a pipe to pid 9 (tee)," */
	uint64_t inode;
	const char *peer; /* name of the UNIX socket at the other end; NULL: none */
	int sock_type;
	bool reads, writes;
	bool stray; /* inherited, as far as one can see */
	uint64_t rdev, dev; /* of a terminal */
	bool unseen; /* on a mount that is hidden */
	int mnt_id;
};

/** insp_out() - is there a rule for it? Return: 1 yes, and that was told; 0 no; -errno */
int insp_out(struct insp *i, const struct insp_lead *l);
/** insp_rules_unused() - after all: rules for descriptors that there are not */
int insp_rules_unused(struct insp *i);
/** insp_ancestors() - note what those have open that started the tree */
int insp_ancestors(struct insp *i);
/** insp_inherited() - who of them has the same open file? 0: nobody */
pid_t insp_inherited(const struct insp *i, pid_t pid, int fd, const struct stat *st);

/* ---- insp_pipe.c ---- */
int insp_pipes(struct insp *i);
/** insp_outside() - fill @want from all processes outside the tree */
void insp_outside(const struct insp *i, struct insp_want *want, size_t n, bool fifos);
/** insp_holder() - "pid 7 (bash)" for a text */
void insp_holder(const struct insp_want *w, char *out, size_t bytes);
/** insp_want_find() - after insp_outside(), which sorts; NULL: not wanted */
const struct insp_want *insp_want_find(const struct insp_want *want, size_t n, uint64_t inode);

/* ---- insp_diag.c ---- */
struct nlmsghdr;
typedef int (*insp_diag_fn)(void *arg, const struct nlmsghdr *h);
/** insp_diag() - one sock_diag dump. Return: 0; -ENOENT the kernel lacks its module; -errno */
int insp_diag(const void *req, size_t bytes, insp_diag_fn fn, void *arg);

/* ---- insp_unix.c, insp_sock.c: take out of @left what they know ---- */
int insp_unix(struct insp *i, struct insp_ends *left);
int insp_sockets(struct insp *i, struct insp_ends *left);
struct inet_diag_msg;
/** insp_sock_of() - a socket that the kernel lists; without a copy of it */
void insp_sock_of(const struct inet_diag_msg *m, const struct insp_end *end, struct net_sock *s);
/** insp_port() - a bound socket of the tree goes into the offer */
int insp_port(struct insp *i, const struct insp_end *end, const struct inet_diag_msg *m, bool udp);
void insp_ports_fini(struct insp *i);
/* ---- insp_tcp.c ---- */
/** insp_goes_along() - does the address move with the tree? */
bool insp_goes_along(const struct insp *i, const struct net_addr *a);
/** insp_conn() - remember a connection. Return: 0; -ENOMEM */
int insp_conn(struct insp *i, const struct net_sock *s);
/** insp_orphan() - a connection of no descriptor has still @bytes to send */
int insp_orphan(struct insp *i, const struct net_sock *s, uint32_t bytes);
/** insp_tcp() - after all: what becomes of each connection */
int insp_tcp(struct insp *i);
/** insp_end_take() - remove and return the end with @inode: 1 found, 0 not */
int insp_end_take(struct insp_ends *left, uint64_t inode, struct insp_end *out);

#endif
