// SPDX-License-Identifier: GPL-2.0-or-later
/* held.c - compare what the restored tree holds with what it may have; nothing of it has run yet. */
#include "agent/gate/held.h"
#include "agent/gate/before.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/berth/berth.h"
#include "agent/check/files.h"
#include "agent/check/rights.h"
#include "agent/files/bring.h"
#include "agent/gate/foreign.h"
#include "agent/mig/mig.h"
#include "agent/gate/out.h"
#include "agent/gate/peers.h"
#include "engine/images/held.h"
#include "engine/images/img.h"
#include "engine/proc/proc.h"

#define DELETED      " (deleted)"
#define SOCKETS_DEEP 4 /* in the queues of one another */

/* What one process holds under one name of /proc/PID. */
struct held {
	struct wrk *w;
	const struct peers *peers;
	pid_t pid;
	struct rights_id id;
	dev_t images; /* where CRIU's own files are */
	struct stat exe;
	struct rights_place *place; /* of the file before; NULL: none */
	/* the object */
	const char *what; /* "fd", "map_files", "exe", "cwd", "root" */
	char name[64]; /* in that directory */
	int at; /* a directory of /proc, in which the object has @entry for its name */
	const char *entry;
	char path[PATH_MAX];
	int fd; /* of it; -1: by @entry */
	struct stat st;
	int need;
	/* the last one that was judged: the segments of a library follow each other */
	struct {
		dev_t dev;
		ino_t ino;
		int need;
		char path[PATH_MAX];
	} last;
};

static int refuse(const struct held *h, int code, const char *why, struct err *e)
{
	char path[256];

	files_clean(h->path, path, sizeof(path));
	err_set(e, ERR_TARGET, code, "%s %s of pid %d (user %u): %s", h->what, path, h->pid,
	        h->id.uid, why);
	return err_fix(e,
	               "give user %u the right there, or see docs/SECURITY.md, \"files at the "
	               "destination\"",
	               h->id.uid);
}

/* ---- objects ---- */

/* CRIU has this from us: out.c has opened it with the rights that count. */
static bool is_inherited(const struct held *h)
{
	size_t n;
	const struct criu_inherit *v = out_list(h->w->outs, &n);
	struct stat st;

	for (size_t i = 0; i < n; i++)
		if (v[i].fd >= 0 && fstat(v[i].fd, &st) == 0 && st.st_dev == h->st.st_dev &&
		    st.st_ino == h->st.st_ino)
			return true;
	return false;
}

/*
 * CRIU keeps some descriptors until the resume: its images, and a /proc that is mounted nowhere, so
 * that its path is "/". No file that CRIU has opened by a name is called so but the root directory.
 */
static bool is_criu(const struct held *h)
{
	struct stat root;

	if (h->st.st_dev == h->images)
		return true;
	return !strcmp(h->what, "fd") && !strcmp(h->path, "/") && stat("/", &root) == 0 &&
	       (root.st_dev != h->st.st_dev || root.st_ino != h->st.st_ino);
}

/* A file of a process that has ended: reading it says so, whoever reads. */
static bool is_of_dead(const struct held *h)
{
	struct statfs fs;
	char path[64];
	int pid;

	if (sscanf(h->path, "/proc/%d/", &pid) != 1)
		return false;
	AUTO(fd) int fd = openat(h->at, h->entry, O_PATH | O_CLOEXEC);

	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
		return false;
	int n = berth_proc(h->w, NULL, path, sizeof(path));

	snprintf(path + n, sizeof(path) - (size_t)n, "/%d", pid);
	return access(path, F_OK) < 0 && errno == ENOENT;
}

/*
 * Return: R_OK, W_OK of a descriptor's mode, which the mode of its link has, too. A link without either is that of
 * O_PATH, or of an open for ioctl alone.
 */
static int need_of_fd(const struct held *h)
{
	char path[128], line[128];
	unsigned int flags = O_RDWR;
	struct stat link;

	if (fstatat(h->at, h->entry, &link, AT_SYMLINK_NOFOLLOW) < 0)
		return R_OK | W_OK;
	int need = (link.st_mode & S_IRUSR ? R_OK : 0) | (link.st_mode & S_IWUSR ? W_OK : 0);

	if (need)
		return need;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", h->pid, h->name);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "flags: %o", &flags) == 1)
			break;
	return rights_need(flags);
}

/* The link's mode has the mode of the open file. Of the program itself X_OK is enough. */
static int need_of_map(const struct held *h)
{
	struct stat link;

	if (fstatat(h->at, h->entry, &link, AT_SYMLINK_NOFOLLOW) < 0 || link.st_mode & S_IWUSR)
		return R_OK | W_OK;
	if (h->st.st_dev == h->exe.st_dev && h->st.st_ino == h->exe.st_ino)
		return X_OK;
	return R_OK;
}

static int need_of(const struct held *h)
{
	if (!strcmp(h->what, "queued"))
		return h->need;
	if (!strcmp(h->what, "fd"))
		return need_of_fd(h);
	if (!strcmp(h->what, "map_files"))
		return need_of_map(h);
	return X_OK;
}

/* A file that has lost its name travels in the images: CRIU has made it anew. */
static int judge_nameless(const struct held *h, struct err *e)
{
	if (!before_is_kernels(h->path) && !before_may_make(h->w, &h->id, h->path))
		return refuse(h, EACCES, "that user may not make it at the destination", e);
	if (!h->w->rights.owned)
		return 0;
	AUTO(fd) int own = h->fd < 0 ? openat(h->at, h->entry, O_PATH | O_CLOEXEC) : -1;
	int fd = h->fd < 0 ? own : h->fd;

	if (fd < 0)
		return err_sys(e, "%s of pid %d (%s)", h->entry, h->pid, h->path);
	if (rights_access(&h->id, fd, h->need) == 0)
		return 0;
	return refuse(h, EACCES, "that user may not open it", e);
}

/* A file with the source's content, which the tree only reads: was this host's written to since? */
static bool has_changed(const struct bring_file *f, const struct stat *st)
{
	bool kernels = !strncmp(f->path, "/proc/", 6) || !strncmp(f->path, "/sys/", 5);

	return f->state == HAUL__FILE_STATE__FILE_SAME && f->ino && !f->write &&
	       S_ISREG(st->st_mode) && !kernels &&
	       (f->compared.tv_sec != st->st_mtim.tv_sec ||
	        f->compared.tv_nsec != st->st_mtim.tv_nsec);
}

/* Opens it as the process would. Return: 0; -errno */
static int open_again(const struct held *h, int need, struct stat *st)
{
	/* O_PATH | O_NOFOLLOW: the link itself, which has no content */
	bool link = S_ISLNK(h->st.st_mode);

	if (h->place && !link)
		return rights_see_near(h->place, &h->id, h->path, need, st);
	need = link ? 0 : need;
	AUTO(fd)
	int fd = h->place ? rights_open_near(h->place, &h->id, h->path, !link, need, st)
	                  : rights_open(&h->id, h->path, !link, need, st);

	return fd < 0 ? fd : 0;
}

/* Of the /proc of its own pid namespace, which has no other name on this host. */
static bool is_of_own_proc(const struct held *h)
{
	char path[64];
	dev_t dev = 0;

	if (strncmp(h->path, "/proc", 5) != 0)
		return false;
	berth_proc(h->w, &dev, path, sizeof(path));
	return dev && h->st.st_dev == dev;
}

static int judge_own_proc(const struct held *h, struct err *e)
{
	AUTO(fd) int own = h->fd < 0 ? openat(h->at, h->entry, O_PATH | O_CLOEXEC) : -1;
	int fd = h->fd < 0 ? own : h->fd;

	if (fd >= 0 && rights_access(&h->id, fd, h->need) == 0)
		return 0;
	return refuse(h, EACCES, "that user may not open it", e);
}

/* The same device in the /dev that systemd has made for a service (PrivateDevices=). Only root moves services. */
static bool is_units_device(const struct held *h, const struct stat *st)
{
	return h->w->keep->unit[0] && S_ISCHR(st->st_mode) && S_ISCHR(h->st.st_mode) &&
	       st->st_rdev == h->st.st_rdev && st->st_mode == h->st.st_mode &&
	       st->st_uid == h->st.st_uid;
}

static int judge(const struct held *h, struct err *e)
{
	if (foreign_proc(h->w, h->pid, &h->id, h->path) < 0)
		return refuse(h, EACCES, "that user may not look into that process", e);
	if (is_of_own_proc(h))
		return judge_own_proc(h, e);

	const struct bring_file *f = bring_find(h->w->bring, h->path);
	const struct rights_file was = { f ? f->uid : 0, f ? f->gid : 0, f ? f->mode : 0 };
	struct stat st;

	bool own_node = h->w->keep->unit[0] && S_ISCHR(h->st.st_mode); /* is_units_device() */

	if (f && f->ino && !own_node && (f->dev != h->st.st_dev || f->ino != h->st.st_ino))
		return refuse(h, ESTALE, "it is not the file that was accepted", e);
	if (f && has_changed(f, &h->st))
		return refuse(h, ESTALE, "it was changed since it was compared", e);
	int r = open_again(h, h->need, &st);

	if (r == -EACCES && h->need == R_OK && !strcmp(h->what, "map_files"))
		r = open_again(h, X_OK, &st);
	AUTO(fd)
	int given = r == 0 ? -1
	                   : rights_given(&h->w->rights, &h->id, h->path, f ? &was : NULL, h->need,
	                                  &st);

	if (r < 0 && given < 0)
		return refuse(h, EACCES,
		              r == -ELOOP ? "a symbolic link that another user could "
		                            "change leads there"
		                          : "that user may not open it at the destination",
		              e);
	if (is_units_device(h, &st))
		return 0;
	if (st.st_dev != h->st.st_dev || st.st_ino != h->st.st_ino)
		return refuse(h, ESTALE, "another file has that name by now", e);
	return 0;
}

static int judge_socket_peer(struct held *h, struct err *e)
{
	const char *name = NULL;
	unsigned long long inode;

	if (sscanf(h->path, "socket:[%llu]", &inode) != 1 ||
	    fstatat(h->at, h->entry, &h->st, 0) < 0 || is_inherited(h) ||
	    peers_judge(h->peers, h->w, &h->id, inode, &name) == 0)
		return 0;
	snprintf(h->path, sizeof(h->path), "%s", name);
	return refuse(h, EACCES, "that user may not send to the UNIX socket at the destination", e);
}

static int judge_either(const struct held *h, struct err *e)
{
	size_t n = strlen(h->path), tail = strlen(DELETED);

	struct stat st;
	bool named_so = n > tail && !strcmp(h->path + n - tail, DELETED);
	/* something may have such a name, too */
	bool there = named_so && lstat(h->path, &st) == 0 && st.st_dev == h->st.st_dev &&
	             st.st_ino == h->st.st_ino;

	if (h->st.st_nlink == 0 || (named_so && !there))
		return judge_nameless(h, e);
	return judge(h, e);
}

/* An object that has h->path and is open as @fd. */
static int look_open(struct held *h, int fd, struct err *e)
{
	size_t n = strlen(h->path);

	h->fd = fd;
	h->need = need_of(h);
	if (h->st.st_dev == h->last.dev && h->st.st_ino == h->last.ino && h->need == h->last.need &&
	    !strcmp(h->path, h->last.path))
		return 0;
	int r = judge_either(h, e);

	if (r < 0)
		return r;
	h->last.dev = h->st.st_dev;
	h->last.ino = h->st.st_ino;
	h->last.need = h->need;
	memcpy(h->last.path, h->path, n + 1);
	return 0;
}

/* ---- descriptors that wait in sockets ---- */

/* CRIU has opened them by their names, too, and no /proc lists them. */
struct queue {
	const struct held *held;
	unsigned int depth; /* sockets in sockets */
	struct err *e;
};

static int look_passed(void *arg, int fd);

static int look_into(const struct held *h, int fd, unsigned int depth, struct err *e)
{
	struct queue q = { .held = h, .depth = depth, .e = e };
	int domain = 0, r = -EMLINK;
	socklen_t n = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0 || domain != AF_UNIX)
		return 0;
	if (depth < SOCKETS_DEEP)
		r = net_unix_passed(fd, look_passed, &q);
	return r < 0 && !e->code
	               ? err_set(e, ERR_TARGET, -r, "the queue of a UNIX socket of pid %d: %s",
	                         h->pid, strerror(-r))
	               : r;
}

static int look_passed(void *arg, int fd)
{
	const struct queue *q = arg;
	struct held h = *q->held;
	char link[32];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, h.path, sizeof(h.path) - 1);
	int flags = fcntl(fd, F_GETFL);

	if (n <= 0 || flags < 0 || fstat(fd, &h.st) < 0)
		return err_sys(q->e, "a descriptor in a queue of pid %d", h.pid);
	h.path[n] = 0;
	if (S_ISSOCK(h.st.st_mode))
		return look_into(&h, fd, q->depth + 1, q->e);
	if (h.path[0] != '/' || is_inherited(&h))
		return 0;
	h.what = "queued";
	h.place = NULL;
	h.need = rights_need((unsigned int)flags);
	return look_open(&h, fd, q->e);
}

static int look_queue(const struct held *h, struct err *e)
{
	AUTO(fd) int fd = procs_copy_fd(h->pid, (int)strtol(h->name, NULL, 10));

	return fd < 0 ? err_sys(e, "descriptor %s of pid %d", h->name, h->pid)
	              : look_into(h, fd, 0, e);
}

/* Root has bound it. */
static int judge_port(const struct held *h, struct err *e)
{
	unsigned int port;
	int r = foreign_port(h->pid, (int)strtol(h->name, NULL, 10), &h->id, &port);

	if (r != -EACCES)
		return r < 0 ? err_set(e, ERR_SYS, -r, "descriptor %s of pid %d: %s", h->name,
		                       h->pid, strerror(-r))
		             : 0;
	err_set(e, ERR_TARGET, EACCES, "port %u of pid %d (user %u) is for root at the destination",
	        port, h->pid, h->id.uid);
	return err_fix(e, "root may move it; or set net.ipv4.ip_unprivileged_port_start there");
}

/* A socket: to whom is it connected, and what waits in it? */
static int look_socket(struct held *h, struct err *e)
{
	int r = h->peers->any ? judge_socket_peer(h, e) : 0;

	if (r == 0 && h->w->rights.owned)
		r = judge_port(h, e);
	return r < 0 || !h->peers->queues ? r : look_queue(h, e);
}

static int look(struct held *h, struct err *e)
{
	ssize_t n = readlinkat(h->at, h->entry, h->path, sizeof(h->path) - 1);

	if (n <= 0)
		return n < 0 && errno != ENOENT
		               ? err_sys(e, "%s %s of pid %d", h->what, h->name, h->pid)
		               : 0;
	h->path[n] = 0;
	if (!strncmp(h->path, "socket:", 7))
		return look_socket(h, e);
	if (h->path[0] != '/') /* a pipe, an anonymous inode */
		return 0;
	if (fstatat(h->at, h->entry, &h->st, 0) < 0)
		return err_sys(e, "%s %s of pid %d (%s)", h->what, h->name, h->pid, h->path);
	return is_criu(h) || S_ISSOCK(h->st.st_mode) || is_inherited(h) || is_of_dead(h)
	               ? 0
	               : look_open(h, -1, e);
}

static int look_dir(struct held *h, int proc, const char *what, struct err *e)
{
	int fd = openat(proc, what, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	AUTO(dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, "%s of pid %d", what, h->pid);
	h->what = what;
	h->at = dirfd(d);
	h->entry = h->name;
	for (struct dirent *de; r == 0 && (de = readdir(d));)
		if (de->d_name[0] != '.') {
			snprintf(h->name, sizeof(h->name), "%.60s", de->d_name);
			r = look(h, e);
		}
	h->name[0] = 0;
	return r;
}

static int look_one(struct held *h, int proc, const char *what, struct err *e)
{
	h->what = h->entry = what;
	h->at = proc;
	h->name[0] = 0;
	return look(h, e);
}

/* ---- processes ---- */

static int look_process(struct held *h, struct err *e)
{
	static const char *const links[] = { "root", "cwd", "exe" };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", h->pid);
	AUTO(fd) int proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (proc < 0)
		return errno == ENOENT ? 0 : err_sys(e, "%s", path);
	if (fstatat(proc, "exe", &h->exe, 0) < 0)
		h->exe = (struct stat){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (look_one(h, proc, links[i], e) < 0)
			return err_code(e);
	int r = look_dir(h, proc, "fd", e);

	return r < 0 ? r : look_dir(h, proc, "map_files", e);
}

static int check_process(struct wrk *w, const struct peers *peers, pid_t pid, dev_t images,
                         struct err *e)
{
	struct rights_place place = { .fd = -1 };
	struct held h = {
		.w = w, .peers = peers, .pid = berth_pid(w, pid), .images = images, .place = &place
	};
	struct img_creds c;
	int r = img_creds(w->images_fd, pid, &c, e);

	if (r == -ENODATA)
		return 0; /* it had ended */
	if (r < 0)
		return r;
	h.id = (struct rights_id){ .uid = c.uid,
		                   .gid = c.gid,
		                   .groups = c.groups,
		                   .n_groups = c.n_groups,
		                   .caps = c.caps };
	r = look_process(&h, e);
	rights_place_fini(&place);
	img_creds_fini(&c);
	return r;
}

int held_check(struct wrk *w, struct err *e)
{
	AUTO(img_tree) struct img_tree tree = { 0 };
	AUTO(peers) struct peers peers = { 0 };
	struct stat images;
	int r = img_tree(w->images_fd, &tree, e);

	if (r < 0)
		return r;
	r = peers_load(&peers, w, e);
	if (r < 0)
		return r;
	if (fstat(w->images_fd, &images) < 0)
		return err_sys(e, "images");
	for (size_t i = 0; r == 0 && i < tree.n; i++)
		r = check_process(w, &peers, tree.v[i].pid, images.st_dev, e);
	return r;
}
