// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * daemon.c - listens, gives each migration a process of its own and passes further sockets on to it; who
 * has no ticket goes to the porter. Speaks no SSH itself.
 */
#include "agent/daemon/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/daemon/systemd.h"
#include "agent/dirs/dirs.h"
#include "common/local/door.h"
#include "agent/worker/answer.h"
#include "agent/worker/successor.h"
#include "agent/worker/worker.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/host/scarce.h"

#define REST_MS    200
#define TELL_US    60000000
#define TICK_MS    1000
#define ACCEPT_MAX 32 /* at once: then others have their turn */

static void set_blocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

static void child_setup(struct daemon *d, int keep)
{
	sigset_t none;

	close(d->listen_fd);
	close(d->signal_fd);
	arrivals_forget(&d->arrivals, keep);
	porter_forget(&d->porter);
	for (unsigned int i = 0; i < d->n_workers; i++) {
		close(d->worker[i].watch_fd);
		guard_free(d->worker[i].guard);
	}
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void daemon_child(void *arg)
{
	child_setup(arg, -1);
}

/* Say it now and then, not each time: that would fill the log. */
static void tell(struct daemon *d, const char *what)
{
	if (d->told_us && now_us() - d->told_us < TELL_US)
		return;
	d->told_us = now_us();
	log_warn("%s", what);
}

/* Only peers that have a ticket come this far. Return: false, and @fd is closed */
static bool has_place(struct daemon *d, int fd)
{
	if (d->n_workers < ARRAY_SIZE(d->worker))
		return true;
	tell(d, "a peer was refused: too many migrations");
	chan_refuse(fd, PREAMBLE_BUSY);
	return false;
}

/* No process can be made for the peer of @fd, which is closed. @code: why, of errno */
static void cannot(struct daemon *d, int fd, int code)
{
	char text[96];

	snprintf(text, sizeof(text), "a peer was refused: %s",
	         scarce_words(code) ? scarce_words(code) : strerror(code));
	tell(d, text);
	chan_refuse(fd, preamble_reason(code));
}

/* @ctl: taken in every case */
static void new_worker(struct daemon *d, int ctl)
{
	AUTO(guard) struct guard *g = NULL;
	struct err e = ERR_INIT;
	uint64_t route = 0;
	int watch[2];

	if (!has_place(d, ctl))
		return;
	if (getrandom(&route, sizeof(route), 0) != sizeof(route) || route == 0 ||
	    guard_new(&g, &e) < 0 || pipe2(watch, O_CLOEXEC) < 0) {
		cannot(d, ctl, e.src ? e.code : errno);
		return;
	}
	pid_t pid = fork();

	if (pid == 0) {
		close(watch[0]);
		guard_keep(g, guard_watched(watch[1]));
		child_setup(d, ctl);
		super_forget(&d->super);
		struct worker_start start = { .conf = &d->conf,
			                      .server = d->server,
			                      .guard = g,
			                      .succeed = successor_main,
			                      .undone = successor_undone };

		_exit(worker_main(&start, ctl, route));
	}
	int code = errno;

	close(watch[1]);
	if (pid < 0) {
		close(watch[0]);
		cannot(d, ctl, code);
		return;
	}
	close(ctl);
	d->worker[d->n_workers++] = (struct worker){
		.pid = pid,
		.route = route,
		.watch_fd = watch[0],
		.guard = steal(g),
	};
	log_info("worker=%d route=%016llx", pid, (unsigned long long)route);
}

/* The worker is gone: a process of its own answers from the journal. @fd: taken in every case */
static void answer_from_journal(struct daemon *d, int fd, uint64_t route)
{
	if (!has_place(d, fd))
		return;
	pid_t pid = fork();

	if (pid == 0) {
		child_setup(d, fd);
		super_forget(&d->super);
		_exit(answer_main(d->server, fd, route));
	}
	if (pid < 0) {
		cannot(d, fd, errno);
		return;
	}
	close(fd);
	d->worker[d->n_workers++] = (struct worker){ .pid = pid, .watch_fd = -1 };
}

static void enter(struct daemon *d, int fd, uint64_t route)
{
	if (route == 0) {
		new_worker(d, fd);
		return;
	}
	int r = door_pass(route, fd);

	if (r == -ENOENT || r == -ECONNREFUSED) {
		answer_from_journal(d, fd, route);
		return;
	}
	if (r < 0)
		log_warn("route=%016llx: its worker does not take the socket: %s",
		         (unsigned long long)route, strerror(-r));
	close(fd);
}

static void crowded(void *arg)
{
	tell(arg, "connections are refused: too many peers that have shown no key");
}

/* One that has said its preamble; to enter it has shown a ticket. */
static void take_arrival(void *arg, int fd, const struct preamble *p, const struct crowd_one *who)
{
	struct daemon *d = arg;

	/* it was read without blocking; the socket is handed on as it was */
	set_blocking(fd);
	if (p->wants == PREAMBLE_ENTER) {
		enter(d, fd, p->route);
	} else if (porter_pass(&d->porter, fd, who) == 0) {
		close(fd);
	} else {
		crowded(d);
		chan_refuse(fd, PREAMBLE_BUSY);
	}
}

/*
 * The connection stays in the queue, and the socket stays readable: do not spin. The descriptor that was
 * kept for it serves to tell one peer why.
 */
static void rest(struct daemon *d, int code)
{
	char text[96];

	snprintf(text, sizeof(text), "no connection is accepted: %s",
	         scarce_words(code) ? scarce_words(code) : "out of memory");
	tell(d, text);
	d->rest_us = deadline_in_ms(REST_MS);
	close(d->spare_fd);
	int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		chan_refuse(fd, preamble_reason(code));
	d->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Return: false: there is none, or it must wait */
static bool accept_one(struct daemon *d)
{
	int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (scarce_words(errno) || errno == ENOBUFS) && errno != EAGAIN)
		rest(d, errno);
	if (fd < 0)
		return false;
	arrivals_add(&d->arrivals, fd);
	return true;
}

static void reap(struct daemon *d)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (super_died(&d->super, pid, status) || porter_died(&d->porter, pid, status))
			continue;
		for (unsigned int i = 0; i < d->n_workers; i++) {
			if (d->worker[i].pid != pid)
				continue;
			if (WIFSIGNALED(status))
				log_err("worker=%d killed by signal %d", pid, WTERMSIG(status));
			/* an entry with guardians ends when they do */
			if (!d->worker[i].guard)
				d->worker[i] = d->worker[--d->n_workers];
		}
	}
}

/* Remove the staged directories of a dead worker, or (0) of all dead workers, in a child: it may take long. */
void daemon_sweep(uint64_t route)
{
	sigset_t none;

	if (!dirs_in_left() || fork() != 0)
		return;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
	if (route)
		dirs_in_adopt_dead(route);
	else
		dirs_in_sweep();
	_exit(0);
}

/*
 * The worker and its guardians have ended. If pages were still missing, the tree would read
 * zeros from now on: it must be killed before it does.
 */
void daemon_hung_up(struct worker *w)
{
	struct err e = ERR_INIT;
	unsigned int killed = 0;
	int r = guard_end_tree(w->guard, &killed, &e);

	if (killed)
		log_err("worker=%d and its guardians died while pages were missing: the tree "
		        "that came by route=%016llx was killed (%u processes); its memory is lost",
		        w->pid, (unsigned long long)w->route, killed);
	if (r == -ESRCH)
		log_err("worker=%d and its guardians died while pages were missing: the tree "
		        "that came by route=%016llx had ended before it was killed; its last reads "
		        "may have been zeros",
		        w->pid, (unsigned long long)w->route);
	else if (r < 0)
		log_err("worker=%d and its guardians died while pages were missing: %s; what is "
		        "left of the tree reads zeros",
		        w->pid, e.msg);
	const struct wrk_keep *k = guard_user(w->guard);

	if (k->resumed && guard_completed(w->guard))
		answer_filled(w->route);
	daemon_sweep(w->route);
	door_remove(w->route);
	close(w->watch_fd);
	guard_free(w->guard);
}

static void check_workers(struct daemon *d, const struct pollfd *p)
{
	for (unsigned int i = d->n_workers; i-- > 0;)
		if (p[i].revents) {
			daemon_hung_up(&d->worker[i]);
			d->worker[i] = d->worker[--d->n_workers];
		}
}

/* Read the configuration again; a wrong one changes nothing. Each migration reads the settings for peers itself. */
static void reload(struct daemon *d)
{
	struct err e = ERR_INIT;

	systemd_notify("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)now_us());
	if (super_reload(&d->super, &e) < 0)
		log_err("the configuration stays as it was: %s", e.msg);
	else
		log_info("config=%s was read again", d->conf.config);
	systemd_notify("READY=1");
}

static void take_signal(struct daemon *d)
{
	struct signalfd_siginfo si;

	if (read(d->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGCHLD)
		reap(d);
	else if (si.ssi_signo == SIGHUP)
		reload(d);
	else
		d->stop = true; /* workers live on: a migration does not need us */
}

static void tick(struct daemon *d, uint64_t *due_us)
{
	uint64_t every_us = TICK_MS * 1000;

	if (now_us() < *due_us)
		return;
	super_tick(&d->super);
	porter_tick(&d->porter);
	if (d->watchdog_us)
		systemd_notify("WATCHDOG=1");
	if (d->watchdog_us && d->watchdog_us / 3 < every_us)
		every_us = d->watchdog_us / 3;
	*due_us = now_us() + every_us;
}

int daemon_open(struct daemon *d, struct err *e)
{
	d->porter = (struct porter){ .fd = -1, .verbose = d->verbose };
	d->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	d->arrivals.gate = &d->gate;
	d->arrivals.take = take_arrival;
	d->arrivals.crowded = crowded;
	d->arrivals.arg = d;
	return gate_open(&d->gate, d->server, e);
}

void daemon_serve(struct daemon *d)
{
	uint64_t tick_us = 0;

	while (!d->stop) {
		struct pollfd p[3 + ARRIVALS_MAX + WORKERS_MAX];
		bool rests = now_us() < d->rest_us;

		tick(d, &tick_us);
		p[0] = (struct pollfd){ .fd = rests ? -1 : d->listen_fd, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = d->signal_fd, .events = POLLIN };
		p[2] = (struct pollfd){ .fd = d->porter.fd, .events = POLLIN };
		unsigned int n = arrivals_poll(&d->arrivals, p + 3), workers = d->n_workers;

		for (unsigned int i = 0; i < workers; i++)
			p[3 + n + i] = (struct pollfd){ .fd = d->worker[i].watch_fd };
		if (poll(p, 3 + n + workers, rests ? REST_MS : n ? 500 : TICK_MS) < 0)
			continue;
		check_workers(d, p + 3 + n);
		arrivals_step(&d->arrivals, p + 3, n);
		if (p[1].revents)
			take_signal(d);
		if (p[2].revents)
			porter_answer(&d->porter, &d->gate);
		for (int i = 0; p[0].revents && i < ACCEPT_MAX && accept_one(d); i++)
			;
	}
}
