/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stand.h - what is said to haul run and haul land, which stand between a program that may move and
 * whoever started it. Each listens at abstract UNIX sockets; both ends check who the other is.
 */
#ifndef HAUL_STAND_H
#define HAUL_STAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

#define STAND_KEY_BYTES  64
#define STAND_TEXT_BYTES 512
#define STAND_LIMIT_MS   10000
#define STAND_FDS_MAX    40 /* in one message */

/* Input, output and error output of the program. */
enum { STAND_IN, STAND_OUT, STAND_ERR, STAND_STREAMS };

enum stand_word {
	STAND_NO, /* answer; why is in text */
	STAND_YES, /* answer */
	/* from the haul that moves the program away. Answered by STAND_YES or STAND_NO */
	STAND_ASK, /* answer: the program and its pipes */
	STAND_HOLD, /* the program stops now: give it no more input until BACK or the end of the connection */
	STAND_GIVEN, /* it may run at the destination: its end here is no end */
	STAND_BACK, /* it runs here again */
	/* from the hauld that brings it */
	STAND_CLAIM, /* a program with @route arrives. Answer: the three streams */
	STAND_SPAWN, /* start CRIU at text, with its socket and these descriptors. Answer: its pid */
	STAND_GATE, /* it is process @pid, and has not run yet. Answered */
	STAND_RUNS, /* it runs. Not answered */
	STAND_UNDO, /* it does not arrive, nothing of it is left. Not answered */
};

struct stand_msg {
	uint32_t word;
	int32_t pid; /* of the program; 0: none yet */
	uint64_t route;
	uint64_t inode[STAND_STREAMS]; /* of the program's pipes; 0: not a pipe of ours */
	uint32_t owner; /* who alone may bring a program, beside root; UINT32_MAX: none */
	bool unread; /* output that is in the pipes will be read at the destination */
	char text[STAND_TEXT_BYTES];
};

/* A message with its descriptors. */
struct stand_mail {
	struct stand_msg m;
	int fd[STAND_FDS_MAX]; /* received ones are the reader's to close */
	size_t n_fds;
};

/** stand_key_ok() - letters, digits and ._:@-, at most STAND_KEY_BYTES - 1 */
bool stand_key_ok(const char *key);

/** stand_listen() - where the program of this process is spoken about. Return: socket; -errno */
int stand_listen(struct err *e);
/**
 * stand_listen_as() - land under @key: where a program that arrives is spoken about
 * Return: socket; -EADDRINUSE a process of the same user has landed under it; -errno
 */
int stand_listen_as(const char *key, struct err *e);

/** stand_of() - connect to process @pid. Return: socket; -ENOENT it is no stand */
int stand_of(pid_t pid);
/** stand_landed() - connect to the process of root that has landed under @key. Return: socket; -ENOENT */
int stand_landed(const char *key, pid_t *pid);

/** stand_say() - send @mail. Return: 0; -errno */
int stand_say(int fd, const struct stand_mail *mail);
/** stand_hear() - receive one. Return: 0; -EPIPE the other end is closed; -ETIMEDOUT; -EBADMSG */
int stand_hear(int fd, struct stand_mail *mail, uint64_t deadline_us);
/**
 * stand_ask() - send @mail and put the answer in its place
 * @limit_ms: for the answer; STAND_LIMIT_MS at most counts
 * Return: 0: STAND_YES; -ECANCELED: STAND_NO, with its text in @e; -errno
 */
int stand_ask(int fd, struct stand_mail *mail, uint64_t limit_ms, struct err *e);
/** stand_drop() - close the descriptors that came with it */
void stand_drop(struct stand_mail *mail);
/** stand_peer() - the user and process at the other end. Return: 0; -errno */
int stand_peer(int fd, uid_t *uid, pid_t *pid);

#endif
