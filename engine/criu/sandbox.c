// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sandbox.c - a BPF program on the kernel's task iterator reads what a process has put upon itself.
 *
 * A Landlock domain is a pointer in the part of a thread's credentials that belongs to security modules. At
 * which offset is decided when the kernel boots: a child that restricts itself shows it.
 */
#include "engine/criu/sandbox.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "engine/criu/bpf.h"
#include "engine/criu/vmaflags.h"
#include "engine/proc/proc.h"

#define WORDS        16
#define KERNEL_SPACE 0xff00000000000000ULL /* pointers of the kernel are above */
#define MDWE_BITS    (3ULL << 28) /* MMF_HAS_MDWE, MMF_HAS_MDWE_NO_INHERIT */
#define DISPATCH_BIT (1ULL << 5) /* SYSCALL_WORK_SYSCALL_USER_DISPATCH */
/* TIF_NOTSC: 16, from Linux 6.18 on 21; calibrate() finds out which */
#define NO_TSC_BITS (1ULL << 16 | 1ULL << 21)
#define SEALED_BITS (1ULL << 42 | 1ULL << 63) /* VM_SEALED, before Linux 6.15 the second */

struct sandbox {
	int prog;
	int domain; /* which word; -1: no Landlock here */
	uint64_t
	        no_tsc; /* the flag of a thread that may not read the time stamp counter; 0: not known */
	struct vmaflags *maps;
};

/* A plain record of the BPF program. */
struct raw {
	uint64_t mm_flags, policy, work, flags, ports, iopl, ldt;
	uint64_t thread_keys, process_keys, session_keys;
	uint64_t security[WORDS];
};

#define AT(member) ((int)offsetof(struct raw, member) - (int)sizeof(struct raw))

/* r8 = what is at @offset of the object r7 points to; 0 where a kernel lacks that */
static struct bpf_insn member(int offset)
{
	return offset < 0 ? bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_8, 0, 0)
	                  : bpf_load(BPF_REG_8, BPF_REG_7, offset);
}

/* r9 = the same of r8, the credentials or the memory */
static struct bpf_insn inner(int offset)
{
	return offset < 0 ? bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_9, 0, 0)
	                  : bpf_load(BPF_REG_9, BPF_REG_8, offset);
}

static int load_prog(const struct btf *b, struct err *e)
{
	int func = btf_func(b, "bpf_iter_task");
	int mm = btf_offset(b, "task_struct", "mm"), flags = btf_offset(b, "mm_struct", "flags");
	int cred = btf_offset(b, "task_struct", "cred"), blob = btf_offset(b, "cred", "security");

	if (func < 0 || mm < 0 || flags < 0 || cred < 0 || blob < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "this kernel has no task iterator");
	int session = btf_offset(b, "cred", "session_keyring");
	int leaves = session < 0 ? session : btf_inner(b, "key", "keys", "nr_leaves_on_tree");

	/* the context: meta, task; meta begins with the seq_file */
	struct bpf_insn none = bpf_op(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_7, 0, 0);
	struct bpf_insn prog[] = {
		bpf_load(BPF_REG_6, BPF_REG_1, 0),
		bpf_load(BPF_REG_7, BPF_REG_1, 8),
		none, /* to the end */
		bpf_load(BPF_REG_6, BPF_REG_6, 0),
		member(btf_offset(b, "task_struct", "mempolicy")),
		bpf_store(AT(policy), BPF_REG_8),
		member(btf_inner(b, "task_struct", "thread_info", "syscall_work")),
		bpf_store(AT(work), BPF_REG_8),
		member(btf_inner(b, "task_struct", "thread_info", "flags")),
		bpf_store(AT(flags), BPF_REG_8),
		member(btf_inner(b, "task_struct", "thread", "io_bitmap")),
		bpf_store(AT(ports), BPF_REG_8),
		member(btf_inner(b, "task_struct", "thread", "iopl_emul")),
		bpf_store(AT(iopl), BPF_REG_8),
		bpf_load(BPF_REG_8, BPF_REG_7, mm),
		bpf_load(BPF_REG_9, BPF_REG_8, flags),
		bpf_store(AT(mm_flags), BPF_REG_9),
		inner(btf_inner(b, "mm_struct", "context", "ldt")),
		bpf_store(AT(ldt), BPF_REG_9),
		bpf_load(BPF_REG_8, BPF_REG_7, cred),
		inner(btf_offset(b, "cred", "thread_keyring")),
		bpf_store(AT(thread_keys), BPF_REG_9),
		inner(btf_offset(b, "cred", "process_keyring")),
		bpf_store(AT(process_keys), BPF_REG_9),
		inner(leaves < 0 ? leaves : session),
		leaves < 0 ? bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_9, 0, 0)
		           : bpf_load(BPF_REG_9, BPF_REG_9, leaves),
		bpf_store(AT(session_keys), BPF_REG_9),
		bpf_load(BPF_REG_3, BPF_REG_8, blob),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_10, 0),
		bpf_op(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_1, 0, AT(security)),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 8 * WORDS),
		bpf_op(BPF_JMP | BPF_CALL, 0, 0, BPF_CALL_PROBE_READ_KERNEL),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_6, 0),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0),
		bpf_op(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, -(int)sizeof(struct raw)),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, sizeof(struct raw)),
		bpf_op(BPF_JMP | BPF_CALL, 0, 0, BPF_CALL_SEQ_WRITE),
		bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0),
		bpf_op(BPF_JMP | BPF_EXIT, 0, 0, 0),
	};

	prog[2].off = ARRAY_SIZE(prog) - 5;
	return bpf_iter_prog("haul_sandbox", func, prog, ARRAY_SIZE(prog), e);
}

static int read_threads(const struct sandbox *s, pid_t pid, struct raw **out, size_t *n,
                        struct err *e)
{
	void *v = NULL;
	int r = bpf_iter_read(s->prog, pid, sizeof(struct raw), &v, n, e);

	*out = v;
	return r;
}

/* ---- where a Landlock domain is noted ---- */

/* It restricts itself when it is told to: what it would handle does not matter. Then it waits for the end. */
static void be_restricted(int told, int tells)
{
	struct landlock_ruleset_attr all = { .handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SOCK };
	char c;

	if (read(told, &c, 1) != 1)
		_exit(1);
	int fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);

	prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
	c = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && fd >= 0 &&
	    syscall(SYS_landlock_restrict_self, fd, 0) == 0;
	if (write(tells, &c, 1) == 1)
		(void)!read(told, &c, 1);
	_exit(0);
}

static int compare(struct sandbox *s, pid_t child, int tell, int told, struct err *e)
{
	AUTO(mem) struct raw *before = NULL;
	AUTO(mem) struct raw *after = NULL;
	size_t n = 0, m = 0;
	char c = 0;
	int r = read_threads(s, child, &before, &n, e);

	if (r < 0)
		return r;
	if (write(tell, &c, 1) != 1 || read(told, &c, 1) != 1)
		return 0;
	r = read_threads(s, child, &after, &m, e);
	if (r == 0 && n && m)
		s->no_tsc = after->flags & ~before->flags & NO_TSC_BITS;
	if (!c)
		return r; /* this kernel has no Landlock */
	/* haul may be restricted itself: then there is another domain than before */
	for (int k = 0; r == 0 && n && m && k < WORDS && s->domain < 0; k++)
		if (before->security[k] != after->security[k] && after->security[k] >= KERNEL_SPACE)
			s->domain = k;
	if (r == 0 && s->domain < 0)
		log_info("where this kernel notes a Landlock domain is not known");
	return r;
}

static int calibrate(struct sandbox *s, struct err *e)
{
	AUTO(fd) int tell = -1, told = -1;
	int to[2], from[2];

	s->domain = -1;
	if (pipe2(to, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	tell = to[1];
	if (pipe2(from, O_CLOEXEC) < 0) {
		close(to[0]);
		return err_sys(e, "pipe");
	}
	told = from[0];
	pid_t child = fork();

	if (child == 0) {
		close(tell);
		be_restricted(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	if (child < 0)
		return err_sys(e, "fork");
	int r = compare(s, child, tell, told, e);

	kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}

/* ---- */

int sandbox_new(struct sandbox **out, struct err *e)
{
	AUTO(sandbox) struct sandbox *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	s->prog = bpf_iter_new(load_prog, e);
	if (s->prog < 0)
		return s->prog;
	int r = vmaflags_new(&s->maps, e);

	if (r < 0)
		return r;
	r = calibrate(s, e);
	if (r < 0)
		return r;
	*out = steal(s);
	return 0;
}

/* The kernel may have sealed mappings of its own in every process. */
static bool is_kernels(const struct vma_list *l, uint64_t start)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].start == start)
			return l->v[i].kind == VMA_SPECIAL;
	return false;
}

static int look_maps(const struct sandbox *s, pid_t pid, struct sandbox_seen *out, struct err *e)
{
	AUTO(mem) struct vma_raw *v = NULL;
	AUTO(vmas) struct vma_list names = { 0 };
	size_t n = 0;
	int r = vmaflags_read(s->maps, pid, &v, &n, e);

	for (size_t i = 0; r == 0 && i < n && !out->sealed; i++) {
		out->policy |= v[i].policy != 0;
		if (!(v[i].flags & SEALED_BITS))
			continue;
		if (!names.n)
			r = procs_maps(pid, &names, e);
		if (r < 0)
			return r;
		if (!is_kernels(&names, v[i].start))
			out->sealed = v[i].start;
	}
	return r;
}

int sandbox_look(const struct sandbox *s, pid_t pid, struct sandbox_seen *out, struct err *e)
{
	AUTO(mem) struct raw *v = NULL;
	size_t n = 0;
	int r = read_threads(s, pid, &v, &n, e);

	*out = (struct sandbox_seen){ 0 };
	for (size_t i = 0; r == 0 && i < n; i++) {
		out->landlock |= s->domain >= 0 && v[i].security[s->domain];
		out->mdwe |= (v[i].mm_flags & MDWE_BITS) != 0;
		out->policy |= v[i].policy != 0;
		out->no_tsc |= (v[i].flags & s->no_tsc) != 0;
		out->ports |= v[i].ports || v[i].iopl;
		out->ldt |= v[i].ldt != 0;
		out->dispatch |= (v[i].work & DISPATCH_BIT) != 0;
		out->keys |= v[i].thread_keys || v[i].process_keys;
		out->session_keys |= v[i].session_keys != 0;
	}
	return r < 0 ? r : look_maps(s, pid, out, e);
}

void sandbox_free(struct sandbox *s)
{
	if (!s)
		return;
	if (s->prog >= 0)
		close(s->prog);
	vmaflags_free(s->maps);
	free(s);
}
