// SPDX-License-Identifier: GPL-2.0-or-later
/* pipes.c - pipes and fifos whose other end is outside the tree, and which process has it. */
#include "hauler/inspect/priv.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* ---- which process outside? ---- */

static int by_inode(const void *a, const void *b)
{
	uint64_t x = ((const struct inspect_want *)a)->inode,
	         y = ((const struct inspect_want *)b)->inode;

	return x < y ? -1 : x > y;
}

/* Return: the inode of a pipe or socket, from its link; 0: it is neither */
static uint64_t inode_of(int dir, const char *fd, bool fifos)
{
	char link[64];
	unsigned long long inode;
	struct stat st;
	ssize_t n = readlinkat(dir, fd, link, sizeof(link) - 1);

	if (n <= 0)
		return 0;
	link[n] = 0;
	if (sscanf(link, "pipe:[%llu]", &inode) == 1 || sscanf(link, "socket:[%llu]", &inode) == 1)
		return inode;
	if (fifos && link[0] == '/' && fstatat(dir, fd, &st, 0) == 0 && S_ISFIFO(st.st_mode))
		return st.st_ino;
	return 0;
}

/* Note for each wanted inode that @pid has it, and in which direction. */
static void look_outside(pid_t pid, struct inspect_want *want, size_t n, bool fifos)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));) {
		struct inspect_want key = { .inode = inode_of(dirfd(d), de->d_name, fifos) };
		struct inspect_want *w = key.inode ? bsearch(&key, want, n, sizeof(*w), by_inode)
		                                   : NULL;
		struct stat st;

		/* the permissions of the link tell how it was opened */
		if (!w || fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		w->reads |= (st.st_mode & S_IRUSR) != 0;
		w->writes |= (st.st_mode & S_IWUSR) != 0;
		if (!w->pid) {
			w->pid = pid;
			inspect_comm(pid, w->comm);
		}
	}
}

const struct inspect_want *inspect_want_find(const struct inspect_want *want, size_t n,
                                             uint64_t inode)
{
	struct inspect_want key = { .inode = inode };

	return n ? bsearch(&key, want, n, sizeof(key), by_inode) : NULL;
}

void inspect_outside(const struct inspect *i, struct inspect_want *want, size_t n, bool fifos)
{
	AUTO(dir) DIR *d = n ? opendir("/proc") : NULL;

	qsort(want, n, sizeof(*want), by_inode);
	for (struct dirent *de; d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]) && !inspect_in_tree(i, atoi(de->d_name)))
			look_outside(atoi(de->d_name), want, n, fifos);
}

/* ---- pipes ---- */

struct pipe {
	const struct inspect_end *first; /* a descriptor of the tree, to name it */
	bool reads, writes; /* by the tree */
};

/*
 * A side that no process has any more is no loss: the pipe reads as ended there, too. Return: 1 a
 * process outside has the side that the tree lacks; 0 none; -errno
 */
static int other_side_lives(const struct pipe *p)
{
	AUTO(fd) int fd = procs_copy_fd(p->first->pid, p->first->fd);
	struct pollfd q = { .fd = fd, .events = p->reads ? POLLIN : POLLOUT };

	if (fd < 0)
		return fd;
	if (poll(&q, 1, 0) < 0)
		return -errno;
	return p->reads ? !(q.revents & POLLHUP) : !(q.revents & POLLERR);
}

void inspect_holder(const struct inspect_want *w, char *out, size_t bytes)
{
	if (w->pid)
		snprintf(out, bytes, "pid %d (%s)", w->pid, w->comm);
	else
		snprintf(out, bytes, "a process that cannot be seen from here");
}

/* A rule may name any of its descriptors. Return: as inspect_out() */
static int find_rule(struct inspect *i, const struct pipe *p, const char *who)
{
	int r = 0;

	for (size_t k = 0; r == 0 && k < i->pipes.n; k++) {
		const struct inspect_end *end = &i->pipes.v[k];
		char what[192];
		struct inspect_lead lead = { .pid = end->pid,
			                     .fd = end->fd,
			                     .kind = end->fifo ? REFIT_ANY : REFIT_PIPE,
			                     .what = what,
			                     .inode = end->inode,
			                     .reads = p->reads,
			                     .writes = p->writes,
			                     .stray = true };

		if (end->inode != p->first->inode)
			continue;
		snprintf(what, sizeof(what), "descriptor %d of pid %d, a %s that %s %s,", end->fd,
		         end->pid, end->fifo ? "fifo" : "pipe", who, p->reads ? "writes" : "reads");
		r = inspect_out(i, &lead);
	}
	return r;
}

static int say_half(struct inspect *i, const struct pipe *p, const struct inspect_want *w)
{
	const struct inspect_end *end = p->first;
	char who[96];

	if (other_side_lives(p) == 0)
		return 0;
	inspect_holder(w, who, sizeof(who));
	int r = find_rule(i, p, who);

	if (r)
		return r < 0 ? r : 0;
	if (!w->pid && i->count.passed_fds)
		return inspect_say(i, SEV_WARNING, "pipe-passed",
		                   "if that is not so, the other end is cut off",
		                   "descriptor %d of pid %d is a %s whose other end no process has "
		                   "open; it may be among the %u descriptors that are queued in "
		                   "UNIX sockets of the tree",
		                   end->fd, end->pid, end->fifo ? "fifo" : "pipe",
		                   i->count.passed_fds);
	return inspect_say(
	        i, SEV_BLOCKER, "pipe-outside",
	        end->fd > 2 ? "--close-fd=N leaves it behind, --map=fd:N=file:PATH makes "
	                      "it a file there"
	                    : "--map=fd:N=file:PATH makes it a file there; or start it with "
	                      "its input and output in files",
	        "descriptor %d of pid %d is a %s that %s outside the tree %s", end->fd, end->pid,
	        end->fifo ? "fifo" : "pipe", who, p->reads ? "writes" : "reads");
}

static int say_pipe(struct inspect *i, const struct pipe *p, const struct inspect_want *w)
{
	if (!p->reads || !p->writes)
		return say_half(i, p, w);
	if (!w->pid || p->first->fifo)
		return 0;
	return inspect_say(i, SEV_WARNING, "pipe-shared",
	                   "close it there, or start the tree with its own pipe",
	                   "descriptor %d of pid %d is a pipe that pid %d (%s) outside the tree "
	                   "has open, too; that process will be cut off",
	                   p->first->fd, p->first->pid, w->pid, w->comm);
}

static int end_by_inode(const void *a, const void *b)
{
	const struct inspect_end *x = a, *y = b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->fd - y->fd;
}

int inspect_pipes(struct inspect *i)
{
	struct inspect_ends *l = &i->pipes;
	AUTO(mem) struct pipe *pipes = calloc(l->n + 1, sizeof(*pipes));
	AUTO(mem) struct inspect_want *want = calloc(l->n + 1, sizeof(*want));
	bool fifos = false;
	size_t n = 0;
	int r = 0;

	if (!pipes || !want)
		return -ENOMEM;
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), end_by_inode);
	for (size_t k = 0; k < l->n; k++) {
		if (!n || pipes[n - 1].first->inode != l->v[k].inode)
			pipes[n++].first = &l->v[k];
		pipes[n - 1].reads |= l->v[k].reads;
		pipes[n - 1].writes |= l->v[k].writes;
		want[n - 1].inode = l->v[k].inode;
		fifos |= l->v[k].fifo;
	}
	inspect_outside(i, want, n, fifos);
	for (size_t k = 0; r == 0 && k < n; k++)
		r = say_pipe(i, &pipes[k], &want[k]);
	return r;
}
