// SPDX-License-Identifier: GPL-2.0-or-later
/* inspect.c - what a tree uses: processes, namespaces, files, memory. */
#include "hauler/insp.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "common/elf.h"

#define BUILD_ID_MAX 64

bool insp_in_tree(const struct insp *i, pid_t pid)
{
	for (size_t k = 0; k < i->procs.n; k++)
		if (i->procs.pid[k] == pid)
			return true;
	return false;
}

static Haul__File *find_file(const struct insp *i, const char *path)
{
	for (size_t k = 0; k < i->n_files; k++)
		if (!strcmp(i->files[k]->path, path))
			return i->files[k];
	return NULL;
}

static void fill_file(Haul__File *f, const char *path, bool mapped)
{
	uint8_t id[BUILD_ID_MAX];
	struct stat st;

	if (stat(path, &st) < 0)
		return;
	f->size = (uint64_t)st.st_size;
	f->mode = st.st_mode;
	f->directory = S_ISDIR(st.st_mode);
	AUTO(fd) int fd = mapped && S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	size_t n = fd >= 0 ? elf_build_id(fd, id, sizeof(id)) : 0;

	if (n && (f->build_id.data = malloc(n))) {
		memcpy(f->build_id.data, id, n);
		f->build_id.len = n;
	}
}

int insp_add_file(struct insp *i, const char *path, bool mapped, bool open_, bool write_,
                  bool directory)
{
	Haul__File *f = find_file(i, path);

	if (!f) {
		Haul__File **v = realloc(i->files, (i->n_files + 1) * sizeof(*v));

		if (v)
			i->files = v;
		f = v ? malloc(sizeof(*f)) : NULL;
		if (!f)
			return -ENOMEM;
		haul__file__init(f);
		f->path = strdup(path);
		if (!f->path) {
			free(f);
			return -ENOMEM;
		}
		i->files[i->n_files++] = f;
		fill_file(f, path, mapped);
	}
	f->mapped |= mapped;
	f->open |= open_;
	f->write |= write_;
	f->directory |= directory;
	return 0;
}

/* ---- one process ---- */

struct status {
	char state;
	int tracer, uid;
	uint64_t rss_kib;
	bool kthread;
};

static void read_status(pid_t pid, struct status *s, char comm[32])
{
	char path[40], line[256];
	unsigned long v;

	memset(s, 0, sizeof(*s));
	s->kthread = true; /* no Vm lines */
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (comm && sscanf(line, "Name: %31s", comm) == 1)
			continue;
		if (sscanf(line, "State: %c", &s->state) == 1 ||
		    sscanf(line, "TracerPid: %d", &s->tracer) == 1 ||
		    sscanf(line, "Uid: %d", &s->uid) == 1)
			continue;
		if (!strncmp(line, "VmSize:", 7))
			s->kthread = false;
		if (sscanf(line, "RssAnon: %lu", &v) == 1 || sscanf(line, "RssShmem: %lu", &v) == 1)
			s->rss_kib += v;
	}
}

static void check_namespaces(struct insp *i, pid_t pid)
{
	static const struct {
		const char *name, *what;
	} ns[] = { { "pid", "pid" },   { "mnt", "mount" }, { "net", "network" },
		   { "user", "user" }, { "ipc", "IPC" },   { "uts", "UTS" } };

	for (size_t k = 0; k < ARRAY_SIZE(ns); k++) {
		char path[48], theirs[64] = "", ours[64] = "";

		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, ns[k].name);
		ssize_t a = readlink(path, theirs, sizeof(theirs) - 1);

		snprintf(path, sizeof(path), "/proc/self/ns/%s", ns[k].name);
		ssize_t b = readlink(path, ours, sizeof(ours) - 1);

		if (a > 0 && b > 0 && strcmp(theirs, ours))
			finding_add(&i->findings, SEV_BLOCKER, "namespace",
			            "run haul inside that container, as the host of the process",
			            "pid %d lives in another %s namespace", pid, ns[k].what);
	}
}

static void check_session(struct insp *i, pid_t pid)
{
	char path[40], buf[512] = "";
	int pgid, sid, tty;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, buf, sizeof(buf) - 1) : 0;
	char *p = n > 0 ? strrchr(buf, ')') : NULL;

	if (!p || sscanf(p + 1, " %*c %*d %d %d %d", &pgid, &sid, &tty) != 3)
		return;
	if (insp_in_tree(i, sid) && insp_in_tree(i, pgid))
		return;
	i->shell_job = true;
	finding_add(&i->findings, SEV_WARNING, "session",
	            "start it with setsid to keep its own session",
	            "pid %d belongs to session %d and group %d outside the tree; it joins hauld's",
	            pid, sid, pgid);
}

static int check_maps(struct insp *i, pid_t pid, struct err *e)
{
	char path[40], line[INSP_PATH_MAX + 256], name[INSP_PATH_MAX], prot[8];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && r == 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*s %7s %*s %*s %*s %4095[^\n]", prot, name) != 2 ||
		    name[0] != '/')
			continue;
		if (!strncmp(name, "/SYSV", 5))
			finding_add(&i->findings, SEV_BLOCKER, "sysv-shm",
				    "CRIU moves it only with its IPC namespace: run the program in a "
				    "container",
				    "pid %d has System V shared memory", pid);
		if (!strncmp(name, "/memfd:", 7) || !strncmp(name, "/SYSV", 5) ||
		    !strncmp(name, "/dev/zero", 9) || !strncmp(name, "/anon_hugepage", 14))
			continue;
		if (strstr(name, " (deleted)")) {
			finding_add(&i->findings, SEV_INFO, "deleted-file", NULL,
			            "pid %d maps %s; it travels with the process", pid, name);
			continue;
		}
		r = insp_add_file(i, name, true, false, false, false);
	}
	return r < 0 ? err_set(e, ERR_SYS, -r, "no memory for files") : 0;
}

static int add_link(struct insp *i, pid_t pid, const char *what)
{
	char path[40], name[INSP_PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	ssize_t n = readlink(path, name, sizeof(name) - 1);

	if (n <= 0)
		return 0;
	name[n] = 0;
	bool exe = !strcmp(what, "exe");

	if (!strcmp(what, "root"))
		snprintf(i->root_dir, sizeof(i->root_dir), "%.255s", name);
	if (strstr(name, " (deleted)"))
		return finding_add(&i->findings, exe ? SEV_BLOCKER : SEV_WARNING, "deleted-exe",
		                   "restart the process from the file that is there now",
		                   "%s of pid %d was deleted: %s", what, pid, name);
	return insp_add_file(i, name, exe, false, false, !exe);
}

static int add_uid(struct insp *i, uint32_t uid)
{
	for (size_t k = 0; k < i->n_uids; k++)
		if (i->uids[k] == uid)
			return 0;
	uint32_t *v = realloc(i->uids, (i->n_uids + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	i->uids = v;
	i->uids[i->n_uids++] = uid;
	return 0;
}

static int look_at(struct insp *i, pid_t pid, struct err *e)
{
	struct status s;

	read_status(pid, &s, pid == i->root ? i->comm : NULL);
	if (s.state == 'Z' && pid != i->root)
		return 0;
	if (s.state == 'Z')
		finding_add(&i->findings, SEV_BLOCKER, "zombie", "its parent has to collect it",
		            "pid %d has ended already", pid);
	else if (s.kthread && pid == i->root)
		finding_add(&i->findings, SEV_BLOCKER, "kernel-thread", "name a process",
		            "pid %d is a kernel thread", pid);
	if (s.tracer)
		finding_add(&i->findings, SEV_BLOCKER, "traced", "detach the debugger first",
		            "pid %d is traced by pid %d", pid, s.tracer);
	if (pid == getpid() || pid == 1)
		finding_add(&i->findings, SEV_BLOCKER, "self", "name another process",
		            "pid %d is %s", pid, pid == 1 ? "the host's init" : "haul itself");
	i->rss_bytes += s.rss_kib * 1024;
	check_namespaces(i, pid);
	check_session(i, pid);
	int r = add_uid(i, (uint32_t)s.uid);

	if (r == 0)
		r = add_link(i, pid, "exe");
	if (r == 0)
		r = add_link(i, pid, "cwd");
	if (r == 0)
		r = add_link(i, pid, "root");
	if (r == 0)
		r = check_maps(i, pid, e);
	return r < 0 ? err_set(e, ERR_SYS, -r, "inspect pid %d", pid) : insp_fds(i, pid, e);
}

int insp_new(struct insp **out, pid_t root, struct err *e)
{
	AUTO(insp) struct insp *i = calloc(1, sizeof(*i));

	if (!i)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	i->root = root;
	int r = procs_tree(root, &i->procs, e);

	if (r < 0)
		return r;
	for (size_t k = 0; r == 0 && k < i->procs.n; k++)
		r = look_at(i, i->procs.pid[k], e);
	if (r == 0)
		r = insp_ends(i, e);
	if (r == 0)
		r = insp_sockets(i, e);
	if (r == 0)
		*out = steal(i);
	return r;
}

const struct findings *insp_findings(const struct insp *i)
{
	return &i->findings;
}

bool insp_shell_job(const struct insp *i)
{
	return i->shell_job;
}

int insp_offer(struct insp *i, Haul__Offer *offer, struct err *e)
{
	struct utsname u;

	free(i->pids);
	i->pids = calloc(i->procs.n + 1, sizeof(*i->pids));
	if (!i->pids || uname(&u) < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the offer");
	for (size_t k = 0; k < i->procs.n; k++)
		i->pids[k] = (uint32_t)i->procs.pid[k];
	snprintf(i->kernel, sizeof(i->kernel), "%s", u.release);
	snprintf(i->machine, sizeof(i->machine), "%s", u.machine);
	offer->kernel = i->kernel;
	offer->machine = i->machine;
	offer->page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	offer->rss_bytes = i->rss_bytes;
	offer->n_pid = i->procs.n;
	offer->pid = i->pids;
	offer->n_file = i->n_files;
	offer->file = i->files;
	offer->n_uid = i->n_uids;
	offer->uid = i->uids;
	offer->root_pid = (uint32_t)i->root;
	offer->comm = i->comm;
	offer->root_dir = i->root_dir;
	return 0;
}

void insp_free(struct insp *i)
{
	if (!i)
		return;
	for (size_t k = 0; k < i->n_files; k++) {
		free(i->files[k]->path);
		free(i->files[k]->build_id.data);
		free(i->files[k]);
	}
	free(i->files);
	free(i->uids);
	free(i->pids);
	free(i->pipes);
	free(i->sockets);
	procs_fini(&i->procs);
	findings_fini(&i->findings);
	free(i);
}
