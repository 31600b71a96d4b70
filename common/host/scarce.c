// SPDX-License-Identifier: GPL-2.0-or-later
/* scarce.c - what this host has run out of: processes, descriptors, memory. */
#include "common/host/scarce.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto.h"

#define HIGH_FD   200 /* CRIU moves its own there */
#define PROCESSES 8

const char *scarce_words(int code)
{
	switch (code) {
	case EMFILE:
	case ENFILE:
		return "out of descriptors";
	case EAGAIN:
		return "out of processes";
	case ENOMEM:
		return "out of memory";
	default:
		return NULL;
	}
}

/* As many at once as CRIU needs besides those of the tree; each waits until the pipe is closed. */
static int some_processes(void)
{
	pid_t pid[PROCESSES];
	int fd[2], n = 0, r = 0;
	char byte;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	while (n < PROCESSES && r == 0) {
		pid[n] = fork();
		if (pid[n] == 0) {
			close(fd[1]);
			_exit(read(fd[0], &byte, 1) < 0);
		}
		r = pid[n] < 0 ? -errno : 0;
		n += r == 0;
	}
	close(fd[0]);
	close(fd[1]);
	while (n-- > 0)
		while (waitpid(pid[n], NULL, 0) < 0 && errno == EINTR)
			;
	return r;
}

/* Also a limit below what CRIU needs for itself */
static int high_descriptor(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, HIGH_FD);

	if (fd < 0)
		return errno == EINVAL ? -EMFILE : -errno;
	close(fd);
	return 0;
}

int scarce_now(struct err *e)
{
	int r = high_descriptor();

	if (r == 0)
		r = some_processes();
	if (r == 0 || !scarce_words(-r))
		return 0;
	err_set(e, ERR_SYS, -r, "%s", scarce_words(-r));
	return err_fix(e, "raise the limit there: TasksMax= and LimitNOFILE= of hauld.service, "
	                  "kernel.pid_max, fs.file-max");
}
