// SPDX-License-Identifier: GPL-2.0-or-later
/* fds.c - open descriptors: files that the destination needs, and kinds that cannot move. */
#include "hauler/inspect/priv.h"

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

#define MQUEUE_MAGIC 0x19800202ul

/* A descriptor, and its name for messages: "descriptor 3 of pid 7". */
struct look {
	pid_t pid;
	int fd;
	int flags; /* of open(), octal in fdinfo */
	int mnt_id;
	int task; /* of a pidfd: -1 ended */
	int clock; /* of a timerfd */
	int semaphore; /* of an eventfd: EFD_SEMAPHORE; Linux 6.5 and later tell it */
	unsigned int passed; /* descriptors in the queue of a UNIX socket */
	struct stat st;
	char name[INSPECT_PATH_MAX];
	char what[48];
};

/* ---- kernel objects without a path ---- */

/* Kinds that CRIU 4.2 can restore. */
static const char *const good_anon[] = { "[eventfd]",  "[eventpoll]", "inotify",
	                                 "[fanotify]", "[signalfd]",  "[timerfd]" };

static const struct {
	const char *name, *code, *what, *remedy;
} bad_anon[] = {
	{ "[io_uring]", "io-uring", "an io_uring",
	  "switch io_uring off in the program's configuration" },
	{ "[userfaultfd]", "userfaultfd", "a userfaultfd",
	  "switch off what uses it (a garbage collector, a tracker)" },
	{ "[perf_event]", "perf", "a perf event", "end the measurement first" },
	{ "bpf", "bpf", "a BPF object", "the process has to close it before it can move" },
	{ "kvm", "kvm", "a virtual machine", "use the hypervisor's own live migration" },
	{ "[secretmem]", "secretmem", "secret memory", "start the program without it" },
};

int inspect_anon(struct inspect *i, const char *what, const char *name)
{
	if (strstr(name, "notify") && !i->root_dir.fixed[0])
		snprintf(i->root_dir.fixed, sizeof(i->root_dir.fixed), "%s watches files", what);
	for (size_t k = 0; k < ARRAY_SIZE(good_anon); k++)
		if (!strcmp(name, good_anon[k]))
			return 0;
	for (size_t k = 0; k < ARRAY_SIZE(bad_anon); k++)
		if (!strncmp(name, bad_anon[k].name, strlen(bad_anon[k].name)))
			return inspect_say(i, SEV_BLOCKER, bad_anon[k].code, bad_anon[k].remedy,
			                   "%s is %s", what, bad_anon[k].what);
	return inspect_say(i, SEV_BLOCKER, "unknown-fd",
	                   "the process has to close it before it can move",
	                   "%s is %s, which CRIU cannot dump", what, name);
}

static int look_pidfd(struct inspect *i, const struct look *l)
{
	if (l->flags & PIDFD_THREAD)
		return inspect_say(
		        i, SEV_BLOCKER, "pidfd", "the process has to close it before it can move",
		        "%s stands for a thread (PIDFD_THREAD), which CRIU does not restore",
		        l->what);
	if (l->task == -1 || inspect_in_tree(i, l->task))
		return 0;
	return inspect_say(i, SEV_BLOCKER, "pidfd",
	                   "the process has to close it before it can move",
	                   "%s refers to pid %d, which is not part of the tree", l->what, l->task);
}

static int look_space(struct inspect *i, const struct look *l)
{
	char kind[16], what[32], ours[64] = "";

	if (sscanf(l->name, "%15[a-z_]:", kind) == 1) {
		snprintf(what, sizeof(what), "ns/%s", kind);
		inspect_link(getpid(), what, ours, sizeof(ours));
	}
	if (!strcmp(ours, l->name))
		return 0;
	return inspect_say(i, SEV_BLOCKER, "unknown-fd",
	                   "the process has to close it before it can move",
	                   "%s is %s, which does not belong to the tree", l->what, l->name);
}

/* ---- devices ---- */

#define MEM_MAJOR 1

/* null zero full random urandom kmsg */
static const unsigned int good_mem_minors[] = { 3, 5, 7, 8, 9, 11 };

static bool is_good_device(dev_t dev)
{
	for (size_t k = 0; k < ARRAY_SIZE(good_mem_minors); k++)
		if (dev == makedev(MEM_MAJOR, good_mem_minors[k]))
			return true;
	return false;
}

/* ---- rules ---- */

/* The descriptor as a file that a rule may name. @what: room for its description */
static struct inspect_lead as_lead(const struct look *l, char what[INSPECT_PATH_MAX + 64])
{
	snprintf(what, INSPECT_PATH_MAX + 64, "%s, %s,", l->what, l->name);
	return (struct inspect_lead){ .pid = l->pid,
		                      .fd = l->fd,
		                      .what = what,
		                      .inode = l->st.st_ino,
		                      .reads = (l->flags & O_ACCMODE) == O_RDONLY,
		                      .writes = (l->flags & O_ACCMODE) != O_RDONLY,
		                      .rdev = l->st.st_rdev,
		                      .dev = l->st.st_dev,
		                      .mnt_id = l->mnt_id };
}

static int look_terminal(struct inspect *i, const struct look *l)
{
	char what[INSPECT_PATH_MAX + 64];
	struct inspect_lead lead = as_lead(l, what);

	return inspect_tty_add(i, &lead, l->name);
}

/* Kinds that CRIU can dump, so that another file can replace them. */
static bool is_replaceable(const struct look *l)
{
	if (S_ISREG(l->st.st_mode) || S_ISDIR(l->st.st_mode))
		return l->name[0] == '/';
	return S_ISCHR(l->st.st_mode) && is_good_device(l->st.st_rdev);
}

/* Neither pipe, socket nor terminal: is there a rule? Return: as inspect_out() */
static int look_rule(struct inspect *i, const struct look *l, bool unseen)
{
	char what[INSPECT_PATH_MAX + 64];
	struct inspect_lead lead = as_lead(l, what);

	lead.stray = unseen || inspect_inherited(i, l->pid, l->fd, &l->st);
	lead.unseen = unseen;
	return is_replaceable(l) ? inspect_out(i, &lead) : 0;
}

/* A file that a launcher left open: it moves, but the destination has no use for it. */
static int look_inherited(struct inspect *i, const struct look *l)
{
	pid_t from = S_ISFIFO(l->st.st_mode) ? 0 : inspect_inherited(i, l->pid, l->fd, &l->st);
	char comm[INSPECT_COMM_MAX];

	if (!from)
		return 0;
	inspect_comm(from, comm);
	return inspect_say(i, SEV_WARNING, "inherited-fd",
	                   "--close-fd=N leaves it behind, --stray=close all of that kind",
	                   "%s (%s) was inherited: pid %d (%s), which is not part of the tree, has "
	                   "it open, too",
	                   l->what, l->name, from, comm);
}

static int file_of(struct inspect *i, const struct look *l, unsigned int use)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", l->pid, l->fd);
	return inspect_file_held(i, l->name, use, &l->st, link);
}

static int look_device(struct inspect *i, const struct look *l)
{
	if (S_ISCHR(l->st.st_mode) && is_good_device(l->st.st_rdev)) {
		int r = inspect_reachable(i, l->name, &l->st, l->what);

		return r == 1 ? file_of(i, l, INSPECT_OPEN) : r;
	}
	if (inspect_is_terminal(&l->st))
		return look_terminal(i, l);
	return inspect_say(i, SEV_BLOCKER, "device",
	                   "the process has to close it before it can move", "%s is the device %s",
	                   l->what, l->name);
}

/* ---- paths ---- */

/* /proc/PID/... of a process outside the tree would be another process's at the destination. */
static int look_proc(struct inspect *i, const struct look *l, int owner)
{
	if (inspect_in_tree(i, owner)) {
		char part[8] = "";

		/* CRIU opens files of processes again, but not of single threads (4.2.1) */
		if (sscanf(l->name, "/proc/%*d/%7[a-z]", part) != 1 || strcmp(part, "task") != 0)
			return 0;
		return inspect_say(i, SEV_BLOCKER, "proc-fd",
		                   "the process has to close it before it can move",
		                   "%s is %s, of a thread", l->what, l->name);
	}
	/* of one that has ended CRIU makes another, which ends, too: its number has to be free there */
	if (kill(owner, 0) < 0 && errno == ESRCH)
		return inspect_number(i, owner);
	return inspect_say(i, SEV_BLOCKER, "proc-fd",
	                   "the process has to close it before it can move",
	                   "%s is %s, of a process outside the tree", l->what, l->name);
}

/* It has a name, but on a file system of the kernel's own. */
static bool is_queue(const struct look *l)
{
	struct statfs fs;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", l->pid, l->fd);
	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == MQUEUE_MAGIC;
}

static int look_queue(struct inspect *i, const struct look *l)
{
	return inspect_say(
	        i, SEV_BLOCKER, "mqueue",
	        "the program has to close it before the move and open it again after it; "
	        "a UNIX datagram socket moves, and so does a System V queue in an IPC "
	        "namespace of its own",
	        "%s is the POSIX message queue %s, which CRIU cannot dump", l->what, l->name);
}

/* The kernel calls a file that never had a name after its number: "/tmp/#123 (deleted)". */
static int look_nameless(struct inspect *i, const struct look *l)
{
	const char *slash = strrchr(l->name, '/');
	unsigned long long number;

	if (!S_ISREG(l->st.st_mode) || l->st.st_nlink || !slash ||
	    sscanf(slash, "/#%llu", &number) != 1 || number != l->st.st_ino)
		return 0;
	return inspect_say(i, SEV_WARNING, "o-tmpfile",
	                   "let the program name it before the move, or make it again",
	                   "%s was opened without a name (O_TMPFILE), and cannot be given one at "
	                   "the destination (linkat)",
	                   l->what);
}

/* A descriptor of something with a name: it is reopened by that name. */
static int look_path(struct inspect *i, const struct look *l)
{
	const struct inspect_mount *m = inspect_mount_by_id(i, l->mnt_id);
	bool writes = (l->flags & O_ACCMODE) != O_RDONLY && !S_ISDIR(l->st.st_mode);
	bool appends = (l->flags & O_ACCMODE) == O_WRONLY && l->flags & O_APPEND;
	int owner;
	int r = look_rule(i, l, (!m && !is_queue(l)) || (m && m->hidden));

	if (r)
		return r < 0 ? r : 0;
	if (!m && is_queue(l))
		return look_queue(i, l);
	if (!m)
		return inspect_say(
		        i, SEV_BLOCKER, "stray-fd",
		        l->fd > 2 ? "it was inherited from a launcher: --close-fd=N leaves it "
		                    "behind, --stray=close leaves all such files behind"
		                  : "it was inherited from a launcher: --map=fd:N=file:PATH or "
		                    "--map=fd:N=null replaces it",
		        "%s (%s) is on a mount that haul cannot see", l->what, l->name);
	if (m->hidden)
		return inspect_say(i, SEV_BLOCKER, "stray-fd",
		                   "unmount the one that hides it, or use --close-fd=N",
		                   "%s (%s) is on a mount that another mount hides", l->what,
		                   l->name);
	if (S_ISCHR(l->st.st_mode) || S_ISBLK(l->st.st_mode))
		return look_device(i, l);
	if (!strcmp(m->fstype, "proc") && sscanf(l->name, "/proc/%d", &owner) == 1)
		return look_proc(i, l, owner);
	r = look_nameless(i, l);
	if (r == 0)
		r = look_inherited(i, l);
	if (r == 0)
		r = inspect_reachable(i, l->name, &l->st, l->what);
	if (r != 1)
		return r;
	return file_of(i, l,
	               (writes ? INSPECT_WRITE : 0) | (appends ? 0 : INSPECT_OPEN) |
	                       (S_ISDIR(l->st.st_mode) ? INSPECT_DIR : 0));
}

/* ---- one descriptor ---- */

/* Return: false: closed meanwhile, or the process has exited */
static bool read_info(struct inspect *i, struct look *l)
{
	char what[32], line[128];
	bool whole = false;

	snprintf(what, sizeof(what), "fdinfo/%d", l->fd);
	AUTO(file) FILE *f = inspect_open(l->pid, what);

	l->task = -1;
	while (f && fgets(line, sizeof(line), f)) {
		unsigned int flags;

		if (sscanf(line, "flags: %o", &flags) == 1)
			l->flags = (int)flags;
		else if (sscanf(line, "scm_fds: %u", &l->passed) == 1)
			i->count.passed_fds += l->passed;
		else if (sscanf(line, "eventfd-semaphore: %d", &l->semaphore) == 1)
			continue;
		else if (sscanf(line, "clockid: %d", &l->clock) == 1)
			continue;
		else if (sscanf(line, "mnt_id: %d", &l->mnt_id) == 1)
			whole = true;
		else
			sscanf(line, "Pid: %d", &l->task);
	}
	return whole;
}

static int look_pipe(struct inspect *i, const struct look *l, struct inspect_end end)
{
	int r = inspect_end_add(&i->pipes, end);

	if (r < 0 || !(l->flags & O_DIRECT))
		return r;
	return inspect_say(i, SEV_BLOCKER, "pipe-packets",
	                   "the process has to close it before it can move; a UNIX socket of type "
	                   "SOCK_SEQPACKET does the same and moves",
	                   "%s is a pipe of packets (O_DIRECT), which CRIU cannot dump", l->what);
}

/* Sort by the target of /proc/PID/fd/N; pipes and sockets are handled after all others. */
static int look_kind(struct inspect *i, const struct look *l)
{
	bool fifo = S_ISFIFO(l->st.st_mode);
	struct inspect_end end = { .inode = l->st.st_ino,
		                   .pid = l->pid,
		                   .fd = l->fd,
		                   .reads = (l->flags & O_ACCMODE) != O_WRONLY,
		                   .writes = (l->flags & O_ACCMODE) != O_RDONLY,
		                   .fifo = fifo && l->name[0] == '/' };
	int r = 0;

	if (!strcmp(l->name, "anon_inode:[pidfd]") || !strncmp(l->name, "pidfd:", 6))
		return look_pidfd(i, l);
	if (l->semaphore &&
	    inspect_say(i, SEV_WARNING, "eventfd-semaphore",
	                "a POSIX semaphore in shared memory (sem_init) does the same and "
	                "moves; or let the program make the eventfd again afterwards",
	                "%s is an eventfd of which a read takes one (EFD_SEMAPHORE): at the "
	                "destination a read will take the whole count, for CRIU does not "
	                "restore this",
	                l->what) < 0)
		return -ENOMEM;
	if (l->clock == CLOCK_REALTIME_ALARM || l->clock == CLOCK_BOOTTIME_ALARM)
		return inspect_say(i, SEV_BLOCKER, "timer-clock",
		                   "the process has to close it before it can move; one of "
		                   "CLOCK_BOOTTIME moves",
		                   "%s is a timerfd that wakes the host (CLOCK_REALTIME_ALARM, "
		                   "CLOCK_BOOTTIME_ALARM), which CRIU cannot dump",
		                   l->what);
	if (!strncmp(l->name, "anon_inode:", 11)) {
		if (!strcmp(l->name + 11, "[eventpoll]"))
			return inspect_epoll(i, l->pid, l->fd, l->what);
		r = inspect_anon(i, l->what, l->name + 11);
		return r < 0 || !strstr(l->name, "notify")
		               ? r
		               : inspect_watches(i, l->pid, l->fd, l->what, l->name + 11);
	}
	if (l->passed)
		r = inspect_passed(i, l->pid, l->fd, l->what);
	if (r < 0)
		return r;
	if (S_ISSOCK(l->st.st_mode) && l->name[0] != '/')
		return inspect_end_add(&i->sockets, end);
	if (fifo)
		r = look_pipe(i, l, end);
	if (r < 0 || (fifo && !end.fifo))
		return r;
	if (!strncmp(l->name, "/memfd:", 7)) {
		r = look_rule(i, l, false);
		return r ? (r < 0 ? r : 0) : inspect_shm(i, &l->st, INSPECT_OBJECT);
	}
	if (l->name[0] == '/')
		return look_path(i, l);
	return look_space(i, l);
}

int inspect_fds(struct inspect *i, pid_t pid)
{
	char path[32];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && r == 0 && (de = readdir(d));) {
		struct look l = { .pid = pid, .fd = atoi(de->d_name) };
		char link[32];

		if (!isdigit((unsigned char)de->d_name[0]))
			continue;
		snprintf(link, sizeof(link), "fd/%d", l.fd);
		snprintf(l.what, sizeof(l.what), "descriptor %d of pid %d", l.fd, pid);
		if (inspect_link(pid, link, l.name, sizeof(l.name)) <= 0 ||
		    fstatat(dirfd(d), de->d_name, &l.st, 0) < 0 || !read_info(i, &l))
			continue; /* closed meanwhile */
		i->count.fds++;
		r = look_kind(i, &l);
	}
	return r;
}
