// SPDX-License-Identifier: GPL-2.0-or-later
/* streams.c - pipes for a program, in place of the streams of haul run or haul land. */
#include "hauler/launch/priv.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define NULL_DEVICE makedev(1, 3)

void streams_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Closed, or /dev/null: the program can have /dev/null itself. */
static bool is_nothing(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 || (S_ISCHR(st.st_mode) && st.st_rdev == NULL_DEVICE);
}

/* Output and error output in one file stay in order if they share a pipe. */
static bool is_same(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino && x.st_rdev == y.st_rdev;
}

static int make_pipe(struct streams *s, int k, struct err *e)
{
	struct stat st;
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0 || fstat(ends[0], &st) < 0)
		return err_sys(e, "pipe");
	s->program[k] = ends[k != STAND_IN];
	s->ours[k] = ends[k == STAND_IN];
	s->inode[k] = st.st_ino;
	return 0;
}

int streams_make(struct streams *s, bool land, struct err *e)
{
	for (int k = 0; k < STAND_STREAMS; k++) {
		s->program[k] = s->ours[k] = -1;
		s->inode[k] = 0;
	}
	for (int k = 0; k < STAND_STREAMS; k++) {
		bool share = k == STAND_ERR && s->inode[STAND_OUT] && is_same(STAND_OUT, STAND_ERR);
		int r = 0;

		if (is_nothing(k) && !(land && k == STAND_IN))
			s->program[k] = open("/dev/null", O_RDWR | O_CLOEXEC);
		else if (share)
			s->program[k] = fcntl(s->program[STAND_OUT], F_DUPFD_CLOEXEC, 0);
		else
			r = make_pipe(s, k, e);
		if (share)
			s->inode[k] = s->inode[STAND_OUT];
		if (r < 0 || s->program[k] < 0)
			return err_sys(e, "streams of the program");
	}
	return 0;
}
