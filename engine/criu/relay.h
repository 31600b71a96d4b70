/* SPDX-License-Identifier: GPL-2.0-or-later */
/* relay.h - the program that has wanted a CRIU, a container runtime, hears what that CRIU says. */
#ifndef HAUL_RELAY_H
#define HAUL_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct relay;

/** relay_new() - @rpc: taken. Return: NULL: no memory */
struct relay *relay_new(int rpc);
/** relay_rpc() - the connection to the other program */
int relay_rpc(const struct relay *r);
/**
 * relay_heard() - CRIU has said this
 * @notify: it waits for an answer: kept for relay_ask(); else it is passed on at once
 * @fd: that came with it; taken; -1: none
 */
void relay_heard(struct relay *r, const uint8_t *data, size_t bytes, bool notify, int fd);
/** relay_ask() - pass the notification on, once, and wait for the answer. Return: 0; -EPERM it refuses; -errno */
int relay_ask(struct relay *r, struct err *e);
/** relay_refuse() - tell it that CRIU has failed; it hears nothing more. @type: of its request */
void relay_refuse(struct relay *r, int type);
void relay_free(struct relay *r);

#endif
