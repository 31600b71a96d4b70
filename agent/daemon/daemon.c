// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * daemon.c - listens, reads preambles, gives each migration a process of its own and passes
 * further sockets on to it. Speaks no SSH itself.
 */
#include "agent/daemon/daemon.h"

#include <fcntl.h>
#include <netinet/in.h>
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
#include "agent/mig/door.h"
#include "agent/worker/answer.h"
#include "agent/worker/successor.h"
#include "agent/worker/worker.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"

#define OF_ORIGIN_MAX 64 /* strangers from one address */
#define GRACE_US      2000000 /* to show a key, however many others there are */
#define REST_MS       200
#define TELL_US       60000000
#define PREAMBLE_MS   5000
#define TICK_MS       1000

/* The preamble is read without blocking; the socket is handed on as it was. */
static void set_blocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

static void child_setup(struct daemon *d, int keep)
{
	sigset_t none;

	close(d->listen_fd);
	close(d->signal_fd);
	for (unsigned int i = 0; i < d->n_pending; i++)
		if (d->pending[i].fd != keep)
			close(d->pending[i].fd);
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

static struct origin origin_of(int fd)
{
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof(a);
	struct origin o = { 0 };

	if (getpeername(fd, (struct sockaddr *)&a, &n) < 0)
		return o;
	const struct in6_addr *v6 = &((struct sockaddr_in6 *)&a)->sin6_addr;

	if (a.ss_family == AF_INET)
		memcpy(o.bytes + 12, &((struct sockaddr_in *)&a)->sin_addr, 4);
	else if (a.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(v6))
		memcpy(o.bytes + 12, v6->s6_addr + 12, 4);
	else if (a.ss_family == AF_INET6)
		memcpy(o.bytes, v6->s6_addr, 8); /* a host has a whole /64 to itself */
	return o;
}

static bool same_origin(const struct origin *a, const struct origin *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* Has its source not shown a key? One that answers from the journal knows no longer than it lives. */
static bool is_stranger(const struct worker *w)
{
	const struct wrk_keep *k = w->guard ? guard_user(w->guard) : NULL;

	return !w->ended && !w->sent_away && !(k && __atomic_load_n(&k->known, __ATOMIC_ACQUIRE));
}

static unsigned int strangers_from(const struct daemon *d, const struct origin *from)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < d->n_workers; i++)
		n += is_stranger(&d->worker[i]) && (!from || same_origin(&d->worker[i].from, from));
	return n;
}

/* The oldest stranger of @from; NULL: of the address that has most of them */
static struct worker *oldest_stranger(struct daemon *d, const struct origin *from)
{
	struct worker *oldest = NULL;
	unsigned int most = 0;

	for (unsigned int i = 0; i < d->n_workers; i++) {
		struct worker *w = &d->worker[i];

		if (!is_stranger(w) || (from && !same_origin(&w->from, from)))
			continue;
		unsigned int n = from ? 1 : strangers_from(d, &w->from);

		if (n > most || (n == most && w->since_us < oldest->since_us)) {
			most = n;
			oldest = w;
		}
	}
	return oldest;
}

/*
 * Before a process is made for a peer that has shown no key: no address has more than its share, and
 * all together do not take what peers with a key need. When they are too many, the oldest goes, of the
 * same address or of the one that has most of them; but each has some time to show its key.
 * Return: false: refuse the new one
 */
static bool let_in(struct daemon *d, const struct origin *from)
{
	unsigned int all = strangers_from(d, NULL);
	bool share = strangers_from(d, from) < OF_ORIGIN_MAX;

	if (d->n_workers == ARRAY_SIZE(d->worker) || d->n_workers - all >= WORKERS_MAX)
		return false;
	if (share && all < STRANGERS_MAX)
		return true;
	struct worker *w = oldest_stranger(d, share ? NULL : from);

	if (!w || now_us() - w->since_us < GRACE_US)
		return false;
	w->sent_away = true;
	kill(w->pid, SIGKILL);
	return true;
}

/* Say it now and then, not each time: that would fill the log. */
static void tell(struct daemon *d, const char *what)
{
	if (d->told_us && now_us() - d->told_us < TELL_US)
		return;
	d->told_us = now_us();
	log_warn("%s", what);
}

static void new_worker(struct daemon *d, int ctl, const struct origin *from)
{
	AUTO(guard) struct guard *g = NULL;
	struct err e = ERR_INIT;
	uint64_t route = 0;
	int watch[2];

	if (!let_in(d, from)) {
		tell(d, "a connection was refused: too many peers that have shown no key");
		close(ctl);
		return;
	}
	if (getrandom(&route, sizeof(route), 0) != sizeof(route) || route == 0 ||
	    guard_new(&g, &e) < 0 || pipe2(watch, O_CLOEXEC) < 0) {
		log_warn("cannot start a worker for a new migration: %s",
		         e.src ? e.msg : strerror(errno));
		close(ctl);
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
	close(watch[1]);
	close(ctl);
	if (pid < 0) {
		log_err("fork: %s", strerror(errno));
		close(watch[0]);
		return;
	}
	d->worker[d->n_workers++] = (struct worker){
		.pid = pid,
		.route = route,
		.watch_fd = watch[0],
		.guard = steal(g),
		.since_us = now_us(),
		.from = *from,
	};
	log_info("worker=%d route=%016llx", pid, (unsigned long long)route);
}

/* The worker is gone: a process of its own answers from the journal. */
static void answer_from_journal(struct daemon *d, int fd, uint64_t route, const struct origin *from)
{
	if (!let_in(d, from)) {
		tell(d, "a connection was refused: too many peers that have shown no key");
		return;
	}
	pid_t pid = fork();

	if (pid == 0) {
		child_setup(d, fd);
		super_forget(&d->super);
		_exit(answer_main(d->server, fd, route));
	}
	if (pid < 0)
		log_err("fork: %s", strerror(errno));
	else
		d->worker[d->n_workers++] = (struct worker){
			.pid = pid, .watch_fd = -1, .since_us = now_us(), .from = *from
		};
}

static void route_socket(struct daemon *d, int fd, uint64_t route, const struct origin *from)
{
	set_blocking(fd);
	if (route == 0) {
		new_worker(d, fd, from);
		return;
	}
	int r = door_pass(route, fd);

	if (r == -ENOENT || r == -ECONNREFUSED)
		answer_from_journal(d, fd, route, from);
	else if (r < 0)
		log_warn("route=%016llx: its worker does not take the socket: %s",
		         (unsigned long long)route, strerror(-r));
	close(fd);
}

/* Return: true when this entry is finished with */
static bool read_preamble(struct daemon *d, struct pending *p)
{
	struct err e = ERR_INIT;
	uint64_t route;
	ssize_t n = read(p->fd, p->buf + p->got, sizeof(p->buf) - p->got);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0)
		p->got += (size_t)n;
	if (n > 0 && p->got < sizeof(p->buf))
		return false;
	if (n <= 0 || preamble_get(p->buf, &route, &e) < 0) {
		log_debug("not a haul connection");
		close(p->fd);
		return true;
	}
	route_socket(d, p->fd, route, &p->from);
	return true;
}

/* The oldest connection from the address that has most of them goes. */
static void drop_pending(struct daemon *d)
{
	unsigned int most = 0, go = 0;

	for (unsigned int i = 0; i < d->n_pending; i++) {
		unsigned int n = 0;

		for (unsigned int k = 0; k < d->n_pending; k++)
			n += same_origin(&d->pending[k].from, &d->pending[i].from);
		if (n > most ||
		    (n == most && d->pending[i].deadline_us < d->pending[go].deadline_us)) {
			most = n;
			go = i;
		}
	}
	close(d->pending[go].fd);
	d->pending[go] = d->pending[--d->n_pending];
}

static void accept_one(struct daemon *d)
{
	int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	/* the connection stays in the queue, and the socket stays readable: do not spin */
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
		d->rest_us = deadline_in_ms(REST_MS);
		tell(d, errno == EMFILE || errno == ENFILE
		                ? "no connection is accepted: out of descriptors"
		                : "no connection is accepted: out of memory");
	}
	if (fd < 0)
		return;
	if (d->n_pending == PENDING_MAX)
		drop_pending(d);
	d->pending[d->n_pending++] = (struct pending){ .fd = fd,
		                                       .from = origin_of(fd),
		                                       .deadline_us = deadline_in_ms(PREAMBLE_MS) };
}

static void reap(struct daemon *d)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (super_died(&d->super, pid, status))
			continue;
		for (unsigned int i = 0; i < d->n_workers; i++) {
			if (d->worker[i].pid != pid)
				continue;
			if (WIFSIGNALED(status) && !d->worker[i].sent_away)
				log_err("worker=%d killed by signal %d", pid, WTERMSIG(status));
			d->worker[i].ended = true;
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
static void hung_up(struct worker *w)
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
			hung_up(&d->worker[i]);
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

static void check_pending(struct daemon *d, const struct pollfd *p, unsigned int n)
{
	uint64_t now = now_us();

	/* backwards, so that removing an entry does not move one that was not looked at yet */
	for (unsigned int i = n; i-- > 0;) {
		struct pending *pe = &d->pending[i];
		bool done = p[i].revents && read_preamble(d, pe);

		if (!done && now >= pe->deadline_us) {
			close(pe->fd);
			done = true;
		}
		if (done)
			d->pending[i] = d->pending[--d->n_pending];
	}
}

static void tick(struct daemon *d, uint64_t *due_us)
{
	uint64_t every_us = TICK_MS * 1000;

	if (now_us() < *due_us)
		return;
	super_tick(&d->super);
	if (d->watchdog_us)
		systemd_notify("WATCHDOG=1");
	if (d->watchdog_us && d->watchdog_us / 3 < every_us)
		every_us = d->watchdog_us / 3;
	*due_us = now_us() + every_us;
}

void daemon_serve(struct daemon *d)
{
	uint64_t tick_us = 0;

	while (!d->stop) {
		struct pollfd p[2 + PENDING_MAX + WORKERS_MAX + STRANGERS_MAX];
		bool rests = now_us() < d->rest_us;
		unsigned int n = d->n_pending, workers = d->n_workers;

		tick(d, &tick_us);
		p[0] = (struct pollfd){ .fd = rests ? -1 : d->listen_fd, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = d->signal_fd, .events = POLLIN };
		for (unsigned int i = 0; i < n; i++)
			p[2 + i] = (struct pollfd){ .fd = d->pending[i].fd, .events = POLLIN };
		for (unsigned int i = 0; i < workers; i++)
			p[2 + n + i] = (struct pollfd){ .fd = d->worker[i].watch_fd };
		if (poll(p, 2 + n + workers, rests ? REST_MS : n ? 500 : TICK_MS) < 0)
			continue;
		check_workers(d, p + 2 + n);
		check_pending(d, p + 2, n);
		if (p[1].revents)
			take_signal(d);
		if (p[0].revents)
			accept_one(d);
	}
}
