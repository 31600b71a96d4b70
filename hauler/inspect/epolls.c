// SPDX-License-Identifier: GPL-2.0-or-later
/* epolls.c - epoll sets that watch what the process does not have open: CRIU cannot tell what that is. */
#include "hauler/inspect/priv.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

/* Is descriptor @fd of @pid what its set @set watches under the number @tfd? */
static bool is_watched(pid_t pid, int set, int tfd, int fd)
{
	struct kcmp_epoll_slot slot = { .efd = (uint32_t)set, .tfd = (uint32_t)tfd };

	return syscall(SYS_kcmp, pid, pid, KCMP_EPOLL_TFD, (unsigned long)fd, &slot) == 0;
}

/* Return: has the process it open, under whatever number? */
static bool has(pid_t pid, int set, int tfd)
{
	char path[32];

	if (is_watched(pid, set, tfd, tfd))
		return true;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]) &&
		    is_watched(pid, set, tfd, (int)strtol(de->d_name, NULL, 10)))
			return true;
	return !d;
}

/* A child has the set of its parent: then the parent's descriptors count. */
static bool is_parents(const struct inspect *i, pid_t pid, int set)
{
	pid_t parent = procs_parent(pid);

	return parent > 0 && inspect_in_tree(i, parent) &&
	       syscall(SYS_kcmp, pid, parent, KCMP_FILE, (unsigned long)set, (unsigned long)set) ==
	               0;
}

/* struct epoll_params and its ioctl, Linux 6.9 */
struct params {
	uint32_t busy_us;
	uint16_t budget;
	uint8_t prefer, pad;
};
#define GET_PARAMS _IOR(0x8A, 0x02, struct params)

static int look_params(struct inspect *i, pid_t pid, int set, const char *what)
{
	struct params p = { 0 };
	AUTO(fd) int fd = procs_copy_fd(pid, set);

	if (fd < 0 || ioctl(fd, GET_PARAMS, &p) < 0 || (!p.busy_us && !p.budget && !p.prefer))
		return 0;
	return inspect_say(
	        i, SEV_INFO, "epoll-busy", NULL,
	        "%s is an epoll set that polls busily (EPIOCSPARAMS), and does not at the "
	        "destination",
	        what);
}

int inspect_epoll(struct inspect *i, pid_t pid, int set, const char *what)
{
	char name[32], line[128];
	int tfd;

	if (look_params(i, pid, set, what) < 0)
		return -ENOMEM;

	if (i->procs.n == 1 || is_parents(i, pid, set))
		return 0;
	snprintf(name, sizeof(name), "fdinfo/%d", set);
	AUTO(file) FILE *f = inspect_open(pid, name);

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "tfd: %d", &tfd) == 1 && !has(pid, set, tfd))
			return inspect_say(
			        i, SEV_BLOCKER, "epoll-foreign",
			        "let the program make an epoll set after each fork, or remove what "
			        "it closes from the set (EPOLL_CTL_DEL)",
			        "%s is an epoll set that watches a descriptor (%d) which pid %d "
			        "has "
			        "closed and another process of the tree has open: CRIU cannot dump "
			        "it",
			        what, tfd, pid);
	return 0;
}
