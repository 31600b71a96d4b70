/* SPDX-License-Identifier: GPL-2.0-or-later */
/* page.h - the page, and the OpenAPI document. */
#ifndef HAUL_AGENT_API_PAGE_H
#define HAUL_AGENT_API_PAGE_H

struct req;

/** page_get() - GET of a file of the page; answers @q. Return: as new_migration_post() */
int page_get(struct req *q);

#endif
