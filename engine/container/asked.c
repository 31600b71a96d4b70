// SPDX-License-Identifier: GPL-2.0-or-later
/* asked.c - take the requests of a runtime in CRIU's place. */
#include "engine/container/asked.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/local/passfd.h"
#include "common/host/rundir.h"
#include "engine/container/tool.h"
#include "engine/container/front.h"
#include "engine/criu/criu.pb-c.h"

#define FOLDERS      "/run/haul/front"
#define ASK_BYTES    (1u << 20)
#define PATH_BYTES   1024
#define PEER_LIMIT_S 10

/* Of CRIU's RPC. */
enum { ASK_DUMP = 1, ASK_RESTORE = 2, ASK_VERSION = 10 };

struct asked {
	char dir[ASKED_DIR_BYTES], path[PATH_BYTES];
	const char *criu;
	unsigned int version;
	int door;
};

static void name_of(uint64_t id, char out[ASKED_DIR_BYTES])
{
	snprintf(out, ASKED_DIR_BYTES, FOLDERS "/%016llx", (unsigned long long)id);
}

/* It has files and folders of files. */
static void empty(const char *path)
{
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));) {
		AUTO(dir) DIR *below = NULL;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (unlinkat(dirfd(d), de->d_name, 0) == 0)
			continue;
		int fd = openat(dirfd(d), de->d_name,
		                O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

		below = fd < 0 ? NULL : fdopendir(fd);
		for (struct dirent *in; below && (in = readdir(below));)
			unlinkat(dirfd(below), in->d_name, 0);
		unlinkat(dirfd(d), de->d_name, AT_REMOVEDIR);
	}
}

void asked_remove(uint64_t id)
{
	char dir[ASKED_DIR_BYTES];

	name_of(id, dir);
	empty(dir);
	rmdir(dir);
}

static int make_folder(struct asked *a, struct err *e)
{
	char link[ASKED_DIR_BYTES + 16], self[PATH_BYTES];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n <= 0)
		return err_sys(e, "our own program");
	self[n] = 0;
	if (rundir_parents(FOLDERS "/", e) < 0 || rundir_make(FOLDERS, 0700, e) < 0 ||
	    rundir_make(a->dir, 0700, e) < 0)
		return err_code(e);
	snprintf(link, sizeof(link), "%s/criu", a->dir);
	if (symlink(self, link) < 0)
		return err_sys(e, "%s", link);
	const char *path = getenv("PATH");

	snprintf(a->path, sizeof(a->path), "PATH=%s:%s", a->dir,
	         path ? path : "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin");
	return 0;
}

static int listen_there(struct asked *a, struct err *e)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/" FRONT_SOCKET, a->dir);
	a->door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (a->door < 0 || bind(a->door, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    listen(a->door, 16) < 0)
		return err_sys(e, "%s", at.sun_path);
	return 0;
}

int asked_open(struct asked **out, uint64_t id, const char *criu, unsigned int version,
               struct err *e)
{
	AUTO(asked) struct asked *a = calloc(1, sizeof(*a));

	if (!a)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	a->door = -1;
	a->criu = criu;
	a->version = version;
	name_of(id, a->dir);
	asked_remove(id);
	if (make_folder(a, e) < 0 || listen_there(a, e) < 0)
		return err_code(e);
	*out = steal(a);
	return 0;
}

const char *asked_dir(const struct asked *a)
{
	return a->dir;
}

const char *asked_path(const struct asked *a)
{
	return a->path;
}

void asked_close(struct asked *a)
{
	if (!a)
		return;
	if (a->door >= 0)
		close(a->door);
	empty(a->dir);
	rmdir(a->dir);
	free(a);
}

void asked_fini(struct wanted *k)
{
	free(k->data);
	if (k->rpc >= 0)
		close(k->rpc);
	if (k->front >= 0)
		close(k->front);
	*k = (struct wanted){ .rpc = -1, .front = -1 };
}

/* ---- one request ---- */

/* A program in front has come: who is it, and what does its runtime want? */
static int take(struct asked *a, struct wanted *k, struct err *e)
{
	struct timeval limit = { .tv_sec = PEER_LIMIT_S };
	struct ucred who;
	socklen_t n = sizeof(who);
	size_t fds = 1;
	char byte;

	*k = (struct wanted){ .rpc = -1, .front = -1 };
	k->front = accept4(a->door, NULL, NULL, SOCK_CLOEXEC);
	if (k->front < 0 || getsockopt(k->front, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
		return err_sys(e, "the program in front of CRIU");
	k->pid = who.pid;
	setsockopt(k->front, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (passfd_take(k->front, &byte, 1, &k->rpc, &fds) <= 0 || fds != 1)
		return err_set(e, ERR_SYS, EPROTO, "the program in front of CRIU says nothing");
	setsockopt(k->rpc, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	k->data = malloc(ASK_BYTES);
	if (!k->data)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	ssize_t got = recv(k->rpc, k->data, ASK_BYTES, 0);

	k->bytes = got > 0 ? (size_t)got : 0;
	return got > 0 ? 0 : err_set(e, ERR_SYS, EPROTO, "the runtime asks nothing of CRIU");
}

static int answer(struct wanted *k, const Crpc__Resp *resp, struct err *e)
{
	uint8_t buf[512];
	size_t n = crpc__resp__get_packed_size(resp);

	if (n > sizeof(buf))
		return err_set(e, ERR_BUG, E2BIG, "an answer of %zu bytes", n);
	crpc__resp__pack(resp, buf);
	return send(k->rpc, buf, n, MSG_NOSIGNAL) < 0 ? err_sys(e, "answer the runtime") : 0;
}

/* The program in front ends, as CRIU does after its last answer. */
static void done(struct wanted *k)
{
	struct front_answer a = { .become = false };

	passfd_send(k->front, &a, sizeof(a), NULL, 0, 0);
}

static int say_version(const struct asked *a, struct wanted *k, struct err *e)
{
	Crpc__Resp resp = CRPC__RESP__INIT;
	Crpc__Version v = CRPC__VERSION__INIT;

	v.major = (int)a->version / 10000;
	v.minor = (int)a->version / 100 % 100;
	v.has_sublevel = true;
	v.sublevel = (int)a->version % 100;
	resp.type = ASK_VERSION;
	resp.success = true;
	resp.version = &v;
	int r = answer(k, &resp, e);

	done(k);
	return r;
}

static int refuse(struct wanted *k, int type, struct err *e)
{
	Crpc__Resp resp = CRPC__RESP__INIT;

	resp.type = type;
	resp.success = false;
	resp.cr_errmsg = (char *)"haul moves this container: it takes no such request";
	log_warn("request %d of a runtime is refused", type);
	int r = answer(k, &resp, e);

	done(k);
	return r;
}

static int type_of(const struct wanted *k)
{
	Crpc__Req *req = crpc__req__unpack(NULL, k->bytes, k->data);
	int type = req ? req->type : 0;

	if (req)
		crpc__req__free_unpacked(req, NULL);
	return type;
}

/* Return: 1 a program in front waits; -EPROTO: @c has ended */
static int wait_next(struct asked *a, struct tool *c, uint64_t deadline_us, struct err *e)
{
	struct pollfd p[2] = { { .fd = a->door, .events = POLLIN },
		               { .fd = tool_pidfd(c), .events = POLLIN } };
	int r;

	do {
		r = poll(p, 2, deadline_poll_ms(deadline_us));
	} while (r < 0 && errno == EINTR);
	if (r <= 0)
		return err_set(e, ERR_SYS, ETIMEDOUT, "the runtime does not come to CRIU");
	if (p[0].revents & POLLIN)
		return 1;
	r = tool_wait(c, deadline_us, e);
	return r < 0 ? r : err_set(e, ERR_SYS, EPROTO, "the runtime has not asked for CRIU");
}

static int until(struct asked *a, struct tool *c, int want, struct wanted *out,
                 uint64_t deadline_us, struct err *e)
{
	for (;;) {
		int r = wait_next(a, c, deadline_us, e);

		if (r < 0)
			return r;
		r = take(a, out, e);
		int type = r < 0 ? 0 : type_of(out);

		if (r == 0 && type == want)
			return 0;
		if (r == 0)
			r = type == ASK_VERSION ? say_version(a, out, e) : refuse(out, type, e);
		asked_fini(out);
		if (r < 0)
			return r;
	}
}

/* ---- a dump ---- */

/* What a runtime looks for when CRIU has dumped. @fd: a folder, in the table of who made the socket pair */
static void leave_file(const struct wanted *k, int fd, const char *name)
{
	struct ucred who;
	socklen_t n = sizeof(who);
	char path[64];

	if (getsockopt(k->rpc, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d/%s", who.pid, fd, name);
	int out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (out >= 0)
		close(out);
}

int asked_dump(struct asked *a, struct tool *c, struct wanted *out, uint64_t deadline_us,
               struct err *e)
{
	Crpc__Resp resp = CRPC__RESP__INIT;
	int r = until(a, c, ASK_DUMP, out, deadline_us, e);

	if (r < 0)
		return r;
	Crpc__Req *req = crpc__req__unpack(NULL, out->bytes, out->data);

	if (req && req->opts) {
		leave_file(out, req->opts->images_dir_fd, "inventory.img");
		leave_file(out,
		           req->opts->has_work_dir_fd ? req->opts->work_dir_fd
		                                      : req->opts->images_dir_fd,
		           "stats-dump");
	}
	if (req)
		crpc__req__free_unpacked(req, NULL);
	resp.type = ASK_DUMP;
	resp.success = true;
	r = answer(out, &resp, e);
	done(out);
	close(out->rpc);
	close(out->front);
	out->rpc = out->front = -1;
	return r;
}

/* ---- a restore ---- */

char *asked_root(const struct wanted *k)
{
	Crpc__Req *req = crpc__req__unpack(NULL, k->bytes, k->data);
	char *root = req && req->opts && req->opts->root ? strdup(req->opts->root) : NULL;

	if (req)
		crpc__req__free_unpacked(req, NULL);
	return root;
}

int asked_restore(struct asked *a, struct tool *c, struct wanted *out, uint64_t deadline_us,
                  struct err *e)
{
	return until(a, c, ASK_RESTORE, out, deadline_us, e);
}

int asked_become(struct wanted *k, const char *criu, bool cgroup_space, int rpc,
                 const struct criu_inherit *v, size_t n, struct err *e)
{
	struct front_answer a = { .become = true, .cgroup_space = cgroup_space };
	int fd[FRONT_FDS_MAX];

	if (n + 1 > FRONT_FDS_MAX)
		return err_set(e, ERR_BUG, E2BIG, "%zu descriptors for CRIU", n);
	fd[0] = rpc;
	for (size_t i = 0; i < n; i++)
		fd[i + 1] = v[i].fd;
	snprintf(a.path, sizeof(a.path), "%s", criu);
	int r = passfd_send(k->front, &a, sizeof(a), fd, n + 1, 0);

	return r < 0 ? err_set(e, ERR_SYS, -r, "the program in front of CRIU: %s", strerror(-r))
	             : 0;
}
