// SPDX-License-Identifier: GPL-2.0-or-later
/* out.c - open the replacements for files that led out of the tree, for CRIU to hand on. */
#include "agent/gate/out.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/berth/berth.h"
#include "agent/check/allow.h"
#include "agent/check/reach.h"
#include "agent/files/beneath.h"
#include "agent/mig/mig.h"
#include "agent/gate/tty.h"
#include "common/log.h"
#include "engine/images/refit.h"
#include "transport/msg/haul.pb-c.h"

#define PATH_BYTES       512
#define UNREAD_BYTES_MAX (4u << 20) /* of one pipe */
#define FILE_MODE        0640
#define JOURNAL_INFO     6 /* priority of lines that name none */
#define HEADER_BYTES     512
#define HEADER_LINES     7

struct place {
	Haul__OutKind kind;
	char path[PATH_BYTES];
	int sock_type; /* of OUT_LAND: O_NONBLOCK or 0 */
	uint32_t uid, gid;
	pid_t pid; /* a connection is this process's, */
	const struct rights_id *id; /* and of this user */
	char header[HEADER_BYTES]; /* for journald */
	uint8_t *unread; /* of OUT_LAND: what was in the pipe at the source; ours */
	size_t n_unread;
	bool made;
	bool no_links; /* it must lie below an allowed directory: follow no link */
};

struct out_places {
	struct place v[CRIU_INHERIT_MAX];
	struct criu_inherit fd[CRIU_INHERIT_MAX];
	size_t n;
	pid_t root;
	char comm[32];
};

/* ---- the offer ---- */

static bool path_ok(const char *s, bool socket)
{
	if (strlen(s) >= PATH_BYTES || (s[0] != '/' && !(socket && s[0] == '@')))
		return false;
	for (; *s; s++)
		if (iscntrl((unsigned char)*s))
			return false;
	return true;
}

/* Who starts the move names the file: root, or a user, whose rights count then. */
static int find_file(const struct wrk *w, const struct place *p, struct stat *st)
{
	static const struct rights_id root = { .caps = UINT64_MAX };
	int need = p->kind == HAUL__OUT_KIND__OUT_READ ? R_OK : W_OK;

	return w->rights.owned ? rights_find(&w->rights, p->path, true, need, NULL, st)
	                       : rights_open(&root, p->path, true, need, st);
}

static int check_file(const struct wrk *w, const struct place *p, struct findings *f)
{
	const struct rights_file new = { p->uid, p->gid, S_IFREG | FILE_MODE };
	char folder[PATH_BYTES];
	struct stat st;
	AUTO(fd) int fd = find_file(w, p, &st);

	if (fd < 0 && fd != -ENOENT && fd != -ENOTDIR)
		return finding_add(f, SEV_BLOCKER, "file-denied",
		                   "name a file that the user of the process may use there",
		                   "%s at the destination is not for this process", p->path);
	if (fd >= 0)
		return S_ISREG(st.st_mode)
		               ? 0
		               : finding_add(f, SEV_BLOCKER, "map-file", "name a plain file",
		                             "%s at the destination is not a plain file", p->path);
	if (p->kind == HAUL__OUT_KIND__OUT_READ)
		return finding_add(f, SEV_BLOCKER, "map-file", "copy it there",
		                   "%s, which the process reads, is not at the destination",
		                   p->path);
	if (w->rights.owned && rights_create(&w->rights, p->path, &new, NULL) < 0)
		return finding_add(f, SEV_BLOCKER, "file-denied", "name another directory",
		                   "user %u may not make %s at the destination", p->uid, p->path);
	snprintf(folder, sizeof(folder), "%s", p->path);
	*strrchr(folder, '/') = 0;
	if (stat(folder[0] ? folder : "/", &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return finding_add(f, SEV_BLOCKER, "map-file", "make the directory there",
	                   "the destination has no directory for %s", p->path);
}

static int connect_to(const struct place *p, const char *first, pid_t pid)
{
	const struct reach r = {
		.id = p->id, .pid = pid, .path = p->path, .type = p->sock_type, .first = first
	};

	return reach_connect(&r);
}

static int check_socket(const struct place *p, struct findings *f)
{
	int fd = connect_to(p, NULL, 0);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (fd == -EACCES || fd == -EPERM || fd == -ELOOP)
		return finding_add(f, SEV_BLOCKER, "unix-denied",
		                   "let the user of the process connect there, or "
		                   "--map=unix:NAME=null, file:PATH, close",
		                   "user %u may not connect to %s at the destination", p->id->uid,
		                   p->path);
	return finding_add(f, SEV_BLOCKER, "unix-missing",
	                   "start the service there, or --map=unix:NAME=null, file:PATH, close",
	                   "no program listens at %s at the destination: %s", p->path,
	                   strerror(-fd));
}

/* An older source names a user only. */
static const struct rights_id *find_id(const struct rights *r, const Haul__Out *m)
{
	for (size_t k = 0; !m->identity && k < r->n; k++)
		if (r->v[k].uid == m->uid)
			return &r->v[k];
	return m->identity && m->identity <= r->n ? &r->v[m->identity - 1] : NULL;
}

/* What journald reads first: seven lines, the program's own word. */
static bool header_ok(const char *s)
{
	unsigned int lines = 0;

	if (strlen(s) >= HEADER_BYTES)
		return false;
	for (; *s; s++) {
		lines += *s == '\n';
		if (iscntrl((unsigned char)*s) && *s != '\n')
			return false;
	}
	return lines == HEADER_LINES;
}

static int take_pipe(struct place *p, const Haul__Out *m)
{
	if (strlen(m->path) >= PATH_BYTES)
		return -EBADMSG;
	strcpy(p->path, m->path);
	p->sock_type = (int)m->sock_type & O_NONBLOCK;
	return 0;
}

static int take(struct out_places *a, const struct rights *who, const Haul__Out *m)
{
	struct place *p = &a->v[a->n];
	struct criu_inherit *in = &a->fd[a->n];
	bool socket = m->kind == HAUL__OUT_KIND__OUT_UNIX || m->kind == HAUL__OUT_KIND__OUT_JOURNAL;

	*in = (struct criu_inherit){ .fd = -1 };
	p->kind = m->kind;
	p->sock_type = (int)m->sock_type;
	p->uid = m->uid;
	p->gid = m->gid;
	p->pid = (pid_t)m->pid;
	p->id = find_id(who, m);
	if (m->kind == HAUL__OUT_KIND__OUT_TTY)
		snprintf(in->key, sizeof(in->key), "tty[%llx:%llx]", (unsigned long long)m->rdev,
		         (unsigned long long)m->dev);
	else
		refit_name((unsigned int)a->n, in->key);
	a->n++;
	if (m->kind == HAUL__OUT_KIND__OUT_TTY)
		return 0;
	if (m->kind == HAUL__OUT_KIND__OUT_LAND)
		return take_pipe(p, m);
	if (!path_ok(m->path, socket) || (unsigned int)m->kind > HAUL__OUT_KIND__OUT_TTY ||
	    (socket && p->sock_type != SOCK_STREAM && p->sock_type != SOCK_DGRAM &&
	     p->sock_type != SOCK_SEQPACKET))
		return -EBADMSG;
	if ((socket && !p->id) || (m->header[0] && !header_ok(m->header)))
		return -EBADMSG;
	strcpy(p->path, m->path);
	strcpy(p->header, m->header);
	return 0;
}

static int check_allowed(const struct wrk *w, struct place *p, const char *allow,
                         struct findings *f)
{
	p->no_links = allow && p->kind == HAUL__OUT_KIND__OUT_FILE;
	if (p->kind != HAUL__OUT_KIND__OUT_FILE || !allow ||
	    allow_dir(allow, chan_peer(w->ctl), p->path) >= 0)
		return 0;
	return finding_add(f, SEV_BLOCKER, "file-not-allowed",
	                   "there, in haul.conf: files-allow = DIR, a directory above it",
	                   "%s: the destination lets nothing be written there by this key",
	                   p->path);
}

int out_offer(struct wrk *w, const Haul__Offer *o, const char *allow, struct findings *f,
              struct err *e)
{
	struct out_places *a = w->outs = calloc(1, sizeof(*a));
	int r = 0;

	if (!a)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for descriptors");
	a->root = (pid_t)o->root_pid;
	for (size_t k = 0; k < sizeof(a->comm) - 1 && o->comm[k]; k++)
		a->comm[k] = isgraph((unsigned char)o->comm[k]) ? o->comm[k] : '_';
	if (o->n_out > CRIU_INHERIT_MAX)
		return err_set(e, ERR_PEER, EBADMSG, "%zu descriptors", o->n_out);
	for (size_t k = 0; r == 0 && k < o->n_out; k++) {
		if (take(a, &w->rights, o->out[k]) < 0)
			return err_set(e, ERR_PEER, EBADMSG, "a descriptor of an unknown kind");
		struct place *p = &a->v[k];

		if (p->kind == HAUL__OUT_KIND__OUT_FILE || p->kind == HAUL__OUT_KIND__OUT_READ)
			r = check_allowed(w, p, allow, f) < 0 ? -ENOMEM : check_file(w, p, f);
		else if (p->kind != HAUL__OUT_KIND__OUT_TTY && p->kind != HAUL__OUT_KIND__OUT_LAND)
			r = check_socket(p, f);
	}
	return r < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory for findings") : 0;
}

/* ---- opening ---- */

static int open_at(const struct wrk *w, const struct place *p, int flags, mode_t mode)
{
	if (!p->no_links && !(flags & O_CREAT)) {
		char path[40];
		struct stat st;
		AUTO(fd) int fd = find_file(w, p, &st);

		if (fd < 0 || !S_ISREG(st.st_mode)) {
			errno = fd < 0 ? -fd : EINVAL;
			return -1;
		}
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		return open(path, flags | O_CLOEXEC | O_NOCTTY);
	}
	AUTO(fd) int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return top < 0 ? -1 : beneath_open(top, p->path + 1, flags | O_NOCTTY, mode, true);
}

static int open_file(const struct wrk *w, struct place *p, struct err *e)
{
	int flags = p->kind == HAUL__OUT_KIND__OUT_READ ? O_RDONLY : O_WRONLY | O_APPEND;
	AUTO(fd) int fd = open_at(w, p, flags, 0);

	if (fd < 0 && errno == ENOENT && p->kind == HAUL__OUT_KIND__OUT_FILE) {
		fd = open_at(w, p, flags | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE);
		p->made = fd >= 0;
	}
	if (fd < 0 || (p->made && fchown(fd, p->uid, p->gid) < 0))
		return err_sys(e, "%s, in place of a file outside the tree", p->path);
	return steal_fd(&fd);
}

/* For a source that sends none: identifier, unit, priority, prefixes like <4>, forwarding to three places */
static void default_header(const struct out_places *a, char out[HEADER_BYTES])
{
	snprintf(out, HEADER_BYTES, "%s\n\n%d\n1\n0\n0\n0\n", a->comm, JOURNAL_INFO);
}

static int open_socket(const struct out_places *a, struct place *p, struct err *e)
{
	bool journal = p->kind == HAUL__OUT_KIND__OUT_JOURNAL;

	if (journal && !p->header[0])
		default_header(a, p->header);
	int fd = connect_to(p, journal ? p->header : NULL, p->pid);

	return fd < 0 ? err_set(e, ERR_SYS, -fd, "connect to %s: %s", p->path, strerror(-fd)) : fd;
}

static int open_pipe(const struct wrk *w, const struct place *p, struct err *e)
{
	AUTO(fd) int fd = berth_stream(w, p->path);

	if (fd < 0 || fcntl(fd, F_SETFL, p->sock_type) < 0)
		return err_set(e, ERR_PEER, EBADMSG, "haul land has no pipe \"%s\"", p->path);
	return steal_fd(&fd);
}

int out_open(struct wrk *w, struct err *e)
{
	struct out_places *a = w->outs;

	for (size_t k = 0; a && k < a->n; k++) {
		struct place *p = &a->v[k];
		int r = 0;

		switch (p->kind) {
		case HAUL__OUT_KIND__OUT_FILE:
		case HAUL__OUT_KIND__OUT_READ:
			r = a->fd[k].fd = open_file(w, p, e);
			break;
		case HAUL__OUT_KIND__OUT_TTY:
			r = tty_open(a->root, &a->fd[k].fd, e);
			break;
		case HAUL__OUT_KIND__OUT_LAND:
			r = a->fd[k].fd = open_pipe(w, p, e);
			break;
		default:
			r = a->fd[k].fd = open_socket(a, p, e);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

const struct criu_inherit *out_list(const struct out_places *a, size_t *n)
{
	*n = a ? a->n : 0;
	return a ? a->fd : NULL;
}

static int keep_unread(struct place *p, const Haul__Unread *u, struct err *e)
{
	if (p->unread || u->data.len > UNREAD_BYTES_MAX)
		return err_set(e, ERR_PEER, EBADMSG, "a pipe with %zu bytes", u->data.len);
	p->unread = malloc(u->data.len + 1);
	if (!p->unread)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a pipe");
	if (u->data.len)
		memcpy(p->unread, u->data.data, u->data.len);
	p->n_unread = u->data.len;
	return 0;
}

int out_unread_keep(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	struct out_places *a = w->outs;
	int r = 0;

	for (size_t i = 0; i < s->n_unread; i++)
		for (size_t k = 0; r == 0 && a && k < a->n; k++)
			if (a->v[k].kind == HAUL__OUT_KIND__OUT_LAND &&
			    !strcmp(a->v[k].path, s->unread[i]->stream))
				r = keep_unread(&a->v[k], s->unread[i], e);
	return r;
}

/* The program's end of a pipe may be the one that reads: open it again to write. */
static void put_unread(const struct wrk *w, const struct place *p)
{
	char path[40];
	AUTO(fd) int end = berth_stream(w, p->path);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", end);
	AUTO(fd) int fd = end < 0 ? -1 : open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && fcntl(fd, F_GETPIPE_SZ) < (int)p->n_unread)
		fcntl(fd, F_SETPIPE_SZ, (int)p->n_unread);
	if (fd < 0 || write(fd, p->unread, p->n_unread) != (ssize_t)p->n_unread)
		log_err("%zu bytes that were not read from the pipe \"%s\" are lost: %s",
		        p->n_unread, p->path, strerror(errno));
}

void out_unread(const struct wrk *w)
{
	const struct out_places *a = w->outs;

	for (size_t k = 0; a && k < a->n; k++)
		if (a->v[k].n_unread)
			put_unread(w, &a->v[k]);
}

void out_close(struct out_places *a)
{
	for (size_t k = 0; a && k < a->n; k++) {
		if (a->fd[k].fd >= 0)
			close(a->fd[k].fd);
		a->fd[k].fd = -1;
	}
}

void out_undo(struct out_places *a)
{
	struct stat st;

	out_close(a);
	for (size_t k = 0; a && k < a->n; k++)
		if (a->v[k].made && lstat(a->v[k].path, &st) == 0 && st.st_size == 0)
			unlink(a->v[k].path);
}

void out_free(struct out_places *a)
{
	out_close(a);
	for (size_t k = 0; a && k < a->n; k++)
		free(a->v[k].unread);
	free(a);
}
