/* SPDX-License-Identifier: GPL-2.0-or-later */
/* http.h - libmicrohttpd: listens and gives each request to its handler. */
#ifndef HAUL_AGENT_API_HTTP_H
#define HAUL_AGENT_API_HTTP_H

struct MHD_Daemon;
struct api;
struct route;

/**
 * http_start() - serve @routes on @fd, a socket that listens
 * @routes: ends with an empty one; must outlive the daemon
 * @cert, @key: PEM texts; NULL: without TLS
 * Return: NULL on failure
 */
struct MHD_Daemon *http_start(struct api *a, int fd, const char *cert, const char *key,
                              const struct route *routes);

#endif
