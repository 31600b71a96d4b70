// SPDX-License-Identifier: GPL-2.0-or-later
/* sockets.c - options and multicast groups of the tree's sockets, read for the destination. */
#include "hauler/mig/sockets.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/array.h"
#include "common/auto.h"
#include "common/log.h"
#include "engine/net/net.h"
#include "engine/net/sockopts.h"
#include "engine/proc/inner.h"
#include "engine/proc/proc.h"
#include "transport/msg/haul.pb-c.h"
#include "transport/msg/wire.h"

/* ---- every socket of the tree, once ---- */

struct sockets {
	struct net_place *v; /* without an inode: it takes events of files (inotify) */
	size_t n, cap;
	void *seen; /* for tsearch(): inodes in the place of pointers */
};

static int by_inode(const void *a, const void *b)
{
	uintptr_t m = (uintptr_t)a, n = (uintptr_t)b;

	return m < n ? -1 : m > n;
}

static void keep(void *inode)
{
	(void)inode;
}

static bool is_new(struct sockets *k, uintptr_t inode)
{
	const void *key = (const void *)inode;

	return !tfind(key, &k->seen, by_inode) && tsearch(key, &k->seen, by_inode);
}

static int note_process(struct sockets *k, pid_t pid)
{
	char path[32], link[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));) {
		unsigned long long inode = 0;
		ssize_t n = readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1);

		link[n > 0 ? n : 0] = 0;
		if (strcmp(link, "anon_inode:inotify") != 0 &&
		    (sscanf(link, "socket:[%llu]", &inode) != 1 || !is_new(k, inode)))
			continue;
		if (array_grow(&k->v, k->n, &k->cap, sizeof(*k->v)) < 0)
			return -ENOMEM;
		k->v[k->n++] = (struct net_place){ pid, atoi(de->d_name), inode };
	}
	return 0;
}

int sockets_note(struct sockets **out, pid_t root, struct err *e)
{
	AUTO(sockets) struct sockets *k = calloc(1, sizeof(*k));
	AUTO(procs) struct proc_list l = { 0 };
	int r = k ? procs_tree(root, &l, e) : err_set(e, ERR_SYS, ENOMEM, "no memory");

	for (size_t i = 0; r == 0 && i < l.n; i++)
		if (procs_lives(l.pid[i]) && (r = note_process(k, l.pid[i])) < 0)
			err_set(e, ERR_SYS, -r, "sockets of process %d: %s", l.pid[i],
			        strerror(-r));
	if (r == 0)
		*out = steal(k);
	return r;
}

void sockets_free(struct sockets *k)
{
	if (!k)
		return;
	tdestroy(k->seen, keep);
	free(k->v);
	free(k);
}

const struct net_place *sockets_places(const struct sockets *k, size_t *n)
{
	*n = k->n;
	return k->v;
}

/* Events in the queue of an inotify descriptor do not move. */
static void tell_lost(const struct net_place *p, int fd)
{
	int bytes = 0;

	if (ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0)
		log_warn("descriptor %d of pid %d: %d bytes of inotify events that the program has "
		         "not "
		         "read are lost",
		         p->number, p->pid, bytes);
}

/* @fd: a copy of the descriptor. Return: 0 to go on; -errno ends it */
typedef int (*socket_fn)(void *arg, const struct net_place *p, int fd);

/* @stopped: the tree is: then lost events are told */
static int each_socket(const struct sockets *k, bool stopped, socket_fn fn, void *arg,
                       struct err *e)
{
	AUTO(fd) int pidfd = -1;
	int r = 0;

	for (size_t i = 0; r == 0 && i < k->n; i++) {
		const struct net_place *p = &k->v[i];

		if (i == 0 || p->pid != k->v[i - 1].pid) {
			if (pidfd >= 0)
				close(steal_fd(&pidfd));
			pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
		}
		AUTO(fd)
		int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, p->number, 0);

		if (fd >= 0 && !p->inode && stopped)
			tell_lost(p, fd);
		if (fd < 0 || !p->inode)
			continue;
		r = fn(arg, p, fd);
		if (r < 0)
			err_set(e, ERR_SYS, -r, "sockets of process %d: %s", p->pid, strerror(-r));
	}
	return r;
}

/* Room for one more pointer in an array that has @n: it doubles. */
static int grow(void *array, size_t n)
{
	if (n & (n - 1))
		return 0;
	void **v = realloc(*(void **)array, (n ? 2 * n : 1) * sizeof(void *));

	if (!v)
		return -ENOMEM;
	*(void **)array = v;
	return 0;
}

/* ---- OFFER ---- */

struct offer {
	Haul__Offer *o;
	struct findings *out;
	struct sockopts v;
};

static int add_iface(Haul__Offer *o, const char *name)
{
	for (size_t k = 0; k < o->n_iface; k++)
		if (!strcmp(o->iface[k], name))
			return 0;
	if (grow(&o->iface, o->n_iface) < 0 || !(o->iface[o->n_iface] = strdup(name)))
		return -ENOMEM;
	o->n_iface++;
	return 0;
}

static int offer_socket(void *arg, const struct net_place *p, int fd)
{
	struct offer *f = arg;
	char text[INET6_ADDRSTRLEN];

	if (sockopts_read(fd, &f->v) < 0)
		return 0;
	if (f->v.iface[0] && add_iface(f->o, f->v.iface) < 0)
		return -ENOMEM;
	for (size_t k = 0; k < f->v.n; k++) {
		const char *name = sockopts_iface(&f->v.v[k]);

		if (name && add_iface(f->o, name) < 0)
			return -ENOMEM;
	}
	for (size_t k = 0; k < f->v.n_group; k++) {
		const struct sockopts_group *g = &f->v.group[k];

		inet_ntop(g->bytes == 4 ? AF_INET : AF_INET6, g->addr, text, sizeof(text));
		if (add_iface(f->o, g->iface) < 0 ||
		    finding_add(
		            f->out, SEV_INFO, "multicast", NULL,
		            "descriptor %d of pid %d is in the multicast group %s on %s; at the "
		            "destination it joins the group on the interface of that name",
		            p->number, p->pid, text, g->iface) < 0)
			return -ENOMEM;
	}
	return 0;
}

int sockets_offer(pid_t root, Haul__Offer *o, struct findings *out, struct err *e)
{
	AUTO(mem) struct offer *f = calloc(1, sizeof(*f));
	AUTO(sockets) struct sockets *k = NULL;

	if (!f)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	f->o = o;
	f->out = out;
	int r = sockets_note(&k, root, e);

	return r < 0 ? r : each_socket(k, false, offer_socket, f, e);
}

void sockets_offer_free(Haul__Offer *o)
{
	for (size_t k = 0; k < o->n_iface; k++)
		free(o->iface[k]);
	free(o->iface);
	o->iface = NULL;
	o->n_iface = 0;
}

/* ---- SWITCH ---- */

static int add_option(Haul__Sock *s, const struct sockopt *v)
{
	Haul__Sockopt *o = malloc(sizeof(*o));

	if (!o || grow(&s->option, s->n_option) < 0) {
		free(o);
		return -ENOMEM;
	}
	haul__sockopt__init(o);
	s->option[s->n_option++] = o;
	o->row = v->row;
	return wire_copy(&o->value, v->value, v->bytes);
}

static int add_group(Haul__Sock *s, const struct sockopts_group *g)
{
	Haul__Group *o = malloc(sizeof(*o));

	if (!o || grow(&s->group, s->n_group) < 0) {
		free(o);
		return -ENOMEM;
	}
	haul__group__init(o);
	s->group[s->n_group++] = o;
	o->exclude = g->exclude;
	char *name = strdup(g->iface);

	if (!name)
		return -ENOMEM;
	o->iface = name;
	if (wire_copy(&o->address, g->addr, g->bytes) < 0)
		return -ENOMEM;
	o->source = calloc(g->n_source + 1, sizeof(*o->source));
	if (!o->source)
		return -ENOMEM;
	for (size_t k = 0; k < g->n_source; k++, o->n_source++)
		if (wire_copy(&o->source[k], g->source[k], g->bytes) < 0)
			return -ENOMEM;
	return 0;
}

struct list {
	Haul__Switch *s;
	struct sockopts v;
};

static int switch_socket(void *arg, const struct net_place *p, int fd)
{
	struct list *l = arg;

	if (sockopts_read(fd, &l->v) <= 0)
		return 0;
	Haul__Sock *s = malloc(sizeof(*s));

	if (!s || grow(&l->s->sock, l->s->n_sock) < 0) {
		free(s);
		return -ENOMEM;
	}
	haul__sock__init(s);
	l->s->sock[l->s->n_sock++] = s;
	s->pid = (uint32_t)inner_of(p->pid);
	s->fd = (uint32_t)p->number;
	s->domain = (uint32_t)l->v.domain;
	s->type = (uint32_t)l->v.type;
	for (size_t k = 0; k < l->v.n; k++)
		if (add_option(s, &l->v.v[k]) < 0)
			return -ENOMEM;
	for (size_t k = 0; k < l->v.n_group; k++)
		if (add_group(s, &l->v.group[k]) < 0)
			return -ENOMEM;
	char *name = l->v.iface[0] ? strdup(l->v.iface) : NULL;

	if (name)
		s->iface = name;
	if (name && wire_copy(&s->from, l->v.from, sizeof(l->v.from)) < 0)
		return -ENOMEM;
	return name || !l->v.iface[0] ? 0 : -ENOMEM;
}

int sockets_switch(const struct sockets *k, Haul__Switch *s, struct err *e)
{
	AUTO(mem) struct list *l = calloc(1, sizeof(*l));

	if (!k)
		return 0;
	if (!l)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	l->s = s;
	return each_socket(k, true, switch_socket, l, e);
}

void sockets_switch_free(Haul__Switch *s)
{
	for (size_t i = 0; i < s->n_sock; i++)
		haul__sock__free_unpacked(s->sock[i], NULL);
	free(s->sock);
	s->sock = NULL;
	s->n_sock = 0;
}
