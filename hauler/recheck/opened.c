// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * opened.c - files that the tree has opened or mapped since haul looked at what it uses.
 *
 * Only files of that look are offered to the destination and compared there. CRIU opens by name
 * what it finds in the freeze: another file of that name would take the place of one that was
 * never compared. So the files in CRIU's images are compared with the look, and the move is undone if
 * there is a new one.
 */
#include "hauler/recheck/recheck.h"

#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/images/held.h"
#include "hauler/files/needs.h"
#include "hauler/options/dirs.h"

struct opened {
	bool noted;
	void *names; /* for tsearch(): what the tree held before the look, of every kind */
};

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int note_link(struct opened *o, int dir, const char *link)
{
	char name[PATH_MAX];
	ssize_t n = readlinkat(dir, link, name, sizeof(name) - 1);

	if (n <= 0 || name[0] != '/')
		return 0; /* gone, or it has no name */
	name[n] = 0;
	if (tfind(name, &o->names, by_name))
		return 0;
	char *copy = strdup(name);

	if (copy && tsearch(copy, &o->names, by_name))
		return 0;
	free(copy);
	return -ENOMEM;
}

static int note_folder(struct opened *o, int proc, const char *folder)
{
	int fd = openat(proc, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(dir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int r = 0;

	for (struct dirent *de; r == 0 && d && (de = readdir(d));)
		if (de->d_name[0] != '.')
			r = note_link(o, dirfd(d), de->d_name);
	return r;
}

static int note_process(struct opened *o, pid_t pid)
{
	static const char *const links[] = { "exe", "cwd", "root" };
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	AUTO(fd) int proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (proc < 0)
		return 0;
	int r = note_folder(o, proc, "fd");

	if (r)
		return r;
	r = note_folder(o, proc, "map_files");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(links); i++)
		r = note_link(o, proc, links[i]);
	return r;
}

static int note_tree(struct opened *o, pid_t root, struct err *e)
{
	struct proc_list l = { 0 };
	int r = procs_tree(root, &l, e);

	for (size_t i = 0; r == 0 && i < l.n; i++)
		if (note_process(o, l.pid[i]) < 0)
			r = err_set(e, ERR_SYS, ENOMEM, "no memory for names of files");
	procs_fini(&l);
	o->noted = r == 0;
	return r;
}

int opened_note(struct mig *m, struct err *e)
{
	m->opened = calloc(1, sizeof(*m->opened));
	return m->opened ? note_tree(m->opened, m->opt->pid, e)
	                 : err_set(e, ERR_SYS, ENOMEM, "no memory");
}

void opened_free(struct opened *o)
{
	if (o)
		tdestroy(o->names, free);
	free(o);
}

/* ---- in the freeze ---- */

static int by_here(const void *a, const void *b)
{
	return strcmp((*(struct need *const *)a)->here, (*(struct need *const *)b)->here);
}

static const struct need *find(struct need *const *v, size_t n, const char *name)
{
	struct need key = { .here = (char *)name }, *at = &key;
	struct need *const *found = n ? bsearch(&at, v, n, sizeof(*v), by_here) : NULL;

	return found ? *found : NULL;
}

/* A name that leads to another file than at the look: a log was rotated, for example. */
static bool is_replaced(const struct mig *m, const struct need *k)
{
	struct stat st;

	return k->held.link[0] && S_ISREG(k->file.mode) && !needs_looks_again(m->needs, k) &&
	       (lstat(k->here, &st) < 0 || st.st_dev != k->held.dev || st.st_ino != k->held.ino);
}

/*
 * No process has it: its descriptor waits in the queue of a UNIX socket, behind others (inspect/passed.c).
 * @now: what the tree holds; filled here the first time
 * Return: 1; 0; -errno
 */
static int is_passed(const struct mig *m, const char *name, struct opened *now, struct err *e)
{
	if (!now->noted && note_tree(now, m->opt->pid, e) < 0)
		return err_code(e);
	return !tfind(name, &now->names, by_name);
}

/* A file that has content, or may have: that was not compared. One without a path is handed to CRIU (--map). */
static bool is_content(const struct img_reg *g)
{
	return g->name[0] == '/' && (!(g->mode & S_IFMT) || S_ISREG(g->mode));
}

static int say_passed(const char *name, struct err *e)
{
	err_set(e, ERR_TARGET, ESTALE,
	        "%s waits in the queue of a UNIX socket, and was not compared with the "
	        "destination's",
	        name);
	return err_fix(e, "try again when the program has received it");
}

static int judge(const struct mig *m, const struct img_reg *g, const struct need *k,
                 struct opened *now, struct err *e)
{
	const char *name = g->name;
	bool known = k || dirs_opts_cover(&m->opt->fs, name) ||
	             tfind(name, &m->opened->names, by_name);
	int passed = known ? 0 : is_passed(m, name, now, e);

	if (passed < 0)
		return passed;
	if (k && is_replaced(m, k))
		err_set(e, ERR_TARGET, ESTALE, "%s is no longer the same file", name);
	else if (!known && !passed)
		err_set(e, ERR_TARGET, ESTALE,
		        "%s was opened or mapped after haul had looked which files the process "
		        "uses",
		        name);
	else if (!known && is_content(g))
		return say_passed(name, e);
	else
		return 0;
	return err_fix(e, "try again, in a moment in which the program opens no files");
}

int opened_check(struct mig *m, struct err *e)
{
	AUTO(mem) struct need **v = calloc(m->needs->n + 1, sizeof(*v));
	struct opened now = { 0 };
	struct img_regs regs;

	if (m->capture) /* its files are its image's and its runtime's */
		return 0;
	if (!v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory to compare files");
	for (size_t i = 0; i < m->needs->n; i++)
		v[i] = &m->needs->v[i];
	qsort(v, m->needs->n, sizeof(*v), by_here);
	int r = img_regs(m->dump.images_fd, &regs, e);

	for (size_t i = 0; r == 0 && i < regs.n; i++)
		if (!regs.v[i].nameless)
			r = judge(m, &regs.v[i], find(v, m->needs->n, regs.v[i].name), &now, e);
	img_regs_fini(&regs);
	tdestroy(now.names, free);
	return r;
}
