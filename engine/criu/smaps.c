// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * smaps.c - write what CRIU reads from smaps (each mapping's line of maps, and its VmFlags) from
 * the kernel's flags (vmaflags.c). CRIU ignores the rest of smaps, sums over pages that cost 10 ms
 * for each GiB.
 *
 * The name of a flag is trusted only after this kernel has printed it for a mapping of our own
 * that has the flag, and for none that does not. A process with any other flag gets the kernel's
 * file.
 */
#include "engine/criu/smaps.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "common/log.h"
#include "common/page.h"
#include "engine/criu/vmaflags.h"
#include "engine/proc/proc.h"

#define LINE_BYTES 4600 /* a path and the numbers before it */
#define BITS       64

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

/* As kernels from 6.1 on print them; see above. */
static const char names[BITS][4] = {
	[0] = "rd",  [1] = "wr",  [2] = "ex",  [3] = "sh",  [4] = "mr",  [5] = "mw",  [6] = "me",
	[7] = "ms",  [8] = "gd",  [9] = "um",  [10] = "pf", [11] = "gu", [12] = "uw", [13] = "lo",
	[14] = "io", [15] = "sr", [16] = "rr", [17] = "dc", [18] = "de", [19] = "lf", [20] = "ac",
	[21] = "nr", [22] = "ht", [23] = "sf", [25] = "wf", [26] = "dd", [27] = "sd", [28] = "mm",
	[29] = "hg", [30] = "nh", [31] = "mg", [40] = "dp",
};

struct smaps {
	struct vmaflags *flags;
	uint64_t known; /* bits whose name is certain */
	char gate[64]; /* VmFlags of [vsyscall], which is not a mapping of the process */
};

/* ---- mappings of our own, one for each flag ---- */

struct sample {
	int prot, map, advice;
	bool lock, on_fault, uffd;
};

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW   (PROT_READ | PROT_WRITE)

static const struct sample samples[] = {
	{ PROT_NONE, ANON, 0, false, false, false },
	{ PROT_READ, ANON, 0, false, false, false },
	{ PROT_READ | PROT_EXEC, ANON, 0, false, false, false },
	{ RW, ANON, 0, false, false, false },
	{ RW, MAP_SHARED | MAP_ANONYMOUS, 0, false, false, false },
	{ RW, ANON | MAP_NORESERVE, 0, false, false, false },
	{ RW, ANON | MAP_GROWSDOWN, 0, false, false, false },
	{ RW, ANON | MAP_HUGETLB | MAP_NORESERVE, 0, false, false, false },
	{ RW, MAP_DROPPABLE | MAP_ANONYMOUS, 0, false, false, false },
	{ RW, ANON, MADV_DONTFORK, false, false, false },
	{ RW, ANON, MADV_DONTDUMP, false, false, false },
	{ RW, ANON, MADV_WIPEONFORK, false, false, false },
	{ RW, ANON, MADV_SEQUENTIAL, false, false, false },
	{ RW, ANON, MADV_RANDOM, false, false, false },
	{ RW, ANON, MADV_HUGEPAGE, false, false, false },
	{ RW, ANON, MADV_NOHUGEPAGE, false, false, false },
	{ RW, ANON, MADV_GUARD_INSTALL, false, false, false },
	{ RW, ANON, MADV_MERGEABLE, false, false, false },
	{ RW, ANON, 0, true, false, false },
	{ RW, ANON, 0, true, true, false },
	{ RW, ANON, 0, false, false, true },
};

static int register_uffd(void *p, size_t bytes)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, bytes },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};

	/* refused: then these two flags stay unknown */
	if (fd >= 0 && (ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* A flag that the kernel refuses stays unknown. Return: start of the mapping; NULL */
static void *make(const struct sample *s, size_t bytes, int *uffd)
{
	void *p = mmap(NULL, bytes, s->prot, s->map, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (s->advice && madvise(p, bytes, s->advice) < 0)
		log_debug("smaps: advice %d: %s", s->advice, strerror(errno));
	if (s->lock && syscall(SYS_mlock2, p, bytes, s->on_fault ? MLOCK_ONFAULT : 0) < 0)
		log_debug("smaps: mlock: %s", strerror(errno));
	if (s->uffd)
		*uffd = register_uffd(p, bytes);
	return p;
}

/* ---- learning ---- */

struct lesson {
	uint64_t right, wrong; /* bits that were printed with a name other than expected */
};

static void learn_line(struct lesson *l, uint64_t flags, const char *printed)
{
	for (int bit = 0; bit < BITS; bit++) {
		if (!names[bit][0])
			continue;
		const char word[] = { ' ', names[bit][0], names[bit][1], ' ', 0 };
		bool is = flags >> bit & 1, said = strstr(printed, word) != NULL;

		if (is != said)
			l->wrong |= 1ULL << bit;
		else if (is)
			l->right |= 1ULL << bit;
	}
}

static const struct vma_raw *find(const struct vma_raw *v, size_t n, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].start == start)
			return v[i].end == end ? &v[i] : NULL;
	return NULL;
}

static int learn_all(struct smaps *s, struct lesson *l, struct err *e)
{
	AUTO(mem) struct vma_raw *before = NULL;
	AUTO(mem) struct vma_raw *after = NULL;
	AUTO(mem) char *text = NULL;
	size_t n_before, n_after, bytes = 0;
	unsigned long start = 0, end = 0, a, b;
	char line[LINE_BYTES];
	int r = vmaflags_read(s->flags, getpid(), &before, &n_before, e);

	if (r < 0)
		return r;
	AUTO(file) FILE *f = fopen("/proc/self/smaps", "re");
	AUTO(file) FILE *copy = open_memstream(&text, &bytes);

	while (f && copy && fgets(line, sizeof(line), f))
		fputs(line, copy);
	r = vmaflags_read(s->flags, getpid(), &after, &n_after, e);
	if (r < 0 || !f || !copy || fflush(copy) != 0)
		return r < 0 ? r : err_sys(e, "/proc/self/smaps");
	for (char *save = NULL, *p = strtok_r(text, "\n", &save); p;
	     p = strtok_r(NULL, "\n", &save)) {
		if (sscanf(p, "%lx-%lx ", &a, &b) == 2) {
			start = a;
			end = b;
			if (strstr(p, "[vsyscall]"))
				start = UINT64_MAX;
		}
		if (strncmp(p, "VmFlags:", 8) != 0)
			continue;
		if (start == UINT64_MAX)
			snprintf(s->gate, sizeof(s->gate), "%s", p);
		/* other threads map and unmap: use only mappings that did not change */
		const struct vma_raw *x = find(before, n_before, start, end);
		const struct vma_raw *y = find(after, n_after, start, end);

		if (x && y && x->flags == y->flags)
			learn_line(l, x->flags, p + 8);
	}
	return 0;
}

static int learn(struct smaps *s, struct err *e)
{
	void *at[ARRAY_SIZE(samples)];
	const size_t bytes = 2u << 20; /* one huge page; not touched unless locked */
	struct lesson l = { 0 };
	AUTO(fd) int uffd = -1;

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		at[i] = make(&samples[i], samples[i].lock ? PAGE_BYTES : bytes, &uffd);
	int r = learn_all(s, &l, e);

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		if (at[i])
			munmap(at[i], samples[i].lock ? PAGE_BYTES : bytes);
	s->known = l.right & ~l.wrong;
	log_debug("smaps: flags known %llx, otherwise %llx", (unsigned long long)s->known,
	          (unsigned long long)l.wrong);
	return r;
}

int smaps_new(struct smaps **out, struct err *e)
{
	AUTO(smaps) struct smaps *s = calloc(1, sizeof(*s));
	int r = s ? vmaflags_new(&s->flags, e) : err_set(e, ERR_SYS, ENOMEM, "no memory");

	if (r)
		return r;
	r = learn(s, e);
	if (r)
		return r;
	if (!(s->known & 1))
		r = err_set(e, ERR_SYS, ENOTSUP, "flags of mappings are not as expected");
	if (r)
		return r;
	*out = steal(s);
	return 0;
}

/* ---- answering ---- */

/* The line of the flags; mappings of a process have few different ones. */
struct printed {
	uint64_t flags;
	char line[16 + 3 * BITS]; /* empty: not printed yet */
};

static int print_flags(const struct smaps *s, uint64_t flags, struct printed *out)
{
	size_t n = 0;

	if (flags & ~s->known) {
		log_info("smaps: flags %llx are not known",
		         (unsigned long long)(flags & ~s->known));
		return -ENODATA;
	}
	memcpy(out->line, "VmFlags:", 8);
	n = 8;
	for (int bit = 0; bit < BITS; bit++)
		if (flags >> bit & 1) {
			out->line[n++] = ' ';
			out->line[n++] = names[bit][0];
			out->line[n++] = names[bit][1];
		}
	memcpy(out->line + n, " \n", 3);
	out->flags = flags;
	return 0;
}

static int put_flags(const struct smaps *s, uint64_t flags, struct printed *p, FILE *out)
{
	int r = p->line[0] && p->flags == flags ? 0 : print_flags(s, flags, p);

	return r < 0 ? r : fputs(p->line, out) < 0 ? -ENOMEM : 0;
}

/* "START-END " at the beginning of a line of maps */
static bool is_at(const char *line, const struct vma_raw *v)
{
	char *end;

	return strtoull(line, &end, 16) == v->start && *end == '-' &&
	       strtoull(end + 1, &end, 16) == v->end && *end == ' ';
}

/* Join maps and flags: if they do not name the same mappings, fail. */
static int put_all(const struct smaps *s, FILE *maps, const struct vma_raw *v, size_t n, FILE *out)
{
	char line[LINE_BYTES];
	struct printed p = { 0 };
	size_t at = 0;
	int r = 0;

	while (r == 0 && fgets(line, sizeof(line), maps)) {
		if (!strchr(line, '\n'))
			return -ENODATA;
		fputs(line, out);
		if (at < n && is_at(line, &v[at]))
			r = put_flags(s, v[at++].flags, &p, out);
		else if (strstr(line, "[vsyscall]") && s->gate[0])
			fprintf(out, "%s\n", s->gate);
		else
			return -ENODATA;
	}
	return r == 0 && at != n ? -ENODATA : r;
}

int smaps_open(const struct smaps *s, pid_t pid, struct err *e)
{
	AUTO(mem) struct vma_raw *v = NULL;
	AUTO(mem) char *text = NULL;
	AUTO(mem) char *room = malloc(PROCS_READ_BYTES);
	size_t n, bytes = 0;
	char path[32];
	int r = vmaflags_read(s->flags, pid, &v, &n, e);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	AUTO(file) FILE *maps = fopen(path, "re");
	AUTO(file) FILE *out = open_memstream(&text, &bytes);
	AUTO(fd) int fd = memfd_create("smaps", MFD_CLOEXEC);

	if (!maps || !out || fd < 0)
		return err_sys(e, "%s", path);
	if (room)
		setvbuf(maps, room, _IOFBF, PROCS_READ_BYTES);
	r = put_all(s, maps, v, n, out);
	if (r == 0 && fflush(out) != 0)
		r = -ENOMEM;
	if (r < 0)
		return err_set(e, ERR_SYS, -r, "mappings of pid %d: %s", pid, strerror(-r));
	if (write(fd, text, bytes) != (ssize_t)bytes || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "write mappings");
	return steal_fd(&fd);
}

void smaps_free(struct smaps *s)
{
	if (!s)
		return;
	vmaflags_free(s->flags);
	free(s);
}
