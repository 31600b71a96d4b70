// SPDX-License-Identifier: GPL-2.0-or-later
/* t-crowd.c - who may stay when too many come that have not shown a key: rules, and floods played through. */
#include "agent/porter/crowd.h"

#include <string.h>

#include "tests/checks.h"

#define MAX      64
#define GRACE_US 1500000
#define STAY_US  10000000

static const struct crowd_limits limits = { .max = MAX, .grace_us = GRACE_US };
static struct crowd_one v[MAX];
static unsigned int n;
static uint64_t seed = 1;
static bool luck;
static unsigned int known = UINT32_MAX; /* an address */

static struct origin from(unsigned int i)
{
	struct origin o = { { 0 } };

	memcpy(o.bytes + 12, &i, sizeof(i));
	return o;
}

static unsigned int any(unsigned int below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned int)(seed >> 33) % below;
}

/* Return: its place; CROWD_FULL: refused */
static int come(unsigned int address, uint64_t now)
{
	struct crowd_one who = { from(address), now, address == known };
	int at = crowd_admit(v, n, &limits, &who, now, luck ? (uint16_t)any(65536) : 0);

	if (at == CROWD_FULL)
		return at;
	if (at == CROWD_ROOM)
		at = (int)n++;
	MUST(at >= 0 && at < MAX && n <= MAX);
	v[at] = who;
	return at;
}

static unsigned int has(unsigned int address)
{
	struct origin o = from(address);
	unsigned int c = 0;

	for (unsigned int i = 0; i < n; i++)
		c += !memcmp(&v[i].from, &o, sizeof(o));
	return c;
}

static void rules(void)
{
	checks_title = "rules";
	n = 0;
	for (unsigned int i = 0; i < MAX / 2; i++)
		CHECK(come(1, 1000 + i) == (int)i, "place %u", i);
	CHECK(come(1, 1000) == CROWD_FULL, "an address has more than half");
	CHECK(come(1, 1000 + GRACE_US) == 0, "the oldest of it stays after its time");
	for (unsigned int i = 0; i < MAX / 2; i++)
		CHECK(come(2, 5000) >= 0, "another address");
	CHECK(come(3, 5001) >= 0 && has(3) == 1 && has(1) + has(2) == MAX - 1,
	      "a third one must not wait: %u", has(3));
	CHECK(v[0].since_us == 1000 + GRACE_US, "not the oldest went");
	for (unsigned int i = 0; i < MAX; i++)
		v[i] = (struct crowd_one){ from(100 + i), 9000 + i, false };
	CHECK(come(3, 9100) == CROWD_FULL, "one of each address: none has more than the newcomer");
	CHECK(come(3, 9000 + GRACE_US) == 0, "the oldest after its time");
	known = 4;
	CHECK(come(4, 9100) == 1 && come(4, 9100) == 2, "a known address must wait");
	known = UINT32_MAX;
}

static void acquaintances(void)
{
	static struct crowd_known k;
	struct origin o = { { 0 } };

	checks_title = "acquaintances";
	CHECK(!crowd_knows(&k, &o), "the address of zeros is known");
	for (unsigned int i = 0; i < CROWD_KNOWN_MAX + 1; i++) {
		o = from(i);
		crowd_meet(&k, &o, 1000 + i);
		o = from(0);
		if (i < CROWD_KNOWN_MAX)
			crowd_meet(&k, &o, 1000 + i);
	}
	CHECK(crowd_knows(&k, &o), "one that came often is forgotten");
	o = from(1);
	CHECK(!crowd_knows(&k, &o), "one that came long ago is known");
	o = from(CROWD_KNOWN_MAX);
	CHECK(crowd_knows(&k, &o), "the last one is not known");
}

static void leave(uint64_t now)
{
	for (unsigned int i = n; i-- > 0;)
		if (now - v[i].since_us >= STAY_US)
			v[i] = v[--n];
}

/*
 * A flood of @rate a second from @addresses, all of which stay as long as they may. A peer comes from
 * address @own and tries again every 300 ms for 10 s, as haul does; it is in when it was let in and stayed
 * for 500 ms. Return: how many of 200 peers are
 */
static unsigned int flood(unsigned int rate, unsigned int addresses, unsigned int own, bool met)
{
	unsigned int in = 0;
	uint64_t now = 1, step = 1000000 / rate;

	n = 0;
	known = met ? own : UINT32_MAX;
	for (unsigned int peer = 0; peer < 200; peer++) {
		uint64_t begin = now, let_in = 0, next = now;

		for (; now < begin + 10000000; now += step) {
			leave(now);
			come(any(addresses), now);
			if (let_in && now >= let_in + 500000)
				break;
			if (now < next)
				continue;
			uint64_t then = now +
			                any((unsigned int)step); /* before the next of the flood */

			let_in = come(own, then) >= 0 ? then : 0;
			next = now + 250000 + any(100000);
			if (let_in)
				next = now + 10000000;
		}
		in += let_in != 0;
		/* it has its ticket, and leaves */
		for (unsigned int i = 0; i < n; i++)
			if (let_in && v[i].since_us == let_in) {
				v[i] = v[--n];
				break;
			}
		now += 100000;
	}
	return in;
}

static void floods(void)
{
	static const struct {
		unsigned int rate, addresses, own, least;
		bool met;
	} f[] = {
		{ 100, 1, 5000, 200, false }, /* one address, and not the peer's */
		{ 100, 5, 5000, 200, false },
		{ 1000, 5, 5000, 200, false },
		{ 100, 5, 0, 198, false }, /* the peer's is among them */
		{ 100, 1, 0, 195, false },
		{ 100, 200, 5000, 198, false }, /* more than there are places */
		{ 300, 60000, 60001, 190, false },
		{ 3000, 60000, 60001, 200, true }, /* a peer that was here before */
	};

	checks_title = "floods";
	luck = true;
	for (unsigned int i = 0; i < sizeof(f) / sizeof(f[0]); i++) {
		unsigned int in = flood(f[i].rate, f[i].addresses, f[i].own, f[i].met);

		printf("%4u a second from %5u addresses%s%s: %u of 200 peers come through\n",
		       f[i].rate, f[i].addresses,
		       f[i].own < f[i].addresses ? ", the peer's too" : "",
		       f[i].met ? ", the peer is known" : "", in);
		CHECK(in >= f[i].least, "%u of 200", in);
	}
}

int main(void)
{
	rules();
	acquaintances();
	floods();
	return checks_end();
}
