// SPDX-License-Identifier: GPL-2.0-or-later
/* inspect.c - what a process tree uses, and the findings that forbid or change its move, put together. */
#include "hauler/inspect/priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/nofile.h"

#define LARGE_SHM_BYTES (64u << 20)
#define OPEN_PER_TASK   4u
#define OPEN_BASE       256u

/* ---- the whole tree ---- */

/* Memory that does not travel in rounds makes the stop longer. */
static int say_memory(struct inspect *i)
{
	unsigned int mib = 20;
	int r = 0;

	if (i->huge_bytes)
		r = inspect_say(i, SEV_WARNING, "hugetlb",
		                "expect a longer stop, and reserve as many huge pages there "
		                "(vm.nr_hugepages)",
		                "%llu MiB of huge pages travel while the tree is stopped",
		                (unsigned long long)i->huge_bytes >> mib);
	if (r == 0 && i->shm_bytes > LARGE_SHM_BYTES)
		r = inspect_say(i, SEV_WARNING, "shared-memory",
		                "expect a longer stop; private memory would travel before it",
		                "%llu MiB of shared memory travel while the tree is stopped",
		                (unsigned long long)i->shm_bytes >> mib);
	if (r == 0 && i->ghost_bytes > LARGE_SHM_BYTES)
		r = inspect_say(
		        i, SEV_WARNING, "deleted-files",
		        "expect a longer stop; a file with a name would travel before it",
		        "%llu MiB of deleted files travel while the tree is stopped, and take "
		        "as much memory",
		        (unsigned long long)i->ghost_bytes >> mib);
	if (r == 0 && i->locked_bytes)
		r = inspect_say(
		        i, SEV_INFO, "locked-memory", NULL,
		        "%llu MiB are locked in memory: they arrive before the tree goes on",
		        (unsigned long long)i->locked_bytes >> mib);
	return r;
}

/* For each process its memory, its pidfd and what tracks it are open; connections come on top. */
static int say_open_files(struct inspect *i)
{
	unsigned long need = OPEN_BASE + OPEN_PER_TASK * i->procs.n, may = nofile_limit();

	if (need <= may)
		return 0;
	return inspect_say(i, SEV_BLOCKER, "open-files",
	                   "raise the hard limit: ulimit -Hn, or LimitNOFILE= of the unit",
	                   "haul needs %lu open files for %zu processes, and may have %lu", need,
	                   i->procs.n, may);
}

/* All processes first: what is "outside" is known only then. */
static int look(struct inspect *i)
{
	int r = inspect_leases(i);

	for (size_t k = 0; r == 0 && k < i->procs.n && !i->unfit; k++)
		r = inspect_task(i, k);
	if (r == 0 && i->unfit)
		return 0;
	if (r == 0)
		r = inspect_sessions(i);
	if (r == 0)
		r = inspect_supervisor(i);
	for (size_t k = 0; r == 0 && k < i->procs.n && !i->foreign; k++)
		if (!i->tasks[k].zombie)
			r = inspect_maps(i, i->tasks[k].pid);
	for (size_t k = 0; r == 0 && k < i->procs.n && !i->foreign; k++)
		if (!i->tasks[k].zombie)
			r = inspect_lost(i, i->tasks[k].pid);
	if (r == 0)
		r = inspect_ancestors(i);
	for (size_t k = 0; r == 0 && k < i->procs.n && !i->foreign; k++)
		if (!i->tasks[k].zombie)
			r = inspect_fds(i, i->tasks[k].pid);
	if (r == 0)
		r = inspect_pipes(i);
	if (r == 0)
		r = inspect_unix(i, &i->sockets);
	if (r == 0)
		r = inspect_sockets(i, &i->sockets);
	if (r == 0)
		r = inspect_tcp(i);
	if (r == 0 && !i->foreign)
		r = inspect_outside_tree(i);
	if (r == 0)
		r = inspect_rules_unused(i);
	if (r == 0)
		r = say_open_files(i);
	return r < 0 ? r : say_memory(i);
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
	*n = i->n_renames;
	return i->renames;
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
	*n = i->n_locals;
	return i->locals;
}

Haul__File *const *inspect_files(const struct inspect *i, size_t *n)
{
	*n = i->n_files;
	return i->files;
}

const char *inspect_root_dir(const struct inspect *i)
{
	return i->root_dir[0] ? i->root_dir : "/";
}

const char *inspect_unmovable_root(const struct inspect *i)
{
	return i->fixed_root[0] ? i->fixed_root : NULL;
}

size_t inspect_tasks(const struct inspect *i)
{
	return i->procs.n;
}

void inspect_size(const struct inspect *i, struct pol_size *z)
{
	uint64_t fixed_bytes = i->shm_bytes + i->ghost_bytes + i->huge_bytes;

	z->pages = i->anon_bytes / (uint64_t)POL_PAGE_BYTES;
	z->fixed_pages = (unsigned int)(fixed_bytes / (uint64_t)POL_PAGE_BYTES);
	z->tasks = (unsigned int)i->procs.n;
	z->threads = (unsigned int)(i->n_numbers > i->procs.n ? i->n_numbers - i->procs.n : 0);
	z->tcp = (unsigned int)i->n_conns;
	z->aio = i->aio;
}

/* ---- the offer ---- */

/* The root directory is no news: every host has one. */
static size_t list_mounts(struct inspect *i)
{
	size_t n = 0;

	free(i->used_mounts);
	i->used_mounts = calloc(i->n_mounts + 1, sizeof(*i->used_mounts));
	for (size_t k = 0; i->used_mounts && k < i->n_mounts; k++)
		if (i->mounts[k].used && strcmp(i->mounts[k].point, "/"))
			i->used_mounts[n++] = i->mounts[k].point;
	return n;
}

int inspect_offer(struct inspect *i, Haul__Offer *offer, struct err *e)
{
	struct utsname u;

	if (uname(&u) < 0)
		return err_sys(e, "uname");
	snprintf(i->kernel, sizeof(i->kernel), "%s", u.release);
	snprintf(i->machine, sizeof(i->machine), "%s", u.machine);
	offer->kernel = i->kernel;
	offer->machine = i->machine;
	offer->page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	offer->rss_bytes = i->anon_bytes + i->shm_bytes + i->ghost_bytes;
	offer->n_pid = i->n_numbers;
	offer->pid = i->numbers;
	offer->n_file = i->n_files;
	offer->file = i->files;
	offer->n_uid = i->n_uids;
	offer->uid = i->uids;
	offer->n_mount = list_mounts(i);
	offer->mount = i->used_mounts;
	offer->n_port = i->n_ports;
	offer->port = i->ports;
	offer->n_unix_name = i->n_unix_names;
	offer->unix_name = i->unix_names;
	offer->root_pid = (uint32_t)i->root;
	offer->comm = i->comm;
	offer->root_dir = i->root_dir;
	return i->used_mounts ? 0 : err_set(e, ERR_SYS, ENOMEM, "no memory for the offer");
}

void inspect_free(struct inspect *i)
{
	if (!i)
		return;
	inspect_files_fini(i);
	inspect_ports_fini(i);
	free(i->used_mounts);
	free(i->uids);
	free(i->numbers);
	free(i->shm);
	free(i->pipes.v);
	free(i->sockets.v);
	free(i->conns);
	free(i->locals);
	free(i->strays);
	free(i->leases);
	for (size_t k = 0; k < i->n_unix_names; k++)
		free(i->unix_names[k]);
	free(i->unix_names);
	free(i->renames);
	outs_fini(&i->outs);
	free(i->tasks);
	procs_fini(&i->procs);
	findings_fini(&i->findings);
	free(i);
}
