// SPDX-License-Identifier: GPL-2.0-or-later
/* unread.c - what is in the pipes between haul run and the tree, which CRIU does not move. */
#include "hauler/run/priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "transport/msg/haul.pb-c.h"

#define UNREAD_BYTES_MAX (4u << 20)

/* Another open of the pipe, whichever end the tree has. Return: fd; -ENOENT it has closed it since */
static int open_pipe(const struct out *o)
{
	char path[48];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", o->refit.pid, o->refit.fd);
	AUTO(fd) int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode) || st.st_ino != o->refit.inode)
		return -ENOENT;
	return steal_fd(&fd);
}

/* Copied, not taken: an undo leaves the pipe as it was. */
static ssize_t peek(int fd, int bytes, uint8_t *out)
{
	int ends[2];
	ssize_t got = 0, n = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	AUTO(fd) int in = ends[0];
	AUTO(fd) int to = ends[1];

	/* as many buffers, however few bytes are in each */
	fcntl(to, F_SETPIPE_SZ, fcntl(fd, F_GETPIPE_SZ));
	n = tee(fd, to, (size_t)bytes, SPLICE_F_NONBLOCK);
	while (got < n) {
		ssize_t r = read(in, out + got, (size_t)(n - got));

		if (r <= 0)
			return -EIO;
		got += r;
	}
	return n < 0 ? -errno : n;
}

static int take(Haul__Unread *u, const struct out *o, struct err *e)
{
	AUTO(fd) int fd = open_pipe(o);
	int bytes = 0;

	haul__unread__init(u);
	u->stream = (char *)o->path;
	if (fd < 0 || ioctl(fd, FIONREAD, &bytes) < 0 || bytes <= 0)
		return 0;
	if ((unsigned int)bytes > UNREAD_BYTES_MAX || !(u->data.data = malloc((size_t)bytes)))
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %d bytes in a pipe", bytes);
	ssize_t n = peek(fd, bytes, u->data.data);

	if (n != bytes)
		return err_set(e, ERR_SYS, EAGAIN, "another process reads what the pipe \"%s\" has",
		               o->path);
	u->data.len = (size_t)n;
	return 0;
}

static bool is_listed(const Haul__Switch *s, const char *stream)
{
	for (size_t i = 0; i < s->n_unread; i++)
		if (!strcmp(s->unread[i]->stream, stream))
			return true;
	return false;
}

int unread_switch(const struct mig *m, Haul__Switch *s, struct err *e)
{
	const struct outs *l = inspect_outs(m->insp);
	int r = 0;

	s->unread = calloc(l->n + 1, sizeof(*s->unread));
	if (!s->unread)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for pipes");
	for (size_t k = 0; r == 0 && k < l->n; k++) {
		if (l->v[k].to != OUT_TO_LAND || !l->v[k].unread || is_listed(s, l->v[k].path))
			continue;
		Haul__Unread *u = malloc(sizeof(*u));

		if (!u)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for pipes");
		s->unread[s->n_unread++] = u;
		r = take(u, &l->v[k], e);
	}
	return r;
}

void unread_switch_free(Haul__Switch *s)
{
	for (size_t i = 0; i < s->n_unread; i++) {
		free(s->unread[i]->data.data);
		free(s->unread[i]);
	}
	free(s->unread);
}
