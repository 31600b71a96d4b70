/* SPDX-License-Identifier: GPL-2.0-or-later */
/* web.h - an archive behind a URL, read by range requests. */
#ifndef HAUL_ARCHIVE_WEB_H
#define HAUL_ARCHIVE_WEB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct web;

/** web_is() - is @path a URL of HTTP or HTTPS? */
bool web_is(const char *path);
/** web_trust() - the file of certificates for all that is opened later. @ca: borrowed; NULL: the system's */
void web_trust(const char *ca);
/** web_open() - ask for the first bytes, to learn the size. Return: 0; -EIO; -ENOTSUP: no ranges there */
int web_open(struct web **out, const char *url, struct err *e);
/** web_read() - exactly @bytes from @at on; thread-safe. Return: 0; -ENODATA: it ends before; -EIO */
int web_read(struct web *w, uint64_t at, void *buf, size_t bytes, struct err *e);
/** web_bytes() - how long the file is */
uint64_t web_bytes(const struct web *w);
/** web_close() - takes NULL */
void web_close(struct web *w);

#endif
