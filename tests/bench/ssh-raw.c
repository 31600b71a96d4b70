// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ssh-raw.c - how fast libssh alone moves bytes over loopback, and how fast a channel
 * does: one connection, sender and receiver in two processes.
 *
 * ssh-raw [MiB [write KiB [repeats]]]
 */
#include "transport/msg/frame.h"
#include "transport/priv.h"
#include "tests/transport-gate.h"

#include <arpa/inet.h>
#include <libssh/server.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/clock.h"

#define LIMIT_MS    120000
#define REPEATS_MAX 15

static const char *dir;
static size_t total_bytes = (size_t)1024 << 20, write_bytes = 512u << 10;

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "ssh-raw: %s%s%s\n", what, e ? ": " : "", e ? e->msg : "");
	exit(1);
}

static int listen_any(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		die("listen", NULL);
	*port = ntohs(a.sin_port);
	return fd;
}

static const char *in_dir(const char *name)
{
	static char path[4][256];
	static int i;

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

static void make_keys(void)
{
	ssh_key key = NULL;
	char *pub = NULL;

	if (ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) != SSH_OK ||
	    ssh_pki_export_privkey_file(key, NULL, NULL, NULL, in_dir("id")) != SSH_OK ||
	    ssh_pki_export_pubkey_base64(key, &pub) != SSH_OK)
		die("keys", NULL);
	FILE *f = fopen(in_dir("authorized"), "we");

	if (!f || fprintf(f, "ssh-ed25519 %s bench\n", pub) < 0 || fclose(f))
		die("authorized keys", NULL);
	ssh_string_free_char(pub);
	ssh_key_free(key);
}

/* ---- libssh alone: blocking sessions, its own socket calls, large buffers ---- */

static int raw_auth(ssh_session s, const char *user, struct ssh_key_struct *key, char state,
                    void *arg)
{
	(void)s, (void)user, (void)key, (void)state, (void)arg;
	return SSH_AUTH_SUCCESS;
}

static int raw_subsystem(ssh_session s, ssh_channel ch, const char *name, void *arg)
{
	(void)s, (void)ch, (void)name;
	*(bool *)arg = true;
	return 0;
}

static bool raw_ready;
static ssh_channel raw_channel;
static struct ssh_channel_callbacks_struct raw_on_channel = {
	.userdata = &raw_ready, .channel_subsystem_request_function = raw_subsystem
};

static ssh_channel raw_open(ssh_session s, void *arg)
{
	(void)arg;
	raw_channel = ssh_channel_new(s);
	ssh_set_channel_callbacks(raw_channel, &raw_on_channel);
	return raw_channel;
}

static void raw_receive(int listener)
{
	struct ssh_server_callbacks_struct cb = {
		.auth_pubkey_function = raw_auth, .channel_open_request_session_function = raw_open
	};
	ssh_bind bind = ssh_bind_new();
	ssh_session s = ssh_new();
	ssh_event ev = ssh_event_new();
	char *buf = malloc(write_bytes);
	bool no = false;

	ssh_callbacks_init(&cb);
	ssh_callbacks_init(&raw_on_channel);
	ssh_bind_options_set(bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
	ssh_bind_options_set(bind, SSH_BIND_OPTIONS_HOSTKEY, in_dir("host_key"));
	ssh_bind_options_set(bind, SSH_BIND_OPTIONS_CIPHERS_C_S, session_ciphers());
	ssh_bind_options_set(bind, SSH_BIND_OPTIONS_CIPHERS_S_C, session_ciphers());
	int fd = accept(listener, NULL, NULL);

	tcp_tune(fd);
	if (ssh_bind_accept_fd(bind, s, fd) != SSH_OK)
		die("raw accept", NULL);
	ssh_set_server_callbacks(s, &cb);
	ssh_set_auth_methods(s, SSH_AUTH_METHOD_PUBLICKEY);
	if (ssh_handle_key_exchange(s) != SSH_OK)
		die("raw key exchange", NULL);
	ssh_event_add_session(ev, s);
	while (!raw_ready)
		if (ssh_event_dopoll(ev, LIMIT_MS) == SSH_ERROR)
			die("raw login", NULL);
	for (size_t got = 0; got < total_bytes;) {
		int n = ssh_channel_read(raw_channel, buf, (uint32_t)write_bytes, 0);

		if (n <= 0)
			die("raw read", NULL);
		got += (size_t)n;
	}
	if (ssh_channel_write(raw_channel, "k", 1) != 1)
		die("raw answer", NULL);
	ssh_blocking_flush(s, LIMIT_MS);
	_exit(0);
}

static double raw_send(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		                 .sin_port = htons(port),
		                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	ssh_session s = ssh_new();
	ssh_key key = NULL;
	char *buf = malloc(write_bytes), answer;
	bool no = false;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(buf, 0x5a, write_bytes);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("raw connect", NULL);
	tcp_tune(fd);
	ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no);
	ssh_options_set(s, SSH_OPTIONS_HOST, "127.0.0.1");
	ssh_options_set(s, SSH_OPTIONS_FD, &fd);
	ssh_options_set(s, SSH_OPTIONS_USER, "bench");
	ssh_options_set(s, SSH_OPTIONS_CIPHERS_C_S, session_ciphers());
	ssh_options_set(s, SSH_OPTIONS_CIPHERS_S_C, session_ciphers());
	ssh_pki_import_privkey_file(in_dir("id"), NULL, NULL, NULL, &key);
	if (ssh_connect(s) != SSH_OK || ssh_userauth_publickey(s, NULL, key) != SSH_AUTH_SUCCESS)
		die("raw login", NULL);
	ssh_channel ch = ssh_channel_new(s);

	if (ssh_channel_open_session(ch) != SSH_OK ||
	    ssh_channel_request_subsystem(ch, TR_SUBSYSTEM) != SSH_OK)
		die("raw channel", NULL);
	uint64_t t0 = now_us();

	for (size_t left = total_bytes; left;) {
		uint32_t m = (uint32_t)(left < write_bytes ? left : write_bytes);
		int n = ssh_channel_write(ch, buf, m);

		if (n <= 0)
			die("raw write", NULL);
		left -= (size_t)n;
	}
	if (ssh_channel_read(ch, &answer, 1, 0) != 1)
		die("raw end", NULL);
	double us = (double)(now_us() - t0);

	ssh_free(s);
	ssh_key_free(key);
	free(buf);
	return (double)total_bytes / us;
}

/* ---- the same through chan_write() and chan_read() ---- */

static void chan_receive(int listener)
{
	AUTO(chan_server) struct chan_server *srv = NULL;
	AUTO(chan) struct chan *c = NULL;
	struct t_gate gate = { 0 };
	struct err e = ERR_INIT;
	struct iovec ok = { &gate, 1 };
	char *buf = malloc(write_bytes);
	uint64_t route;

	if (chan_server_new(&srv, in_dir("host_key"), in_dir("authorized"), &e) < 0 ||
	    t_gate_open(&gate, srv, &e) < 0 ||
	    t_gate_accept(&gate, listener, LIMIT_MS, &c, &route, &e) < 0)
		die("accept", &e);
	for (size_t left = total_bytes; left;) {
		size_t m = left < write_bytes ? left : write_bytes;

		if (chan_read(c, buf, m, deadline_in_ms(LIMIT_MS), &e) < 0)
			die("read", &e);
		left -= m;
	}
	if (chan_write(c, &ok, 1, deadline_in_ms(LIMIT_MS), &e) < 0)
		die("answer", &e);
	_exit(0);
}

/* As frame_send() does it: a small head, then pages one by one. */
static double chan_send(uint16_t port)
{
	struct chan_target to = { .host = "127.0.0.1",
		                  .port = port,
		                  .identity = in_dir("id"),
		                  .known_hosts = in_dir("known_hosts"),
		                  .connect_ms = 5000 };
	AUTO(chan) struct chan *c = NULL;
	struct err e = ERR_INIT;
	size_t pages = write_bytes / PAGE_BYTES;
	struct iovec *iov = calloc(pages, sizeof(*iov));
	char *buf = malloc(write_bytes), answer;

	memset(buf, 0x5a, write_bytes);
	for (size_t i = 0; i < pages; i++)
		iov[i] = (struct iovec){ buf + i * PAGE_BYTES, PAGE_BYTES };
	if (chan_connect(&c, &to, &e) < 0)
		die("connect", &e);
	uint64_t t0 = now_us();

	for (size_t left = total_bytes; left; left -= write_bytes)
		if (chan_write(c, iov, (int)pages, deadline_in_ms(LIMIT_MS), &e) < 0)
			die("write", &e);
	if (chan_read(c, &answer, 1, deadline_in_ms(LIMIT_MS), &e) < 0)
		die("end", &e);
	double us = (double)(now_us() - t0);

	free(iov);
	free(buf);
	return (double)total_bytes / us;
}

/* Trust has to be stored once for each port, as a host key is known by host and port. */
static void trust(uint16_t port, int listener)
{
	struct chan_target to = { .host = "127.0.0.1",
		                  .port = port,
		                  .known_hosts = in_dir("known_hosts"),
		                  .connect_ms = 5000 };
	struct err e = ERR_INIT;
	char print[128];
	int known;
	pid_t pid = fork();

	if (pid == 0) {
		struct chan_server *srv = NULL;
		struct t_gate gate = { 0 };
		struct chan *c = NULL;
		uint64_t route;

		if (chan_server_new(&srv, in_dir("host_key"), in_dir("authorized"), &e) < 0 ||
		    t_gate_open(&gate, srv, &e) < 0)
			die("server", &e);
		for (int i = 0; i < 2; i++) /* it hangs up when it has the greeting */
			t_gate_accept(&gate, listener, 5000, &c, &route, &e);
		_exit(0);
	}
	if (trust_fetch(&to, print, sizeof(print), &known, &e) < 0 ||
	    trust_store(&to, print, &e) < 0)
		die("trust", &e);
	waitpid(pid, NULL, 0);
}

/* Each end on a processor of its own, or the scheduler is what is measured. */
static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static double cpu_s(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
	       (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

struct result {
	double rate, send_cpu, recv_cpu; /* MB/s; s per GB */
};

static struct result once(bool raw)
{
	struct rusage before, after, child;
	double gb = (double)total_bytes / 1e9;
	uint16_t port;
	int listener = listen_any(&port), status;

	trust(port, listener);
	pid_t pid = fork();

	if (pid == 0) {
		stay_on(1);
		raw ? raw_receive(listener) : chan_receive(listener);
		_exit(1);
	}
	getrusage(RUSAGE_SELF, &before);
	double rate = raw ? raw_send(port) : chan_send(port);

	getrusage(RUSAGE_SELF, &after);
	if (wait4(pid, &status, 0, &child) < 0 || status)
		die("receiver failed", NULL);
	close(listener);
	return (struct result){ rate, (cpu_s(&after) - cpu_s(&before)) / gb, cpu_s(&child) / gb };
}

static int by_rate(const void *a, const void *b)
{
	double x = ((const struct result *)a)->rate, y = ((const struct result *)b)->rate;

	return (x > y) - (x < y);
}

static void print(const char *what, const struct result *r)
{
	printf("  %-8s %6.0f MB/s   CPU s/GB: sender %.2f receiver %.2f\n", what, r->rate,
	       r->send_cpu, r->recv_cpu);
}

/* In turns, so that whatever else the machine does falls on both. */
static void compare(const char *ciphers, int repeats)
{
	struct result raw[REPEATS_MAX], chan[REPEATS_MAX];
	int middle = repeats / 2;

	tr_tuning.ciphers = ciphers;
	for (int i = 0; i < repeats; i++) {
		raw[i] = once(true);
		chan[i] = once(false);
	}
	qsort(raw, (size_t)repeats, sizeof(*raw), by_rate);
	qsort(chan, (size_t)repeats, sizeof(*chan), by_rate);
	printf("%s: ratio %.2f (best %.2f)\n", ciphers, chan[middle].rate / raw[middle].rate,
	       chan[repeats - 1].rate / raw[repeats - 1].rate);
	print("libssh", &raw[middle]);
	print("channel", &chan[middle]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char tmp[] = "/tmp/haul-ssh-raw-XXXXXX";
	static const char *const names[] = { "id", "authorized", "host_key", "known_hosts" };
	int repeats = argc > 3 ? atoi(argv[3]) : 3;

	if (argc > 1)
		total_bytes = (size_t)atol(argv[1]) << 20;
	if (argc > 2)
		write_bytes = (size_t)atol(argv[2]) << 10;
	if (repeats < 1 || repeats > REPEATS_MAX || write_bytes < PAGE_BYTES || total_bytes == 0 ||
	    total_bytes % write_bytes)
		die("usage: ssh-raw [MiB [write KiB [repeats]]]", NULL);
	signal(SIGPIPE, SIG_IGN);
	dir = mkdtemp(tmp);
	if (!dir)
		die("mkdtemp", NULL);
	stay_on(0);
	make_keys();
	compare("aes256-gcm@openssh.com", repeats);
	compare("aes128-gcm@openssh.com", repeats);
	compare("chacha20-poly1305@openssh.com", repeats);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(in_dir(names[i]));
	return rmdir(dir) < 0;
}
