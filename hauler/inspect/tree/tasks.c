// SPDX-License-Identifier: GPL-2.0-or-later
/* tasks.c - one process: state, memory, user, threads, namespaces, session. */
#include "hauler/inspect/tree/tree.h"

#include "engine/container/container.h"
#include "engine/container/whose.h"
#include "engine/criu/scans.h"
#include "engine/proc/frost.h"
#include "engine/proc/vforks.h"

#include <ctype.h>
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define KERNEL_THREAD 0x00200000 /* PF_KTHREAD in field 9 of stat */

struct status {
	char state;
	int group, tracer, seccomp; /* group: the process, if this is a thread of it */
	int threads; /* without those that have exited, except the main one */
	uint32_t uid[4]; /* real, effective, saved, of the file system */
	uint64_t anon_kib, swap_kib, huge_kib, locked_kib, rss_kib;
};

static const struct {
	const char *word;
	size_t at;
} kib_lines[] = {
	{ "RssAnon:", offsetof(struct status, anon_kib) },
	{ "VmSwap:", offsetof(struct status, swap_kib) },
	{ "HugetlbPages:", offsetof(struct status, huge_kib) },
	{ "VmLck:", offsetof(struct status, locked_kib) },
	{ "VmRSS:", offsetof(struct status, rss_kib) },
};

static void take_kib(struct status *s, const char *line)
{
	for (size_t k = 0; k < ARRAY_SIZE(kib_lines); k++) {
		size_t n = strlen(kib_lines[k].word);

		if (!strncmp(line, kib_lines[k].word, n))
			*(uint64_t *)((char *)s + kib_lines[k].at) = strtoull(line + n, NULL, 10);
	}
}

static void read_status(pid_t pid, const char *of, struct status *s)
{
	char what[48], line[256];
	uint32_t *u = s->uid;

	memset(s, 0, sizeof(*s));
	snprintf(what, sizeof(what), "%sstatus", of);
	AUTO(file) FILE *f = inspect_open(pid, what);

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "State: %c", &s->state) == 1 ||
		    sscanf(line, "Tgid: %d", &s->group) == 1 ||
		    sscanf(line, "TracerPid: %d", &s->tracer) == 1 ||
		    sscanf(line, "Threads: %d", &s->threads) == 1 ||
		    sscanf(line, "Seccomp: %d", &s->seccomp) == 1 ||
		    sscanf(line, "Uid: %u %u %u %u", &u[0], &u[1], &u[2], &u[3]) == 4)
			continue;
		take_kib(s, line);
	}
}

/* Return: the flags of the kernel; group, session and terminal go into @t */
static unsigned int read_stat(struct inspect_task *t)
{
	char buf[1024];
	unsigned int flags = 0;
	AUTO(file) FILE *f = inspect_open(t->pid, "stat");
	size_t n = f ? fread(buf, 1, sizeof(buf) - 1, f) : 0;

	buf[n] = 0;
	char *p = strrchr(buf, ')'); /* the name may contain any character */

	if (p)
		sscanf(p + 1, " %*c %*d %d %d %d %*d %u", &t->pgid, &t->sid, &t->tty, &flags);
	return flags;
}

static int add_uid(struct inspect *i, uint32_t uid)
{
	for (size_t k = 0; k < i->uids.n; k++)
		if (i->uids.v[k] == uid)
			return 0;
	uint32_t *v = realloc(i->uids.v, (i->uids.n + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	i->uids.v = v;
	i->uids.v[i->uids.n++] = uid;
	return 0;
}

/* ---- namespaces ---- */

static const struct {
	const char *name, *code, *what, *remedy;
} spaces[] = {
	{ "pid", "container", "pid", "run haul inside the container, as seen by the process" },
	{ "user", "container", "user",
	  "start the program without a user namespace of its own (a service of systemd's: "
	  "PrivateUsers=no): CRIU cannot restore a part of one" },
	{ "mnt", "namespace", "mount",
	  "a service of systemd's: haul NAME.service HOST moves it with its PrivateTmp=, "
	  "ProtectSystem= and the like; else run haul in it (nsenter -m -t PID haul --agent=none "
	  "PID HOST)" },
	{ "net", "namespace", "network",
	  "run haul in it, if it reaches HOST (nsenter -n -t PID haul --agent=none PID HOST), or "
	  "start the process "
	  "without it" },
	{ "ipc", "namespace", "IPC", "move the tree from its root process" },
	{ "uts", "namespace", "UTS",
	  "run haul in it (nsenter -u -t PID haul --agent=none PID HOST)" },
	{ "cgroup", "namespace", "cgroup",
	  "run haul in it (nsenter -C -t PID haul --agent=none PID HOST)" },
};

static bool is_ipc(size_t k)
{
	return !strcmp(spaces[k].name, "ipc");
}

/* CRIU moves the root's IPC namespace: then the whole tree has to be in it. */
static int look_space(struct inspect *i, pid_t pid, size_t k)
{
	char what[32], theirs[64], ours[64], roots[64] = "";

	snprintf(what, sizeof(what), "ns/%s", spaces[k].name);
	if (inspect_link(pid, what, theirs, sizeof(theirs)) < 0 ||
	    inspect_link(getpid(), what, ours, sizeof(ours)) < 0)
		return 0;
	if (pid != i->root && inspect_link(i->root, what, roots, sizeof(roots)) < 0)
		return 0;
	bool own = strcmp(theirs, ours) != 0, as_root = !strcmp(theirs, roots);

	if (is_ipc(k) && pid == i->root) {
		i->own_ipc = own;
		return !own ? 0
		            : inspect_say(
		                      i, SEV_INFO, "ipc-moves", NULL,
		                      "pid %d lives in an IPC namespace of its own, which moves "
		                      "with its System V shared memory, semaphores and queues",
		                      pid);
	}
	if (is_ipc(k) && !as_root)
		return inspect_say(i, SEV_BLOCKER, spaces[k].code, spaces[k].remedy,
		                   "pid %d lives in another IPC namespace than pid %d", pid,
		                   i->root);
	if (!own || is_ipc(k))
		return 0;
	i->foreign |= strcmp(spaces[k].name, "uts") != 0;
	if (i->net.container && pid == i->root)
		return 0;
	return as_root ? 0 /* reported once for all that share it */
	               : inspect_say(i, SEV_BLOCKER, spaces[k].code, spaces[k].remedy,
	                             "pid %d lives in another %s namespace than haul", pid,
	                             spaces[k].what);
}

/* A process of a container moves with all of it, and by its runtime. Return: 1 it is in one, and this was said; 0; -ENOMEM */
static int say_container(struct inspect *i, pid_t pid)
{
	char word[CONTAINER_WORD_BYTES], remedy[2 * CONTAINER_WORD_BYTES];
	struct container c;
	struct err e = ERR_INIT;

	if (pid != i->root || i->net.container || !whose_container(pid, word, sizeof(word)))
		return 0;
	bool found = container_find(word, &c, &e) == 0;

	if (found)
		snprintf(remedy, sizeof(remedy), "move the container: haul %s:%s HOST", c.runtime,
		         c.name[0] ? c.name : c.id);
	i->foreign = true;
	int r = inspect_say(i, SEV_BLOCKER, "container-inside", found ? remedy : e.msg,
	                    "process %d is in the container %s", pid, word);

	return r < 0 ? r : 1;
}

static int look_spaces(struct inspect *i, pid_t pid)
{
	int r = say_container(i, pid);

	if (r)
		return r < 0 ? r : 0;
	for (size_t k = 0; r == 0 && k < ARRAY_SIZE(spaces); k++)
		r = look_space(i, pid, k);
	return r;
}

/* ---- threads ---- */

static int look_thread(struct inspect *i, pid_t pid, const char *tid, bool *filtered)
{
	char of[40];
	struct status s;
	int id = atoi(tid);

	snprintf(of, sizeof(of), "task/%.20s/", tid);
	read_status(pid, of, &s);
	*filtered |= s.seccomp != 0;
	int r = id == pid ? 0 : inspect_number(i, id);

	if (r < 0 || !s.tracer)
		return r;
	char comm[INSPECT_COMM_MAX];

	inspect_comm(s.tracer, comm);
	return inspect_say(i, SEV_BLOCKER, "traced", "detach the debugger or tracer first",
	                   "%s %d is traced by pid %d (%s)", id == pid ? "pid" : "thread", id,
	                   s.tracer, comm);
}

static int look_threads(struct inspect *i, pid_t pid)
{
	bool filtered = false; /* each thread may have filters of its own */
	char path[32];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && r == 0 && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]))
			r = look_thread(i, pid, de->d_name, &filtered);
	i->count.filtered += filtered;
	return r;
}

/* ---- its own directories and program ---- */

static int look_bits(struct inspect *i, pid_t pid)
{
	char path[32];
	unsigned char id[EI_NIDENT] = { 0 };

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || read(fd, id, sizeof(id)) != sizeof(id) || memcmp(id, ELFMAG, SELFMAG))
		return 0;
	if ((id[EI_CLASS] == ELFCLASS64) == (sizeof(void *) == 8))
		return 0;
	return inspect_say(i, SEV_BLOCKER, "32-bit", "use the 64-bit program",
	                   "pid %d runs a program of another word size (not 64-bit)", pid);
}

static int look_link(struct inspect *i, pid_t pid, const char *what, unsigned int use)
{
	char path[40], name[INSPECT_PATH_MAX], text[48];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	snprintf(text, sizeof(text), "%s of pid %d", what, pid);
	if (inspect_link(pid, what, name, sizeof(name)) <= 0 || stat(path, &st) < 0)
		return 0;
	if (pid == i->root && !strcmp(what, "root"))
		snprintf(i->root_dir.path, sizeof(i->root_dir.path), "%s", name);
	int r = inspect_reachable(i, name, &st, text);

	return r == 1 ? inspect_file_held(i, name, use, &st, path) : r;
}

static int look_links(struct inspect *i, pid_t pid)
{
	int r = look_link(i, pid, "exe", INSPECT_MAPPED | INSPECT_OPEN);

	if (r < 0)
		return r;
	r = look_link(i, pid, "cwd", INSPECT_DIR | INSPECT_OPEN);
	if (r < 0)
		return r;
	r = look_link(i, pid, "root", INSPECT_DIR | INSPECT_OPEN);
	return r < 0 ? r : look_bits(i, pid);
}

/* A zombie by its state, but its threads run: CRIU cannot dump such a process (4.2.1). */
static int look_headless(struct inspect *i, pid_t pid)
{
	return inspect_say(i, SEV_BLOCKER, "main-thread",
	                   "wait until its threads have ended, or end the process",
	                   "the main thread of pid %d has exited, its other threads run", pid);
}

/* Return: 1 it can be inspected; 0 it cannot, and that was reported; -ENOMEM */
static int look_root(struct inspect *i, const struct inspect_task *t, const struct status *s,
                     unsigned int flags)
{
	if (t->zombie && s->threads > 1)
		return look_headless(i, t->pid);
	if (t->zombie)
		return inspect_say(i, SEV_BLOCKER, "zombie",
		                   "its parent has to wait for it (waitpid)",
		                   "pid %d has exited already", t->pid);
	if (flags & KERNEL_THREAD)
		return inspect_say(i, SEV_BLOCKER, "kernel-thread", "name a process",
		                   "pid %d is a thread of the kernel", t->pid);
	if (s->group && s->group != t->pid)
		return inspect_say(i, SEV_BLOCKER, "thread", "name the process",
		                   "%d is a thread of pid %d", t->pid, s->group);
	if (t->pid == 1)
		return inspect_say(i, SEV_BLOCKER, "self", "name another process",
		                   "pid 1 is the init of this host");
	if (inspect_in_tree(i, getpid()))
		return inspect_say(i, SEV_BLOCKER, "self",
		                   "name another process, or start haul from outside the tree",
		                   "haul itself (pid %d) is part of the tree of pid %d", getpid(),
		                   i->root);
	return 1;
}

/*
 * CRIU reads them from outside; root may do that with other users' processes only if it has all capabilities. haul
 * answers for the kernel (engine/criu/scans.c), but not where processes have seccomp filters of their own.
 */
static int look_limits(struct inspect *i, pid_t pid)
{
	struct rlimit ignore;

	if (geteuid() == 0 && !i->said.limits && prlimit(pid, RLIMIT_CORE, NULL, &ignore) < 0 &&
	    errno == EPERM)
		i->said.limits = pid;
	return 0;
}

int inspect_limits(struct inspect *i)
{
	if (!i->said.limits || (i->count.filtered == 0 && scans_limits()))
		return 0;
	return inspect_say(i, SEV_BLOCKER, "limits",
	                   "give haul CAP_SYS_RESOURCE; containers often lack it",
	                   "the limits of pid %d, which belongs to another user, cannot be read",
	                   i->said.limits);
}

static int look_freezer(struct inspect *i, pid_t pid)
{
	struct err e = ERR_INIT;

	if (i->said.frozen || frost_refuse(pid, &e) == 0)
		return 0;
	i->said.frozen = true;
	return inspect_say(i, SEV_BLOCKER, "frozen", e.fix, "%s", e.msg);
}

static int look_direct(struct inspect *i, pid_t pid)
{
	if (direct_io(pid) != DIRECT_AIO)
		return 0;
	i->aio = true;
	return inspect_say(
	        i, SEV_WARNING, "direct-aio",
	        "switch native AIO off in the program (innodb_use_native_aio=OFF), or move it "
	        "while its disk is nearly idle; expect a longer stop, or use a mode with post-copy",
	        "pid %d uses O_DIRECT by native AIO: its memory is sent when it is stopped or "
	        "later, and a request that is still on its disk then is never answered",
	        pid);
}

static int look_inside(struct inspect *i, const struct inspect_task *t, const struct status *s)
{
	static int (*const looks[])(struct inspect *, pid_t) = { look_freezer, look_direct,
		                                                 look_limits, look_spaces,
		                                                 look_threads };
	int r = 0;

	if (s->state == 'D' && !vforks_wait(&t->pid, 1, 0))
		r = inspect_say(i, SEV_WARNING, "busy", "wait until its disk or network answers",
		                "pid %d waits uninterruptibly; it may not stop in time", t->pid);
	for (size_t u = 0; r == 0 && u < ARRAY_SIZE(s->uid); u++)
		r = add_uid(i, s->uid[u]);
	for (size_t k = 0; r == 0 && k < ARRAY_SIZE(looks); k++)
		r = looks[k](i, t->pid);
	return r < 0 || i->foreign ? r : look_links(i, t->pid);
}

int inspect_task(struct inspect *i, size_t k)
{
	struct inspect_task *t = &i->tasks[k];
	struct status s;

	t->pid = i->procs.pid[k];
	read_status(t->pid, "", &s);
	unsigned int flags = read_stat(t);

	t->zombie = s.state == 'Z' || s.state == 'X' || !s.state;
	int r = inspect_number(i, t->pid);

	if (r < 0)
		return r;
	if (t->pid == i->root) {
		r = look_root(i, t, &s, flags);
		i->unfit = r == 0;
	}
	if (r == 0 && !i->unfit && t->zombie && s.threads > 1)
		r = look_headless(i, t->pid);
	if (r < 0 || i->unfit || t->zombie)
		return r;
	i->bytes.anon += (s.anon_kib + s.swap_kib) * 1024;
	i->bytes.huge += s.huge_kib * 1024;
	i->bytes.locked += s.locked_kib * 1024;
	/* MLOCK_ONFAULT: locked, but not there yet */
	if (s.locked_kib > s.rss_kib + s.swap_kib)
		i->bytes.untouched += (s.locked_kib - s.rss_kib - s.swap_kib) * 1024;
	return look_inside(i, t, &s);
}

/*
 * CRIU gives the tree a new outside session and group at the destination; leaders that are gone it
 * creates again, with their number.
 */
static int keep_leader(struct inspect *i, pid_t id)
{
	const struct inspect_task *root = &i->tasks[0];

	if (id <= 0 || inspect_in_tree(i, id))
		return 0;
	if (i->shell_job && (id == root->sid || (root->pgid != root->pid && id == root->pgid)))
		return 0;
	return inspect_number(i, id);
}

static const struct inspect_task *task_of(const struct inspect *i, pid_t pid)
{
	for (size_t k = 0; k < i->procs.n; k++)
		if (i->tasks[k].pid == pid)
			return &i->tasks[k];
	return NULL;
}

/*
 * CRIU restores it from a leader that it makes for the session and that ends again: then its parent is
 * process 1, also when a subreaper of the tree had adopted it.
 */
static int look_adopted(struct inspect *i, const struct inspect_task *t)
{
	AUTO(file) FILE *f = inspect_open(t->pid, "status");
	char line[128];
	int parent = 0;

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "PPid: %d", &parent) != 1)
		;
	const struct inspect_task *p = task_of(i, parent);

	if (t->sid == i->tasks[0].sid || task_of(i, t->sid) || !p || p->sid == t->sid)
		return 0;
	return inspect_say(
	        i, SEV_WARNING, "adopted", "see that the parent does not have to wait for it",
	        "pid %d was adopted by pid %d and belongs to session %d, whose leader has "
	        "ended: at the destination its parent is process 1, and pid %d does not hear "
	        "of its end",
	        t->pid, parent, t->sid, parent);
}

int inspect_sessions(struct inspect *i)
{
	const struct inspect_task *root = &i->tasks[0];
	int r = 0;

	i->shell_job = root->sid != root->pid && !i->foreign;
	if (i->count.filtered)
		r = inspect_say(i, SEV_INFO, "seccomp", NULL,
		                "%u process%s a system call filter; it moves, too",
		                i->count.filtered, i->count.filtered == 1 ? " has" : "es have");
	if (r < 0)
		return r;
	if (i->shell_job)
		r = inspect_say(i, SEV_WARNING, "session",
		                "start it with setsid to keep its session",
		                "pid %d belongs to session %d, whose leader is outside the tree; "
		                "at the destination it will join the session of hauld",
		                root->pid, root->sid);
	for (size_t k = 1; r == 0 && k < i->procs.n && !i->foreign; k++)
		r = look_adopted(i, &i->tasks[k]);
	for (size_t k = 0; r == 0 && k < i->procs.n && !i->foreign; k++) {
		r = keep_leader(i, i->tasks[k].sid);
		if (r < 0)
			return r;
		r = keep_leader(i, i->tasks[k].pgid);
	}
	return r;
}
