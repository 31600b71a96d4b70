/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handover.pml - docs/HANDOVER.md as a model: both sides' states, messages and
 * journals; programs that die at any step and are started again, connections that
 * break with or without what was on its way.
 *
 * A step of the model is what a crash cannot divide: one durable record, one message,
 * one act on a tree. tests/t-handover-model.sh checks it, exhaustively, and breaks it
 * on purpose (-DBREAK_x); tests/t-handover-tables.sh compares the edges (S_GO, D_GO)
 * with docs/HANDOVER.md and, through that, with the tables in the code.
 *
 * -DS_CRASHES= -DD_CRASHES= -DCUTS= bound the faults; -DHOSTS lets hosts restart, too,
 * -DREINSTALL lets the destination forget everything.
 */
#ifndef S_CRASHES
#define S_CRASHES 2
#endif
#ifndef D_CRASHES
#define D_CRASHES 2
#endif
#ifndef CUTS
#define CUTS 2
#endif

mtype:msg = { HELLO, OFFER, ANSWER, START, STARTED, SWITCH, RESTORED, COMMIT, RUNNING,
	DRAINED, GONE, UNDONE, ABORT, BYE };
mtype:fate = { F_COMMITTED, F_DRAINED, F_DROPPED, F_GONE, F_UNKNOWN, F_NONE };
mtype:jrn = { J_NONE, J_FROZEN, J_COMMITTING, J_GATE, J_COMMITTED, J_RUNNING, J_DONE,
	J_UNDONE, J_DROPPED, J_GONE, J_RESOLVED };
/* HELD by CRIU's ptrace; OPENING: CRIU was told yes and has not said that it runs */
mtype:tree = { T_RUN, T_HELD, T_STOPPED, T_GATE, T_OPENING, T_NONE };
mtype:st = { S_new, S_connect, S_negotiate, S_prepare, S_rounds, S_freeze, S_send,
	S_restore, S_commit, S_post_copy, S_done, S_undo, S_undone, S_lost, S_in_doubt,
	D_recover, D_hello, D_offer, D_start, D_rounds, D_gate, D_running, D_done,
	D_undone, D_gone };

/* ---- what lasts: journals, and trees that do not need us to stay as they are ---- */
mtype:jrn s_j = J_NONE, d_j = J_NONE;
mtype:jrn s_synced = J_NONE, d_synced = J_NONE; /* what a restart of the host leaves */
mtype:tree s_tree = T_RUN, d_tree = T_NONE;
bool d_missing; /* pages are still only at the source */
bool d_ran; /* history: an instruction may have run at the destination */
bool s_rebooted, d_rebooted, d_wiped;
bool d_bereft; /* runs, and knows that pages which it misses will never come */

/* ---- what a crash loses ---- */
mtype:st s_state = S_new, d_state = D_hello;
byte s_pc, d_pc; /* steps within a state */
bool s_up = true, d_up;
bool d_placed; /* every page is in place, as the worker knows */
bool d_criu = true; /* alive, while it holds the gate */

/* ---- connections ---- */
chan to_d = [2] of { mtype:msg };
chan to_s = [2] of { mtype:msg };
bool link; /* the control connection, later the one made again */
bool asked; /* QUERY is at the destination's agent */
mtype:fate fate = F_NONE; /* its answer, on the way */

/* ---- faults left ---- */
byte s_crashes = S_CRASHES, d_crashes = D_CRASHES, cuts = CUTS;

#define S_GO(a, b) assert(s_state == a); s_state = b; s_pc = 0
#define D_GO(a, b) assert(d_state == a); d_state = b; d_pc = 0
#ifndef BREAK_COMMITTING_NOT_SYNCED
#define SYNC_COMMITTING s_synced = s_j
#else
#define SYNC_COMMITTING skip
#endif
#ifndef BREAK_COMMITTED_NOT_SYNCED
#define SYNC_COMMITTED d_synced = d_j
#else
#define SYNC_COMMITTED skip
#endif
#define S_IS(x)    (s_up && s_state == x)
#define D_IS(x)    (d_up && d_state == x)

/* What is on its way when a connection ends arrives, or its tail does not. */
inline lose(ch)
{
	if
	:: skip
	:: len(ch) == 2 -> ch ? x; ch ? y; ch ! x
	:: len(ch) > 0 -> do :: len(ch) > 0 -> ch ? x :: else -> break od
	fi
}
inline cut() { link = false; lose(to_d); lose(to_s) }
inline drain(ch) { do :: len(ch) > 0 -> ch ? x :: else -> break od }

/* The end of one side: what it would have read is gone, what it said may arrive. */
inline s_ends() { s_up = false; s_state = S_new; s_pc = 0; asked = false; fate = F_NONE;
	if :: link -> link = false; lose(to_d) :: else fi; drain(to_s) }
inline d_ends() { d_up = false; d_state = D_hello; d_pc = 0; d_placed = false;
	if :: link -> link = false; lose(to_s) :: else fi; drain(to_d) }

inline say_d(m) { if :: link -> to_d ! m :: else fi }
inline say_s(m) { if :: link -> to_s ! m :: else fi }
#define S_LOSS (!link && len(to_s) == 0)
#define D_LOSS (!link && len(to_d) == 0)

/* The only places where a tree begins to run. */
inline run_here()
{
	if
	:: s_tree == T_HELD || s_tree == T_STOPPED -> assert(!d_ran); s_tree = T_RUN
	:: else
	fi
}

active proctype Source()
{
	mtype:msg x, y, m;

end:	do
	/* -- recover, or a new migration -- */
	:: atomic { S_IS(S_new) && s_j == J_NONE && s_tree == T_RUN && d_j == J_NONE && !d_up ->
		S_GO(S_new, S_connect); link = true; d_up = true; to_d ! HELLO }
	:: atomic { S_IS(S_new) && s_j == J_FROZEN -> S_GO(S_new, S_undo) }
	:: atomic { S_IS(S_new) && (s_j == J_COMMITTING || s_j == J_COMMITTED) ->
		S_GO(S_new, S_in_doubt) }

	/* -- up to the stop -- */
	:: atomic { S_IS(S_connect) && to_s ? [HELLO] -> to_s ? HELLO;
		S_GO(S_connect, S_negotiate); say_d(OFFER) }
	:: atomic { S_IS(S_negotiate) && to_s ? [ANSWER] -> to_s ? ANSWER;
		S_GO(S_negotiate, S_prepare); say_d(START) }
	:: atomic { S_IS(S_prepare) && to_s ? [STARTED] -> to_s ? STARTED;
		S_GO(S_prepare, S_rounds) }
	:: atomic { S_IS(S_rounds) && s_pc == 0 && link -> s_j = J_FROZEN; s_synced = s_j; s_pc = 1 }
	:: atomic { S_IS(S_rounds) && s_pc == 1 -> S_GO(S_rounds, S_freeze); s_tree = T_HELD }
	:: atomic { S_IS(S_freeze) -> s_tree = T_STOPPED; S_GO(S_freeze, S_send) }
	:: atomic { S_IS(S_send) -> S_GO(S_send, S_restore); say_d(SWITCH) }
	:: atomic { S_IS(S_restore) && to_s ? [RESTORED] -> to_s ? RESTORED;
		S_GO(S_restore, S_commit) }

	/* -- undone: lost connection, ABORT, UNDONE, Ctrl-C, deadline; one that is not
	      waited for is the same as any other -- */
	:: atomic { S_IS(S_connect) -> S_GO(S_connect, S_undo) }
	:: atomic { S_IS(S_negotiate) -> S_GO(S_negotiate, S_undo) }
	:: atomic { S_IS(S_prepare) -> S_GO(S_prepare, S_undo) }
	:: atomic { S_IS(S_rounds) -> S_GO(S_rounds, S_undo) }
	:: atomic { S_IS(S_freeze) -> S_GO(S_freeze, S_undo) }
	:: atomic { S_IS(S_send) -> S_GO(S_send, S_undo) }
	:: atomic { S_IS(S_restore) -> S_GO(S_restore, S_undo) }
	:: atomic { S_IS(S_undo) && s_pc == 0 -> run_here(); s_pc = 1 }
	:: atomic { S_IS(S_undo) && s_pc == 1 ->
		if :: s_j != J_NONE -> s_j = J_UNDONE :: else fi; s_pc = 2 }
	:: atomic { S_IS(S_undo) && s_pc == 2 -> S_GO(S_undo, S_undone); say_d(ABORT); s_ends() }

	/* -- the point of no return -- */
	:: atomic { S_IS(S_commit) && s_pc == 0 -> S_GO(S_commit, S_undo) } /* Ctrl-C, deadline */
#ifndef BREAK_COMMIT_BEFORE_RECORD
	:: atomic { S_IS(S_commit) && s_pc == 0 -> s_j = J_COMMITTING; s_pc = 1; SYNC_COMMITTING }
	:: atomic { S_IS(S_commit) && s_pc == 1 -> say_d(COMMIT); s_pc = 2 }
#else
	:: atomic { S_IS(S_commit) && s_pc == 0 -> say_d(COMMIT); s_pc = 1 }
	:: atomic { S_IS(S_commit) && s_pc == 1 -> s_j = J_COMMITTING; s_pc = 2; SYNC_COMMITTING }
#endif
	:: atomic { S_IS(S_commit) && s_pc == 2 && to_s ? [RUNNING] -> to_s ? RUNNING;
		s_j = J_COMMITTED; S_GO(S_commit, S_post_copy) }
	:: atomic { S_IS(S_commit) && s_pc == 2 && to_s ? [UNDONE] -> to_s ? UNDONE;
		S_GO(S_commit, S_undo) }
	:: atomic { S_IS(S_commit) && s_pc == 2 && to_s ? [GONE] -> to_s ? GONE;
		s_j = J_GONE; S_GO(S_commit, S_lost) }
#ifndef BREAK_SILENCE_MEANS_NO
	/* lost, or silent for too long: then it is we who close it */
	:: atomic { S_IS(S_commit) && s_pc == 2 ->
		link = false; lose(to_d); drain(to_s); S_GO(S_commit, S_in_doubt) }
#else
	:: atomic { S_IS(S_commit) && s_pc == 2 && S_LOSS -> S_GO(S_commit, S_undo) }
#endif

	/* -- in doubt: only the destination knows -- */
	:: atomic { S_IS(S_in_doubt) && !asked && fate == F_NONE -> asked = true }
	:: atomic { S_IS(S_in_doubt) && fate == F_COMMITTED -> fate = F_NONE; s_j = J_COMMITTED;
		S_GO(S_in_doubt, S_post_copy) }
	:: atomic { S_IS(S_in_doubt) && fate == F_DRAINED -> fate = F_NONE; s_j = J_COMMITTED;
		S_GO(S_in_doubt, S_post_copy); s_pc = 1 }
	:: atomic { S_IS(S_in_doubt) && fate == F_DROPPED -> fate = F_NONE;
		assert(s_j == J_COMMITTING); S_GO(S_in_doubt, S_undo) }
	:: atomic { S_IS(S_in_doubt) && fate == F_GONE -> fate = F_NONE; s_j = J_GONE;
		S_GO(S_in_doubt, S_lost) }
	:: atomic { S_IS(S_in_doubt) && fate == F_UNKNOWN -> fate = F_NONE;
		assert(d_wiped); S_GO(S_in_doubt, S_lost) }
	:: atomic { S_IS(S_lost) -> s_ends() }

	/* -- it runs there -- */
#ifdef BREAK_KILL_AT_RUNNING
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && !d_missing -> s_tree = T_NONE }
#endif
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && d_missing && link && D_IS(D_running) &&
		s_tree == T_STOPPED -> d_missing = false }
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && to_s ? [DRAINED] -> to_s ? DRAINED; s_pc = 1 }
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && to_s ? [RUNNING] -> to_s ? RUNNING }
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && to_s ? [GONE] -> to_s ? GONE;
		s_j = J_GONE; S_GO(S_post_copy, S_lost) }
	/* our stopped copy went with the host: we can only say so, on both sides */
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && d_missing && s_tree == T_NONE ->
		assert(s_rebooted); s_j = J_GONE; S_GO(S_post_copy, S_lost); d_bereft = true }
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && S_LOSS -> S_GO(S_post_copy, S_in_doubt) }
	:: atomic { S_IS(S_post_copy) && s_pc == 1 -> s_tree = T_NONE; s_pc = 2 }
	:: atomic { S_IS(S_post_copy) && s_pc == 2 -> s_j = J_DONE; s_synced = s_j; s_pc = 3 }
	:: atomic { S_IS(S_post_copy) && s_pc == 3 -> S_GO(S_post_copy, S_done);
		say_d(BYE); s_ends() }
	od
}

/* From the gate or before it; the tree is killed first, then it is written down. */
#define D_LETS_GO (D_LOSS || to_d ? [ABORT] || to_d ? [BYE])

active proctype Worker()
{
	mtype:msg x, y;

end:	do
	:: atomic { D_IS(D_hello) && to_d ? [HELLO] -> to_d ? HELLO;
		D_GO(D_hello, D_offer); say_s(HELLO) }
	:: atomic { D_IS(D_offer) && to_d ? [OFFER] -> to_d ? OFFER;
		D_GO(D_offer, D_start); say_s(ANSWER) }
	:: atomic { D_IS(D_start) && to_d ? [START] -> to_d ? START;
		D_GO(D_start, D_rounds); say_s(STARTED) }
	:: atomic { D_IS(D_rounds) && d_pc == 0 && to_d ? [SWITCH] -> to_d ? SWITCH;
		d_tree = T_GATE; d_criu = true; d_pc = 1;
		if :: d_missing = true :: d_missing = false fi }
	:: atomic { D_IS(D_rounds) && d_pc == 1 -> d_j = J_GATE; d_synced = d_j; d_pc = 2 }
	:: atomic { D_IS(D_rounds) && d_pc == 2 -> D_GO(D_rounds, D_gate); say_s(RESTORED) }

	/* -- the point of no return -- */
#ifndef BREAK_OPEN_BEFORE_RECORD
	:: atomic { D_IS(D_gate) && d_pc == 0 && to_d ? [COMMIT] -> to_d ? COMMIT;
		d_j = J_COMMITTED; SYNC_COMMITTED; D_GO(D_gate, D_running) }
#else
	:: atomic { D_IS(D_gate) && d_pc == 0 && to_d ? [COMMIT] -> to_d ? COMMIT;
		D_GO(D_gate, D_running) }
#endif
	:: atomic { D_IS(D_running) && d_pc == 0 && d_criu -> d_tree = T_OPENING; d_pc = 1 }
	/* CRIU had gone before it was told: nothing has run, which may still be undone */
	:: atomic { D_IS(D_running) && d_pc == 0 && !d_criu -> d_tree = T_NONE; d_pc = 8 }
	:: atomic { D_IS(D_running) && d_pc == 8 -> d_j = J_DROPPED; d_pc = 9 }
	:: atomic { D_IS(D_running) && d_pc == 9 -> D_GO(D_running, D_undone);
		say_s(UNDONE); d_ends() }
	:: atomic { D_IS(D_running) && d_pc == 1 && d_tree == T_RUN -> d_j = J_RUNNING; d_pc = 2 }
	:: atomic { D_IS(D_running) && d_pc == 2 -> say_s(RUNNING); d_pc = 3 }

	/* -- until every page is in place; a made-again connection starts here, too -- */
	:: atomic { D_IS(D_running) && d_pc == 3 && d_tree == T_RUN && !d_missing && !d_placed ->
		d_placed = true }
	:: atomic { D_IS(D_running) && d_pc == 3 && d_placed -> d_j = J_DONE; d_pc = 4 }
	:: atomic { D_IS(D_running) && d_pc == 4 -> say_s(DRAINED); D_GO(D_running, D_done) }
	:: atomic { D_IS(D_done) && to_d ? [BYE] -> to_d ? BYE; d_j = J_NONE; d_ends() }
	:: atomic { D_IS(D_done) && D_LOSS -> d_ends() }
	/* tree, pager and guardian are lost under a living worker; or CRIU died half way */
	:: atomic { D_IS(D_running) && (d_pc == 1 || d_pc == 3) && d_tree == T_NONE ->
		d_j = J_GONE; d_pc = 7 }
	:: atomic { D_IS(D_running) && d_pc == 7 -> D_GO(D_running, D_gone); say_s(GONE); d_ends() }

	/* -- undone: any loss, refusal or deadline before COMMIT was read -- */
	:: atomic { D_IS(D_hello) && D_LETS_GO -> D_GO(D_hello, D_undone) }
	:: atomic { D_IS(D_offer) && D_LETS_GO -> D_GO(D_offer, D_undone) }
	:: atomic { D_IS(D_start) && D_LETS_GO -> D_GO(D_start, D_undone) }
	:: atomic { D_IS(D_rounds) && D_LETS_GO -> D_GO(D_rounds, D_undone) }
	:: atomic { D_IS(D_rounds) && d_pc == 1 -> D_GO(D_rounds, D_undone) } /* CRIU refuses */
	:: atomic { D_IS(D_gate) -> D_GO(D_gate, D_undone) }
	:: atomic { D_IS(D_undone) && d_pc == 0 -> d_tree = T_NONE; d_pc = 1 }
	:: atomic { D_IS(D_undone) && d_pc == 1 ->
		if :: d_j == J_GATE -> d_j = J_DROPPED :: else fi; d_pc = 2 }
	:: atomic { D_IS(D_undone) && d_pc == 2 -> say_s(UNDONE); d_ends() }

#ifndef BREAK_NO_RECOVER
	/* -- recover: as soon as a journal has no owner -- */
	:: atomic { !d_up && (d_j == J_GATE || d_j == J_COMMITTED || d_j == J_RUNNING) ->
		d_up = true; d_state = D_recover; d_pc = 0 }
	:: atomic { D_IS(D_recover) && d_j == J_RUNNING && d_tree == T_RUN ->
		D_GO(D_recover, D_running); d_pc = 3 }
	:: atomic { D_IS(D_recover) && d_pc == 0 && !(d_j == J_RUNNING && d_tree == T_RUN) ->
		d_tree = T_NONE; d_pc = 1 }
	:: atomic { D_IS(D_recover) && d_pc == 1 && d_j == J_GATE -> d_j = J_DROPPED;
		D_GO(D_recover, D_undone); d_ends() }
	:: atomic { D_IS(D_recover) && d_pc == 1 && (d_j == J_COMMITTED || d_j == J_RUNNING) ->
		d_j = J_GONE; D_GO(D_recover, D_gone); d_ends() }
#endif
	od
}

/* CRIU at the destination: told yes, it lets the tree run whoever lives. */
active proctype Criu()
{
end:	do
	:: atomic { d_tree == T_OPENING -> d_tree = T_RUN; d_ran = true }
	od
}

/* hauld: QUERY is answered from the journal, when its owner has decided. */
active proctype Agent()
{
	mtype:msg x;

end:	do
	:: atomic { asked && D_IS(D_running) && d_j == J_RUNNING && d_pc == 3 ->
		asked = false; fate = F_COMMITTED;
		drain(to_d); drain(to_s); link = true } /* made again, with the secret */
	:: atomic { asked && d_j == J_DONE -> asked = false; fate = F_DRAINED }
	:: atomic { asked && d_j == J_DROPPED -> asked = false; fate = F_DROPPED }
	:: atomic { asked && d_j == J_GONE -> asked = false; fate = F_GONE }
#ifdef BREAK_ANSWER_WITHOUT_LOCK
	:: atomic { asked && d_j == J_GATE -> asked = false; fate = F_DROPPED }
#endif
	:: atomic { asked && d_j == J_NONE -> asked = false; fate = F_UNKNOWN }
	od
}

/* haul recover, by hand or at the agent's start; haul resolve, once all is known. */
active proctype Operator()
{
end:	do
	:: atomic { !s_up && (s_j == J_FROZEN || s_j == J_COMMITTING || s_j == J_COMMITTED) &&
		!d_wiped -> s_up = true }
	:: atomic { !s_up && s_j == J_GONE -> /* --keep-here: we were told that it is gone */
		assert(d_bereft || d_tree != T_RUN && d_tree != T_OPENING);
		if :: s_tree == T_STOPPED -> s_tree = T_RUN :: else fi; s_j = J_RESOLVED }
	od
}

active proctype Faults()
{
	mtype:msg x, y;

end:	do
	:: atomic { s_crashes > 0 && s_up && s_state != S_new -> s_crashes--; s_ends();
		/* CRIU lets go what it holds by ptrace */
		if :: s_tree == T_HELD -> s_tree = T_RUN :: else fi }
	:: atomic { d_crashes > 0 && d_up -> d_crashes--; d_ends();
		if
		:: d_tree == T_GATE -> d_tree = T_NONE /* CRIU kills it, or: */
		:: d_tree == T_GATE -> d_criu = false /* hangs in the restorer */
		:: d_tree == T_OPENING -> d_tree = T_NONE
		:: d_tree == T_OPENING
		:: d_tree == T_RUN && d_j != J_DONE && d_j != J_NONE -> d_tree = T_NONE /* pager and guardian, too */
		:: d_tree == T_RUN /* the guardian holds its pages */
		:: d_tree == T_NONE
		fi }
	:: atomic { d_crashes > 0 && D_IS(D_gate) && d_criu -> d_crashes--; d_criu = false }
	:: atomic { d_crashes > 0 && D_IS(D_running) && (d_pc == 1 || d_pc == 3) && !d_placed &&
		(d_tree == T_RUN || d_tree == T_OPENING) -> d_crashes--; d_tree = T_NONE }
	:: atomic { cuts > 0 && link -> cuts--; cut() }
	:: atomic { cuts > 0 && (asked || fate != F_NONE) -> cuts--; asked = false; fate = F_NONE }
#ifdef HOSTS
	/* with the trees goes what was written and not yet synced */
	:: atomic { !s_rebooted -> s_rebooted = true; s_ends(); s_tree = T_NONE;
		if :: skip :: s_j = s_synced fi }
	:: atomic { !d_rebooted -> d_rebooted = true; d_ends(); d_tree = T_NONE;
		if :: skip :: d_j = d_synced fi }
#endif
#ifdef REINSTALL
	:: atomic { !d_wiped && s_j != J_DONE -> d_wiped = true; d_rebooted = true; d_ends();
		d_tree = T_NONE; d_j = J_NONE }
#endif
	od
}

/* ---- what is claimed ---- */
#define ONE_RUNS  ((s_tree == T_RUN) != (d_tree == T_RUN))
#define TWO_RUN   (s_tree == T_RUN && (d_tree == T_RUN || d_tree == T_OPENING))
#define HOST_LOST (s_rebooted || d_rebooted)
#define NOTHING   (s_tree == T_NONE && d_tree != T_RUN && !HOST_LOST)
#define S_ENDED   (s_j == J_NONE || s_j == J_DONE || s_j == J_UNDONE || s_j == J_RESOLVED)
#define D_ENDED   (d_bereft || d_j == J_NONE || d_j == J_DONE || d_j == J_DROPPED || d_j == J_GONE)

active proctype Monitor()
{
end:	if
	:: atomic { TWO_RUN -> assert(false) } /* two run */
	:: atomic { NOTHING -> assert(false) } /* none, and no stopped copy either */
	fi
}

/* faults are bounded: then all comes to its end, and one copy runs */
ltl ends { <> [] (S_ENDED && D_ENDED && (ONE_RUNS || HOST_LOST)) }
