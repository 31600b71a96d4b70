// SPDX-License-Identifier: GPL-2.0-or-later
/* unix.c - UNIX sockets: which are connected to processes outside the tree, and to which. */
#include "hauler/inspect/priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/array.h"
#include "engine/net/sock_diag.h"

#define NAME_MAX_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

struct usock {
	uint64_t inode, peer; /* 0: none */
	uint32_t file; /* inode of the file that it is bound to; 0: none */
	uint8_t type, state;
	char name[NAME_MAX_BYTES + 1]; /* an abstract one starts with @ here */
};

/* A client that its listener has not accepted yet: the kernel reports no peer for it. */
struct waiting {
	uint64_t client, listener;
};

struct usocks {
	struct usock *v;
	size_t n, cap;
	struct waiting *waiting;
	size_t n_waiting, cap_waiting;
};

/* ---- all of them ---- */

static void take_attr(struct usock *s, const struct rtattr *a)
{
	size_t n = RTA_PAYLOAD(a);
	uint32_t peer;
	struct unix_diag_vfs vfs;

	if (a->rta_type == UNIX_DIAG_VFS && n >= sizeof(vfs)) {
		memcpy(&vfs, RTA_DATA(a), sizeof(vfs));
		s->file = vfs.udiag_vfs_ino;
	}
	if (a->rta_type == UNIX_DIAG_PEER && n >= sizeof(peer)) {
		memcpy(&peer, RTA_DATA(a), sizeof(peer));
		s->peer = peer;
	}
	if (a->rta_type == UNIX_DIAG_NAME && n > 0 && n < sizeof(s->name)) {
		memcpy(s->name, RTA_DATA(a), n);
		s->name[n] = 0;
		if (!s->name[0])
			s->name[0] = '@';
	}
}

static int take_waiting(struct usocks *l, uint64_t listener, const struct rtattr *a)
{
	const char *p = RTA_DATA(a);

	if (a->rta_type != UNIX_DIAG_ICONS)
		return 0;
	for (size_t at = 0; at + sizeof(uint32_t) <= RTA_PAYLOAD(a); at += sizeof(uint32_t)) {
		uint32_t client;

		memcpy(&client, p + at, sizeof(client));
		if (array_grow(&l->waiting, l->n_waiting, &l->cap_waiting, sizeof(*l->waiting)) < 0)
			return -ENOMEM;
		l->waiting[l->n_waiting++] = (struct waiting){ client, listener };
	}
	return 0;
}

static int on_socket(void *arg, const struct nlmsghdr *h)
{
	struct usocks *l = arg;
	const struct unix_diag_msg *u = NLMSG_DATA(h);
	int left = (int)h->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*u));

	if (left < 0 || array_grow(&l->v, l->n, &l->cap, sizeof(*l->v)) < 0)
		return left < 0 ? -EPROTO : -ENOMEM;
	struct usock *s = &l->v[l->n++];

	*s = (struct usock){ .inode = u->udiag_ino,
		             .type = u->udiag_type,
		             .state = u->udiag_state };
	for (const struct rtattr *a = (const struct rtattr *)(u + 1); RTA_OK(a, left);
	     a = RTA_NEXT(a, left)) {
		take_attr(s, a);
		if (take_waiting(l, s->inode, a) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int by_inode(const void *a, const void *b)
{
	uint64_t x = ((const struct usock *)a)->inode, y = ((const struct usock *)b)->inode;

	return x < y ? -1 : x > y;
}

static struct usock *find(const struct usocks *l, uint64_t inode)
{
	struct usock key = { .inode = inode };

	return l->n ? bsearch(&key, l->v, l->n, sizeof(key), by_inode) : NULL;
}

/* ---- those of the tree ---- */

static bool is_ours(const struct inspect_ends *l, uint64_t inode)
{
	for (size_t k = 0; k < l->n; k++)
		if (l->v[k].inode == inode)
			return true;
	return false;
}

/* No other program may have the name at the destination. Accepted connections have it, too. */
static int note_name(struct inspect *i, const char *name)
{
	for (size_t k = 0; k < i->unix_names.n; k++)
		if (!strcmp(i->unix_names.v[k], name))
			return 0;
	if (array_grow(&i->unix_names.v, i->unix_names.n, &i->unix_names.cap, sizeof(char *)) < 0)
		return -ENOMEM;
	i->unix_names.v[i->unix_names.n] = strdup(name);
	return i->unix_names.v[i->unix_names.n++] ? 0 : -ENOMEM;
}

/* ---- names that were changed ---- */

static int note_rename(struct inspect *i, const struct usock *s, const char *to,
                       const struct stat *st)
{
	if (array_grow(&i->renames.v, i->renames.n, &i->renames.cap, sizeof(*i->renames.v)) < 0)
		return -ENOMEM;
	struct img_rename *r = &i->renames.v[i->renames.n++];

	*r = (struct img_rename){ .inode = (uint32_t)s->inode,
		                  .mode = st->st_mode,
		                  .uid = st->st_uid,
		                  .gid = st->st_gid };
	snprintf(r->name, sizeof(r->name), "%s", to);
	return 0;
}

/*
 * Servers bind to a temporary name and rename it to the one that clients use. The kernel tells the first
 * one only: the file is looked for in its directory, and the socket gets the name that this has now.
 * Return: 0, also when there is no such file: CRIU restores a socket without a file; -ENOMEM
 */
static int look_renamed(struct inspect *i, const struct inspect_end *end, struct usock *s)
{
	char dir[NAME_MAX_BYTES + 1], to[NAME_MAX_BYTES + 256 + 1];
	struct stat st;

	if (s->name[0] != '/' || !s->file || (lstat(s->name, &st) == 0 && st.st_ino == s->file))
		return 0;
	snprintf(dir, sizeof(dir), "%s", s->name);
	*(strrchr(dir, '/') + 1) = 0;
	AUTO(dir) DIR *d = opendir(dir);

	for (struct dirent *de; d && (de = readdir(d));) {
		if (de->d_ino != s->file ||
		    fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISSOCK(st.st_mode))
			continue;
		snprintf(to, sizeof(to), "%s%s", dir, de->d_name);
		if (strlen(to) >= NAME_MAX_BYTES)
			return 0; /* the kernel would not take it */
		if (note_rename(i, s, to, &st) < 0)
			return -ENOMEM;
		int r = s->state != TCP_LISTEN && s->type != SOCK_DGRAM
		                ? 0
		                : inspect_say(
		                          i, SEV_INFO, "unix-renamed", NULL,
		                          "descriptor %d of pid %d: the UNIX socket was bound to "
		                          "%s, whose name is %s now; at the destination it will "
		                          "be bound to that",
		                          end->fd, end->pid, s->name, to);

		memcpy(s->name, to, strlen(to) + 1);
		return r;
	}
	return 0;
}

/* CRIU removes the file at that path and binds the name again; the directory must exist. */
static int look_name(struct inspect *i, const struct inspect_end *end, const struct usock *s)
{
	bool listens = s->state == TCP_LISTEN;

	if (!s->name[0])
		return 0;
	if ((listens || s->type == SOCK_DGRAM) && note_name(i, s->name) < 0)
		return -ENOMEM;
	if (s->name[0] == '/' && !i->root_dir.fixed[0])
		snprintf(i->root_dir.fixed, sizeof(i->root_dir.fixed),
		         "pid %d has the UNIX socket %s", end->pid, s->name);
	if (listens && inspect_say(i, SEV_INFO, "listening", NULL,
	                           "pid %d listens on the UNIX socket %s; it will do so at the "
	                           "destination, in place of a file that a program left behind",
	                           end->pid, s->name) < 0)
		return -ENOMEM;
	return s->name[0] == '/' ? inspect_parent(i, s->name) : 0;
}

/* A datagram socket finds its peer by name again, if the destination has one. */
static int say_datagram(struct inspect *i, const struct inspect_end *end, const struct usock *peer)
{
	i->ext_unix = true;
	if (inspect_say(i, SEV_WARNING, "unix-datagram",
	                "make sure that the same service runs there",
	                "descriptor %d of pid %d sends to the UNIX socket %s outside the tree; it "
	                "will send to the socket of that name at the destination",
	                end->fd, end->pid, peer->name) < 0)
		return -ENOMEM;
	return peer->name[0] == '/' ? inspect_file(i, peer->name, INSPECT_SEEN) : 0;
}

/* The user of file accesses of a process; -1: it has ended */
static int64_t user_of(pid_t pid)
{
	char line[128];
	unsigned int uid;
	AUTO(file) FILE *f = inspect_open(pid, "status");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Uid: %*u %*u %*u %u", &uid) == 1)
			return uid;
	return -1;
}

/* Is @pid a process of user @uid, by one of its IDs? */
static bool acts_as(pid_t pid, uint32_t uid)
{
	char line[128];
	unsigned int v[4];
	AUTO(file) FILE *f = inspect_open(pid, "status");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Uid: %u %u %u %u", &v[0], &v[1], &v[2], &v[3]) == 4)
			return v[0] == uid || v[1] == uid || v[2] == uid || v[3] == uid;
	return false;
}

/* Would @end's process take another user for root? Not if the other end is its own. */
static bool would_err(const struct inspect_ends *ours, const struct inspect_end *end, uint64_t peer,
                      uint32_t uid)
{
	if (acts_as(end->pid, uid))
		return false;
	for (size_t k = 0; k < ours->n; k++)
		if (ours->v[k].inode == peer)
			return ours->v[k].pid != end->pid;
	return true;
}

/*
 * CRIU makes both ends of a connection anew, as root: a server that asks again takes its client for root. Among the
 * processes of one user nobody gains a right by that; if they are of two, it is a blocker.
 */
static int look_credentials(struct inspect *i, const struct inspect_ends *ours,
                            const struct inspect_end *end, const struct usock *s)
{
	struct ucred who = { 0 };
	socklen_t n = sizeof(who);

	if (s->type == SOCK_DGRAM || !s->peer || s->state == TCP_LISTEN)
		return 0;
	AUTO(fd) int fd = procs_copy_fd(end->pid, end->fd);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 ||
	    (!who.uid && !who.gid))
		return 0;
	bool gains = would_err(ours, end, s->peer, who.uid);

	return inspect_say(
	        i, gains ? SEV_BLOCKER : SEV_WARNING, "peer-credentials",
	        gains ? "end the connection first: its ends are processes of two users"
	              : "let the client connect again after the move, or see that the server asks "
	                "for the credentials only when it accepts",
	        "descriptor %d of pid %d is a UNIX connection whose other end is of user %u, "
	        "group %u (SO_PEERCRED); at the destination it will be said to be of root",
	        end->fd, end->pid, who.uid, who.gid);
}

static int say_inside(struct inspect *i, const struct inspect_ends *ours,
                      const struct inspect_end *end, const struct usock *s)
{
	static const char *const types[] = {
		[SOCK_STREAM] = "stream", [SOCK_DGRAM] = "datagram", [SOCK_SEQPACKET] = "packet"
	};
	const char *type = s->type < ARRAY_SIZE(types) && types[s->type] ? types[s->type] : "other";

	if (s->state == TCP_LISTEN)
		return 0; /* look_name() */
	if (look_credentials(i, ours, end, s) < 0)
		return -ENOMEM;
	return inspect_say(i, SEV_INFO, "unix-moves", NULL,
	                   "descriptor %d of pid %d: UNIX %s socket%s%s%s moves", end->fd, end->pid,
	                   type, s->name[0] ? " at " : "", s->name,
	                   s->peer ? ", with its other end and the data queued in it" : "");
}

static int say_outside(struct inspect *i, const struct inspect_end *end, const struct usock *s,
                       const struct usock *peer, const struct inspect_want *w)
{
	char who[96], what[NAME_MAX_BYTES + 192];
	bool named = peer && peer->name[0];

	inspect_holder(w, who, sizeof(who));
	snprintf(what, sizeof(what), "descriptor %d of pid %d, a UNIX socket connected to %s%s%s,",
	         end->fd, end->pid, who, named ? ", at " : "", named ? peer->name : "");
	struct inspect_lead lead = { .pid = end->pid,
		                     .fd = end->fd,
		                     .kind = REFIT_UNIX,
		                     .what = what,
		                     .owner = end->owner,
		                     .inode = s->inode,
		                     .peer_inode = s->peer,
		                     .peer = named ? peer->name : NULL,
		                     .sock_type = s->type,
		                     .stray = !named };
	int r = inspect_out(i, &lead);

	if (r)
		return r < 0 ? r : 0;
	if (s->type == SOCK_DGRAM && named)
		return say_datagram(i, end, peer);
	return inspect_say(i, SEV_BLOCKER, "unix-outside",
	                   named ? "--map=unix:NAME=unix:PATH reconnects it there, if the service "
	                           "can cope with a new client; =null, =close, =file:PATH"
	                         : "end the connection first; --close-fd=N leaves it behind, "
	                           "--map=fd:N=unix:PATH connects it to something else",
	                   "descriptor %d of pid %d is a UNIX socket connected to %s outside the "
	                   "tree%s%s",
	                   end->fd, end->pid, who, peer && peer->name[0] ? ", at " : "",
	                   peer ? peer->name : "");
}

/* Look up all outside peers together: each lookup reads all of /proc. */
static int look_at_all(struct inspect *i, const struct inspect_ends *ours, const struct usocks *all)
{
	AUTO(mem) struct inspect_want *want = calloc(ours->n + 1, sizeof(*want));
	size_t n = 0;
	int r = 0;

	if (!want)
		return -ENOMEM;
	for (size_t k = 0; k < ours->n; k++) {
		struct usock *s = find(all, ours->v[k].inode);

		if (look_renamed(i, &ours->v[k], s) < 0 || look_name(i, &ours->v[k], s) < 0)
			return -ENOMEM;
		if (s->peer && !is_ours(ours, s->peer))
			want[n++].inode = s->peer;
	}
	inspect_outside(i, want, n, false);
	for (size_t k = 0; r == 0 && k < ours->n; k++) {
		const struct usock *s = find(all, ours->v[k].inode);
		const struct inspect_want *w = s->peer ? inspect_want_find(want, n, s->peer) : NULL;

		r = w ? say_outside(i, &ours->v[k], s, find(all, s->peer), w)
		      : say_inside(i, ours, &ours->v[k], s);
	}
	return r;
}

/*
 * Processes of several users have one socket: who counts as the one that connected? Who has the user that
 * made it; otherwise not root, so that no user's lines become root's.
 */
static void choose_owner(struct inspect_end *end, const struct inspect_end *other)
{
	char path[64];
	struct stat st;
	pid_t owner = end->owner ? end->owner : end->pid;

	if (other->pid == owner)
		return;
	int64_t was = user_of(owner), is = user_of(other->pid);

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", end->pid, end->fd);
	if (was == is || stat(path, &st) < 0 || was == st.st_uid)
		return;
	if (is == st.st_uid || (was == 0 && is > 0))
		end->owner = other->pid;
}

static int dump(struct usocks *all)
{
	struct unix_diag_req req = { .sdiag_family = AF_UNIX,
		                     .udiag_states = ~0U,
		                     .udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_NAME |
		                                   UDIAG_SHOW_VFS | UDIAG_SHOW_ICONS };
	int r = sock_diag_dump(&req, sizeof(req), on_socket, all);

	if (r)
		return r;
	if (all->n)
		qsort(all->v, all->n, sizeof(*all->v), by_inode);
	for (size_t k = 0; k < all->n_waiting; k++) {
		struct usock *s = find(all, all->waiting[k].client);

		if (s && !s->peer)
			s->peer = all->waiting[k].listener;
	}
	return 0;
}

/* A socket with several descriptors is one; the first descriptor names it. */
static int take_ours(struct inspect_ends *left, const struct usocks *all, struct inspect_ends *ours)
{
	for (size_t k = 0; k < left->n;) {
		struct inspect_end end = left->v[k], other;

		if (!find(all, end.inode)) {
			k++;
			continue;
		}
		while (inspect_end_take(left, end.inode, &other))
			choose_owner(&end, &other);
		if (inspect_end_add(ours, end) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int look_unix(struct inspect *i, struct inspect_ends *left, struct usocks *all,
                     struct inspect_ends *ours)
{
	int r = left->n ? dump(all) : 0;

	if (r < 0 && r != -ENOMEM)
		r = inspect_say(i, SEV_WARNING, "no-diag",
		                "modprobe unix_diag, which CRIU needs too",
		                "the kernel does not list UNIX sockets: %s", strerror(-r));
	if (r < 0)
		return r;
	if (i->count.passed_fds > i->count.passed_seen)
		r = inspect_say(
		        i, SEV_WARNING, "passed-files",
		        "let the program receive what waits there first",
		        "%u descriptors wait in queues of UNIX sockets behind others, where "
		        "haul cannot see them before the stop: if one is a file that the "
		        "tree has nowhere else, the move is undone",
		        i->count.passed_fds - i->count.passed_seen);
	if (r < 0)
		return r;
	r = take_ours(left, all, ours);
	return r < 0 ? r : look_at_all(i, ours, all);
}

int inspect_unix(struct inspect *i, struct inspect_ends *left)
{
	struct usocks all = { 0 };
	struct inspect_ends ours = { 0 };
	int r = look_unix(i, left, &all, &ours);

	free(ours.v);
	free(all.v);
	free(all.waiting);
	return r;
}
