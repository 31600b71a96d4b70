// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-img.c - any bytes as one of the images of CRIU that haul reads, or as a packed page
 * map of the other host; the first byte says which. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/page.h"
#include "engine/images/class_runs.h"
#include "engine/images/img.h"
#include "replay.h"

enum { TREE, CORE, MM, RUNS, NAME, FILES, N_KINDS };

static const char *const names[N_KINDS] = {
	[TREE] = "pstree.img",
	[CORE] = "core-7.img",
	[MM] = "mm-7.img",
	[FILES] = "files.img",
};

/* What is changed can be read again, and is not changed twice. */
static int read_core(int dir, struct err *e)
{
	const struct img_left left = {
		.tid = 7, .sleep_ns = 1000000, .poll_ns = 1000000, .block = { 0x10000, 1ULL << 32 }
	};
	struct img_core core;
	int r = img_core(dir, 7, &core, e);

	bool waits;

	if (r == 0)
		r = img_signal_waits(dir, 7, &waits, e);
	if (r == 0)
		r = img_call_again(dir, 7, &left, e);
	if (r > 0 && img_call_again(dir, 7, &left, e) != 0)
		abort();
	return r < 0 ? r : 0;
}

static int read_image(int dir, int kind, struct err *e)
{
	struct img_tree tree = { 0 };
	struct img_vmas *vmas = NULL;
	int r;

	switch (kind) {
	case TREE:
		r = img_tree(dir, &tree, e);
		for (size_t i = 0; r == 0 && i < tree.n; i++)
			if (tree.v[i].n_threads && !tree.v[i].threads)
				abort();
		img_tree_fini(&tree);
		return r;
	case CORE:
		return read_core(dir, e);
	case FILES:
		return img_fit_timers(dir, &(bool){ 0 }, e);
	default:
		r = img_vmas(dir, 7, &vmas, e);
		if (r == 0)
			for (uint64_t at = 0; at < 1ULL << 48; at += (1ULL << 44) + 4096)
				img_vmas_lazy(vmas, at);
		img_vmas_free(vmas);
		return r;
	}
}

static char folder[] = "/dev/shm/fuzz-img.XXXXXX";

static int dir = -1, file[N_KINDS];

static void leave(void)
{
	for (int i = 0; i < N_KINDS; i++)
		if (names[i])
			unlinkat(dir, names[i], 0);
	rmdir(folder);
}

/* The files are made once, and written anew each time. */
static void set_up(void)
{
	struct err e = ERR_INIT;

	if (!mkdtemp(folder) || (dir = open(folder, O_DIRECTORY | O_CLOEXEC)) < 0)
		abort();
	for (int i = 0; i < N_KINDS; i++)
		if (names[i] && (img_save(dir, names[i], "", 0, &e) < 0 ||
		                 (file[i] = openat(dir, names[i], O_WRONLY | O_CLOEXEC)) < 0))
			abort();
	atexit(leave);
}

static void image(int kind, const uint8_t *p, size_t bytes)
{
	struct err e = ERR_INIT;

	if (dir < 0)
		set_up();
	if (ftruncate(file[kind], (off_t)bytes) < 0 ||
	    pwrite(file[kind], p, bytes, 0) != (ssize_t)bytes)
		abort();
	int r = read_image(dir, kind, &e);

	if ((r < 0) != (e.msg[0] != 0))
		abort();
}

/* What is accepted is in order, in range, and packs to something that reads the same. */
static void runs(const uint8_t *p, size_t bytes)
{
	struct class_runs a = { 0 }, b = { 0 };
	struct err e = ERR_INIT;
	AUTO(mem) uint8_t *packed = NULL;
	size_t n = 0;

	if (class_runs_unpack(p, bytes, &a, &e) < 0) {
		if (!e.msg[0])
			abort();
		class_runs_fini(&a);
		return;
	}
	for (size_t i = 0; i < a.n; i++)
		if (a.v[i].pages == 0 || a.v[i].class >= PC_N ||
		    a.v[i].vaddr + a.v[i].pages * PAGE_BYTES > 1ULL << 47 ||
		    (i && a.v[i].vaddr < a.v[i - 1].vaddr + a.v[i - 1].pages * PAGE_BYTES))
			abort();
	if (class_runs_pack(&a, &packed, &n) < 0 || class_runs_unpack(packed, n, &b, &e) < 0 ||
	    a.n != b.n)
		abort();
	for (size_t i = 0; i < a.n; i++)
		if (a.v[i].vaddr != b.v[i].vaddr || a.v[i].pages != b.v[i].pages ||
		    a.v[i].class != b.v[i].class)
			abort();
	class_runs_fini(&a);
	class_runs_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	char name[80] = "";

	if (bytes < 1)
		return 0;
	int kind = p[0] % N_KINDS;

	if (names[kind]) {
		image(kind, p + 1, bytes - 1);
	} else if (kind == RUNS) {
		runs(p + 1, bytes - 1);
	} else {
		memcpy(name, p + 1, bytes - 1 < sizeof(name) ? bytes - 1 : sizeof(name) - 1);
		if (img_name_ok(name) && (strchr(name, '/') || name[0] == '.'))
			abort();
	}
	return 0;
}
