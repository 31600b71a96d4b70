// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * open_files.c - files of the directories that the process tree has mapped, or open for writing: writes
 * through a mapping and by native AIO (io_submit) make no event.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hauler/dirs/priv.h"
#include "hauler/mig/mig.h"

/* For this long after a file's times were set a write may still be on its way to the disk. */
#define RECENT_MS     1000
#define RECENT_AIO_MS 30000

struct dirs_mapped {
	struct dirs_root *root;
	ino_t ino;
};

static struct dirs_ino *find(struct dirs *f, const struct stat *st)
{
	for (size_t i = 0; S_ISREG(st->st_mode) && i < f->n_roots; i++) {
		struct dirs_ino *ino = f->root[i].top->st.st_dev == st->st_dev
		                               ? dirs_find(&f->root[i], st->st_ino)
		                               : NULL;

		if (ino)
			return ino;
	}
	return NULL;
}

static int add_mapped(struct dirs *f, const struct dirs_ino *i)
{
	struct dirs_mapped *v = realloc(f->mapped, (f->n_mapped + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	f->mapped = v;
	v[f->n_mapped++] = (struct dirs_mapped){ i->root, i->st.st_ino };
	return 0;
}

static int mapped_of(struct dirs *f, pid_t pid, bool *aio)
{
	char path[128], line[512];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	AUTO(file) FILE *maps = fopen(path, "re");

	while (r == 0 && maps && fgets(line, sizeof(line), maps)) {
		unsigned long long start, end;
		char perms[8];
		struct stat st;

		*aio |= strstr(line, "/[aio]") != NULL;
		if (sscanf(line, "%llx-%llx %7s", &start, &end, perms) != 3 || perms[3] != 's')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", pid, start, end);
		struct dirs_ino *ino = stat(path, &st) == 0 ? find(f, &st) : NULL;

		if (ino)
			r = add_mapped(f, ino);
	}
	return r;
}

static int open_of(struct dirs *f, pid_t pid, uint32_t recent_ms)
{
	char path[64];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; r == 0 && d && (de = readdir(d));) {
		struct stat link, st;

		if (fstatat(dirfd(d), de->d_name, &link, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !(link.st_mode & S_IWUSR) || fstatat(dirfd(d), de->d_name, &st, 0) < 0)
			continue;
		struct dirs_ino *i = find(f, &st);

		if (i && i->sent && (i->age_ms < recent_ms || !dirs_looks_same(&i->st, &st)))
			r = dirs_mark_dirty(f, i);
	}
	return r;
}

static int files_of(struct dirs *f, pid_t pid, bool first)
{
	bool aio = false;
	int r = mapped_of(f, pid, &aio);

	return r || first ? r : open_of(f, pid, aio ? RECENT_AIO_MS : RECENT_MS);
}

int dirs_mark_open(struct dirs *f, pid_t root_pid, bool first, struct err *e)
{
	struct proc_list l = { 0 };
	int r = procs_tree(root_pid, &l, e);

	if (r < 0)
		return r;
	/* mapped at the last look: it may have been written and unmapped since */
	size_t before = f->n_mapped;

	for (size_t i = 0; r == 0 && i < l.n; i++)
		r = files_of(f, l.pid[i], first);
	for (size_t k = 0; r == 0 && !first && k < f->n_mapped; k++) {
		struct dirs_ino *ino = dirs_find(f->mapped[k].root, f->mapped[k].ino);

		if (ino)
			r = dirs_mark_dirty(f, ino);
	}
	f->n_mapped -= before;
	if (f->n_mapped)
		memmove(f->mapped, f->mapped + before, f->n_mapped * sizeof(*f->mapped));
	procs_fini(&l);
	return r < 0 ? err_set(e, ERR_SYS, -r, "no memory for open files") : 0;
}
