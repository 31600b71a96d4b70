// SPDX-License-Identifier: GPL-2.0-or-later
/* land.c - the berth that a haul land offers: the tree becomes its child, in its cgroup. */
#include "agent/berth/priv.h"

#include <string.h>
#include <sys/socket.h>

#include "common/log.h"
#include "engine/proc/proc.h"
#include "transport/msg/haul.pb-c.h"

static int no_berth(struct findings *f, const char *key, struct err *e)
{
	int r = finding_add(f, SEV_BLOCKER, "no-berth", "start haul land --as=KEY there, as root",
	                    "no haul land of root waits under %s at the destination", key);

	return r < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory for findings") : 0;
}

static int check(const Haul__Offer *o, const struct stand_msg *m, struct findings *f)
{
	if (m->pid)
		return finding_add(
		        f, SEV_BLOCKER, "berth-taken", "choose another key",
		        "the haul land that has landed under %s at the destination has a "
		        "program (pid %d) already",
		        o->land, m->pid);
	if (o->owned && m->owner != o->owner)
		return finding_add(f, SEV_BLOCKER, "berth-owner",
		                   "start haul land there with --owner=N",
		                   "the haul land under %s at the destination does not take what "
		                   "user %u moves",
		                   o->land, o->owner);
	if (o->into_root[0])
		return finding_add(f, SEV_BLOCKER, "berth-root", "leave out one of them",
		                   "--into-root and --as cannot be combined");
	return 0;
}

static int no_unit(struct findings *f, struct err *e)
{
	int r = finding_add(f, SEV_BLOCKER, "berth-unit", "leave out --as",
	                    "--as cannot be combined with a service of systemd's");

	return r < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory for findings") : 0;
}

static int offer(struct wrk *w, const Haul__Offer *o, struct findings *f, struct err *e)
{
	struct stand_mail mail = { .m.word = STAND_ASK };
	struct err why = ERR_INIT;
	pid_t pid;

	if (!stand_key_ok(o->land))
		return err_set(e, ERR_PEER, EBADMSG, "a key with a bad name");
	if (o->unit[0])
		return no_unit(f, e);
	snprintf(w->berth->key, sizeof(w->berth->key), "%s", o->land);
	AUTO(fd) int fd = stand_landed(o->land, &pid);

	if (fd < 0 || stand_ask(fd, &mail, STAND_LIMIT_MS, &why) < 0)
		return no_berth(f, o->land, e);
	stand_drop(&mail);
	return check(o, &mail.m, f) < 0 ? err_set(e, ERR_SYS, ENOMEM, "no memory for findings") : 0;
}

static int start(struct wrk *w, struct err *e)
{
	struct stand_mail mail = { .m = { .word = STAND_CLAIM, .route = w->route } };
	pid_t pid;
	AUTO(fd) int fd = stand_landed(w->berth->key, &pid);

	if (fd < 0)
		return err_set(e, ERR_TARGET, ENOENT, "the haul land under %s has ended",
		               w->berth->key);
	if (stand_ask(fd, &mail, STAND_LIMIT_MS, e) < 0)
		return err_code(e);
	if (mail.n_fds != STAND_STREAMS) {
		stand_drop(&mail);
		return err_set(e, ERR_SYS, EPROTO, "haul land gives %zu pipes", mail.n_fds);
	}
	memcpy(w->berth->stream, mail.fd, sizeof(w->berth->stream));
	w->keep->berth_fd = steal_fd(&fd);
	w->keep->berth_pid = pid;
	w->keep->berth_start = procs_start(pid);
	guard_keep(w->guard, w->keep->berth_fd);
	return 0;
}

static int spawn(struct wrk *w, const char *root, const struct criu_inherit *v, size_t n,
                 struct err *e)
{
	struct stand_mail mail = { .m = { .word = STAND_SPAWN, .route = w->route },
		                   .n_fds = n + 1 };
	int ends[2];

	(void)root; /* check() has refused one */
	if (n + 1 > STAND_FDS_MAX)
		return err_set(e, ERR_BUG, E2BIG, "%zu descriptors for CRIU", n);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return err_sys(e, "socketpair");
	AUTO(fd) int ours = ends[0];
	AUTO(fd) int theirs = ends[1];

	mail.fd[0] = theirs;
	for (size_t i = 0; i < n; i++)
		mail.fd[i + 1] = v[i].fd;
	snprintf(mail.m.text, sizeof(mail.m.text), "%s", w->conf->criu_path);
	if (stand_ask(w->keep->berth_fd, &mail, STAND_LIMIT_MS, e) < 0)
		return err_wrap(e, "haul land");
	stand_drop(&mail);
	int r = criu_adopt(&w->criu, ours, mail.m.pid, e);

	if (r == 0)
		steal_fd(&ours);
	return r;
}

static int gate(struct wrk *w, struct err *e)
{
	struct stand_mail mail = {
		.m = { .word = STAND_GATE, .route = w->route, .pid = w->root_pid }
	};

	return stand_ask(w->keep->berth_fd, &mail, w->limit_ms, e); /* the tree is stopped */
}

static void tell(struct wrk *w, enum stand_word word)
{
	struct stand_mail mail = { .m = { .word = word, .route = w->route, .pid = w->root_pid } };
	int r = w->keep->berth_fd < 0 ? 0 : stand_say(w->keep->berth_fd, &mail);

	if (r < 0)
		log_warn("haul land is not told: %s", strerror(-r));
}

static void runs(struct wrk *w)
{
	tell(w, STAND_RUNS);
}

static void undo(struct wrk *w)
{
	tell(w, STAND_UNDO);
}

const struct berth_kind land_kind = {
	.name = "land",
	.offer = offer,
	.start = start,
	.spawn = spawn,
	.gate = gate,
	.runs = runs,
	.undo = undo,
};
