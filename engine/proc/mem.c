// SPDX-License-Identifier: GPL-2.0-or-later
/* mem.c - read pages of another process. */
#include "engine/proc/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "common/page.h"

int mem_open(pid_t pid, struct err *e)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == ESRCH))
		return err_set(e, ERR_SYS, ESRCH, "process %d has ended", pid);
	return fd < 0 ? err_sys(e, "%s", path) : fd;
}

ssize_t mem_read_shared(int fd, uint64_t vaddr, void *buf, size_t pages)
{
	ssize_t n = pread(fd, buf, pages * PAGE_BYTES, (off_t)vaddr);

	if (n < 0)
		return errno == ESRCH ? -ESRCH : 0;
	return n / (ssize_t)PAGE_BYTES;
}

ssize_t mem_read(int fd, pid_t pid, uint64_t vaddr, void *buf, size_t pages)
{
	struct iovec to = { buf, pages * PAGE_BYTES };
	struct iovec from = { (void *)(uintptr_t)vaddr, to.iov_len };
	ssize_t n = process_vm_readv(pid, &to, 1, &from, 1, 0);

	/* process_vm_readv() refuses pages without PROT_READ, /proc/PID/mem does not */
	if (n < (ssize_t)PAGE_BYTES)
		n = pread(fd, buf, to.iov_len, (off_t)vaddr);
	if (n < 0)
		return errno == ESRCH ? -ESRCH : 0;
	return n / PAGE_BYTES;
}
