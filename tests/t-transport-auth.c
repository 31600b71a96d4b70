// SPDX-License-Identifier: GPL-2.0-or-later
/* t-transport-auth.c - who is let in, who is trusted, and how refusals read. */
#include "transport-pair.h"

#include "transport/msg/haul.pb-c.h"
#include "transport/msg/wire.h"

static char id_line[512], other_line[512];

static int fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int connect_to(const struct chan_target *to, struct chan **out, struct err *e)
{
	err_clear(e);
	return chan_connect(out, to, e);
}

static void preamble(void)
{
	uint8_t b[PREAMBLE_BYTES];
	struct preamble in = { .wants = PREAMBLE_ENTER, .route = 0x0123456789abcdefULL }, out;
	struct err e = ERR_INIT;

	memset(in.ticket, 1, sizeof(in.ticket));
	memset(in.proof, 2, sizeof(in.proof));
	preamble_put(b, &in);
	MUST(preamble_get(b, &out, &e) == 0 && !memcmp(&in, &out, sizeof(in)));
	MUST(b[8] == 0x01 && b[15] == 0xef && b[31] == 1 && b[32] == 2);
	for (int i = 0; i < 8; i++) {
		preamble_put(b, &in);
		b[i] ^= 0x20;
		err_clear(&e);
		MUST(preamble_get(b, &out, &e) == -EPROTO && e.msg[0]);
	}
}

static void greeting(void)
{
	static const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES] = { 7 };
	uint8_t b[PREAMBLE_GREETING_MAX];
	enum preamble_says says;
	struct err e = ERR_INIT;
	unsigned int value;

	MUST(preamble_greet(b, challenge, "a key") == PREAMBLE_HEAD_BYTES + sizeof(challenge) + 5);
	MUST(preamble_head(b, &says, &value, &e) == 0 && says == PREAMBLE_GREETING && value == 5);
	b[6] = 0xff; /* a key that is too long */
	MUST(preamble_head(b, &says, &value, &e) == -EPROTO);
	preamble_refuse(b, PREAMBLE_NO_TICKET);
	err_clear(&e);
	MUST(preamble_head(b, &says, &value, &e) == 0 && says == PREAMBLE_REFUSAL &&
	     value == PREAMBLE_NO_TICKET);
	err_clear(&e);
	MUST(preamble_head((const uint8_t *)"SSH-2.0-", &says, &value, &e) == -EPROTO);
}

/* A ticket is good for its gate, its challenge, its preamble, and as long as its key is on the list. */
static void tickets(struct t_host *h)
{
	uint8_t challenge[PREAMBLE_CHALLENGE_BYTES] = { 1 }, b[PREAMBLE_BYTES];
	struct preamble p = { .wants = PREAMBLE_ENTER, .route = 9 };
	char print[KEY_PRINT_BYTES];
	struct err e = ERR_INIT;
	struct gate other;
	struct ticket t;
	ssh_key key = NULL;

	MUST(ssh_pki_import_privkey_file(t_path("id"), NULL, NULL, NULL, &key) == SSH_OK);
	MUST(key_print(key, print, sizeof(print)) == 0);
	ssh_key_free(key);
	MUST(gate_open(&other, h->server, &e) == 0);
	MUST(!gate_issue(&h->gate.gate, "SHA256:none", &t));
	MUST(gate_issue(&h->gate.gate, print, &t));
	memcpy(p.ticket, t.id, sizeof(p.ticket));
	preamble_put(b, &p);
	MUST(!gate_admits(&h->gate.gate, challenge, b));
	MUST(gate_prove(&t, challenge, b, &e) == 0 && gate_admits(&h->gate.gate, challenge, b));
	MUST(!gate_admits(&other, challenge, b));
	for (size_t i = 0; i < sizeof(b); i++) {
		b[i] ^= 1;
		MUST(!gate_admits(&h->gate.gate, challenge, b));
		b[i] ^= 1;
	}
	challenge[3] = 1;
	MUST(!gate_admits(&h->gate.gate, challenge, b));
	challenge[3] = 0;
	t_write("authorized", 0600, other_line);
	MUST(!gate_admits(&h->gate.gate, challenge, b));
	t_write("authorized", 0600, id_line);
	MUST(gate_admits(&h->gate.gate, challenge, b));
	/* one that has ended: its first bytes say when */
	memset(t.id, 0, 4);
	memcpy(p.ticket, t.id, sizeof(p.ticket));
	preamble_put(b, &p);
	MUST(gate_prove(&t, challenge, b, &e) == 0 && !gate_admits(&h->gate.gate, challenge, b));
}

/* Unknown host, then trusted; the same key, then the wrong fingerprint. */
static void trust_flow(struct t_host *h)
{
	struct chan_target to = t_target(h);
	char print[128], shown[128];
	struct err e = ERR_INIT;
	struct chan *c = NULL;
	int known = -1;

	t_accept(h);
	MUST(connect_to(&to, &c, &e) == -EKEYREJECTED);
	MUST_E(strstr(e.fix, "haul trust --port"), e);
	MUST(t_accepted(h) < 0);

	err_clear(&e);
	t_accept(h);
	MUST_E(trust_fetch(&to, print, sizeof(print), &known, &e) == 0 && known == 0, e);
	t_accepted(h);
	MUST(chan_server_fingerprint(h->server, shown, sizeof(shown), &e) == 0);
	MUST(!strcmp(print, shown) && !strncmp(print, "SHA256:", 7));

	t_accept(h);
	MUST(trust_store(&to, "SHA256:something-else", &e) == -EKEYREJECTED);
	t_accepted(h);
	MUST(access(t_path("known_hosts"), F_OK) < 0);

	err_clear(&e);
	t_accept(h);
	MUST_E(trust_store(&to, print, &e) == 0, e);
	t_accepted(h);
	t_accept(h);
	MUST_E(trust_fetch(&to, print, sizeof(print), &known, &e) == 0 && known == 1, e);
	t_accepted(h);
}

static void right_key(struct t_host *h)
{
	struct chan_target to = t_target(h);
	struct err e = ERR_INIT;
	struct chan *c = NULL;
	Haul__Msg m = HAUL__MSG__INIT, *got = NULL;
	Haul__Ping ping = HAUL__PING__INIT;
	struct chan_stats st;

	to.route = 77;
	t_accept(h);
	MUST_E(connect_to(&to, &c, &e) == 0, e);
	MUST_E(t_accepted(h) == 0, h->e);
	MUST(h->route == 77);
	MUST(!strncmp(chan_peer(h->ch), "SHA256:", 7) && strstr(chan_peer(h->ch), " id"));
	MUST(!strncmp(chan_peer(c), "127.0.0.1 port ", 15));
	ping.cookie = 4711;
	m.body_case = HAUL__MSG__BODY_PING;
	m.ping = &ping;
	MUST_E(wire_send(c, &m, deadline_in_ms(1000), &e) == 0, e);
	MUST_E(wire_recv(h->ch, &got, deadline_in_ms(1000), &e) == 0, e);
	MUST(got->body_case == HAUL__MSG__BODY_PING && got->ping->cookie == 4711);
	haul__msg__free_unpacked(got, NULL);
	chan_get_stats(c, &st);
	MUST(st.out_bytes > 4 && st.in_bytes == 0);
	chan_free(c);
	MUST(wire_recv(h->ch, &got, deadline_in_ms(1000), &e) == -EPIPE);
	chan_free(h->ch);
}

static void refused(struct t_host *h, const char *identity)
{
	struct chan_target to = t_target(h);
	struct err e = ERR_INIT;
	struct chan *c = NULL;

	to.identity = t_path(identity);
	t_accept(h);
	MUST(connect_to(&to, &c, &e) == -EACCES);
	MUST_E(strstr(e.fix, "authorized_keys"), e);
	MUST(t_accepted(h) < 0);
}

static void accepted(struct t_host *h, const char *identity)
{
	struct chan_target to = t_target(h);
	struct err e = ERR_INIT;
	struct chan *c = NULL;

	to.identity = t_path(identity);
	t_accept(h);
	MUST_E(connect_to(&to, &c, &e) == 0, e);
	MUST(t_accepted(h) == 0);
	chan_free(c);
	chan_free(h->ch);
}

/* The list is read anew each time; what it cannot mean lets nobody in. */
static void lists(struct t_host *h)
{
	char text[2048];

	refused(h, "other");
	snprintf(text, sizeof(text), "# %s\nno-pty,command=\"x\" %s\n\n%s", other_line, other_line,
	         id_line);
	t_write("authorized", 0600, text);
	refused(h, "other");
	accepted(h, "id");
	snprintf(text, sizeof(text), "%s\n%s", id_line, other_line);
	t_write("authorized", 0600, text);
	accepted(h, "other");
	t_write("authorized", 0666, text);
	refused(h, "other");
	unlink(t_path("authorized"));
	refused(h, "id");
	t_write("authorized", 0600, id_line);
	accepted(h, "id");
}

static void odd_identities(struct t_host *h)
{
	struct chan_target to = t_target(h);
	struct err e = ERR_INIT;
	struct chan *c = NULL;

	to.identity = t_path("locked");
	t_accept(h);
	MUST(connect_to(&to, &c, &e) == -EINVAL);
	MUST_E(strstr(e.msg, "passphrase") && e.fix[0], e);
	t_accepted(h);
	to.identity = t_path("authorized");
	t_accept(h);
	MUST(connect_to(&to, &c, &e) == -EINVAL);
	t_accepted(h);
	to.identity = t_path("not-there");
	t_accept(h);
	MUST(connect_to(&to, &c, &e) == -ENOENT);
	t_accepted(h);
}

/* Another host key on a port that is known. */
static void changed_host_key(struct t_host *h)
{
	struct chan_target to = t_target(h);
	struct chan_server *old = h->server;
	struct err e = ERR_INIT;
	struct chan *c = NULL;
	char print[128];
	int known;

	MUST(chan_server_new(&h->server, t_path("host_key2"), t_path("authorized"), &e) == 0);
	MUST(t_gate_open(&h->gate, h->server, &e) == 0);
	t_accept(h);
	MUST(connect_to(&to, &c, &e) == -EKEYREJECTED);
	MUST_E(strstr(e.msg, "HAS CHANGED") && strstr(e.fix, "known_hosts"), e);
	t_accepted(h);
	t_accept(h);
	err_clear(&e);
	MUST(trust_fetch(&to, print, sizeof(print), &known, &e) == 0 && known == 2);
	t_accepted(h);
	t_accept(h);
	MUST(trust_store(&to, print, &e) == -EEXIST && e.fix[0]);
	t_accepted(h);
	chan_server_free(h->server);
	h->server = old;
	MUST(t_gate_open(&h->gate, old, &e) == 0);
}

static void host_key_file(void)
{
	struct chan_server *s = NULL;
	struct err e = ERR_INIT;
	struct stat st;

	MUST(stat(t_path("host_key"), &st) == 0 && (st.st_mode & 0777) == 0600);
	MUST(chmod(t_path("host_key2"), 0644) == 0);
	MUST(chan_server_new(&s, t_path("host_key2"), t_path("authorized"), &e) == -EPERM);
	MUST_E(strstr(e.fix, "chmod 600"), e);
	err_clear(&e);
	MUST(chan_server_new(&s, "/proc/no/such/folder", t_path("authorized"), &e) < 0 && e.fix[0]);
}

/* A raw TCP client that says what it likes after the preamble. */
static int raw_client(const struct t_host *h, const char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		                 .sin_port = htons(h->port),
		                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct preamble p = { .wants = PREAMBLE_LOGIN };
	uint8_t hello[PREAMBLE_GREETING_MAX];
	enum preamble_says says;
	struct err e = ERR_INIT;
	unsigned int bytes;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	MUST(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	MUST(recv(fd, hello, PREAMBLE_HEAD_BYTES, MSG_WAITALL) == PREAMBLE_HEAD_BYTES);
	MUST_E(preamble_head(hello, &says, &bytes, &e) == 0 && says == PREAMBLE_GREETING, e);
	bytes += PREAMBLE_CHALLENGE_BYTES;
	MUST(recv(fd, hello, bytes, MSG_WAITALL) == (ssize_t)bytes);
	preamble_put(hello, &p);
	MUST(send(fd, hello, PREAMBLE_BYTES, 0) == PREAMBLE_BYTES);
	MUST(send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0);
	return fd;
}

static void odd_clients(struct t_host *h)
{
	static const char *const says[] = { "", "GET / HTTP/1.0\r\n\r\n", "SSH-2.0-x\r\n",
		                            "SSH-2.0-x\r\n\377\377\377\377garbage and more of it" };
	uint64_t t0 = now_us();

	h->limit_ms = 300;
	for (size_t i = 0; i < ARRAY_SIZE(says); i++) {
		t_accept(h);
		int fd = raw_client(h, says[i]);

		MUST(t_accepted(h) < 0 && h->e.msg[0]);
		if (i == 0)
			MUST(h->r == -ETIMEDOUT);
		close(fd);
	}
	/* one that goes on and on */
	t_accept(h);
	int fd = raw_client(h, "SSH-2.0-x\r\n");

	for (int i = 0; i < 100 && send(fd, "\0\0\4\0", 4, MSG_NOSIGNAL) == 4; i++)
		usleep(5000);
	MUST(t_accepted(h) < 0);
	close(fd);
	MUST(now_us() - t0 < 4000000);
	h->limit_ms = CONNECT_MS;
}

static ssh_session raw_session(const struct t_host *h)
{
	ssh_session s = ssh_new();
	int fd = raw_client(h, "");
	bool no = false;

	MUST(ssh_options_set(s, SSH_OPTIONS_PROCESS_CONFIG, &no) == 0);
	MUST(ssh_options_set(s, SSH_OPTIONS_HOST, "127.0.0.1") == 0);
	MUST(ssh_options_set(s, SSH_OPTIONS_USER, "x") == 0);
	MUST(ssh_options_set(s, SSH_OPTIONS_FD, &fd) == 0);
	MUST(ssh_connect(s) == SSH_OK);
	return s;
}

static void many_keys(struct t_host *h)
{
	int tries = 0, r = SSH_AUTH_DENIED;

	t_accept(h);
	ssh_session s = raw_session(h);

	for (; tries < 50 && r == SSH_AUTH_DENIED; tries++) {
		ssh_key key = NULL;

		MUST(ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) == SSH_OK);
		r = ssh_userauth_publickey(s, NULL, key);
		ssh_key_free(key);
	}
	MUST(r != SSH_AUTH_SUCCESS && tries < 50);
	MUST(t_accepted(h) == -EACCES);
	ssh_free(s);
}

/* Passwords, other subsystems, shells, forwarding: nothing but what we need. */
static void other_wishes(struct t_host *h)
{
	ssh_key key = NULL;

	h->limit_ms = 800;
	t_accept(h);
	ssh_session s = raw_session(h);

	MUST(ssh_userauth_none(s, NULL) != SSH_AUTH_SUCCESS);
	MUST(ssh_userauth_password(s, NULL, "") != SSH_AUTH_SUCCESS);
	MUST(ssh_pki_import_privkey_file(t_path("id"), NULL, NULL, NULL, &key) == SSH_OK);
	MUST(ssh_userauth_publickey(s, NULL, key) == SSH_AUTH_SUCCESS);
	ssh_channel forward = ssh_channel_new(s), session = ssh_channel_new(s);

	MUST(ssh_channel_open_forward(forward, "127.0.0.1", 1, "127.0.0.1", 2) != SSH_OK);
	MUST(ssh_channel_listen_forward(s, NULL, 0, NULL) != SSH_OK);
	MUST(ssh_channel_open_session(session) == SSH_OK);
	MUST(ssh_channel_request_shell(session) != SSH_OK);
	MUST(ssh_channel_request_exec(session, "id") != SSH_OK);
	MUST(ssh_channel_request_subsystem(session, "sftp") != SSH_OK);
	MUST(t_accepted(h) == -ETIMEDOUT);
	ssh_free(s);
	ssh_key_free(key);
	h->limit_ms = CONNECT_MS;
}

/* Hosts that are not there, or are something else. */
static void odd_hosts(const struct t_host *h)
{
	struct chan_target to = t_target(h);
	struct err e = ERR_INIT;
	struct chan *c = NULL;
	uint64_t t0 = now_us();

	to.connect_ms = 300;
	int fd = t_listen(&to.port); /* the kernel accepts, nobody answers */

	MUST(connect_to(&to, &c, &e) == -ETIMEDOUT);
	MUST_E(e.fix[0], e);
	close(fd);
	MUST(connect_to(&to, &c, &e) == -ECONNREFUSED);
	MUST_E(strstr(e.fix, "hauld"), e);
	to.host = "no.such.host.invalid";
	int r = connect_to(&to, &c, &e);

	MUST_E((r == -EHOSTUNREACH || r == -ETIMEDOUT) && e.fix[0], e);
	MUST(now_us() - t0 < 2000000);
}

int main(void)
{
	char line[512];
	struct t_host h;

	t_begin();
	preamble();
	greeting();
	t_key("id", NULL, id_line, sizeof(id_line));
	t_key("other", NULL, other_line, sizeof(other_line));
	t_key("locked", "secret", line, sizeof(line));
	t_write("authorized", 0600, id_line);
	t_host_open(&h, "host_key");
	int fds = fds_open();

	tickets(&h);
	trust_flow(&h);
	right_key(&h);
	lists(&h);
	odd_identities(&h);
	changed_host_key(&h);
	host_key_file();
	odd_clients(&h);
	many_keys(&h);
	other_wishes(&h);
	odd_hosts(&h);
	MUST(fds_open() == fds);
	t_host_close(&h);
	t_end();
	return 0;
}
