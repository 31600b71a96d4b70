// SPDX-License-Identifier: GPL-2.0-or-later
/* t-transport-duplex.c - both directions at once, deadlines, cancelling, ends, new keys. */
#include "transport-pair.h"

#include <sys/wait.h>

#define MESSAGE_MAX (600u << 10)
#define WRITERS     3
#define SOON_MS     8000

static uint64_t soon(void)
{
	return deadline_in_ms(SOON_MS);
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static uint32_t sum_of(const uint8_t *p, size_t n)
{
	uint32_t a = 1, b = 0;

	for (size_t i = 0; i < n; i++) {
		a += p[i];
		b += a;
	}
	return b ^ a << 16;
}

/* ---- messages from several writers to one reader ---- */

struct head {
	uint32_t writer, number, bytes, sum;
};

struct flow {
	struct chan *ch;
	uint32_t writer; /* index of this writer; for a reader, how many there are */
	uint32_t messages, message_max;
	pthread_t thread;
};

static void *write_flow(void *arg)
{
	struct flow *f = arg;
	uint32_t seed = f->writer * 7919 + 1;
	uint8_t *buf = malloc(f->message_max);
	struct err e = ERR_INIT;

	for (uint32_t i = 0; i < f->messages; i++) {
		struct head h = { .writer = f->writer,
			          .number = i,
			          .bytes = 1 + next_random(&seed) % f->message_max };
		size_t cut = h.bytes / 3;
		struct iovec iov[] = { { &h, sizeof(h) },
			               { buf, cut },
			               { buf + cut, h.bytes - cut } };

		for (uint32_t k = 0; k < h.bytes; k += 97)
			buf[k] = (uint8_t)next_random(&seed);
		h.sum = sum_of(buf, h.bytes);
		MUST_E(chan_write(f->ch, iov, 3, soon(), &e) == 0, e);
	}
	free(buf);
	return NULL;
}

static void *read_flow(void *arg)
{
	struct flow *f = arg;
	uint32_t next[WRITERS] = { 0 };
	uint8_t *buf = malloc(f->message_max);
	struct err e = ERR_INIT;

	for (uint32_t i = 0; i < f->writer * f->messages; i++) {
		struct head h;

		MUST_E(chan_read(f->ch, &h, sizeof(h), soon(), &e) == 0, e);
		MUST(h.writer < f->writer && h.bytes <= f->message_max);
		MUST(h.number == next[h.writer]++);
		MUST_E(chan_read(f->ch, buf, h.bytes, soon(), &e) == 0, e);
		MUST(sum_of(buf, h.bytes) == h.sum);
	}
	free(buf);
	return NULL;
}

static void both_ways(struct t_host *h, uint32_t messages, uint32_t message_max)
{
	struct chan *end[2];
	struct flow w[2][WRITERS], r[2];
	struct chan_stats a, b;

	t_pair(h, &end[0], &end[1]);
	for (int i = 0; i < 2; i++) {
		r[i] = (struct flow){ end[i], WRITERS, messages, message_max, 0 };
		MUST(pthread_create(&r[i].thread, NULL, read_flow, &r[i]) == 0);
		for (uint32_t k = 0; k < WRITERS; k++) {
			w[i][k] = (struct flow){ end[i], k, messages, message_max, 0 };
			MUST(pthread_create(&w[i][k].thread, NULL, write_flow, &w[i][k]) == 0);
		}
	}
	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < WRITERS; k++)
			pthread_join(w[i][k].thread, NULL);
		pthread_join(r[i].thread, NULL);
	}
	chan_get_stats(end[0], &a);
	chan_get_stats(end[1], &b);
	MUST(a.in_bytes == b.out_bytes && a.out_bytes == b.in_bytes && a.in_bytes);
	chan_free(end[0]);
	chan_free(end[1]);
}

/* ---- deadlines ---- */

static void read_deadline(struct t_host *h)
{
	struct chan *a, *b;
	struct err e = ERR_INIT;
	char got[8] = "";
	struct iovec half = { (char *)(uintptr_t) "abcd", 4 },
	             rest = { (char *)(uintptr_t) "efgh", 4 };

	t_pair(h, &a, &b);
	uint64_t t0 = now_us();

	MUST(chan_read(a, got, 8, deadline_in_ms(50), &e) == -ETIMEDOUT);
	MUST(now_us() - t0 >= 50000 && now_us() - t0 < 1000000);
	/* bytes from before the deadline are not lost */
	err_clear(&e);
	MUST(chan_write(b, &half, 1, soon(), &e) == 0);
	MUST(chan_read(a, got, 8, deadline_in_ms(50), &e) == -ETIMEDOUT);
	MUST(chan_read(a, got, 8, now_us() - 1, NULL) == -ETIMEDOUT);
	err_clear(&e);
	MUST(chan_write(b, &rest, 1, soon(), &e) == 0);
	MUST(chan_read(a, got, 8, soon(), &e) == 0 && !memcmp(got, "abcdefgh", 8));
	/* bytes that are here are given even when the deadline is over */
	MUST(chan_write(b, &rest, 1, soon(), &e) == 0);
	usleep(100000);
	MUST(chan_read(a, got, 4, 0, &e) == 0 && !memcmp(got, "efgh", 4));
	chan_free(a);
	chan_free(b);
}

/* Nobody reads: the writer comes back in time, and no later message follows half a one. */
static void write_deadline(struct t_host *h)
{
	struct chan *a, *b;
	struct err e = ERR_INIT;
	size_t bytes = 64u << 20;
	char *buf = calloc(1, bytes);
	struct iovec io = { buf, bytes }, small = { buf, 1 };

	t_pair(h, &a, &b);
	uint64_t t0 = now_us();

	MUST(chan_write(a, &io, 1, deadline_in_ms(300), &e) == -ETIMEDOUT);
	MUST(now_us() - t0 < 2000000);
	err_clear(&e);
	MUST(chan_write(a, &small, 1, soon(), &e) == -ECONNRESET);
	/* the other direction is as it was */
	err_clear(&e);
	MUST_E(chan_write(b, &small, 1, soon(), &e) == 0, e);
	MUST_E(chan_read(a, buf, 1, soon(), &e) == 0, e);
	chan_free(a);
	chan_free(b);
	free(buf);
}

static void *read_slowly(void *arg)
{
	size_t bytes = 1u << 20;
	char *buf = malloc(bytes);
	struct err e = ERR_INIT;

	for (int i = 0; i < 16; i++) {
		MUST_E(chan_read(arg, buf, bytes, soon(), &e) == 0, e);
		usleep(100000);
	}
	free(buf);
	return NULL;
}

/* A write that has no deadline takes as long as the peer takes bytes, and then the limit. */
static void write_silence(struct t_host *h)
{
	struct chan *a, *b;
	struct err e = ERR_INIT;
	size_t bytes = 16u << 20;
	char *buf = calloc(1, bytes);
	struct iovec io = { buf, bytes };
	pthread_t reader;

	t_pair(h, &a, &b);
	chan_silence(a, 400);
	uint64_t t0 = now_us();

	MUST(pthread_create(&reader, NULL, read_slowly, b) == 0);
	MUST_E(chan_write(a, &io, 1, DEADLINE_NEVER, &e) == 0, e);
	MUST(now_us() - t0 > 400000);
	pthread_join(reader, NULL);
	MUST(chan_unacked(a) == 0);
	t0 = now_us();
	MUST(chan_write(a, &io, 1, DEADLINE_NEVER, &e) == -ETIMEDOUT);
	MUST(now_us() - t0 >= 400000 && now_us() - t0 < 3000000);
	chan_free(a);
	chan_free(b);
	free(buf);
}

/* ---- cancel ---- */

struct call {
	struct chan *ch;
	bool write;
	int r;
	pthread_t thread;
};

static void *blocked_call(void *arg)
{
	struct call *c = arg;
	size_t bytes = 32u << 20;
	char *buf = calloc(1, bytes);
	struct iovec io = { buf, bytes };

	c->r = c->write ? chan_write(c->ch, &io, 1, DEADLINE_NEVER, NULL)
	                : chan_read(c->ch, buf, bytes, DEADLINE_NEVER, NULL);
	free(buf);
	return NULL;
}

static void cancel(struct t_host *h)
{
	struct chan *a, *b;
	struct call calls[3] = { { .write = false }, { .write = true }, { .write = true } };

	t_pair(h, &a, &b);
	for (int i = 0; i < 3; i++) {
		calls[i].ch = a;
		MUST(pthread_create(&calls[i].thread, NULL, blocked_call, &calls[i]) == 0);
	}
	usleep(200000);
	uint64_t t0 = now_us();

	chan_cancel(a);
	for (int i = 0; i < 3; i++) {
		pthread_join(calls[i].thread, NULL);
		MUST(calls[i].r == -ECANCELED);
	}
	MUST(now_us() - t0 < 1000000);
	MUST(chan_read(a, &t0, 1, soon(), NULL) == -ECANCELED);
	chan_free(a);
	chan_free(b);
}

/* ---- ends ---- */

/* The last bytes arrive although the writer leaves at once, with bytes unread. */
static void clean_end(struct t_host *h)
{
	struct chan *a, *b;
	struct flow r = { .writer = 1, .messages = 20, .message_max = MESSAGE_MAX };
	struct flow w = r;
	struct err e = ERR_INIT;
	char unread[100] = "", byte;
	struct iovec io = { unread, sizeof(unread) };

	t_pair(h, &a, &b);
	MUST_E(chan_write(b, &io, 1, soon(), &e) == 0, e);
	r.ch = b;
	w.ch = a;
	w.writer = 0;
	MUST(pthread_create(&r.thread, NULL, read_flow, &r) == 0);
	write_flow(&w);
	chan_free(a);
	pthread_join(r.thread, NULL);
	MUST_E(chan_read(b, &byte, 1, soon(), &e) == -EPIPE, e);
	chan_free(b);
}

/*
 * A process that connects when it is told a port, and then does nothing. It is made
 * before there is any thread, as a forked child has none.
 */
struct idle_peer {
	pid_t pid;
	int go; /* write end of a pipe */
};

static struct idle_peer idle_peer_fork(void)
{
	struct t_host h = { 0 };
	struct err e = ERR_INIT;
	struct chan *c;
	int go[2];

	MUST(pipe(go) == 0);
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &h.port, sizeof(h.port)) != sizeof(h.port))
			_exit(0);
		struct chan_target to = t_target(&h);

		MUST_E(chan_connect(&c, &to, &e) == 0, e);
		pause();
		_exit(0);
	}
	close(go[0]);
	return (struct idle_peer){ pid, go[1] };
}

/* It is killed while both directions are busy. */
static void killed_peer(struct t_host *h, struct idle_peer peer)
{
	struct call calls[2] = { { .write = false }, { .write = true } };

	t_accept(h);
	MUST(write(peer.go, &h->port, sizeof(h->port)) == sizeof(h->port));
	MUST_E(t_accepted(h) == 0, h->e);
	for (int i = 0; i < 2; i++) {
		calls[i].ch = h->ch;
		MUST(pthread_create(&calls[i].thread, NULL, blocked_call, &calls[i]) == 0);
	}
	usleep(100000);
	uint64_t t0 = now_us();

	kill(peer.pid, SIGKILL);
	MUST(waitpid(peer.pid, NULL, 0) == peer.pid);
	for (int i = 0; i < 2; i++) {
		pthread_join(calls[i].thread, NULL);
		MUST(calls[i].r == -ECONNRESET);
	}
	MUST(now_us() - t0 < 2000000);
	chan_free(h->ch);
	close(peer.go);
}

/* ---- who does not read can still write, and the other way round ---- */

static void one_side_deaf(struct t_host *h)
{
	struct chan *a, *b;
	struct call flood = { .write = true };
	struct flow r = { .writer = 1, .messages = 30, .message_max = MESSAGE_MAX };
	struct flow w = r;

	t_pair(h, &a, &b);
	flood.ch = b; /* to a, where nobody reads */
	MUST(pthread_create(&flood.thread, NULL, blocked_call, &flood) == 0);
	usleep(100000);
	r.ch = b;
	w.ch = a;
	w.writer = 0;
	MUST(pthread_create(&r.thread, NULL, read_flow, &r) == 0);
	write_flow(&w);
	pthread_join(r.thread, NULL);
	chan_cancel(b);
	pthread_join(flood.thread, NULL);
	MUST(flood.r == -ECANCELED);
	chan_free(a);
	chan_free(b);
}

/* ---- new keys ---- */

static void *read_once(void *arg)
{
	struct flow *f = arg;
	uint8_t *buf = malloc(f->message_max);
	struct err e = ERR_INIT;

	MUST_E(chan_read(f->ch, buf, f->message_max, soon(), &e) == 0, e);
	free(buf);
	return NULL;
}

/*
 * One side only writes and then does nothing: its last bytes may wait for an answer
 * that nobody but the keeper hears.
 */
static void rekey_then_silence(struct t_host *h)
{
	struct chan *a, *b;
	uint32_t bytes = 300u << 10;
	char *buf = calloc(1, bytes);
	struct iovec io = { buf, bytes };
	struct err e = ERR_INIT;

	t_pair(h, &a, &b);
	for (int i = 0; i < 30; i++) {
		struct flow r = { .ch = b, .message_max = bytes };

		MUST(pthread_create(&r.thread, NULL, read_once, &r) == 0);
		MUST_E(chan_write(a, &io, 1, soon(), &e) == 0, e);
		pthread_join(r.thread, NULL);
	}
	chan_free(a);
	chan_free(b);
	free(buf);
}

static void new_keys(struct t_host *h, const char *ciphers)
{
	tr_tuning = (struct tr_tuning){ .ciphers = ciphers, .rekey_bytes = 1u << 20 };
	struct t_host other;

	/* the server's list of ciphers is fixed when it is made */
	t_host_open(&other, "host_key");
	t_trust(&other);
	both_ways(&other, 20, MESSAGE_MAX);
	rekey_then_silence(&other);
	tr_tuning = (struct tr_tuning){ 0 };
	t_host_close(&other);
	(void)h;
}

static void say(const char *what)
{
	static uint64_t last;
	uint64_t now = now_us();

	if (last)
		printf("%5llu ms\n", (unsigned long long)(now - last) / 1000);
	printf("%-20s", what);
	fflush(stdout);
	last = now;
}

int main(void)
{
	char line[512];
	struct t_host h;

	t_begin();
	t_key("id", NULL, line, sizeof(line));
	t_write("authorized", 0600, line);
	struct idle_peer peer = idle_peer_fork();

	t_host_open(&h, "host_key");
	say("trust");
	t_trust(&h);
	say("killed peer");
	killed_peer(&h, peer);
	say("large messages");
	both_ways(&h, 40, MESSAGE_MAX);
	say("small messages");
	both_ways(&h, 500, 200);
	say("read deadline");
	read_deadline(&h);
	say("write deadline");
	write_deadline(&h);
	say("write silence");
	write_silence(&h);
	say("cancel");
	cancel(&h);
	say("clean end");
	for (int i = 0; i < 5; i++)
		clean_end(&h);
	say("one side deaf");
	one_side_deaf(&h);
	say("new keys, aes");
	new_keys(&h, "aes256-gcm@openssh.com");
	say("new keys, chacha");
	new_keys(&h, "chacha20-poly1305@openssh.com");
	say("end\n");
	t_host_close(&h);
	t_end();
	return 0;
}
