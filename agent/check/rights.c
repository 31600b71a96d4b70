// SPDX-License-Identifier: GPL-2.0-or-later
/* rights.c - look at files with the identity of a process that is to have them. */
#include "agent/check/rights.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/auto.h"
#include "transport/msg/haul.pb-c.h"

#define LINKS_MAX  40
#define GROUPS_MAX 65536
#define MAKE_TRIES 100
#define GID_NONE   65534u
#define CAP(n)     (1ULL << (n))

/* Who has all of these passes every check of a file's owner, mode and ACL. */
#define CAPS_ROOT (CAP(CAP_DAC_OVERRIDE) | CAP(CAP_DAC_READ_SEARCH))

bool rights_is_root(const struct rights_id *id)
{
	return id->uid == 0 && (id->caps & CAPS_ROOT) == CAPS_ROOT;
}

bool rights_all_root(const struct rights *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (!rights_is_root(&r->v[i]))
			return false;
	return true;
}

/* ---- another identity, for this thread only ---- */

/* What has to be put back. glibc's functions would change all threads: system calls do not. */
struct own {
	struct __user_cap_data_struct caps[2];
	gid_t *groups;
	int n_groups, dumpable, death_signal;
	uid_t uid;
	gid_t gid;
	bool changed;
};

static int put_caps(const struct __user_cap_data_struct caps[2])
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return (int)syscall(SYS_capset, &h, caps);
}

static int get_own(struct own *o)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };

	o->uid = geteuid();
	o->gid = getegid();
	o->dumpable = prctl(PR_GET_DUMPABLE);
	if (prctl(PR_GET_PDEATHSIG, &o->death_signal) < 0 || syscall(SYS_capget, &h, o->caps) < 0)
		return -errno;
	o->n_groups = getgroups(0, NULL);
	o->groups = o->n_groups < 0 ? NULL : calloc((size_t)o->n_groups + 1, sizeof(gid_t));
	if (!o->groups)
		return -ENOMEM;
	o->n_groups = getgroups(o->n_groups, o->groups);
	return o->n_groups < 0 ? -errno : 0;
}

/* setfsuid(2) does not say whether it worked: a second call does. */
static bool set_fs(uid_t uid, gid_t gid)
{
	syscall(SYS_setfsgid, gid);
	syscall(SYS_setfsuid, uid);
	return syscall(SYS_setfsgid, -1) == (long)gid && syscall(SYS_setfsuid, -1) == (long)uid;
}

static void leave(struct own *o)
{
	if (o->changed) {
		put_caps(o->caps);
		set_fs(o->uid, o->gid);
		syscall(SYS_setgroups, o->n_groups, o->groups);
		put_caps(o->caps); /* a change of the user ID changes them, too */
		prctl(PR_SET_DUMPABLE, o->dumpable == 1);
		prctl(PR_SET_PDEATHSIG, o->death_signal);
	}
	free(o->groups);
	o->groups = NULL;
}

/* Return: 0; -errno: nothing has changed */
static int enter(struct own *o, const struct rights_id *id)
{
	struct __user_cap_data_struct less[2];

	memset(o, 0, sizeof(*o));
	if (rights_is_root(id))
		return 0;
	if (id->n_groups > GROUPS_MAX)
		return -EINVAL;
	int r = get_own(o);

	if (r < 0) {
		leave(o);
		return r;
	}
	o->changed = true;
	memcpy(less, o->caps, sizeof(less));
	less[0].effective &= (uint32_t)id->caps;
	less[1].effective &= (uint32_t)(id->caps >> 32);
	if (syscall(SYS_setgroups, id->n_groups, id->groups) == 0 && set_fs(id->uid, id->gid) &&
	    put_caps(less) == 0)
		return 0;
	leave(o);
	return -EPERM;
}

/* ---- paths ---- */

struct walk {
	const struct rights_id *id;
	const struct rights
	        *guard; /* refuse what one of its unprivileged identities could change */
	int dir;
	char rest[PATH_MAX];
	unsigned int links;
};

static int access_fd(int fd, int need)
{
	if (!need)
		return 0;
	return syscall(SYS_faccessat2, fd, "", need, AT_EMPTY_PATH | AT_EACCESS) < 0 ? -errno : 0;
}

int rights_need(unsigned int flags)
{
	if (flags & O_PATH)
		return 0;
	switch (flags & O_ACCMODE) {
	case O_RDONLY:
		return R_OK;
	case O_WRONLY:
		return W_OK;
	default:
		return R_OK | W_OK;
	}
}

int rights_access(const struct rights_id *id, int fd, int need)
{
	struct own own;
	int r = enter(&own, id);

	if (r < 0)
		return r;
	r = access_fd(fd, need);
	leave(&own);
	return r;
}

/* ---- files without a name ---- */

/* Return: a descriptor of a new file; -errno */
static int make_named(int dir, const char *name, mode_t kind)
{
	int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;

	if (S_ISREG(kind))
		flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
	else if (S_ISDIR(kind) ? mkdirat(dir, name, S_IRWXU) < 0
	                       : mkfifoat(dir, name, S_IRUSR | S_IWUSR) < 0)
		return -errno;
	int fd = openat(dir, name, flags, S_IRUSR | S_IWUSR);

	return fd < 0 ? -errno : fd;
}

static int make_nameless(int dir, const char *name, mode_t kind)
{
	AUTO(fd) int fd = make_named(dir, name, kind);
	struct stat st;

	if (fd < 0)
		return fd;
	/* a user can put another file there, or take it away, between the two calls; only files of hers */
	if (unlinkat(dir, name, S_ISDIR(kind) ? AT_REMOVEDIR : 0) < 0 || fstat(fd, &st) < 0)
		return -errno;
	return (st.st_mode & S_IFMT) == kind ? steal_fd(&fd) : -ESTALE;
}

int rights_make(const struct rights_id *id, int dir, const char *name, mode_t kind)
{
	char other[NAME_MAX + 1];
	struct own own;
	int r = enter(&own, id);

	if (r < 0)
		return r;
	r = make_nameless(dir, name, kind);
	for (int i = 0; r == -EEXIST && i < MAKE_TRIES; i++) {
		snprintf(other, sizeof(other), ".haul-%d-%d", getpid(), i);
		r = make_nameless(dir, other, kind);
	}
	leave(&own);
	return r;
}

/* Can anyone but root and @uid change the entries of this directory? */
static bool is_private(const struct stat *dir, uid_t uid)
{
	return (dir->st_uid == 0 || dir->st_uid == uid) && !(dir->st_mode & S_IWOTH) &&
	       (!(dir->st_mode & S_IWGRP) || dir->st_gid == 0);
}

/* Put the link's target in front of the rest of the path. */
static int follow(struct walk *w, int link)
{
	char target[PATH_MAX], rest[PATH_MAX];
	struct stat st, dir;
	ssize_t n = readlinkat(link, "", target, sizeof(target) - 1);

	if (n <= 0 || fstat(link, &st) < 0 || fstat(w->dir, &dir) < 0)
		return -ENOENT;
	target[n] = 0;
	if ((st.st_uid != 0 && st.st_uid != w->id->uid) || !is_private(&dir, w->id->uid) ||
	    ++w->links > LINKS_MAX)
		return -ELOOP;
	memcpy(rest, w->rest, sizeof(rest));
	if ((size_t)n + strlen(rest) + 2 > sizeof(w->rest))
		return -ENAMETOOLONG;
	stpcpy(stpcpy(stpcpy(w->rest, target), "/"), rest);
	if (target[0] != '/')
		return 0;
	close(w->dir);
	w->dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return w->dir < 0 ? -errno : 0;
}

/* In a directory with the sticky bit an entry of another user can be neither moved nor removed. */
static bool is_stuck(const struct stat *dir, const struct stat *entry, uint32_t uid)
{
	return entry && dir->st_mode & S_ISVTX && entry->st_uid != uid &&
	       (S_ISDIR(entry->st_mode) || entry->st_nlink == 1);
}

/* Could an unprivileged identity of the tree replace @entry (NULL: any) of the directory @fd? */
static int guard_dir(const struct rights *r, int fd, const struct stat *entry)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	for (size_t i = 0; i < r->n; i++) {
		const struct rights_id *id = &r->v[i];

		if (rights_is_root(id))
			continue;
		if (st.st_uid == id->uid ||
		    (rights_access(id, fd, W_OK) == 0 && !is_stuck(&st, entry, id->uid)))
			return -EACCES;
	}
	return 0;
}

/* One component; the last one ends in w->dir, too. */
static int step(struct walk *w, const char *name, bool last, bool follow_last)
{
	/* O_DIRECTORY makes automounts happen, as they do for the process */
	int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
	AUTO(fd) int fd = openat(w->dir, name, flags | (last ? 0 : O_DIRECTORY));

	if (fd < 0 && errno == ENOTDIR && !last)
		fd = openat(w->dir, name, flags);
	if (fd < 0)
		return -errno;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	int r = w->guard ? guard_dir(w->guard, w->dir, &st) : 0;

	if (r < 0)
		return r;
	if (S_ISLNK(st.st_mode) && (!last || follow_last))
		return follow(w, fd);
	if (!last && !S_ISDIR(st.st_mode))
		return -ENOTDIR;
	close(w->dir);
	w->dir = steal_fd(&fd);
	return 0;
}

/* From w->dir on. */
static int walk_rest(struct walk *w, bool follow_last)
{
	int r = w->dir < 0 ? -errno : 0;

	while (r == 0) {
		char name[NAME_MAX + 1];
		const char *p = w->rest + strspn(w->rest, "/");
		size_t n = strcspn(p, "/");
		size_t skip = n + strspn(p + n, "/");

		if (!n)
			break;
		if (n > NAME_MAX)
			return -ENAMETOOLONG;
		memcpy(name, p, n);
		name[n] = 0;
		memmove(w->rest, p + skip, strlen(p + skip) + 1);
		r = step(w, name, !w->rest[0], follow_last);
	}
	return r;
}

static int walk(struct walk *w, const char *path, bool follow_last)
{
	if (path[0] != '/' || strlen(path) >= sizeof(w->rest))
		return -EINVAL;
	stpcpy(w->rest, path);
	w->dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return walk_rest(w, follow_last);
}

static int look_at_end(const struct walk *w, int need, struct stat *st)
{
	int r = access_fd(w->dir, need);

	if (r < 0)
		return r;
	return fstat(w->dir, st) < 0 ? -errno : 0;
}

static int end_walk(struct walk *w, int r, int need, struct stat *st)
{
	if (r == 0)
		r = look_at_end(w, need, st);
	if (r == 0)
		return w->dir;
	if (w->dir >= 0)
		close(w->dir);
	return r;
}

/* Most paths have no link: then the kernel finds the file at once. Return: a descriptor; -1: walk */
static int no_link(const char *path, bool follow_last)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | (follow_last ? 0 : O_NOFOLLOW),
		                .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };

	return path[0] != '/' ? -1 : (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

int rights_open(const struct rights_id *id, const char *path, bool follow_last, int need,
                struct stat *st)
{
	struct walk w = { .id = id, .dir = -1 };
	struct own own;
	int r = enter(&own, id);

	if (r < 0)
		return r;
	w.dir = no_link(path, follow_last);
	r = end_walk(&w, w.dir >= 0 ? 0 : walk(&w, path, follow_last), need, st);
	leave(&own);
	return r;
}

/* The directory of @path, found by @id; from the last time, if it is the same. */
static bool place_at(struct rights_place *p, const struct rights_id *id, const char *path, size_t n)
{
	struct stat st;

	if (p->fd >= 0 && p->id == id && strlen(p->dir) == n && !memcmp(p->dir, path, n))
		return true;
	rights_place_fini(p);
	memcpy(p->dir, path, n);
	p->dir[n] = 0;
	p->id = id;
	p->fd = rights_open(id, p->dir, true, 0, &st);
	return p->fd >= 0;
}

/* The file itself, not a link, as root has it: no identity has to be taken for that. */
static bool near_root(const struct rights_place *p, const char *name, int need, struct stat *st)
{
	return fstatat(p->fd, name, st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISLNK(st->st_mode) &&
	       (!need || faccessat(p->fd, name, need, AT_EACCESS | AT_SYMLINK_NOFOLLOW) == 0);
}

int rights_see_near(struct rights_place *p, const struct rights_id *id, const char *path, int need,
                    struct stat *st)
{
	const char *slash = strrchr(path, '/');

	if (rights_is_root(id) && slash && slash != path && slash[1] &&
	    strlen(path) < sizeof(p->dir) && place_at(p, id, path, (size_t)(slash - path)) &&
	    near_root(p, slash + 1, need, st))
		return 0;
	int fd = rights_open_near(p, id, path, true, need, st);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

int rights_open_near(struct rights_place *p, const struct rights_id *id, const char *path,
                     bool follow_last, int need, struct stat *st)
{
	struct walk w = { .id = id, .dir = -1 };
	const char *slash = strrchr(path, '/');
	struct own own;

	if (!slash || slash == path || strlen(path) >= sizeof(p->dir) ||
	    !place_at(p, id, path, (size_t)(slash - path)))
		return rights_open(id, path, follow_last, need, st);
	int r = enter(&own, id);

	if (r < 0)
		return r;
	stpcpy(w.rest, slash + 1);
	w.dir = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
	r = end_walk(&w, walk_rest(&w, follow_last), need, st);
	leave(&own);
	return r;
}

void rights_place_fini(struct rights_place *p)
{
	if (p->fd >= 0)
		close(steal_fd(&p->fd));
}

/* ---- the identities of an offer ---- */

static int copy_id(struct rights_id *to, const Haul__Identity *from)
{
	*to = (struct rights_id){ .uid = from->uid, .gid = from->gid, .caps = from->caps };
	to->groups = calloc(from->n_group + 1, sizeof(*to->groups));
	if (!to->groups)
		return -ENOMEM;
	if (from->n_group)
		memcpy(to->groups, from->group, from->n_group * sizeof(*to->groups));
	to->n_groups = from->n_group;
	return 0;
}

int rights_load(struct rights *r, const Haul__Offer *o)
{
	size_t n = o->n_identity ? o->n_identity : o->n_uid;

	*r = (struct rights){ .owned = o->owned, .v = calloc(n + 1, sizeof(*r->v)) };
	if (!r->v)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		Haul__Identity old = HAUL__IDENTITY__INIT;

		if (!o->n_identity) {
			old.uid = o->uid[i];
			old.gid = old.uid ? GID_NONE : 0;
			old.caps = old.uid ? 0 : UINT64_MAX;
		}
		if (copy_id(&r->v[r->n++], o->n_identity ? o->identity[i] : &old) < 0)
			return -ENOMEM;
	}
	return 0;
}

void rights_fini(struct rights *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->v[i].groups);
	free(r->v);
	*r = (struct rights){ 0 };
}

/* ---- rules ---- */

static const struct rights_id root_id = { .caps = UINT64_MAX };

static bool is_same(const struct rights_file *was, const struct stat *st)
{
	return was->uid == st->st_uid && was->gid == st->st_gid &&
	       (was->mode & 07777) == (st->st_mode & 07777);
}

int rights_given(const struct rights *r, const struct rights_id *id, const char *path,
                 const struct rights_file *was, int need, struct stat *st)
{
	struct walk w = { .id = &root_id, .guard = r, .dir = -1 };

	if (r->owned || !was)
		return -EACCES;
	AUTO(fd) int fd = end_walk(&w, walk(&w, path, true), 0, st);

	if (fd < 0)
		return fd;
	/* where its own mode lets them in, a directory here keeps them out: that counts */
	if (!is_same(was, st) || st->st_uid == id->uid || rights_access(id, fd, need) == 0)
		return -EACCES;
	return steal_fd(&fd);
}

int rights_guarded(const struct rights *r, const char *path)
{
	struct walk w = { .id = &root_id, .guard = r, .dir = -1 };
	struct stat st;
	AUTO(fd) int fd = end_walk(&w, walk(&w, path, true), 0, &st);

	return fd < 0 ? fd : guard_dir(r, fd, NULL);
}

int rights_find(const struct rights *r, const char *path, bool follow_last, int need,
                const struct rights_file *was, struct stat *st)
{
	int fd = -EACCES, first = 0;

	for (size_t i = 0; i < r->n; i++) {
		fd = rights_open(&r->v[i], path, follow_last, need, st);
		if (fd >= 0)
			return fd;
		/* "is not there" only if every identity may know that */
		if (!first || first == -ENOENT || first == -ENOTDIR)
			first = fd;
	}
	if (first == -ENOENT || first == -ENOTDIR)
		return first;
	for (size_t i = 0; i < r->n; i++) {
		fd = rights_given(r, &r->v[i], path, was, need, st);
		if (fd >= 0)
			return fd;
	}
	return first ? first : -EACCES;
}

/* The nearest directory above @path that exists, found by @id. */
static int nearest(const struct rights_id *id, const char *path, int need, struct stat *st)
{
	char dir[PATH_MAX];
	int fd = -ENOENT;

	snprintf(dir, sizeof(dir), "%s", path);
	for (char *slash; fd == -ENOENT && (slash = strrchr(dir, '/'));) {
		*slash = 0;
		fd = rights_open(id, *dir ? dir : "/", true, need, st);
		if (!*dir)
			break;
	}
	return fd;
}

int rights_create(const struct rights *r, const char *path, const struct rights_file *was,
                  const struct rights_file *parent)
{
	bool plain = false;
	struct stat st;

	for (size_t i = 0; i < r->n; i++) {
		const struct rights_id *id = &r->v[i];

		plain |= !rights_is_root(id);
		if (id->uid != was->uid)
			continue;
		AUTO(fd) int fd = nearest(id, path, W_OK | X_OK, &st);

		if (fd >= 0 && S_ISDIR(st.st_mode))
			return 0;
	}
	if (!r->owned && !plain)
		return 0; /* root's own processes */
	/* no program that runs as another user comes here because a user has it open */
	if (r->owned || !parent || was->mode & (S_ISUID | S_ISGID))
		return -EACCES;
	AUTO(fd) int fd = nearest(&root_id, path, 0, &st);

	return fd >= 0 && is_same(parent, &st) ? 0 : -EACCES;
}
