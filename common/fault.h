/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fault.h - named places where a test can make haul die or wait, in the order in which a
 * migration passes them; tests/crash-matrix.py goes through all of them.
 *
 * HAUL_FAULT=NAME:WHAT,NAME:WHAT,...
 *   kill   send ourselves SIGKILL, unless $HAUL_FAULT_FILE exists already
 *   hold   write our pid to $HAUL_FAULT_FILE and wait until the file is removed (a minute at
 *          most), unless $HAUL_FAULT_FILE.over exists
 *   int    send ourselves SIGINT, as Ctrl-C does
 */
#ifndef HAUL_FAULT_H
#define HAUL_FAULT_H

#define FAULTS(X)                                                                                  \
	X(S_CONNECTED, "s-connected")                                                              \
	X(S_NEGOTIATED, "s-negotiated")                                                            \
	X(S_PREPARED, "s-prepared")                                                                \
	X(S_ROUNDS, "s-rounds-done")                                                               \
	X(S_FREEZE_RECORDED, "s-freeze-recorded")                                                  \
	X(S_STOPPED, "s-stopped")                                                                  \
	X(S_DUMPED, "s-dumped")                                                                    \
	X(S_HELD_RECORDED, "s-held-recorded")                                                      \
	X(S_SENT, "s-sent")                                                                        \
	X(S_PLACED, "s-placed-heard")                                                              \
	X(S_RESTORED, "s-restored-heard")                                                          \
	X(S_COMMIT_RECORDED, "s-commit-recorded")                                                  \
	X(S_COMMIT_SENT, "s-commit-sent")                                                          \
	X(S_RUNNING, "s-running-heard")                                                            \
	X(S_PUSHING, "s-pushing")                                                                  \
	X(S_DRAINED, "s-drained-heard")                                                            \
	X(S_KILLED, "s-copy-killed")                                                               \
	X(S_UNDO, "s-undo")                                                                        \
	X(S_UNDONE, "s-undone")                                                                    \
	X(D_HELLO, "d-hello-said")                                                                 \
	X(D_ANSWERED, "d-answered")                                                                \
	X(D_STARTED, "d-started")                                                                  \
	X(D_SWITCH, "d-switch-heard")                                                              \
	X(D_PLACED, "d-placed-said")                                                               \
	X(D_GATE, "d-gate")                                                                        \
	X(D_GATE_RECORDED, "d-gate-recorded")                                                      \
	X(D_RESTORED, "d-restored-said")                                                           \
	X(D_COMMIT_HEARD, "d-commit-heard")                                                        \
	X(D_COMMIT_RECORDED, "d-commit-recorded")                                                  \
	X(D_RESUMED, "d-resumed")                                                                  \
	X(D_RUNNING, "d-running-said")                                                             \
	X(D_FILLED, "d-filled")                                                                    \
	X(D_DONE_RECORDED, "d-done-recorded")                                                      \
	X(D_DRAINED, "d-drained-said")                                                             \
	X(D_UNDO, "d-undo")                                                                        \
	X(D_UNDONE, "d-undone-recorded")                                                           \
	X(A_PIECES, "a-pieces-written")                                                            \
	X(A_INDEX, "a-index-synced")                                                               \
	X(A_ROOT, "a-root-synced")                                                                 \
	X(A_NOTED, "a-use-noted")

#define FAULT_ENUM(id, name) FAULT_##id,
enum fault { FAULT_NONE, FAULTS(FAULT_ENUM) FAULT_COUNT };

/** fault_at() - do what the environment says for this place; usually nothing */
void fault_at(enum fault f);

#endif
