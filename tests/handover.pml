/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * handover.pml - docs/HANDOVER.md as a model: both sides' states, messages and
 * journals; programs that die at any step and are started again, connections that
 * break with or without what was on its way.
 *
 * A step of the model is what a crash cannot divide: one record, one message,
 * one act on a tree. tests/t-handover-model.sh checks it, exhaustively, and breaks it
 * on purpose (-DBREAK_x); tests/t-handover-tables.sh compares the edges (S_GO, D_GO)
 * with docs/HANDOVER.md and, through that, with the tables in the code.
 *
 * -DS_CRASHES= -DD_CRASHES= -DCUTS= bound the faults; -DHOSTS lets hosts restart, too,
 * -DWIPED lets the destination's journal vanish.
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
	DRAINED, ABORT, BYE };
mtype:outcome = { O_NONE, O_UNDONE, O_RUNNING, O_DONE, O_LOST, O_ENDED, O_UNKNOWN, O_REBOOTED };
/* records; J_REMOVED: the file is gone, as nobody will ask any more */
mtype:jrn = { J_NONE, J_FREEZE, J_COMMIT, J_GATE, J_DONE, J_UNDONE, J_LOST, J_ENDED, J_REMOVED };
/* HELD by CRIU's ptrace; OPENING: CRIU was told yes and has not said that it runs */
mtype:tree = { T_RUN, T_HELD, T_STOPPED, T_GATE, T_OPENING, T_NONE };
mtype:st = { S_new, S_connect, S_negotiate, S_prepare, S_rounds, S_freeze, S_send,
	S_restore, S_commit, S_post_copy, S_relink, S_done, S_undo, S_undone, S_lost,
	D_answer, D_hello, D_offer, D_start, D_rounds, D_gate, D_running, D_done, D_undone,
	D_lost, D_ended };

/* ---- what outlives our programs: journals, and trees that stay as they are ---- */
mtype:jrn s_j = J_NONE, d_j = J_NONE;
mtype:tree s_tree = T_RUN, d_tree = T_NONE;
bool d_missing; /* pages are still only at the source */
bool d_ran; /* history: an instruction may have run at the destination */
/* a signal, SIGKILL: reached the stopped copy before S looked for the last time; and that it looked */
bool signalled, killed, looked;
bool given; /* who has started it (haul run, systemd) was told that its end at S is no end */
bool away; /* the same, in a place that a restart of the host leaves alone */
bool caller_killed; /* haul run was killed: at S the program is to end, too */
bool here; /* who has started it has started another one at S */
bool told; /* the operator at the source knows that nothing lives at the destination */
bool s_rebooted, d_rebooted, d_wiped;
bool nobody_asks; /* D has heard ABORT: its journal goes with it */
bool d_new_boot; /* not the boot id that was in the first HELLO */

/* ---- what a crash loses ---- */
mtype:st s_state = S_new, d_state = D_hello;
byte s_pc, d_pc; /* steps within a state */
bool s_up = true, d_up;
bool d_criu = true; /* alive, while it holds the gate */

/* ---- connections ---- */
chan to_d = [2] of { mtype:msg };
chan to_s = [2] of { mtype:msg };
bool link; /* control, later the one that takes its place */
bool asked; /* HELLO {resume} is on its way or there */
mtype:outcome outcome = O_NONE; /* OUTCOME is on its way or there */

/* ---- faults left ---- */
byte s_crashes = S_CRASHES, d_crashes = D_CRASHES, cuts = CUTS;

#define S_GO(a, b) assert(s_state == a); s_state = b; s_pc = 0
#define D_GO(a, b) assert(d_state == a); d_state = b; d_pc = 0
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
inline drain(ch) { do :: len(ch) > 0 -> ch ? x :: else -> break od }
inline cut() { link = false; lose(to_d); lose(to_s) }

/* The end of one side: what it would have read is gone, what it said may arrive. */
inline s_hangs_up() { if :: link -> link = false; lose(to_d) :: else fi; drain(to_s) }
inline d_hangs_up() { if :: link -> link = false; lose(to_s) :: else fi; drain(to_d) }
inline s_ends() { s_up = false; s_state = S_new; s_pc = 0; asked = false; outcome = O_NONE;
	s_hangs_up() }
inline d_ends() { d_up = false; d_state = D_hello; d_pc = 0; d_hangs_up() }

inline say_d(m) { if :: link -> to_d ! m :: else fi }
inline say_s(m) { if :: link -> to_s ! m :: else fi }
#define S_LOSS (!link && len(to_s) == 0)
#define D_LOSS (!link && len(to_d) == 0)

/* The only place where haul resumes a tree here by itself. A signal that waits is delivered. */
inline run_here()
{
	if
	:: s_tree == T_HELD || s_tree == T_STOPPED -> assert(!d_ran); given = false; away = false;
		signalled = false;
		if :: caller_killed -> s_tree = T_NONE; killed = true :: else -> s_tree = T_RUN fi
	:: else
	fi
}

active proctype Source()
{
	mtype:msg x, y;

end:	do
	/* -- a new migration, or haul recover -- */
	:: atomic { S_IS(S_new) && s_j == J_NONE && s_tree == T_RUN && d_j == J_NONE && !d_up ->
		S_GO(S_new, S_connect); link = true; d_up = true; to_d ! HELLO }
	:: atomic { S_IS(S_new) && (s_j == J_FREEZE || s_j == J_UNDONE) && s_pc == 0 ->
		run_here(); s_pc = 1 }
	:: atomic { S_IS(S_new) && (s_j == J_FREEZE || s_j == J_UNDONE) && s_pc == 1 ->
		s_j = J_REMOVED; s_ends() }
	:: atomic { S_IS(S_new) && s_j == J_COMMIT && s_tree == T_NONE -> s_j = J_REMOVED; s_ends() }
	:: atomic { S_IS(S_new) && s_j == J_COMMIT && s_tree != T_NONE -> S_GO(S_new, S_relink) }

	/* -- up to the stop -- */
	:: atomic { S_IS(S_connect) && to_s ? [HELLO] -> to_s ? HELLO;
		S_GO(S_connect, S_negotiate); say_d(OFFER) }
	:: atomic { S_IS(S_negotiate) && to_s ? [ANSWER] -> to_s ? ANSWER;
		S_GO(S_negotiate, S_prepare); say_d(START) }
	:: atomic { S_IS(S_prepare) && to_s ? [STARTED] -> to_s ? STARTED;
		S_GO(S_prepare, S_rounds) }
	:: atomic { S_IS(S_rounds) && link -> S_GO(S_rounds, S_freeze) }
	:: atomic { S_IS(S_freeze) && s_pc == 0 -> s_j = J_FREEZE; s_pc = 1 }
	:: atomic { S_IS(S_freeze) && s_pc == 1 -> s_tree = T_HELD; s_pc = 2 }
	:: atomic { S_IS(S_freeze) && s_pc == 2 -> s_tree = T_STOPPED; S_GO(S_freeze, S_send) }
	:: atomic { S_IS(S_send) -> S_GO(S_send, S_restore); say_d(SWITCH) }
	:: atomic { S_IS(S_restore) && to_s ? [RESTORED] -> to_s ? RESTORED;
		S_GO(S_restore, S_commit) }

	/* -- undone: lost connection, ABORT, Ctrl-C, deadline; one that is not waited for
	      is the same as any other -- */
	:: atomic { S_IS(S_connect) -> S_GO(S_connect, S_undo) }
	:: atomic { S_IS(S_negotiate) -> S_GO(S_negotiate, S_undo) }
	:: atomic { S_IS(S_prepare) -> S_GO(S_prepare, S_undo) }
	:: atomic { S_IS(S_rounds) -> S_GO(S_rounds, S_undo) }
	:: atomic { S_IS(S_freeze) -> S_GO(S_freeze, S_undo) }
	:: atomic { S_IS(S_send) -> S_GO(S_send, S_undo) }
	:: atomic { S_IS(S_restore) -> S_GO(S_restore, S_undo) }
	:: atomic { S_IS(S_undo) && s_pc == 0 ->
#ifndef BREAK_UNDO_UNRECORDED
		if :: s_j == J_COMMIT -> s_j = J_UNDONE :: else fi;
#endif
		s_pc = 1 }
	:: atomic { S_IS(S_undo) && s_pc == 1 -> run_here(); s_pc = 2 }
	:: atomic { S_IS(S_undo) && s_pc == 2 -> say_d(ABORT); s_pc = 3 }
	:: atomic { S_IS(S_undo) && s_pc == 3 -> S_GO(S_undo, S_undone) }
	:: atomic { S_IS(S_undone) -> if :: s_j != J_NONE -> s_j = J_REMOVED :: else fi; s_ends() }

	/* -- the point of no return -- */
#ifndef BREAK_COMMIT_BEFORE_RECORD
	:: atomic { S_IS(S_commit) && s_pc == 0 -> s_j = J_COMMIT; s_pc = 5 }
#ifndef BREAK_NOT_GIVEN
	:: atomic { S_IS(S_commit) && s_pc == 5 && !killed -> given = true; s_pc = 1;
#ifndef BREAK_MARK_LATE
		away = true
#endif
	}
	:: atomic { S_IS(S_commit) && s_pc == 5 && killed -> S_GO(S_commit, S_undo) }
#else
	:: atomic { S_IS(S_commit) && s_pc == 5 -> s_pc = 1 }
#endif
	/* signals.c: the last look; what comes later is for a copy that was handed over */
#ifndef BREAK_SIGNALS_UNSEEN
	:: atomic { S_IS(S_commit) && s_pc == 1 && (signalled || killed) -> S_GO(S_commit, S_undo) }
	:: atomic { S_IS(S_commit) && s_pc == 1 && !signalled && !killed -> looked = true; s_pc = 4 }
#else
	:: atomic { S_IS(S_commit) && s_pc == 1 -> looked = true; s_pc = 4 }
#endif
	:: atomic { S_IS(S_commit) && s_pc == 4 -> say_d(COMMIT); s_pc = 2 }
#else
	:: atomic { S_IS(S_commit) && s_pc == 0 && (signalled || killed) -> S_GO(S_commit, S_undo) }
	:: atomic { S_IS(S_commit) && s_pc == 0 && !signalled && !killed -> looked = true; s_pc = 4 }
	:: atomic { S_IS(S_commit) && s_pc == 4 -> given = true; away = true; say_d(COMMIT); s_pc = 1 }
	:: atomic { S_IS(S_commit) && s_pc == 1 -> s_j = J_COMMIT; s_pc = 2 }
#endif
#ifndef BREAK_COMMIT_BEFORE_RECORD
	/* Ctrl-C, or no journal: COMMIT is not sent */
	:: atomic { S_IS(S_commit) && (s_pc < 2 || s_pc >= 4) -> S_GO(S_commit, S_undo) }
#endif
	:: atomic { S_IS(S_commit) && s_pc == 2 && to_s ? [RUNNING] -> to_s ? RUNNING;
		S_GO(S_commit, S_post_copy) }
#ifndef BREAK_SILENCE_MEANS_NO
	/* lost, ABORT, or silent for too long: then it is we who close it */
	:: atomic { S_IS(S_commit) && s_pc == 2 -> S_GO(S_commit, S_relink) }
#else
	:: atomic { S_IS(S_commit) && s_pc == 2 && S_LOSS -> S_GO(S_commit, S_undo) }
#endif

	/* -- relink: only the destination knows -- */
	:: atomic { S_IS(S_relink) && !asked && outcome == O_NONE -> s_hangs_up(); asked = true }
	:: atomic { S_IS(S_relink) && outcome == O_RUNNING -> outcome = O_NONE;
		S_GO(S_relink, S_post_copy) }
	:: atomic { S_IS(S_relink) && outcome == O_DONE && s_pc == 0 -> s_tree = T_NONE; s_pc = 1 }
	:: atomic { S_IS(S_relink) && s_pc == 1 -> outcome = O_NONE; S_GO(S_relink, S_done) }
	:: atomic { S_IS(S_relink) && outcome == O_UNDONE -> outcome = O_NONE;
		S_GO(S_relink, S_undo) }
	:: atomic { S_IS(S_relink) && (outcome == O_LOST || outcome == O_ENDED || outcome == O_REBOOTED) ->
		outcome = O_NONE; told = true; S_GO(S_relink, S_lost) }
	:: atomic { S_IS(S_relink) && outcome == O_UNKNOWN -> outcome = O_NONE;
		assert(d_wiped); S_GO(S_relink, S_lost) }
	:: atomic { S_IS(S_lost) -> s_ends() } /* the journal stays */

	/* -- it runs there -- */
#ifdef BREAK_KILL_AT_RUNNING
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && !d_missing -> s_tree = T_NONE }
#endif
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && d_missing && link && D_IS(D_running) &&
		s_tree == T_STOPPED -> d_missing = false }
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && to_s ? [DRAINED] -> to_s ? DRAINED; s_pc = 1 }
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && to_s ? [RUNNING] -> to_s ? RUNNING }
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && to_s ? [ABORT] -> to_s ? ABORT;
		S_GO(S_post_copy, S_lost) }
	:: atomic { S_IS(S_post_copy) && s_pc == 0 && S_LOSS -> S_GO(S_post_copy, S_relink) }
	:: atomic { S_IS(S_post_copy) && s_pc == 1 -> s_tree = T_NONE; s_pc = 2 }
	:: atomic { S_IS(S_post_copy) && s_pc == 2 -> say_d(BYE); S_GO(S_post_copy, S_done) }
#ifdef BREAK_MARK_LATE
	:: atomic { S_IS(S_done) -> s_j = J_REMOVED; away = true; s_ends() }
#else
	:: atomic { S_IS(S_done) -> s_j = J_REMOVED; s_ends() }
#endif
	od
}

/* Before COMMIT is read, whatever ends the conversation undoes. */
#define D_LETS_GO (D_LOSS || to_d ? [ABORT] || to_d ? [BYE])

active proctype Worker()
{
	mtype:msg x, y;

end:	do
	:: atomic { D_IS(D_hello) && to_d ? [HELLO] -> to_d ? HELLO;
		D_GO(D_hello, D_offer); d_new_boot = false; say_s(HELLO) }
	:: atomic { D_IS(D_offer) && to_d ? [OFFER] -> to_d ? OFFER;
		D_GO(D_offer, D_start); say_s(ANSWER) }
	:: atomic { D_IS(D_start) && to_d ? [START] -> to_d ? START;
		D_GO(D_start, D_rounds); say_s(STARTED) }
	:: atomic { D_IS(D_rounds) && d_pc == 0 && to_d ? [SWITCH] -> to_d ? SWITCH;
		d_tree = T_GATE; d_criu = true; d_pc = 1;
		if :: d_missing = true :: d_missing = false fi }
	:: atomic { D_IS(D_rounds) && d_pc == 1 -> d_j = J_GATE; d_pc = 2 }
	:: atomic { D_IS(D_rounds) && d_pc == 2 -> say_s(RESTORED); D_GO(D_rounds, D_gate) }

	/* -- the point of no return -- */
	:: atomic { D_IS(D_gate) && d_pc == 0 && to_d ? [COMMIT] -> to_d ? COMMIT;
#ifndef BREAK_OPEN_BEFORE_RECORD
		d_j = J_COMMIT;
#endif
		d_pc = 1 }
	:: atomic { D_IS(D_gate) && d_pc == 1 && d_criu -> d_tree = T_OPENING;
		D_GO(D_gate, D_running); d_pc = 1 }
	/* CRIU was dead before it was told: nothing has run */
#ifndef BREAK_RUNNING_UNSEEN
	:: atomic { D_IS(D_gate) && d_pc == 1 && !d_criu -> D_GO(D_gate, D_undone) }
#else
	:: atomic { D_IS(D_gate) && d_pc == 1 && !d_criu -> say_s(RUNNING); d_pc = 9 }
	:: atomic { D_IS(D_gate) && d_pc == 9 && !d_missing -> D_GO(D_gate, D_running); d_pc = 3 }
#endif
	:: atomic { D_IS(D_running) && d_pc == 1 && d_tree == T_RUN -> say_s(RUNNING); d_pc = 2 }

	/* -- a guardian has taken the worker's place, which had set out to open the gate, or not -- */
	:: atomic { D_IS(D_gate) && d_pc == 5 -> D_GO(D_gate, D_undone) }
	:: atomic { D_IS(D_gate) && d_pc == 5 && d_criu -> d_tree = T_OPENING;
		D_GO(D_gate, D_running); d_pc = 1 }
#ifndef BREAK_SUCCESSOR_BLIND
	:: atomic { D_IS(D_gate) && d_pc == 5 && !d_criu -> d_tree = T_NONE;
		D_GO(D_gate, D_running); d_pc = 7 }
#else
	:: atomic { D_IS(D_gate) && d_pc == 5 && !d_criu && !d_missing ->
		D_GO(D_gate, D_running); d_pc = 3 }
#endif
	:: atomic { D_IS(D_running) && d_pc == 5 && d_tree == T_OPENING -> d_pc = 1 }
	:: atomic { D_IS(D_running) && d_pc == 5 && (d_tree == T_RUN || d_tree == T_NONE) -> d_pc = 2 }

	/* -- until every page is in place -- */
	:: atomic { D_IS(D_running) && d_pc == 2 && d_tree == T_RUN && !d_missing -> d_pc = 3 }
#ifndef BREAK_DRAINED_BEFORE_DONE
	:: atomic { D_IS(D_running) && d_pc == 3 -> d_j = J_DONE; d_pc = 4 }
	:: atomic { D_IS(D_running) && d_pc == 4 -> say_s(DRAINED); D_GO(D_running, D_done) }
#else
	:: atomic { D_IS(D_running) && d_pc == 3 -> say_s(DRAINED); d_pc = 4 }
	:: atomic { D_IS(D_running) && d_pc == 4 -> d_j = J_DONE; D_GO(D_running, D_done) }
#endif
	:: atomic { D_IS(D_done) && D_LOSS && !asked -> d_ends() }
	:: atomic { D_IS(D_done) && to_d ? [BYE] -> d_ends(); d_j = J_NONE }

	/* -- CRIU dies while it opens the gate, or pager and guardian die under a living worker -- */
	:: atomic { D_IS(D_running) && (d_pc == 1 || d_pc == 2) && d_tree == T_NONE -> d_pc = 7 }
	:: atomic { D_IS(D_running) && d_pc == 7 -> d_j = J_LOST; d_pc = 8 }
	:: atomic { D_IS(D_running) && d_pc == 8 -> D_GO(D_running, D_lost); say_s(ABORT); d_ends() }

	/* -- the tree has ended by itself while pages were missing: not done -- */
#ifndef BREAK_ENDED_IS_DONE
	:: atomic { D_IS(D_running) && d_pc == 10 -> d_j = J_ENDED; d_pc = 11 }
	:: atomic { D_IS(D_running) && d_pc == 11 -> D_GO(D_running, D_ended); say_s(ABORT); d_ends() }
#else
	:: atomic { D_IS(D_running) && d_pc == 10 -> d_pc = 3 }
#endif

	/* -- undone: killed first, then on record, then said -- */
	:: atomic { D_IS(D_hello) && D_LETS_GO -> D_GO(D_hello, D_undone) }
	:: atomic { D_IS(D_offer) && D_LETS_GO -> D_GO(D_offer, D_undone) }
	:: atomic { D_IS(D_start) && D_LETS_GO -> D_GO(D_start, D_undone) }
	:: atomic { D_IS(D_rounds) && D_LETS_GO -> D_GO(D_rounds, D_undone) }
	:: atomic { D_IS(D_rounds) && d_pc == 1 -> D_GO(D_rounds, D_undone) } /* CRIU refuses */
	:: atomic { D_IS(D_gate) && d_pc == 0 -> D_GO(D_gate, D_undone) } /* deadline; any loss */
	:: atomic { D_IS(D_gate) && d_pc == 0 && to_d ? [ABORT] -> to_d ? ABORT; nobody_asks = true;
		D_GO(D_gate, D_undone) }
	:: atomic { D_IS(D_undone) && d_pc == 0 -> d_tree = T_NONE; d_pc = 1 }
	:: atomic { D_IS(D_undone) && d_pc == 1 ->
		if :: d_j != J_NONE -> d_j = J_UNDONE :: else fi; d_pc = 2 }
	:: atomic { D_IS(D_undone) && d_pc == 2 -> say_s(ABORT); d_ends();
		if :: nobody_asks -> d_j = J_NONE :: else fi }

	/* -- no worker any more (agent/worker/answer.c): it owns the journal while it decides -- */
#ifndef BREAK_NO_ANSWER
	:: atomic { !d_up && asked && (d_j == J_GATE || d_j == J_COMMIT) ->
		d_up = true; d_state = D_answer; d_pc = 0 }
#endif
	:: atomic { D_IS(D_answer) && d_pc == 0 -> d_tree = T_NONE; d_pc = 1 }
	:: atomic { D_IS(D_answer) && d_pc == 1 ->
		if :: d_j == J_GATE -> d_j = J_UNDONE :: else -> d_j = J_LOST fi; d_ends() }
	od
}

/* CRIU at the destination: told yes, it lets the tree run whoever lives. */
active proctype Criu()
{
end:	do
	:: atomic { d_tree == T_OPENING -> d_tree = T_RUN; d_ran = true }
	od
}

/* HELLO {resume}: to the worker if there is one, else to the journal. */
active proctype Agent()
{
	mtype:msg x, y;

end:	do
	/* the worker: the old connection ends, before COMMIT that means ABORT */
	:: atomic { asked && d_up && (d_state == D_gate || d_state == D_rounds) && (link || len(to_d) > 0) ->
		d_hangs_up() }
	:: atomic { asked && D_IS(D_running) && d_pc == 2 -> asked = false; outcome = O_RUNNING;
		drain(to_d); drain(to_s); link = true }
	:: atomic { asked && D_IS(D_done) -> asked = false; outcome = O_DONE }
	:: atomic { asked && d_j == J_DONE && !d_up -> asked = false; outcome = O_DONE }
	:: atomic { asked && d_j == J_UNDONE -> asked = false; outcome = O_UNDONE }
	:: atomic { asked && d_j == J_LOST -> asked = false; outcome = O_LOST }
	:: atomic { asked && d_j == J_ENDED -> asked = false; outcome = O_ENDED }
	:: atomic { asked && d_j == J_NONE && !d_up -> asked = false;
		if :: d_new_boot -> outcome = O_REBOOTED :: else -> outcome = O_UNKNOWN fi }
#ifdef BREAK_ANSWER_WITHOUT_LOCK
	:: atomic { asked && d_j == J_GATE -> asked = false; outcome = O_UNDONE }
#endif
	od
}

/* haul recover, by hand or at the agent's start; haul resolve, once he was told. */
active proctype Operator()
{
end:	do
	:: atomic { !s_up && (s_j == J_FREEZE || s_j == J_COMMIT || s_j == J_UNDONE) && !told &&
		!d_wiped -> s_up = true }
	:: atomic { !s_up && s_j == J_COMMIT && told -> /* --keep-here */
		assert(d_tree != T_RUN && d_tree != T_OPENING);
		if :: s_tree == T_STOPPED && caller_killed -> s_tree = T_NONE; killed = true
		:: s_tree == T_STOPPED && !caller_killed -> s_tree = T_RUN; signalled = false; given = false; away = false
		:: else fi;
		s_j = J_REMOVED }
	od
}

/* Who has started it, on either host: starts, stops and kills at any moment. */
active proctype Supervisor()
{
end:	do
	/* Restart=, a timer, a packet's script, the next boot; it knows of no program that runs here */
	:: atomic { s_tree == T_NONE && !given && !away && !here -> here = true }
	/* it kills what it has started: haul run, which takes the program along unless it is given */
	:: atomic { s_tree == T_STOPPED && !caller_killed -> caller_killed = true;
		if :: !given -> killed = true; s_tree = T_NONE :: else fi }
	/* at the destination it stops what is arriving: CRIU and the tree are in its cgroup */
	:: atomic { d_crashes > 0 && d_up && d_tree == T_GATE && d_criu -> d_crashes--; d_criu = false; d_tree = T_NONE }
	/* and ends what has arrived; with pages missing see Faults */
	:: atomic { d_crashes > 0 && D_IS(D_running) && d_pc == 2 && d_tree == T_RUN && !d_missing ->
		d_crashes--; d_tree = T_NONE; killed = true; d_pc = 3 }
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
		:: d_tree == T_RUN && d_j != J_DONE -> d_tree = T_NONE /* and all guardians: hauld kills it */
		:: d_tree == T_RUN
		:: d_tree == T_NONE
		fi }
	/* after the commit a guardian takes its place */
	:: atomic { d_crashes > 0 && d_j == J_COMMIT && (D_IS(D_gate) || D_IS(D_running)) ->
		d_crashes--; d_hangs_up(); d_pc = 5;
		if :: d_tree == T_GATE -> d_state = D_gate :: else -> d_state = D_running fi }
	:: atomic { d_crashes > 0 && d_up && d_tree == T_GATE && d_criu -> d_crashes--; d_criu = false }
	:: atomic { d_crashes > 0 && D_IS(D_running) && (d_pc == 1 || d_pc == 2) &&
		(d_tree == T_RUN || d_tree == T_OPENING) -> d_crashes--; d_tree = T_NONE }
	/* another process sends a signal to the stopped copy, or kills it */
	:: atomic { s_tree == T_STOPPED && !looked && !signalled -> signalled = true }
	:: atomic { s_tree == T_STOPPED && !looked && !killed -> killed = true; s_tree = T_NONE }
	/* killed, out of memory, a bug of its own: while pages are missing, that is an end of another kind */
	:: atomic { d_crashes > 0 && D_IS(D_running) && d_pc == 2 && d_tree == T_RUN && d_missing ->
		d_crashes--; d_tree = T_NONE; d_pc = 10 }
	:: atomic { cuts > 0 && link -> cuts--; cut() }
	:: atomic { cuts > 0 && asked -> cuts--; asked = false }
	:: atomic { cuts > 0 && outcome != O_NONE && s_pc == 0 -> cuts--; outcome = O_NONE;
		if :: link -> cut() :: else fi }
#ifdef HOSTS
	/* journals are in /run: they go with the trees that they tell of */
	:: atomic { !s_rebooted -> s_rebooted = true; s_ends(); s_tree = T_NONE; s_j = J_REMOVED; given = false }
	:: atomic { !d_rebooted -> d_rebooted = true; d_new_boot = true; d_ends();
		d_tree = T_NONE; d_j = J_NONE }
#endif
#ifdef WIPED
	:: atomic { !d_wiped && !d_up -> d_wiped = true; d_j = J_NONE }
#endif
	od
}

/* ---- what is claimed ---- */
#define ONE_RUNS  ((s_tree == T_RUN) != (d_tree == T_RUN))
#define TWO_RUN   (s_tree == T_RUN && (d_tree == T_RUN || d_tree == T_OPENING))
#define HOST_LOST (s_rebooted || d_rebooted)
#define NOTHING   (s_tree == T_NONE && d_tree != T_RUN && !HOST_LOST && !killed)
/* a signal must be delivered here, and a program that was killed here must not live there */
#define UNHEARD   ((signalled || killed) && (d_tree == T_RUN || d_tree == T_OPENING))
#define IS_DEAD   (killed && s_tree == T_NONE && d_tree != T_RUN && d_tree != T_OPENING)
/* the supervisor has seen an end that is none, and has started another one; it may have been before the gate opened */
#define SECOND    (here && (d_tree == T_RUN || d_tree == T_OPENING))
/* a source that has rebooted cannot come back with the pages: the destination's operator */
#define ENDED     ((s_j == J_NONE || s_j == J_REMOVED) && (ONE_RUNS || HOST_LOST || IS_DEAD))

active proctype Monitor()
{
end:	if
	:: atomic { TWO_RUN -> assert(false) } /* two run */
	:: atomic { NOTHING -> assert(false) } /* none, and no stopped copy either */
	:: atomic { SECOND -> assert(false) } /* a second copy is started */
	:: atomic { UNHEARD -> assert(false) } /* a signal is lost, or a killed program lives on */
	fi
}

/* faults are bounded: then all comes to its end, and one copy runs */
ltl ends { <> [] ENDED }
