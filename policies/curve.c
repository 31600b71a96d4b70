// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * curve.c - pages written within a time, from counts at growing distances to one scan.
 *
 * The curve says at once what rounds would have to find out one after the other: whether
 * a shorter round leaves less (the count grows with time), or whether there is a floor (a
 * hot set is written within any time).
 */
#include "policies/policies.h"

#include <math.h>

/* Neighbours are at least so far apart, as a ratio of times. */
#define POINT_RATIO 1.4

void curve_add(struct pol_curve *c, uint64_t us, uint64_t pages)
{
	if (us == 0)
		return;
	if (c->n && pages < c->pages[c->n - 1])
		pages = c->pages[c->n - 1]; /* memory was given back */
	while (c->n && us <= c->us[c->n - 1])
		c->n--;
	if (c->n > 1 && (double)c->us[c->n - 1] < POINT_RATIO * (double)c->us[c->n - 2])
		c->n--;
	if (c->n == POL_CURVE_POINTS)
		c->n--;
	c->us[c->n] = us;
	c->pages[c->n] = pages;
	c->n++;
}

/* Between two points: a power of the time, 0 (a floor) to 1 (always other pages). */
static double power(double t0, double w0, double t1, double w1, double t)
{
	if (w0 < 1)
		return t < t0 ? w0 * t / t0 : w1 * t / t1;
	double a = log(w1 / w0) / log(t1 / t0);

	a = a < 0 ? 0 : a > 1 ? 1 : a;
	return t < t0 ? w0 * pow(t / t0, a) : w1 * pow(t / t1, a);
}

double curve_at(const struct pol_curve *c, double us, double max)
{
	double w;

	if (c->n == 0)
		return max;
	if (c->n == 1) {
		w = (double)c->pages[0] * us / (double)c->us[0];
		return w < max ? w : max;
	}
	unsigned int i = 1;

	while (i < c->n - 1 && (double)c->us[i] < us)
		i++;
	double t0 = (double)c->us[i - 1], w0 = (double)c->pages[i - 1];
	double t1 = (double)c->us[i], w1 = (double)c->pages[i];

	if (us >= t0 && us <= t1)
		w = w0 + (w1 - w0) * (us - t0) / (t1 - t0);
	else
		w = power(t0, w0, t1, w1, us);
	return w < max ? w : max;
}
