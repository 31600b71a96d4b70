// SPDX-License-Identifier: GPL-2.0-or-later
/* systemctl.c - systemd by its command, its notification socket and drop-ins. */
#include "common/host/systemctl.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/host/hostroot.h"
#include "common/host/rundir.h"

#define SHOW_LIMIT_MS 10000
#define RUN_LIMIT_MS  90000
#define NOTIFY_PATH   "/run/systemd/notify"
#define RUN_UNITS     "/run/systemd/system"
#define PATH_BYTES    400

extern char **environ;

bool systemctl_unit_ok(const char *unit)
{
	static const char tail[] = ".service";
	size_t n = strlen(unit), k = sizeof(tail) - 1;

	if (n <= k || n >= SYSTEMCTL_UNIT_BYTES || strcmp(unit + n - k, tail) || *unit == '-' ||
	    *unit == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)unit[i]) && !strchr(":_.@-", unit[i]))
			return false;
	return true;
}

/* ---- its command ---- */

/* Read what @pid writes until it ends; it is killed at the deadline. Return: 0; -ETIMEDOUT; -EPROTO it failed */
static int collect(pid_t pid, int fd, uint64_t deadline, char *out, size_t bytes)
{
	size_t n = 0;
	int status = 0, r = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int got_some = poll(&p, 1, deadline_poll_ms(deadline));

		if (got_some < 0 && errno == EINTR)
			continue;
		if (got_some <= 0) {
			r = -ETIMEDOUT;
			break;
		}
		ssize_t got = n + 1 < bytes ? read(fd, out + n, bytes - 1 - n) : 0;

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	out[n] = 0;
	if (r < 0 || n + 1 >= bytes)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return r < 0 ? r : WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPROTO;
}

static int command(char *const *argv, uint64_t limit_ms, char *out, size_t bytes)
{
	posix_spawn_file_actions_t fa;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	AUTO(fd) int in = ends[0];

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, ends[1], 1);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
	int r = -posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);

	posix_spawn_file_actions_destroy(&fa);
	close(ends[1]);
	return r < 0 ? r : collect(pid, in, deadline_in_ms(limit_ms), out, bytes);
}

int systemctl_show(const char *unit, const char *properties, char *out, size_t bytes)
{
	char *const argv[] = { (char *)"systemctl", (char *)"show", (char *)properties,
		               (char *)"--",        (char *)unit,   NULL };

	return command(argv, SHOW_LIMIT_MS, out, bytes);
}

void systemctl_value(const char *text, const char *key, char *out, size_t bytes)
{
	size_t n = strlen(key);

	out[0] = 0;
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, n) || line[n] != '=')
			continue;
		snprintf(out, bytes, "%.*s", (int)strcspn(line + n + 1, "\n"), line + n + 1);
		return;
	}
}

uint64_t systemctl_us(const char *text)
{
	static const struct {
		const char *name;
		uint64_t us;
	} units[] = { { "us", 1 },           { "ms", 1000 },       { "min", 60000000 },
		      { "s", 1000000 },      { "h", 3600000000u }, { "d", 86400000000u },
		      { "w", 604800000000u } };
	uint64_t sum = 0;

	for (const char *at = text; *at;) {
		char *end;
		double v = strtod(at, &end);
		size_t k = 0;

		if (end == at)
			return 0;
		while (k < ARRAY_SIZE(units) &&
		       strncmp(end, units[k].name, strlen(units[k].name)) != 0)
			k++;
		if (k == ARRAY_SIZE(units))
			return 0;
		sum += (uint64_t)(v * (double)units[k].us);
		at = end + strlen(units[k].name);
		at += strspn(at, " ");
	}
	return sum;
}

int systemctl_run(const char *verb, const char *unit, struct err *e)
{
	char *const argv[] = { (char *)"systemctl", (char *)"--no-block", (char *)verb,
		               (char *)unit, NULL };
	char text[256];
	int r = command(argv, RUN_LIMIT_MS, text, sizeof(text));

	return r < 0 ? err_set(e, ERR_SYS, -r, "systemctl %s %s: %s", verb, unit ? unit : "",
	                       r == -EPROTO ? "it fails" : strerror(-r))
	             : 0;
}

int systemctl_notify(pid_t pid, const char *text)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = NOTIFY_PATH };
	struct ucred who = { .pid = pid, .uid = geteuid(), .gid = getegid() };
	char room[CMSG_SPACE(sizeof(who))] = { 0 };
	struct iovec io = { (void *)text, strlen(text) };
	struct msghdr h = { .msg_name = &to,
		            .msg_namelen = sizeof(to),
		            .msg_iov = &io,
		            .msg_iovlen = 1,
		            .msg_control = room,
		            .msg_controllen = sizeof(room) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_CREDENTIALS;
	c->cmsg_len = CMSG_LEN(sizeof(who));
	memcpy(CMSG_DATA(c), &who, sizeof(who));
	return fd < 0 || sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* ---- drop-ins and marks ---- */

/* Of drop-ins with one name the last in order counts, so an arrival outweighs an earlier departure. */
static const struct {
	const char *units, *file, *marks;
} changes[] = {
	[SYSTEMCTL_LEAVING] = { RUN_UNITS, "zz-haul-leaving.conf", "/run/haul/away" },
	[SYSTEMCTL_AWAY] = { "/etc/systemd/system", "zz-haul-away.conf", "/var/lib/haul/away" },
	[SYSTEMCTL_ARRIVING] = { RUN_UNITS, "zzz-haul-arriving.conf", NULL },
};

static int put_file(const char *path, const char *text, struct err *e)
{
	if (rundir_parents(path, e) < 0)
		return err_code(e);
	AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return err_sys(e, "write %s", path);
	return 0;
}

static void drop_in(char out[PATH_BYTES], const char *unit, enum systemctl_change what)
{
	snprintf(out, PATH_BYTES, "%s%s/%s.d/%s", hostroot(), changes[what].units, unit,
	         changes[what].file);
}

int systemctl_change(const char *unit, enum systemctl_change what, const char *run, struct err *e)
{
	char path[PATH_BYTES], text[1024];
	int n = 0;

	drop_in(path, unit, what);
	if (what == SYSTEMCTL_ARRIVING)
		n = snprintf(text, sizeof(text),
		             "# written by haul: this service arrives by it\n[Unit]\n"
		             "AssertPathExists=\n[Service]\nType=notify\nNotifyAccess=main\n"
		             "Restart=no\nTimeoutStartSec=infinity\nExecCondition=\nExecStartPre=\n"
		             "ExecStartPost=\nExecStart=\nExecStart=!%s\n",
		             run);
	else
		n = snprintf(
		        text, sizeof(text),
		        "# written by haul: this service moves, or has moved, to another host\n"
		        "[Unit]\nAssertPathExists=!%s/%s\n%s",
		        changes[what].marks, unit,
		        what == SYSTEMCTL_AWAY
		                ? ""
		                : "[Service]\nRestart=no\nRemainAfterExit=no\n"
		                  "SuccessExitStatus=SIGKILL\nExecStop=\nExecStopPost=\n");
	return (size_t)n >= sizeof(text) ? err_set(e, ERR_SYS, ENAMETOOLONG, "%s", unit)
	                                 : put_file(path, text, e);
}

bool systemctl_unchange(const char *unit, enum systemctl_change what)
{
	char path[PATH_BYTES];

	drop_in(path, unit, what);
	if (unlink(path) < 0)
		return false;
	*strrchr(path, '/') = 0;
	rmdir(path); /* unless others have drop-ins there */
	return true;
}

int systemctl_mark(const char *unit, enum systemctl_change what, bool on, struct err *e)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s%s/%s", hostroot(), changes[what].marks, unit);
	if (on)
		return put_file(path, "", e);
	return unlink(path) < 0 && errno != ENOENT ? err_sys(e, "%s", path) : 0;
}

int systemctl_hold(const char *unit)
{
	char path[PATH_BYTES];

	drop_in(path, unit, SYSTEMCTL_LEAVING);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	return steal_fd(&fd);
}

/* Has a haul that is dead left the drop-in @what, of a unit that has not moved? */
static bool is_left(const char *unit, enum systemctl_change what)
{
	char mark[PATH_BYTES];
	AUTO(fd) int fd = systemctl_hold(unit);

	snprintf(mark, sizeof(mark), "%s/%s", changes[what].marks, unit);
	return fd != -EWOULDBLOCK && access(mark, F_OK) < 0;
}

static unsigned int sweep(enum systemctl_change what)
{
	AUTO(dir) DIR *d = opendir(changes[what].units);
	unsigned int n = 0;

	for (struct dirent *de; d && (de = readdir(d));) {
		char unit[SYSTEMCTL_UNIT_BYTES] = "";
		size_t len = strlen(de->d_name);

		if (len > 2 && len < sizeof(unit) && !strcmp(de->d_name + len - 2, ".d"))
			snprintf(unit, sizeof(unit), "%.*s", (int)(len - 2), de->d_name);
		if (systemctl_unit_ok(unit) && is_left(unit, what))
			n += systemctl_unchange(unit, what);
	}
	return n;
}

/* That of the next boot first: the other one's lock says that a haul lives. */
unsigned int systemctl_sweep(void)
{
	struct err ignore = ERR_INIT;
	unsigned int away = sweep(SYSTEMCTL_AWAY), n = sweep(SYSTEMCTL_LEAVING);

	if (away || n)
		systemctl_run("daemon-reload", NULL, &ignore);
	return n;
}
