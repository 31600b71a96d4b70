// SPDX-License-Identifier: GPL-2.0-or-later
/* hints.c - what open files have that is lost, and that only the kernel's memory tells: each is named. */
#include "hauler/inspect/priv.h"

#include <fcntl.h>

#include "common/log.h"
#include "engine/criu/filelook.h"
#include "hauler/inspect/tree/tree.h"

#define SET_AGAIN "the program has to set it again after the move"

/* Who watches a directory by F_NOTIFY is who gets its signals; no other use of directories has an owner. */
static bool is_notified(pid_t pid, const struct filelook_seen *s)
{
	AUTO(fd) int fd = s->watched ? procs_copy_fd(pid, s->fd) : -1;

	return fd >= 0 && fcntl(fd, F_GETOWN) != 0;
}

struct place {
	struct inspect *i;
	pid_t pid;
	int fd;
};

static int say(const struct place *p, enum severity severity, const char *code, const char *remedy,
               const char *what)
{
	return inspect_say(p->i, severity, code, remedy, "descriptor %d of pid %d is a %s", p->fd,
	                   p->pid, what);
}

static int look_file(const struct place *p, const struct filelook_seen *s)
{
	int r = 0;

	if (is_notified(p->pid, s))
		r = say(p, SEV_WARNING, "directory-notify",
		        "the program has to ask for it again after the move; inotify(7) does the "
		        "same and moves",
		        "directory of whose changes it is told by signals (F_NOTIFY), and is not "
		        "at the destination");
	if (r == 0 && s->write_hint)
		r = say(p, SEV_INFO, "write-hint", NULL,
		        "file with a hint of how long its data lasts (F_SET_RW_HINT), and "
		        "without at the destination");
	if (r == 0 && s->random)
		r = say(p, SEV_INFO, "read-advice", NULL,
		        "file that is read in no order (POSIX_FADV_RANDOM); at the destination "
		        "the kernel reads ahead");
	return r;
}

static int look_socket(const struct place *p, const struct filelook_seen *s)
{
	int r = 0;

	if (s->reuse_program)
		r = say(p, SEV_WARNING, "reuseport-program",
		        "the program has to attach it again after the move",
		        "socket whose port a BPF program distributes "
		        "(SO_ATTACH_REUSEPORT_CBPF, _EBPF); at the destination the kernel does");
	if (r == 0 && s->by_number)
		r = say(p, SEV_WARNING, "multicast-interface",
		        "the program has to set it again after the move; one that is chosen by an "
		        "address moves",
		        "socket that sends multicasts by an interface that was chosen by its "
		        "number (IP_MULTICAST_IF); at the destination the routes choose");
	if (r == 0 && s->flow_labels)
		r = say(p, SEV_WARNING, "flow-label", SET_AGAIN,
		        "socket with IPv6 flow labels (IPV6_FLOWLABEL_MGR), and without at the "
		        "destination");
	if (r == 0 && s->anycast)
		r = say(p, SEV_WARNING, "anycast", SET_AGAIN,
		        "socket in an IPv6 anycast group (IPV6_JOIN_ANYCAST), and in none at the "
		        "destination");
	if (r == 0 && s->ipsec)
		r = say(p, SEV_BLOCKER, "ipsec",
		        "let the program take it off before the move; a policy of the host "
		        "(ip-xfrm(8)) does the same",
		        "socket with an IPsec policy of its own (IP_XFRM_POLICY): at the "
		        "destination it would send in the clear");
	return r;
}

static int look(struct inspect *i, pid_t pid, const struct filelook_seen *s)
{
	const struct place p = { i, pid, s->fd };
	int r = look_file(&p, s);

	return r < 0 ? r : look_socket(&p, s);
}

static int look_process(struct inspect *i, const struct filelook *f, pid_t pid)
{
	AUTO(mem) struct filelook_seen *v = NULL;
	struct err why = ERR_INIT;
	size_t n = 0;
	int r = 0;

	if (filelook_read(f, pid, &v, &n, &why) < 0) {
		log_info("pid=%d: %s", pid, why.msg);
		return 0; /* it has ended */
	}
	for (size_t k = 0; r == 0 && k < n; k++)
		r = look(i, pid, &v[k]);
	return r;
}

int inspect_hints(struct inspect *i)
{
	AUTO(filelook) struct filelook *f = NULL;
	struct err why = ERR_INIT;
	int r = 0;

	if (i->foreign)
		return 0;
	if (filelook_new(&f, &why) < 0) {
		log_info("this kernel does not tell of hints: %s", why.msg);
		return 0;
	}
	for (size_t k = 0; r == 0 && k < i->procs.n; k++)
		if (!i->tasks[k].zombie)
			r = look_process(i, f, i->tasks[k].pid);
	return r;
}
