/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree.c - root, three children, three grandchildren; tokens, own memory, memory shared by COW. */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COW_PAGES    (4 * MIB_PAGES)
#define TURN_NAP_US  1000
#define SLICE_MS     100
#define ANSWER_LIMIT 600 /* slices */

static long mib = 4, rate = 500, stall_s = 60;
static const struct work_opt opts[] = {
	{ "--mib", "own memory of each process in MiB (4)", &mib, NULL, NULL },
	{ "--rate", "page writes per second and process (500)", &rate, NULL, NULL },
	{ "--tokens", "tokens in each ring, up to 64 (24)", &ring_tokens, NULL, NULL },
	{ "--stall-s", "no token that long is a fault (60)", &stall_s, NULL, NULL },
	{ 0 },
};

/* Commands of one byte: s(top), v(erify), g(o), p(ause), q(uit); each gets an answer. */
static struct wire {
	int command[2], answer[2];
} wires[NODES];

static unsigned me;
static pid_t pids[NODES]; /* of those that this process forked */
static struct ring_fds hops[NODES];
static struct area own, cow;
static struct rnd rnd;
static struct pace pace;

/* Every second page of the inherited area is written, the others stay shared. */
static void write_pages(void)
{
	unsigned due = pace_due(&pace);

	for (; due && work_may_write(); due--) {
		if (due % 4)
			area_write(&own, rnd_below(&rnd, own.pages));
		else
			area_write(&cow, rnd_below(&rnd, COW_PAGES / 2) * 2);
	}
}

static void turn(void)
{
	ring_turn(me);
	if (work_may_write()) {
		write_pages();
		parked_turn();
	}
}

static void verify_own(struct answer *a)
{
	memset(a, 0, sizeof(*a));
	area_verify(&own, &a->report);
	area_verify(&cow, &a->report);
	parked_verify(&a->report);
	ring_answer(a);
	a->report.ops = me ? work_ops() : 0;
	if (work_failed())
		rep_error(&a->report, "%s", work_reason());
}

/* Children that end while nobody asked them to are a fault. */
static void watch_children(void)
{
	int status;
	pid_t pid = waitpid(-1, &status, WNOHANG);

	if (pid > 0)
		work_fail("process %d ended with status %x", (int)pid, (unsigned)status);
}

static void wait_children(void)
{
	for (unsigned i = 1; i < NODES; i++) {
		while (pids[i] && waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
			;
	}
}

static bool read_full(int fd, void *buf, size_t bytes)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t got = 0;

	for (int n = 0; got < bytes && n < ANSWER_LIMIT;) {
		ssize_t len;

		if (poll(&p, 1, SLICE_MS) <= 0) {
			n++;
			continue;
		}
		len = read(fd, (char *)buf + got, bytes - got);
		if (len == 0 || (len < 0 && errno != EINTR && errno != EAGAIN))
			return false;
		got += len > 0 ? (size_t)len : 0;
	}
	return got == bytes;
}

/* A process below the root; ends when told to, or when the root is gone. */
static void run_node(void)
{
	struct pollfd p = { .fd = wires[me].command[0], .events = POLLIN };
	struct answer a;
	char command = 'g';

	while (command != 'q') {
		int n = poll(&p, 1, command == 'g' ? 0 : SLICE_MS);

		if (n > 0) {
			if (read(p.fd, &command, 1) != 1)
				return;
			memset(&a, 0, sizeof(a));
			if (command == 'v')
				verify_own(&a);
			if (write(wires[me].answer[1], &a, sizeof(a)) != (ssize_t)sizeof(a))
				return;
		} else if (command == 'g') {
			turn();
			work_nap_us(TURN_NAP_US);
		}
		watch_children();
	}
}

static void keep_wires(void)
{
	for (unsigned i = 1; i < NODES; i++) {
		close(wires[i].command[me ? 1 : 0]);
		close(wires[i].answer[me ? 0 : 1]);
		if (me && i != me) {
			close(wires[i].command[0]);
			close(wires[i].answer[1]);
		}
	}
}

static void set_up_node(void)
{
	size_t pages = (size_t)mib * MIB_PAGES;

	ring_keep(hops, me);
	keep_wires();
	parked_open(me);
	rnd.state = me;
	area_init(&own, work_map(pages), pages, me, (uint16_t)me);
	area_stamp_all(&own);
	cow.owner = (uint16_t)me;
	pace_init(&pace, rate);
}

/* Nodes 1, 3 and 5 are children, each forks the next number. */
static void fork_node(unsigned node)
{
	pid_t pid = fork();

	if (pid < 0)
		work_die("fork: %s", strerror(errno));
	if (pid) {
		pids[node] = pid;
		return;
	}
	memset(pids, 0, sizeof(pids));
	me = node;
	work_child();
	cow.owner = (uint16_t)me;
	for (size_t i = me; i < COW_PAGES; i += 16)
		area_write(&cow, i / 2 * 2);
	if (node % 2)
		fork_node(node + 1);
	set_up_node();
	run_node();
	wait_children();
	_exit(0);
}

static bool tell(unsigned node, char command, struct answer *a)
{
	return write(wires[node].command[1], &command, 1) == 1 &&
	       read_full(wires[node].answer[0], a, sizeof(*a));
}

static void tell_all(char command, struct answer answers[NODES], struct report *r)
{
	for (unsigned i = 1; i < NODES; i++) {
		if (!tell(i, command, &answers[i]))
			rep_error(r, "node %u does not answer '%c'", i, command);
	}
}

static void verify(struct report *r)
{
	static struct answer answers[NODES];
	char who[16];

	tell_all('s', answers, r);
	if (work_sabotage_due() == 5)
		places[0].sent++;
	else if (work_sabotage_due() == 6)
		parked_sabotage();
	else if (work_sabotage_due())
		area_sabotage(&cow, 1, work_sabotage_due());
	tell_all('v', answers, r);
	verify_own(&answers[0]);
	for (unsigned i = 0; i < NODES; i++) {
		snprintf(who, sizeof(who), "node %u", i);
		rep_merge(r, &answers[i].report, who);
	}
	ring_compare(answers, r);
	tell_all(work_may_write() ? 'g' : 'p', answers, r);
	pace.last_us = work_now_us();
}

/* Pauses and resumes the others; notices when no token comes any more. */
static void watch(void)
{
	static struct answer answers[NODES];
	static bool going = true;
	static uint64_t seen;
	static long idle_turns;
	struct report r = { 0 };

	watch_children();
	idle_turns = seen == places[0].received + places[1].received ? idle_turns + 1 : 0;
	seen = places[0].received + places[1].received;
	if (going != work_may_write()) {
		going = work_may_write();
		tell_all(going ? 'g' : 'p', answers, &r);
	}
	if (going && idle_turns > stall_s * 1000)
		work_fail("no token came for %ld turns", idle_turns);
}

int main(int argc, char **argv)
{
	struct answer answers[NODES];
	struct report r = { 0 };

	work_start(argc, argv, opts);
	if (mib < 1 || ring_tokens < 2 || ring_tokens > TOKENS_MAX)
		work_die("an option is out of range");
	area_init(&cow, work_map(COW_PAGES), COW_PAGES, 100, 0);
	area_stamp_all(&cow);
	ring_open(hops);
	for (unsigned i = 1; i < NODES; i++) {
		if (pipe2(wires[i].command, O_NONBLOCK) || pipe2(wires[i].answer, O_NONBLOCK))
			work_die("pipe: %s", strerror(errno));
	}
	for (unsigned i = 1; i < NODES; i += 2)
		fork_node(i);
	set_up_node();
	ring_inject();
	work_ready();
	while (work_poll(verify)) {
		turn();
		watch();
		work_nap_us(TURN_NAP_US);
	}
	tell_all('q', answers, &r);
	wait_children();
	return 0;
}
