/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree.h - does the restored process tree still live, and how did it end? */
#ifndef HAUL_AGENT_TREE_H
#define HAUL_AGENT_TREE_H

#include "agent/mig/mig.h"

#define TREE_HOW_BYTES   64
#define TREE_ENDED_BYTES 192

/* The processes that were restored, told from later users of their process IDs. */
struct tree_watch {
	pid_t *pid;
	uint64_t *start; /* 0: had ended before it was looked at */
	size_t n;
	int root_pidfd; /* -1: the root had ended */
};

/** tree_watch_begin() - note all processes of @w; without memory only the root is noted */
void tree_watch_begin(struct tree_watch *t, const struct wrk *w);
/**
 * tree_lives() - does any thread of them, or of a process in their sessions, still run?
 * A thread that is exiting does not.
 */
bool tree_lives(const struct tree_watch *t);
/**
 * tree_how() - how the root ended; waits 1 s at most for that to be known
 * @out: "exit status 3", "killed by signal 9", or that it is not known
 * Return: it is known, and no signal ended it
 */
bool tree_how(const struct tree_watch *t, char out[TREE_HOW_BYTES]);
/**
 * tree_ended() - what the record `ended` of @j says, as a sentence for the source
 */
void tree_ended(const struct journal *j, char out[TREE_ENDED_BYTES]);
/** tree_record_how() - @how as a value in a record, without blanks; in place */
void tree_record_how(char *how);
/** tree_watch_end() - free what tree_watch_begin() has made */
void tree_watch_end(struct tree_watch *t);

#endif
