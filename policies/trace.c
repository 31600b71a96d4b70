// SPDX-License-Identifier: GPL-2.0-or-later
/* trace.c - traces in memory and in files; how many pages were written between two times. */
#include "policies/trace.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "policies/priv.h"

#define HEADER      "haul-trace 1"
#define PAGES_LIMIT 0x7fffffffu
#define LINE_BYTES  262144

/* Samples that are dropped at once, a multiple of 64. */
#define ROOM_SAMPLES (TRACE_SAMPLES_MAX / 4)

static int add_sample(struct trace *t, const struct trace_sample *s)
{
	if (t->n >= TRACE_SAMPLES_MAX)
		return -ENOSPC;
	if (t->n % 64 == 0) {
		struct trace_sample *v = realloc(t->v, (t->n + 64) * sizeof(*v));

		if (!v)
			return -ENOMEM;
		t->v = v;
	}
	t->v[t->n++] = *s;
	return 0;
}

/* The writes of @n samples of which only the total is known, and parts of its curve. */
struct wide {
	struct trace_sample all;
	uint32_t n;
	const struct pol_curve *curve; /* NULL: as much in each */
};

/* Different pages in @k samples that follow each other. */
static double within(const struct wide *w, uint32_t sample_us, uint32_t k)
{
	if (k == 0 || k >= w->n)
		return k ? w->all.written : 0;
	if (!w->curve || !w->curve->n)
		return (double)w->all.written * k / w->n;
	return curve_at(w->curve, (double)k * sample_us, w->all.written);
}

/*
 * Sample @i of these, as if the program continued in the same way: this many of its pages were not written
 * in the k samples before as k + 1 have more than k. Behind these it is an even share.
 */
static int add_share(struct trace *t, const struct wide *w, uint32_t i)
{
	const struct trace_sample *all = &w->all;
	double part = all->written ? (double)all->never / all->written : 0;
	double up = (double)(w->n - 1 - i) / w->n + 1e-6; /* rounding: all of them sum up */
	uint32_t from = (uint32_t)(part * within(w, t->sample_us, i) + 0.5);
	uint32_t to = (uint32_t)(part * within(w, t->sample_us, i + 1) + 0.5);
	struct trace_sample s = {
		.never = to > from ? to - from : 0,
		.older = calloc(t->n + 1, sizeof(*s.older)),
		.total_pages = all->total_pages,
	};

	if (!s.older)
		return -ENOMEM;
	/* not hot for sure, whatever the lengths of the spans before: at least these */
	double tail = t->n - i > 3 * w->n ? (double)all->older[4 * w->n] / w->n : 0;

	for (uint32_t k = 0; k < t->n; k++) {
		double more = k < w->n ? within(w, t->sample_us, k + 1) -
		                                 within(w, t->sample_us, k) - s.never
		                       : (double)all->older[k] / w->n;
		uint32_t x = (uint32_t)((more > tail || k >= 4 * w->n ? more : tail) + up);

		s.older[k] = k && x > s.older[k - 1] ? s.older[k - 1] : x;
	}
	s.written = s.never + s.older[0];
	int r = add_sample(t, &s);

	if (r < 0)
		free(s.older);
	return r;
}

int trace_add(struct trace *t, struct ages *a, uint64_t total_pages, const struct pol_curve *curve,
              struct err *e)
{
	struct wide w = { .n = ages_wide(a), .curve = curve };
	int r = ages_take(a, &w.all);

	if (total_pages)
		w.all.total_pages = (uint32_t)total_pages;
	for (uint32_t i = 0; r == 0 && i < w.n; i++)
		r = add_share(t, &w, i);
	free(w.all.older);
	return r < 0 ? err_set(e, ERR_SYS, -r, "trace: %s", strerror(-r)) : 0;
}

/* A page whose last write was in a dropped sample counts as never written. */
static void drop(struct trace *t, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		free(t->v[i].older);
	t->n -= n;
	t->dropped += n;
	memmove(t->v, t->v + n, t->n * sizeof(*t->v));
	for (uint32_t i = 0; i < t->n; i++) {
		struct trace_sample *s = &t->v[i];
		uint32_t gone = s->older[i];

		s->never += gone;
		for (uint32_t k = 0; k <= i; k++)
			s->older[k] -= gone;
	}
}

uint32_t trace_span(struct trace *t, struct ages *a, uint32_t n)
{
	n = n < ROOM_SAMPLES ? n : ROOM_SAMPLES;
	if (t->n + n > TRACE_SAMPLES_MAX) {
		drop(t, ROOM_SAMPLES);
		ages_forget(a, ROOM_SAMPLES);
	}
	ages_widen(a, n);
	return n;
}

void trace_fini(struct trace *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		free(t->v[i].older);
	free(t->v);
	memset(t, 0, sizeof(*t));
}

int trace_tail(const struct trace *t, uint64_t us, struct trace *out, struct err *e)
{
	uint32_t n = us / t->sample_us < t->n ? (uint32_t)(us / t->sample_us) : t->n;
	int r = 0;

	*out = *t;
	out->n = 0;
	out->v = NULL;
	for (uint32_t k = 0; r == 0 && k < n; k++) {
		const struct trace_sample *of = &t->v[t->n - n + k];
		struct trace_sample s = *of;

		s.older = calloc(k + 1, sizeof(*s.older));
		for (uint32_t age = 0; s.older && age < k; age++)
			s.older[age] = of->older[age] - of->older[k];
		s.never += of->older[k]; /* before the tail begins */
		r = s.older ? add_sample(out, &s) : -ENOMEM;
		if (r < 0)
			free(s.older);
	}
	if (r < 0)
		trace_fini(out);
	return r < 0 ? err_set(e, ERR_SYS, -r, "trace: %s", strerror(-r)) : 0;
}

/* ---- files ---- */

/* Lines of a name and a number; the first has to be there. */
static const struct trace_key {
	const char *name;
	size_t at;
	uint32_t min, max;
} keys[] = {
	{ "sample-us", offsetof(struct trace, sample_us), TRACE_SAMPLE_US_MIN, 60000000 },
	{ "fixed-pages", offsetof(struct trace, of.fixed_pages), 0, PAGES_LIMIT },
	{ "tasks", offsetof(struct trace, of.tasks), 0, 1000000 },
	{ "threads", offsetof(struct trace, of.threads), 0, 1000000 },
	{ "connections", offsetof(struct trace, of.tcp), 0, 1000000 },
	{ "mappings", offsetof(struct trace, of.maps), 0, 10000000 },
	{ "file-mappings", offsetof(struct trace, of.file_maps), 0, 10000000 },
	{ "descriptors", offsetof(struct trace, of.fds), 0, 10000000 },
	{ "aio", offsetof(struct trace, of.aio), 0, 1 },
};

static uint32_t *key_value(struct trace *t, const struct trace_key *k)
{
	return (uint32_t *)(void *)((char *)t + k->at);
}

int trace_save(const struct trace *t, const char *path, struct err *e)
{
	AUTO(file) FILE *f = fopen(path, "we");
	struct trace c = *t;

	if (!f)
		return err_sys(e, "trace %s", path);
	fprintf(f, HEADER "\ntitle %s\n", t->title);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		fprintf(f, "%s %u\n", keys[i].name, *key_value(&c, &keys[i]));
	fputs("# each line: pages that are there; written for the first time; age:pages ...\n", f);
	for (uint32_t i = 0; i < t->n; i++) {
		fprintf(f, "%u %u", t->v[i].total_pages, t->v[i].never);
		for (uint32_t age = 1; age <= i; age++) {
			const uint32_t *older = t->v[i].older;

			if (older[age - 1] != older[age])
				fprintf(f, " %u:%u", age, older[age - 1] - older[age]);
		}
		fputc('\n', f);
	}
	FILE *done = steal(f);

	return ferror(done) | fclose(done) ? err_sys(e, "trace %s", path) : 0;
}

struct reader {
	const char *path;
	unsigned int line;
	bool has[ARRAY_SIZE(keys)];
	struct err *e;
};

/* -EINVAL, with the line and the reason. */
#define BAD(r, ...)                                                                                \
	(err_set((r)->e, ERR_USER, EINVAL, __VA_ARGS__),                                           \
	 err_wrap((r)->e, "%s:%u", (r)->path, (r)->line))

/* A number; moves @s behind it. */
static int number(struct reader *r, char **s, const char *what, uint32_t min, uint32_t max,
                  uint32_t *out)
{
	char *end = *s;
	bool digit = **s >= '0' && **s <= '9';
	unsigned long long v = digit ? strtoull(*s, &end, 10) : 0;

	if (!digit)
		return BAD(r, "%s: a number is missing", what);
	if (v < min || v > max)
		return BAD(r, "%s: %.*s is not from %u to %u", what, (int)(end - *s), *s, min, max);
	*s = end;
	*out = (uint32_t)v;
	return 0;
}

static int parse_key(struct reader *r, struct trace *t, size_t key, char *s)
{
	const struct trace_key *k = &keys[key];
	int x = number(r, &s, k->name, k->min, k->max, key_value(t, k));

	if (x == 0 && *s)
		x = BAD(r, "%s: \"%.20s\" behind the number", k->name, s);
	if (x == 0 && r->has[key])
		x = BAD(r, "%s: twice", k->name);
	if (x == 0 && t->n)
		x = BAD(r, "%s: behind a sample", k->name);
	r->has[key] = true;
	return x;
}

static int parse_ages(struct reader *r, char *s, uint32_t n, struct trace_sample *x)
{
	while (*s == ' ') {
		uint32_t age, pages;

		s++;
		if (number(r, &s, "age", 1, n, &age) < 0)
			return -EINVAL;
		if (*s++ != ':')
			return BAD(r, "no ':' behind age %u", age);
		if (number(r, &s, "pages", 0, PAGES_LIMIT - x->written, &pages) < 0)
			return -EINVAL;
		x->older[age - 1] += pages;
		x->written += pages;
	}
	return *s ? BAD(r, "\"%.20s\" behind the last number", s) : 0;
}

static int parse_sample(struct reader *r, struct trace *t, char *s)
{
	struct trace_sample x = { 0 };

	if (!r->has[0])
		return BAD(r, "a sample before the line \"%s\"", keys[0].name);
	if (t->n == TRACE_SAMPLES_MAX)
		return BAD(r, "more than %u samples", TRACE_SAMPLES_MAX);
	if (number(r, &s, "pages that are there", 0, PAGES_LIMIT, &x.total_pages) < 0)
		return -EINVAL;
	s += *s == ' ';
	if (number(r, &s, "pages written for the first time", 0, PAGES_LIMIT, &x.never) < 0)
		return -EINVAL;
	x.older = calloc(t->n + 1, sizeof(*x.older));
	if (!x.older)
		return BAD(r, "no memory");
	x.written = x.never;
	int c = parse_ages(r, s, t->n, &x);

	for (uint32_t k = t->n; k-- > 0;)
		x.older[k] += x.older[k + 1];
	if (c == 0 && add_sample(t, &x) < 0)
		c = BAD(r, "no memory");
	if (c < 0)
		free(x.older);
	return c;
}

static int parse_line(struct reader *r, struct trace *t, char *s)
{
	if (r->line == 1)
		return strcmp(s, HEADER) ? BAD(r, "not a trace of haul watch") : 0;
	if (*s == '#' || !*s)
		return 0;
	if (!strncmp(s, "title ", 6)) {
		snprintf(t->title, sizeof(t->title), "%s", s + 6);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t len = strlen(keys[i].name);

		if (!strncmp(s, keys[i].name, len) && s[len] == ' ')
			return parse_key(r, t, i, s + len + 1);
	}
	return parse_sample(r, t, s);
}

int trace_load(struct trace *t, const char *path, struct err *e)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(mem) char *s = malloc(LINE_BYTES);
	struct reader r = { .path = path, .e = e };
	int x = 0;

	memset(t, 0, sizeof(*t));
	if (!f || !s)
		return err_sys(e, "trace %s", path);
	while (x == 0 && fgets(s, LINE_BYTES, f)) {
		char *end = strchr(s, '\n');

		r.line++;
		if (end)
			*end = 0;
		x = end || feof(f) ? parse_line(&r, t, s)
		                   : BAD(&r, "not text, or more than %d bytes", LINE_BYTES);
	}
	if (x == 0 && ferror(f))
		x = err_sys(e, "trace %s", path);
	if (x == 0 && t->n == 0)
		x = err_set(e, ERR_USER, EINVAL, "%s: no samples", path);
	if (x < 0)
		trace_fini(t);
	return x;
}

/* ---- questions ---- */

/*
 * Pages of sample @s (counted on through repetitions) whose former write is in a sample
 * before @before. In a repetition the first write of a page has the age of a whole pass.
 */
static double older(const struct trace *t, uint64_t s, uint64_t before)
{
	const struct trace_sample *x = &t->v[s % t->n];
	uint64_t in_pass = s % t->n, age = s - before; /* more than so old */

	if (s < before)
		return x->written;
	double sum = age <= in_pass ? x->older[age] : 0;

	return s < t->n || age < t->n ? sum + x->never : sum;
}

/* The same for a time within a sample: a proportional share of that sample's writes. */
static double older_than(const struct trace *t, uint64_t s, double before)
{
	uint64_t b = (uint64_t)before;

	if (s <= b)
		return t->v[s % t->n].written;
	return older(t, s, b) + (before - (double)b) * (older(t, s, b + 1) - older(t, s, b));
}

/* How much of sample @s lies between the times, in samples. */
static double part(uint64_t s, double from, double to)
{
	double a = from > (double)s ? from : (double)s;
	double b = to < (double)s + 1 ? to : (double)s + 1;

	return b > a ? b - a : 0;
}

/* The end in samples: one whole pass after @from every page has been seen. */
static double last(const struct trace *t, double from, double to_us)
{
	double to = to_us / t->sample_us;

	return to < from + t->n + 2 ? to : from + t->n + 2;
}

double trace_written(const struct trace *t, double from_us, double to_us)
{
	double from = from_us / t->sample_us, to = last(t, from, to_us), sum = 0;

	for (uint64_t s = (uint64_t)from; (double)s < to; s++)
		sum += older_than(t, s, from) * part(s, from, to);
	return sum;
}

double trace_rewritten(const struct trace *t, double since_us, double from_us, double to_us)
{
	double since = since_us / t->sample_us, from = from_us / t->sample_us;
	double to = last(t, from, to_us), sum = 0;

	for (uint64_t s = (uint64_t)from; (double)s < to; s++) {
		double in = older_than(t, s, from) - older_than(t, s, since);

		if (in > 0)
			sum += in * part(s, from, to);
	}
	return sum;
}

uint64_t trace_pages(const struct trace *t, double at_us)
{
	uint64_t s = (uint64_t)(at_us / t->sample_us);

	return t->v[s < t->n ? s : t->n - 1].total_pages;
}
