// SPDX-License-Identifier: GPL-2.0-or-later
/* place.c - give files their names, on record, and take them away again. */
#include "agent/files/place.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/beneath.h"
#include "common/clock.h"
#include "common/log.h"

#define RECORD_MAX_BYTES (64u << 20)
#define UNDO_LIMIT_MS    3000
#define RETRY_US         20000

/*
 * Each step is on record before it is done: a letter, a number in decimal, a space, a path, NUL, a
 * second path, NUL.
 */
enum {
	OP_TEMP = 't', /* path was created; it is removed in the end, whatever happens */
	OP_DIR = 'd', /* the directory path was created */
	OP_NAME = 'n', /* the inode of that number got the name path */
	OP_SWAP = 'x', /* path and the second path were exchanged; the number is path's new inode */
	OP_GROW =
	        'g', /* the inode of that number, path, was appended to; second: see place_grow() */
	OP_KEEP = 'k', /* all files placed so far stay */
};

struct place {
	uint64_t id;
	int record;
	unsigned int temps;
};

/* ---- paths ---- */

int place_parent(const char *path, bool nearest, const char **rest)
{
	char dir[PATH_MAX];
	int fd;

	if (path[0] != '/' || strlen(path) >= sizeof(dir) || strstr(path, "/../"))
		return -EINVAL;
	snprintf(dir, sizeof(dir), "%s", path);
	do {
		char *slash = strrchr(dir, '/');

		if (!slash)
			return -ENOENT;
		if (rest)
			*rest = path + (slash - dir) + 1;
		slash[slash == dir] = 0;
		fd = beneath_dir(dir);
		if (slash == dir && fd == -ENOENT)
			return fd;
		*slash = 0;
	} while (nearest && fd == -ENOENT);
	return fd;
}

static int no_parent(int r, const char *path, struct err *e)
{
	if (r != -ELOOP && r != -ENOTDIR)
		return err_set(e, ERR_SYS, -r, "the directory of %s: %s", path, strerror(-r));
	err_set(e, ERR_PEER, ELOOP,
	        "%s is reached through a symbolic link here: nothing is written through it", path);
	return err_fix(e, "mount the storage there instead, or make the link a directory");
}

static int parent(const char *path, const char **name, struct err *e)
{
	int fd = place_parent(path, false, name);

	return fd < 0 ? no_parent(fd, path, e) : fd;
}

/* ---- the record ---- */

static int record(struct place *p, char op, uint64_t number, const char *path, const char *second,
                  struct err *e)
{
	char line[2 * PATH_MAX + 32];
	int n = snprintf(line, sizeof(line), "%c%llu %s%c%s", op, (unsigned long long)number, path,
	                 0, second);

	if (n < 0 || (size_t)n >= sizeof(line))
		return err_set(e, ERR_PEER, ENAMETOOLONG, "%s: the name is too long", path);
	if (write(p->record, line, (size_t)n + 1) != n + 1)
		return err_sys(e, "record the change of %s", path);
	return 0;
}

static int open_record(struct place *p, int flags, struct err *e)
{
	char path[64];

	snprintf(path, sizeof(path), PLACE_DIR "/%016llx", (unsigned long long)p->id);
	if (flags & O_CREAT && mkdir("/run/haul", 0700) < 0 && errno != EEXIST)
		return err_sys(e, "/run/haul");
	if (flags & O_CREAT && mkdir(PLACE_DIR, 0700) < 0 && errno != EEXIST)
		return err_sys(e, PLACE_DIR);
	p->record = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	if (p->record < 0)
		return err_sys(e, "%s", path);
	if (flock(p->record, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, "%s belongs to another process", path);
	return 0;
}

int place_new(struct place **out, uint64_t id, struct err *e)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	p->id = id;
	if (open_record(p, O_CREAT | O_EXCL, e) < 0) {
		free(p);
		return -e->code;
	}
	*out = p;
	return 0;
}

/* ---- making ---- */

/* A hidden name, put on record. Return: a descriptor of its directory */
static int temp_name(struct place *p, const char *path, char **name, struct err *e)
{
	char dir_path[PATH_MAX], link[32];
	AUTO(fd) int dir = place_parent(path, true, NULL);

	if (dir < 0)
		return no_parent(dir, path, e);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	ssize_t n = readlink(link, dir_path, sizeof(dir_path) - 1);

	if (n < 0)
		return err_sys(e, "the directory of %s", path);
	dir_path[n] = 0;
	if (asprintf(name, "%s/.haul-%016llx-%u", n > 1 ? dir_path : "", (unsigned long long)p->id,
	             p->temps++) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %s", path);
	return record(p, OP_TEMP, 0, *name, "", e) < 0 ? -e->code : steal_fd(&dir);
}

int place_temp(struct place *p, const char *path, char **name, struct err *e)
{
	AUTO(fd) int dir = temp_name(p, path, name, e);

	if (dir < 0)
		return dir;
	int fd = openat(dir, strrchr(*name, '/') + 1,
	                O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? err_sys(e, "create a file for %s", path) : fd;
}

/* The new file's inode is on record, so that an undo removes only that file. */
int place_put(struct place *p, const char *temp, const char *path, bool replace, struct err *e)
{
	const char *from_name, *to_name;
	AUTO(fd) int from = parent(temp, &from_name, e);
	AUTO(fd) int to = from < 0 ? -1 : parent(path, &to_name, e);
	struct stat st;

	if (from < 0 || to < 0)
		return -e->code;
	if (fstatat(from, from_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "%s", temp);
	if (record(p, replace ? OP_SWAP : OP_NAME, st.st_ino, path, temp, e) < 0)
		return -e->code;
	if (renameat2(from, from_name, to, to_name, replace ? RENAME_EXCHANGE : RENAME_NOREPLACE) <
	    0)
		return err_sys(e, "put the new file at %s", path);
	return 0;
}

int place_dir(struct place *p, const char *path, mode_t mode, struct err *e)
{
	const char *name;
	AUTO(fd) int dir = parent(path, &name, e);
	struct stat st;

	if (dir < 0)
		return dir;
	if (mkdirat(dir, name, mode & 07777) < 0)
		return err_sys(e, "make the directory %s", path);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "%s", path);
	return record(p, OP_DIR, st.st_ino, path, "", e);
}

int place_link(struct place *p, const char *path, const char *to, struct err *e)
{
	AUTO(mem) char *temp = NULL;
	AUTO(fd) int dir = temp_name(p, path, &temp, e);

	if (dir < 0)
		return dir;
	if (symlinkat(to, dir, strrchr(temp, '/') + 1) < 0)
		return err_sys(e, "make the symbolic link %s", path);
	return place_put(p, temp, path, false, e);
}

int place_node(struct place *p, const char *path, const struct stat *as, struct err *e)
{
	AUTO(mem) char *temp = NULL;
	AUTO(fd) int at = temp_name(p, path, &temp, e);
	const char *name = at < 0 ? NULL : strrchr(temp, '/') + 1;
	const struct timespec times[2] = { as->st_atim, as->st_mtim };

	if (at < 0)
		return at;
	/* no one may open it before it has its owner; a change of owner clears mode bits */
	if (mknodat(at, name, as->st_mode & S_IFMT, as->st_rdev) < 0 ||
	    fchownat(at, name, as->st_uid, as->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(at, name, as->st_mode & 07777, 0) < 0 ||
	    utimensat(at, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "make %s", path);
	return place_put(p, temp, path, false, e);
}

int place_grow(struct place *p, const struct place_grown *g, struct err *e)
{
	char how[80];

	snprintf(how, sizeof(how), "%llu %llu %lld %ld", (unsigned long long)g->from,
	         (unsigned long long)g->to, (long long)g->mtime.tv_sec, g->mtime.tv_nsec);
	return record(p, OP_GROW, g->ino, g->path, how, e);
}

int place_fd(const struct place *p)
{
	return p->record;
}

int place_keep(struct place *p, struct err *e)
{
	return record(p, OP_KEEP, 0, "", "", e);
}

/* ---- taking away ---- */

struct step {
	char op;
	uint64_t number;
	const char *path, *second;
};

static bool is_inode(int dir, const char *name, uint64_t number)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == number;
}

/* A CRIU that lost its worker still removes its own files from the directory: wait for it. */
static int remove_dir(int dir, const char *name, uint64_t deadline_us)
{
	int r;

	while ((r = unlinkat(dir, name, AT_REMOVEDIR)) < 0 && errno == ENOTEMPTY &&
	       now_us() < deadline_us)
		usleep(RETRY_US);
	return r;
}

/* Cut off what was appended; lines that another process has appended since are not touched. */
static int shrink(int dir, const char *name, const struct step *s)
{
	unsigned long long from, to;
	long long sec;
	long nsec;
	struct stat st;
	AUTO(fd)
	int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	if (!S_ISREG(st.st_mode) || st.st_ino != s->number ||
	    sscanf(s->second, "%llu %llu %lld %ld", &from, &to, &sec, &nsec) != 4)
		return 0;
	if ((unsigned long long)st.st_size > to) {
		log_warn("undo of %s: another process has appended to it, so what haul appended "
		         "stays",
		         s->path);
		return 0;
	}
	if ((unsigned long long)st.st_size < from)
		return 0;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { (time_t)sec, nsec } };

	return ftruncate(fd, (off_t)from) < 0 ? -1 : futimens(fd, times);
}

static void take_away(const struct step *s, bool keep, uint64_t deadline_us)
{
	const char *name, *second = NULL;
	AUTO(fd) int dir = place_parent(s->path, false, &name);
	AUTO(fd) int other = s->second[0] ? place_parent(s->second, false, &second) : -1;
	int r = 0;

	if (dir < 0 || (keep && s->op != OP_TEMP))
		return;
	if (s->op == OP_TEMP)
		r = unlinkat(dir, name, 0);
	else if (s->op == OP_DIR && is_inode(dir, name, s->number))
		r = remove_dir(dir, name, deadline_us);
	else if (s->op == OP_NAME && is_inode(dir, name, s->number))
		r = unlinkat(dir, name, 0);
	else if (s->op == OP_GROW)
		r = shrink(dir, name, s);
	else if (s->op == OP_SWAP && other >= 0 && is_inode(dir, name, s->number))
		r = renameat2(dir, name, other, second, RENAME_EXCHANGE);
	if (r < 0 && errno != ENOENT)
		log_warn("undo of %s: %s", s->path, strerror(errno));
}

static char *load(int fd, size_t *bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > RECORD_MAX_BYTES)
		return NULL;
	char *text = malloc((size_t)st.st_size + 1);

	if (!text || pread(fd, text, (size_t)st.st_size, 0) != st.st_size) {
		free(text);
		return NULL;
	}
	text[st.st_size] = 0;
	*bytes = (size_t)st.st_size;
	return text;
}

/* Return: false at the end, or at a record that was cut short: its step was not done */
static bool next_step(const char *text, size_t bytes, size_t *at, struct step *s)
{
	const char *p = text + *at, *end = text + bytes;
	const char *nul = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;
	const char *last = nul ? memchr(nul + 1, 0, (size_t)(end - nul - 1)) : NULL;
	const char *space = nul ? memchr(p, ' ', (size_t)(nul - p)) : NULL;

	if (!last || !space)
		return false;
	*s = (struct step){ p[0], strtoull(p + 1, NULL, 10), space + 1, nul + 1 };
	*at = (size_t)(last + 1 - text);
	return true;
}

static void take_all_away(int fd)
{
	size_t bytes = 0, n = 0, at = 0;
	AUTO(mem) char *text = load(fd, &bytes);
	AUTO(mem) struct step *v = NULL;
	struct step s;
	bool keep = false;

	while (text && next_step(text, bytes, &at, &s)) {
		struct step *more = realloc(v, (n + 1) * sizeof(*v));

		if (!more) {
			log_err("no memory to remove the placed files: see " PLACE_DIR);
			return;
		}
		v = more;
		v[n++] = s;
		keep |= s.op == OP_KEEP;
	}
	uint64_t deadline_us = deadline_in_ms(UNDO_LIMIT_MS);

	while (n > 0)
		take_away(&v[--n], keep, deadline_us);
}

void place_end(struct place *p)
{
	char path[64];

	if (!p)
		return;
	take_all_away(p->record);
	snprintf(path, sizeof(path), PLACE_DIR "/%016llx", (unsigned long long)p->id);
	unlink(path);
	close(p->record);
	free(p);
}

int place_adopt(uint64_t id)
{
	struct place *p = calloc(1, sizeof(*p));
	struct err e = ERR_INIT;

	if (!p)
		return -ENOMEM;
	p->id = id;
	if (open_record(p, 0, &e) == 0) {
		place_end(p);
		return 0;
	}
	if (e.code != ENOENT && e.code != EWOULDBLOCK)
		log_warn("cannot undo or finish placed files: %s", e.msg);
	if (p->record >= 0)
		close(p->record);
	free(p);
	return e.code == EWOULDBLOCK ? -EAGAIN : 0;
}

void place_sweep(void)
{
	AUTO(dir) DIR *d = opendir(PLACE_DIR);

	for (struct dirent *de; d && (de = readdir(d));)
		if (strlen(de->d_name) == 16)
			place_adopt(strtoull(de->d_name, NULL, 16));
}
