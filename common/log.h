/* SPDX-License-Identifier: GPL-2.0-or-later */
/* log.h - key=value log lines on stderr, in the form of systemd's journal where it reads them. */
#ifndef HAUL_LOG_H
#define HAUL_LOG_H

#include <stdint.h>

enum log_level { LOG_ERR_, LOG_WARN_, LOG_INFO_, LOG_DEBUG_ };

/** log_setup() - lines above @max are dropped; call once, before threads */
void log_setup(const char *program, enum log_level max);

/** log_migration() - set the ID that each further line carries as mig=; 0: none */
void log_migration(uint64_t id);

/** log_line() - one line with level and time to stderr, and to the journal if there is one */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...)   log_line(LOG_ERR_, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN_, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO_, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG_, __VA_ARGS__)

#endif
