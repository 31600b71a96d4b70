/* SPDX-License-Identifier: GPL-2.0-or-later */
/* poke.c - damages a stamped page of a running workload, to prove that it notices. */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT    256 /* pages watched until one of them has changed */
#define WAIT_MS 30000

struct kept {
	uint64_t addr;
	uint64_t words[PAGE_WORDS];
};

static struct kept kept[KEPT];
static size_t nr_kept;
static int mem;
static pid_t pid;

static void give_up(const char *what)
{
	fprintf(stderr, "poke: %s: %s\n", what, errno ? strerror(errno) : "no");
	exit(1);
}

static bool get(uint64_t addr, void *buf)
{
	return pread(mem, buf, PAGE_BYTES, (off_t)addr) == (ssize_t)PAGE_BYTES;
}

/* The process is stopped, so that it is not just writing the same page. */
static void put(uint64_t addr, const void *buf)
{
	ssize_t n;

	kill(pid, SIGSTOP);
	usleep(20000);
	n = pwrite(mem, buf, PAGE_BYTES, (off_t)addr);
	kill(pid, SIGCONT);
	if (n != (ssize_t)PAGE_BYTES)
		give_up("write");
	printf("poke: page 0x%" PRIx64 "\n", addr);
}

/* Keeps every @nth stamped page of a mapping, so that the picks are spread. */
static void keep_from(uint64_t from, uint64_t to, uint64_t nth)
{
	uint64_t n = 0;

	for (; from < to && nr_kept < KEPT; from += PAGE_BYTES) {
		struct kept *k = &kept[nr_kept];

		if (get(from, k->words) && k->words[0] >> 32 == STAMP_MAGIC && n++ % nth == 0) {
			k->addr = from;
			nr_kept++;
		}
	}
}

static void keep_pages(void)
{
	char path[64], line[512], mode[8];
	uint64_t from, to;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "r");
	if (!f)
		give_up(path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s", &from, &to, mode) == 3 &&
		    !strncmp(mode, "rw-p", 4) && to - from >= PAGE_BYTES * KEPT)
			keep_from(from, to, (to - from) / PAGE_BYTES / KEPT);
	}
	fclose(f);
	errno = 0;
	if (nr_kept < 2)
		give_up("stamped pages");
}

/* Waits until a kept page has a newer generation, then puts the old one back. */
static void roll_back(void)
{
	uint64_t words[PAGE_WORDS];

	for (int ms = 0; ms < WAIT_MS; ms += 10) {
		for (size_t i = 0; i < nr_kept; i++) {
			if (get(kept[i].addr, words) && words[0] == kept[i].words[0] &&
			    words[2] > kept[i].words[2]) {
				put(kept[i].addr, kept[i].words);
				return;
			}
		}
		usleep(10000);
	}
	give_up("no page changes");
}

int main(int argc, char **argv)
{
	static const uint64_t zero[PAGE_WORDS];
	char path[64];

	if (argc != 3) {
		fprintf(stderr, "usage: poke PID zero|back|flip|swap\n");
		return 2;
	}
	pid = (pid_t)strtol(argv[1], NULL, 10);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	if (mem < 0)
		give_up(path);
	keep_pages();
	if (!strcmp(argv[2], "zero")) {
		put(kept[nr_kept / 2].addr, zero);
	} else if (!strcmp(argv[2], "back")) {
		roll_back();
	} else if (!strcmp(argv[2], "flip")) {
		kept[0].words[PAGE_WORDS / 2] ^= 1;
		put(kept[0].addr, kept[0].words);
	} else if (!strcmp(argv[2], "swap")) {
		put(kept[0].addr, kept[1].words);
		put(kept[1].addr, kept[0].words);
	} else {
		give_up("unknown damage");
	}
	return 0;
}
