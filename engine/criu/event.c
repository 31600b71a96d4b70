// SPDX-License-Identifier: GPL-2.0-or-later
/* event.c - CRIU's names of its notifications. */
#include <string.h>

#include "engine/criu/criu.h"

static const struct {
	const char *script;
	enum criu_event ev;
} scripts[] = {
	{ "pre-dump", CRIU_EV_PRE_DUMP },
	{ "network-lock", CRIU_EV_NETWORK_LOCK },
	{ "query-ext-files", CRIU_EV_QUERY_EXT_FILES },
	{ "post-dump", CRIU_EV_POST_DUMP },
	{ "network-unlock", CRIU_EV_NETWORK_UNLOCK },
	{ "pre-restore", CRIU_EV_PRE_RESTORE },
	{ "setup-namespaces", CRIU_EV_SETUP_NS },
	{ "post-setup-namespaces", CRIU_EV_POST_SETUP_NS },
	{ "post-restore", CRIU_EV_POST_RESTORE },
	{ "pre-resume", CRIU_EV_PRE_RESUME },
	{ "post-resume", CRIU_EV_POST_RESUME },
};

enum criu_event criu_event_of(const char *script)
{
	for (size_t i = 0; script && i < ARRAY_SIZE(scripts); i++)
		if (!strcmp(script, scripts[i].script))
			return scripts[i].ev;
	return CRIU_EV_OTHER;
}
