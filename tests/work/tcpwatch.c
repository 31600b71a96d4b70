// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tcpwatch.c - what a client's host sees of a server that moves: resets, and data that one
 * host has sent and the next one sends again, and how often one connection's packets came from
 * another host than before. What a host sends twice itself is counted, too:
 * a busy machine's kernel does so now and then. `tcpwatch PORT FILE`; the verdict is written
 * at SIGTERM.
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FLOWS_MAX  4096
#define HEAD_BYTES 128
#define TCP_FIN    0x01
#define TCP_SYN    0x02
#define TCP_RST    0x04

struct flow {
	uint16_t port; /* the client's */
	uint8_t mac[8]; /* of who sent data last */
	uint8_t speaker[8]; /* of who sent anything last */
	unsigned int turns; /* how often that was another one */
	uint32_t next; /* sequence number behind all data seen */
	bool fin;
	uint32_t before; /* as it was when the last move was seen */
};

static struct flow flows[FLOWS_MAX];
static size_t n_flows;
static unsigned long long packets, resets, late_resets, fins, again, again_bytes, resent, bytes,
        moves;
static unsigned int turns_max; /* more than there were moves: the wrong host spoke in between */
static volatile sig_atomic_t ended;

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static struct flow *flow_of(uint16_t port, uint32_t seq, const uint8_t *mac)
{
	for (size_t i = 0; i < n_flows; i++)
		if (flows[i].port == port)
			return &flows[i];
	if (n_flows == FLOWS_MAX) {
		fputs("tcpwatch: too many flows\n", stderr);
		exit(1);
	}
	flows[n_flows] = (struct flow){ .port = port, .next = seq, .before = seq };
	memcpy(flows[n_flows].mac, mac, 8);
	memcpy(flows[n_flows].speaker, mac, 8);
	return &flows[n_flows++];
}

/* @p holds the first bytes; they tell how long the packet is. */
static void look(const uint8_t *p, const uint8_t *mac, uint16_t port)
{
	bool v6 = p[0] >> 4 == 6;
	size_t head = v6 ? 40 : (size_t)(p[0] & 15) * 4;
	const uint8_t *t = p + head;
	size_t said = v6 ? (size_t)(p[4] << 8 | p[5]) + 40 : (size_t)(p[2] << 8 | p[3]);

	if ((v6 ? p[6] : p[9]) != IPPROTO_TCP || (t[0] << 8 | t[1]) != port)
		return;
	size_t data = said - head - (size_t)(t[12] >> 4) * 4;
	uint32_t seq = be32(t + 4);
	struct flow *f = flow_of((uint16_t)(t[2] << 8 | t[3]), seq, mac);

	packets++;
	if (memcmp(f->speaker, mac, 8)) {
		memcpy(f->speaker, mac, 8);
		if (++f->turns > turns_max)
			turns_max = f->turns;
	}
	if (t[13] & TCP_RST) {
		/*
		 * After its FIN a connection may be nobody's but the old host's kernel's
		 * (TIME_WAIT); what its peer says again then, the new host does not know.
		 */
		*(f->fin ? &late_resets : &resets) += 1;
		fprintf(stderr, "tcpwatch: reset of port %u at %u, flags %x, %s\n", f->port, seq,
		        t[13], f->fin ? "after its end" : "in mid-stream");
		return;
	}
	if (data && memcmp(f->mac, mac, 8)) {
		moves++;
		f->before = f->next;
		memcpy(f->mac, mac, 8);
	}
	if (t[13] & TCP_SYN) {
		f->next = f->before = seq + 1;
		return;
	}
	if (t[13] & TCP_FIN) {
		fins++;
		f->fin = true;
	}
	resent += data && (int32_t)(seq - f->next) < 0;
	if (data && (int32_t)(seq - f->before) < 0) {
		again++;
		again_bytes += data;
		fprintf(stderr, "tcpwatch: port %u: %zu bytes at %u, expected %u\n", f->port, data,
		        seq, f->before);
	}
	bytes += data;
	if (data && (int32_t)(seq + (uint32_t)data - f->next) > 0)
		f->next = seq + (uint32_t)data;
}

int main(int argc, char **argv)
{
	uint8_t p[HEAD_BYTES];
	/* at most HEAD_BYTES of each packet */
	struct sock_filter cut[] = { BPF_STMT(BPF_RET | BPF_K, HEAD_BYTES) };
	struct sock_fprog prog = { .len = 1, .filter = cut };
	struct sigaction sa = { .sa_handler = on_term };
	int room = 64 << 20, one = 1, fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));

	if (argc != 3 || fd < 0) {
		fputs("usage: tcpwatch PORT FILE (as root)\n", stderr);
		return 2;
	}
	uint16_t port = (uint16_t)atoi(argv[1]);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
	sigaction(SIGTERM, &sa, NULL);
	while (!ended) {
		struct sockaddr_ll from;
		socklen_t n = sizeof(from);
		ssize_t got = recvfrom(fd, p, sizeof(p), 0, (struct sockaddr *)&from, &n);

		if (got >= 40 && (from.sll_protocol == htons(ETH_P_IP) ||
		                  from.sll_protocol == htons(ETH_P_IPV6)))
			look(p, from.sll_addr, port);
	}
	struct tpacket_stats st = { 0 };
	socklen_t n = sizeof(st);

	getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &st, &n);
	FILE *f = fopen(argv[2], "w");

	if (!f)
		return 1;
	fprintf(f,
	        "{\"packets\": %llu, \"bytes\": %llu, \"flows\": %zu, \"resets\": %llu, "
	        "\"late_resets\": %llu, "
	        "\"fins\": %llu, \"again\": %llu, \"again_bytes\": %llu, \"resent\": %llu, "
	        "\"moves\": %llu, \"turns_max\": %u, "
	        "\"missed\": %u}\n",
	        packets, bytes, n_flows, resets, late_resets, fins, again, again_bytes, resent,
	        moves, turns_max, st.tp_drops);
	return fclose(f) != 0;
}
