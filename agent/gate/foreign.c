// SPDX-License-Identifier: GPL-2.0-or-later
/* foreign.c - files of /proc of other processes, and ports for root, in the hands of a restored process. */
#include "agent/gate/foreign.h"

#include <linux/capability.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "agent/berth/berth.h"
#include "agent/check/check.h"
#include "agent/mig/mig.h"
#include "engine/images/held.h"
#include "engine/images/img.h"
#include "engine/proc/proc.h"

/* The kernel's rule for looking into another process: the same user and groups in all places, and no more capabilities. */
static bool may_look(const struct rights_id *id, const struct img_creds *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->uids); i++)
		if (c->uids[i] != id->uid || c->gids[i] != id->gid)
			return false;
	return !(c->caps_any & ~id->caps);
}

int foreign_proc(const struct wrk *w, pid_t pid, const struct rights_id *id, const char *path)
{
	struct err ignore = ERR_INIT;
	struct img_creds c;
	char rest;
	int n;

	if (rights_is_root(id) || sscanf(path, "/proc/%d/%c", &n, &rest) != 2 ||
	    berth_pid(w, n) == pid || img_creds(w->images_fd, n, &c, &ignore) < 0)
		return 0;
	bool may = may_look(id, &c) && img_dumpable(w->images_fd, n);

	img_creds_fini(&c);
	return may ? 0 : -EACCES;
}

int foreign_port(pid_t pid, int fd, const struct rights_id *id, unsigned int *port)
{
	AUTO(fd) int copy = procs_copy_fd(pid, fd);
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} a;
	socklen_t n = sizeof(a);

	if (copy < 0 || getsockname(copy, &a.any, &n) < 0)
		return -errno;
	*port = a.any.sa_family == AF_INET    ? ntohs(a.four.sin_port)
	        : a.any.sa_family == AF_INET6 ? ntohs(a.six.sin6_port)
	                                      : 0;
	return !*port || *port >= ports_lowest() || id->caps >> CAP_NET_BIND_SERVICE & 1 ? 0
	                                                                                 : -EACCES;
}
