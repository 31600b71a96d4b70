/* SPDX-License-Identifier: GPL-2.0-or-later */
/* policies.h - handlers for policies. */
#ifndef HAUL_AGENT_API_POLICIES_H
#define HAUL_AGENT_API_POLICIES_H

struct req;

/** policies_list() - GET /v1/policies. Return: MHD_YES; MHD_NO closes the connection */
int policies_list(struct req *q);
/** policies_get() - GET of one policy; 404 if there is none */
int policies_get(struct req *q);
/** policies_put() - PUT of one policy: stored in the folder of the administrator */
int policies_put(struct req *q);
/**
 * policies_validate() - POST: check a policy that is not stored; answers its faults by line and
 * key
 */
int policies_validate(struct req *q);

#endif
