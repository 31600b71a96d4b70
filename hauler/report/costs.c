// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * costs.c - what stops have cost on the way to a host, kept from move to move: a file for each destination, and one
 * for all, with a line for each cost. They are about both hosts: the source dumps, the destination restores.
 */
#include "hauler/report/costs.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/log.h"
#include "hauler/inspect/inspect.h"

#define COSTS_DIR "/var/lib/haul/costs"
#define KEPT_S    86400
#define PAGES_MAX 16384 /* 64 MiB */
#define ALL       "@all" /* no host is called so */

/* Return: false: no file is kept for such a name */
static bool path_of(const char *dest, char *path, size_t bytes)
{
	if (!dest || !*dest || *dest == '.' || strchr(dest, '/'))
		return false;
	int n = snprintf(path, bytes, COSTS_DIR "/%s", dest);

	return n > 0 && (size_t)n < bytes;
}

static bool load(struct pol_costs *c, const char *dest)
{
	char path[320], name[32];
	AUTO(file) FILE *f = path_of(dest, path, sizeof(path)) ? fopen(path, "re") : NULL;
	struct stat st;
	double us;

	pol_costs_init(c);
	/* what was learned on a busy day is forgotten: a move that is refused for it would teach nothing else */
	if (f && (fstat(fileno(f), &st) < 0 || time(NULL) - st.st_mtim.tv_sec > KEPT_S))
		return false;
	while (f && fscanf(f, "%31s %lf", name, &us) == 2)
		for (int i = 0; i < POL_NCOSTS; i++)
			if (!strcmp(name, pol_cost_name((enum pol_cost)i)))
				pol_costs_set(c, (enum pol_cost)i, us);
	return f != NULL;
}

void costs_load(struct pol_costs *c, const char *dest)
{
	if (!load(c, dest))
		load(c, ALL);
}

/* A whole file or the old one, also when two moves end at once. */
static int store(const struct pol_costs *c, const char *dest)
{
	char path[320], temp[360];

	if (!path_of(dest, path, sizeof(path)))
		return 0;
	snprintf(temp, sizeof(temp), "%s.%d", path, getpid());
	FILE *f = fopen(temp, "we");

	for (int i = 0; f && i < POL_NCOSTS; i++)
		fprintf(f, "%s %.1f\n", pol_cost_name((enum pol_cost)i), c->us[i]);
	if (!f || fclose(f) != 0 || rename(temp, path) < 0) {
		int r = -errno;

		unlink(temp);
		return r;
	}
	return 0;
}

static void learn(const struct mig *m, const char *dest, uint64_t measured_us)
{
	struct pol_costs c;
	struct pol_size z = { .how = m->precopy.freeze_how };

	inspect_size(m->insp, &z);
	if (!load(&c, dest))
		load(&c, ALL);
	pol_costs_learn(&c, &z, measured_us);
	int r = store(&c, dest);

	if (r < 0)
		log_debug("what the stop has cost is not kept: %s", strerror(-r));
}

void costs_keep(const struct mig *m)
{
	const struct mig_times *t = &m->fig.t;

	/* a recovery knows no times; many pages are the link's, not the shape's */
	if (!m->insp || !t->running_us || !t->freeze_us || t->sent_us < t->scanned_us ||
	    m->fig.final_pages > PAGES_MAX)
		return;
	uint64_t pages_us = t->sent_us - t->scanned_us + m->fig.ship_us;
	uint64_t stop_us = t->running_us - t->freeze_us;

	if (mkdir(COSTS_DIR, 0755) < 0 && errno != EEXIST)
		return;
	learn(m, m->opt->dest, stop_us > pages_us ? stop_us - pages_us : 0);
	learn(m, ALL, stop_us > pages_us ? stop_us - pages_us : 0);
}
