// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ttyqueue.c - take and put what waits in a pseudo-terminal. CRIU loses a line that is not complete, and lets
 * what it writes be echoed and translated once more.
 */
#include "engine/proc/ttyqueue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

int ttyqueue_number(int master)
{
	int number = -1;

	return ioctl(master, TIOCGPTN, &number) < 0 ? -1 : number;
}

/* Nothing is translated, echoed or made a signal; reads do not wait. */
static void make_quiet(struct termios *t)
{
	t->c_iflag = 0;
	t->c_oflag &= ~(tcflag_t)OPOST;
	t->c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ISIG | IEXTEN);
}

static int drain(int fd, uint8_t **out, size_t *n)
{
	uint8_t *buf = *out = malloc(TTYQUEUE_BYTES);
	int ready = 0;

	*n = 0;
	if (!buf)
		return -ENOMEM;
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		/* poll() waits for the kernel's own work on the queue, FIONREAD does not */
		if (poll(&p, 1, 0) < 0 || !(p.revents & POLLIN) ||
		    ioctl(fd, FIONREAD, &ready) < 0 || ready <= 0)
			return 0;
		ssize_t got = read(fd, buf + *n, TTYQUEUE_BYTES - *n);

		if (got <= 0)
			return got < 0 ? -errno : 0;
		*n += (size_t)got;
		if (*n == TTYQUEUE_BYTES)
			return -EOVERFLOW;
	}
}

/* With TIOCPKT each read of the master begins with a byte of its own: CRIU has to do with that. */
static bool has_packets(int master)
{
	int on = 0;

	return ioctl(master, TIOCGPKT, &on) == 0 && on;
}

int ttyqueue_take(int master, int slave, struct ttyqueue *q)
{
	struct termios was, quiet;

	*q = (struct ttyqueue){ 0 };
	if (tcgetattr(slave, &was) < 0)
		return -errno;
	quiet = was;
	make_quiet(&quiet);
	quiet.c_lflag &= ~(tcflag_t)ICANON;
	quiet.c_cc[VMIN] = quiet.c_cc[VTIME] = 0;
	if (tcsetattr(slave, TCSANOW, &quiet) < 0)
		return -errno;
	int r = drain(slave, &q->input, &q->n_input);

	if (r == 0 && !has_packets(master))
		r = drain(master, &q->output, &q->n_output);
	if (tcsetattr(slave, TCSANOW, &was) < 0)
		r = -errno;
	return r;
}

/* O_NONBLOCK is the program's, too, which is stopped. */
static int put(int fd, const uint8_t *data, size_t n)
{
	int flags = fcntl(fd, F_GETFL), r = 0;

	if (!n)
		return 0;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	for (size_t done = 0; done < n;) {
		ssize_t got = write(fd, data + done, n - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			r = got < 0 ? -errno : -EIO;
			break;
		}
		done += (size_t)got;
	}
	fcntl(fd, F_SETFL, flags);
	return r;
}

int ttyqueue_put(int master, int slave, const struct ttyqueue *q)
{
	struct termios was, quiet;

	if (!q->n_input && !q->n_output)
		return 0;
	if (tcgetattr(slave, &was) < 0)
		return -errno;
	quiet = was;
	make_quiet(&quiet);
	if (tcsetattr(slave, TCSANOW, &quiet) < 0)
		return -errno;
	int r = put(master, q->input, q->n_input);
	int s = put(slave, q->output, q->n_output);
	struct pollfd p = { .fd = slave, .events = POLLIN };

	poll(&p, 1, 0); /* until the kernel has taken the input under these settings */
	if (tcsetattr(slave, TCSANOW, &was) < 0)
		r = -errno;
	return r < 0 ? r : s;
}

void ttyqueue_fini(struct ttyqueue *q)
{
	free(q->input);
	free(q->output);
	*q = (struct ttyqueue){ 0 };
}
