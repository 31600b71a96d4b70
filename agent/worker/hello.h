/* SPDX-License-Identifier: GPL-2.0-or-later */
/* hello.h - the first message of a migration. */
#ifndef HAUL_AGENT_HELLO_H
#define HAUL_AGENT_HELLO_H

struct wrk;
struct Haul__Msg;
struct err;

/** hello_take() - agree on a version, make the secret, describe this host when asked; answers HELLO */
int hello_take(struct wrk *w, const struct Haul__Msg *msg, struct err *e);

#endif
