// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmaflags.c - a BPF program of twenty instructions on the kernel's task_vma iterator: for each
 * mapping of a process it writes start, end, vm_flags and NUMA policy. smaps has the flags too, but walks every
 * page: 10 ms for a GiB.
 */
#include "engine/criu/vmaflags.h"

#include <stdlib.h>

#include "engine/criu/bpf.h"

struct vmaflags {
	int prog;
};

static int load_prog(const struct btf *b, struct err *e)
{
	int func = btf_func(b, "bpf_iter_task_vma");
	int start = btf_offset(b, "vm_area_struct", "vm_start");
	int end = btf_offset(b, "vm_area_struct", "vm_end");
	int flags = btf_offset(b, "vm_area_struct", "vm_flags");

	if (func < 0 || start < 0 || end < 0 || flags < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "this kernel has no task_vma iterator");
	int policy = btf_offset(b, "vm_area_struct", "vm_policy");
	struct bpf_insn no_policy = bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0);
	/* the context: meta, task, vma; meta begins with the seq_file */
	struct bpf_insn none = bpf_op(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_7, 0, 0);

	struct bpf_insn prog[] = {
		bpf_load(BPF_REG_6, BPF_REG_1, 0),
		bpf_load(BPF_REG_7, BPF_REG_1, 16),
		none, /* to the end */
		bpf_load(BPF_REG_6, BPF_REG_6, 0),
		bpf_load(BPF_REG_1, BPF_REG_7, start),
		bpf_store(-32, BPF_REG_1),
		bpf_load(BPF_REG_1, BPF_REG_7, end),
		bpf_store(-24, BPF_REG_1),
		bpf_load(BPF_REG_1, BPF_REG_7, flags),
		bpf_store(-16, BPF_REG_1),
		policy < 0 ? no_policy : bpf_load(BPF_REG_1, BPF_REG_7, policy),
		bpf_store(-8, BPF_REG_1),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_6, 0),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0),
		bpf_op(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, -32),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, sizeof(struct vma_raw)),
		bpf_op(BPF_JMP | BPF_CALL, 0, 0, BPF_CALL_SEQ_WRITE),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0),
		bpf_op(BPF_JMP | BPF_EXIT, 0, 0, 0),
	};

	prog[2].off = ARRAY_SIZE(prog) - 5;
	return bpf_iter_prog("haul_vmas", func, prog, ARRAY_SIZE(prog), e);
}

int vmaflags_new(struct vmaflags **out, struct err *e)
{
	AUTO(vmaflags) struct vmaflags *f = calloc(1, sizeof(*f));

	if (!f)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	f->prog = bpf_iter_new(load_prog, e);
	if (f->prog < 0)
		return f->prog;
	*out = steal(f);
	return 0;
}

int vmaflags_read(const struct vmaflags *f, pid_t pid, struct vma_raw **out, size_t *n,
                  struct err *e)
{
	void *v = NULL;
	int r = bpf_iter_read(f->prog, pid, sizeof(**out), &v, n, e);

	*out = v;
	return r;
}

void vmaflags_free(struct vmaflags *f)
{
	if (!f)
		return;
	if (f->prog >= 0)
		close(f->prog);
	free(f);
}
