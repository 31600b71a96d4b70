// SPDX-License-Identifier: GPL-2.0-or-later
/* outside.c - what processes outside the tree share with it: a move would silently split it. */
#include "hauler/inspect/tree/tree.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "common/array.h"

#define MAPS_BYTES  65536
#define DESCRIPTION 256 /* of a descriptor, with a part of its name */

/* A descriptor of the tree that another process may have, too. */
struct held {
	char *name; /* the target of /proc/PID/fd/N: the same for the same open file */
	pid_t pid;
	int fd;
	uint64_t inode; /* of memory: its name says nothing */
	pid_t other; /* the first process outside that has it; 0: none */
};

/* A shared mapping of the tree, as the kernel writes it into /proc/PID/maps. */
struct shared {
	unsigned int major, minor;
	unsigned long inode, start;
	pid_t pid, other;
	char *name;
};

/* Things that tasks can share without being threads of one process; a column for each. */
static const struct {
	int type; /* of kcmp() */
	const char *what;
} kinds[] = {
	{ KCMP_VM, "memory" },
	{ KCMP_FILES, "open files" },
	{ KCMP_FS, "working directory" },
	{ KCMP_SIGHAND, "signal handlers" },
};

struct outside {
	struct inspect *i;
	struct held *held;
	size_t n_held, cap_held;
	struct shared *shared;
	size_t n_shared, cap_shared;
	pid_t *task[ARRAY_SIZE(kinds)]; /* of the tree, in the order of kcmp() */
	pid_t *other[ARRAY_SIZE(kinds)]; /* in the same order: who shares it */
	size_t n_tasks;
	char *buf; /* MAPS_BYTES */
};

static long kcmp(pid_t a, pid_t b, int type, int fd_a, int fd_b)
{
	return syscall(SYS_kcmp, a, b, type, (unsigned long)fd_a, (unsigned long)fd_b);
}

/* The kernel's own order of its objects; objects that cannot be compared count as less. */
static int order(pid_t a, pid_t b, int type, int fd_a, int fd_b)
{
	long r = kcmp(a, b, type, fd_a, fd_b);

	return r == 0 ? 0 : r == 2 ? 1 : -1;
}

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/* ---- what the tree has ---- */

/* Pipes, terminals and other devices have findings of their own; a rule may replace them. */
static bool is_wanted(const struct inspect *i, pid_t pid, int fd, const char *name)
{
	for (size_t k = 0; k < i->outs.n; k++)
		if (i->outs.v[k].refit.pid == pid && i->outs.v[k].refit.fd == fd)
			return false;
	if (begins(name, "anon_inode:"))
		return strcmp(name, "anon_inode:[pidfd]") != 0;
	return name[0] == '/' ? !begins(name, "/dev/") || begins(name, "/dev/shm/")
	                      : begins(name, "socket:");
}

/* Many programs give their memory the same name. */
static uint64_t memory_inode(int dir, const char *fd, const char *name)
{
	struct stat st;

	return begins(name, "/memfd:") && fstatat(dir, fd, &st, 0) == 0 ? st.st_ino : 0;
}

static int note_descriptors(struct outside *o, pid_t pid)
{
	char path[32], name[INSPECT_PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));) {
		ssize_t n = readlinkat(dirfd(d), de->d_name, name, sizeof(name) - 1);

		name[n > 0 ? n : 0] = 0;
		if (!isdigit((unsigned char)de->d_name[0]) || n <= 0 ||
		    !is_wanted(o->i, pid, atoi(de->d_name), name))
			continue;
		if (array_grow(&o->held, o->n_held, &o->cap_held, sizeof(*o->held)) < 0)
			return -ENOMEM;
		struct held *h = &o->held[o->n_held];

		*h = (struct held){ .name = strdup(name),
			            .pid = pid,
			            .fd = atoi(de->d_name),
			            .inode = memory_inode(dirfd(d), de->d_name, name) };
		if (!h->name)
			return -ENOMEM;
		o->n_held++;
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct held *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	if (r)
		return r;
	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	return order(x->pid, y->pid, KCMP_FILE, x->fd, y->fd);
}

/* Return: false: the line is not a shared mapping */
static bool parse_shared(const char *line, struct shared *s, const char **name)
{
	unsigned long end;
	char prot[8];
	int at = 0;

	if (sscanf(line, "%lx-%lx %7s %*s %x:%x %lu %n", &s->start, &end, prot, &s->major,
	           &s->minor, &s->inode, &at) < 6 ||
	    prot[3] != 's' || !s->inode)
		return false;
	*name = line + at;
	return prot[1] == 'w' || begins(*name, "/memfd:") || begins(*name, "/dev/zero") ||
	       begins(*name, "/SYSV");
}

static int note_mappings(struct outside *o, pid_t pid)
{
	AUTO(mem) char *line = NULL;
	AUTO(file) FILE *f = inspect_open(pid, "maps");
	size_t cap = 0;
	const char *name;

	while (f && getline(&line, &cap, f) > 0) {
		struct shared s = { .pid = pid };

		line[strcspn(line, "\n")] = 0;
		if (!parse_shared(line, &s, &name))
			continue;
		if (array_grow(&o->shared, o->n_shared, &o->cap_shared, sizeof(s)) < 0)
			return -ENOMEM;
		s.name = strdup(name);
		if (!s.name)
			return -ENOMEM;
		o->shared[o->n_shared++] = s;
	}
	return 0;
}

static int by_inode(const void *a, const void *b)
{
	const struct shared *x = a, *y = b;

	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->major != y->major)
		return x->major < y->major ? -1 : 1;
	return x->minor < y->minor ? -1 : x->minor > y->minor;
}

static int by_task(const void *a, const void *b, void *type)
{
	return order(*(const pid_t *)a, *(const pid_t *)b, *(const int *)type, 0, 0);
}

static int note_tasks(struct outside *o)
{
	const struct inspect *i = o->i;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		int type = kinds[k].type;

		o->task[k] = calloc(i->procs.n, sizeof(pid_t));
		o->other[k] = calloc(i->procs.n, sizeof(pid_t));
		if (!o->task[k] || !o->other[k])
			return -ENOMEM;
		o->n_tasks = 0;
		for (size_t t = 0; t < i->procs.n; t++)
			if (!i->tasks[t].zombie)
				o->task[k][o->n_tasks++] = i->tasks[t].pid;
		qsort_r(o->task[k], o->n_tasks, sizeof(pid_t), by_task, &type);
	}
	return 0;
}

/* ---- what one process outside the tree has ---- */

static void match_tasks(struct outside *o, pid_t pid)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		size_t low = 0, high = o->n_tasks;

		while (low < high) {
			size_t mid = low + (high - low) / 2;
			int r = order(pid, o->task[k][mid], kinds[k].type, 0, 0);

			if (r == 0) {
				o->other[k][mid] = pid;
				return; /* a process that shares memory usually shares the rest */
			}
			if (r < 0)
				high = mid;
			else
				low = mid + 1;
		}
	}
}

/* A socket is identified by its number, memory by its inode, all others by the open file. */
static bool is_one_by_name(const char *name)
{
	return begins(name, "socket:") || begins(name, "/memfd:");
}

/* The order of by_name(), of a descriptor outside and one of the tree. */
static int to_held(pid_t pid, int fd, const char *name, uint64_t inode, const struct held *h)
{
	int r = strcmp(name, h->name);

	if (r)
		return r;
	if (inode != h->inode)
		return inode < h->inode ? -1 : 1;
	return is_one_by_name(name) ? 0 : order(pid, h->pid, KCMP_FILE, fd, h->fd);
}

static void match_descriptor(struct outside *o, pid_t pid, int fd, const char *name, uint64_t inode)
{
	size_t low = 0, high = o->n_held;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct held *h = &o->held[mid];
		int r = to_held(pid, fd, name, inode, h);

		if (r == 0) {
			if (!h->other)
				h->other = pid;
			return;
		}
		if (r < 0)
			high = mid;
		else
			low = mid + 1;
	}
}

static void match_descriptors(struct outside *o, pid_t pid)
{
	char path[32], name[INSPECT_PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = o->n_held ? opendir(path) : NULL;

	for (struct dirent *de; d && (de = readdir(d));) {
		ssize_t n = readlinkat(dirfd(d), de->d_name, name, sizeof(name) - 1);

		if (n <= 0)
			continue;
		name[n] = 0;
		match_descriptor(o, pid, atoi(de->d_name), name,
		                 memory_inode(dirfd(d), de->d_name, name));
	}
}

static void match_line(struct outside *o, pid_t pid, const char *line)
{
	struct shared key = { 0 };
	const char *name, *perm = strchr(line, ' ');

	/* nearly all mappings are private: skip them without parsing */
	if (!perm || strlen(perm) < 6 || perm[4] != 's' || !parse_shared(line, &key, &name))
		return;
	struct shared *s = bsearch(&key, o->shared, o->n_shared, sizeof(key), by_inode);

	if (s && !s->other)
		s->other = pid;
}

static void match_mappings(struct outside *o, pid_t pid)
{
	char path[32];
	size_t have = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	AUTO(fd) int fd = o->n_shared ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	while (fd >= 0 && (n = read(fd, o->buf + have, MAPS_BYTES - 1 - have)) > 0) {
		char *at = o->buf, *end;

		have += (size_t)n;
		o->buf[have] = 0;
		for (; (end = memchr(at, '\n', have - (size_t)(at - o->buf))); at = end + 1) {
			*end = 0;
			match_line(o, pid, at);
		}
		have -= (size_t)(at - o->buf);
		memmove(o->buf, at, have);
		if (have == MAPS_BYTES - 1)
			have = 0; /* no line is that long */
	}
}

/* ---- findings ---- */

static const char together[] =
        "move the tree that has both of them, or end the other process first";

static int say_tasks(struct outside *o)
{
	int r = 0;

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t t = 0; r == 0 && t < o->n_tasks; t++) {
			char comm[INSPECT_COMM_MAX];

			if (!o->other[k][t])
				continue;
			inspect_comm(o->other[k][t], comm);
			r = inspect_say(o->i, SEV_BLOCKER, "shared-process", together,
			                "pid %d shares its %s with pid %d (%s) outside the tree",
			                o->task[k][t], kinds[k].what, o->other[k][t], comm);
		}
	return r;
}

/* Return: false: it has no position, or writes of one do not move that of the other */
static bool has_position(const struct held *h)
{
	char what[32], line[128];
	unsigned int flags = 0;
	struct stat st;

	snprintf(what, sizeof(what), "/proc/%d/fd/%d", h->pid, h->fd);
	if (stat(what, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	snprintf(what, sizeof(what), "fdinfo/%d", h->fd);
	AUTO(file) FILE *f = inspect_open(h->pid, what);

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "flags: %o", &flags) == 1)
			break;
	return !((flags & O_ACCMODE) == O_WRONLY && flags & O_APPEND);
}

static int say_held(struct outside *o, const struct held *h)
{
	char comm[INSPECT_COMM_MAX], what[DESCRIPTION];
	struct stat st;
	char path[32];

	inspect_comm(h->other, comm);
	snprintf(what, sizeof(what), "descriptor %d of pid %d (%.160s)", h->fd, h->pid, h->name);
	if (begins(h->name, "socket:"))
		return inspect_say(o->i, SEV_WARNING, "shared-socket",
		                   "close it in the other process, which still uses it here",
		                   "%s is open in pid %d (%s) outside the tree, too: after the "
		                   "move these are two",
		                   what, h->other, comm);
	if (begins(h->name, "anon_inode:") || begins(h->name, "/memfd:"))
		return inspect_say(o->i, SEV_BLOCKER, "shared-outside", together,
		                   "%s is shared with pid %d (%s) outside the tree", what, h->other,
		                   comm);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", h->pid, h->fd);
	if (!has_position(h) || stat(path, &st) < 0 || inspect_inherited(o->i, h->pid, h->fd, &st))
		return 0;
	return inspect_say(o->i, SEV_WARNING, "shared-position",
	                   "reopen the file in one of them, or open it for appending",
	                   "%s is the same open file as in pid %d (%s) outside the tree: a read or "
	                   "write of one no longer moves the position of the other",
	                   what, h->other, comm);
}

static bool is_on_memory(const struct shared *s)
{
	return begins(s->name, "/memfd:") || begins(s->name, "/dev/zero") ||
	       begins(s->name, "/SYSV") || begins(s->name, "/dev/shm/") ||
	       strstr(s->name, " (deleted)");
}

static int say_shared(struct outside *o, const struct shared *s)
{
	char comm[INSPECT_COMM_MAX];

	inspect_comm(s->other, comm);
	if (is_on_memory(s))
		return inspect_say(o->i, SEV_BLOCKER, "shared-outside", together,
		                   "mapping %lx of pid %d (%.160s) is shared with pid %d (%s) "
		                   "outside the tree",
		                   s->start, s->pid, s->name, s->other, comm);
	return inspect_say(o->i, SEV_WARNING, "shared-file",
	                   "move the tree that has both of them, or end the other process first",
	                   "mapping %lx of pid %d (%.160s) is shared with pid %d (%s) outside the "
	                   "tree: after the move neither sees what the other writes",
	                   s->start, s->pid, s->name, s->other, comm);
}

static int say_all(struct outside *o)
{
	int r = say_tasks(o);

	for (size_t k = 0; r == 0 && k < o->n_held; k++)
		if (o->held[k].other)
			r = say_held(o, &o->held[k]);
	for (size_t k = 0; r == 0 && k < o->n_shared; k++)
		if (o->shared[k].other)
			r = say_shared(o, &o->shared[k]);
	return r;
}

/* ---- all ---- */

static int note_process(struct outside *o, pid_t pid)
{
	int r = note_descriptors(o, pid);

	return r ? r : note_mappings(o, pid);
}

static int note_tree(struct outside *o)
{
	const struct inspect *i = o->i;
	int r = note_tasks(o);

	for (size_t k = 0; r == 0 && k < i->procs.n; k++) {
		if (i->tasks[k].zombie)
			continue;
		r = note_process(o, i->tasks[k].pid);
	}
	if (o->n_held)
		qsort(o->held, o->n_held, sizeof(*o->held), by_name);
	if (o->n_shared)
		qsort(o->shared, o->n_shared, sizeof(*o->shared), by_inode);
	return r;
}

static void free_outside(struct outside *o)
{
	for (size_t k = 0; k < o->n_held; k++)
		free(o->held[k].name);
	for (size_t k = 0; k < o->n_shared; k++)
		free(o->shared[k].name);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		free(o->task[k]);
		free(o->other[k]);
	}
	free(o->held);
	free(o->shared);
	free(o->buf);
}

/* A process that the tree has started since it was listed. */
static bool is_younger(const struct inspect *i, pid_t pid)
{
	if (procs_start(pid) < i->listed)
		return false;
	while ((pid = procs_parent(pid)) > 0)
		if (inspect_in_tree(i, pid))
			return true;
	return false;
}

int inspect_outside_tree(struct inspect *i)
{
	struct outside o = { .i = i, .buf = malloc(MAPS_BYTES) };
	int r = o.buf ? note_tree(&o) : -ENOMEM;
	AUTO(dir) DIR *d = r == 0 ? opendir("/proc") : NULL;

	for (struct dirent *de; d && (de = readdir(d));) {
		pid_t pid = atoi(de->d_name);

		if (!isdigit((unsigned char)de->d_name[0]) || pid == getpid() ||
		    inspect_in_tree(i, pid) || is_younger(i, pid))
			continue;
		match_tasks(&o, pid);
		match_descriptors(&o, pid);
		match_mappings(&o, pid);
	}
	r = r < 0 ? r : say_all(&o);
	free_outside(&o);
	return r;
}
