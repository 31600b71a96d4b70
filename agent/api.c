// SPDX-License-Identifier: GPL-2.0-or-later
/* api.c - the process that serves HTTP: its configuration and its loop. */
#include "agent/api.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/conf.h"
#include "common/log.h"

#define TICK_MS          500
#define TASK_FDS         16
#define PEM_BYTES        65536
#define KEEP_EVENTS      (64 << 20) /* of the file of all; older ones are given back */
#define POLICIES_OF_USER "default"

uint64_t api_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- configuration ---- */

static int text(const char *path, const char *key, char *out, size_t bytes, struct err *e)
{
	int r = conf_get(path, key, out, bytes, e);

	return r < 0 ? r : 0;
}

static int number(const char *path, const char *key, unsigned int min, unsigned int max,
                  unsigned int *out, struct err *e)
{
	char word[32], *end;
	int r = conf_get(path, key, word, sizeof(word), e);

	if (r <= 0)
		return r;
	unsigned long v = strtoul(word, &end, 10);

	if (!*word || *end || *word == '-' || v < min || v > max)
		return err_set(e, ERR_USER, ERANGE, "%s: %s = %s: not a number from %u to %u", path,
		               key, word, min, max);
	*out = (unsigned int)v;
	return 0;
}

static int tls_complete(const struct api_conf *c, struct err *e)
{
	if (c->port == 0 || (c->cert[0] && c->key[0]))
		return 0;
	err_set(e, ERR_USER, EINVAL, "%s: api-port needs api-cert and api-key", c->config);
	return err_fix(e,
	               "name the files of a certificate and its key: there is no TCP without TLS");
}

int api_conf_load(struct api_conf *c, const char *path, struct err *e)
{
	*c = (struct api_conf){ .config = path, .running_max = 2, .kept_max = 1000 };
	snprintf(c->socket, sizeof(c->socket), "%s", API_SOCKET);
	snprintf(c->state, sizeof(c->state), "%s", API_STATE_DIR);
	snprintf(c->tokens, sizeof(c->tokens), "%s", API_TOKENS);
	snprintf(c->user_policies, sizeof(c->user_policies), "%s", POLICIES_OF_USER);
	int r = text(path, "api-state", c->state, sizeof(c->state), e);

	r = r ? r : text(path, "api-socket", c->socket, sizeof(c->socket), e);
	r = r ? r : text(path, "api-tokens", c->tokens, sizeof(c->tokens), e);
	r = r ? r : text(path, "api-bind", c->bind, sizeof(c->bind), e);
	r = r ? r : text(path, "api-cert", c->cert, sizeof(c->cert), e);
	r = r ? r : text(path, "api-key", c->key, sizeof(c->key), e);
	r = r ? r : text(path, "user-policies", c->user_policies, sizeof(c->user_policies), e);
	r = r ? r : number(path, "api-port", 1, 65535, &c->port, e);
	r = r ? r : number(path, "migrations-max", 1, 256, &c->running_max, e);
	r = r ? r : number(path, "bandwidth-max-mbit", 0, 1000000, &c->bandwidth_mbit, e);
	return r ? r : tls_complete(c, e);
}

/* The folder that @path is in */
static void make_parent(const char *path, mode_t mode)
{
	char dir[600];

	snprintf(dir, sizeof(dir), "%s", path);
	char *slash = strrchr(dir, '/');

	if (slash && slash > dir) {
		*slash = 0;
		mkdir(dir, mode); /* what is wrong shows at the next step */
	}
}

/* ---- sockets ---- */

static int listen_local(const char *path, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	unlink(path);
	/* anybody may speak: who it is the kernel says */
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    chmod(path, 0666) < 0 || listen(fd, 128) < 0)
		return err_sys(e, "%s", path);
	return steal_fd(&fd);
}

static int listen_tcp(const struct api_conf *c, struct err *e)
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *ai;
	char port[8];
	int on = 1;

	snprintf(port, sizeof(port), "%u", c->port);
	int r = getaddrinfo(c->bind[0] ? c->bind : NULL, port, &hints, &ai);

	if (r)
		return err_set(e, ERR_USER, EINVAL, "api-bind %s: %s", c->bind, gai_strerror(r));
	AUTO(fd)
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	r = fd < 0 ? -1 : bind(fd, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
	if (r < 0 || listen(fd, 128) < 0)
		return err_sys(e, "api-port %u", c->port);
	return steal_fd(&fd);
}

static int load_pem(const char *path, char *out, struct err *e)
{
	AUTO(file) FILE *f = fopen(path, "re");

	if (!f)
		return err_sys(e, "%s", path);
	out[fread(out, 1, PEM_BYTES - 1, f)] = 0;
	return 0;
}

static int start_tls(struct api *a, struct err *e)
{
	static char cert[PEM_BYTES], key[PEM_BYTES];
	int r = load_pem(a->conf->cert, cert, e), fd;

	if (r == 0)
		r = load_pem(a->conf->key, key, e);
	if (r < 0)
		return r;
	fd = listen_tcp(a->conf, e);
	if (fd < 0)
		return fd;
	a->tls = http_start(a, fd, cert, key);
	explicit_bzero(key, sizeof(key));
	if (a->tls)
		return 0;
	close(fd);
	err_set(e, ERR_USER, EINVAL, "no TLS with %s and %s", a->conf->cert, a->conf->key);
	return err_fix(e, "both in PEM, the key without a passphrase, the certificate its own");
}

static int start_local(struct api *a, struct err *e)
{
	make_parent(a->conf->socket, 0755);
	int fd = listen_local(a->conf->socket, e);

	if (fd < 0)
		return fd;
	a->local = http_start(a, fd, NULL, NULL);
	return a->local ? 0 : err_set(e, ERR_SYS, EIO, "libmicrohttpd does not start");
}

/* ---- state ---- */

/* One hauld at a time: an older one that is about to end has it a moment longer. */
static int open_state(struct api *a, struct err *e)
{
	make_parent(a->conf->state, 0755);
	if (mkdir(a->conf->state, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "%s", a->conf->state);
	a->state_fd = open(a->conf->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	a->all_fd = a->state_fd < 0 ? -1
	                            : openat(a->state_fd, "events.jsonl",
	                                     O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (a->all_fd < 0)
		return err_sys(e, "%s/events.jsonl", a->conf->state);
	if (flock(a->state_fd, LOCK_EX | LOCK_NB) < 0) {
		log_warn("%s is in use by another hauld: waiting", a->conf->state);
		while (flock(a->state_fd, LOCK_EX) < 0)
			if (errno != EINTR)
				return err_sys(e, "%s", a->conf->state);
	}
	a->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char path[600];

	snprintf(path, sizeof(path), "%s/events.jsonl", a->conf->state);
	if (a->inotify_fd < 0 || inotify_add_watch(a->inotify_fd, path, IN_MODIFY) < 0)
		return err_sys(e, "inotify: %s", path);
	return 0;
}

static void find_haul(struct api *a)
{
	ssize_t n = readlink("/proc/self/exe", a->haul, sizeof(a->haul) - 8);
	char *slash = n > 0 ? memrchr(a->haul, '/', (size_t)n) : NULL;

	snprintf(slash ? slash + 1 : a->haul, 8, "haul");
}

/* ---- loop ---- */

static void reap(struct api *a)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		task_ended(a, pid, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static void take_signal(struct api *a)
{
	struct signalfd_siginfo si;

	while (read(a->signal_fd, &si, sizeof(si)) == sizeof(si))
		if (si.ssi_signo == SIGCHLD)
			reap(a);
		else
			a->stop = true;
}

static bool was_written(struct api *a)
{
	char buf[4096] __attribute__((aligned(8)));
	bool any = false;

	while (read(a->inotify_fd, buf, sizeof(buf)) > 0)
		any = true;
	return any;
}

/* The file keeps its length, so places stay what they are; its old blocks go. */
static void trim_events(const struct api *a)
{
	struct stat st;

	if (fstat(a->all_fd, &st) == 0 && st.st_size > 2 * (off_t)KEEP_EVENTS &&
	    st.st_blocks * 512 > 2 * (off_t)KEEP_EVENTS)
		fallocate(a->all_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		          (st.st_size - KEEP_EVENTS) & ~4095LL);
}

static int epoll_of(struct MHD_Daemon *d)
{
	const union MHD_DaemonInfo *i = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_EPOLL_FD) : NULL;

	return i ? i->epoll_fd : -1;
}

static int wait_ms(struct api *a, uint64_t next_tick_us)
{
	struct MHD_Daemon *all[] = { a->local, a->tls };
	int ms = deadline_poll_ms(next_tick_us);

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		MHD_UNSIGNED_LONG_LONG t;

		if (all[i] && MHD_get_timeout(all[i], &t) == MHD_YES && t < (unsigned)ms)
			ms = (int)t;
	}
	return ms;
}

static void wait_for_work(struct api *a, uint64_t next_tick_us)
{
	struct pollfd p[4 + TASK_FDS] = { { .fd = epoll_of(a->local), .events = POLLIN },
		                          { .fd = epoll_of(a->tls), .events = POLLIN },
		                          { .fd = a->signal_fd, .events = POLLIN },
		                          { .fd = a->inotify_fd, .events = POLLIN } };
	struct task *of[TASK_FDS];
	nfds_t n = 0;

	for (struct task *t = a->task; t && n < TASK_FDS; t = t->next)
		if (!t->ended) {
			of[n] = t;
			p[4 + n++] = (struct pollfd){ .fd = t->fd, .events = POLLIN };
		}
	poll(p, 4 + n, wait_ms(a, next_tick_us));
	for (nfds_t i = 0; i < n; i++)
		if (p[4 + i].revents)
			task_read(of[i]);
}

static void serve(struct api *a)
{
	uint64_t tick_us = now_us();

	while (!a->stop) {
		wait_for_work(a, tick_us);
		take_signal(a);
		bool written = was_written(a), tick = now_us() >= tick_us;

		if (written)
			jobs_follow(a);
		if (written || tick)
			jobs_schedule(a);
		feed_wake(a, written);
		if (tick) {
			tick_us = deadline_in_ms(TICK_MS);
			task_tick(a);
			trim_events(a);
		}
		MHD_run(a->local);
		if (a->tls)
			MHD_run(a->tls);
	}
}

static int set_up(struct api *a, struct err *e)
{
	int r = open_state(a, e);

	if (r == 0)
		r = jobs_load(a, e);
	if (r == 0)
		r = start_local(a, e);
	if (r == 0 && a->conf->port)
		r = start_tls(a, e);
	return r;
}

int api_main(const struct api_conf *conf)
{
	static struct api a;
	struct err e = ERR_INIT;
	sigset_t mask;

	a = (struct api){ .conf = conf, .state_fd = -1, .all_fd = -1, .inotify_fd = -1 };
	prctl(PR_SET_NAME, "hauld-api");
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* a hauld that is started anew has its own */
	sigemptyset(&mask);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	find_haul(&a);
	int r = set_up(&a, &e);

	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	a.signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (r < 0 || a.signal_fd < 0) {
		log_err("no API: %s%s%s", e.msg, e.fix[0] ? "; " : "", e.fix);
		return 1;
	}
	log_info("api=%s port=%u migrations=%zu", conf->socket, conf->port, a.n_jobs);
	serve(&a);
	return 0;
}
