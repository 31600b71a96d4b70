/* SPDX-License-Identifier: GPL-2.0-or-later */
/* facts.h - what of a container matters to its move, as podman tells it. */
#ifndef HAUL_FACTS_H
#define HAUL_FACTS_H

#include <stddef.h>

#include "common/err.h"
#include "common/finding.h"
#include "engine/container/container.h"

#define FACTS_ITEMS_MAX 64
#define FACTS_BYTES     16384

/* Lists are of texts in @said. */
struct facts_list {
	char *v[FACTS_ITEMS_MAX];
	size_t n;
};

struct facts {
	struct facts_list nets, volumes, binds, ports, devices;
	char *version, *storage; /* of podman: its number; the storage's driver and folders */
	char said[FACTS_BYTES], host[FACTS_BYTES];
	char *oci, *unit, *depends, *health, *terminal;
};

/** facts_ask() - of @c and of podman here; nothing of a container of another runtime. Return: 0; -errno */
int facts_ask(const struct container *c, struct facts *out, struct err *e);
/** facts_judge() - what of it cannot move, or is lost. Return: 0; -ENOMEM */
int facts_judge(const struct container *c, const struct facts *f, struct findings *out);
/** facts_host() - @version and @storage of podman on this host only */
int facts_host(struct facts *out, struct err *e);
/** facts_has() - does podman here have the @kind "network" or "volume" of this name? Return: 1, 0; -errno */
int facts_has(const char *kind, const char *name, struct err *e);

#endif
