// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmaflags.c - a BPF program of twenty instructions on the kernel's task_vma iterator: for each
 * mapping of a process it writes start, end and vm_flags. smaps has the flags too, but walks every
 * page: 10 ms for a GiB.
 */
#include "engine/criu/vmaflags.h"

#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#define FUNC_SEQ_WRITE 127
#define READ_VMAS      2048

struct vmaflags {
	int prog;
};

static int sys_bpf(int cmd, union bpf_attr *a)
{
	return (int)syscall(SYS_bpf, cmd, a, sizeof(*a));
}

/* ---- instructions ---- */

static struct bpf_insn load(int dst, int src, int off)
{
	return (struct bpf_insn){ .code = BPF_LDX | BPF_DW | BPF_MEM,
		                  .dst_reg = dst & 15,
		                  .src_reg = src & 15,
		                  .off = (int16_t)off };
}

static struct bpf_insn store(int off, int src)
{
	return (struct bpf_insn){ .code = BPF_STX | BPF_DW | BPF_MEM,
		                  .dst_reg = BPF_REG_10,
		                  .src_reg = src & 15,
		                  .off = (int16_t)off };
}

static struct bpf_insn op(int code, int dst, int src, int imm)
{
	return (struct bpf_insn){
		.code = (uint8_t)code, .dst_reg = dst & 15, .src_reg = src & 15, .imm = imm
	};
}

static int load_prog(const struct btf *b, struct err *e)
{
	int func = btf_func(b, "bpf_iter_task_vma");
	int start = btf_offset(b, "vm_area_struct", "vm_start");
	int end = btf_offset(b, "vm_area_struct", "vm_end");
	int flags = btf_offset(b, "vm_area_struct", "vm_flags");

	if (func < 0 || start < 0 || end < 0 || flags < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "this kernel has no task_vma iterator");
	/* the context: meta, task, vma; meta begins with the seq_file */
	struct bpf_insn none = op(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_7, 0, 0);

	none.off = 12; /* to the end */
	struct bpf_insn prog[] = {
		load(BPF_REG_6, BPF_REG_1, 0),
		load(BPF_REG_7, BPF_REG_1, 16),
		none,
		load(BPF_REG_6, BPF_REG_6, 0),
		load(BPF_REG_1, BPF_REG_7, start),
		store(-24, BPF_REG_1),
		load(BPF_REG_1, BPF_REG_7, end),
		store(-16, BPF_REG_1),
		load(BPF_REG_1, BPF_REG_7, flags),
		store(-8, BPF_REG_1),
		op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_6, 0),
		op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0),
		op(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, -24),
		op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, sizeof(struct vma_raw)),
		op(BPF_JMP | BPF_CALL, 0, 0, FUNC_SEQ_WRITE),
		op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0),
		op(BPF_JMP | BPF_EXIT, 0, 0, 0),
	};
	union bpf_attr a = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.insn_cnt = ARRAY_SIZE(prog),
		.insns = (uintptr_t)prog,
		.license = (uintptr_t) "GPL",
		.prog_name = "haul_vmas",
		.expected_attach_type = BPF_TRACE_ITER,
		.attach_btf_id = (uint32_t)func,
	};
	int fd = sys_bpf(BPF_PROG_LOAD, &a);

	return fd < 0 ? err_set(e, ERR_SYS, ENOTSUP, "BPF: %s", strerror(errno)) : fd;
}

int vmaflags_new(struct vmaflags **out, struct err *e)
{
	AUTO(btf) struct btf *b = NULL;
	AUTO(vmaflags) struct vmaflags *f = calloc(1, sizeof(*f));

	if (!f)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	f->prog = -1;
	int r = btf_load(&b, e);

	if (r < 0)
		return r;
	f->prog = load_prog(b, e);
	if (f->prog < 0)
		return f->prog;
	*out = steal(f);
	return 0;
}

static int open_iter(const struct vmaflags *f, pid_t pid)
{
	AUTO(fd) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	union bpf_iter_link_info info = { .task.pid_fd = (uint32_t)pidfd };
	union bpf_attr link = {
		.link_create = { .prog_fd = (uint32_t)f->prog,
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

int vmaflags_read(const struct vmaflags *f, pid_t pid, struct vma_raw **out, size_t *n,
                  struct err *e)
{
	AUTO(fd) int fd = open_iter(f, pid);
	AUTO(mem) struct vma_raw *v = NULL;
	size_t bytes = 0, cap = 0;
	ssize_t got;

	if (fd < 0)
		return err_set(e, ERR_SYS, -fd, "BPF iterator: %s", strerror(-fd));
	do {
		if (cap - bytes < READ_VMAS * sizeof(*v)) {
			cap += 2 * READ_VMAS * sizeof(*v);
			struct vma_raw *w = realloc(v, cap);

			if (!w)
				return err_set(e, ERR_SYS, ENOMEM, "no memory for mappings");
			v = w;
		}
		got = read(fd, (char *)v + bytes, cap - bytes);
		bytes += got > 0 ? (size_t)got : 0;
	} while (got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN)));
	if (got < 0 || bytes % sizeof(*v))
		return err_sys(e, "BPF iterator");
	*out = steal(v);
	*n = bytes / sizeof(**out);
	return 0;
}

void vmaflags_free(struct vmaflags *f)
{
	if (!f)
		return;
	if (f->prog >= 0)
		close(f->prog);
	free(f);
}
