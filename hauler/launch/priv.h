/* SPDX-License-Identifier: GPL-2.0-or-later */
/* priv.h - what the files of haul run and haul land share. */
#ifndef HAUL_LAUNCH_PRIV_H
#define HAUL_LAUNCH_PRIV_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/local/stand.h"
#include "hauler/launch/launch.h"

/* ---- line.c: what front and holder say to each other ---- */

enum line_word {
	/* from the front */
	LINE_SIGNAL, /* value: a signal for the program */
	LINE_CLOSED, /* value: a stream whose other end is closed */
	LINE_HELD, /* no more input is passed on */
	/* from the holder */
	LINE_ROOT, /* value: pid of the program */
	LINE_HOLD, /* answer by LINE_HELD */
	LINE_GO, /* pass input on */
	LINE_END, /* value: the program's wait status */
	LINE_AWAY, /* it has moved */
	LINE_PARK, /* it waits for who lands: leave it alone, and its streams */
};

struct line {
	uint32_t word;
	int32_t value;
};

/** line_say() - Return: 0; -errno */
int line_say(int fd, enum line_word word, int value);
/** line_hear() - Return: 0; -EPIPE the other end is closed */
int line_hear(int fd, struct line *l);

/* ---- streams.c: the pipes of the program ---- */

struct streams {
	int program[STAND_STREAMS]; /* its ends; -1: given up */
	int ours[STAND_STREAMS]; /* the other ends; -1: no pipe, or closed */
	uint64_t inode[STAND_STREAMS]; /* 0: no pipe of ours */
};

/** streams_make() - @land: input is always a pipe. Return: 0; -errno */
int streams_make(struct streams *s, bool land, struct err *e);
/** streams_close() - one descriptor of them */
void streams_close(int *fd);

/* ---- pass.c: one stream, passed on by the front ---- */

#define PASS_BYTES 4096 /* a pipe that can be written to has room for as much */

struct pass {
	int from, to;
	char buf[PASS_BYTES];
	size_t n, at;
	bool over; /* nothing more will come, or can be written */
};

struct pollfd;
/** pass_wants() - what to wait for. @held: take nothing new */
void pass_wants(const struct pass *c, bool held, struct pollfd *p);
/** pass_step() - after poll(). Return: false: it is over since */
bool pass_step(struct pass *c, const struct pollfd *p);
/** pass_flush() - write what was taken; blocks */
void pass_flush(struct pass *c);
/** pass_drain() - and all that is in the pipe now */
void pass_drain(struct pass *c);

/* ---- the holder ---- */

enum hold_state {
	HOLD_WAITS, /* land: no program yet */
	HOLD_CLAIMED, /* land: one arrives */
	HOLD_GATE, /* it is our child, and may run or not */
	HOLD_RUNS,
	HOLD_GIVEN, /* it may run elsewhere: its end here is no end */
};

/* A connection of a haul or hauld. */
struct guest {
	int fd; /* -1: free */
	uid_t uid;
	bool holds, claims;
};

#define GUESTS_MAX 16

struct give {
	bool on;
	int sig; /* what ends it when nobody takes it */
	uint64_t until_us, next_us;
	size_t host; /* the one that is tried, or the next */
	pid_t mover; /* the haul that tries; 0: none */
};

/* What haul has changed for itself, and a program that it starts must not see. */
struct before {
	sigset_t mask;
	struct sigaction pipe;
};

struct holder {
	const struct launch *l;
	const struct before *before;
	struct streams *s;
	int front; /* -1: it has left */
	int run_door, land_door, signals; /* -1: none */
	struct guest guest[GUESTS_MAX];
	enum hold_state state;
	pid_t root;
	uint64_t route; /* of the program that arrives */
	bool parked; /* the front was told to leave */
	bool killed; /* the front was killed: the program is to end */
	bool ended; /* at the gate: with @status */
	int status;
	int late; /* a signal that came at the gate */
	struct give give;
	bool over; /* nothing is left to do */
};

/* ---- start.c ---- */

/** start_program() - Return: its pid; -errno */
pid_t start_program(const struct holder *h, struct err *e);
/** start_mover() - the haul that moves the program to @host. Return: its pid; -errno */
pid_t start_mover(const struct holder *h, const char *host);

/* ---- holder.c ---- */

/** holder_main() - in the child that becomes it. @front: the line. Return: exit status */
int holder_main(const struct launch *l, struct streams *s, int front, const struct before *before);

/* ---- guests.c: those that move the program ---- */

/** guests_add() - accept one at @door */
void guests_add(struct holder *h, int door);
/** guests_hear() - one has said something, or is gone */
void guests_hear(struct holder *h, struct guest *g);

/* ---- fate.c: what becomes of the program ---- */

/** fate_ended() - process root has ended */
void fate_ended(struct holder *h, int status);
/** fate_claimed() - one arrives, by migration @route */
void fate_claimed(struct holder *h, uint64_t route);
/** fate_gate() - process @root waits at the gate. Return: 0; -ESRCH it is no child of ours */
int fate_gate(struct holder *h, pid_t root);
/** fate_given() - it may run at the destination */
void fate_given(struct holder *h);
/** fate_runs() - it runs here, for certain */
void fate_runs(struct holder *h);
/** fate_undone() - what arrived does not stay: end all that is left of it */
void fate_undone(struct holder *h);
/** fate_unknown() - the hauld that brings it is gone: its journal tells */
void fate_unknown(struct holder *h);
/** fate_back() - it runs here after all */
void fate_back(struct holder *h);
/** fate_front() - the front has said something, or is gone */
void fate_front(struct holder *h);
/** fate_hold() - input of the program stops, or goes on. Return: 0; -errno */
int fate_hold(struct holder *h, bool hold);

/* ---- give.c: to who has landed ---- */

/** give_wanted() - is @sig the signal that gives it away? Then begin */
bool give_wanted(struct holder *h, int sig);
/** give_step() - whenever something has happened, and when give_wait_us() is over */
void give_step(struct holder *h);
/** give_tried() - process @pid has ended. Return: false: it was none of ours */
bool give_tried(struct holder *h, pid_t pid, int status);
/** give_due_us() - when give_step() has something to do; DEADLINE_NEVER */
uint64_t give_due_us(const struct holder *h);

#endif
