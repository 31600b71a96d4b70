// SPDX-License-Identifier: GPL-2.0-or-later
/* handover-edges.c - print the programs' tables of states and of messages, one fact a line. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent/worker/worker.h"
#include "hauler/run/run.h"
#include "transport/msg/haul.pb-c.h"

/* As docs/PROTOCOL.md writes it. */
static const char *message_name(const ProtobufCFieldDescriptor *f)
{
	static char name[64];
	size_t n = strcspn(f->name, "_");

	/* "switch" is a word of C */
	if (strcmp(f->name, "switch_over"))
		n = strlen(f->name);
	for (size_t i = 0; i < n; i++)
		name[i] = (char)toupper((unsigned char)f->name[i]);
	name[n] = 0;
	return name;
}

static void print_messages(void)
{
	const ProtobufCMessageDescriptor *d = &haul__msg__descriptor;

	for (unsigned int i = 0; i < d->n_fields; i++)
		for (int s = 0; s < WRK_NSTATES; s++)
			if (worker_takes((enum wrk_state)s, (int)d->fields[i].id))
				printf("dest takes %s in %s\n", message_name(&d->fields[i]),
				       worker_state_name((enum wrk_state)s));
}

int main(void)
{
	static const char *const home[] = {
		[HOME_SOURCE] = "source", [HOME_NOBODY] = "nobody", [HOME_DEST] = "destination"
	};

	for (int a = 0; a < MIG_NSTATES; a++) {
		enum mig_state s = (enum mig_state)a;

		printf("source %s runs %s\n", run_state_name(s), home[run_state_home(s)]);
		for (int b = 0; b < MIG_NSTATES; b++)
			if (run_may(s, (enum mig_state)b))
				printf("source %s > %s\n", run_state_name(s),
				       run_state_name((enum mig_state)b));
	}
	struct talk_rule rule;

	for (size_t i = 0; talk_rule(i, &rule); i++)
		printf("message %s from %s to %s\n", rule.name, run_state_name(rule.from),
		       run_state_name(rule.to));
	for (int a = 0; a < WRK_NSTATES; a++) {
		enum wrk_state s = (enum wrk_state)a;
		printf("dest %s runs %s\n", worker_state_name(s),
		       worker_may_run(s) ? "destination" : "nobody");
		for (int b = 0; b < WRK_NSTATES; b++)
			if (worker_may(s, (enum wrk_state)b))
				printf("dest %s > %s\n", worker_state_name(s),
				       worker_state_name((enum wrk_state)b));
	}
	print_messages();
	return 0;
}
