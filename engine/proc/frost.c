// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * frost.c - keep stopped processes stopped. SIGSTOP outlives us, but any SIGCONT undoes it, from a
 * shell's fg or a supervisor; a frozen cgroup (version 2) withstands that.
 */
#include "engine/proc/frost.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/host/hostroot.h"
#include "common/log.h"
#include "engine/proc/warm.h"

#define PATH_BYTES 512
#define WARM_US    3000 /* short enough that a grace period does not end before the next move */

struct member {
	pid_t pid;
	char *from; /* its former cgroup, below the mount */
};

struct frost {
	char root[PATH_BYTES]; /* mount point of cgroup2 */
	char dir[PATH_BYTES];
	struct member *v;
	size_t n;
	struct warm warm;
	char own[2 * PATH_BYTES]; /* the cgroup that this process is in */
};

/* If the mount belongs to another cgroup namespace, names in /proc do not match directories. */
static bool lists_us(const char *mount)
{
	AUTO(mem) char *own = frost_cgroup_of(getpid());
	char path[2 * PATH_BYTES];
	int pid, us = getpid();

	snprintf(path, sizeof(path), "%s%s/cgroup.procs", mount, own ? own : "");
	AUTO(file) FILE *f = own ? fopen(path, "re") : NULL;

	while (f && fscanf(f, "%d", &pid) == 1)
		if (pid == us)
			return true;
	return false;
}

static char mounted[PATH_BYTES];

static void find_mount(void)
{
	char path[PATH_BYTES + 32];

	AUTO(file) FILE *f = fopen("/proc/self/mounts", "re");
	char line[2048], where[PATH_BYTES], type[64];

	while (!mounted[0] && f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %511s %63s", where, type) == 2 && !strcmp(type, "cgroup2") &&
		    snprintf(path, sizeof(path), "%s%s", hostroot(), where) < PATH_BYTES &&
		    lists_us(path))
			snprintf(mounted, sizeof(mounted), "%.*s", PATH_BYTES - 1, path);
}

int frost_mount(char *out, size_t bytes)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_mount);
	snprintf(out, bytes, "%s", mounted);
	return mounted[0] ? 0 : -ENOENT;
}

static int put(const char *path, const char *text)
{
	AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int put_in(const char *dir, const char *file, const char *text)
{
	char path[PATH_BYTES + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return put(path, text);
}

static struct frost *make(uint64_t id, const char *home, struct err *e)
{
	struct frost *f = calloc(1, sizeof(*f));

	if (!f) {
		err_set(e, ERR_SYS, ENOMEM, "no memory");
		return NULL;
	}
	if (frost_mount(f->root, sizeof(f->root)) < 0 ||
	    snprintf(f->dir, sizeof(f->dir), "%s%s/haul-%016llx", f->root,
	             strcmp(home, "/") ? home : "",
	             (unsigned long long)id) >= (int)sizeof(f->dir)) {
		err_set(e, ERR_SYS, ENOTSUP, "no cgroup version 2 here, or a long name");
		free(f);
		return NULL;
	}
	return f;
}

/* Only a domain cgroup takes whole processes. */
static bool is_domain(const struct frost *f)
{
	char path[PATH_BYTES + 32], type[32] = "";

	snprintf(path, sizeof(path), "%s/cgroup.type", f->dir);
	AUTO(file) FILE *file = fopen(path, "re");

	return file && fgets(type, sizeof(type), file) && !strcmp(type, "domain\n");
}

int frost_new(struct frost **out, uint64_t id, const char *home, struct err *e)
{
	AUTO(frost) struct frost *f = make(id, home, e);

	if (!f)
		return -e->code;
	if (mkdir(f->dir, 0755) < 0)
		return err_sys(e, "make %s", f->dir);
	int r = is_domain(f) ? put_in(f->dir, "cgroup.freeze", "1") : -ENOTSUP;

	if (r < 0) {
		rmdir(f->dir);
		return err_set(e, ERR_SYS, -r, "freeze %s: %s", f->dir, strerror(-r));
	}
	*out = steal(f);
	return 0;
}

char *frost_cgroup_of(pid_t pid)
{
	char path[32], line[PATH_BYTES];

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "0::/", 4)) {
			line[strcspn(line, "\n")] = '\0';
			return strdup(line + 3);
		}
	return NULL;
}

static bool freezes(const char *root, const char *cgroup)
{
	char path[2 * PATH_BYTES], is = '0';

	snprintf(path, sizeof(path), "%s%s/cgroup.freeze", root, cgroup);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, &is, 1) == 1 && is == '1';
}

int frost_refuse(pid_t pid, struct err *e)
{
	AUTO(mem) char *at = frost_cgroup_of(pid);
	char root[PATH_BYTES];

	if (!at || frost_mount(root, sizeof(root)) < 0)
		return 0;
	for (char *end = at + strlen(at); end && end > at; end = strrchr(at, '/')) {
		*end = '\0';
		if (!freezes(root, at))
			continue;
		err_set(e, ERR_TARGET, EBUSY, "process %d is frozen by its cgroup %s", pid, at);
		return err_fix(e, "thaw it (docker unpause, systemctl thaw); if a haul that was "
		                  "killed has frozen it: haul recover");
	}
	return 0;
}

static bool stay(void *arg)
{
	const struct frost *f = arg;

	return put_in(f->own, "cgroup.procs", "0") == 0;
}

void frost_warm(struct frost *f)
{
	AUTO(mem) char *own = frost_cgroup_of(getpid());

	snprintf(f->own, sizeof(f->own), "%s%.*s", f->root, PATH_BYTES - 1, own ? own : "/");
	warm_start(&f->warm, stay, f, WARM_US);
}

void frost_cool(struct frost *f)
{
	warm_stop(&f->warm);
}

int frost_enter(const char *dir, pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	return put_in(dir, "cgroup.procs", text);
}

static int remember(struct frost *f, pid_t pid, char *from)
{
	struct member *v = from ? realloc(f->v, (f->n + 1) * sizeof(*v)) : NULL;

	if (!v) {
		free(from);
		return -ENOMEM;
	}
	f->v = v;
	v[f->n++] = (struct member){ pid, from };
	return 0;
}

int frost_again(const struct frost *f, pid_t pid, struct err *e)
{
	int r = frost_enter(f->dir, pid);

	if (r == 0) /* another program may have thawed it */
		r = put_in(f->dir, "cgroup.freeze", "1");
	return r < 0 ? err_set(e, ERR_SYS, -r, "%d into %s: %s", pid, f->dir, strerror(-r)) : 0;
}

int frost_add(struct frost *f, pid_t pid, struct err *e)
{
	if (remember(f, pid, frost_cgroup_of(pid)) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "the cgroup of %d", pid);
	return frost_again(f, pid, e);
}

bool frost_has(const struct frost *f, pid_t pid)
{
	AUTO(mem) char *at = frost_cgroup_of(pid);
	const char *own = f->dir + strlen(f->root);

	return freezes(f->root, own) && (!at || !strcmp(at, own));
}

static int thaw_one(const struct frost *f, const struct member *m)
{
	char dir[2 * PATH_BYTES];

	snprintf(dir, sizeof(dir), "%s%s", f->root, m->from);
	int r = frost_enter(dir, m->pid);

	/* its cgroup is gone or takes no process: better at the root than stopped for ever */
	return r < 0 && r != -ESRCH ? frost_enter(f->root, m->pid) : r;
}

int frost_thaw(struct frost *f)
{
	int bad = 0;

	frost_cool(f);
	for (size_t i = 0; i < f->n; i++) {
		int r = thaw_one(f, &f->v[i]);

		if (r < 0 && r != -ESRCH) {
			log_err("pid=%d stays frozen: %s", f->v[i].pid, strerror(-r));
			bad = r;
		}
		free(f->v[i].from);
	}
	f->n = 0;
	if (bad) /* better in the root cgroup than stopped for ever */
		put_in(f->dir, "cgroup.freeze", "0");
	rmdir(f->dir);
	return bad;
}

int frost_adopt(struct frost **out, uint64_t id, const char *home, struct err *e)
{
	AUTO(frost) struct frost *f = make(id, home, e);

	if (!f)
		return -e->code;
	if (access(f->dir, F_OK) < 0)
		return err_sys(e, "%s", f->dir);
	*out = steal(f);
	return 0;
}

int frost_know(struct frost *f, pid_t pid, const char *origin)
{
	return remember(f, pid, strdup(origin ? origin : "/"));
}

void frost_free(struct frost *f)
{
	if (!f)
		return;
	frost_cool(f);
	for (size_t i = 0; i < f->n; i++)
		free(f->v[i].from);
	free(f->v);
	rmdir(f->dir); /* succeeds only when it is empty */
	free(f);
}
