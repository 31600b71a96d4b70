// SPDX-License-Identifier: GPL-2.0-or-later
/* visit.c - a connection before SSH, at the connecting end: the host's greeting, or its refusal. */
#include "transport/priv.h"

#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "common/clock.h"

#define AGAIN_MIN_MS 50u
#define AGAIN_MAX_MS 400u
#define SHUT_TRIES   6 /* of a host that closes connections without a word */

int visit_late(const struct chan_target *to, struct err *e)
{
	err_set(e, ERR_LINK, ETIMEDOUT, "%s port %u: no answer in %u ms", to->host, to->port,
	        to->connect_ms);
	return err_fix(e, "check that hauld listens there and that the host is not overloaded");
}

int visit_shut(const struct chan_target *to, struct visit *c, const char *why, struct err *e)
{
	c->shut = true;
	err_set(e, ERR_LINK, ECONNRESET, "%s port %u closed the connection: %s", to->host, to->port,
	        why);
	return err_fix(e, "check that hauld listens there and that the host is not overloaded");
}

int visit_hear(const struct chan_target *to, struct visit *c, void *buf, size_t bytes, int flags,
               uint64_t deadline_us, struct err *e)
{
	for (size_t got = 0; got < bytes;) {
		struct pollfd p = { .fd = c->fd, .events = POLLIN };
		int ms = deadline_poll_ms(deadline_us);

		if (ms == 0)
			return visit_late(to, e);
		if (poll(&p, 1, ms) <= 0)
			continue;
		ssize_t n = recv(c->fd, (char *)buf + got, bytes - got, flags | MSG_DONTWAIT);

		if (n == 0)
			return visit_shut(to, c, "it said nothing", e);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return visit_shut(to, c, strerror(errno), e);
		got += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int no_hauld(const struct chan_target *to, struct err *e)
{
	err_wrap(e, "%s port %u", to->host, to->port);
	return err_fix(e, "check that hauld listens there; install the same haul on both hosts");
}

static int refused(const struct chan_target *to, struct visit *c, unsigned int reason,
                   struct err *e)
{
	if (reason == PREAMBLE_NO_TICKET)
		return err_set(e, ERR_LINK, ESTALE, "%s does not know our ticket", to->host);
	if (reason == PREAMBLE_NO_PROCESS) {
		err_set(e, ERR_LINK, EUSERS, "%s is out of processes", to->host);
		return err_fix(e,
		               "raise the limit there: TasksMax= of hauld.service, kernel.pid_max");
	}
	if (reason == PREAMBLE_NO_DESCRIPTOR) {
		err_set(e, ERR_LINK, ENFILE, "%s is out of descriptors", to->host);
		return err_fix(e,
		               "raise the limit there: LimitNOFILE= of hauld.service, fs.file-max");
	}
	c->busy = true;
	err_set(e, ERR_LINK, EBUSY, "%s has no room for another connection", to->host);
	return err_fix(e, "try again later; hauld's log there says what fills it");
}

/* Return: 0 it is a greeting, *value: bytes of its key; -errno a refusal, or not hauld */
static int hear_head(const struct chan_target *to, struct visit *c, unsigned int *value,
                     uint64_t deadline_us, struct err *e)
{
	uint8_t head[PREAMBLE_HEAD_BYTES];
	enum preamble_says says;
	int r = visit_hear(to, c, head, sizeof(head), 0, deadline_us, e);

	if (r < 0)
		return r;
	if (preamble_head(head, &says, value, e) < 0)
		return no_hauld(to, e);
	return says == PREAMBLE_REFUSAL ? refused(to, c, *value, e) : 0;
}

int visit_refused(const struct chan_target *to, struct visit *c, uint64_t deadline_us,
                  struct err *e)
{
	unsigned int value;
	int r = hear_head(to, c, &value, deadline_us, e);

	if (r < 0)
		return r;
	err_set(e, ERR_PEER, EPROTO, "it greets twice");
	return no_hauld(to, e);
}

static int hear_greeting(const struct chan_target *to, struct visit *c, uint64_t deadline_us,
                         struct err *e)
{
	char text[PREAMBLE_KEY_MAX + 1];
	unsigned int value;
	int r = hear_head(to, c, &value, deadline_us, e);

	if (r < 0)
		return r;
	r = visit_hear(to, c, c->challenge, sizeof(c->challenge), 0, deadline_us, e);
	if (r == 0)
		r = visit_hear(to, c, text, value, 0, deadline_us, e);
	if (r < 0)
		return r;
	text[value] = '\0';
	char *b64 = strchr(text, ' ');

	if (b64)
		*b64++ = '\0';
	if (b64 &&
	    ssh_pki_import_pubkey_base64(b64, ssh_key_type_from_name(text), &c->host_key) == SSH_OK)
		return 0;
	err_set(e, ERR_PEER, EPROTO, "it shows no host key");
	return no_hauld(to, e);
}

int visit_open(const struct chan_target *to, struct visit *c, uint64_t deadline_us, struct err *e)
{
	*c = (struct visit){ .fd = -1 };
	int r = tcp_connect(to, deadline_us, e);

	if (r < 0)
		return r;
	c->fd = r;
	return hear_greeting(to, c, deadline_us, e);
}

void visit_close(struct visit *c)
{
	ssh_key_free(c->host_key);
	if (c->fd >= 0)
		close(c->fd);
	c->host_key = NULL;
	c->fd = -1;
}

/* At random: those who were refused together must not come back together. */
bool visit_again(const struct visit *c, unsigned int n, uint64_t deadline_us)
{
	unsigned int ms = n < 3 ? AGAIN_MIN_MS << n : AGAIN_MAX_MS;
	uint8_t any = 0;

	if (!c->busy && (!c->shut || n >= SHUT_TRIES))
		return false;
	if (getrandom(&any, sizeof(any), 0) == sizeof(any))
		ms = ms / 2 + ms * any / 256;
	if (now_us() + ms * 1000 > deadline_us)
		return false;
	usleep(ms * 1000);
	return true;
}
