/* SPDX-License-Identifier: GPL-2.0-or-later */
/* here.h - does CRIU see this host's files as the worker does? */
#ifndef HAUL_AGENT_GATE_HERE_H
#define HAUL_AGENT_GATE_HERE_H

#include <stdbool.h>

struct wrk;

/**
 * here_is() - are the paths in the images those of this host, and is CRIU's /proc ours, with our number in it?
 * No for a tree that gets mounts, a root directory or a pid namespace of its own. CRIU has been started.
 */
bool here_is(const struct wrk *w);
/** here_has_mounts() - is there an image of a mount namespace? */
bool here_has_mounts(int images_fd);

#endif
