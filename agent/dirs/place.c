// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * place.c - give staged directories their names, and take the names away when the migration fails.
 *
 * The record says what will be created: parent directory, name, box, and the inode of the new
 * directory. The file system says what was done: the directory is in place when its inode has the
 * name. So no crash between the act and the record can mislead.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "agent/dirs/priv.h"
#include "agent/files/beneath.h"
#include "common/host/journal.h"
#include "common/log.h"

#define RECORD_LINE_BYTES (2 * PATH_MAX)
#define WORD_KEEP         "keep"
#define LET_GO_US         50000
#define LET_GO_TIMES      400

/* ---- the record ---- */

static void record_path(uint64_t route, char out[64])
{
	snprintf(out, 64, DIRS_IN_DIR "/%016llx", (unsigned long long)route);
}

int dirs_in_record(struct dirs_in *s, bool adopt, struct err *e)
{
	char path[64];

	mkdir("/run/haul", 0700);
	if (mkdir(DIRS_IN_DIR, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "make %s", DIRS_IN_DIR);
	record_path(s->route, path);
	s->record_fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | (adopt ? 0 : O_CREAT | O_EXCL),
	                    0600);
	if (s->record_fd < 0 || flock(s->record_fd, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, "record of directories %s", path);
	return 0;
}

static int record(struct dirs_in *s, const char *line, size_t n, struct err *e)
{
	return write(s->record_fd, line, n) == (ssize_t)n
	               ? 0
	               : err_sys(e, "record of directories in %s", DIRS_IN_DIR);
}

int dirs_in_record_root(struct dirs_in *s, struct dirs_in_root *r, struct err *e)
{
	char line[RECORD_LINE_BYTES];

	if (fstat(r->parent_fd, &r->parent_st) < 0)
		return err_sys(e, "%s", r->parent);
	int n = snprintf(line, sizeof(line), "box %lld.%09ld %lld.%09ld %s %s/%s\n",
	                 (long long)r->parent_st.st_atim.tv_sec, r->parent_st.st_atim.tv_nsec,
	                 (long long)r->parent_st.st_mtim.tv_sec, r->parent_st.st_mtim.tv_nsec,
	                 r->box, r->parent, r->name);

	return record(s, line, (size_t)n, e);
}

/* Before this is on record the new directory cannot be in its place. */
static int record_inode(struct dirs_in *s, const struct dirs_in_root *r, struct err *e)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "top %s %llu %llu\n", r->box,
	                 (unsigned long long)r->dev, (unsigned long long)r->ino);

	return record(s, line, (size_t)n, e);
}

/* ---- boxes ---- */

static void no_default_acl(int fd)
{
	fremovexattr(fd, "system.posix_acl_default");
	fremovexattr(fd, "system.posix_acl_access");
}

int dirs_in_box(struct dirs_in *s, struct dirs_in_root *r, struct err *e)
{
	struct stat st;

	if (mkdirat(r->parent_fd, r->box, 0700) < 0) {
		err_sys(e, "make %s/%s", r->parent, r->box);
		return err_fix(e, "is the file system there writable?");
	}
	r->box_fd = beneath_open(r->parent_fd, r->box, O_RDONLY | O_DIRECTORY, 0, false);
	if (r->box_fd < 0 || fstat(r->box_fd, &st) < 0)
		return err_sys(e, "open %s/%s", r->parent, r->box);
	if (st.st_uid != geteuid() || (fchmod(r->box_fd, 0700), st.st_mode & 077))
		return err_set(e, ERR_SYS, EPERM, "%s/%s is not ours alone", r->parent, r->box);
	no_default_acl(r->box_fd);
	if (mkdirat(r->box_fd, DIRS_IN_NEW, 0700) < 0)
		return err_sys(e, "make a directory in %s/%s", r->parent, r->box);
	r->top_fd = beneath_open(r->box_fd, DIRS_IN_NEW, O_RDONLY | O_DIRECTORY, 0, false);
	if (r->top_fd < 0 || fstat(r->top_fd, &st) < 0)
		return err_sys(e, "open a directory in %s/%s", r->parent, r->box);
	r->ino = st.st_ino;
	r->dev = st.st_dev;
	return record_inode(s, r, e);
}

static bool has_inode(int dir, const char *name, const struct dirs_in_root *r)
{
	struct stat st;

	return r->ino && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == r->ino &&
	       st.st_dev == r->dev;
}

static bool exists(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* After an undo the parent directory has its old times again. */
static void put_times(int fd, const struct stat *st)
{
	futimens(fd, (struct timespec[]){ st->st_atim, st->st_mtim });
}

static int place_root(struct dirs_in_root *r, struct err *e)
{
	bool old = exists(r->parent_fd, r->name);

	if (renameat2(r->box_fd, DIRS_IN_NEW, r->parent_fd, r->name,
	              old ? RENAME_EXCHANGE : RENAME_NOREPLACE) < 0) {
		err_sys(e, "put %s/%s in its place", r->parent, r->name);
		return err_fix(e, "is it a mount point, or in use as one?");
	}
	return 0;
}

int dirs_in_place(struct dirs_in *s, struct err *e)
{
	int r = 0;

	if (!s)
		return 0;
	pthread_mutex_lock(&s->lock);
	s->closed = true;
	dirs_in_at_close(&s->at);
	for (size_t i = 0; r == 0 && i < s->n; i++)
		r = place_root(&s->root[i], e);
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void take_back(struct dirs_in_root *r)
{
	if (r->box_fd < 0 || !has_inode(r->parent_fd, r->name, r))
		return;
	bool old = exists(r->box_fd, DIRS_IN_NEW);

	if (renameat2(r->parent_fd, r->name, r->box_fd, DIRS_IN_NEW,
	              old ? RENAME_EXCHANGE : RENAME_NOREPLACE) < 0)
		log_err("%s/%s cannot be taken back: %s%s", r->parent, r->name, strerror(errno),
		        old ? "; the directory it replaced is in the hidden one beside it" : "");
}

void dirs_in_keep(struct dirs_in *s)
{
	struct err e = ERR_INIT;

	if (!s)
		return;
	s->keep = true;
	if (record(s, WORD_KEEP "\n", sizeof(WORD_KEEP), &e) < 0)
		log_err("%s", e.msg);
}

/* Never remove a box that may hold the replaced directory while the new one is not in place. */
static void drop_box(const struct dirs_in_root *r, bool keep)
{
	if (r->parent_fd < 0 || (r->box_fd >= 0 && has_inode(r->parent_fd, r->name, r) != keep)) {
		log_err("%s/%s is left as it is: the new directory is %s", r->parent, r->box,
		        keep ? "not in its place" : "still in its place");
		return;
	}
	int error = -dirs_in_remove(r->parent_fd, r->box);

	if (error)
		log_err("remove %s/%s: %s", r->parent, r->box, strerror(error));
	if (!keep)
		put_times(r->parent_fd, &r->parent_st);
}

void dirs_in_free(struct dirs_in *s)
{
	if (!s)
		return;
	dirs_in_at_close(&s->at);
	for (size_t i = 0; i < DIRS_IN_ROOTS_MAX; i++) {
		struct dirs_in_root *r = &s->root[i];

		free(r->parent);
		free(r->name);
		if (r->parent_fd >= 0)
			close(r->parent_fd);
		if (r->box_fd >= 0)
			close(r->box_fd);
		if (r->top_fd >= 0)
			close(r->top_fd);
	}
	if (s->record_fd >= 0)
		close(s->record_fd);
	free(s);
}

void dirs_in_end(struct dirs_in *s)
{
	char path[64];

	if (!s || s->ended)
		return;
	s->ended = true;
	pthread_mutex_lock(&s->lock);
	s->closed = true;
	dirs_in_at_close(&s->at);
	pthread_mutex_unlock(&s->lock);
	if (s->record_fd < 0)
		return;
	for (size_t i = 0; !s->keep && i < s->n; i++)
		take_back(&s->root[i]);
	for (size_t i = 0; i < s->n; i++) {
		if (s->keep)
			syncfs(s->root[i].parent_fd);
		drop_box(&s->root[i], s->keep);
	}
	record_path(s->route, path);
	unlink(path);
}

/* ---- after a crash ---- */

static void parse_box(struct dirs_in *s, char *line)
{
	struct dirs_in_root *r = &s->root[s->n];
	struct timespec *a = &r->parent_st.st_atim, *m = &r->parent_st.st_mtim;
	char *path, *slash = strrchr(line, '/');
	int at = 0;

	if (!slash || s->n == DIRS_IN_ROOTS_MAX ||
	    sscanf(line, "%ld.%ld %ld.%ld %39s %n", &a->tv_sec, &a->tv_nsec, &m->tv_sec,
	           &m->tv_nsec, r->box, &at) != 5)
		return;
	path = line + at;
	*slash = 0;
	r->parent = strdup(path);
	r->name = strdup(slash + 1);
	r->parent_fd = open(*path ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (r->parent_fd >= 0)
		r->box_fd = beneath_open(r->parent_fd, r->box, O_RDONLY | O_DIRECTORY, 0, false);
	if (r->parent && r->name)
		s->n++;
}

static void parse_top(struct dirs_in *s, const char *line)
{
	unsigned long long dev, ino;
	char box[40];

	if (sscanf(line, "%39s %llu %llu", box, &dev, &ino) != 3)
		return;
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->root[i].box, box)) {
			s->root[i].dev = (dev_t)dev;
			s->root[i].ino = (ino_t)ino;
		}
}

static void parse(struct dirs_in *s)
{
	AUTO(mem) char *line = NULL;
	size_t cap = 0;
	int fd = dup(s->record_fd);
	AUTO(file) FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;

	while (f && getline(&line, &cap, f) >= 0) {
		char *end = strchr(line, '\n');

		if (!end)
			return; /* half a line: nothing was done after it */
		*end = 0;
		if (!strncmp(line, "box ", 4))
			parse_box(s, line + 4);
		else if (!strncmp(line, "top ", 4))
			parse_top(s, line + 4);
		else if (!strcmp(line, WORD_KEEP))
			s->keep = true;
	}
}

/*
 * "commit" is on record before the gate opens, and "keep" after that.
 * Return: 1, 0; -EBUSY: a successor of the worker lives, it will end this
 */
static int committed(uint64_t route)
{
	struct journal *j = NULL;
	struct err e = ERR_INIT;
	int r = journal_adopt(&j, JOURNAL_DIR, JOURNAL_DEST, route, &e);
	const char *word = r == 0 ? journal_word(j) : "";
	int yes = r == -EBUSY ? -EBUSY
	                      : !strcmp(word, "commit") || !strcmp(word, "done") ||
	                                !strcmp(word, "lost");

	if (r == 0)
		journal_close(j, false);
	return yes;
}

int dirs_in_adopt(uint64_t route, bool kept)
{
	struct dirs_in *s = calloc(1, sizeof(*s));
	struct err e = ERR_INIT;

	if (!s)
		return -ENOMEM;
	s->route = route;
	s->record_fd = s->at.dir_fd = s->at.file_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	for (size_t i = 0; i < DIRS_IN_ROOTS_MAX; i++)
		s->root[i].parent_fd = s->root[i].box_fd = s->root[i].top_fd = -1;
	if (dirs_in_record(s, true, &e) < 0) {
		dirs_in_free(s);
		return e.code == EWOULDBLOCK ? -EAGAIN : 0;
	}
	parse(s);
	int known = s->keep || kept ? 1 : committed(route);

	if (known < 0) {
		dirs_in_free(s);
		return -EAGAIN;
	}
	s->keep = known;
	log_info("directories of route=%016llx: %s", (unsigned long long)route,
	         s->keep ? "they stay" : "undone");
	dirs_in_end(s);
	dirs_in_free(s);
	return 0;
}

static int each(bool (*fn)(uint64_t route))
{
	AUTO(dir) DIR *d = opendir(DIRS_IN_DIR);
	int n = 0;

	for (struct dirent *de; d && (de = readdir(d));)
		if (strlen(de->d_name) == 16 && strspn(de->d_name, "0123456789abcdef") == 16)
			n += fn(strtoull(de->d_name, NULL, 16));
	return n;
}

static bool count(uint64_t route)
{
	(void)route;
	return true;
}

static bool adopt(uint64_t route)
{
	dirs_in_adopt(route, false);
	return true;
}

bool dirs_in_left(void)
{
	return each(count) > 0;
}

/* The locks of a killed worker vanish one by one, with its descriptors. */
void dirs_in_adopt_dead(uint64_t route)
{
	for (int i = 0; i < LET_GO_TIMES && dirs_in_adopt(route, false) == -EAGAIN; i++)
		usleep(LET_GO_US);
}

void dirs_in_sweep(void)
{
	each(adopt);
}
