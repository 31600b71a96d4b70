// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-parked.c - any bytes as a parked packet of the other host: none is taken that is not
 * TCP of a flow that moves, and what is taken can be looked at again, and summed. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */
#include "engine/net/park.c" /* NOLINT: what sums and looks is static */

#include "replay.h"

static struct net_flow flow(int family, uint8_t last, uint16_t port, uint16_t remote_port)
{
	struct net_flow f = { .local_port = port,
		              .remote_port = remote_port,
		              .listens = remote_port == 0 };

	f.local.family = family;
	f.local.b[0] = family == AF_INET ? 10 : 0xfd;
	f.local.b[family == AF_INET ? 3 : 15] = last;
	if (remote_port) {
		f.remote = f.local;
		f.remote.b[1] = 9;
	}
	return f;
}

static struct net_park *set_up(void)
{
	struct net_park *p = calloc(1, sizeof(*p));

	if (!p || !(p->flows = calloc(4, sizeof(*p->flows))))
		abort();
	p->tap[0] = p->tap[1] = p->raw[0] = p->raw[1] = -1;
	p->flows[0] = flow(AF_INET, 1, 80, 0);
	p->flows[1] = flow(AF_INET6, 1, 80, 0);
	p->flows[2] = flow(AF_INET, 1, 80, 5000);
	p->flows[3] = flow(AF_INET6, 1, 80, 5000);
	p->n = 4;
	qsort(p->flows, p->n, sizeof(*p->flows), by_ends);
	p->n_listen = 2;
	return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	static struct net_park *park;
	static uint8_t copy[PACKET_BYTES];
	struct seen s;

	if (!park)
		park = set_up();
	if (net_park_push(park, p, bytes) == 0) {
		size_t n;
		const uint8_t *in = net_park_packet(park, 0, &n);

		if (n != bytes || memcmp(in, p, n) || !look(in, n, &s) || s.dst_port != 80 ||
		    p[p[0] >> 4 == 4 ? PROTOCOL_AT4 : PROTOCOL_AT6] != IPPROTO_TCP)
			abort();
		memcpy(copy, in, n);
		set_sum(copy, n, &s);
		free(park->kept[0].data);
		park->n_kept = park->kept_bytes = 0;
		tdestroy(park->segments, free);
		park->segments = NULL;
	}
	/* as net_park_pull() does with what the tap gives, which is not empty */
	if (bytes >= IP6_BYTES && bytes <= PACKET_BYTES) {
		size_t n = true_bytes(p, bytes);

		if (n > bytes)
			abort();
		if (look(p, n, &s)) {
			memcpy(copy, p, n);
			set_sum(copy, n, &s);
		}
	}
	return 0;
}
