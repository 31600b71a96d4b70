// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * direct.c - reads past the page cache (O_DIRECT): what a device puts into memory leaves no trace
 * in the page table, so a page that is protected again while a read is under way looks clean.
 * Reads by native AIO continue while the process is stopped, and CRIU does not wait for them (see
 * its pie/parasite.c).
 */
#include "engine/proc/proc.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/clock.h"

/* Without an answer for this long, no request is under way, or its device is very slow. */
#define STILL_MS 250
#define LOOK_US  2000

#define MOUNTS_MOST 256

/* The ring into which the kernel puts answers: fs/aio.c, struct aio_ring; libaio reads it too. */
struct ring_head {
	uint32_t id, nr, head, tail;
};

struct ring {
	pid_t pid;
	uint64_t vaddr;
	uint32_t tail;
};

struct rings {
	struct ring *v;
	size_t n;
};

/*
 * File systems that may read past the page cache without being asked to, depending on their server
 * or mount options. Only the kernel is asked: the server may be slow, or stopped.
 */
static bool reads_direct(const char *type)
{
	static const char *const types[] = { "fuse", "fuseblk", "virtiofs", "9p",
		                             "cifs", "smb3",    "ceph" };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(type, types[i]))
			return true;
	return !strncmp(type, "fuse.", 5);
}

/* Mount IDs of such file systems, as in fdinfo. Return: their number */
static size_t find_mounts(pid_t pid, int *id, size_t room)
{
	AUTO(mem) char *line = NULL;
	size_t cap = 0, n = 0;
	char path[40], type[32];

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && n < room && getline(&line, &cap, f) > 0) {
		const char *rest = strstr(line, " - ");

		if (rest && sscanf(rest, " - %31s", type) == 1 && reads_direct(type))
			id[n++] = (int)strtol(line, NULL, 10);
	}
	return n;
}

static bool is_direct(pid_t pid, const char *fd, const int *mount, size_t n_mounts)
{
	char path[64], line[64];
	unsigned int flags = 0;
	int at = -1;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", pid, fd);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "flags: %o", &flags) != 1 && sscanf(line, "mnt_id: %d", &at) == 1)
			break;
	for (size_t i = 0; i < n_mounts; i++)
		if (mount[i] == at)
			return true;
	return flags & O_DIRECT;
}

/*
 * Look only at descriptors with a path: there may be thousands of sockets. Do not touch the file
 * itself: its server may be slow.
 */
static bool has_direct(pid_t pid)
{
	char path[32], first;
	int mount[MOUNTS_MOST];
	size_t n = find_mounts(pid, mount, MOUNTS_MOST);

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]) &&
		    readlinkat(dirfd(d), de->d_name, &first, 1) == 1 && first == '/' &&
		    is_direct(pid, de->d_name, mount, n))
			return true;
	return false;
}

/* Has any process of this machine an AIO context? If none has, no maps need to be read. */
static bool aio_is_used(void)
{
	AUTO(file) FILE *f = fopen("/proc/sys/fs/aio-nr", "re");
	unsigned long n = 1;

	return !f || fscanf(f, "%lu", &n) != 1 || n;
}

/*
 * Collect the rings of its AIO contexts in @r; with NULL, only see whether there is one. Return:
 * their number; -ENOMEM
 */
static int find_rings(struct rings *r, pid_t pid)
{
	AUTO(mem) char *line = NULL;
	size_t cap = 0;
	char path[32];
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	AUTO(file) FILE *f = aio_is_used() ? fopen(path, "re") : NULL;

	while (f && getline(&line, &cap, f) > 0) {
		if (!strstr(line, " /[aio]"))
			continue;
		n++;
		if (!r)
			break;
		struct ring *v = realloc(r->v, (r->n + 1) * sizeof(*v));

		if (!v)
			return -ENOMEM;
		r->v = v;
		v[r->n++] = (struct ring){ .pid = pid, .vaddr = strtoull(line, NULL, 16) };
	}
	return n;
}

enum direct_io direct_io(pid_t pid)
{
	if (!has_direct(pid))
		return DIRECT_NONE;
	return find_rings(NULL, pid) ? DIRECT_AIO : DIRECT_SYNC;
}

/* Has a request been answered since the last look? */
static bool look(struct rings *r)
{
	bool moved = false;

	for (size_t i = 0; i < r->n; i++) {
		struct ring *g = &r->v[i];
		struct ring_head h = { .tail = g->tail };
		struct iovec to = { &h, sizeof(h) };
		struct iovec from = { (void *)(uintptr_t)g->vaddr, sizeof(h) };

		if (process_vm_readv(g->pid, &to, 1, &from, 1, 0) != (ssize_t)sizeof(h))
			h.tail = g->tail; /* killed: the caller notices that elsewhere */
		moved |= h.tail != g->tail;
		g->tail = h.tail;
	}
	return moved;
}

int direct_rings_find(struct rings **out, const pid_t *pid, size_t n, struct err *e)
{
	AUTO(rings) struct rings *r = calloc(1, sizeof(*r));
	int found = r ? 0 : -ENOMEM;

	for (size_t i = 0; found >= 0 && i < n; i++) {
		size_t before = r->n;

		found = find_rings(r, pid[i]);
		if (found > 0 && !has_direct(pid[i]))
			r->n = before;
	}
	if (found < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for AIO contexts");
	*out = r->n ? steal(r) : NULL;
	return 0;
}

int direct_rings_settle(struct rings *r, uint64_t deadline_us, struct err *e)
{
	uint64_t still_us = deadline_in_ms(STILL_MS);

	look(r);
	while (now_us() < still_us) {
		usleep(LOOK_US);
		if (look(r))
			still_us = deadline_in_ms(STILL_MS);
		if (now_us() < deadline_us)
			continue;
		err_set(e, ERR_TARGET, EBUSY, "its requests by native AIO are answered too slowly");
		return err_fix(e, "move it while its disk has less to do");
	}
	return 0;
}

int direct_rings_same(struct rings *r, struct err *e)
{
	if (!look(r))
		return 0;
	err_set(e, ERR_TARGET, EBUSY, "a request by native AIO was answered while it was copied");
	return err_fix(e, "move it while its disk has less to do");
}

void direct_rings_free(struct rings *r)
{
	if (r)
		free(r->v);
	free(r);
}
