/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * shape.c - a program of a given shape and nearly no memory: mappings of one page, open files with a
 * position, processes, threads. Each page, file and process is verified.
 */
#include "work.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_BYTES   16
#define MANY         1000000L
#define FILES_FOLDER 1000 /* in one directory */
#define SPARE_FILES  64 /* descriptors besides ours */
#define STACK_BYTES  (64 * 1024)

static long mappings, files, children, connections, threads = 1;
static const struct work_opt opts[] = {
	{ "--mappings", "mappings of one page each (0)", &mappings, NULL, NULL },
	{ "--files", "open files of each process, each of a name of its own (0)", &files, NULL,
	  NULL },
	{ "--children", "processes besides the first (0)", &children, NULL, NULL },
	{ "--threads", "threads of each process (1)", &threads, NULL, NULL },
	{ "--connections", "TCP sockets of the first process, connected in pairs (0)", &connections,
	  NULL, NULL },
	{ 0 },
};

static struct area area;
static int *fds, *socks;
static pid_t *pids;
static int answers[2]; /* a pipe: what each child has found */

/* Neighbours differ in their rights, so that none are joined. */
static void make_mappings(void)
{
	size_t n = (size_t)mappings;

	area_init(&area, work_map(n), n, 1, 1);
	area_stamp_all(&area);
	for (size_t i = 0; i < n; i += 2)
		if (mprotect(area.base + i * PAGE_BYTES, PAGE_BYTES, PROT_READ) < 0)
			work_die("mapping %zu: %s", i, strerror(errno));
}

static void file_text(long i, char text[FILE_BYTES + 1])
{
	snprintf(text, FILE_BYTES + 1, "%016ld", i % MANY);
}

static void make_file(long process, long i)
{
	char text[FILE_BYTES + 1], folder[64], name[128], path[PATH_MAX];

	snprintf(folder, sizeof(folder), "files.%ld.%ld", process, i / FILES_FOLDER);
	snprintf(name, sizeof(name), "%s/%ld", folder, i % FILES_FOLDER);
	if (i % FILES_FOLDER == 0 && mkdir(work_path(folder, path, sizeof(path)), 0755) < 0)
		work_die("%s: %s", path, strerror(errno));
	file_text(i, text);
	int fd = open(work_path(name, path, sizeof(path)), O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (fd < 0 || write(fd, text, FILE_BYTES) != FILE_BYTES || close(fd) < 0)
		work_die("%s: %s", path, strerror(errno));
	fds[i] = open(path, O_RDONLY);
	if (fds[i] < 0 || lseek(fds[i], i % FILE_BYTES, SEEK_SET) < 0)
		work_die("%s: %s", path, strerror(errno));
}

static void make_files(long process)
{
	rlim_t most = (rlim_t)(files + connections + SPARE_FILES);
	struct rlimit lim = { most, most };

	if (files + connections > 512 && setrlimit(RLIMIT_NOFILE, &lim) < 0)
		work_die("%ld open files: %s", files, strerror(errno));
	fds = calloc((size_t)files + 1, sizeof(*fds));
	for (long i = 0; fds && i < files; i++)
		make_file(process, i);
}

static void make_connections(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (struct sockaddr *)&at, n) < 0 || listen(listener, 16) < 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &n) < 0)
		work_die("listen: %s", strerror(errno));
	socks = calloc((size_t)connections + 2, sizeof(*socks));
	for (long i = 0; socks && i + 1 < connections; i += 2) {
		socks[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(socks[i], (struct sockaddr *)&at, n) < 0 ||
		    (socks[i + 1] = accept(listener, NULL, NULL)) < 0)
			work_die("connection %ld: %s", i, strerror(errno));
	}
}

/* A byte goes through each, there and back. */
static void check_connection(long i, struct report *r)
{
	char c = (char)('a' + i % 26), got = 0;

	for (long way = 0; way < 2; way++)
		if (write(socks[i + way], &c, 1) != 1 || read(socks[i + 1 - way], &got, 1) != 1 ||
		    got != c)
			rep_error(r, "connection %ld does not carry a byte", i);
}

static void *idle(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void make_threads(void)
{
	pthread_attr_t small;
	sigset_t all, old;
	pthread_t t;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (long i = 1; i < threads; i++) {
		int r = pthread_create(&t, &small, idle, NULL);

		if (r)
			work_die("thread %ld: %s", i, strerror(r));
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&small);
}

static void check_file(long i, struct report *r)
{
	char want[FILE_BYTES + 1], got[FILE_BYTES + 1] = "";

	file_text(i, want);
	if (pread(fds[i], got, FILE_BYTES, 0) != FILE_BYTES || strcmp(got, want) != 0)
		rep_error(r, "descriptor %d reads '%s', expected '%s'", fds[i], got, want);
	if (lseek(fds[i], 0, SEEK_CUR) != i % FILE_BYTES)
		rep_error(r, "descriptor %d is at %ld, expected %ld", fds[i],
		          (long)lseek(fds[i], 0, SEEK_CUR), i % FILE_BYTES);
}

/* Answers SIGUSR2 with y: all its files are right, or n. */
static void child(long process)
{
	sigset_t ask;
	int sig;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	work_child();
	sigemptyset(&ask);
	sigaddset(&ask, SIGUSR2);
	sigprocmask(SIG_BLOCK, &ask, NULL);
	make_threads();
	make_files(process);
	for (;;) {
		struct report r = { 0 };

		for (long i = 0; i < files; i++)
			check_file(i, &r);
		if (write(answers[1], r.errors ? "n" : "y", 1) != 1 || sigwait(&ask, &sig) != 0)
			_exit(1);
	}
}

/* Each child has answered once. */
static void gather(struct report *r)
{
	char said;

	for (long i = 0; i < children; i++)
		if (read(answers[0], &said, 1) != 1 || said != 'y')
			rep_error(r, "files of a child are not as they were");
}

static void make_children(void)
{
	if (pipe(answers) < 0)
		work_die("pipe: %s", strerror(errno));
	pids = calloc((size_t)children + 1, sizeof(*pids));
	for (long i = 0; pids && i < children; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			work_die("process %ld: %s", i, strerror(errno));
		if (pids[i] == 0)
			child(i + 1);
	}
}

/* Each page must still be a mapping of its own, with its own rights. */
static void check_rights(struct report *r)
{
	unsigned long start, end, low = (unsigned long)area.base;
	unsigned long high = low + area.pages * PAGE_BYTES;
	char line[512], prot[8];
	FILE *f = fopen("/proc/self/maps", "re");
	size_t seen = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %7s", &start, &end, prot) != 3 || start < low ||
		    start >= high)
			continue;
		seen++;
		if (prot[1] != ((start - low) / PAGE_BYTES % 2 ? 'w' : '-'))
			rep_error(r, "mapping %lx has the rights %s", start, prot);
	}
	if (f)
		fclose(f);
	if (seen != area.pages && seen != area.pages + 1)
		rep_error(r, "%zu mappings, expected %zu", seen, area.pages);
}

static void verify(struct report *r)
{
	if (work_sabotage_due() && mappings)
		area_sabotage(&area, 7, work_sabotage_due());
	if (mappings) {
		area_verify(&area, r);
		check_rights(r);
	}
	for (long i = 0; i < files; i++)
		check_file(i, r);
	for (long i = 0; i + 1 < connections; i += 2)
		check_connection(i, r);
	for (long i = 0; i < children; i++)
		if (waitpid(pids[i], NULL, WNOHANG) != 0)
			rep_error(r, "process %d has ended", pids[i]);
		else
			kill(pids[i], SIGUSR2);
	gather(r);
	long have = work_status_kib("Threads:");

	if (have != threads)
		rep_error(r, "%ld threads, expected %ld", have, threads);
}

int main(int argc, char **argv)
{
	work_start(argc, argv, opts);
	if (mappings < 0 || files < 0 || children < 0 || connections < 0 || threads < 1)
		work_die("an option is out of range");
	make_children();
	if (mappings)
		make_mappings();
	make_files(0);
	if (connections)
		make_connections();
	make_threads();
	struct report first = { 0 };

	gather(&first);
	if (first.errors)
		work_die("%s", first.detail);
	work_ready();
	while (work_poll(verify))
		work_nap_us(20000);
	return 0;
}
