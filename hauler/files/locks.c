// SPDX-License-Identifier: GPL-2.0-or-later
/* locks.c - find, give up and take again the locks that the tree has on files that both hosts see. */
#include "hauler/files/locks.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/array.h"
#include "common/clock.h"
#include "common/log.h"
#include "engine/images/img.h"
#include "engine/proc/inner.h"
#include "engine/proc/proc.h"
#include "engine/proc/proclocks.h"
#include "hauler/files/needs.h"
#include "hauler/inspect/inspect.h"
#include "hauler/mig/mig.h"

#define WARM_US       1000
#define TAKE_LIMIT_MS 5000
#define TAKE_EVERY_US 5000
#define WORD_BYTES    96 /* of a lock in the journal */

struct lock {
	struct img_lock l;
	int copy; /* of its descriptor; -1: of a POSIX lock, which a copy does not help with */
	uint64_t dev, inode;
};

struct locks {
	struct lock *v;
	size_t n, cap;
	bool given;
};

/* ---- before the stop ---- */

struct note {
	struct needs *n;
	const struct inspect *insp;
	struct findings *out;
};

static struct need *need_of(const struct needs *n, uint64_t dev, uint64_t inode)
{
	for (size_t i = 0; i < n->n; i++)
		if (n->v[i].held.ino == inode && n->v[i].held.dev == dev)
			return &n->v[i];
	return NULL;
}

static int note_lock(void *arg, const struct proclock *l)
{
	const struct note *t = arg;
	struct need *k = l->waits || !inspect_in_tree(t->insp, l->pid)
	                         ? NULL
	                         : need_of(t->n, l->dev, l->inode);

	if (k && k->file.lock < 2)
		k->file.lock = l->writes ? 2 : 1;
	return 0;
}

void locks_note(struct needs *n, const struct inspect *insp)
{
	struct note t = { .n = n, .insp = insp };

	for (size_t i = 0; i < n->n; i++)
		n->v[i].file.lock = 0;
	proclocks_each(note_lock, &t);
}

/* At the destination it is the same file, as far as is known. */
static bool is_shared(const struct need *k)
{
	return k->state == HAUL__FILE_STATE__FILE_SHARED || k->state == HAUL__FILE_STATE__FILE_SAME;
}

static int say_waiter(void *arg, const struct proclock *l)
{
	const struct note *t = arg;
	const struct need *k = !l->waits || inspect_in_tree(t->insp, l->pid)
	                               ? NULL
	                               : need_of(t->n, l->dev, l->inode);

	if (!k || !k->file.lock || !is_shared(k))
		return 0;
	return finding_add(t->out, SEV_BLOCKER, "lock-waiter",
	                   "end that process, or let it wait elsewhere, until the move is over",
	                   "pid %d, which is not part of the tree, waits for a lock on %s that the "
	                   "tree has: it would get it while the tree moves",
	                   l->pid, k->here);
}

int locks_say(const struct needs *n, const struct inspect *insp, struct findings *out)
{
	struct note t = { .n = (struct needs *)n, .insp = insp, .out = out };
	unsigned int files = 0;
	const char *first = NULL;

	for (size_t i = 0; i < n->n; i++)
		if (n->v[i].file.lock && n->v[i].state == HAUL__FILE_STATE__FILE_SHARED) {
			first = first ? first : n->v[i].here;
			files++;
		}
	if (files &&
	    finding_add(out, SEV_INFO, "locks", NULL,
	                "locks on %u file%s that both hosts see (%s%s) are given up while "
	                "the tree is stopped and taken again at the destination",
	                files, files == 1 ? "" : "s", first, files == 1 ? "" : ", ...") < 0)
		return -ENOMEM;
	return proclocks_each(say_waiter, &t);
}

/* ---- the tree is stopped ---- */

static bool is_held(const struct mig *m, pid_t pid)
{
	for (size_t i = 0; i < m->copy.n_held; i++)
		if (m->copy.held[i].pid == pid)
			return true;
	return false;
}

/* Return: 0, also when it need not be handed over; -ENOMEM */
static int add(struct locks *l, const struct needs *n, const struct img_lock *k)
{
	AUTO(fd) int copy = procs_copy_fd(k->pid, k->fd);
	struct stat st;

	if (copy < 0 || fstat(copy, &st) < 0)
		return 0;
	const struct need *need = n ? need_of(n, st.st_dev, st.st_ino) : NULL;

	if (n && (!need || !is_shared(need)))
		return 0;
	if (array_grow(&l->v, l->n, &l->cap, sizeof(*l->v)) < 0)
		return -ENOMEM;
	l->v[l->n++] = (struct lock){ .l = *k,
		                      .copy = k->kind == IMG_LOCK_POSIX ? -1 : steal_fd(&copy),
		                      .dev = st.st_dev,
		                      .inode = st.st_ino };
	return 0;
}

/* ---- locks that CRIU misses: a POSIX lock on a descriptor that another process has, too ---- */

struct missed {
	const struct mig *m;
	struct img_lock *v;
	size_t n, n_images, cap; /* n_images: of CRIU's, which come first */
};

/* Return: a descriptor of @pid on that file by which it can be locked; -1 */
static int find_fd(pid_t pid, const struct proclock *l)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));) {
		struct stat st;

		if (!isdigit((unsigned char)de->d_name[0]) ||
		    fstatat(dirfd(d), de->d_name, &st, 0) < 0 || st.st_ino != l->inode ||
		    st.st_dev != l->dev)
			continue;
		int fd = (int)strtol(de->d_name, NULL, 10);
		AUTO(fd) int copy = procs_copy_fd(pid, fd);
		int mode = copy < 0 ? -1 : fcntl(copy, F_GETFL);

		if (mode >= 0 && !(mode & O_PATH) &&
		    (mode & O_ACCMODE) != (l->writes ? O_RDONLY : O_WRONLY))
			return fd;
	}
	return -1;
}

static int add_missed(void *arg, const struct proclock *l)
{
	struct missed *k = arg;

	if (l->waits || !l->posix || !is_held(k->m, l->pid))
		return 0;
	for (size_t i = 0; i < k->n_images; i++)
		if (k->v[i].kind == IMG_LOCK_POSIX && k->v[i].pid == l->pid &&
		    k->v[i].start == l->start && k->v[i].len == l->len)
			return 0;
	int fd = find_fd(l->pid, l);

	if (fd < 0)
		return 0;
	if (array_grow(&k->v, k->n, &k->cap, sizeof(*k->v)) < 0)
		return -ENOMEM;
	k->v[k->n++] = (struct img_lock){ .kind = IMG_LOCK_POSIX,
		                          .type = l->writes ? F_WRLCK : F_RDLCK,
		                          .pid = l->pid,
		                          .fd = fd,
		                          .start = l->start,
		                          .len = l->len };
	return 0;
}

static int add_to_images(const struct mig *m, const struct img_lock *v, size_t n, struct err *e)
{
	AUTO(mem) struct img_lock *w = calloc(n, sizeof(*w));

	if (!w)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for locks");
	for (size_t i = 0; i < n; i++) {
		w[i] = v[i];
		w[i].pid = inner_of(v[i].pid);
	}
	return img_locks_add(m->dump.images_fd, w, n, e);
}

/* Return: 0 and all locks of the tree; -errno with @e */
static int all_locks(const struct mig *m, struct img_lock **out, size_t *n, struct err *e)
{
	struct missed k = { .m = m };
	int r = img_locks(m->dump.images_fd, &k.v, &k.n, e);

	if (r < 0)
		return r;
	k.n_images = k.cap = k.n;
	for (size_t i = 0; i < k.n; i++)
		k.v[i].pid = inner_outer(k.v[i].pid);
	r = proclocks_each(add_missed, &k);
	if (r < 0)
		err_set(e, ERR_SYS, ENOMEM, "no memory for locks");
	else if (k.n > k.n_images)
		r = add_to_images(m, k.v + k.n_images, k.n - k.n_images, e);
	*out = k.v;
	*n = k.n;
	return r;
}

/* One read is enough, however many locks there are. */
static bool look(void *arg)
{
	AUTO(fd) int fd = open("/proc/locks", O_RDONLY | O_CLOEXEC);
	char c;

	(void)arg;
	return fd >= 0 && read(fd, &c, 1) >= 0;
}

int locks_warm(struct mig *m, struct err *e)
{
	(void)e;
	warm_start(&m->copy.warm_locks, look, NULL, WARM_US);
	return 0;
}

int locks_find(struct mig *m, struct err *e)
{
	AUTO(mem) struct img_lock *v = NULL;
	AUTO(locks) struct locks *l = NULL;
	size_t n;
	int r = all_locks(m, &v, &n, e);

	/* its own reading may still wait: it is joined in the end */
	warm_end(&m->copy.warm_locks);
	if (r < 0 || n == 0)
		return r;
	l = calloc(1, sizeof(*l));
	r = l ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add(l, m->needs, &v[i]);
	if (r < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for locks");
	if (l->n)
		m->copy.locks = steal(l);
	return 0;
}

bool locks_are_posix(const struct locks *l)
{
	for (size_t i = 0; l && i < l->n; i++)
		if (l->v[i].copy < 0)
			return true;
	return false;
}

/* @type: F_UNLCK gives it up. Return: 0; -errno: -EAGAIN another process has it */
static int set(const struct lock *k, short type)
{
	struct flock f = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = k->l.start, .l_len = k->l.len
	};
	const struct inject_lock one = { k->l.fd, type, k->l.start, k->l.len };
	struct err why = ERR_INIT;

	if (k->l.kind == IMG_LOCK_POSIX)
		return inject_locks(k->l.pid, &one, 1, &why);
	if (k->l.kind == IMG_LOCK_OFD)
		return fcntl(k->copy, F_OFD_SETLK, &f) < 0 ? -errno : 0;
	int how = type == F_UNLCK ? LOCK_UN : type == F_RDLCK ? LOCK_SH : LOCK_EX;

	return flock(k->copy, how | LOCK_NB) < 0 ? -errno : 0;
}

/* All POSIX locks of one process, in one stop of it. @at: its first; Return: 0; -errno with @e */
static int give_posix(const struct locks *l, size_t at, struct err *e)
{
	AUTO(mem) struct inject_lock *v = calloc(l->n, sizeof(*v));
	pid_t pid = l->v[at].l.pid;
	size_t n = 0;

	if (!v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for locks");
	for (size_t i = 0; i < l->n; i++) {
		const struct img_lock *k = &l->v[i].l;

		if (k->kind != IMG_LOCK_POSIX || k->pid != pid)
			continue;
		if (i < at)
			return 0; /* that was with an earlier one */
		v[n++] = (struct inject_lock){ k->fd, F_UNLCK, k->start, k->len };
	}
	return inject_locks(pid, v, n, e);
}

struct wait {
	const struct locks *l;
	int pid;
};

static int find_waiter(void *arg, const struct proclock *l)
{
	struct wait *w = arg;

	for (size_t i = 0; l->waits && i < w->l->n; i++)
		if (w->l->v[i].inode == l->inode && w->l->v[i].dev == l->dev) {
			w->pid = l->pid;
			return 1;
		}
	return 0;
}

int locks_give(struct locks *l, struct err *e)
{
	struct wait w = { .l = l };

	if (!l)
		return 0;
	if (proclocks_each(find_waiter, &w)) {
		err_set(e, ERR_TARGET, EBUSY, "process %d waits for a lock that the tree has",
		        w.pid);
		return err_fix(e, "end that process until the move is over: it would get the lock");
	}
	l->given = true;
	for (size_t i = 0; i < l->n; i++) {
		struct err why = ERR_INIT;
		int r = l->v[i].copy < 0 ? give_posix(l, i, &why) : set(&l->v[i], F_UNLCK);

		if (r < 0)
			return err_set(e, ERR_TARGET, -r,
			               "the lock of descriptor %d of process %d cannot be given "
			               "up: %s",
			               l->v[i].l.fd, l->v[i].l.pid,
			               why.src != ERR_NONE ? why.msg : strerror(-r));
	}
	log_info("locks_given=%zu", l->n);
	return 0;
}

bool locks_given(const struct locks *l)
{
	return l && l->given;
}

void locks_take(struct locks *l)
{
	uint64_t deadline = deadline_in_ms(TAKE_LIMIT_MS);

	for (size_t i = 0; l && l->given && i < l->n; i++) {
		const struct lock *k = &l->v[i];
		int r = set(k, k->l.type);

		while (r < 0 && r != -ESRCH && now_us() < deadline) {
			usleep(TAKE_EVERY_US);
			r = set(k, k->l.type);
		}
		if (r < 0)
			log_err("descriptor %d of pid %d has lost its lock, which another process "
			        "has now: %s",
			        k->l.fd, k->l.pid, strerror(-r));
	}
	if (l)
		l->given = false;
}

/* ---- the journal ---- */

char *locks_word(const struct locks *l)
{
	size_t n = l ? l->n : 0, bytes = n * WORD_BYTES + 2, at = 0;
	char *out = malloc(bytes);

	if (!out)
		return NULL;
	snprintf(out, bytes, "-");
	for (size_t i = 0; i < n; i++) {
		const struct img_lock *k = &l->v[i].l;

		at += (size_t)snprintf(out + at, bytes - at, "%s%d:%d:%d:%d:%lld:%lld",
		                       i ? "," : "", (int)k->kind, k->type, k->pid, k->fd,
		                       (long long)k->start, (long long)k->len);
	}
	return out;
}

int locks_adopt(struct mig *m, const char *word, struct err *e)
{
	AUTO(locks) struct locks *l = calloc(1, sizeof(*l));
	int r = l ? 0 : -ENOMEM, used = 0;

	for (const char *p = word; r == 0 && p && *p && *p != '-'; p += used + (p[used] == ',')) {
		struct img_lock k = { 0 };
		long long start, len;
		unsigned int kind;

		if (sscanf(p, "%u:%hd:%d:%d:%lld:%lld%n", &kind, &k.type, &k.pid, &k.fd, &start,
		           &len, &used) != 6 ||
		    kind > IMG_LOCK_OFD)
			return err_set(e, ERR_USER, EBADMSG, "the journal's list of locks");
		k.kind = (enum img_lock_kind)kind;
		k.start = start;
		k.len = len;
		r = is_held(m, k.pid) ? add(l, NULL, &k) : 0;
	}
	if (r < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for locks");
	l->given = true;
	m->copy.locks = steal(l);
	return 0;
}

void locks_free(struct locks *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].copy >= 0)
			close(l->v[i].copy);
	free(l->v);
	free(l);
}
