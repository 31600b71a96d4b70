// SPDX-License-Identifier: GPL-2.0-or-later
/* t-inspect-maps.c - children with memory of every kind, and what is found of it. */
#include <linux/aio_abi.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "tests/insp-child.h"

#define MIB       (1u << 20)
#define FILE_PATH "/var/tmp/t-inspect-map"
#define SHM_PATH  "/dev/shm/t-inspect-map"

static int touch(size_t bytes, int flags, int fd)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		return 77;
	memset(p, 1, bytes);
	return 0;
}

static int sysv(void *arg)
{
	int id = shmget(IPC_PRIVATE, 65536, IPC_CREAT | 0600);
	void *p = id < 0 ? (void *)-1 : shmat(id, NULL, 0);

	(void)arg;
	shmctl(id, IPC_RMID, NULL);
	return p == (void *)-1 ? 77 : 0;
}

/* A segment of an IPC namespace of its own; *@same: a memory file has the same inode number. */
static int segment(void *same)
{
	struct stat st = { 0 };

	if (unshare(CLONE_NEWIPC) < 0)
		return 77;
	if (same) {
		int fd = memfd_create("x", 0);
		AUTO(fd) int next = open("/proc/sys/kernel/shm_next_id", O_WRONLY);

		if (fd < 0 || fstat(fd, &st) < 0)
			return 1;
		if (next < 0 || dprintf(next, "%llu", (unsigned long long)st.st_ino) < 0)
			return 77;
	}
	int id = shmget(IPC_PRIVATE, 65536, IPC_CREAT | 0600);

	if (id < 0 || shmat(id, NULL, 0) == (void *)-1)
		return 1;
	return same && (ino_t)id != st.st_ino;
}

static int named(void *arg)
{
	int fd = open(SHM_PATH, O_RDWR | O_CREAT, 0600);

	(void)arg;
	if (fd < 0 || ftruncate(fd, 65536) < 0)
		return 77;
	int r = touch(65536, MAP_SHARED, fd);

	close(fd);
	return r;
}

static int anonymous(void *arg)
{
	(void)arg;
	return touch(MIB, MAP_SHARED | MAP_ANONYMOUS, -1) ||
	       touch(MIB, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static int large(void *arg)
{
	(void)arg;
	return touch(65 * MIB, MAP_SHARED | MAP_ANONYMOUS, -1);
}

/* Mapped twice and inherited by a child: it is the same memory. */
static int three_times(void *arg)
{
	int fd = memfd_create("x", 0);

	(void)arg;
	if (ftruncate(fd, 40 * MIB) < 0 || touch(40 * MIB, MAP_SHARED, fd) ||
	    touch(40 * MIB, MAP_SHARED, fd))
		return 1;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(1000);
		for (;;)
			pause();
	}
	return pid < 0;
}

static int locked(void *arg)
{
	void *p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)arg;
	/* the sanitizers take mlock() away */
	return syscall(SYS_mlock, p, MIB) < 0 ? 77 : 0;
}

static int huge(void *arg)
{
	(void)arg;
	void *p = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? 77 : 0;
}

static int deleted(void *arg)
{
	int fd = open(FILE_PATH, O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)arg;
	if (fd < 0 || ftruncate(fd, 65536) < 0 || touch(65536, MAP_PRIVATE, fd))
		return 1;
	close(fd);
	return unlink(FILE_PATH);
}

static int replaced(void *arg)
{
	int fd = open(FILE_PATH, O_RDWR | O_CREAT | O_TRUNC, 0600);
	int other = open(FILE_PATH "2", O_RDWR | O_CREAT | O_TRUNC, 0600);

	(void)arg;
	if (fd < 0 || ftruncate(fd, 65536) < 0 || touch(65536, MAP_PRIVATE, fd))
		return 1;
	close(fd);
	close(other);
	return rename(FILE_PATH "2", FILE_PATH);
}

static int aio(void *arg)
{
	aio_context_t ctx = 0;

	(void)arg;
	return syscall(SYS_io_setup, 8, &ctx) < 0 ? 77 : 0;
}

static int zero_device(void *arg)
{
	int fd = open("/dev/zero", O_RDWR);

	(void)arg;
	return touch(65536, MAP_PRIVATE, fd) || touch(65536, MAP_SHARED, fd) || close(fd);
}

/* /dev/mem as a stand-in for a card; only where the kernel lets us */
static int device(void *arg)
{
	int fd = open("/dev/mem", O_RDONLY);
	void *p = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0xf0000);

	(void)arg;
	close(fd);
	return p == MAP_FAILED ? 77 : 0;
}

/* The program itself was deleted, as by a package upgrade. */
static int deleted_program(void *arg)
{
	static char text[65536];

	(void)arg;
	unlink(FILE_PATH);
	AUTO(fd) int from = open("/proc/self/exe", O_RDONLY);
	int to = open(FILE_PATH, O_WRONLY | O_CREAT | O_TRUNC, 0700);
	ssize_t n;

	while ((n = read(from, text, sizeof(text))) > 0)
		if (write(to, text, (size_t)n) != n)
			return 1;
	close(to);
	close(from);
	from = -1;
	execl(FILE_PATH, FILE_PATH, "wait", NULL);
	return 1;
}

static uint64_t rss_of(t_setup setup)
{
	pid_t pid = t_child(setup, NULL);
	AUTO(inspect) struct inspect *i = pid > 0 ? t_look(pid) : NULL;
	Haul__Offer o = HAUL__OFFER__INIT;
	struct err e = ERR_INIT;

	if (i)
		inspect_offer(i, &o, &e);
	t_end(pid);
	return o.rss_bytes;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "wait")) {
		unlink(argv[0]);
		if (write(1000, "\0\0\0", 4) != 4 || close(1000) < 0)
			return 1;
		for (;;)
			pause();
	}
	if (t_need_root())
		return 77;
	int same = 1;

	t_case("System V shared memory", sysv, NULL, "sysv-shm", SEV_BLOCKER);
	t_case("a System V segment that moves", segment, NULL, NULL, SEV_INFO);
	t_case("a memory file of the same number", segment, &same, "shared-number", SEV_BLOCKER);
	t_case("named shared memory", named, NULL, NULL, SEV_INFO);
	unlink(SHM_PATH);
	t_case("anonymous memory", anonymous, NULL, NULL, SEV_INFO);
	t_case("large shared memory", large, NULL, "shared-memory", SEV_WARNING);
	t_case("the same shared memory three times", three_times, NULL, NULL, SEV_INFO);
	uint64_t bytes = rss_of(three_times);

	/* a sanitizer has memory of its own */
	CHECK(bytes >= 40 * MIB && (bytes < 80 * MIB || getenv("HAUL_SANITIZED")), "%llu",
	      (unsigned long long)bytes);
	t_case("locked memory", locked, NULL, "locked-memory", SEV_INFO);
	t_case("huge pages", huge, NULL, "hugetlb", SEV_WARNING);
	t_case("mapped file deleted", deleted, NULL, "deleted-file", SEV_INFO);
	t_case("mapped file replaced", replaced, NULL, "deleted-file", SEV_INFO);
	t_case("program deleted", deleted_program, NULL, "deleted-file", SEV_INFO);
	unlink(FILE_PATH);
	t_case("asynchronous input and output", aio, NULL, NULL, SEV_INFO);
	t_case("/dev/zero", zero_device, NULL, NULL, SEV_INFO);
	t_case("memory of a device", device, NULL, "device", SEV_BLOCKER);
	return checks_end();
}
