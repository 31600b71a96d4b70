/* SPDX-License-Identifier: GPL-2.0-or-later */
/* new_migration.h - POST /v1/migrations. */
#ifndef HAUL_AGENT_API_NEW_MIGRATION_H
#define HAUL_AGENT_API_NEW_MIGRATION_H

struct req;

/**
 * new_migration_post() - POST /v1/migrations; answers @q. Return: 0; -errno when no answer could
 * be made
 */
int new_migration_post(struct req *q);

#endif
