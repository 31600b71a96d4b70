// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - hauld: listens, reads preambles, gives each migration a process of its
 * own and passes further sockets on to it. Speaks no SSH itself.
 */
#include "agent/mig/mig.h"
#include "agent/api/api.h"
#include "agent/files/place.h"
#include "agent/daemon/super.h"

#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/log.h"
#include "config.h"

#define PENDING_MAX     128
#define WORKERS_MAX     256
#define STRANGERS_MAX   64 /* workers whose source has not shown a key yet */
#define PREAMBLE_MS     5000
#define JOURNAL_KEEP_S  604800
#define TICK_MS         1000
#define HOST_KEY_PATH   "/etc/haul/host_key"
#define AUTHORIZED_PATH "/etc/haul/authorized_keys"
#define CONFIG_PATH     "/etc/haul/haul.conf"

struct pending {
	int fd;
	uint64_t deadline_us;
	size_t got;
	uint8_t buf[TR_PREAMBLE_BYTES];
};

struct worker {
	pid_t pid;
	uint64_t route, since_us;
	int watch_fd; /* hangs up when the worker and its guardians are dead */
	struct guard *guard;
	bool ended; /* its guardians may go on */
};

struct daemon {
	struct agt_conf conf;
	struct super super;
	uint64_t watchdog_us; /* how often; 0: nobody watches */
	struct chan_server *server;
	int listen_fd, signal_fd;
	struct pending pending[PENDING_MAX];
	unsigned int n_pending;
	struct worker worker[WORKERS_MAX];
	unsigned int n_workers;
	bool stop;
};

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

static void side_setup(void *arg)
{
	child_setup(arg, -1);
}

/* Those who connect and say nothing must not keep others out: the oldest goes. */
static void end_stranger(struct daemon *d)
{
	const struct worker *oldest = NULL;
	unsigned int n = 0;

	for (unsigned int i = 0; i < d->n_workers; i++) {
		const struct worker *w = &d->worker[i];
		const struct wrk_keep *k = w->guard ? guard_user(w->guard) : NULL;

		if (!k || w->ended || __atomic_load_n(&k->known, __ATOMIC_ACQUIRE))
			continue;
		if (!oldest || w->since_us < oldest->since_us)
			oldest = w;
		n++;
	}
	if (n >= STRANGERS_MAX)
		kill(oldest->pid, SIGKILL);
}

static void new_worker(struct daemon *d, int ctl)
{
	AUTO(guard) struct guard *g = NULL;
	struct err e = ERR_INIT;
	uint64_t route = 0;
	int watch[2];

	end_stranger(d);
	if (d->n_workers == WORKERS_MAX || getrandom(&route, sizeof(route), 0) != sizeof(route) ||
	    route == 0 || guard_new(&g, &e) < 0 || pipe2(watch, O_CLOEXEC) < 0) {
		log_warn("no worker for a new migration: too many, or out of descriptors");
		close(ctl);
		return;
	}
	pid_t pid = fork();

	if (pid == 0) {
		close(watch[0]);
		guard_keep(g, guard_watched(watch[1]));
		child_setup(d, ctl);
		sup_forget(&d->super);
		_exit(wrk_main(&d->conf, d->server, g, ctl, route));
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
	};
	log_info("worker=%d route=%016llx", pid, (unsigned long long)route);
}

/* Its worker is gone: what the journal says, by a process of its own. */
static void answer_from_journal(struct daemon *d, int fd, uint64_t route)
{
	pid_t pid = d->n_workers < WORKERS_MAX ? fork() : -1;

	if (pid == 0) {
		child_setup(d, fd);
		sup_forget(&d->super);
		_exit(ans_main(d->server, fd, route));
	}
	if (pid > 0)
		d->worker[d->n_workers++] = (struct worker){ .pid = pid, .watch_fd = -1 };
}

static void route_socket(struct daemon *d, int fd, uint64_t route)
{
	set_blocking(fd);
	if (route == 0) {
		new_worker(d, fd);
		return;
	}
	int r = door_pass(route, fd);

	if (r == -ENOENT || r == -ECONNREFUSED)
		answer_from_journal(d, fd, route);
	else if (r < 0)
		log_warn("route=%016llx: its worker takes no socket: %s", (unsigned long long)route,
		         strerror(-r));
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
	route_socket(d, p->fd, route);
	return true;
}

static void accept_one(struct daemon *d)
{
	int fd = accept4(d->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (d->n_pending == PENDING_MAX) {
		close(d->pending[0].fd); /* the oldest says nothing */
		memmove(&d->pending[0], &d->pending[1], --d->n_pending * sizeof(d->pending[0]));
	}
	d->pending[d->n_pending++] = (struct pending){ .fd = fd,
		                                       .deadline_us = deadline_in_ms(PREAMBLE_MS) };
}

static void reap(struct daemon *d)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (sup_died(&d->super, pid, status))
			continue;
		for (unsigned int i = 0; i < d->n_workers; i++) {
			if (d->worker[i].pid != pid)
				continue;
			if (WIFSIGNALED(status))
				log_err("worker=%d killed by signal %d", pid, WTERMSIG(status));
			d->worker[i].ended = true;
			/* one with guardians ends when they do */
			if (!d->worker[i].guard)
				d->worker[i] = d->worker[--d->n_workers];
		}
	}
}

/* Staged trees of a worker that is no more, or (0) of all such; a large one takes its time. */
static void sweep_trees(uint64_t route)
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
 * The worker and its guardians have ended. Died while pages were missing, they have let the
 * tree read zeros from now on: it must not live to do so.
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
		ans_filled(w->route);
	sweep_trees(w->route);
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

/* The configuration anew; what is wrong changes nothing. Peers' settings are read for each migration. */
static void reload(struct daemon *d)
{
	struct err e = ERR_INIT;

	unit_notify("RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)now_us());
	if (sup_reload(&d->super, &e) < 0)
		log_err("the configuration stays as it was: %s", e.msg);
	else
		log_info("config=%s read again", d->conf.config);
	unit_notify("READY=1");
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
		d->stop = true; /* workers go on: a migration does not need us */
}

static void check_pending(struct daemon *d, const struct pollfd *p, unsigned int n)
{
	uint64_t now = now_us();

	/* backwards, so that removing does not shift what is still to be looked at */
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
	sup_tick(&d->super);
	if (d->watchdog_us)
		unit_notify("WATCHDOG=1");
	if (d->watchdog_us && d->watchdog_us / 3 < every_us)
		every_us = d->watchdog_us / 3;
	*due_us = now_us() + every_us;
}

static void serve(struct daemon *d)
{
	uint64_t tick_us = 0;

	while (!d->stop) {
		struct pollfd p[2 + PENDING_MAX + WORKERS_MAX];
		unsigned int n = d->n_pending, workers = d->n_workers;

		tick(d, &tick_us);
		p[0] = (struct pollfd){ .fd = d->listen_fd, .events = POLLIN };
		p[1] = (struct pollfd){ .fd = d->signal_fd, .events = POLLIN };
		for (unsigned int i = 0; i < n; i++)
			p[2 + i] = (struct pollfd){ .fd = d->pending[i].fd, .events = POLLIN };
		for (unsigned int i = 0; i < workers; i++)
			p[2 + n + i] = (struct pollfd){ .fd = d->worker[i].watch_fd };
		if (poll(p, 2 + n + workers, n ? 500 : TICK_MS) < 0)
			continue;
		check_workers(d, p + 2 + n);
		check_pending(d, p + 2, n);
		if (p[1].revents)
			take_signal(d);
		if (p[0].revents)
			accept_one(d);
	}
}

static void usage(FILE *f)
{
	fputs("Usage: hauld [OPTION]...\n"
	      "Take processes that other hosts haul here, and serve the HTTP API.\n\n"
	      "  -p, --port=N              listen here (4285)\n"
	      "  -b, --bind=ADDR           only on this address\n"
	      "  -k, --host-key=FILE       made at first start (" HOST_KEY_PATH ")\n"
	      "  -a, --authorized-keys=FILE  who may haul here (" AUTHORIZED_PATH ")\n"
	      "  -c, --criu=PATH           this CRIU\n"
	      "  -f, --config=FILE         key = value lines (" CONFIG_PATH ")\n"
	      "      --check-config        say what is wrong with the configuration, and end\n"
	      "      --fingerprint         print the host key's fingerprint and end\n"
	      "  -v, --verbose             log more; twice: everything\n"
	      "  -V, --version\n"
	      "  -h, --help\n",
	      f);
}

enum { OPT_FINGERPRINT = 256, OPT_CHECK };

static const struct option long_options[] = {
	{ "port", required_argument, NULL, 'p' },
	{ "bind", required_argument, NULL, 'b' },
	{ "host-key", required_argument, NULL, 'k' },
	{ "authorized-keys", required_argument, NULL, 'a' },
	{ "criu", required_argument, NULL, 'c' },
	{ "config", required_argument, NULL, 'f' },
	{ "fingerprint", no_argument, NULL, OPT_FINGERPRINT },
	{ "check-config", no_argument, NULL, OPT_CHECK },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* Return: -1 to go on, else the exit status */
static int parse(struct agt_conf *c, int argc, char **argv, int *verbose, bool *fingerprint,
                 bool *check)
{
	char *end;
	int o;

	while ((o = getopt_long(argc, argv, "p:b:k:a:c:f:vVh", long_options, NULL)) != -1) {
		switch (o) {
		case 'p':
			c->port = (unsigned int)strtoul(optarg, &end, 10);
			c->port = *end ? 0 : c->port; /* refused below */
			break;
		case 'b':
			c->bind = optarg;
			break;
		case 'k':
			c->host_key = optarg;
			break;
		case 'a':
			c->authorized_keys = optarg;
			break;
		case 'c':
			c->criu = optarg;
			break;
		case 'f':
			c->config = optarg;
			break;
		case OPT_FINGERPRINT:
			*fingerprint = true;
			break;
		case OPT_CHECK:
			*check = true;
			break;
		case 'v':
			++*verbose;
			break;
		case 'V':
			puts(PACKAGE_STRING);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		default:
			fputs("hauld: hauld --help lists the options\n", stderr);
			return 2;
		}
	}
	if (c->port == 0 || c->port > 65535)
		fputs("hauld: --port: not a number from 1 to 65535\n", stderr);
	else if (optind != argc)
		fprintf(stderr, "hauld: \"%s\" is no option, and hauld takes nothing else\n",
		        argv[optind]);
	else if (strcmp(c->config, CONFIG_PATH) && access(c->config, R_OK) < 0)
		fprintf(stderr, "hauld: --config=%s: %s\n", c->config, strerror(errno));
	else
		return -1;
	return 2;
}

/* It listens all the same: what is missing may come. */
static void warn_useless(const struct agt_conf *c)
{
	if (access(c->criu_path, X_OK) < 0)
		fprintf(stderr, "hauld: warning: all will be refused: CRIU %s: %s\n", c->criu_path,
		        strerror(errno));
	if (access(c->authorized_keys, R_OK) < 0)
		fprintf(stderr, "hauld: warning: nobody is let in: authorized keys %s: %s\n",
		        c->authorized_keys, strerror(errno));
}

/* Migrations that left this host under a haul that was killed: haul ends them. */
static void recover_own(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 8);
	char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;

	if (!slash)
		return;
	snprintf(slash + 1, 8, "haul");
	if (fork() != 0)
		return;
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execl(path, "haul", "recover", "--quiet", NULL);
	_exit(127);
}

static int set_up(struct daemon *d, struct err *e)
{
	sigset_t mask;
	int r = conf_criu(d->conf.criu_path, sizeof(d->conf.criu_path), d->conf.criu,
	                  d->conf.config, e);

	if (r < 0)
		return r;
	d->listen_fd = unit_socket("haul-peers");
	if (d->listen_fd < 0)
		d->listen_fd = listen_on(d->conf.bind, d->conf.port, e);
	if (d->listen_fd < 0)
		return err_fix(e, "is a hauld running already? choose another --port, or a --bind "
		                  "that this host has");
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	d->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return d->signal_fd < 0 ? err_sys(e, "signalfd") : 0;
}

int main(int argc, char **argv)
{
	static struct daemon d;
	struct err e = ERR_INIT;
	int verbose = 0;
	bool fingerprint = false, check = false;
	struct api_conf api;
	char print[128];

	if (argc == 3 && !strcmp(argv[1], "--hold-tty")) /* we started ourselves: tty.c */
		return tty_main(argv[2]);
	d.conf = (struct agt_conf){ .port = TR_PORT_DEFAULT,
		                    .host_key = HOST_KEY_PATH,
		                    .authorized_keys = AUTHORIZED_PATH,
		                    .config = CONFIG_PATH };
	if (argc == 2 && !strcmp(argv[0], RUNNER_NAME))
		return runner_main(argv[1]);
	if (argc > 2 && !strcmp(argv[0], SURVEY_NAME))
		return survey_main(argc, argv);
	int r = parse(&d.conf, argc, argv, &verbose, &fingerprint, &check);

	if (r >= 0)
		return r;
	if (check)
		return config_check(d.conf.config, d.conf.criu);
	log_setup("hauld", verbose ? (verbose > 1 ? LOG_DEBUG_ : LOG_INFO_) : LOG_WARN_);
	signal(SIGPIPE, SIG_IGN);
	r = chan_server_new(&d.server, d.conf.host_key, d.conf.authorized_keys, &e);
	if (r == 0)
		r = chan_server_fingerprint(d.server, print, sizeof(print), &e);
	if (r == 0 && fingerprint) {
		puts(print);
		return 0;
	}
	if (r == 0)
		r = api_conf_load(&api, d.conf.config, &e);
	if (r == 0)
		r = set_up(&d, &e);
	if (r < 0) {
		fprintf(stderr, "hauld: %s\n", e.msg);
		if (e.fix[0])
			fprintf(stderr, "       %s\n", e.fix);
		return 1;
	}
	fprintf(stderr, "hauld: port %u, host key %s, CRIU %s\n", d.conf.port, print,
	        d.conf.criu_path);
	warn_useless(&d.conf);
	journal_sweep(JOURNAL_DIR, JOURNAL_DEST, JOURNAL_KEEP_S);
	place_sweep();
	sweep_trees(0);
	recover_own();
	sup_init(&d.super, &api, side_setup, &d);
	d.watchdog_us = unit_watchdog_us();
	if (!strcmp(api.socket, "none"))
		unit_notify("READY=1");
	serve(&d);
	unit_notify("STOPPING=1");
	sup_stop(&d.super);
	log_info("hauld ends; %u migrations go on without it", d.n_workers);
	return 0;
}
