// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pagesum.c - the private memory of a stopped process, page by page.
 *
 * pagesum write PID FILE: a line for each page that is there, with a sum of its bytes.
 * pagesum check PID FILE: each page of FILE has the same bytes here; a page that is
 * here and not in FILE has the bytes of the mapped file, or zeros. Memory that the kernel
 * may drop is left out, and so are the few bytes for which the kernel tells a thread on
 * which processor it runs (rseq).
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/page.h"
#include "engine/proc/proc.h"
#include "engine/runs.h"
#include "engine/tracker/tracker.h"

#define FAULTS_MAX 40
#define RSEQ_MAX   64

struct sum {
	uint64_t vaddr, hash;
};

struct look {
	pid_t pid;
	int mem;
	FILE *out; /* NULL: check */
	struct sum *v;
	struct runs drop;
	struct __ptrace_rseq_configuration rseq[RSEQ_MAX];
	size_t n_rseq;
	size_t n, at, faults, seen;
};

static void fault(struct look *l, uint64_t vaddr, const char *what)
{
	if (l->faults++ < FAULTS_MAX)
		fprintf(stderr, "page %lx: %s\n", (unsigned long)vaddr, what);
}

/* Mappings with the flag "dp": nobody promises that they keep anything. */
static int find_droppable(struct look *l)
{
	char path[40], line[512];
	unsigned long start = 0, end = 0, a, b;

	snprintf(path, sizeof(path), "/proc/%d/smaps", l->pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &a, &b) == 2) {
			start = a;
			end = b;
		}
		if (!strncmp(line, "VmFlags:", 8) && strstr(line, " dp") &&
		    runs_add(&l->drop, start, (end - start) >> PAGE_BITS) < 0)
			return -ENOMEM;
	}
	return f ? 0 : -ESRCH;
}

static bool droppable(const struct look *l, uint64_t vaddr)
{
	size_t i = runs_find(&l->drop, vaddr);

	return i < l->drop.n && l->drop.v[i].vaddr <= vaddr;
}

/* The thread is in state T; being traced it can be asked. */
static void find_rseq(struct look *l, pid_t tid)
{
	struct __ptrace_rseq_configuration *c = &l->rseq[l->n_rseq];

	if (l->n_rseq == RSEQ_MAX || ptrace(PTRACE_SEIZE, tid, 0, 0) < 0)
		return;
	ptrace(PTRACE_INTERRUPT, tid, 0, 0);
	waitpid(tid, NULL, __WALL);
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(*c), c) > 0 && c->rseq_abi_pointer)
		l->n_rseq++;
	ptrace(PTRACE_DETACH, tid, 0, 0);
}

static void find_all_rseq(struct look *l)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/task", l->pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));)
		if (de->d_name[0] != '.')
			find_rseq(l, atoi(de->d_name));
}

/* Return: false: it cannot be read */
static bool read_page(struct look *l, uint64_t vaddr, uint8_t *page)
{
	if (mem_read(l->mem, l->pid, vaddr, page, 1) != 1)
		return false;
	for (size_t i = 0; i < l->n_rseq; i++)
		for (uint64_t k = 0; k < l->rseq[i].rseq_abi_size; k++)
			if (l->rseq[i].rseq_abi_pointer + k - vaddr < PAGE_BYTES)
				page[l->rseq[i].rseq_abi_pointer + k - vaddr] = 0;
	return true;
}

/* What a page has that nobody wrote. */
static void read_backing(struct look *l, const struct vma *vma, uint64_t vaddr, uint8_t *page)
{
	char path[80];

	memset(page, 0, PAGE_BYTES);
	if (vma->kind != VMA_FILE_PRIVATE)
		return;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", l->pid,
	         (unsigned long)vma->start, (unsigned long)vma->end);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && pread(fd, page, PAGE_BYTES, (off_t)(vma->offset + vaddr - vma->start)) < 0)
		fault(l, vaddr, "its file cannot be read");
}

static void look_page(struct look *l, const struct vma *vma, uint64_t vaddr)
{
	uint8_t page[PAGE_BYTES], backing[PAGE_BYTES];

	if (droppable(l, vaddr))
		return;
	l->seen++;
	if (!read_page(l, vaddr, page)) {
		fault(l, vaddr, "cannot be read");
		return;
	}
	uint64_t hash = XXH3_64bits(page, sizeof(page));

	if (l->out) {
		fprintf(l->out, "%lx %lx\n", (unsigned long)vaddr, (unsigned long)hash);
		return;
	}
	while (l->at < l->n && l->v[l->at].vaddr < vaddr)
		l->at++;
	if (l->at < l->n && l->v[l->at].vaddr == vaddr)
		return;
	read_backing(l, vma, vaddr, backing);
	if (memcmp(page, backing, sizeof(page)))
		fault(l, vaddr, "was not there before, and is neither a page of the file nor zero");
}

static int emit(void *arg, pid_t pid, const struct vma *vma, uint64_t vaddr, uint64_t pages,
                unsigned int flags)
{
	struct look *l = arg;

	(void)flags;
	for (uint64_t i = 0; pid == l->pid && i < pages; i++)
		look_page(l, vma, vaddr + i * PAGE_BYTES);
	return 0;
}

static int load(struct look *l, const char *name)
{
	AUTO(file) FILE *f = fopen(name, "re");
	unsigned long vaddr, hash;

	while (f && fscanf(f, "%lx %lx", &vaddr, &hash) == 2) {
		struct sum *v = realloc(l->v, (l->n + 1) * sizeof(*v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->v[l->n++] = (struct sum){ vaddr, hash };
	}
	return f && l->n ? 0 : -ENODATA;
}

static void check_listed(struct look *l)
{
	uint8_t page[PAGE_BYTES];

	for (size_t i = 0; i < l->n; i++)
		if (!read_page(l, l->v[i].vaddr, page))
			fault(l, l->v[i].vaddr, "is not here");
		else if (XXH3_64bits(page, sizeof(page)) != l->v[i].hash)
			fault(l, l->v[i].vaddr, "has other bytes");
}

int main(int argc, char **argv)
{
	struct look l = { 0 };
	struct err e = ERR_INIT;
	struct tracker_stats st;
	AUTO(tracker) struct tracker *trk = NULL;

	if (argc != 4)
		return 2;
	l.pid = atoi(argv[2]);
	l.mem = mem_open(l.pid, &e);
	bool check = !strcmp(argv[1], "check");

	if (l.mem < 0 || find_droppable(&l) < 0 || (check && load(&l, argv[3]) < 0))
		return 2;
	find_all_rseq(&l);
	l.out = check ? NULL : fopen(argv[3], "we");
	if (check)
		check_listed(&l);
	else if (!l.out)
		return 2;
	if (tracker_new(&trk, l.pid, TRACKER_NONE, &e) < 0 ||
	    tracker_final(trk, emit, &l, &st, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return 2;
	}
	printf("%s: %zu pages there, %zu listed, %zu differences\n", argv[1], l.seen, l.n,
	       l.faults);
	runs_fini(&l.drop);
	if (l.out && fclose(l.out))
		return 2;
	return l.faults ? 1 : 0;
}
