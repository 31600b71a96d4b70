// SPDX-License-Identifier: GPL-2.0-or-later
/* save.c - an archive as a destination: opened, dialled, freed. docs/ARCHIVE.md. */
#include "hauler/save/priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "archive/archive.pb-c.h"
#include "common/clock.h"
#include "engine/images/img.h"
#include "hauler/mig/mig.h"

#define SOCK_BYTES   (2 << 20)
#define SAY_LIMIT_MS 60000

const char *save_path(const char *dest)
{
	size_t n = sizeof(SAVE_PREFIX) - 1;

	return dest && !strncmp(dest, SAVE_PREFIX, n) ? dest + n : NULL;
}

static void *serve(void *arg)
{
	save_talk(arg);
	return NULL;
}

/* Return: a slot with a channel on @fd, served by a thread; -errno. @fd: taken */
static int new_conn(struct save *s, int fd, struct err *e)
{
	struct chan *ch = NULL;
	int r = chan_plain(&ch, fd, "haul", e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	struct conn *c = s->n_conns < SAVE_CONNS_MAX ? &s->conn[s->n_conns] : NULL;

	if (c) {
		*c = (struct conn){ .s = s, .ch = ch };
		r = pthread_create(&c->thread, NULL, serve, c);
		s->n_conns += r == 0;
	}
	pthread_mutex_unlock(&s->lock);
	if (c && r == 0)
		return 0;
	chan_free(ch);
	return err_set(e, ERR_SYS, r ? r : EMFILE, "no thread for the archive");
}

static int dial(void *arg, uint64_t route, struct err *e)
{
	struct save *s = arg;
	int sk[2], bytes = SOCK_BYTES;

	(void)route;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sk) < 0)
		return err_sys(e, "socketpair");
	setsockopt(sk[0], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	int r = new_conn(s, sk[1], e);

	if (r < 0)
		close(sk[0]);
	return r < 0 ? r : sk[0];
}

static int make(struct mig *m, struct save **out, struct err *e)
{
	struct save *s = calloc(1, sizeof(*s));

	if (s)
		s->path = strdup(save_path(m->opt->dest));
	if (!s || !s->path) {
		free(s);
		return err_set(e, ERR_SYS, ENOMEM, "no memory for an archive");
	}
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->decided, NULL);
	s->images_fd = -1;
	*out = m->save = s;
	m->link.dial = dial;
	m->link.dial_arg = s;
	return 0;
}

int save_attach(struct mig *m, struct err *e)
{
	struct save *s;

	return save_path(m->opt->dest) ? make(m, &s, e) : 0;
}

int save_begin(struct mig *m, struct err *e)
{
	struct save *s;

	if (!save_path(m->opt->dest))
		return 0;
	int r = make(m, &s, e);

	if (r < 0)
		return r;
	s->owned = m->opt->user.owned;
	s->owner = m->opt->user.owner;
	s->keep = m->opt->archive.keep;
	s->ends = m->opt->archive.end;
	s->mark_left = m->opt->archive.stop ? ARCHIVE__MARK__MARK_STOPPED
	                                    : ARCHIVE__MARK__MARK_RUNNING;
	if (getrandom(s->secret, sizeof(s->secret), 0) != sizeof(s->secret) ||
	    getrandom(&s->route, sizeof(s->route), 0) != sizeof(s->route))
		return err_sys(e, "getrandom");
	r = archive_open(&s->a, s->path, ARCHIVE_MAKE, e);
	return r < 0 ? r : img_dir(&s->images_fd, e);
}

/* Not talk_expect(): this is said in a state in which a host may say nothing. */
int save_wait(struct mig *m, struct err *e)
{
	int r = 0, kind = 0;

	while (r == 0 && kind != HAUL__MSG__BODY_RESTORED) {
		Haul__Msg *msg = NULL;

		r = wire_recv(m->link.ctl, &msg, DEADLINE_NEVER, e);
		if (r < 0)
			break;
		kind = (int)msg->body_case;
		if (kind == HAUL__MSG__BODY_ABORT) {
			r = err_set(e, ERR_SYS, (int)msg->abort->code, "%s", msg->abort->reason);
			err_fix(e, "%s", msg->abort->remedy);
		}
		haul__msg__free_unpacked(msg, NULL);
	}
	wire_say(m->link.ctl, HAUL__MSG__BODY_BYE, NULL, deadline_in_ms(SAY_LIMIT_MS),
	         &(struct err)ERR_INIT);
	return r;
}

bool save_stop(struct save *s)
{
	if (!s)
		return true;
	pthread_mutex_lock(&s->lock);
	bool can = !s->writing;

	s->stop = can;
	pthread_cond_broadcast(&s->decided);
	pthread_mutex_unlock(&s->lock);
	return can;
}

void save_go(struct save *s)
{
	pthread_mutex_lock(&s->lock);
	s->go = true;
	pthread_cond_broadcast(&s->decided);
	pthread_mutex_unlock(&s->lock);
}

void save_figures(struct mig *m)
{
	if (!m->save || !m->save->a)
		return;
	m->fig.archive.state = m->save->number;
	m->fig.archive.bytes = archive_bytes(m->save->a);
}

void save_free(struct save *s)
{
	if (!s)
		return;
	save_stop(s);
	/* nothing dials any more, so the number stays */
	for (unsigned int i = 0; i < s->n_conns; i++)
		chan_cancel(s->conn[i].ch);
	for (unsigned int i = 0; i < s->n_conns; i++) {
		pthread_join(s->conn[i].thread, NULL);
		chan_free(s->conn[i].ch);
	}
	if (s->state)
		archive__state__free_unpacked(s->state, NULL);
	save_pages_free(s);
	save_files_free(s);
	archive_free(s->a);
	auto_fd(&s->images_fd);
	pthread_cond_destroy(&s->decided);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}
