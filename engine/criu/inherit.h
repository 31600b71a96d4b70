/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inherit.h - what a restored process would have from the program that started CRIU. */
#ifndef HAUL_ENGINE_CRIU_INHERIT_H
#define HAUL_ENGINE_CRIU_INHERIT_H

/**
 * inherit_clear() - give up what CRIU does not set and a restored process must not have from its ancestors
 * That is: the signal mask, the session keyring (a new one, with no keys), the out-of-memory score, timer slack, memory policy,
 * policy for memory errors, personality. docs/SECURITY.md lists the rest. Called between fork and exec:
 * async-signal-safe.
 * Return: 0; -errno: the keyring could not be replaced, nothing may be restored
 */
int inherit_clear(void);

#endif
