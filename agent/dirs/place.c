// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * afs_place.c - staged trees get their names, and lose them again when the migration fails.
 *
 * The record says what was going to be made: parent directory, name, box, and the inode of the new
 * tree. What was done is seen in the file system: the tree is in place when its inode has
 * the name. So no crash between the act and the record can mislead.
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
#include "common/journal.h"
#include "common/log.h"

#define RECORD_LINE_BYTES (2 * PATH_MAX)
#define WORD_KEEP         "keep"
#define LET_GO_US         50000
#define LET_GO_TIMES      400

/* ---- the record ---- */

static void record_path(uint64_t route, char out[64])
{
	snprintf(out, 64, AFS_DIR "/%016llx", (unsigned long long)route);
}

int afs_record(struct afs *s, bool adopt, struct err *e)
{
	char path[64];

	mkdir("/run/haul", 0700);
	if (mkdir(AFS_DIR, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "make %s", AFS_DIR);
	record_path(s->route, path);
	s->record_fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | (adopt ? 0 : O_CREAT | O_EXCL),
	                    0600);
	if (s->record_fd < 0 || flock(s->record_fd, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, "record of trees %s", path);
	return 0;
}

static int record(struct afs *s, const char *line, size_t n, struct err *e)
{
	return write(s->record_fd, line, n) == (ssize_t)n
	               ? 0
	               : err_sys(e, "record of trees in %s", AFS_DIR);
}

int afs_record_root(struct afs *s, struct afs_root *r, struct err *e)
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

/* The new tree's inode is known when it is there; before that nothing can be in place. */
static int record_inode(struct afs *s, const struct afs_root *r, struct err *e)
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

int afs_box(struct afs *s, struct afs_root *r, struct err *e)
{
	struct stat st;

	if (mkdirat(r->parent_fd, r->box, 0700) < 0) {
		err_sys(e, "make %s/%s", r->parent, r->box);
		return err_fix(e, "is the file system there writable?");
	}
	r->box_fd = afs_open_beneath(r->parent_fd, r->box, O_RDONLY | O_DIRECTORY, 0, false);
	if (r->box_fd < 0 || fstat(r->box_fd, &st) < 0)
		return err_sys(e, "open %s/%s", r->parent, r->box);
	if (st.st_uid != geteuid() || (fchmod(r->box_fd, 0700), st.st_mode & 077))
		return err_set(e, ERR_SYS, EPERM, "%s/%s is not ours alone", r->parent, r->box);
	no_default_acl(r->box_fd);
	if (mkdirat(r->box_fd, AFS_NEW, 0700) < 0)
		return err_sys(e, "make a directory in %s/%s", r->parent, r->box);
	r->top_fd = afs_open_beneath(r->box_fd, AFS_NEW, O_RDONLY | O_DIRECTORY, 0, false);
	if (r->top_fd < 0 || fstat(r->top_fd, &st) < 0)
		return err_sys(e, "open a directory in %s/%s", r->parent, r->box);
	r->ino = st.st_ino;
	r->dev = st.st_dev;
	return record_inode(s, r, e);
}

static bool has_inode(int dir, const char *name, const struct afs_root *r)
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

/* The parent directory keeps its times when nothing else of it has changed in the end. */
static void put_times(int fd, const struct stat *st)
{
	futimens(fd, (struct timespec[]){ st->st_atim, st->st_mtim });
}

static int place_root(struct afs_root *r, struct err *e)
{
	bool old = exists(r->parent_fd, r->name);

	if (renameat2(r->box_fd, AFS_NEW, r->parent_fd, r->name,
	              old ? RENAME_EXCHANGE : RENAME_NOREPLACE) < 0) {
		err_sys(e, "put %s/%s in its place", r->parent, r->name);
		return err_fix(e, "is it a mount point, or in use as one?");
	}
	return 0;
}

int afs_place(struct afs *s, struct err *e)
{
	int r = 0;

	if (!s)
		return 0;
	pthread_mutex_lock(&s->lock);
	s->closed = true;
	afs_at_close(&s->at);
	for (size_t i = 0; r == 0 && i < s->n; i++)
		r = place_root(&s->root[i], e);
	pthread_mutex_unlock(&s->lock);
	return r;
}

static void take_back(struct afs_root *r)
{
	if (r->box_fd < 0 || !has_inode(r->parent_fd, r->name, r))
		return;
	bool old = exists(r->box_fd, AFS_NEW);

	if (renameat2(r->parent_fd, r->name, r->box_fd, AFS_NEW,
	              old ? RENAME_EXCHANGE : RENAME_NOREPLACE) < 0)
		log_err("%s/%s cannot be taken back: %s%s", r->parent, r->name, strerror(errno),
		        old ? "; what it replaced is in the hidden directory beside it" : "");
}

void afs_keep(struct afs *s)
{
	struct err e = ERR_INIT;

	if (!s)
		return;
	s->keep = true;
	if (record(s, WORD_KEEP "\n", sizeof(WORD_KEEP), &e) < 0)
		log_err("%s", e.msg);
}

/* Never a box that may hold what was replaced while the new one is not in place. */
static void drop_box(const struct afs_root *r, bool keep)
{
	if (r->parent_fd < 0 || (r->box_fd >= 0 && has_inode(r->parent_fd, r->name, r) != keep)) {
		log_err("%s/%s is left as it is: the tree is %s", r->parent, r->box,
		        keep ? "not in its place" : "still in its place");
		return;
	}
	int error = -afs_remove(r->parent_fd, r->box);

	if (error)
		log_err("remove %s/%s: %s", r->parent, r->box, strerror(error));
	if (!keep)
		put_times(r->parent_fd, &r->parent_st);
}

void afs_free(struct afs *s)
{
	if (!s)
		return;
	afs_at_close(&s->at);
	for (size_t i = 0; i < AFS_ROOTS_MAX; i++) {
		struct afs_root *r = &s->root[i];

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

void afs_end(struct afs *s)
{
	char path[64];

	if (!s || s->ended)
		return;
	s->ended = true;
	pthread_mutex_lock(&s->lock);
	s->closed = true;
	afs_at_close(&s->at);
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

static void parse_box(struct afs *s, char *line)
{
	struct afs_root *r = &s->root[s->n];
	struct timespec *a = &r->parent_st.st_atim, *m = &r->parent_st.st_mtim;
	char *path, *slash = strrchr(line, '/');
	int at = 0;

	if (!slash || s->n == AFS_ROOTS_MAX ||
	    sscanf(line, "%ld.%ld %ld.%ld %39s %n", &a->tv_sec, &a->tv_nsec, &m->tv_sec,
	           &m->tv_nsec, r->box, &at) != 5)
		return;
	path = line + at;
	*slash = 0;
	r->parent = strdup(path);
	r->name = strdup(slash + 1);
	r->parent_fd = open(*path ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (r->parent_fd >= 0)
		r->box_fd = afs_open_beneath(r->parent_fd, r->box, O_RDONLY | O_DIRECTORY, 0,
		                             false);
	if (r->parent && r->name)
		s->n++;
}

static void parse_top(struct afs *s, const char *line)
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

static void parse(struct afs *s)
{
	AUTO(mem) char *line = NULL;
	size_t cap = 0;
	int fd = dup(s->record_fd);
	AUTO(file) FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;

	while (f && getline(&line, &cap, f) >= 0) {
		char *end = strchr(line, '\n');

		if (!end)
			return; /* was not written: nothing was done after it */
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

int afs_adopt(uint64_t route, bool kept)
{
	struct afs *s = calloc(1, sizeof(*s));
	struct err e = ERR_INIT;

	if (!s)
		return -ENOMEM;
	s->route = route;
	s->record_fd = s->at.dir_fd = s->at.file_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	for (size_t i = 0; i < AFS_ROOTS_MAX; i++)
		s->root[i].parent_fd = s->root[i].box_fd = s->root[i].top_fd = -1;
	if (afs_record(s, true, &e) < 0) {
		afs_free(s);
		return e.code == EWOULDBLOCK ? -EAGAIN : 0;
	}
	parse(s);
	int known = s->keep || kept ? 1 : committed(route);

	if (known < 0) {
		afs_free(s);
		return -EAGAIN;
	}
	s->keep = known;
	log_info("trees of route=%016llx: %s", (unsigned long long)route,
	         s->keep ? "they stay" : "undone");
	afs_end(s);
	afs_free(s);
	return 0;
}

static int each(bool (*fn)(uint64_t route))
{
	AUTO(dir) DIR *d = opendir(AFS_DIR);
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
	afs_adopt(route, false);
	return true;
}

bool afs_left(void)
{
	return each(count) > 0;
}

/* The locks of a worker that was killed go with its descriptors, one by one. */
void afs_adopt_dead(uint64_t route)
{
	for (int i = 0; i < LET_GO_TIMES && afs_adopt(route, false) == -EAGAIN; i++)
		usleep(LET_GO_US);
}

void afs_sweep(void)
{
	each(adopt);
}
