// SPDX-License-Identifier: GPL-2.0-or-later
/* check.c - can this host take the tree of an OFFER? Looks, and touches nothing. */
#include "agent/check.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "common/auto.h"
#include "common/clock.h"
#include "common/elf.h"
#include "engine/criu.h"
#include "transport/haul.pb-c.h"

#define FILES_MAX    65536
#define PIDS_MAX     32768
#define BUILD_ID_MAX 64
#define MEM_SPARE    (64ULL << 20)
#define CPU_LIMIT_MS 5000

uint64_t chk_mem_free_bytes(void)
{
	AUTO(file) FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
			break;
	return (uint64_t)kib * 1024;
}

static void check_host(const Haul__Offer *o, struct findings *out)
{
	struct utsname u;

	uname(&u);
	if (strcmp(o->machine, u.machine))
		finding_add(out, SEV_BLOCKER, "machine", "choose a host of the same architecture",
		            "the source is %s, this host is %s", o->machine, u.machine);
	if (o->page_bytes != (uint32_t)sysconf(_SC_PAGESIZE))
		finding_add(out, SEV_BLOCKER, "page-size", "choose a host with the same page size",
		            "the source has pages of %u bytes, this host of %ld", o->page_bytes,
		            sysconf(_SC_PAGESIZE));
	if (strcmp(o->kernel, u.release))
		finding_add(out, SEV_INFO, "kernel", NULL, "kernel %s at the source, %s here",
		            o->kernel, u.release);
	for (size_t i = 0; i < o->n_uid; i++)
		if (!getpwuid(o->uid[i]))
			finding_add(out, SEV_INFO, "user", NULL,
			            "user id %u has no name here; the number is what counts",
			            o->uid[i]);
}

static void check_criu(const Haul__Offer *o, const struct chk_host *h, struct findings *out)
{
	if (!h->criu_version) {
		finding_add(out, SEV_BLOCKER, "criu-missing",
		            "run contrib/find-criu there, or start hauld with --criu PATH",
		            "no working CRIU at the destination (%s): %s", h->criu_path,
		            h->criu_error ? h->criu_error : "");
		return;
	}
	if (o->criu && h->criu_version < o->criu->version)
		finding_add(out, SEV_BLOCKER, "criu-older",
		            "install the same or a newer CRIU at the destination",
		            "CRIU %u at the destination is older than %u at the source; it may "
		            "not read its images",
		            h->criu_version, o->criu->version);
	if (!h->criu_lazy)
		finding_add(out, SEV_BLOCKER, "no-userfaultfd",
		            "the destination's kernel needs CONFIG_USERFAULTFD and root "
		            "CAP_SYS_PTRACE",
		            "CRIU at the destination cannot restore with userfaultfd");
}

static void check_cpu(const Haul__Offer *o, const struct chk_host *h, struct findings *out)
{
	AUTO(fd) int dir = -1;
	struct err e = ERR_INIT;

	if (!h->criu_version || !o->criu || !o->criu->cpuinfo.len)
		return;
	if (img_dir(&dir, &e) < 0 ||
	    img_save(dir, "cpuinfo.img", o->criu->cpuinfo.data, o->criu->cpuinfo.len, &e) < 0)
		return;
	int r = criu_cpuinfo(h->criu_path, dir, true, deadline_in_ms(CPU_LIMIT_MS), &e);

	if (r == -ENOTSUP)
		finding_add(out, SEV_BLOCKER, "cpu",
		            "choose a host whose CPU has all features of the source's",
		            "the CPU here lacks features of the source's");
	else if (r < 0)
		finding_add(out, SEV_WARNING, "cpu-unknown", "compare the CPUs yourself",
		            "the CPUs could not be compared: %s", e.msg);
}

static void check_mem(const Haul__Offer *o, struct findings *out)
{
	uint64_t have = chk_mem_free_bytes(), spare = o->rss_bytes / 10 + MEM_SPARE;

	if (o->rss_bytes > have || spare > have - o->rss_bytes)
		finding_add(out, SEV_BLOCKER, "memory-short",
		            "free memory at the destination, or choose another host",
		            "the tree needs %llu MiB with what the move takes, %llu MiB are free",
		            (unsigned long long)(o->rss_bytes + spare) >> 20,
		            (unsigned long long)have >> 20);
}

int chk_pids_free(const uint32_t *pid, size_t n, struct findings *out)
{
	for (size_t i = 0; i < n; i++) {
		char path[40], comm[32] = "?";

		snprintf(path, sizeof(path), "/proc/%u/comm", pid[i]);
		AUTO(file) FILE *f = fopen(path, "re");

		if (!f)
			continue;
		if (!fgets(comm, sizeof(comm), f))
			comm[0] = 0;
		comm[strcspn(comm, "\n")] = 0;
		if (finding_add(out, SEV_BLOCKER, "pid-taken",
		                "end that process, or start services there in another pid range "
		                "(kernel.ns_last_pid)",
		                "pid %u is taken at the destination by \"%s\"", pid[i], comm) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool same_build_id(const char *path, const Haul__File *f)
{
	uint8_t id[BUILD_ID_MAX];
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	size_t n = fd >= 0 ? elf_build_id(fd, id, sizeof(id)) : 0;

	return n == f->build_id.len && !memcmp(id, f->build_id.data, n);
}

static void check_file(const Haul__File *f, struct findings *out)
{
	struct stat st;

	if (f->path[0] != '/' || !strncmp(f->path, "/proc/", 6))
		return;
	if (stat(f->path, &st) < 0) {
		finding_add(out, SEV_BLOCKER, "file-missing",
		            "copy it to the same path at the destination", "%s %s is missing",
		            f->directory ? "directory" : "file", f->path);
		return;
	}
	if ((st.st_mode & S_IFMT) != (f->mode & S_IFMT)) {
		finding_add(out, SEV_BLOCKER, "file-differs", "put the same kind of file there",
		            "%s is of another type at the destination", f->path);
		return;
	}
	if (!S_ISREG(st.st_mode))
		return;
	/* CRIU compares the size of every file that it opens again */
	if ((uint64_t)st.st_size != f->size && !f->write)
		finding_add(out, SEV_BLOCKER, "file-differs",
		            "install the same version at the destination",
		            "%s has %lld bytes here, %llu at the source", f->path,
		            (long long)st.st_size, (unsigned long long)f->size);
	else if (f->mapped && f->build_id.len && !same_build_id(f->path, f))
		finding_add(out, SEV_BLOCKER, "file-differs",
		            "install the same version at the destination",
		            "%s has another build-id here", f->path);
}

int chk_offer(const Haul__Offer *o, const struct chk_host *host, struct findings *out,
              struct err *e)
{
	if (o->n_file > FILES_MAX || o->n_pid > PIDS_MAX || o->n_pid == 0)
		return err_set(e, ERR_PEER, E2BIG, "offer of %zu processes and %zu files", o->n_pid,
		               o->n_file);
	check_host(o, out);
	check_criu(o, host, out);
	check_cpu(o, host, out);
	check_mem(o, out);
	if (chk_pids_free(o->pid, o->n_pid, out) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for findings");
	for (size_t i = 0; i < o->n_file; i++)
		check_file(o->file[i], out);
	return 0;
}
