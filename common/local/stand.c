// SPDX-License-Identifier: GPL-2.0-or-later
/* stand.c - sockets and messages of stand.h. */
#include "common/local/stand.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/local/passfd.h"

/*
 * Any user may take any abstract name. So there are several of each, and the kernel says who has
 * one; a stranger who takes them all only keeps others from landing here.
 */
#define NAMES   16
#define BACKLOG 16

bool stand_key_ok(const char *key)
{
	size_t n = strlen(key);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)key[i]) && !strchr("._:@-", key[i]))
			return false;
	return n > 0 && n < STAND_KEY_BYTES;
}

static socklen_t name_of(struct sockaddr_un *a, const char *what, const char *key, int number)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "haul/%s/%s/%d", what, key,
	                 number);

	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

int stand_peer(int fd, uid_t *uid, pid_t *pid)
{
	struct ucred c = { .uid = UINT32_MAX };
	socklen_t n = sizeof(c);

	*uid = c.uid;
	*pid = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0)
		return -errno;
	*uid = c.uid;
	*pid = c.pid;
	return 0;
}

/* Return: a socket; -errno */
static int connect_to(const char *what, const char *key, int number)
{
	struct sockaddr_un a;
	socklen_t n = name_of(&a, what, key, number);
	/* one that does not accept must not hold us up */
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, n) < 0 || fcntl(fd, F_SETFL, 0) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* Has a process of this user one of the names but @own? */
static bool taken(const char *what, const char *key, int own)
{
	for (int i = 0; i < NAMES; i++) {
		uid_t uid;
		pid_t pid;
		AUTO(fd) int fd = i == own ? -1 : connect_to(what, key, i);

		if (fd >= 0 && stand_peer(fd, &uid, &pid) == 0 && uid == geteuid())
			return true;
	}
	return false;
}

static int in_use(const char *key, struct err *e)
{
	return err_set(e, ERR_USER, EADDRINUSE, "another haul land has landed under %s already",
	               key);
}

static int listen_at(const char *what, const char *key, struct err *e)
{
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, "socket");
	for (int i = 0; i < NAMES; i++) {
		struct sockaddr_un a;
		socklen_t n = name_of(&a, what, key, i);

		if (bind(fd, (struct sockaddr *)&a, n) < 0) {
			if (errno != EADDRINUSE)
				return err_sys(e, "bind");
			continue;
		}
		/* listen first: of two that start at once at least one finds the other */
		if (listen(fd, BACKLOG) < 0)
			return err_sys(e, "listen");
		return taken(what, key, i) ? in_use(key, e) : steal_fd(&fd);
	}
	return taken(what, key, -1) ? in_use(key, e)
	                            : err_set(e, ERR_USER, EADDRINUSE,
	                                      "another user has taken the name %s", key);
}

int stand_listen(struct err *e)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	return listen_at("run", pid, e);
}

int stand_listen_as(const char *key, struct err *e)
{
	return listen_at("land", key, e);
}

int stand_of(pid_t pid)
{
	char key[16];

	snprintf(key, sizeof(key), "%d", pid);
	for (int i = 0; i < NAMES; i++) {
		uid_t uid;
		pid_t at;
		AUTO(fd) int fd = connect_to("run", key, i);

		if (fd >= 0 && stand_peer(fd, &uid, &at) == 0 && at == pid)
			return steal_fd(&fd);
	}
	return -ENOENT;
}

int stand_landed(const char *key, pid_t *pid)
{
	for (int i = 0; i < NAMES; i++) {
		uid_t uid;
		AUTO(fd) int fd = connect_to("land", key, i);

		if (fd >= 0 && stand_peer(fd, &uid, pid) == 0 && uid == 0)
			return steal_fd(&fd);
	}
	return -ENOENT;
}

int stand_say(int fd, const struct stand_mail *mail)
{
	return passfd_send(fd, &mail->m, sizeof(mail->m), mail->fd, mail->n_fds, 0);
}

int stand_hear(int fd, struct stand_mail *mail, uint64_t deadline_us)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;

	mail->n_fds = 0;
	while ((r = poll(&p, 1, deadline_poll_ms(deadline_us))) < 0 && errno == EINTR)
		;
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	mail->n_fds = STAND_FDS_MAX;
	ssize_t n = passfd_take(fd, &mail->m, sizeof(mail->m), mail->fd, &mail->n_fds);

	if (n <= 0)
		return n < 0 && n != -ECONNRESET ? (int)n : -EPIPE;
	if (n == sizeof(mail->m)) {
		mail->m.text[STAND_TEXT_BYTES - 1] = 0;
		return 0;
	}
	stand_drop(mail);
	return -EBADMSG;
}

int stand_ask(int fd, struct stand_mail *mail, uint64_t limit_ms, struct err *e)
{
	int r = stand_say(fd, mail);

	if (r == 0)
		r = stand_hear(
		        fd, mail,
		        deadline_in_ms(limit_ms < STAND_LIMIT_MS ? limit_ms : STAND_LIMIT_MS));
	if (r < 0)
		return err_set(e, ERR_SYS, -r, "haul run or haul land does not answer: %s",
		               strerror(-r));
	if (mail->m.word == STAND_YES)
		return 0;
	stand_drop(mail);
	return err_set(e, ERR_TARGET, ECANCELED, "%s", mail->m.text);
}

void stand_drop(struct stand_mail *mail)
{
	for (size_t i = 0; i < mail->n_fds; i++)
		close(mail->fd[i]);
	mail->n_fds = 0;
}
