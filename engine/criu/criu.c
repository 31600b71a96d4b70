// SPDX-License-Identifier: GPL-2.0-or-later
/* criu.c - spawn `criu swrk`, send it one request, and answer its notifications. */
#include "engine/criu/criu.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/local/passfd.h"
#include "engine/criu/base.h"
#include "engine/criu/criu.pb-c.h"
#include "engine/images/img_priv.h"
#include "engine/criu/inherit.h"
#include "engine/criu/relay.h"
#include "engine/criu/scans.h"
#include "engine/proc/pidspace.h"
#include "engine/proc/proc.h"

enum req_type {
	REQ_DUMP = 1,
	REQ_RESTORE = 2,
	REQ_NOTIFY = 6,
	REQ_CPUINFO_DUMP = 7,
	REQ_CPUINFO_CHECK = 8,
	REQ_FEATURE_CHECK = 9,
	REQ_VERSION = 10,
};

/* Descriptor numbers in CRIU's own table, after exec. */
#define CHILD_RPC_FD   3
#define CHILD_PAGES_FD 4
#define CHILD_PLACE_FD 5 /* the first of those of criu_spawn_rooted() */
#define CHILD_HIGH_FD  64 /* above all of these */
_Static_assert(CHILD_PLACE_FD + CRIU_INHERIT_MAX <= CHILD_HIGH_FD, "numbers overlap");

#define END_LIMIT_MS  2000
#define RPC_MAX_BYTES (1u << 20)

struct criu {
	pid_t pid;
	int rpc; /* our end of the SEQPACKET pair */
	int wake; /* eventfd: cancelled */
	int out; /* memfd: output from before its log was open */
	int images_fd; /* directory of the request, borrowed; -1 before */
	char log_name[32];
	struct relay *relay; /* NULL: nobody else hears it */
};

struct child {
	const char *path;
	int rpc, pages, out;
	int tell; /* socket on which the child sends the listener's number and waits for an answer; -1: none */
	const struct criu_inherit *place;
	size_t n_places;
	bool opens; /* its opens of smaps are passed to us, too */
	const char *root; /* root directory for root_enter(); NULL: none */
	int mounts, uts; /* namespaces that it enters; 0: none */
	char **env;
};

/* In the child, between fork and exec: async-signal-safe calls only. */
static void child_exec(const struct child *c)
{
	int rpc, out, pages = -1, tell = c->tell, place[CRIU_INHERIT_MAX];
	char no_conf[] = "--no-default-config", swrk[] = "swrk", fd[] = "3";
	/* or it maps each open file to look for a build-id: haul has compared them */
	char valid[] = "--file-validation", how[] = "filesize";
	char *argv[] = { (char *)c->path, no_conf, valid, how, swrk, fd, NULL };

	if (tell >= 0) {
		int listener = scans_install(c->opens);
		char byte;

		if (write(tell, &listener, sizeof(listener)) != sizeof(listener) ||
		    read(tell, &byte, 1) != 1)
			_exit(126);
		if (listener >= 0)
			close(listener);
	}
	if (inherit_clear() < 0)
		_exit(126);
	/* first move them above the low numbers: dup2() must not close one that we still need */
	rpc = fcntl(c->rpc, F_DUPFD, CHILD_HIGH_FD);
	out = fcntl(c->out, F_DUPFD, CHILD_HIGH_FD);
	if (c->pages >= 0)
		pages = fcntl(c->pages, F_DUPFD, CHILD_HIGH_FD);
	for (size_t i = 0; i < c->n_places; i++)
		place[i] = fcntl(c->place[i].fd, F_DUPFD, CHILD_HIGH_FD);
	int null = open("/dev/null", O_RDONLY);

	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	dup2(rpc, CHILD_RPC_FD);
	dup2(pages >= 0 ? pages : null, CHILD_PAGES_FD);
	for (size_t i = 0; i < c->n_places; i++)
		dup2(place[i], CHILD_PLACE_FD + (int)i);
	syscall(SYS_close_range, CHILD_PLACE_FD + (unsigned int)c->n_places, ~0U, 0);
	execve(c->path, argv, c->env);
	_exit(127);
}

/* Receive the listener from the child. Return: our copy of it; -1 */
static int take_listener(int tell, pid_t child)
{
	int theirs = -1, ours = -1;

	if (read(tell, &theirs, sizeof(theirs)) != sizeof(theirs))
		return -1;
	if (theirs >= 0)
		ours = procs_copy_fd(child, theirs);
	if (write(tell, "", 1) != 1)
		return -1;
	return ours;
}

/* @how: all fields but those set here */
static int spawn(struct criu **out, struct child *how, int *listener, struct err *e)
{
	AUTO(criu) struct criu *c = calloc(1, sizeof(*c));
	int sk[2];

	if (!c)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	c->rpc = c->wake = c->out = c->images_fd = -1;
	if (access(how->path, X_OK) < 0)
		return err_sys(e, "CRIU at %s", how->path);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sk) < 0)
		return err_sys(e, "socketpair");
	c->rpc = sk[0];
	AUTO(fd) int theirs = sk[1];

	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->out = memfd_create("criu-output", MFD_CLOEXEC);
	if (c->wake < 0 || c->out < 0)
		return err_sys(e, "descriptors for CRIU");
	int tell[2] = { -1, -1 };

	if (listener && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, tell) < 0)
		return err_sys(e, "socketpair");
	AUTO(fd) int tell_ours = tell[0];
	AUTO(fd) int tell_theirs = tell[1];

	how->rpc = theirs;
	how->out = c->out;
	how->tell = tell_theirs;
	how->env = hwbreak_env();
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(e, "fork for CRIU");
	if (pid == 0 && how->root)
		root_enter(how->root, c->out);
	if (pid == 0 && how->mounts &&
	    (setns(how->mounts, CLONE_NEWNS) < 0 || setns(how->uts, CLONE_NEWUTS) < 0))
		_exit(126);
	if (pid == 0)
		child_exec(how);
	c->pid = pid;
	if (listener) {
		close(steal_fd(&tell_theirs));
		*listener = take_listener(tell_ours, pid);
	}
	*out = steal(c);
	return 0;
}

int criu_spawn(struct criu **out, const char *path, int page_fd, struct err *e)
{
	return spawn(out, &(struct child){ .path = path, .pages = page_fd }, NULL, e);
}

int criu_spawn_scanned(struct criu **out, const char *path, int page_fd, bool opens, int *listener,
                       struct err *e)
{
	return spawn(out, &(struct child){ .path = path, .pages = page_fd, .opens = opens },
	             listener, e);
}

int criu_spawn_rooted(struct criu **out, const char *path, const char *root,
                      const struct criu_inherit *v, size_t n, struct err *e)
{
	struct child how = { .path = path, .pages = -1, .place = v, .n_places = n, .root = root };

	if (n > CRIU_INHERIT_MAX)
		return err_set(e, ERR_BUG, E2BIG, "%zu descriptors for CRIU", n);
	return spawn(out, &how, NULL, e);
}

int criu_spawn_beside(struct criu **out, const char *path, pid_t beside,
                      const struct criu_inherit *v, size_t n, struct err *e)
{
	AUTO(fd) int mounts = pidspace_open(beside, "mnt", e);
	AUTO(fd) int uts = mounts < 0 ? -1 : pidspace_open(beside, "uts", e);
	struct child how = {
		.path = path, .pages = -1, .place = v, .n_places = n, .mounts = mounts, .uts = uts
	};

	if (uts < 0)
		return err_code(e);
	if (n > CRIU_INHERIT_MAX)
		return err_set(e, ERR_BUG, E2BIG, "%zu descriptors for CRIU", n);
	return spawn(out, &how, NULL, e);
}

int criu_spawn_for(const char *path, int rpc, const struct criu_inherit *v, size_t n, pid_t *pid,
                   struct err *e)
{
	AUTO(fd) int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct child how = { .path = path,
		             .rpc = rpc,
		             .pages = -1,
		             .out = out,
		             .tell = -1,
		             .place = v,
		             .n_places = n,
		             .env = hwbreak_env() };

	if (n > CRIU_INHERIT_MAX)
		return err_set(e, ERR_BUG, E2BIG, "%zu descriptors for CRIU", n);
	if (out < 0 || access(path, X_OK) < 0)
		return err_sys(e, "CRIU at %s", path);
	*pid = fork();
	if (*pid == 0)
		child_exec(&how);
	return *pid < 0 ? err_sys(e, "fork for CRIU") : 0;
}

pid_t criu_pid(const struct criu *c)
{
	return c->pid;
}

int criu_rpc(const struct criu *c)
{
	return c->rpc;
}

int criu_adopt(struct criu **out, int rpc, pid_t pid, struct err *e)
{
	struct criu *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	c->rpc = rpc;
	c->pid = pid;
	c->out = c->images_fd = -1;
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*out = c;
	return 0;
}

void criu_cancel(struct criu *c)
{
	uint64_t one = 1;
	ssize_t w = write(c->wake, &one, sizeof(one));

	(void)w;
}

/* Why CRIU ended: its exit status, and its output. */
static int died(struct criu *c, struct err *e)
{
	char text[400] = "";
	int status = 0;
	ssize_t n = pread(c->out, text, sizeof(text) - 1, 0);

	for (int i = 0; i < 50 && c->pid > 0; i++) {
		if (waitpid(c->pid, &status, WNOHANG) == c->pid) {
			c->pid = 0;
			break;
		}
		usleep(10000);
	}
	text[n > 0 ? n : 0] = 0;
	if (!text[0] && c->images_fd >= 0)
		criu_errors(c->images_fd, c->log_name, text, sizeof(text));
	if (WIFSIGNALED(status))
		return err_set(e, ERR_CRIU, ECONNRESET, "CRIU was killed by signal %d: %s",
		               WTERMSIG(status), text);
	return err_set(e, ERR_CRIU, ECONNRESET, "CRIU ended (status %d): %s", WEXITSTATUS(status),
	               text);
}

static int send_req(struct criu *c, const Crpc__Req *req, struct err *e)
{
	size_t n = crpc__req__get_packed_size(req);
	AUTO(mem) uint8_t *buf = malloc(n);

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	crpc__req__pack(req, buf);
	if (send(c->rpc, buf, n, MSG_NOSIGNAL) != (ssize_t)n)
		return died(c, e);
	return 0;
}

static int recv_resp(struct criu *c, Crpc__Resp **out, uint64_t deadline_us, struct err *e)
{
	struct pollfd p[2] = { { .fd = c->rpc, .events = POLLIN },
		               { .fd = c->wake, .events = POLLIN } };
	int r;

	do {
		r = poll(p, 2, deadline_poll_ms(deadline_us));
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_sys(e, "poll");
	if (p[1].revents)
		return err_set(e, ERR_STOPPED, ECANCELED, "stopped while waiting for CRIU");
	if (r == 0)
		return err_set(e, ERR_CRIU, ETIMEDOUT, "CRIU did not answer in time");
	ssize_t n = recv(c->rpc, NULL, 0, MSG_PEEK | MSG_TRUNC);

	if (n <= 0)
		return died(c, e);
	if ((size_t)n > RPC_MAX_BYTES)
		return err_set(e, ERR_CRIU, EMSGSIZE, "CRIU's answer has %zd bytes", n);
	AUTO(mem) uint8_t *buf = malloc((size_t)n);

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	AUTO(fd) int passed = -1;
	size_t n_passed = 1;

	n = passfd_take(c->rpc, buf, (size_t)n, &passed, &n_passed);
	if (n <= 0)
		return died(c, e);
	*out = crpc__resp__unpack(NULL, (size_t)n, buf);
	if (!*out)
		return err_set(e, ERR_CRIU, EBADMSG, "CRIU's answer makes no sense");
	if (c->relay)
		relay_heard(c->relay, buf, (size_t)n, (*out)->type == REQ_NOTIFY,
		            steal_fd(&passed));
	return 0;
}

/* Send one request, receive one answer; CRIU stays for the next. */
static int ask(struct criu *c, Crpc__Req *req, Crpc__Resp **out, uint64_t deadline_us,
               struct err *e)
{
	req->has_keep_open = req->keep_open = true;
	int r = send_req(c, req, e);

	if (r)
		return r;
	return recv_resp(c, out, deadline_us, e);
}

int criu_version(struct criu *c, unsigned int *version, uint64_t deadline_us, struct err *e)
{
	Crpc__Req req = CRPC__REQ__INIT;
	Crpc__Resp *resp = NULL;

	req.type = REQ_VERSION;
	int r = ask(c, &req, &resp, deadline_us, e);

	if (r < 0)
		return err_wrap(e, "CRIU's version");
	if (resp->success && resp->version)
		*version = (unsigned int)(resp->version->major * 10000 +
		                          resp->version->minor * 100 + resp->version->sublevel);
	else
		r = err_set(e, ERR_CRIU, EPROTO, "CRIU does not tell its version");
	crpc__resp__free_unpacked(resp, NULL);
	return r;
}

int criu_has_lazy(struct criu *c, bool *yes, uint64_t deadline_us, struct err *e)
{
	Crpc__Req req = CRPC__REQ__INIT;
	Crpc__Features want = CRPC__FEATURES__INIT;
	Crpc__Resp *resp = NULL;

	want.has_lazy_pages = want.lazy_pages = true;
	req.type = REQ_FEATURE_CHECK;
	req.features = &want;
	int r = ask(c, &req, &resp, deadline_us, e);

	if (r < 0)
		return err_wrap(e, "CRIU's features");
	*yes = resp->success && resp->features && resp->features->lazy_pages;
	crpc__resp__free_unpacked(resp, NULL);
	return 0;
}

int criu_cpuinfo(const char *path, int images_fd, bool check, uint64_t deadline_us, struct err *e)
{
	AUTO(criu) struct criu *c = NULL;
	Crpc__Req req = CRPC__REQ__INIT;
	Crpc__Opts o = CRPC__OPTS__INIT;
	Crpc__Resp *resp = NULL;
	int r = criu_spawn(&c, path, -1, e);

	if (r < 0)
		return r;
	snprintf(c->log_name, sizeof(c->log_name), "cpuinfo.log");
	o.images_dir_fd = images_fd;
	o.log_file = c->log_name;
	req.type = check ? REQ_CPUINFO_CHECK : REQ_CPUINFO_DUMP;
	req.opts = &o;
	c->images_fd = images_fd;
	r = ask(c, &req, &resp, deadline_us, e);
	if (r < 0)
		return r;
	if (!resp->success && resp->cr_errno == ENOTSUP)
		r = err_set(e, ERR_CRIU, ENOTSUP,
		            "this CPU lacks features that the process may use");
	else if (!resp->success)
		r = err_set(e, ERR_CRIU, EIO, "CRIU's CPU check failed: %s",
		            resp->cr_errmsg ? resp->cr_errmsg : "no reason given");
	crpc__resp__free_unpacked(resp, NULL);
	return r;
}

static int request(struct criu *c, enum req_type type, const struct criu_opts *o, struct err *e)
{
	Crpc__Req req = CRPC__REQ__INIT;
	AUTO(base) struct base base = { 0 };
	Crpc__PageServer ps = CRPC__PAGE_SERVER__INIT;
	Crpc__InheritFd inherit[CRIU_INHERIT_MAX], *inherit_ptr[CRIU_INHERIT_MAX];

	if (base_load(&base, o->base, o->base_bytes, e) < 0)
		return err_code(e);
	Crpc__Opts opts = base.opts;

	if (o->n_inherit > CRIU_INHERIT_MAX)
		return err_set(e, ERR_BUG, E2BIG, "%zu descriptors for CRIU", o->n_inherit);
	for (size_t i = 0; i < o->n_inherit; i++) {
		crpc__inherit_fd__init(&inherit[i]);
		inherit[i].key = (char *)o->inherit[i].key;
		inherit[i].fd = (o->base ? o->inherit_first : CHILD_PLACE_FD) + (int)i;
		inherit_ptr[i] = &inherit[i];
	}
	if (base_add(&base, &opts, inherit_ptr, o->n_inherit, o->external, o->n_external) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	c->images_fd = o->images_fd;
	snprintf(c->log_name, sizeof(c->log_name), "%s", o->log_name);
	opts.log_file = c->log_name;
	if (type == REQ_DUMP)
		base_dump(&opts, o, &ps, CHILD_PAGES_FD);
	else
		base_restore(&opts, o);
	req.type = type;
	req.opts = &opts;
	return send_req(c, &req, e);
}

int criu_dump(struct criu *c, const struct criu_opts *o, struct err *e)
{
	return request(c, REQ_DUMP, o, e);
}

int criu_restore(struct criu *c, const struct criu_opts *o, struct err *e)
{
	return request(c, REQ_RESTORE, o, e);
}

/* CRIU has refused: its log says more than its one-line message. */
static void set_refusal(struct criu *c, const Crpc__Resp *resp, struct err *e)
{
	char text[ERR_MSG_BYTES - 64] = "";

	criu_why(c->images_fd, c->log_name, resp->cr_errmsg, c->pid, text, sizeof(text));
	err_set(e, ERR_CRIU, resp->cr_errno > 0 ? resp->cr_errno : EIO, "CRIU refused: %s", text);
	err_fix(e, "%s", criu_remedy(text));
}

int criu_next(struct criu *c, enum criu_event *ev, pid_t *pid, uint64_t deadline_us, struct err *e)
{
	Crpc__Resp *resp = NULL;
	int r = recv_resp(c, &resp, deadline_us, e);

	if (r < 0)
		return r;
	if (resp->type == REQ_NOTIFY && resp->notify) {
		*ev = criu_event_of(resp->notify->script);
		if (pid && resp->notify->has_pid)
			*pid = resp->notify->pid;
	} else if (resp->success) {
		*ev = CRIU_EV_DONE;
		if (pid && resp->restore)
			*pid = resp->restore->pid;
	} else {
		*ev = CRIU_EV_FAILED;
		set_refusal(c, resp, e);
	}
	log_debug("criu event=%d script=%s", *ev,
	          resp->notify && resp->notify->script ? resp->notify->script : "-");
	crpc__resp__free_unpacked(resp, NULL);
	return 0;
}

void criu_relay(struct criu *c, int rpc)
{
	relay_free(c->relay);
	c->relay = relay_new(rpc);
}

int criu_relay_rpc(const struct criu *c)
{
	return c->relay ? relay_rpc(c->relay) : -1;
}

int criu_relay_now(struct criu *c, struct err *e)
{
	return c->relay ? relay_ask(c->relay, e) : 0;
}

/* @ok: what we say; the other program may refuse, too. */
static int relay_reply(struct criu *c, bool *ok, struct err *e)
{
	if (!*ok)
		relay_refuse(c->relay, REQ_RESTORE);
	else
		*ok = relay_ask(c->relay, e) == 0;
	return e->code ? -e->code : 0;
}

int criu_reply(struct criu *c, bool ok, struct err *e)
{
	Crpc__Req req = CRPC__REQ__INIT;
	struct err other = ERR_INIT;

	if (c->relay && relay_reply(c, &ok, &other) < 0)
		log_warn("%s", other.msg);
	req.type = REQ_NOTIFY;
	req.has_notify_success = true;
	req.notify_success = ok;
	int r = send_req(c, &req, e);

	if (r == 0 && other.code)
		*e = other;
	return r == 0 && other.code ? -e->code : r;
}

int criu_pump(struct criu *c, enum criu_event want, pid_t *pid, uint64_t deadline_us, struct err *e)
{
	for (;;) {
		enum criu_event ev = CRIU_EV_NONE;
		int r = criu_next(c, &ev, pid, deadline_us, e);

		if (r < 0)
			return r;
		if (ev == want)
			return 0;
		if (ev == CRIU_EV_FAILED)
			return -e->code;
		if (ev == CRIU_EV_DONE)
			return err_set(e, ERR_CRIU, EPROTO, "CRIU ended too early");
		r = criu_reply(c, true, e);
		if (r < 0)
			return r;
	}
}

bool criu_ends(struct criu *c)
{
	if (c->rpc >= 0)
		close(steal_fd(&c->rpc));
	for (int i = 0; c->pid > 0 && i < END_LIMIT_MS / 5; i++)
		if (waitpid(c->pid, NULL, WNOHANG) != 0)
			c->pid = 0;
		else
			usleep(5000);
	return c->pid <= 0;
}

void criu_free(struct criu *c)
{
	if (!c)
		return;
	relay_free(c->relay);
	if (c->rpc >= 0)
		criu_ends(c);
	if (c->pid > 0) {
		log_warn("CRIU pid=%d does not end: killed", c->pid);
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	if (c->wake >= 0)
		close(c->wake);
	if (c->out >= 0)
		close(c->out);
	free(c);
}
