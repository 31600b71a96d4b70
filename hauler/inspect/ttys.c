// SPDX-License-Identifier: GPL-2.0-or-later
/* ttys.c - terminals: both ends in the tree move with it, one end alone leads out of it. */
#include "hauler/inspect/priv.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "common/array.h"

#define TTY_MAJOR         4
#define TTYAUX_MAJOR      5
#define PTMX_MINOR        2
#define UNIX98_PTY_MAJOR  136
#define UNIX98_PTY_MAJORS 8
#define MINOR_BITS        8

bool inspect_is_terminal(const struct stat *st)
{
	unsigned int major = major(st->st_rdev);

	return S_ISCHR(st->st_mode) &&
	       (major == TTY_MAJOR || major == TTYAUX_MAJOR ||
	        (major >= UNIX98_PTY_MAJOR && major < UNIX98_PTY_MAJOR + UNIX98_PTY_MAJORS));
}

static bool is_master(dev_t rdev)
{
	return rdev == makedev(TTYAUX_MAJOR, PTMX_MINOR);
}

/* Return: the number of a pseudo-terminal, of either end; -1: another kind */
static int number_of(pid_t pid, int fd, dev_t rdev)
{
	char what[32], line[128];
	int number = -1;

	if (major(rdev) >= UNIX98_PTY_MAJOR && major(rdev) < UNIX98_PTY_MAJOR + UNIX98_PTY_MAJORS)
		return (int)((major(rdev) - UNIX98_PTY_MAJOR) << MINOR_BITS | minor(rdev));
	if (!is_master(rdev))
		return -1;
	snprintf(what, sizeof(what), "fdinfo/%d", fd);
	AUTO(file) FILE *f = inspect_open(pid, what);

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "tty-index: %d", &number) != 1)
		;
	return number;
}

int inspect_tty_add(struct inspect *i, const struct inspect_lead *l, const char *name)
{
	if (array_grow(&i->terminals.ttys.v, i->terminals.ttys.n, &i->terminals.ttys.cap,
	               sizeof(*i->terminals.ttys.v)) < 0)
		return -ENOMEM;
	struct inspect_tty *t = &i->terminals.ttys.v[i->terminals.ttys.n++];

	*t = (struct inspect_tty){ .lead = *l,
		                   .number = number_of(l->pid, l->fd, (dev_t)l->rdev),
		                   .master = is_master((dev_t)l->rdev) };
	snprintf(t->name, sizeof(t->name), "%s", name);
	return 0;
}

/* ---- which processes outside have it? ---- */

static struct inspect_tty *tty_of(struct inspect *i, int number)
{
	for (size_t k = 0; number >= 0 && k < i->terminals.ttys.n; k++)
		if (i->terminals.ttys.v[k].number == number)
			return &i->terminals.ttys.v[k];
	return NULL;
}

static void look_outside(struct inspect *i, pid_t pid)
{
	char path[32], link[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));) {
		ssize_t n = readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1);
		struct stat st;

		link[n > 0 ? n : 0] = 0;
		if (strncmp(link, "/dev/pt", 7) != 0 || fstatat(dirfd(d), de->d_name, &st, 0) < 0 ||
		    !inspect_is_terminal(&st))
			continue;
		struct inspect_tty *t = tty_of(
		        i, number_of(pid, (int)strtol(de->d_name, NULL, 10), st.st_rdev));

		if (t && !t->outside)
			t->outside = pid;
	}
}

static void find_outside(struct inspect *i)
{
	AUTO(dir) DIR *d = opendir("/proc");

	for (struct dirent *de; d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]) && !inspect_in_tree(i, atoi(de->d_name)))
			look_outside(i, atoi(de->d_name));
}

/* ---- what becomes of each ---- */

static bool has_master(const struct inspect *i, int number)
{
	for (size_t k = 0; number >= 0 && k < i->terminals.ttys.n; k++)
		if (i->terminals.ttys.v[k].master && i->terminals.ttys.v[k].number == number)
			return true;
	return false;
}

static int say_outside(struct inspect *i, const struct inspect_tty *t,
                       const struct inspect_tty *first)
{
	char comm[INSPECT_COMM_MAX];

	inspect_comm(first->outside, comm);
	return inspect_say(i, SEV_BLOCKER, "terminal-shared", "end that process first",
	                   "%s is an end of the terminal pts/%d, which pid %d (%s) outside the "
	                   "tree has open, too",
	                   t->what, t->number, first->outside, comm);
}

static int say_lead(struct inspect *i, struct inspect_tty *t)
{
	char what[INSPECT_PATH_MAX + 64];

	snprintf(what, sizeof(what), "%s, %s,", t->what, t->name);
	t->lead.what = what;
	t->lead.kind = REFIT_TTY;
	int r = inspect_out(i, &t->lead);

	if (r)
		return r < 0 ? r : 0;
	return inspect_say(
	        i, SEV_BLOCKER, "terminal",
	        "--map=tty=file:PATH keeps the output, --map=tty=attach keeps it a "
	        "terminal (haul attach); or start it without one: setsid PROG </dev/null "
	        ">>LOG 2>&1",
	        "%s is the terminal %s", t->what, t->name);
}

/* The kernel gives numbers of the destination's terminals there: the offer has those of the tree. */
static int note_pair(struct inspect *i, const struct inspect_tty *t)
{
	struct inspect_pair *p = NULL;

	for (size_t k = 0; !p && k < i->terminals.pairs.n; k++)
		if (i->terminals.pairs.v[k].number == t->number)
			p = &i->terminals.pairs.v[k];
	bool is_new = !p;

	if (is_new) {
		uint32_t *pts = realloc(i->terminals.pts.v,
		                        (i->terminals.pts.n + 1) * sizeof(*pts));

		if (!pts)
			return -ENOMEM;
		i->terminals.pts.v = pts;
		if (array_grow(&i->terminals.pairs.v, i->terminals.pairs.n, &i->terminals.pairs.cap,
		               sizeof(*p)) < 0)
			return -ENOMEM;
		pts[i->terminals.pts.n++] = (uint32_t)t->number;
		p = &i->terminals.pairs.v[i->terminals.pairs.n++];
		*p = (struct inspect_pair){ .number = t->number };
	}
	pid_t *pid = t->master ? &p->master_pid : &p->slave_pid;

	if (!*pid) {
		*pid = t->lead.pid;
		*(t->master ? &p->master_fd : &p->slave_fd) = t->lead.fd;
	}
	return !is_new ? 0
	               : inspect_say(i, SEV_INFO, "terminal-moves", NULL,
	                             "the terminal pts/%d, whose both ends are in the tree, moves",
	                             t->number);
}

/* ---- controlling terminals ---- */

/*
 * CRIU makes a terminal the controlling one of a session by its leader, when the other processes exist already;
 * these cannot get it any more.
 */
static int say_members(struct inspect *i)
{
	char comm[INSPECT_COMM_MAX] = "";
	unsigned int n = 0;
	pid_t first = 0;

	for (size_t k = 0; k < i->procs.n; k++) {
		const struct inspect_task *t = &i->tasks[k];

		if (t->zombie || t->sid == t->pid || !inspect_in_tree(i, t->sid) || !t->tty)
			continue;
		first = first ? first : t->pid;
		n++;
	}
	if (!n)
		return 0;
	inspect_comm(first, comm);
	return inspect_say(
	        i, SEV_WARNING, "terminal-members",
	        "programs that are started after the move can; end these first if they need it",
	        "%u process%s that the leader of a terminal's session has started (pid %d, %s%s) "
	        "cannot open /dev/tty after the move; descriptors of the terminal stay",
	        n, n == 1 ? "" : "es", first, comm, n == 1 ? "" : ", ...");
}

const struct inspect_pair *inspect_pairs(const struct inspect *i, size_t *n)
{
	*n = i->terminals.pairs.n;
	return i->terminals.pairs.v;
}

int inspect_ttys(struct inspect *i)
{
	int r = 0;

	if (!i->terminals.ttys.n)
		return 0;
	find_outside(i);
	for (size_t k = 0; r == 0 && k < i->terminals.ttys.n; k++) {
		struct inspect_tty *t = &i->terminals.ttys.v[k];
		const struct inspect_tty *first = tty_of(i, t->number);

		snprintf(t->what, sizeof(t->what), "descriptor %d of pid %d", t->lead.fd,
		         t->lead.pid);
		if (!has_master(i, t->number))
			r = say_lead(i, t);
		else if (first->outside)
			r = say_outside(i, t, first);
		else
			r = note_pair(i, t);
	}
	return r == 0 && i->terminals.pairs.n ? say_members(i) : r;
}
