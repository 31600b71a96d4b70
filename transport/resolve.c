// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * resolve.c - addresses of a host, with a deadline.
 *
 * getaddrinfo() has none, and getaddrinfo_a() does not survive a fork. So a thread asks;
 * when it is too late for us, it cleans up whenever it is done.
 */
#include "transport/priv.h"

#include <netdb.h>
#include <signal.h>
#include <string.h>

#include "common/clock.h"

struct lookup {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool done, abandoned;
	char host[256], service[8];
	struct addrinfo *list;
	int r;
};

static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };

static void lookup_free(struct lookup *l)
{
	if (l->list)
		freeaddrinfo(l->list);
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static void *ask(void *arg)
{
	struct lookup *l = arg;
	struct addrinfo *list = NULL;
	int r = getaddrinfo(l->host, l->service, &hints, &list);

	pthread_mutex_lock(&l->lock);
	l->list = r ? NULL : list;
	l->r = r;
	l->done = true;
	bool abandoned = l->abandoned;

	pthread_cond_signal(&l->changed);
	pthread_mutex_unlock(&l->lock);
	if (abandoned)
		lookup_free(l);
	return NULL;
}

static struct lookup *lookup_new(const char *host, const char *service)
{
	struct lookup *l = calloc(1, sizeof(*l));
	pthread_condattr_t attr;

	if (!l)
		return NULL;
	snprintf(l->host, sizeof(l->host), "%s", host);
	snprintf(l->service, sizeof(l->service), "%s", service);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->changed, &attr);
	pthread_condattr_destroy(&attr);
	return l;
}

/* Detached, and no signal of the program ends up in it. */
static int start_asking(struct lookup *l)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&thread, &attr, ask, l);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

/* Return: EAI_ code, EAI_INPROGRESS at the deadline. @l is freed in every case */
static int wait_answer(struct lookup *l, struct addrinfo **out, uint64_t deadline_us)
{
	struct timespec at = { .tv_sec = (time_t)(deadline_us / 1000000),
		               .tv_nsec = (long)(deadline_us % 1000000) * 1000 };
	int late = 0;

	pthread_mutex_lock(&l->lock);
	while (!l->done && !late)
		late = pthread_cond_timedwait(&l->changed, &l->lock, &at);
	bool done = l->done;

	l->abandoned = !done;
	pthread_mutex_unlock(&l->lock);
	if (!done)
		return EAI_INPROGRESS;
	int r = l->r;

	*out = steal(l->list);
	lookup_free(l);
	return r;
}

int tcp_resolve(struct addrinfo **out, const char *host, uint16_t port, uint64_t deadline_us)
{
	struct addrinfo numeric = hints;
	char service[8];

	snprintf(service, sizeof(service), "%u", port);
	numeric.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
	if (getaddrinfo(host, service, &numeric, out) == 0)
		return 0;
	struct lookup *l = strlen(host) < sizeof(l->host) ? lookup_new(host, service) : NULL;

	if (!l)
		return strlen(host) < sizeof(l->host) ? EAI_MEMORY : EAI_NONAME;
	if (start_asking(l)) {
		lookup_free(l);
		return EAI_AGAIN;
	}
	return wait_answer(l, out, deadline_us);
}
