// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * lazy_socket.c - lazy-pages.socket: CRIU sends one userfaultfd for each task.
 *
 * For each task a pid (int32, host order), then one byte that carries the descriptor; a negative
 * pid is a zombie without one. The last word is not a pid, and the connection closes. There are no
 * answers.
 */
#include "engine/pager/priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/log.h"
#include "common/local/passfd.h"

#define SOCK_NAME     "lazy-pages.socket"
#define RESTORE_ENDED 0x52535446u

int lazy_socket_open(struct lazy_socket *k, int dirfd, unsigned int procs, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	k->expected = procs;
	k->dir_fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	k->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (k->dir_fd < 0 || k->listen_fd < 0)
		return err_sys(e, "socket for CRIU");
	unlinkat(dirfd, SOCK_NAME, 0);
	/* the directory may not be mounted anywhere */
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", k->dir_fd, SOCK_NAME);
	if (bind(k->listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(k->listen_fd, 1) < 0)
		return err_sys(e, "bind %s", SOCK_NAME);
	return 0;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void lazy_socket_close(struct lazy_socket *k)
{
	if (k->dir_fd >= 0)
		unlinkat(k->dir_fd, SOCK_NAME, 0);
	close_one(&k->dir_fd);
	close_one(&k->listen_fd);
	close_one(&k->conn_fd);
}

bool lazy_socket_complete(const struct lazy_socket *k)
{
	return __atomic_load_n(&k->ended, __ATOMIC_ACQUIRE) ||
	       __atomic_load_n(&k->announced, __ATOMIC_ACQUIRE) >= k->expected;
}

int lazy_socket_accept(struct lazy_socket *k)
{
	int fd = accept4(k->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
	/* CRIU connects once */
	close_one(&k->listen_fd);
	k->conn_fd = fd;
	return 1;
}

static int take_word(struct pager *p, struct lazy_socket *k)
{
	int32_t word;

	memcpy(&word, k->word, sizeof(word));
	k->have = 0;
	if ((uint32_t)word == RESTORE_ENDED) {
		__atomic_store_n(&k->ended, true, __ATOMIC_RELEASE);
		return 0;
	}
	if (word == 0)
		return -EPROTO;
	if (word > 0) {
		k->pid = word;
		return 0;
	}
	__atomic_add_fetch(&k->announced, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&p->check, true, __ATOMIC_RELEASE);
	return 0;
}

/* Return: 1; 0 no more data now; -EPIPE at the end; -errno */
static int read_word(struct pager *p, struct lazy_socket *k)
{
	ssize_t n = recv(k->conn_fd, k->word + k->have, sizeof(k->word) - k->have, 0);

	if (n <= 0)
		return n == 0 ? -EPIPE : errno == EAGAIN || errno == EINTR ? 0 : -errno;
	k->have += (unsigned int)n;
	if (k->have < sizeof(k->word))
		return 1;
	int r = take_word(p, k);

	return r < 0 ? r : 1;
}

static int read_fd(struct pager *p, struct lazy_socket *k)
{
	char byte;
	int fd = -1;
	pid_t pid = k->pid;
	size_t n_fds = 1;
	ssize_t n = passfd_take(k->conn_fd, &byte, 1, &fd, &n_fds);

	if (n <= 0)
		return n == 0 ? -EPIPE : n == -EAGAIN || n == -EINTR ? 0 : (int)n;
	if (n_fds != 1)
		return -EPROTO;
	k->pid = 0;
	int r = pager_take_uffd(p, pid, fd);

	/* only now, when it is ours: see pager_announced() */
	__atomic_add_fetch(&k->announced, 1, __ATOMIC_RELEASE);
	return r < 0 ? r : 1;
}

int lazy_socket_read(struct pager *p)
{
	struct lazy_socket *k = &p->sock;
	int r = 1;

	while (r > 0 && !k->ended)
		r = k->pid ? read_fd(p, k) : read_word(p, k);
	if (r == -EPIPE) {
		__atomic_store_n(&k->ended, true, __ATOMIC_RELEASE);
		r = k->pid || k->have ? -EPIPE : 0;
	}
	if (k->ended || r < 0)
		close_one(&k->conn_fd);
	if (k->ended) {
		log_debug("CRIU announced %u of %u tasks", k->announced, k->expected);
		__atomic_store_n(&p->check, true, __ATOMIC_RELEASE);
	}
	return r;
}
