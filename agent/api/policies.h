/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policies.h - handlers for policies. */
#ifndef HAUL_AGENT_API_POLICIES_H
#define HAUL_AGENT_API_POLICIES_H

struct req;

int policies_list(struct req *q);
int policies_get(struct req *q);
int policies_put(struct req *q);
int policies_validate(struct req *q);

#endif
