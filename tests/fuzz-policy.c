// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-policy.c - any bytes as a policy file or, when the first byte is odd, as a trace of
 * `haul watch`: no crash; a fault has its file, line and reason, what is accepted is
 * within its bounds, and a migration of it ends. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */
#include "policies/policies.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "policies/trace.h"
#include "replay.h"

static void policy(const char *path)
{
	struct policy p;
	struct err e = ERR_INIT;
	int r = pol_load(&p, path, &e);

	if ((r < 0) != (e.msg[0] != 0) || (r < 0 && !strstr(e.msg, path)))
		abort();
	for (size_t i = 0; r == 0 && i < POL_NOPTIONS; i++)
		if (!pol_table[i].words && pol_get(&p, i) != pol_table[i].def &&
		    (pol_get(&p, i) < pol_table[i].min || pol_get(&p, i) > pol_table[i].max))
			abort();
}

static void migrate(const struct trace *t)
{
	struct policy p;
	struct sim_result out;

	pol_init(&p);
	struct pol_size z = t->of;
	struct sim_setup set = { .trace = t,
		                 .opt = &p.v,
		                 .link_Bps = 125e6,
		                 .freeze_us = pol_freeze_us(&z),
		                 .fixed_pages = z.fixed_pages };

	sim_run(&set, NULL, NULL, &out);
	if (!isfinite(out.total_s) || !isfinite(out.downtime_s) || !out.why)
		abort();
}

static void trace(const char *path)
{
	struct trace t;
	struct err e = ERR_INIT;
	int r = trace_load(&t, path, &e);

	if ((r < 0) != (e.msg[0] != 0) || (r < 0 && !strstr(e.msg, path)))
		abort();
	if (r == 0) {
		double end = (double)t.sample_us * t.n;

		if (t.n == 0 || !isfinite(trace_written(&t, 0, end + t.sample_us)) ||
		    !isfinite(trace_rewritten(&t, 0, t.sample_us, end)))
			abort();
		trace_pages(&t, end);
		migrate(&t);
	}
	trace_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	static int fd = -1;
	char path[40];

	if (bytes < 1)
		return 0;
	if (fd < 0)
		fd = memfd_create("policy", MFD_CLOEXEC);
	if (ftruncate(fd, (off_t)bytes - 1) < 0 ||
	    pwrite(fd, p + 1, bytes - 1, 0) != (ssize_t)bytes - 1)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (p[0] & 1)
		trace(path);
	else
		policy(path);
	return 0;
}
