/* SPDX-License-Identifier: GPL-2.0-or-later */
/* conn.h - connections: how many, and how long a request may take to arrive. */
#ifndef HAUL_AGENT_API_CONN_H
#define HAUL_AGENT_API_CONN_H

#include <stdbool.h>

struct MHD_Connection;

/** conn_notify() - a connection begins or ends (MHD_OPTION_NOTIFY_CONNECTION) */
void conn_notify(void *arg, struct MHD_Connection *c, void **context, int what);
/** conn_busy() - @busy: its request has arrived and is being answered; else the answer is sent */
void conn_busy(struct MHD_Connection *c, bool busy);
/** conn_tick() - end connections whose request takes too long to arrive; call now and then */
void conn_tick(void);
/** conn_recent() - was one opened or served just now? Its request or answer may be under way */
bool conn_recent(void);

#endif
