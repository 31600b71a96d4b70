// SPDX-License-Identifier: GPL-2.0-or-later
/* insp_fd.c - open descriptors: files to bring along, and kinds that cannot travel. */
#include "hauler/insp.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define GHOST_MAX_BYTES (64u << 20)

/* anon_inode kinds that CRIU does not restore. */
static const struct {
	const char *name, *code, *what;
} bad_anon[] = {
	{ "[io_uring]", "io-uring", "an io_uring" },
	{ "[userfaultfd]", "userfaultfd", "a userfaultfd" },
	{ "[perf_event]", "perf", "a perf event" },
	{ "bpf-", "bpf", "a BPF object" },
	{ "kvm-", "kvm", "a virtual machine" },
	{ "[fanotify]", "fanotify", "a fanotify group" },
	{ "[fscontext]", "fscontext", "a mount context" },
	{ "[landlock", "landlock", "a landlock rule set" },
	{ "[secretmem]", "secretmem", "secret memory" },
};

static const char *const good_devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random",
	                                    "/dev/urandom" };

static int add_end(struct insp_end **v, size_t *n, struct insp_end end)
{
	struct insp_end *p = realloc(*v, (*n + 1) * sizeof(*p));

	if (!p)
		return -ENOMEM;
	*v = p;
	p[(*n)++] = end;
	return 0;
}

static int fd_flags(pid_t pid, int fd, int *mnt_id)
{
	char path[48], line[128];
	int flags = 0;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "flags: %o", (unsigned int *)&flags) == 1)
			continue;
		if (sscanf(line, "mnt_id: %d", mnt_id) == 1)
			break;
	}
	return flags;
}

/* Is the mount on which a descriptor was opened one that the process sees? */
static bool sees_mount(pid_t pid, int mnt_id)
{
	char path[40], line[4096];
	int id;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%d", &id) == 1 && id == mnt_id)
			return true;
	return false;
}

static bool is_good_device(const char *name)
{
	for (size_t k = 0; k < ARRAY_SIZE(good_devices); k++)
		if (!strcmp(name, good_devices[k]))
			return true;
	return false;
}

static int check_device(struct insp *i, pid_t pid, int fd, const char *name)
{
	if (is_good_device(name))
		return 0;
	if (!strncmp(name, "/dev/pts/", 9) || !strncmp(name, "/dev/tty", 8) ||
	    !strcmp(name, "/dev/console") || !strcmp(name, "/dev/ptmx"))
		return finding_add(&i->findings, SEV_BLOCKER, "terminal",
		                   "start it without one: setsid PROG </dev/null >LOG 2>&1",
		                   "descriptor %d of pid %d is the terminal %s", fd, pid, name);
	return finding_add(&i->findings, SEV_BLOCKER, "device",
	                   "the process has to close it before it can move",
	                   "descriptor %d of pid %d is the device %s", fd, pid, name);
}

static int check_anon(struct insp *i, pid_t pid, int fd, const char *name)
{
	for (size_t k = 0; k < ARRAY_SIZE(bad_anon); k++)
		if (!strncmp(name, bad_anon[k].name, strlen(bad_anon[k].name)))
			return finding_add(&i->findings, SEV_BLOCKER, bad_anon[k].code,
			                   "CRIU cannot move it; start the program without it",
			                   "descriptor %d of pid %d is %s", fd, pid,
			                   bad_anon[k].what);
	return 0;
}

static int check_deleted(struct insp *i, pid_t pid, int fd, const char *name, const struct stat *st)
{
	if ((uint64_t)st->st_size > GHOST_MAX_BYTES)
		return finding_add(&i->findings, SEV_BLOCKER, "deleted-file",
		                   "deleted files of at most 64 MiB can travel",
		                   "descriptor %d of pid %d is a deleted file of %lld MiB: %s", fd,
		                   pid, (long long)st->st_size >> 20, name);
	return finding_add(&i->findings, SEV_INFO, "deleted-file", NULL,
	                   "descriptor %d of pid %d is the deleted file %s; it travels too", fd,
	                   pid, name);
}

static int check_path(struct insp *i, pid_t pid, int fd, const char *name, const struct stat *st,
                      int flags, int mnt_id)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY;

	if (!sees_mount(pid, mnt_id))
		return finding_add(&i->findings, SEV_BLOCKER, "stray-fd",
		                   "it was inherited from a launcher: start the program with "
		                   "descriptors above 2 closed",
		                   "descriptor %d of pid %d (%s) lies on a mount that the process "
		                   "does not see",
		                   fd, pid, name);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		return check_device(i, pid, fd, name);
	if (strstr(name, " (deleted)") || st->st_nlink == 0)
		return check_deleted(i, pid, fd, name, st);
	if (S_ISFIFO(st->st_mode))
		return add_end(&i->pipes, &i->n_pipes,
		               (struct insp_end){ st->st_ino, pid, fd,
		                                  (flags & O_ACCMODE) != O_WRONLY, writes });
	return insp_add_file(i, name, false, true, writes, S_ISDIR(st->st_mode));
}

static int look_at_fd(struct insp *i, pid_t pid, int fd)
{
	char path[48], name[INSP_PATH_MAX];
	struct stat st;
	int mnt_id = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	ssize_t n = readlink(path, name, sizeof(name) - 1);

	if (n <= 0 || stat(path, &st) < 0)
		return 0; /* closed meanwhile */
	name[n] = 0;
	int flags = fd_flags(pid, fd, &mnt_id);

	if (!strncmp(name, "pipe:", 5))
		return add_end(&i->pipes, &i->n_pipes,
		               (struct insp_end){ st.st_ino, pid, fd,
		                                  (flags & O_ACCMODE) != O_WRONLY,
		                                  (flags & O_ACCMODE) != O_RDONLY });
	if (!strncmp(name, "socket:", 7))
		return add_end(&i->sockets, &i->n_sockets,
		               (struct insp_end){ st.st_ino, pid, fd, true, true });
	if (!strncmp(name, "anon_inode:", 11))
		return check_anon(i, pid, fd, name + 11);
	if (!strncmp(name, "/memfd:", 7))
		return 0;
	if (name[0] != '/')
		return finding_add(&i->findings, SEV_BLOCKER, "unknown-fd",
		                   "the process has to close it before it can move",
		                   "descriptor %d of pid %d is %s", fd, pid, name);
	return check_path(i, pid, fd, name, &st, flags, mnt_id);
}

int insp_fds(struct insp *i, pid_t pid, struct err *e)
{
	char path[32];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && r == 0 && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]))
			r = look_at_fd(i, pid, (int)strtol(de->d_name, NULL, 10));
	return r < 0 ? err_set(e, ERR_SYS, -r, "descriptors of pid %d", pid) : 0;
}

/* A pipe of which the tree holds only one side has its other side elsewhere. */
int insp_ends(struct insp *i, struct err *e)
{
	for (size_t k = 0; k < i->n_pipes; k++) {
		bool reads = false, writes = false;
		const struct insp_end *p = &i->pipes[k];

		for (size_t m = 0; m < i->n_pipes; m++)
			if (i->pipes[m].inode == p->inode) {
				reads |= i->pipes[m].reads;
				writes |= i->pipes[m].writes;
			}
		if (reads && writes)
			continue;
		if (finding_add(&i->findings, SEV_BLOCKER, "pipe-outside",
		                "start it with its input and output in files: PROG </dev/null >LOG "
		                "2>&1",
		                "descriptor %d of pid %d is a pipe whose other end is outside the "
		                "tree",
		                p->fd, p->pid) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for findings");
	}
	return 0;
}
