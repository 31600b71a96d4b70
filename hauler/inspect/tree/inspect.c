// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * inspect.c - what a process tree uses, and the findings that forbid or change its move: calls the
 * other files.
 */
#include "hauler/inspect/tree/tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/host/nofile.h"
#include "engine/criu/sandbox.h"
#include "engine/proc/vforks.h"
#include "common/clock.h"

#define LARGE_SHM_BYTES (64u << 20)
#define OPEN_PER_TASK   4u
#define OPEN_BASE       256u
#define VFORK_LIMIT_MS  300

/* ---- the whole tree ---- */

/* Memory that is not sent in rounds makes the stop longer. */
static int say_memory(struct inspect *i)
{
	unsigned int mib = 20;
	int r = 0;

	if (i->bytes.huge)
		r = inspect_say(i, SEV_WARNING, "hugetlb",
		                "expect a longer stop, and reserve as many huge pages there "
		                "(vm.nr_hugepages)",
		                "%llu MiB of huge pages are sent while the tree is stopped",
		                (unsigned long long)i->bytes.huge >> mib);
	if (r)
		return r;
	if (i->bytes.shm > LARGE_SHM_BYTES)
		r = inspect_say(i, SEV_WARNING, "shared-memory",
		                "expect a longer stop; private memory is not read in it",
		                "%llu MiB of shared memory are read while the tree is "
		                "stopped, and what was not sent before is sent",
		                (unsigned long long)i->bytes.shm >> mib);
	if (r)
		return r;
	if (i->bytes.ghost > LARGE_SHM_BYTES)
		r = inspect_say(i, SEV_WARNING, "deleted-files",
		                "expect a longer stop; a file with a name would be sent before it",
		                "%llu MiB of deleted files are sent while the tree is stopped, and "
		                "take as much memory",
		                (unsigned long long)i->bytes.ghost >> mib);
	if (r)
		return r;
	if (i->bytes.untouched && !i->sandbox)
		r = inspect_say(
		        i, SEV_WARNING, "locked-untouched",
		        "munlock() before the move, or lock it without MLOCK_ONFAULT",
		        "%llu MiB of locked memory were never touched (MLOCK_ONFAULT): at the "
		        "destination they take memory, for this kernel does not tell which they "
		        "are",
		        (unsigned long long)i->bytes.untouched >> mib);
	if (r)
		return r;
	if (i->bytes.locked)
		r = inspect_say(
		        i, SEV_INFO, "locked-memory", NULL,
		        "%llu MiB are locked in memory: they are sent before the tree resumes",
		        (unsigned long long)i->bytes.locked >> mib);
	return r;
}

/* Each process needs its memory, its pidfd and its tracker's descriptor; connections need more. */
static int say_open_files(struct inspect *i)
{
	unsigned long need = OPEN_BASE + OPEN_PER_TASK * i->procs.n, may = nofile_limit();

	if (need <= may)
		return 0;
	return inspect_say(i, SEV_BLOCKER, "open-files",
	                   "raise the hard limit: ulimit -Hn, or LimitNOFILE= of the unit",
	                   "haul needs %lu open files for %zu processes; its limit is %lu", need,
	                   i->procs.n, may);
}

static int look_at_tasks(struct inspect *i)
{
	for (size_t k = 0; k < i->procs.n && !i->unfit; k++) {
		int r = inspect_task(i, k);

		if (r < 0)
			return r;
	}
	return 0;
}

static int each_living(struct inspect *i, int (*at)(struct inspect *i, pid_t pid))
{
	for (size_t k = 0; k < i->procs.n && !i->foreign; k++) {
		int r = i->tasks[k].zombie ? 0 : at(i, i->tasks[k].pid);

		if (r < 0)
			return r;
	}
	return 0;
}

/* As a rule the child executes a program at once. */
static int look_at_vforks(struct inspect *i)
{
	pid_t who = vforks_wait(i->procs.pid, i->procs.n, deadline_in_ms(VFORK_LIMIT_MS));

	return !who ? 0
	            : inspect_say(
	                      i, SEV_BLOCKER, "vfork",
	                      "wait until its child has executed its program, or has ended",
	                      "thread %d waits in vfork(2) for its child, which has not executed "
	                      "a program yet: until then it cannot be stopped",
	                      who);
}

static int look_at_maps(struct inspect *i)
{
	return each_living(i, inspect_maps);
}

static int look_at_losses(struct inspect *i)
{
	return each_living(i, inspect_lost);
}

static int look_at_fds(struct inspect *i)
{
	return each_living(i, inspect_fds);
}

static int look_at_unix(struct inspect *i)
{
	return inspect_unix(i, &i->sockets);
}

static int look_at_sockets(struct inspect *i)
{
	return inspect_sockets(i, &i->sockets);
}

static int look_outside(struct inspect *i)
{
	return i->foreign ? 0 : inspect_outside_tree(i);
}

/* All processes first: only then it is known which are outside. */
static int (*const looks[])(struct inspect *i) = {
	look_at_vforks,       inspect_sessions,  inspect_supervisor, look_at_maps,
	look_at_losses,       inspect_ancestors, inspect_sandboxes,  inspect_copies,
	look_at_fds,          inspect_ttys,      inspect_pipes,      inspect_traits,
	look_at_unix,         look_at_sockets,   inspect_tcp,        look_outside,
	inspect_rules_unused, inspect_hints,     inspect_limits,     inspect_sysv,
	say_open_files,       say_memory,
};

static int look(struct inspect *i)
{
	int r = inspect_leases(i);

	if (r < 0)
		return r;
	r = look_at_tasks(i);
	for (size_t k = 0; r >= 0 && !i->unfit && k < ARRAY_SIZE(looks); k++)
		r = looks[k](i);
	return r < 0 ? r : 0;
}

int inspect_new(struct inspect **out, pid_t root, struct err *e)
{
	return inspect_new_with(out, root, NULL, NULL, e);
}

int inspect_new_with(struct inspect **out, pid_t root, const struct inspect_net *net,
                     const struct dirs_opts *fs, struct err *e)
{
	AUTO(inspect) struct inspect *i = calloc(1, sizeof(*i));

	if (!i)
		return err_set(e, ERR_SYS, ENOMEM, "no memory to inspect pid %d", root);
	i->root = root;
	if (net)
		i->net = *net;
	i->fs = fs;
	inspect_comm(root, i->comm);
	i->listed = procs_now();
	int r = procs_tree(root, &i->procs, e);

	if (r < 0)
		return r;
	r = inspect_mounts(i, e);
	if (r < 0)
		return r;
	i->tasks = calloc(i->procs.n, sizeof(*i->tasks));
	r = i->tasks ? look(i) : -ENOMEM;
	if (r < 0)
		return err_set(e, ERR_SYS, -r, "inspect pid %d: %s", root, strerror(-r));
	*out = steal(i);
	return 0;
}

const struct img_rename *inspect_renames(const struct inspect *i, size_t *n)
{
	*n = i->renames.n;
	return i->renames.v;
}

const struct outs *inspect_outs(const struct inspect *i)
{
	return &i->outs;
}

const struct findings *inspect_findings(const struct inspect *i)
{
	return &i->findings;
}

bool inspect_shell_job(const struct inspect *i)
{
	return i->shell_job;
}

bool inspect_ext_unix(const struct inspect *i)
{
	return i->ext_unix;
}

const pid_t *inspect_pids(const struct inspect *i, size_t *n)
{
	*n = i->procs.n;
	return i->procs.pid;
}

const struct net_addr *inspect_locals(const struct inspect *i, size_t *n)
{
	*n = i->tcp.locals.n;
	return i->tcp.locals.v;
}

Haul__File *const *inspect_files(const struct inspect *i, size_t *n)
{
	*n = i->files.n;
	return i->files.v;
}

const char *inspect_root_dir(const struct inspect *i)
{
	return i->root_dir.path[0] ? i->root_dir.path : "/";
}

const char *inspect_unmovable_root(const struct inspect *i)
{
	return i->root_dir.fixed[0] ? i->root_dir.fixed : NULL;
}

size_t inspect_tasks(const struct inspect *i)
{
	return i->procs.n;
}

bool inspect_hides_limits(const struct inspect *i)
{
	return i->said.limits != 0;
}

bool inspect_locks(const struct inspect *i)
{
	return i->bytes.locked != 0;
}

void inspect_size(const struct inspect *i, struct pol_size *z)
{
	uint64_t fixed_bytes = i->bytes.ghost + i->bytes.huge;

	z->pages = i->bytes.anon / (uint64_t)POL_PAGE_BYTES;
	z->fixed_pages = (unsigned int)(fixed_bytes / (uint64_t)POL_PAGE_BYTES);
	z->shared_pages = (unsigned int)(i->bytes.shm / (uint64_t)POL_PAGE_BYTES);
	z->tasks = (unsigned int)i->procs.n;
	z->threads = (unsigned int)(i->numbers.n > i->procs.n ? i->numbers.n - i->procs.n : 0);
	z->tcp = (unsigned int)i->tcp.conns.n;
	z->maps = i->count.maps;
	z->file_maps = i->count.file_maps;
	z->fds = i->count.fds;
	z->aio = i->aio;
}

/* ---- the offer ---- */

/* The root directory is not worth a line: every host has one. */
static size_t list_mounts(struct inspect *i)
{
	size_t n = 0;

	free(i->mounts.used);
	i->mounts.used = calloc(i->mounts.n + 1, sizeof(*i->mounts.used));
	for (size_t k = 0; i->mounts.used && k < i->mounts.n; k++)
		if (i->mounts.v[k].used && strcmp(i->mounts.v[k].point, "/"))
			i->mounts.used[n++] = i->mounts.v[k].point;
	return n;
}

int inspect_offer(struct inspect *i, Haul__Offer *offer, struct err *e)
{
	struct utsname u;

	if (uname(&u) < 0)
		return err_sys(e, "uname");
	snprintf(i->host.kernel, sizeof(i->host.kernel), "%s", u.release);
	snprintf(i->host.machine, sizeof(i->host.machine), "%s", u.machine);
	offer->kernel = i->host.kernel;
	offer->machine = i->host.machine;
	offer->page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	offer->rss_bytes = i->bytes.anon + i->bytes.shm + i->bytes.ghost +
	                   (i->sandbox ? 0 : i->bytes.untouched);
	offer->n_pid = i->numbers.n;
	offer->pid = i->numbers.v;
	offer->n_file = i->files.n;
	offer->file = i->files.v;
	offer->n_uid = i->uids.n;
	offer->uid = i->uids.v;
	offer->n_mount = list_mounts(i);
	offer->mount = i->mounts.used;
	offer->n_port = i->ports.n;
	offer->port = i->ports.v;
	offer->n_unix_name = i->unix_names.n;
	offer->unix_name = i->unix_names.v;
	offer->n_device = i->devices.n;
	offer->device = i->devices.v;
	offer->n_pts = i->terminals.pts.n;
	offer->pts = i->terminals.pts.v;
	offer->root_pid = (uint32_t)i->root;
	offer->comm = i->comm;
	offer->root_dir = i->root_dir.path;
	return i->mounts.used ? 0 : err_set(e, ERR_SYS, ENOMEM, "no memory for the offer");
}

void inspect_free(struct inspect *i)
{
	if (!i)
		return;
	inspect_files_fini(i);
	sandbox_free(i->sandbox);
	inspect_ports_fini(i);
	inspect_devices_fini(i);
	free(i->mounts.used);
	free(i->uids.v);
	free(i->numbers.v);
	free(i->shm.v);
	free(i->pipes.v);
	inspect_relinks_fini(i);
	inspect_passed_fini(i);
	free(i->terminals.ttys.v);
	free(i->terminals.pts.v);
	free(i->terminals.pairs.v);
	free(i->sockets.v);
	free(i->tcp.conns.v);
	free(i->tcp.locals.v);
	free(i->strays.v);
	free(i->leases.v);
	for (size_t k = 0; k < i->unix_names.n; k++)
		free(i->unix_names.v[k]);
	free(i->unix_names.v);
	free(i->renames.v);
	outs_fini(&i->outs);
	free(i->tasks);
	procs_fini(&i->procs);
	findings_fini(&i->findings);
	free(i);
}
