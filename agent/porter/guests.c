// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * guests.c - the porter: speaks SSH with those who have not shown a key. It has the rights of nobody, no
 * file, no network of its own, and not the host's key; what it can give away is a ticket.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/porter/porter.h"
#include "agent/porter/post.h"
#include "agent/porter/shed.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/local/passfd.h"
#include "transport/transport.h"

#define GUESTS_MAX  64
#define LEAVING_MAX 64 /* beside them: sent away, and on their way */
#define GRACE_US    1500000
#define LOGIN_MS    10000
#define ANSWER_MS   3000
#define TELL_US     60000000
#define STACK_BYTES (512u << 10)

static const struct crowd_limits limits = { .max = GUESTS_MAX, .grace_us = GRACE_US };

/* Under lock, but for the thread's own use of fd. */
struct guest {
	bool used, leaving, answered, yes;
	int fd, peer; /* peer: a duplicate, to end it */
	struct crowd_one who;
	uint32_t serial; /* of its last question */
	char print[sizeof(((struct post_up *)0)->print)]; /* that was asked about */
	struct ticket ticket;
};

static struct guest guests[GUESTS_MAX + LEAVING_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;
static uint64_t tell_again_us;
static struct chan_server *server;
static _Thread_local struct guest *me;

/* ---- a guest's thread ---- */

static bool wait_for_answer(struct guest *g)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += ANSWER_MS / 1000;
	while (!g->answered && !g->leaving)
		if (pthread_cond_timedwait(&answered, &lock, &until))
			break;
	return g->answered && g->yes;
}

/* Called when the guest names its key, and when it has proved that it has it. */
static bool ask(void *arg, const char *print)
{
	struct post_up up;
	struct guest *g = me;

	(void)arg;
	pthread_mutex_lock(&lock);
	bool known = g->answered && !strcmp(g->print, print);

	if (!known) {
		g->answered = g->yes = false;
		memset(&up, 0, sizeof(up));
		up.slot = (uint32_t)(g - guests);
		up.serial = ++g->serial;
		snprintf(g->print, sizeof(g->print), "%s", print);
		memcpy(up.print, g->print, sizeof(up.print));
		if (send(POST_FD, &up, sizeof(up), MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(up))
			wait_for_answer(g);
	}
	bool yes = g->answered && g->yes;

	pthread_mutex_unlock(&lock);
	return yes;
}

static void serve(struct guest *g)
{
	struct err e = ERR_INIT;
	struct chan *ch = NULL;
	struct iovec io = { &g->ticket, sizeof(g->ticket) };
	int r = chan_accept(&ch, g->fd, server, LOGIN_MS, &e);

	if (r == 0)
		r = chan_write(ch, &io, 1, deadline_in_ms(LOGIN_MS), &e);
	if (r == 0)
		log_info("ticket for key=\"%s\"", chan_peer(ch));
	else
		log_debug("no login: %s", e.msg);
	chan_free(ch);
}

static void *guest_main(void *arg)
{
	struct guest *g = me = arg;

	serve(g);
	pthread_mutex_lock(&lock);
	close(g->peer);
	*g = (struct guest){ .serial = g->serial };
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* ---- what hauld says ---- */

/* Is there room for @new? The one that goes for it is sent away. Lock held */
static bool room(const struct crowd_one *new)
{
	struct crowd_one v[GUESTS_MAX];
	struct guest *who[GUESTS_MAX];
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(guests) && n < GUESTS_MAX; i++)
		if (guests[i].used && !guests[i].leaving) {
			v[n] = guests[i].who;
			who[n++] = &guests[i];
		}
	int at = crowd_admit(v, n, &limits, new, now_us(), crowd_any());

	if (at != CROWD_ROOM && now_us() >= tell_again_us) {
		log_warn("logins are refused: too many peers that have shown no key");
		tell_again_us = now_us() + TELL_US;
	}
	if (at >= 0) {
		who[at]->leaving = true;
		shutdown(who[at]->peer, SHUT_RDWR);
		pthread_cond_broadcast(&answered);
	}
	return at != CROWD_FULL;
}

static bool begin(struct guest *g)
{
	pthread_attr_t a;
	pthread_t t;

	pthread_attr_init(&a);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&a, STACK_BYTES);
	int r = pthread_create(&t, &a, guest_main, g);

	pthread_attr_destroy(&a);
	return r == 0;
}

/* Return: false: @fd stays the caller's */
static bool take(const struct post_down *m, int fd)
{
	struct guest *g = guests;
	AUTO(fd) int peer = room(&m->who) ? dup(fd) : -1;

	while (g < guests + ARRAY_SIZE(guests) && g->used)
		g++;
	if (peer < 0 || g == guests + ARRAY_SIZE(guests))
		return false;
	*g = (struct guest){
		.used = true, .fd = fd, .peer = peer, .who = m->who, .serial = g->serial
	};
	g->who.since_us = now_us();
	g->used = begin(g);
	if (g->used)
		steal_fd(&peer);
	return g->used;
}

static void take_answer(const struct post_down *m)
{
	struct guest *g = &guests[m->slot];

	if (m->slot >= ARRAY_SIZE(guests) || !g->used || g->serial != m->serial)
		return;
	g->answered = true;
	g->yes = m->yes;
	g->ticket = m->ticket;
	pthread_cond_broadcast(&answered);
}

/* Return: 0: hauld is gone */
static int hear(void)
{
	struct post_down m;
	int fd = -1;
	size_t n_fds = 1;
	ssize_t n = passfd_take(POST_FD, &m, sizeof(m), &fd, &n_fds);

	if (n <= 0)
		return n == -EINTR;
	pthread_mutex_lock(&lock);
	if (n == sizeof(m) && !m.guest)
		take_answer(&m);
	else if (fd >= 0 && n == sizeof(m) && take(&m, fd))
		fd = -1;
	pthread_mutex_unlock(&lock);
	if (fd >= 0)
		chan_refuse(fd, PREAMBLE_BUSY);
	return 1;
}

int porter_main(int argc, char **argv)
{
	struct err e = ERR_INIT;

	log_setup("hauld",
	          argc == 3 ? (enum log_level)(LOG_WARN_ + (argv[2][0] - '0')) : LOG_WARN_);
	prctl(PR_SET_NAME, "hauld-porter");
	signal(SIGPIPE, SIG_IGN);
	if (shed_everything(&e) < 0 || chan_server_new_asking(&server, ask, NULL, &e) < 0) {
		log_err("porter: %s", e.msg);
		return 1;
	}
	log_debug("porter: ready");
	while (hear())
		;
	_exit(0); /* guests' threads end with it */
}
