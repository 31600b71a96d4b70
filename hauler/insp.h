/* SPDX-License-Identifier: GPL-2.0-or-later */
/* insp.h - what the files of the inspection share. */
#ifndef HAUL_INSP_H
#define HAUL_INSP_H

#include "engine/engine.h"
#include "hauler/inspect.h"
#include "transport/haul.pb-c.h"

#define INSP_PATH_MAX 4096

/* An end of a pipe, fifo or socket that the tree holds. */
struct insp_end {
	uint64_t inode;
	pid_t pid;
	int fd;
	bool reads, writes;
};

struct insp {
	pid_t root;
	struct proc_list procs;
	struct findings findings;
	bool shell_job;
	uint64_t rss_bytes;
	char comm[32], root_dir[256], kernel[72], machine[72];
	Haul__File **files;
	size_t n_files;
	uint32_t *uids;
	size_t n_uids;
	uint32_t *pids;
	struct insp_end *pipes, *sockets;
	size_t n_pipes, n_sockets;
	unsigned int tcp_open;
};

/* ---- insp_fd.c ---- */
int insp_fds(struct insp *i, pid_t pid, struct err *e);
/** insp_ends() - after all processes: which pipes and sockets lead out of the tree */
int insp_ends(struct insp *i, struct err *e);

/* ---- insp_sock.c ---- */
int insp_sockets(struct insp *i, struct err *e);

/* ---- inspect.c ---- */
int insp_add_file(struct insp *i, const char *path, bool mapped, bool open_, bool write_,
                  bool directory);
bool insp_in_tree(const struct insp *i, pid_t pid);

#endif
