/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * systemctl.h - ask systemd about a service, tell it of one, and change its settings by drop-ins
 * while it moves.
 */
#ifndef HAUL_SYSTEMCTL_H
#define HAUL_SYSTEMCTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

#define SYSTEMCTL_UNIT_BYTES  128
#define SYSTEMCTL_VALUE_BYTES 512

/** systemctl_unit_ok() - is it a plain name of a service, NAME.service? */
bool systemctl_unit_ok(const char *unit);

/**
 * systemctl_show() - "systemctl show", 10 s at most
 * @properties: "--property=A,B"
 * Return: 0; -ETIMEDOUT; -EPROTO; -errno: there is no systemctl
 */
int systemctl_show(const char *unit, const char *properties, char *out, size_t bytes);
/** systemctl_value() - the value of @key in what systemctl_show() has put out; empty: none */
void systemctl_value(const char *text, const char *key, char *out, size_t bytes);
/** systemctl_us() - a time span as systemd prints it, "1min 30s", in us; 0: none, infinity */
uint64_t systemctl_us(const char *text);
/** systemctl_run() - "systemctl --no-block @verb @unit", 90 s at most. @unit: NULL: none */
int systemctl_run(const char *verb, const char *unit, struct err *e);
/** systemctl_notify() - what process @pid would say by sd_notify(). For root. Return: 0; -errno */
int systemctl_notify(pid_t pid, const char *text);

enum systemctl_change {
	SYSTEMCTL_LEAVING, /* it is not started again, its end by SIGKILL is none; gone after a reboot */
	SYSTEMCTL_AWAY, /* it has moved: not started again after a reboot either */
	SYSTEMCTL_ARRIVING, /* it runs what a text says */
};

/**
 * systemctl_change() - write the drop-in, for the next "daemon-reload"
 * @command: SYSTEMCTL_ARRIVING: of ExecStart=
 */
int systemctl_change(const char *unit, enum systemctl_change what, const char *command,
                     struct err *e);
/** systemctl_unchange() - remove it. Return: was it there? */
bool systemctl_unchange(const char *unit, enum systemctl_change what);
/** systemctl_mark() - SYSTEMCTL_LEAVING, _AWAY: from now on @unit cannot be started. @on: false: again */
int systemctl_mark(const char *unit, enum systemctl_change what, bool on, struct err *e);
/** systemctl_hold() - lock the drop-in SYSTEMCTL_LEAVING against systemctl_sweep(). Return: fd; -errno */
int systemctl_hold(const char *unit);
/** systemctl_sweep() - remove those that a dead haul has left, of units that have not moved. Return: how many */
unsigned int systemctl_sweep(void);

#endif
