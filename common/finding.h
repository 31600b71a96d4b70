/* SPDX-License-Identifier: GPL-2.0-or-later */
/* finding.h - a finding: what prevents a migration, or what the user should know. */
#ifndef HAUL_FINDING_H
#define HAUL_FINDING_H

#include <stddef.h>

enum severity { SEV_INFO, SEV_WARNING, SEV_BLOCKER };

struct finding {
	enum severity severity;
	char code[32]; /* stable word: "pid-taken" */
	char *text; /* what was found, and where */
	char *remedy; /* what the user can do; may be empty */
};

struct findings {
	struct finding *v;
	size_t n, cap;
	unsigned int blockers, warnings;
};

/**
 * finding_add() - append a finding; one with the same code and text is kept once
 * @remedy: a plain string, copied; NULL for none
 * Return: 0; -ENOMEM
 */
int finding_add(struct findings *f, enum severity severity, const char *code, const char *remedy,
                const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void findings_fini(struct findings *f);
static inline void auto_findings(struct findings *f)
{
	findings_fini(f);
}

#endif
