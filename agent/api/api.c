// SPDX-License-Identifier: GPL-2.0-or-later
/* api.c - the process that serves HTTP: its set-up and its loop. */
#include "agent/api/api.h"

#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/api/conn.h"
#include "agent/api/feed.h"
#include "agent/api/http.h"
#include "agent/api/jobs.h"
#include "agent/api/task.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"

#define LEAVE_MS    1500 /* at the end: to answer requests that have arrived */
#define TICK_MS     500
#define TASK_FDS    16
#define PEM_BYTES   65536
#define KEEP_EVENTS (64 << 20) /* bytes of the file of all; older blocks are given back */
#define FILES_MAX   8192

/* ---- sockets ---- */

static int load_pem(const char *path, char *out, struct err *e)
{
	AUTO(file) FILE *f = fopen(path, "re");

	if (!f)
		return err_sys(e, "%s", path);
	out[fread(out, 1, PEM_BYTES - 1, f)] = 0;
	return 0;
}

static int start_tls(struct api *a, int fd, struct err *e)
{
	static char cert[PEM_BYTES], key[PEM_BYTES];
	int r = load_pem(a->conf->cert, cert, e);

	if (r < 0)
		return r;
	r = load_pem(a->conf->key, key, e);
	if (r < 0)
		return r;
	a->tls = http_start(a, fd, cert, key, a->routes);
	explicit_bzero(key, sizeof(key));
	if (a->tls)
		return 0;
	err_set(e, ERR_USER, EINVAL, "cannot use TLS with %s and %s", a->conf->cert, a->conf->key);
	return err_fix(e, "both must be PEM, the key without a passphrase, and belong together");
}

int api_check_tls(const struct api_conf *conf, struct err *e)
{
	gnutls_certificate_credentials_t cred;
	int r = gnutls_certificate_allocate_credentials(&cred);

	if (r == 0) {
		r = gnutls_certificate_set_x509_key_file(cred, conf->cert, conf->key,
		                                         GNUTLS_X509_FMT_PEM);
		gnutls_certificate_free_credentials(cred);
	}
	return r < 0 ? err_set(e, ERR_USER, EINVAL, "%s: api-cert %s with api-key %s: %s",
	                       conf->config, conf->cert, conf->key, gnutls_strerror(r))
	             : 0;
}

/* ---- state ---- */

static int open_state(struct api *a, struct err *e)
{
	char path[600];

	a->all_fd = openat(a->state_fd, "events.jsonl", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC,
	                   0600);
	a->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	snprintf(path, sizeof(path), "%s/events.jsonl", a->conf->state);
	if (a->all_fd < 0 || a->inotify_fd < 0 ||
	    inotify_add_watch(a->inotify_fd, path, IN_MODIFY) < 0)
		return err_sys(e, "%s", path);
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

/* The file keeps its length, so positions stay valid; its old blocks are freed. */
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

/* A full pipe will do: the daemon reads when it has time. */
static void beat(const struct api *a)
{
	ssize_t n = write(a->beat_fd, "", 1);

	(void)n;
}

static void quiesce(const struct api *a)
{
	MHD_quiesce_daemon(a->local);
	if (a->tls)
		MHD_quiesce_daemon(a->tls);
}

static void serve(struct api *a)
{
	uint64_t tick_us = now_us(), last_us = 0;

	while (!a->stop || (now_us() < last_us && conn_recent())) {
		wait_for_work(a, tick_us);
		take_signal(a);
		/* later connections are served by the next process */
		if (a->stop && !last_us) {
			last_us = deadline_in_ms(LEAVE_MS);
			quiesce(a);
			tick_us = now_us();
		}
		bool written = was_written(a), tick = now_us() >= tick_us;

		if (written)
			jobs_follow(a);
		if (written || tick)
			jobs_schedule(a);
		feed_wake(a, written);
		if (tick) {
			tick_us = deadline_in_ms(a->stop ? TICK_MS / 10 : TICK_MS);
			task_tick(a);
			conn_tick();
			jobs_prune(a);
			beat(a);
			trim_events(a);
		}
		MHD_run(a->local);
		if (a->tls)
			MHD_run(a->tls);
	}
}

static int set_up(struct api *a, const struct api_given *given, struct err *e)
{
	struct rlimit files;

	/* for a thousand connections and the files that they read */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	int r = open_state(a, e);

	if (r)
		return r;
	r = jobs_load(a, e);
	if (r)
		return r;
	a->local = http_start(a, given->local_fd, NULL, NULL, a->routes);
	r = a->local ? 0 : err_set(e, ERR_SYS, EIO, "cannot start libmicrohttpd");
	if (r)
		return r;
	if (given->tls_fd >= 0 && start_tls(a, given->tls_fd, e) < 0) {
		/* the local socket works without TLS */
		log_err("no TLS: %s%s%s", e->msg, e->fix[0] ? "; " : "", e->fix);
		err_clear(e);
	}
	return 0;
}

int api_main(const struct api_conf *conf, const struct api_given *given, const struct route *routes)
{
	static struct api a;
	struct err e = ERR_INIT;
	sigset_t mask;

	a = (struct api){ .conf = conf,
		          .routes = routes,
		          .state_fd = given->state_fd,
		          .beat_fd = given->beat_fd,
		          .all_fd = -1,
		          .inotify_fd = -1 };
	prctl(PR_SET_NAME, "hauld-api");
	prctl(PR_SET_PDEATHSIG, SIGTERM); /* a new hauld starts its own */
	find_haul(&a);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGTERM);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	a.signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (set_up(&a, given, &e) < 0 || a.signal_fd < 0) {
		log_err("no API: %s%s%s", e.msg, e.fix[0] ? "; " : "", e.fix);
		return 1;
	}
	log_info("api=%s port=%u migrations=%zu", conf->socket, conf->port, a.n_jobs);
	serve(&a);
	return 0;
}
