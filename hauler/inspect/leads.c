// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * leads.c - files that are connected to other processes: which rule applies; files left open by a
 * launcher.
 */
#include "hauler/inspect/priv.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include "common/array.h"
#include "common/printable.h"
#include "engine/criu/criu.h"
#include "engine/proc/proc.h"

#define JOURNAL_PATH  "/run/systemd/journal/stdout"
#define STREAMS_DIR   "/run/systemd/journal/streams" /* of root: what journald knows of each stream */
#define ANCESTORS_MAX 16

/* ---- rules ---- */

/* O_NONBLOCK belongs to the pipe's end, not to the program's descriptor. */
static int nonblocking(pid_t pid, int fd)
{
	char what[32], line[128];
	unsigned int flags = 0;

	snprintf(what, sizeof(what), "fdinfo/%d", fd);
	AUTO(file) FILE *f = inspect_open(pid, what);

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "flags: %o", &flags) == 1)
			break;
	return (int)flags & O_NONBLOCK;
}

/* A pipe of the haul run that has started the program, if a haul land takes it. */
static bool from_stand(const struct inspect *i, const struct inspect_lead *l, struct out *o)
{
	static const char *const names[STAND_STREAMS] = { "in", "out", "err" };

	for (int k = 0; i->net.land && l->kind == REFIT_PIPE && k < STAND_STREAMS; k++) {
		if (!l->inode || i->stand.inode[k] != l->inode)
			continue;
		o->to = OUT_TO_LAND;
		snprintf(o->path, sizeof(o->path), "%s", names[k]);
		o->unread = k == STAND_IN || i->stand.unread;
		o->sock_type = nonblocking(l->pid, l->fd);
		return true;
	}
	return false;
}

static bool from_rule(struct inspect *i, const struct inspect_lead *l, struct out *o)
{
	const struct out_rules *rules = i->net.rules;
	const struct out_rule *r = out_rule_find(rules, OUT_BY_FD, l->pid, l->fd, NULL);

	if (!r && l->kind == REFIT_UNIX)
		r = out_rule_find(rules, OUT_BY_UNIX, l->pid, l->fd, l->peer);
	if (!r && l->kind == REFIT_TTY)
		r = out_rule_find(rules, OUT_BY_TTY, l->pid, l->fd, NULL);
	if (r) {
		i->rules_used |= 1ULL << (r - rules->v);
		o->to = r->to;
		snprintf(o->path, sizeof(o->path), "%s", r->path);
		return true;
	}
	if (from_stand(i, l, o))
		return true;
	if (rules && rules->close_stray && l->stray && l->fd > 2) {
		o->to = OUT_TO_CLOSE;
		return true;
	}
	/* systemd opens it before it makes the mount namespace of a service */
	if (l->unseen && l->rdev == makedev(1, 3)) {
		o->to = OUT_TO_NULL;
		return true;
	}
	if (l->kind == REFIT_UNIX && l->sock_type == SOCK_STREAM && l->peer &&
	    !strcmp(l->peer, JOURNAL_PATH)) {
		o->to = OUT_TO_JOURNAL;
		snprintf(o->path, sizeof(o->path), "%s", JOURNAL_PATH);
		return true;
	}
	return false;
}

/* What a program told journald when it connected. */
struct header {
	char identifier[128], unit[128];
	int priority, prefix, forward[3];
};

/* The text after NAME=, if it is all printable: journald escapes what is not */
static void take_text(const char *line, const char *name, char out[128])
{
	size_t n = strlen(name), len;

	if (strncmp(line, name, n))
		return;
	len = strcspn(line + n, "\n");
	if (len >= 128 || memchr(line + n, '\\', len))
		return;
	memcpy(out, line + n, len);
	out[len] = 0;
}

/* The lines that open a stream (systemd's "stdout" protocol), as the program or its launcher wrote them. */
static void read_header(const struct inspect_lead *l, pid_t owner, char out[OUT_HEADER_BYTES])
{
	struct header h = { .priority = LOG_INFO, .prefix = 1 };
	char path[96], line[256];
	struct stat st;

	inspect_comm(owner, h.identifier);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", l->pid, l->fd);
	if (stat(path, &st) < 0)
		st.st_dev = 0;
	snprintf(path, sizeof(path), STREAMS_DIR "/%lu:%lu", (unsigned long)st.st_dev,
	         (unsigned long)l->peer_inode);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		take_text(line, "IDENTIFIER=", h.identifier);
		take_text(line, "UNIT=", h.unit);
		sscanf(line, "PRIORITY=%d", &h.priority);
		sscanf(line, "LEVEL_PREFIX=%d", &h.prefix);
		sscanf(line, "FORWARD_TO_SYSLOG=%d", &h.forward[0]);
		sscanf(line, "FORWARD_TO_KMSG=%d", &h.forward[1]);
		sscanf(line, "FORWARD_TO_CONSOLE=%d", &h.forward[2]);
	}
	printable(h.identifier);
	printable(h.unit);
	snprintf(out, OUT_HEADER_BYTES, "%s\n%s\n%d\n%d\n%d\n%d\n%d\n", h.identifier, h.unit,
	         h.priority, h.prefix, h.forward[0], h.forward[1], h.forward[2]);
}

static void set_external(const struct inspect_lead *l, struct out *o)
{
	switch (l->kind) {
	case REFIT_UNIX:
		snprintf(o->external, sizeof(o->external), "unix[%llu]",
		         (unsigned long long)l->inode);
		break;
	case REFIT_TTY:
		snprintf(o->external, sizeof(o->external), "tty[%llx:%llx]",
		         (unsigned long long)l->rdev, (unsigned long long)l->dev);
		break;
	default:
		if (l->unseen)
			snprintf(o->external, sizeof(o->external), "file[%x:%llx]",
			         (unsigned int)l->mnt_id, (unsigned long long)l->inode);
	}
}

/* Can this rule be applied to this kind of file? Return: 1 it can; else as inspect_say() */
static int is_possible(struct inspect *i, const struct inspect_lead *l, const struct out *o)
{
	if (o->to == OUT_TO_UNIX && l->kind != REFIT_UNIX)
		return inspect_say(i, SEV_BLOCKER, "map-wrong",
		                   "replace it by file:PATH, null or close",
		                   "%s is not a UNIX socket and cannot become one", l->what);
	if (o->to != OUT_TO_TTY)
		return 1;
	for (size_t k = 0; k < i->outs.n; k++)
		if (i->outs.v[k].to == OUT_TO_TTY && i->outs.v[k].rdev != l->rdev)
			return inspect_say(i, SEV_BLOCKER, "terminal",
			                   "give the other a rule by its number: --map=fd:N=null",
			                   "%s is a second terminal; only one can be attached",
			                   l->what);
	return 1;
}

int inspect_out(struct inspect *i, const struct inspect_lead *l)
{
	struct out o = { .refit = { .pid = l->pid, .fd = l->fd, .kind = l->kind },
		         .reads = l->reads && !l->writes,
		         .sock_type = l->sock_type };
	char text[OUT_PATH_BYTES + 48];

	if (!from_rule(i, l, &o))
		return 0;
	int r = is_possible(i, l, &o);

	if (r != 1)
		return r < 0 ? r : 1;
	if (l->kind == REFIT_PIPE || l->kind == REFIT_UNIX)
		o.refit.inode = l->inode;
	o.reads &= o.to == OUT_TO_FILE;
	o.owner = l->owner ? l->owner : l->pid;
	if (o.to == OUT_TO_JOURNAL)
		read_header(l, o.owner, o.header);
	if (o.to == OUT_TO_TTY) {
		o.rdev = l->rdev;
		o.dev = l->dev;
	}
	set_external(l, &o);
	r = outs_add(&i->outs, &o);
	if (r == -E2BIG)
		r = inspect_say(i, SEV_BLOCKER, "map-many",
		                "replace several of them by one file, null or close",
		                "more than %u different descriptors are mapped", CRIU_INHERIT_MAX);
	if (r < 0)
		return r;
	outs_text(&o, text, sizeof(text));
	r = inspect_say(i, SEV_INFO, o.to == OUT_TO_CLOSE ? "left-behind" : "mapped", NULL,
	                "%s %s at the destination", l->what, text);
	return r < 0 ? r : 1;
}

int inspect_rules_unused(struct inspect *i)
{
	const struct out_rules *rules = i->net.rules;
	int r = 0;

	for (size_t k = 0; r == 0 && rules && k < rules->n; k++)
		if (rules->v[k].by == OUT_BY_FD && !(i->rules_used >> k & 1))
			r = inspect_say(i, SEV_BLOCKER, "map-unused",
			                "haul check without it lists the descriptors that are "
			                "connected to other processes",
			                "descriptor %d is mapped, but no descriptor with that "
			                "number is connected to another process or can be replaced",
			                rules->v[k].fd);
	return r;
}

/* ---- files that a launcher left open ---- */

struct inspect_stray {
	pid_t pid;
	int fd;
	uint64_t dev, inode;
};

static int note_files(struct inspect *i, pid_t pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));) {
		if (!isdigit((unsigned char)de->d_name[0]) ||
		    fstatat(dirfd(d), de->d_name, &st, 0) < 0)
			continue;
		if (array_grow(&i->strays.v, i->strays.n, &i->strays.cap, sizeof(*i->strays.v)) < 0)
			return -ENOMEM;
		i->strays.v[i->strays.n++] = (struct inspect_stray){
			.pid = pid, .fd = atoi(de->d_name), .dev = st.st_dev, .inode = st.st_ino
		};
	}
	return 0;
}

int inspect_ancestors(struct inspect *i)
{
	pid_t pid = procs_parent(i->root);
	int r = 0;

	for (int n = 0; r == 0 && pid > 0 && n < ANCESTORS_MAX; n++, pid = procs_parent(pid))
		r = note_files(i, pid);
	return r;
}

pid_t inspect_inherited(const struct inspect *i, pid_t pid, int fd, const struct stat *st)
{
	for (size_t k = 0; fd > 2 && k < i->strays.n; k++) {
		const struct inspect_stray *s = &i->strays.v[k];

		if (s->dev == st->st_dev && s->inode == st->st_ino &&
		    syscall(SYS_kcmp, pid, s->pid, KCMP_FILE, fd, s->fd) == 0)
			return s->pid;
	}
	return 0;
}
