/* SPDX-License-Identifier: GPL-2.0-or-later */
/* imgs.h - CRIU's images on their way to the destination. */
#ifndef HAUL_IMGS_H
#define HAUL_IMGS_H

#include "hauler/hauler.h"
#include "transport/haul.pb-c.h"

struct imgs {
	Haul__Image **v;
	size_t n, bytes;
};

/** imgs_send_large() - those too large for SWITCH (deleted files), in parts */
int imgs_send_large(struct mig *m, struct err *e);
/** imgs_load() - all others */
int imgs_load(struct mig *m, struct imgs *l, struct err *e);
void imgs_fini(struct imgs *l);

#endif
