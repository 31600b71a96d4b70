// SPDX-License-Identifier: GPL-2.0-or-later
/* arrivals.c - connections until they have said their preamble: in hauld, without a process for them. */
#include "agent/porter/arrivals.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "transport/transport.h"

#define PREAMBLE_US 5000000
#define GRACE_US    500000

static const struct crowd_limits limits = { .max = ARRIVALS_MAX, .grace_us = GRACE_US };

static void drop(struct arrivals *a, unsigned int i)
{
	a->n--;
	a->v[i] = a->v[a->n];
	a->who[i] = a->who[a->n];
}

/* Return: false: it has no place; @fd stays the caller's */
static bool place(struct arrivals *a, int fd)
{
	struct crowd_one who = { .from = crowd_origin(fd), .since_us = now_us() };

	who.known = crowd_knows(&a->known, &who.from);
	int at = crowd_admit(a->who, a->n, &limits, &who, who.since_us, crowd_any());

	if (at != CROWD_ROOM)
		a->crowded(a->arg);
	if (at == CROWD_FULL)
		return false;
	if (at >= 0) {
		chan_refuse(a->v[at].fd, PREAMBLE_BUSY);
		drop(a, (unsigned int)at);
	}
	a->who[a->n] = who;
	a->v[a->n] = (struct arrival){ .fd = fd };
	return true;
}

void arrivals_add(struct arrivals *a, int fd)
{
	uint8_t hello[PREAMBLE_GREETING_MAX];

	if (!place(a, fd)) {
		chan_refuse(fd, PREAMBLE_BUSY);
		return;
	}
	struct arrival *it = &a->v[a->n];

	if (getrandom(it->challenge, sizeof(it->challenge), 0) != sizeof(it->challenge)) {
		close(fd);
		return;
	}
	size_t n = preamble_greet(hello, it->challenge, a->gate->host_key);

	/* an empty socket buffer takes it at once */
	if (send(fd, hello, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n)
		a->n++;
	else
		close(fd);
}

unsigned int arrivals_poll(const struct arrivals *a, struct pollfd *p)
{
	for (unsigned int i = 0; i < a->n; i++)
		p[i] = (struct pollfd){ .fd = a->v[i].fd, .events = POLLIN };
	return a->n;
}

/* It has said its preamble. */
static void judge(struct arrivals *a, unsigned int i)
{
	struct arrival it = a->v[i];
	struct crowd_one who = a->who[i];
	struct err e = ERR_INIT;
	struct preamble p;

	drop(a, i);
	if (preamble_get(it.said, &p, &e) < 0) {
		log_debug("%s", e.msg);
		close(it.fd);
	} else if (p.wants == PREAMBLE_ENTER && !gate_admits(a->gate, it.challenge, it.said)) {
		chan_refuse(it.fd, PREAMBLE_NO_TICKET);
	} else {
		if (p.wants == PREAMBLE_ENTER)
			crowd_meet(&a->known, &who.from, now_us());
		a->take(a->arg, it.fd, &p, &who);
	}
}

static void hear(struct arrivals *a, unsigned int i)
{
	struct arrival *it = &a->v[i];
	ssize_t n = recv(it->fd, it->said + it->got, sizeof(it->said) - it->got, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close(it->fd);
		drop(a, i);
		return;
	}
	it->got += (size_t)n;
	if (it->got == sizeof(it->said))
		judge(a, i);
}

void arrivals_step(struct arrivals *a, const struct pollfd *p, unsigned int n)
{
	uint64_t now = now_us();

	/* backwards: the place of one that goes is taken by one that was looked at */
	for (unsigned int i = n; i-- > 0;) {
		if (p[i].revents)
			hear(a, i);
		else if (now - a->who[i].since_us >= PREAMBLE_US) {
			close(a->v[i].fd);
			drop(a, i);
		}
	}
}

void arrivals_forget(struct arrivals *a, int keep)
{
	for (unsigned int i = 0; i < a->n; i++)
		if (a->v[i].fd != keep)
			close(a->v[i].fd);
}
