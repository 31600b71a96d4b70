// SPDX-License-Identifier: GPL-2.0-or-later
/* work.c - control protocol and page stamps of the workloads. */
#include "tests/work/work.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STRIDE 8 /* every 8th word carries the stamp: a cache line each */

static volatile sig_atomic_t asked;
static int answered, verified;
static const char *dir;
static int g_argc;
static char **g_argv;

static void on_signal(int sig)
{
	(void)sig;
	asked++;
}

long work_option(const char *name, long dflt)
{
	for (int i = 1; i + 1 < g_argc; i++)
		if (!strcmp(g_argv[i], name))
			return strtol(g_argv[i + 1], NULL, 10);
	return dflt;
}

void work_init(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	g_argc = argc;
	g_argv = argv;
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--dir"))
			dir = argv[i + 1];
	if (!dir) {
		fprintf(stderr, "usage: %s --dir DIR [--option N]...\n", argv[0]);
		exit(2);
	}
	sigaction(SIGUSR1, &sa, NULL);
}

const char *work_dir(void)
{
	return dir;
}

static void put(const char *name, const char *text)
{
	char path[512], tmp[520];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(tmp, sizeof(tmp), "%s.new", path);
	FILE *f = fopen(tmp, "w");

	if (!f)
		return;
	fputs(text, f);
	fclose(f);
	rename(tmp, path);
}

void work_ready(void)
{
	put("ready", "ready\n");
}

bool work_wanted(void)
{
	if (answered == asked)
		return false;
	answered++;
	return true;
}

void work_report(bool ok, const char *fmt, ...)
{
	char text[600], detail[400], name[32];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "{\"ok\": %s, \"pid\": %d, %s}\n", ok ? "true" : "false",
		 getpid(), detail);
	snprintf(name, sizeof(name), "verify.%d", ++verified);
	put(name, text);
}

void work_failed(const char *fmt, ...)
{
	char detail[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	put("failed", detail);
	for (;;)
		pause();	/* stays, to be looked at */
}

static uint64_t word(uint64_t id, uint64_t index, uint64_t generation, unsigned int k)
{
	uint64_t x = (index << 20 ^ generation ^ id << 56) + k * 0x9e3779b97f4a7c15ULL;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ULL;
	return (x ^ x >> 32) | 1;	/* never zero */
}

void stamp_put(void *page, uint64_t id, uint64_t index, uint64_t generation)
{
	uint64_t *p = page;

	for (unsigned int k = 0; k < PAGE / 8; k += STRIDE)
		p[k] = word(id, index, generation, k);
}

bool stamp_ok(const void *page, uint64_t id, uint64_t index, uint64_t generation)
{
	const uint64_t *p = page;

	for (unsigned int k = 0; k < PAGE / 8; k++)
		if (p[k] != (k % STRIDE ? 0 : word(id, index, generation, k)))
			return false;
	return true;
}

bool all_zero(const void *page)
{
	const uint64_t *p = page;

	for (unsigned int k = 0; k < PAGE / 8; k++)
		if (p[k])
			return false;
	return true;
}

uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

uint64_t real_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}
