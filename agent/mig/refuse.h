/* SPDX-License-Identifier: GPL-2.0-or-later */
/* refuse.h - say no to a connection. */
#ifndef HAUL_AGENT_REFUSE_H
#define HAUL_AGENT_REFUSE_H

#include "common/err.h"

struct chan;

/** refuse_peer() - send ABORT with @why on any connection; blocks 10 s at most */
void refuse_peer(struct chan *ch, const struct err *why);

#endif
