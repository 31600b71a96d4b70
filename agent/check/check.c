// SPDX-License-Identifier: GPL-2.0-or-later
/* check.c - can this host take the tree of an OFFER? Looks, and touches nothing. */
#include "agent/check/check.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "agent/check/files.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/printable.h"
#include "engine/criu/criu.h"
#include "engine/images/img.h"
#include "engine/proc/attrs.h"
#include "transport/msg/haul.pb-c.h"

#define FILES_MAX     65536
#define PIDS_MAX      65536 /* threads are among them */
#define UIDS_MAX      4096
#define MOUNTS_MAX    4096
#define PORTS_MAX     65536
#define PATH_BYTES    4096
#define CPUINFO_MAX   (1u << 20)
#define MEM_SPARE     (64ULL << 20)
#define CPU_LIMIT_MS  5000
#define NAMES_LOOKED  64 /* each may ask a directory server */
#define SAME_KIND_MAX 16 /* findings of one kind; the rest is a number */

struct check {
	const Haul__Offer *o;
	const struct check_host *host;
	struct findings *out;
	bool *absent; /* mount points of the offer that are not mount points here */
	bool no_memory;
};

/* A finding that could not be stored must not read as "nothing found". */
#define say(c, ...) ((c)->no_memory |= finding_add((c)->out, __VA_ARGS__) < 0)

/* ---- the host ---- */

uint64_t check_mem_free_bytes(void)
{
	AUTO(file) FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
			break;
	return (uint64_t)kib * 1024;
}

static void check_host(struct check *c)
{
	char theirs[128];
	long page = sysconf(_SC_PAGESIZE);
	struct utsname u;

	if (uname(&u) < 0)
		return;
	if (strcmp(c->o->machine, u.machine))
		say(c, SEV_BLOCKER, "machine", "choose a host of the same architecture",
		    "the source is %s, the destination is %s",
		    files_clean(c->o->machine, theirs, sizeof(theirs)), u.machine);
	if (c->o->page_bytes != (uint64_t)page)
		say(c, SEV_BLOCKER, "page-size", "choose a host with the same page size",
		    "the source has pages of %u bytes, the destination of %ld", c->o->page_bytes,
		    page);
	if (strcmp(c->o->kernel, u.release))
		say(c, SEV_INFO, "kernel", NULL, "kernel %s at the source, %s at the destination",
		    files_clean(c->o->kernel, theirs, sizeof(theirs)), u.release);
}

/* Only the same or a newer CRIU reads the images; memory needs userfaultfd. */
static void check_criu(struct check *c)
{
	unsigned int here = c->host->criu_version, there = c->o->criu ? c->o->criu->version : 0;

	if (!here && c->host->scarce) {
		say(c, SEV_BLOCKER, "host-scarce",
		    "raise the limit there: TasksMax= and LimitNOFILE= of hauld.service, "
		    "kernel.pid_max, fs.file-max",
		    "the destination is %s", c->host->scarce);
		return;
	}
	if (!here) {
		say(c, SEV_BLOCKER, "criu-missing",
		    "run contrib/find-criu there, or start hauld with --criu PATH",
		    "no working CRIU at the destination (%s): %s",
		    c->host->criu_path ? c->host->criu_path : "none found",
		    c->host->criu_error ? c->host->criu_error : "not found");
		return;
	}
	if (here < there)
		say(c, SEV_BLOCKER, "criu-older",
		    "install the same or a newer CRIU at the destination: contrib/find-criu",
		    "CRIU %u.%u.%u at the destination is older than %u.%u.%u at the source and may "
		    "not read its images",
		    here / 10000, here / 100 % 100, here % 100, there / 10000, there / 100 % 100,
		    there % 100);
	if (!c->host->criu_lazy)
		say(c, SEV_BLOCKER, "no-userfaultfd",
		    "run hauld as root there; sysctl vm.unprivileged_userfaultfd=1; the kernel "
		    "needs CONFIG_USERFAULTFD",
		    "CRIU at the destination cannot restore with userfaultfd");
}

/* CRIU compares the source's cpuinfo.img with the CPU here. Return: -ENOTSUP ours is less */
static int compare_cpu(const struct check *c, struct err *e)
{
	const Haul__Criu *theirs = c->o->criu;
	AUTO(fd) int dir = -1;

	if (!theirs || !theirs->cpuinfo.len || theirs->cpuinfo.len > CPUINFO_MAX)
		return err_set(e, ERR_PEER, ENODATA, "the source did not send its own");
	int r = img_dir(&dir, e);

	if (r < 0)
		return r;
	r = img_save(dir, "cpuinfo.img", theirs->cpuinfo.data, theirs->cpuinfo.len, e);
	if (r < 0)
		return r;
	return criu_cpuinfo(c->host->criu_path, dir, true, deadline_in_ms(CPU_LIMIT_MS), e);
}

static void check_cpu(struct check *c)
{
	struct err e = ERR_INIT;

	if (!c->host->criu_version)
		return;
	int r = compare_cpu(c, &e);

	if (r == -ENOTSUP)
		say(c, SEV_BLOCKER, "cpu",
		    "choose a host whose CPU has all features of the source's (see lscpu)",
		    "the CPU at the destination lacks features of the source's");
	else if (r < 0)
		say(c, SEV_WARNING, "cpu-unknown",
		    "compare the flags of both in lscpu: the destination needs all of the source's",
		    "the CPUs could not be compared: %s", files_clean(e.msg, e.msg, sizeof(e.msg)));
}

/* Threads with an affinity of their own, whose CPUs this host may lack. */
static void check_cpus(struct check *c)
{
	const ProtobufCBinaryData *cpus = &c->o->cpus;
	int n = cpus->len <= ATTRS_CPU_BYTES ? attrs_first_missing(cpus->data, cpus->len) : -1;

	if (n >= 0)
		say(c, SEV_WARNING, "cpu-missing",
		    "choose a host with as many CPUs, or set the affinity again after the "
		    "migration",
		    "threads are bound to CPUs that the destination lacks (CPU %d, for example): "
		    "they "
		    "will run on the others of their CPUs, or on all",
		    n);
}

static void check_mem(struct check *c)
{
	uint64_t have = check_mem_free_bytes(), want = c->o->rss_bytes;
	uint64_t spare = want / 10 + MEM_SPARE;

	if (want <= have && spare <= have - want)
		return;
	say(c, SEV_BLOCKER, "memory-short", "free memory there, or choose another host",
	    "the tree needs %llu MiB and the move %llu MiB more, the destination has %llu MiB free",
	    (unsigned long long)want >> 20, (unsigned long long)spare >> 20,
	    (unsigned long long)have >> 20);
}

static void check_users(struct check *c)
{
	for (size_t i = 0; i < c->o->n_uid && i < NAMES_LOOKED; i++)
		if (!getpwuid(c->o->uid[i]))
			say(c, SEV_INFO, "user", NULL,
			    "user id %u has no name at the destination; the number is what counts",
			    c->o->uid[i]);
}

/* ---- pids ---- */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int say_taken(struct findings *out, uint32_t id, uint32_t by, const char *as)
{
	char comm[32];

	printable_comm((pid_t)by, comm, sizeof(comm));
	return finding_add(
	        out, SEV_BLOCKER, "pid-taken",
	        "end that process there, or start the tree in a pid range that is free on both "
	        "(kernel.ns_last_pid); or --pid=own-namespace, which a service, --as and "
	        "--into-root do not have",
	        "pid %u is taken at the destination%s by pid %u (%s)", id, as, by, comm);
}

int check_pids_free(const uint32_t *pid, size_t n, struct findings *out)
{
	unsigned int taken = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		char path[40];

		/* threads are not listed in /proc, but found by name */
		snprintf(path, sizeof(path), "/proc/%u", pid[i]);
		if (access(path, F_OK) == 0 && taken++ < SAME_KIND_MAX)
			r = say_taken(out, pid[i], pid[i], "");
	}
	if (r)
		return r;
	if (taken > SAME_KIND_MAX)
		r = finding_add(out, SEV_BLOCKER, "pid-taken", "see the others",
		                "%u more pids are taken at the destination", taken - SAME_KIND_MAX);
	return r;
}

/* A number stays in use while it names a group or session, even without its leader. */
static void check_groups_of(struct check *c, uint32_t pid, const uint32_t *sorted, size_t n)
{
	char path[40], buf[1024];
	uint32_t id[2]; /* group, session */

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	AUTO(file) FILE *f = fopen(path, "re");
	size_t got = f ? fread(buf, 1, sizeof(buf) - 1, f) : 0;

	buf[got] = 0;
	char *p = strrchr(buf, ')');

	if (!p || sscanf(p + 1, " %*c %*d %u %u", &id[0], &id[1]) != 2)
		return;
	for (int k = 0; k < 2; k++) {
		snprintf(path, sizeof(path), "/proc/%u", id[k]);
		if (!bsearch(&id[k], sorted, n, sizeof(*sorted), by_number) ||
		    access(path, F_OK) == 0) /* check_pids_free() has said so */
			continue;
		c->no_memory |= say_taken(c->out, id[k], pid, k ? " as a session" : " as a group") <
		                0;
		return;
	}
}

static void check_groups(struct check *c)
{
	size_t n = c->o->n_pid;
	AUTO(mem) uint32_t *sorted = malloc(n * sizeof(*sorted));
	AUTO(dir) DIR *d = opendir("/proc");

	c->no_memory |= !sorted;
	if (!sorted)
		return;
	memcpy(sorted, c->o->pid, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_number);
	for (struct dirent *de; d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]))
			check_groups_of(c, (uint32_t)strtoul(de->d_name, NULL, 10), sorted, n);
}

static void check_pids(struct check *c)
{
	c->no_memory |= check_pids_free(c->o->pid, c->o->n_pid, c->out) < 0;
	if (!c->no_memory)
		check_groups(c);
}

bool check_own_pids(const Haul__Offer *o)
{
	struct findings taken = { 0 };
	struct check c = { .o = o, .out = &taken };

	if (!strcmp(o->pid_mode, CHECK_PID_OWN))
		return true;
	if (strcmp(o->pid_mode, CHECK_PID_AUTO) != 0 || o->land[0] || o->unit[0] ||
	    o->into_root[0] || o->n_pid > PIDS_MAX)
		return false;
	for (size_t i = 0; i < o->n_pid; i++)
		if (o->pid[i] <= 1)
			return false; /* process 1 of a namespace is ours */
	check_pids(&c);
	bool own = taken.blockers > 0;

	findings_fini(&taken);
	return own;
}

static void say_own_pids(struct check *c)
{
	say(c, SEV_WARNING, "pid-namespace", "--pid=keep refuses that instead",
	    "the tree will be in a pid namespace of its own at the destination: it keeps its "
	    "pids there, the other processes of that host see it under others, and it does not "
	    "see them");
}

static void check_pid_max(struct check *c)
{
	AUTO(file) FILE *f = fopen("/proc/sys/kernel/pid_max", "re");
	uint32_t max, top = 0;

	if (!f || fscanf(f, "%u", &max) != 1)
		return;
	for (size_t i = 0; i < c->o->n_pid; i++)
		if (c->o->pid[i] > top)
			top = c->o->pid[i];
	if (top >= max)
		say(c, SEV_BLOCKER, "pid-max", "sysctl kernel.pid_max=4194304 there",
		    "pid %u cannot be made at the destination: its highest is %u", top, max - 1);
}

/* ---- terminals ---- */

/* CRIU needs the numbers that they have, or others: img_renumber_ttys(). */
static void check_terminals(struct check *c)
{
	bool other = false;
	uint32_t k = 0;

	for (; k < c->o->n_pts && k < IMG_PTS_MAX && !other; k += !other) {
		char path[40];

		snprintf(path, sizeof(path), "/dev/pts/%u", c->o->pts[k]);
		other = access(path, F_OK) == 0 || c->o->pts[k] >= IMG_PTS_TRIES;
	}
	if (other)
		say(c, SEV_WARNING, "terminal-number",
		    "end the session that has it there (who, tmux), if programs know the terminal "
		    "by "
		    "its name",
		    "the number of the terminal pts/%u is taken at the destination: there the "
		    "tree's "
		    "terminals get other numbers, and ttyname(3) tells another name",
		    c->o->pts[k]);
	if (c->o->n_pts > IMG_PTS_MAX)
		say(c, SEV_BLOCKER, "terminal-many", "close some of them",
		    "the tree has %zu terminals; %d can be moved", c->o->n_pts, IMG_PTS_MAX);
}

/* ---- files ---- */

static void check_mounts(struct check *c)
{
	char name[PATH_BYTES];
	struct statx st;

	for (size_t i = 0; i < c->o->n_mount; i++) {
		const char *path = c->o->mount[i];

		c->absent[i] = statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_TYPE, &st) < 0 ||
		               !(st.stx_attributes & STATX_ATTR_MOUNT_ROOT);
		if (c->absent[i])
			say(c, SEV_INFO, "mount", NULL,
			    "%s is a mount point at the source, but not at the destination",
			    files_clean(path, name, sizeof(name)));
	}
}

static int check_files(struct check *c, struct err *e)
{
	const struct check_host *h = c->host;
	AUTO(mem) Haul__FileSeen *own = calloc(c->o->n_file + 1, sizeof(*own));
	struct rights rights = { 0 };
	struct files f = { .o = c->o,
		           .seen = h->seen ? h->seen : own,
		           .prove = c->o->proofs ? h->prove : NULL,
		           .arg = h->prove_arg,
		           .seed = h->seed,
		           .rights = h->rights ? h->rights : &rights,
		           .id = h->id,
		           .allow = h->allow,
		           .key = h->key,
		           .out = c->out,
		           .absent = c->absent };

	c->no_memory |= !own || (!h->rights && rights_load(&rights, c->o) < 0);
	int r = c->no_memory ? 0 : files_check(&f, e);

	rights_fini(&rights);
	c->no_memory |= f.no_memory;
	return r;
}

/* ---- the offer ---- */

static bool is_path_ok(const char *path)
{
	return path[0] == '/' && strlen(path) < PATH_BYTES;
}

/* Return: 0; -EBADMSG: haul would never send this */
static int check_form(const Haul__Offer *o, struct err *e)
{
	if (o->n_file > FILES_MAX || o->n_pid > PIDS_MAX || o->n_uid > UIDS_MAX ||
	    o->n_mount > MOUNTS_MAX || o->n_port > PORTS_MAX || o->n_unix_name > PORTS_MAX ||
	    o->n_pid == 0)
		return err_set(e, ERR_PEER, EBADMSG,
		               "offer of %zu pids, %zu files, %zu users, %zu mounts, %zu ports",
		               o->n_pid, o->n_file, o->n_uid, o->n_mount, o->n_port);
	for (size_t i = 0; i < o->n_pid; i++)
		if (o->pid[i] == 0 || o->pid[i] > INT_MAX)
			return err_set(e, ERR_PEER, EBADMSG, "offer of pid %u", o->pid[i]);
	if (o->into_root[0] && (!is_path_ok(o->into_root) || strstr(o->into_root, "/..")))
		return err_set(e, ERR_PEER, EBADMSG, "offer of a root directory without full path");
	for (size_t i = 0; i < o->n_file; i++)
		if (!is_path_ok(o->file[i]->path))
			return err_set(e, ERR_PEER, EBADMSG, "offer of a file without full path");
	for (size_t i = 0; i < o->n_mount; i++)
		if (!is_path_ok(o->mount[i]))
			return err_set(e, ERR_PEER, EBADMSG, "offer of a mount without full path");
	for (size_t i = 0; i < o->n_port; i++)
		if ((o->port[i]->address.len != 4 && o->port[i]->address.len != 16) ||
		    o->port[i]->port == 0 || o->port[i]->port > UINT16_MAX)
			return err_set(e, ERR_PEER, EBADMSG, "offer of port %u", o->port[i]->port);
	return 0;
}

int check_offer(const Haul__Offer *offer, const struct check_host *host, struct findings *out,
                struct err *e)
{
	struct check c = { .o = offer, .host = host, .out = out };
	int r = check_form(offer, e);

	if (r < 0)
		return r;
	AUTO(mem) bool *absent = calloc(offer->n_mount + 1, sizeof(*absent));

	c.absent = absent;
	c.no_memory = !absent;
	/* the numbers of a container are its namespace's */
	if (!c.no_memory && !host->own_pids && !offer->container)
		check_pids(&c);
	if (!c.no_memory) {
		if (host->own_pids)
			say_own_pids(&c);
		check_host(&c);
		check_criu(&c);
		check_cpu(&c);
		check_cpus(&c);
		check_mem(&c);
		check_users(&c);
		if (!offer->container)
			check_pid_max(&c);
		check_terminals(&c);
		check_mounts(&c);
		r = check_files(&c, e);
		c.no_memory |= ports_check(offer, out) < 0;
		c.no_memory |= host->rights && ports_judge(offer, host->rights, out) < 0;
		c.no_memory |= check_bound(offer, out) < 0;
	}
	if (r < 0)
		return r;
	return c.no_memory ? err_set(e, ERR_SYS, ENOMEM, "no memory for findings") : 0;
}
