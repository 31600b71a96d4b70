// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sleeps.c - a BPF program on the kernel's task iterator reads each thread's restart_block: the point
 * in time until which an interrupted nanosleep() or poll() would wait; and whether new mappings of its process are
 * locked (mlockall). No file of /proc has either.
 */
#include "engine/criu/sleeps.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <time.h>

#include "engine/criu/bpf.h"

/*
 * struct restart_block: arch_data, fn, and a union from byte 16 on; in it, both for nanosleep() and
 * for poll(), 16 bytes, then the time: ns in one number for the first, seconds and ns for the other.
 */
#define AT_UNION  16
#define NS        1000000000ULL
#define LONGEST_S (100ULL * 365 * 86400) /* more than this is another call's number */

struct sleeps {
	int prog;
};

/* A plain record of the BPF program. */
struct raw {
	uint64_t tid; /* in the low half */
	uint64_t new_maps; /* mm_struct.def_flags */
	uint64_t block[2], first, second;
};

static int load_prog(const struct btf *b, struct err *e)
{
	int func = btf_func(b, "bpf_iter_task");
	int block = btf_offset(b, "task_struct", "restart_block");
	int pid = btf_offset(b, "task_struct", "pid");
	int mm = btf_offset(b, "task_struct", "mm"), def = btf_offset(b, "mm_struct", "def_flags");

	if (func < 0 || block < 0 || pid < 0 || mm < 0 || def < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "this kernel has no task iterator");
	/* the context: meta, task; meta begins with the seq_file */
	struct bpf_insn none = bpf_op(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_7, 0, 0);

	struct bpf_insn prog[] = {
		bpf_load(BPF_REG_6, BPF_REG_1, 0),
		bpf_load(BPF_REG_7, BPF_REG_1, 8),
		none, /* to the end */
		bpf_load(BPF_REG_6, BPF_REG_6, 0),
		bpf_op(BPF_LDX | BPF_W | BPF_MEM, BPF_REG_1, BPF_REG_7, 0),
		bpf_store(-48, BPF_REG_1),
		bpf_load(BPF_REG_8, BPF_REG_7, mm),
		bpf_load(BPF_REG_8, BPF_REG_8, def),
		bpf_store(-40, BPF_REG_8),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0),
		bpf_store(-32, BPF_REG_1),
		bpf_store(-24, BPF_REG_1),
		bpf_store(-16, BPF_REG_1),
		bpf_store(-8, BPF_REG_1),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_10, 0),
		bpf_op(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_1, 0, -32),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 32),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_7, 0),
		bpf_op(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_3, 0, block + AT_UNION),
		bpf_op(BPF_JMP | BPF_CALL, 0, 0, BPF_CALL_PROBE_READ_KERNEL),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_6, 0),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0),
		bpf_op(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, -48),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, sizeof(struct raw)),
		bpf_op(BPF_JMP | BPF_CALL, 0, 0, BPF_CALL_SEQ_WRITE),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0),
		bpf_op(BPF_JMP | BPF_EXIT, 0, 0, 0),
	};

	prog[4].off = (int16_t)pid;
	prog[2].off = ARRAY_SIZE(prog) - 5;
	return bpf_iter_prog("haul_sleeps", func, prog, ARRAY_SIZE(prog), e);
}

int sleeps_new(struct sleeps **out, struct err *e)
{
	AUTO(sleeps) struct sleeps *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	s->prog = bpf_iter_new(load_prog, e);
	if (s->prog < 0)
		return s->prog;
	*out = steal(s);
	return 0;
}

/* Return: ns from @now to @then; 0 when that cannot be such a time */
static uint64_t left_ns(uint64_t now, uint64_t then)
{
	return then > now && (then - now) / NS < LONGEST_S ? then - now : 0;
}

/*
 * The kernel's numbers are those of the first pid namespace, ours may be another. Both lists have the
 * threads in the same order, and no thread comes or goes meanwhile.
 */
static int name_threads(pid_t pid, struct img_left *v, size_t n)
{
	char path[32];
	size_t i = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));) {
		if (!isdigit((unsigned char)de->d_name[0]))
			continue;
		if (i < n)
			v[i].tid = (pid_t)strtol(de->d_name, NULL, 10);
		i++;
	}
	return i == n ? 0 : -ESTALE;
}

int sleeps_read(const struct sleeps *s, pid_t pid, struct img_left **out, size_t *n, struct err *e)
{
	void *v = NULL;
	struct timespec t;
	int r = bpf_iter_read(s->prog, pid, sizeof(struct raw), &v, n, e);
	AUTO(mem) struct raw *raw = v;

	if (r < 0)
		return r;
	*out = calloc(*n + 1, sizeof(**out));
	if (!*out)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	clock_gettime(CLOCK_MONOTONIC, &t);
	uint64_t now = (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;

	for (size_t i = 0; i < *n; i++)
		(*out)[i] = (struct img_left){
			.block = { raw[i].block[0], raw[i].block[1] },
			.new_maps = raw[i].new_maps,
			/* of a futex() these are the bits of any waiter */
			.sleep_ns = (uint32_t)raw[i].first == UINT32_MAX
			                    ? 0
			                    : left_ns(now, raw[i].first),
			.poll_ns = raw[i].first < LONGEST_S && raw[i].second < NS
			                   ? left_ns(now, raw[i].first * NS + raw[i].second)
			                   : 0,
		};
	r = name_threads(pid, *out, *n);
	return r < 0 ? err_set(e, ERR_TARGET, -r, "threads of process %d come and go", pid) : 0;
}

void sleeps_free(struct sleeps *s)
{
	if (!s)
		return;
	if (s->prog >= 0)
		close(s->prog);
	free(s);
}
