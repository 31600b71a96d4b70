/* SPDX-License-Identifier: GPL-2.0-or-later */
/* post.h - what hauld and its porter say to each other, over a socket that keeps messages apart. */
#ifndef HAUL_AGENT_PORTER_POST_H
#define HAUL_AGENT_PORTER_POST_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/porter/crowd.h"
#include "transport/gate.h"

#define POST_FD 3 /* of the porter */

/* hauld: a guest, with its socket; or the answer to a question */
struct post_down {
	bool guest, yes; /* yes: the key is authorized, and this is a ticket for it */
	uint32_t slot, serial; /* of the question */
	struct crowd_one who;
	struct ticket ticket;
};

/* The porter: may who has this key log in? */
struct post_up {
	uint32_t slot, serial;
	char print[80]; /* "SHA256:..." */
};

#endif
