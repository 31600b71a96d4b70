// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * maps.c - kinds of mappings: a sparse 64 GiB reservation with single pages, runs
 * and huge pages in it; content without access rights; a private file mapping with
 * some pages written; locked memory; shared memory and a memfd with a child that
 * writes into them; .data and .bss.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/work/work.h"

#define SPARSE_BYTES (64ULL << 30)
#define SINGLES	     2000
#define HUGE_BYTES   (2u << 20)
#define NONE_PAGES   64
#define FILE_PAGES   4096
#define LOCK_PAGES   8
#define SHARED_PAGES 1024

static uint8_t *sparse, *none, *file_map, *file_ro, *locked, *anon_shared, *mem_fd_map;
static uint32_t single_gen[SINGLES], file_gen[FILE_PAGES], data_gen[16] = { 1 };
static _Alignas(4096) uint8_t bss[16 * PAGE];
static _Alignas(4096) uint8_t data[16 * PAGE] = { 1 };
static int memfd;

static uint8_t *single(size_t i)
{
	return sparse + (i * 7919 * PAGE * 4 + (uint64_t)i * (SPARSE_BYTES / SINGLES / 2)) % SPARSE_BYTES /
				PAGE * PAGE;
}

static uint8_t *huge(void)
{
	return (uint8_t *)(((uintptr_t)sparse + SPARSE_BYTES - 16 * HUGE_BYTES) &
			   ~(uintptr_t)(HUGE_BYTES - 1));
}

static uint8_t *map(size_t bytes, int flags)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1,
		       0);

	if (p == MAP_FAILED)
		exit(1);
	return p;
}

static void setup_sparse(void)
{
	sparse = map(SPARSE_BYTES, MAP_NORESERVE);
	madvise(huge(), 4 * HUGE_BYTES, MADV_HUGEPAGE);
	for (size_t i = 0; i < 4 * HUGE_BYTES / PAGE; i++)
		stamp_put(huge() + i * PAGE, 5, i, 1);
	for (size_t i = 0; i < SINGLES; i++)
		stamp_put(single(i), 6, i, 0);
	/* read only: the zero page */
	for (size_t i = 0; i < 64; i++)
		if (!all_zero(sparse + (SPARSE_BYTES / 2 + i * 64 * PAGE)))
			exit(1);
	none = map(NONE_PAGES * PAGE, 0);
	for (size_t i = 0; i < NONE_PAGES; i++)
		stamp_put(none + i * PAGE, 8, i, 3);
	mprotect(none, NONE_PAGES * PAGE, PROT_NONE);
	locked = map(LOCK_PAGES * PAGE, 0);
	for (size_t i = 0; i < LOCK_PAGES; i++)
		stamp_put(locked + i * PAGE, 9, i, 4);
	if (mlock(locked, LOCK_PAGES * PAGE))
		exit(1);
}

static void setup_file(void)
{
	char path[512];
	uint8_t page[PAGE];

	snprintf(path, sizeof(path), "%s/mapped", work_dir());
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	for (size_t i = 0; i < FILE_PAGES; i++) {
		memset(page, 0, PAGE);
		stamp_put(page, 20, i, 0);
		if (write(fd, page, PAGE) != PAGE)
			exit(1);
	}
	file_map = mmap(NULL, FILE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	file_ro = mmap(NULL, FILE_PAGES * PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	for (size_t i = 0; i < FILE_PAGES; i += 3)
		stamp_put(file_map + i * PAGE, 20, i, ++file_gen[i]);
}

static void setup_shared(void)
{
	size_t bytes = SHARED_PAGES * PAGE;

	anon_shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memfd = memfd_create("maps", 0);
	if (ftruncate(memfd, (off_t)bytes) || lseek(memfd, 12345, SEEK_SET) != 12345)
		exit(1);
	mem_fd_map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	for (size_t i = 0; i < SHARED_PAGES; i++) {
		stamp_put(anon_shared + i * PAGE, 11, i, 0);
		stamp_put(mem_fd_map + i * PAGE, 12, i, 0);
	}
	for (size_t i = 0; i < 16; i++) {
		data_gen[i] = 0;
		memset(data + i * PAGE, 0, PAGE);
		stamp_put(data + i * PAGE, 30, i, 0);
		stamp_put(bss + i * PAGE, 31, i, 0);
	}
}

/* The last page of each is a counter that the child writes and the parent reads. */
static volatile uint64_t *counter(uint8_t *area)
{
	return (volatile uint64_t *)(area + (SHARED_PAGES - 1) * PAGE);
}

static void child(void)
{
	prctl(PR_SET_PDEATHSIG, 9);
	for (uint64_t n = 1;; n++) {
		*counter(anon_shared) = n;
		*counter(mem_fd_map) = n;
		usleep(1000);
	}
}

static uint64_t check_shared(uint8_t *area, uint64_t id)
{
	uint64_t bad = 0, before = *counter(area);

	for (size_t i = 0; i < SHARED_PAGES - 1; i++)
		bad += !stamp_ok(area + i * PAGE, id, i, 0);
	for (int i = 0; i < 200 && *counter(area) == before; i++)
		usleep(5000);
	return bad + (*counter(area) == before);
}

static uint64_t check_sparse(void)
{
	uint64_t bad = 0, x = 31337;

	for (size_t i = 0; i < SINGLES; i++)
		bad += !stamp_ok(single(i), 6, i, single_gen[i]);
	for (size_t i = 0; i < 4 * HUGE_BYTES / PAGE; i++)
		bad += !stamp_ok(huge() + i * PAGE, 5, i, 1);
	for (int i = 0; i < 200; i++) {
		uint8_t *p = sparse + SPARSE_BYTES / 2 + next_random(&x) % 100000 * PAGE + 17 * PAGE;
		bool touched = false;

		for (size_t k = 0; k < SINGLES; k++)
			touched |= single(k) == p;
		bad += !touched && !all_zero(p);
	}
	return bad;
}

/* Wrong pages by kind, for the report. */
struct rest {
	unsigned int none, locked, file, file_ro, data, bss, offset;
};

static struct rest check_rest(void)
{
	struct rest r = { 0 };

	mprotect(none, NONE_PAGES * PAGE, PROT_READ);
	for (size_t i = 0; i < NONE_PAGES; i++)
		r.none += !stamp_ok(none + i * PAGE, 8, i, 3);
	mprotect(none, NONE_PAGES * PAGE, PROT_NONE);
	for (size_t i = 0; i < LOCK_PAGES; i++)
		r.locked += !stamp_ok(locked + i * PAGE, 9, i, 4);
	for (size_t i = 0; i < FILE_PAGES; i++) {
		r.file += !stamp_ok(file_map + i * PAGE, 20, i, file_gen[i]);
		r.file_ro += !stamp_ok(file_ro + i * PAGE, 20, i, 0);
	}
	for (size_t i = 0; i < 16; i++) {
		r.data += !stamp_ok(data + i * PAGE, 30, i, data_gen[i]);
		r.bss += !stamp_ok(bss + i * PAGE, 31, i, data_gen[i]);
	}
	r.offset = lseek(memfd, 0, SEEK_CUR) != 12345;
	return r;
}

static void verify(void)
{
	struct rest r = check_rest();
	uint64_t s = check_sparse(), a = check_shared(anon_shared, 11),
		 m = check_shared(mem_fd_map, 12);
	unsigned int rest = r.none + r.locked + r.file + r.file_ro + r.data + r.bss + r.offset;

	work_report(s + rest + a + m == 0,
		    "\"sparse\": %llu, \"none\": %u, \"locked\": %u, \"file\": %u, \"file_ro\": %u, "
		    "\"data\": %u, \"bss\": %u, \"offset\": %u, \"anon_shared\": %llu, \"memfd\": %llu",
		    (unsigned long long)s, r.none, r.locked, r.file, r.file_ro, r.data, r.bss, r.offset,
		    (unsigned long long)a, (unsigned long long)m);
}

int main(int argc, char **argv)
{
	uint64_t x = 99;

	work_init(argc, argv);
	setup_sparse();
	setup_file();
	setup_shared();
	if (fork() == 0)
		child();
	work_ready();
	for (;;) {
		size_t i = next_random(&x) % SINGLES, f = next_random(&x) % (FILE_PAGES / 3) * 3,
		       d = next_random(&x) % 16;

		stamp_put(single(i), 6, i, ++single_gen[i]);
		stamp_put(file_map + f * PAGE, 20, f, ++file_gen[f]);
		++data_gen[d];
		stamp_put(data + d * PAGE, 30, d, data_gen[d]);
		stamp_put(bss + d * PAGE, 31, d, data_gen[d]);
		if (work_wanted())
			verify();
		usleep(1000);
	}
}
