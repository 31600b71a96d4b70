// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * late.c - bring the files of a container up to date in the freeze. GNU tar's incremental archives say what was made, changed
 * and removed since a first look; a log only grows.
 */
#include "engine/container/late.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "engine/container/tool.h"

#define ROOTS_MAX     32
#define PART_BYTES    (1u << 20)
#define LOOK_LIMIT_MS 120000
#define TAKE_LIMIT_MS 60000
#define ASK_LIMIT_MS  20000
#define COMING        "late.tar"

struct place {
	char from[CONTAINER_PATH_BYTES], into[CONTAINER_PATH_BYTES];
	char snap[CONTAINER_PATH_BYTES]; /* what tar has seen at the first look */
	struct tool *tar;
};

struct late {
	struct place v[ROOTS_MAX];
	size_t n;
	char log[CONTAINER_PATH_BYTES];
	off_t log_bytes; /* at the first look */
};

/* ---- which ---- */

static int add(struct late *l, const char *dir, const char *from, const char *into, struct err *e)
{
	struct place *p = &l->v[l->n];

	if (l->n == ROOTS_MAX)
		return err_set(e, ERR_SYS, E2BIG, "more than %d volumes", ROOTS_MAX - 2);
	snprintf(p->from, sizeof(p->from), "%s", from);
	snprintf(p->into, sizeof(p->into), "%s", into);
	snprintf(p->snap, sizeof(p->snap), "%s/look%zu", dir, l->n++);
	unlink(p->snap);
	return 0;
}

/* The log's path, then that of each named volume. */
static int find(struct late *l, const struct container *c, const char *dir, struct err *e)
{
	static const char format[] = "{{.HostConfig.LogConfig.Path}}{{range .Mounts}}{{if eq .Type "
	                             "\"volume\"}}\n{{.Source}}{{end}}{{end}}";
	const char *const argv[] = { "podman", "container", "inspect", "--format",
		                     format,   c->id,       NULL };
	char said[8192], shm[CONTAINER_PATH_BYTES + 8], *save = NULL;
	int r = tool_run(argv, ASK_LIMIT_MS, said, sizeof(said), e);

	if (r < 0)
		return r;
	if (*said == '/')
		snprintf(l->log, sizeof(l->log), "%.*s", (int)strcspn(said, "\n"), said);
	strtok_r(said, "\n", &save);
	for (char *s; r == 0 && (s = strtok_r(NULL, "\n", &save));)
		r = add(l, dir, s, s, e);
	char *slash = strrchr(l->log, '/');

	if (r < 0 || !slash)
		return r;
	snprintf(shm, sizeof(shm), "%.*s/shm", (int)(slash - l->log), l->log);
	return access(shm, F_OK) == 0 ? add(l, dir, shm, shm, e) : 0;
}

/* ---- tar ---- */

/* Status 1 only says that a file was changed or removed while tar read it. */
static int start_tar(struct place *p, const char *archive, struct err *e)
{
	char snap[CONTAINER_PATH_BYTES + 32];
	const char *const argv[] = { "sh",
		                     "-c",
		                     "tar \"$@\"; [ $? -le 1 ]",
		                     "tar",
		                     "--create",
		                     "--format=gnu",
		                     "--one-file-system",
		                     "--numeric-owner",
		                     "--sparse",
		                     snap,
		                     "--file",
		                     archive,
		                     "--directory",
		                     p->from,
		                     ".",
		                     NULL };

	snprintf(snap, sizeof(snap), "--listed-incremental=%s", p->snap);
	return tool_start(&p->tar, argv, NULL, e);
}

static int end_tar(struct place *p, unsigned int limit_ms, struct err *e)
{
	return tool_wait(p->tar, deadline_in_ms(limit_ms), e);
}

int late_new(struct late **out, const struct container *c, const char *root, const char *dir,
             struct err *e)
{
	AUTO(late) struct late *l = calloc(1, sizeof(*l));
	struct stat st;

	if (!l)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a container's files");
	if (!strcmp(c->runtime, "podman") &&
	    (find(l, c, dir, e) < 0 || (root && add(l, dir, root, LATE_ROOT, e) < 0)))
		return err_code(e);
	l->log_bytes = l->log[0] && stat(l->log, &st) == 0 ? st.st_size : 0;
	for (size_t i = 0; i < l->n; i++) {
		if (start_tar(&l->v[i], "/dev/null", e) < 0 ||
		    end_tar(&l->v[i], LOOK_LIMIT_MS, e) < 0)
			return err_wrap(e, "files of the container");
		tool_free(steal(l->v[i].tar));
	}
	*out = steal(l);
	return 0;
}

/* ---- in the freeze ---- */

static int pass(const char *into, int64_t at, int fd, off_t from, late_fn fn, void *arg,
                struct err *e)
{
	AUTO(mem) uint8_t *buf = malloc(PART_BYTES);
	ssize_t n;

	if (!buf)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a container's files");
	do {
		n = pread(fd, buf, PART_BYTES, from);
		if (n < 0)
			return err_sys(e, "%s", into);
		int r = fn(arg, into, at < 0 ? at : from, buf, (size_t)n, n == 0, e);

		if (r < 0)
			return r;
		from += n;
	} while (n > 0);
	return 0;
}

static int take_log(struct late *l, late_fn fn, void *arg, struct err *e)
{
	AUTO(fd) int fd = l->log[0] ? open(l->log, O_RDONLY | O_CLOEXEC) : -1;

	return fd < 0 ? 0 : pass(l->log, 0, fd, l->log_bytes, fn, arg, e);
}

int late_take(struct late *l, late_fn fn, void *arg, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < l->n; i++)
		r = start_tar(&l->v[i], "-", e);
	for (size_t i = 0; r == 0 && i < l->n; i++) {
		r = end_tar(&l->v[i], TAKE_LIMIT_MS, e);
		if (r == 0)
			r = pass(l->v[i].into, -1, tool_out(l->v[i].tar), 0, fn, arg, e);
	}
	return r < 0 ? err_wrap(e, "files of the container") : take_log(l, fn, arg, e);
}

void late_free(struct late *l)
{
	for (size_t i = 0; l && i < l->n; i++)
		tool_free(l->v[i].tar);
	free(l);
}

/* ---- at the destination ---- */

/* Of this container: its own folder of podman's, or a volume. */
static bool path_ok(const struct container *c, const char *path)
{
	size_t n = strlen(path);

	return path[0] == '/' && !strstr(path, "/../") &&
	       (strstr(path, c->id) || (n > 6 && !strcmp(path + n - 6, "/_data")));
}

static int append(const char *path, int flags, int64_t at, const uint8_t *data, size_t bytes,
                  struct err *e)
{
	AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	ssize_t n = fd < 0             ? -1
	            : flags & O_APPEND ? write(fd, data, bytes)
	                               : pwrite(fd, data, bytes, at);

	return n == (ssize_t)bytes ? 0 : err_sys(e, "%s", path);
}

static int unpack(const char *archive, const char *into, struct err *e)
{
	const char *const argv[] = { "tar",
		                     "--extract",
		                     "--listed-incremental=/dev/null",
		                     "--numeric-owner",
		                     "--preserve-permissions",
		                     "--file",
		                     archive,
		                     "--directory",
		                     into,
		                     NULL };
	int r = tool_run(argv, TAKE_LIMIT_MS, NULL, 0, e);

	unlink(archive);
	return r < 0 ? err_wrap(e, "%s", into) : 0;
}

int late_put(const struct container *c, const char *root, const char *dir, const char *into,
             int64_t at, const uint8_t *data, size_t bytes, bool last, struct err *e)
{
	char archive[CONTAINER_PATH_BYTES];
	bool is_root = !strcmp(into, LATE_ROOT);

	if (is_root ? !root : !path_ok(c, into))
		return err_set(e, ERR_PEER, EBADMSG,
		               "files for a place that is not the container's");
	if (at >= 0)
		return last ? 0 : append(into, 0, at, data, bytes, e);
	snprintf(archive, sizeof(archive), "%s/" COMING, dir);
	int r = append(archive, O_CREAT | O_APPEND, 0, data, bytes, e);

	return r < 0 || !last ? r : unpack(archive, is_root ? root : into, e);
}
