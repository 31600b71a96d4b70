// SPDX-License-Identifier: GPL-2.0-or-later
/* costs.c - what each process, thread, descriptor... adds to a stop: at first a guess, then what stops have shown. */
#include "policies/policies.h"

#include <stddef.h>

/* Mappings of files that any program has: they are in the base. */
#define FEW_FILE_MAPS 100

#define GIB_PAGES 262144.0
#define FIXED_US                                                                                   \
	15 /* a page that travels in the stop: the destination writes it into images for CRIU to read */
#define SHARED_US 2 /* a page of memory that processes share */
#define AIO_US    260000

/*
 * A difference is put down, in this part, to hosts that are faster or slower in everything; of the rest one move
 * corrects half. And how far from the guess a cost may get.
 */
#define HOST_PART  0.25
#define LEARN_RATE 0.5
#define FAR        30.0

/* Threads squared, in thousands. */
#define WAIT_THREADS 1000.0

static const struct {
	const char *name;
	double us;
} guesses[POL_NCOSTS] = {
	[POL_COST_BASE] = { "base", 21000 },   [POL_COST_TASK] = { "process", 4200 },
	[POL_COST_THREAD] = { "thread", 420 }, [POL_COST_TCP] = { "connection", 55 },
	[POL_COST_MAP] = { "mapping", 11 },    [POL_COST_FILE_MAP] = { "file-mapping", 25 },
	[POL_COST_FD] = { "descriptor", 33 },  [POL_COST_WAIT] = { "wait", 110 },
};

const char *pol_cost_name(enum pol_cost c)
{
	return guesses[c].name;
}

void pol_costs_init(struct pol_costs *c)
{
	for (size_t i = 0; i < POL_NCOSTS; i++)
		c->us[i] = guesses[i].us;
}

static double within(double v, double guess)
{
	return v < guess / FAR ? guess / FAR : v > guess * FAR ? guess * FAR : v;
}

void pol_costs_set(struct pol_costs *c, enum pol_cost of, double us)
{
	c->us[of] = within(us, guesses[of].us);
}

static void amounts(const struct pol_size *z, double x[POL_NCOSTS])
{
	x[POL_COST_BASE] = 1;
	x[POL_COST_TASK] = z->tasks ? z->tasks - 1 : 0;
	x[POL_COST_THREAD] = z->threads;
	x[POL_COST_TCP] = z->tcp;
	x[POL_COST_MAP] = z->maps;
	x[POL_COST_FILE_MAP] = z->file_maps > FEW_FILE_MAPS ? z->file_maps - FEW_FILE_MAPS : 0;
	x[POL_COST_FD] = z->fds;
	double all = (double)z->tasks + z->threads;

	x[POL_COST_WAIT] = all * all / WAIT_THREADS;
}

/* What follows from memory and disks, not from the shape. */
static double other_us(const struct pol_size *z)
{
	static const double gib_us[] = {
		[POL_FREEZE_SMAPS] = 2000,
		[POL_FREEZE_SCANS] = 12000,
		[POL_FREEZE_PUSH] = 110000,
	};

	return (double)z->pages * gib_us[z->how] / GIB_PAGES + (double)z->fixed_pages * FIXED_US +
	       (double)z->shared_pages * SHARED_US + (z->aio ? AIO_US : 0);
}

uint64_t pol_freeze_us(const struct pol_size *z)
{
	double x[POL_NCOSTS], us = other_us(z);

	amounts(z, x);
	for (size_t i = 0; i < POL_NCOSTS; i++)
		us += x[i] * (z->costs ? z->costs->us[i] : guesses[i].us);
	return (uint64_t)us;
}

/*
 * The rest of a difference is put down to what has had the largest share in the prediction: a move of 500 processes
 * says little about what a descriptor costs.
 */
void pol_costs_learn(struct pol_costs *c, const struct pol_size *z, uint64_t measured_us)
{
	double x[POL_NCOSTS], share[POL_NCOSTS], total = 0, weight = 0;

	amounts(z, x);
	for (size_t i = 0; i < POL_NCOSTS; i++)
		total += x[i] * c->us[i];
	for (size_t i = 0; i < POL_NCOSTS; i++) {
		share[i] = x[i] * c->us[i] / total;
		weight += share[i] * share[i];
	}
	double off = ((double)measured_us - other_us(z) - total) / total;

	/* a stop that took next to no time says no more than one that took half of what was expected */
	off = off < -0.5 ? -0.5 : off;
	for (size_t i = 0; i < POL_NCOSTS; i++) {
		double own = (1 - HOST_PART) * LEARN_RATE * share[i] / weight;

		pol_costs_set(c, i, c->us[i] * (1 + off * (HOST_PART + own)));
	}
}
