// SPDX-License-Identifier: GPL-2.0-or-later
/* relay.c - pass CRIU's words on to the program that has wanted it, and take its answers. */
#include "engine/criu/relay.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/log.h"
#include "common/local/passfd.h"
#include "engine/criu/criu.pb-c.h"

#define ANSWER_LIMIT_S 30 /* a runtime runs the hooks of a container in between */
#define ANSWER_BYTES   4096

struct relay {
	int rpc, fd;
	uint8_t *waits; /* a notification that it has not heard yet; NULL: none */
	size_t bytes;
	bool over; /* it hears nothing more */
};

struct relay *relay_new(int rpc)
{
	struct timeval limit = { .tv_sec = ANSWER_LIMIT_S };
	struct relay *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->rpc = rpc;
	r->fd = -1;
	setsockopt(rpc, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return r;
}

int relay_rpc(const struct relay *r)
{
	return r->rpc;
}

static void drop(struct relay *r)
{
	free(steal(r->waits));
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

static int pass(struct relay *r, const uint8_t *data, size_t bytes, int fd)
{
	return passfd_send(r->rpc, data, bytes, &fd, fd >= 0, 0);
}

void relay_heard(struct relay *r, const uint8_t *data, size_t bytes, bool notify, int fd)
{
	drop(r);
	r->fd = fd;
	if (!notify) {
		int x = r->over ? 0 : pass(r, data, bytes, fd);

		if (x < 0)
			log_warn("the runtime does not hear CRIU's last answer: %s", strerror(-x));
		r->over = true;
		return;
	}
	r->waits = malloc(bytes);
	if (r->waits)
		memcpy(r->waits, data, bytes);
	r->bytes = bytes;
}

static int answer(struct relay *r, struct err *e)
{
	uint8_t buf[ANSWER_BYTES];
	ssize_t n = recv(r->rpc, buf, sizeof(buf), 0);

	if (n <= 0)
		return err_set(e, ERR_SYS, n < 0 ? errno : ECONNRESET,
		               "the runtime does not answer CRIU: %s",
		               n < 0 ? strerror(errno) : "it has ended");
	Crpc__Req *req = crpc__req__unpack(NULL, (size_t)n, buf);
	bool ok = req && req->has_notify_success && req->notify_success;

	if (req)
		crpc__req__free_unpacked(req, NULL);
	return ok ? 0 : err_set(e, ERR_SYS, EPERM, "the runtime refuses the restore");
}

int relay_ask(struct relay *r, struct err *e)
{
	AUTO(mem) uint8_t *data = steal(r->waits);

	if (!data || r->over)
		return 0;
	int x = pass(r, data, r->bytes, r->fd);

	drop(r);
	return x < 0 ? err_set(e, ERR_SYS, -x, "the runtime does not hear CRIU: %s", strerror(-x))
	             : answer(r, e);
}

void relay_refuse(struct relay *r, int type)
{
	Crpc__Resp resp = CRPC__RESP__INIT;
	uint8_t buf[256];

	drop(r);
	if (r->over)
		return;
	r->over = true;
	resp.type = type;
	resp.success = false;
	resp.cr_errmsg = (char *)"the move of this container was given up";
	pass(r, buf, crpc__resp__pack(&resp, buf), -1);
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	drop(r);
	close(r->rpc);
	free(r);
}
