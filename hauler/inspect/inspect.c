// SPDX-License-Identifier: GPL-2.0-or-later
/* inspect.c - what a tree uses and what of it stands in the way, put together. */
#include "hauler/inspect/priv.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/nofile.h"

#define LARGE_SHM_BYTES (64u << 20)
#define OPEN_PER_TASK   4u
#define OPEN_BASE       256u

/* ---- what the other files use ---- */

bool insp_in_tree(const struct insp *i, pid_t pid)
{
	for (size_t k = 0; k < i->procs.n; k++)
		if (i->procs.pid[k] == pid)
			return true;
	return false;
}

int insp_grow(void *array, size_t n, size_t *cap, size_t size)
{
	void *p;

	if (n < *cap)
		return 0;
	size_t more = *cap ? 2 * *cap : 16;

	memcpy(&p, array, sizeof(p));
	p = realloc(p, more * size);
	if (!p)
		return -ENOMEM;
	memcpy(array, &p, sizeof(p));
	*cap = more;
	return 0;
}

FILE *insp_open(pid_t pid, const char *what)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	return fopen(path, "re");
}

ssize_t insp_link(pid_t pid, const char *what, char *out, size_t bytes)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	ssize_t n = readlink(path, out, bytes - 1);

	out[n > 0 ? n : 0] = 0;
	return n < 0 ? -errno : n;
}

void insp_comm(pid_t pid, char out[INSP_COMM_MAX])
{
	AUTO(file) FILE *f = insp_open(pid, "comm");

	if (!f || !fgets(out, INSP_COMM_MAX, f))
		snprintf(out, INSP_COMM_MAX, "?");
	out[strcspn(out, "\n")] = 0;
}

int insp_number(struct insp *i, pid_t id)
{
	for (size_t k = 0; k < i->n_numbers; k++)
		if (i->numbers[k] == (uint32_t)id)
			return 0;
	if (insp_grow(&i->numbers, i->n_numbers, &i->cap_numbers, sizeof(*i->numbers)) < 0)
		return -ENOMEM;
	i->numbers[i->n_numbers++] = (uint32_t)id;
	return 0;
}

/* ---- the whole tree ---- */

/* Memory that does not travel in rounds makes the stop longer. */
static int say_memory(struct insp *i)
{
	unsigned int mib = 20;
	int r = 0;

	if (i->huge_bytes)
		r = insp_say(i, SEV_WARNING, "hugetlb",
		             "expect a longer stop, and reserve as many huge pages there "
		             "(vm.nr_hugepages)",
		             "%llu MiB of huge pages travel while the tree is stopped",
		             (unsigned long long)i->huge_bytes >> mib);
	if (r == 0 && i->shm_bytes > LARGE_SHM_BYTES)
		r = insp_say(i, SEV_WARNING, "shared-memory",
		             "expect a longer stop; private memory would travel before it",
		             "%llu MiB of shared memory travel while the tree is stopped",
		             (unsigned long long)i->shm_bytes >> mib);
	if (r == 0 && i->ghost_bytes > LARGE_SHM_BYTES)
		r = insp_say(i, SEV_WARNING, "deleted-files",
		             "expect a longer stop; a file with a name would travel before it",
		             "%llu MiB of deleted files travel while the tree is stopped, and take "
		             "as much memory",
		             (unsigned long long)i->ghost_bytes >> mib);
	if (r == 0 && i->locked_bytes)
		r = insp_say(i, SEV_INFO, "locked-memory", NULL,
		             "%llu MiB are locked in memory: they arrive before the tree goes on",
		             (unsigned long long)i->locked_bytes >> mib);
	return r;
}

/* For each process its memory, its pidfd and what tracks it are open; connections come on top. */
static int say_open_files(struct insp *i)
{
	unsigned long need = OPEN_BASE + OPEN_PER_TASK * i->procs.n, may = nofile_limit();

	if (need <= may)
		return 0;
	return insp_say(i, SEV_BLOCKER, "open-files",
	                "raise the hard limit: ulimit -Hn, or LimitNOFILE= of the unit",
	                "haul needs %lu open files for %zu processes, and may have %lu", need,
	                i->procs.n, may);
}

/* All processes first: what is "outside" is known only then. */
static int look(struct insp *i)
{
	int r = 0;

	for (size_t k = 0; r == 0 && k < i->procs.n && !i->unfit; k++)
		r = insp_task(i, k);
	if (r == 0 && i->unfit)
		return 0;
	if (r == 0)
		r = insp_sessions(i);
	for (size_t k = 0; r == 0 && k < i->procs.n && !i->foreign; k++)
		if (!i->tasks[k].zombie)
			r = insp_maps(i, i->tasks[k].pid);
	if (r == 0)
		r = insp_ancestors(i);
	for (size_t k = 0; r == 0 && k < i->procs.n && !i->foreign; k++)
		if (!i->tasks[k].zombie)
			r = insp_fds(i, i->tasks[k].pid);
	if (r == 0)
		r = insp_pipes(i);
	if (r == 0)
		r = insp_unix(i, &i->sockets);
	if (r == 0)
		r = insp_sockets(i, &i->sockets);
	if (r == 0)
		r = insp_tcp(i);
	if (r == 0)
		r = insp_rules_unused(i);
	if (r == 0)
		r = say_open_files(i);
	return r < 0 ? r : say_memory(i);
}

int insp_new(struct insp **out, pid_t root, struct err *e)
{
	return insp_new_with(out, root, NULL, NULL, e);
}

int insp_new_with(struct insp **out, pid_t root, const struct insp_net *net,
                  const struct fs_opts *fs, struct err *e)
{
	AUTO(insp) struct insp *i = calloc(1, sizeof(*i));

	if (!i)
		return err_set(e, ERR_SYS, ENOMEM, "no memory to inspect pid %d", root);
	i->root = root;
	if (net)
		i->net = *net;
	i->fs = fs;
	insp_comm(root, i->comm);
	int r = procs_tree(root, &i->procs, e);

	if (r < 0)
		return r;
	r = insp_mounts(i, e);
	if (r < 0)
		return r;
	i->tasks = calloc(i->procs.n, sizeof(*i->tasks));
	r = i->tasks ? look(i) : -ENOMEM;
	if (r < 0)
		return err_set(e, ERR_SYS, -r, "inspect pid %d: %s", root, strerror(-r));
	*out = steal(i);
	return 0;
}

const struct outs *insp_outs(const struct insp *i)
{
	return &i->outs;
}

const struct findings *insp_findings(const struct insp *i)
{
	return &i->findings;
}

bool insp_shell_job(const struct insp *i)
{
	return i->shell_job;
}

bool insp_ext_unix(const struct insp *i)
{
	return i->ext_unix;
}

const pid_t *insp_pids(const struct insp *i, size_t *n)
{
	*n = i->procs.n;
	return i->procs.pid;
}

const struct net_addr *insp_locals(const struct insp *i, size_t *n)
{
	*n = i->n_locals;
	return i->locals;
}

Haul__File *const *insp_files(const struct insp *i, size_t *n)
{
	*n = i->n_files;
	return i->files;
}

const char *insp_root_dir(const struct insp *i)
{
	return i->root_dir[0] ? i->root_dir : "/";
}

const char *insp_unmovable_root(const struct insp *i)
{
	return i->fixed_root[0] ? i->fixed_root : NULL;
}

size_t insp_tasks(const struct insp *i)
{
	return i->procs.n;
}

void insp_size(const struct insp *i, struct pol_size *z)
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
static size_t list_mounts(struct insp *i)
{
	size_t n = 0;

	free(i->used_mounts);
	i->used_mounts = calloc(i->n_mounts + 1, sizeof(*i->used_mounts));
	for (size_t k = 0; i->used_mounts && k < i->n_mounts; k++)
		if (i->mounts[k].used && strcmp(i->mounts[k].point, "/"))
			i->used_mounts[n++] = i->mounts[k].point;
	return n;
}

int insp_offer(struct insp *i, Haul__Offer *offer, struct err *e)
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
	offer->root_pid = (uint32_t)i->root;
	offer->comm = i->comm;
	offer->root_dir = i->root_dir;
	return i->used_mounts ? 0 : err_set(e, ERR_SYS, ENOMEM, "no memory for the offer");
}

void insp_free(struct insp *i)
{
	if (!i)
		return;
	insp_files_fini(i);
	insp_ports_fini(i);
	free(i->used_mounts);
	free(i->uids);
	free(i->numbers);
	free(i->shm);
	free(i->pipes.v);
	free(i->sockets.v);
	free(i->conns);
	free(i->locals);
	free(i->strays);
	outs_fini(&i->outs);
	free(i->tasks);
	procs_fini(&i->procs);
	findings_fini(&i->findings);
	free(i);
}
