// SPDX-License-Identifier: GPL-2.0-or-later
/* procs.c - process trees and mappings, from /proc. */
#include "engine/proc/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/array.h"
#include "common/log.h"

#define PROCS_MAX 32768

static int add_pid(struct proc_list *l, pid_t pid)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->pid[i] == pid)
			return 0;
	if (l->n == PROCS_MAX)
		return -E2BIG;
	if (array_grow(&l->pid, l->n, &l->cap, sizeof(*l->pid)) < 0)
		return -ENOMEM;
	l->pid[l->n++] = pid;
	return 0;
}

static int add_children_of(struct proc_list *l, pid_t pid, const char *tid)
{
	char path[64];
	int child, r = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", pid, tid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && r == 0 && fscanf(f, "%d", &child) == 1)
		r = add_pid(l, child);
	return r;
}

/* Children belong to the thread that forked them: look at all threads. */
static int add_children(struct proc_list *l, pid_t pid)
{
	char path[32];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && r == 0 && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]))
			r = add_children_of(l, pid, de->d_name);
	return r;
}

int procs_tree(pid_t root, struct proc_list *out, struct err *e)
{
	char path[32];
	int r = add_pid(out, root);

	snprintf(path, sizeof(path), "/proc/%d", root);
	if (access(path, F_OK) < 0) {
		err_set(e, ERR_TARGET, ESRCH, "no process %d", root);
		return err_fix(e, "see ps -e for its number; in a container it is another one "
		                  "than outside");
	}
	for (size_t i = 0; r == 0 && i < out->n; i++)
		r = add_children(out, out->pid[i]);
	return r < 0 ? err_set(e, ERR_SYS, -r, "process tree of %d: %s", root, strerror(-r)) : 0;
}

int procs_end_tree(pid_t root, unsigned int *killed, struct err *e)
{
	struct proc_list l = { 0 };
	size_t known = 0;
	int r = 0;

	kill(root, SIGSTOP);
	do {
		for (; known < l.n; known++)
			kill(l.pid[known], SIGSTOP);
		r = procs_tree(root, &l, e);
	} while (r == 0 && l.n > known);
	for (size_t i = 0; i < l.n; i++) {
		/* false also for a process whose leader has ended before its other threads */
		bool lives = procs_lives(l.pid[i]);

		*killed += kill(l.pid[i], SIGKILL) == 0 && lives;
	}
	procs_fini(&l);
	return r;
}

void procs_fini(struct proc_list *l)
{
	free(l->pid);
	memset(l, 0, sizeof(*l));
}

static bool is_special(const char *name)
{
	static const char *const names[] = { "[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]",
		                             "[uprobes]" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static enum vma_kind kind_of(const struct vma *v, const char *name)
{
	if (is_special(name))
		return VMA_SPECIAL;
	if (v->prot[3] == 's')
		return VMA_SHARED;
	return v->inode ? VMA_FILE_PRIVATE : VMA_ANON_PRIVATE;
}

/* A number and the character behind it. Return: where it ends; NULL */
static const char *number(const char *at, int base, char behind, uint64_t *out)
{
	char *end;

	if (!at)
		return NULL;
	*out = strtoull(at, &end, base);
	return end != at && *end == behind ? end + 1 : NULL;
}

/* sscanf() takes ten times as long, and a process may have 60,000 mappings. */
static int add_vma(struct vma_list *l, const char *line)
{
	struct vma v = { 0 };
	uint64_t major, minor;
	const char *at = number(number(line, 16, '-', &v.start), 16, ' ', &v.end);

	if (!at || strnlen(at, 5) < 5 || at[4] != ' ')
		return -EBADMSG;
	memcpy(v.prot, at, 4);
	at = number(number(at + 5, 16, ' ', &v.offset), 16, ':', &major);
	at = number(at, 16, ' ', &minor);
	if (!at)
		return -EBADMSG;
	char *end;

	v.inode = strtoull(at, &end, 10);
	if (end == at)
		return -EBADMSG;
	v.dev_major = (uint32_t)major;
	v.dev_minor = (uint32_t)minor;
	v.kind = kind_of(&v, end + strspn(end, " "));
	if (array_grow(&l->v, l->n, &l->cap, sizeof(*l->v)) < 0)
		return -ENOMEM;
	l->v[l->n++] = v;
	return 0;
}

int procs_maps(pid_t pid, struct vma_list *out, struct err *e)
{
	AUTO(mem) char *room = malloc(PROCS_READ_BYTES);
	AUTO(mem) char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	char path[32];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	out->n = 0;
	if (!f)
		return err_set(e, ERR_TARGET, errno == ENOENT ? ESRCH : errno, "%s: %s", path,
		               strerror(errno));
	if (room)
		setvbuf(f, room, _IOFBF, PROCS_READ_BYTES);
	while (r == 0 && (n = getline(&line, &cap, f)) > 0) {
		line[strcspn(line, "\n")] = 0;
		r = add_vma(out, line);
	}
	return r < 0 ? err_set(e, ERR_SYS, -r, "%s: %s", path, strerror(-r)) : 0;
}

void procs_vmas_fini(struct vma_list *l)
{
	free(l->v);
	memset(l, 0, sizeof(*l));
}

/* The part of stat behind the process's name, which may contain anything; NULL: it is gone. */
static const char *stat_words(pid_t pid, char *text, size_t bytes)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	AUTO(file) FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, bytes - 1, f) : 0;

	text[n] = 0;
	const char *at = strrchr(text, ')');

	return at && at[1] == ' ' ? at + 2 : NULL;
}

uint64_t procs_start(pid_t pid)
{
	char text[1024];
	uint64_t start = 0;
	const char *at = stat_words(pid, text, sizeof(text));

	if (at)
		sscanf(at,
		       "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d"
		       " %*d %*d %" SCNu64,
		       &start);
	return start;
}

uint64_t procs_now(void)
{
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	struct timespec t = { 0 };

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * hz + (uint64_t)t.tv_nsec * hz / 1000000000;
}

pid_t procs_parent(pid_t pid)
{
	char text[1024];
	int parent = 0;
	const char *at = stat_words(pid, text, sizeof(text));

	return at && sscanf(at, "%*c %d", &parent) == 1 ? parent : 0;
}

uint64_t procs_cpu_us(pid_t root)
{
	struct proc_list l = { 0 };
	struct err ignore = ERR_INIT;
	uint64_t ticks = 0;
	int r = procs_tree(root, &l, &ignore);

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		char text[1024];
		const char *at = stat_words(l.pid[i], text, sizeof(text));
		uint64_t t[4] = { 0 }; /* user, system; the same of children that have ended */

		if (at && sscanf(at,
		                 "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
		                 " %" SCNu64 " %" SCNu64,
		                 &t[0], &t[1], &t[2], &t[3]) == 4)
			ticks += t[0] + t[1] + t[2] + t[3];
	}
	procs_fini(&l);
	return ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

bool procs_pends(pid_t pid, int sig)
{
	char path[32], line[256];
	unsigned long long set;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "SigPnd: %llx", &set) == 1 ||
		    sscanf(line, "ShdPnd: %llx", &set) == 1)
			found |= set >> (sig - 1) & 1;
	return found;
}

pid_t procs_tracer(pid_t pid)
{
	char path[32], line[256];
	int tracer = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	return tracer;
}

int procs_copy_fd(pid_t pid, int fd)
{
	AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	return copy < 0 ? -errno : copy;
}

void procs_spare(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "-1000", 5) < 0)
		log_debug("%s: %s", path, strerror(errno));
}

bool procs_lives(pid_t pid)
{
	char state = procs_state(pid);

	return state && state != 'Z' && state != 'X';
}

bool procs_ends(pid_t pid)
{
	char path[32], line[128];
	bool memory = false, killed = false;
	unsigned long long pending;

	if (!procs_lives(pid))
		return true;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		memory |= !strncmp(line, "VmSize:", 7);
		if (sscanf(line, "SigPnd: %llx", &pending) == 1 ||
		    sscanf(line, "ShdPnd: %llx", &pending) == 1)
			killed |= pending >> (SIGKILL - 1) & 1;
	}
	return !memory || killed;
}

char procs_state(pid_t pid)
{
	char text[1024];
	const char *at = stat_words(pid, text, sizeof(text));

	return at ? *at : 0;
}
