// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * passed.c - files whose descriptors wait in the queue of a UNIX socket: no process lists them, but the one that will
 * receive them uses them. They are copied with MSG_PEEK, which takes nothing, and shows the first that wait in a queue.
 */
#include "hauler/inspect/priv.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "common/array.h"
#include "engine/net/net.h"

struct passing {
	struct inspect *i;
	const char *what; /* the socket */
};

/* Content is read through it later. */
static int keep(struct inspect *i, int fd)
{
	if (array_grow(&i->passed.v, i->passed.n, &i->passed.cap, sizeof(*i->passed.v)) < 0)
		return -ENOMEM;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy >= 0)
		i->passed.v[i->passed.n++] = copy;
	return copy < 0 ? -errno : copy;
}

static int look_file(struct inspect *i, int fd, const char *name, const struct stat *st)
{
	int flags = fcntl(fd, F_GETFL), copy = keep(i, fd);
	bool path = flags & O_PATH, reads = (flags & O_ACCMODE) == O_RDONLY;
	bool dir = S_ISDIR(st->st_mode);
	char link[40];

	if (copy < 0)
		return copy;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", copy);
	return inspect_file_held(i, name,
	                         (reads || path || dir ? 0 : INSPECT_WRITE) |
	                                 (!reads && flags & O_APPEND ? 0 : INSPECT_OPEN) |
	                                 (dir ? INSPECT_DIR : 0),
	                         st, link);
}

static int look(void *arg, int fd)
{
	const struct passing *p = arg;
	struct inspect *i = p->i;
	char link[32], name[INSPECT_PATH_MAX], what[96];
	struct stat st;

	i->count.passed_seen++;
	snprintf(link, sizeof(link), "fd/%d", fd);
	ssize_t n = inspect_link(getpid(), link, name, sizeof(name));

	if (n <= 0 || fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) ||
	    name[0] != '/' || !strncmp(name, "/memfd:", 7))
		return 0;
	snprintf(what, sizeof(what), "a file in the queue of %s", p->what);
	int r = inspect_reachable(i, name, &st, what);

	return r == 1 ? look_file(i, fd, name, &st) : r;
}

int inspect_passed(struct inspect *i, pid_t pid, int fd, const char *what)
{
	struct passing p = { i, what };
	AUTO(fd) int copy = procs_copy_fd(pid, fd);
	int r = copy < 0 ? copy : net_unix_first(copy, look, &p);

	return r == -ENOMEM ? r : 0; /* what is not seen is counted */
}

void inspect_passed_fini(struct inspect *i)
{
	for (size_t k = 0; k < i->passed.n; k++)
		close(i->passed.v[k]);
	free(i->passed.v);
}
