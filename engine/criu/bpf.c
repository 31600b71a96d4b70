// SPDX-License-Identifier: GPL-2.0-or-later
/* bpf.c - load a BPF program for an iterator, and read what it says about one process. */
#include "engine/criu/bpf.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/auto.h"

#define READ_BYTES 49152u

static int sys_bpf(int cmd, union bpf_attr *a)
{
	return (int)syscall(SYS_bpf, cmd, a, sizeof(*a));
}

struct bpf_insn bpf_load(int dst, int src, int off)
{
	return (struct bpf_insn){ .code = BPF_LDX | BPF_DW | BPF_MEM,
		                  .dst_reg = dst & 15,
		                  .src_reg = src & 15,
		                  .off = (int16_t)off };
}

struct bpf_insn bpf_store(int off, int src)
{
	return (struct bpf_insn){ .code = BPF_STX | BPF_DW | BPF_MEM,
		                  .dst_reg = BPF_REG_10,
		                  .src_reg = src & 15,
		                  .off = (int16_t)off };
}

struct bpf_insn bpf_op(int code, int dst, int src, int imm)
{
	return (struct bpf_insn){
		.code = (uint8_t)code, .dst_reg = dst & 15, .src_reg = src & 15, .imm = imm
	};
}

int bpf_iter_prog(const char *name, int func, const struct bpf_insn *v, size_t n, struct err *e)
{
	union bpf_attr a = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.insn_cnt = (uint32_t)n,
		.insns = (uintptr_t)v,
		.license = (uintptr_t) "GPL",
		.expected_attach_type = BPF_TRACE_ITER,
		.attach_btf_id = (uint32_t)func,
	};
	snprintf(a.prog_name, sizeof(a.prog_name), "%s", name);
	int fd = sys_bpf(BPF_PROG_LOAD, &a);

	return fd < 0 ? err_set(e, ERR_SYS, ENOTSUP, "BPF: %s", strerror(errno)) : fd;
}

static int open_iter(int prog, pid_t pid)
{
	AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	union bpf_iter_link_info info = { .task.pid_fd = (uint32_t)pidfd };
	union bpf_attr link = {
		.link_create = { .prog_fd = (uint32_t)prog,
		                 .attach_type = BPF_TRACE_ITER,
		                 .iter_info = (uintptr_t)&info,
		                 .iter_info_len = sizeof(info) },
	};

	if (pidfd < 0)
		return -errno;
	AUTO(fd) int link_fd = sys_bpf(BPF_LINK_CREATE, &link);
	union bpf_attr iter = { .iter_create = { .link_fd = (uint32_t)link_fd } };
	int fd = link_fd < 0 ? -1 : sys_bpf(BPF_ITER_CREATE, &iter);

	return fd < 0 ? -errno : fd;
}

int bpf_iter_read(int prog, pid_t pid, size_t each, void **out, size_t *n, struct err *e)
{
	AUTO(fd) int fd = open_iter(prog, pid);
	AUTO(mem) char *v = NULL;
	size_t bytes = 0, cap = 0;
	ssize_t got;

	if (fd < 0)
		return err_set(e, ERR_SYS, -fd, "BPF iterator: %s", strerror(-fd));
	do {
		if (cap - bytes < READ_BYTES) {
			cap += 2 * READ_BYTES;
			char *w = realloc(v, cap);

			if (!w)
				return err_set(e, ERR_SYS, ENOMEM, "no memory for mappings");
			v = w;
		}
		got = read(fd, v + bytes, cap - bytes);
		bytes += got > 0 ? (size_t)got : 0;
	} while (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)));
	if (got < 0 || bytes % each)
		return err_sys(e, "BPF iterator");
	*out = steal(v);
	*n = bytes / each;
	return 0;
}

int bpf_iter_new(int (*load)(const struct btf *b, struct err *e), struct err *e)
{
	AUTO(btf) struct btf *b = NULL;
	int r = btf_load(&b, e);

	return r < 0 ? r : load(b, e);
}
