/* SPDX-License-Identifier: GPL-2.0-or-later */
/* misc.c - one process that holds many odd things at once; --without NAME leaves one out. */
#include "misc.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#define TURN_US 10000

static bool ghost, timerfd;
static const char *without = "", *only = "";
static const struct work_opt opts[] = {
	{ "--ghost", "with a file that is deleted but open", NULL, NULL, &ghost },
	{ "--timerfd", "with timerfds; CRIU 4.2 stops one that expires before it has read it", NULL,
	  NULL, &timerfd },
	{ "--without",
	  "leave these out, separated by commas: mlock hidden dontfork growsdown stack "
	  "timers pending signalfd events append attributes",
	  NULL, &without, NULL },
	{ "--only", "leave all others out", NULL, &only, NULL },
	{ 0 },
};

/**
 * misc_start_thread() - a thread that takes no signals and never ends
 * @stack_bytes: 0: as usual
 */
void misc_start_thread(void *(*run)(void *), void *arg, size_t stack_bytes)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (stack_bytes)
		pthread_attr_setstacksize(&attr, stack_bytes);
	if (pthread_create(&thread, &attr, run, arg))
		work_die("cannot start a thread");
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void for_each(void (*fn)(struct thing *t, void *arg), void *arg)
{
	for (size_t i = 0; i < misc_nr_memory; i++)
		fn(&misc_memory[i], arg);
	for (size_t i = 0; i < misc_nr_kernel; i++)
		fn(&misc_kernel[i], arg);
}

static bool is_listed(const char *name, const char *list)
{
	size_t len = strlen(name);

	for (const char *at = list; (at = strstr(at, name)); at += len) {
		if ((at == list || at[-1] == ',') && (!at[len] || at[len] == ','))
			return true;
	}
	return false;
}

static void set_up(struct thing *t, void *arg)
{
	(void)arg;
	if (!strcmp(t->name, "ghost"))
		t->off = !ghost;
	if (!strcmp(t->name, "timerfd") || !strcmp(t->name, "timerfd-unread"))
		t->off = !timerfd;
	if (is_listed(t->name, without) || (*only && !is_listed(t->name, only)))
		t->off = true;
	if (!t->off)
		t->set_up();
}

static void turn(struct thing *t, void *arg)
{
	(void)arg;
	if (!t->off && t->turn && work_may_write())
		t->turn();
}

static void check(struct thing *t, void *arg)
{
	struct report *r = arg, own = { 0 };

	if (t->off)
		return;
	t->check(&own);
	rep_merge(r, &own, t->name);
	rep_extra(r, "%s", own.extra);
}

/* Kind n damages the n-th thing that can be damaged. */
static void damage(struct thing *t, void *arg)
{
	long *kind = arg;

	if (t->damage && --*kind == 0)
		t->damage();
}

static void verify(struct report *r)
{
	long kind = work_sabotage_due();

	for_each(damage, &kind);
	for_each(check, r);
}

int main(int argc, char **argv)
{
	work_start(argc, argv, opts);
	for_each(set_up, NULL);
	work_ready();
	while (work_poll(verify)) {
		for_each(turn, NULL);
		work_nap_us(TURN_US);
	}
	return 0;
}
