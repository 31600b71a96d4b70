// SPDX-License-Identifier: GPL-2.0-or-later
/* metrics.c - Prometheus text. Labels have fixed sets of values: no ids, hosts, names. */
#include "agent/api/metrics.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/api/api.h"
#include "agent/api/jobs.h"
#include "common/auto.h"

#define BUCKETS 12

/* Upper ends in seconds; the last bucket has none. */
static const double time_le[BUCKETS - 1] = { 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60 };
static const double fault_le[BUCKETS - 1] = { 5e-5,   1e-4, 2.5e-4, 5e-4, 1e-3,
	                                      2.5e-3, /* pager_fault_le_us */
	                                      5e-3,   1e-2, 5e-2,   0.1,  1 };

struct hist {
	const char *name, *help;
	const double *le;
	uint64_t bucket[BUCKETS], n;
	double sum;
};

enum { H_DOWNTIME, H_PREDICTED, H_TOTAL, H_FAULT, H_COUNT };

struct metrics {
	uint64_t outcome[JOB_NSTATUS], wire_bytes, faults, faults_remote, store_peak;
	struct hist h[H_COUNT];
};

static struct metrics the = {
	.h = { [H_DOWNTIME] = { "haul_downtime_seconds", "Measured downtime of finished migrations",
	                        time_le },
	       [H_PREDICTED] = { "haul_predicted_downtime_seconds",
	                         "Downtime of finished migrations as predicted before the stop",
	                         time_le },
	       [H_TOTAL] = { "haul_migration_seconds", "Total time of finished migrations",
	                     time_le },
	       [H_FAULT] = { "haul_fault_latency_seconds",
	                     "How long threads waited for pages in post-copy", fault_le } },
};

static void observe(struct hist *h, double v)
{
	size_t i = 0;

	while (i < BUCKETS - 1 && v > h->le[i])
		i++;
	h->bucket[i]++;
	h->n++;
	h->sum += v;
}

static double seconds(json_t *o, const char *key)
{
	return (double)json_integer_value(json_object_get(o, key)) / 1e6;
}

static uint64_t number(json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

/* haul's classes are those of fault_le; the sum takes their upper ends. */
static void note_faults(json_t *event)
{
	json_t *v = json_object_get(event, "fault_n"), *n;
	struct hist *h = &the.h[H_FAULT];
	size_t i;

	if (json_array_size(v) != BUCKETS)
		return;
	json_array_foreach(v, i, n)
	{
		uint64_t k = (uint64_t)json_integer_value(n);

		h->bucket[i] += k;
		h->n += k;
		h->sum += (double)k * (i < BUCKETS - 1 ? h->le[i] : seconds(event, "fault_max_us"));
	}
}

static void note_done(const struct job *j, json_t *event)
{
	json_t *round = json_object_get(j->view, "round");

	observe(&the.h[H_DOWNTIME], seconds(event, "downtime_us"));
	observe(&the.h[H_TOTAL], seconds(event, "total_us"));
	if (round)
		observe(&the.h[H_PREDICTED], seconds(round, "predicted_downtime_us"));
	note_faults(event);
	if (number(event, "store_peak_bytes") > the.store_peak)
		the.store_peak = number(event, "store_peak_bytes");
}

void metrics_event(const struct job *j, json_t *event)
{
	const char *name = json_string_value(json_object_get(event, "event"));
	const char *status = json_string_value(json_object_get(event, "status"));

	if (!strcmp(name, "done") || !strcmp(name, "failed")) {
		the.wire_bytes += number(event, "wire_bytes");
		the.faults += number(event, "faults");
		the.faults_remote += number(event, "faults_remote");
	}
	if (!strcmp(name, "done"))
		note_done(j, event);
	for (enum job_status s = JOB_DONE; status && s < JOB_NSTATUS; s++)
		if (!strcmp(name, "ended") && !strcmp(status, job_status_name(s)))
			the.outcome[s]++;
}

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s.\n# TYPE %s %s\n", name, help, name, type);
}

static void put_hist(FILE *f, const struct hist *h)
{
	uint64_t sum = 0;

	head(f, h->name, "histogram", h->help);
	for (size_t i = 0; i < BUCKETS - 1; i++)
		fprintf(f, "%s_bucket{le=\"%g\"} %llu\n", h->name, h->le[i],
		        (unsigned long long)(sum += h->bucket[i]));
	fprintf(f, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %g\n%s_count %llu\n", h->name,
	        (unsigned long long)h->n, h->name, h->sum, h->name, (unsigned long long)h->n);
}

static void put_one(FILE *f, const char *name, const char *type, const char *help, double v)
{
	head(f, name, type, help);
	fprintf(f, "%s %.15g\n", name, v);
}

static double real(json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

/* Sums over the running migrations. */
static void put_running(FILE *f, const struct api *a)
{
	double dirty = 0, link = 0, predicted = 0, left = 0, wire = 0;

	for (size_t i = 0; i < a->n_jobs; i++) {
		if (a->job[i]->status != JOB_RUNNING)
			continue;
		json_t *round = json_object_get(a->job[i]->view, "round");
		json_t *progress = json_object_get(a->job[i]->view, "progress");
		double p = real(round, "predicted_downtime_us") / 1e6;

		dirty += real(round, "dirty_pages_ps") * 4096;
		link += real(round, "link_Bps");
		left += real(progress, "left_pages") * 4096;
		wire += real(progress, "wire_bytes");
		predicted = p > predicted ? p : predicted;
	}
	put_one(f, "haul_dirty_bytes_per_second", "gauge",
	        "Memory written per second by the processes that are moving", dirty);
	put_one(f, "haul_link_bytes_per_second", "gauge",
	        "Throughput of the links in the last rounds", link);
	put_one(f, "haul_predicted_downtime_max_seconds", "gauge",
	        "Longest downtime now predicted for a running migration", predicted);
	put_one(f, "haul_postcopy_left_bytes", "gauge",
	        "Memory that destinations still lack after the switch", left);
	put_one(f, "haul_running_wire_bytes", "gauge", "Bytes sent so far by running migrations",
	        wire);
}

static uint64_t stores_of(const char *pid)
{
	char path[600], target[64];
	uint64_t sum = 0;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	AUTO(dir) DIR *d = opendir(path);
	const struct dirent *fd;

	while (d && (fd = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), fd->d_name, target, sizeof(target) - 1);
		struct stat st;

		target[n > 0 ? n : 0] = 0;
		if (!strncmp(target, "/memfd:haul-store", 17) &&
		    fstatat(dirfd(d), fd->d_name, &st, 0) == 0)
			sum += (uint64_t)st.st_blocks * 512;
	}
	return sum;
}

/* Page stores that are being filled: memory files of hauld's workers. */
static uint64_t store_bytes(void)
{
	AUTO(dir) DIR *proc = opendir("/proc");
	const struct dirent *p;
	uint64_t sum = 0;

	while (proc && (p = readdir(proc))) {
		char path[600], word[64] = "";

		snprintf(path, sizeof(path), "/proc/%s/comm", p->d_name);
		AUTO(file) FILE *f = isdigit((unsigned char)*p->d_name) ? fopen(path, "re") : NULL;

		if (!f || !fgets(word, sizeof(word), f) || strcmp(word, "hauld\n"))
			continue;
		sum += stores_of(p->d_name);
	}
	return sum;
}

static void put_states(FILE *f, const struct api *a)
{
	unsigned int n[JOB_NSTATUS] = { 0 };

	for (size_t i = 0; i < a->n_jobs; i++)
		n[a->job[i]->status]++;
	head(f, "haul_migrations", "gauge", "Migrations kept by this hauld, by status");
	for (enum job_status s = 0; s < JOB_NSTATUS; s++)
		fprintf(f, "haul_migrations{status=\"%s\"} %u\n", job_status_name(s), n[s]);
	head(f, "haul_migrations_ended_total", "counter", "Migrations that ended, by outcome");
	for (enum job_status s = JOB_DONE; s < JOB_NSTATUS; s++)
		fprintf(f, "haul_migrations_ended_total{outcome=\"%s\"} %llu\n", job_status_name(s),
		        (unsigned long long)the.outcome[s]);
	put_one(f, "haul_queue_length", "gauge", "Migrations that wait for their turn",
	        n[JOB_QUEUED]);
	put_one(f, "haul_running_limit", "gauge", "Migrations that may run at once",
	        a->conf->running_max);
}

char *metrics_text(const struct api *a)
{
	char *text = NULL;
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);

	if (!f)
		return NULL;
	put_states(f, a);
	put_running(f, a);
	put_one(f, "haul_wire_bytes_total", "counter", "Bytes sent by migrations that ended",
	        (double)the.wire_bytes);
	put_one(f, "haul_faults_total", "counter", "Post-copy faults at destinations",
	        (double)the.faults);
	put_one(f, "haul_remote_faults_total", "counter",
	        "Post-copy faults that this host had to answer", (double)the.faults_remote);
	put_one(f, "haul_store_bytes", "gauge", "Memory of the page stores of incoming migrations",
	        (double)store_bytes());
	put_one(f, "haul_store_peak_bytes", "gauge",
	        "Largest page store at the destination of a migration from here",
	        (double)the.store_peak);
	for (size_t i = 0; i < H_COUNT; i++)
		put_hist(f, &the.h[i]);
	fclose(f);
	return text;
}
