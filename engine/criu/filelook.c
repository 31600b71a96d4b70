// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * filelook.c - a BPF program on the kernel's task_file iterator reads what an open file has that no system call tells:
 * who watches its inode, hints, and of a socket its programs, policies, labels.
 *
 * It follows pointers without knowing whether they lead to what they should: in a file of another kind
 * any memory stands where a socket would. So records are judged here, by the kind of the file.
 */
#include "engine/criu/filelook.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "engine/criu/bpf.h"

#define FMODE_RANDOM 0x1000u
#define INSNS_MAX    256u

struct filelook {
	int prog;
};

/* A plain record of the BPF program. */
struct raw {
	uint64_t fd, f_mode, mode, watched, hint;
	uint64_t family, kind, reuse, program, index, address, policy, labels, anycast;
	uint64_t at; /* the program's own: a pointer on its way */
};

#define AT(member) ((int)offsetof(struct raw, member) - (int)sizeof(struct raw))

struct prog {
	struct bpf_insn v[INSNS_MAX];
	size_t n;
	bool broken; /* this kernel lacks a member that every kernel has */
};

static void put(struct prog *p, struct bpf_insn i)
{
	if (p->n < INSNS_MAX)
		p->v[p->n++] = i;
	else
		p->broken = true;
}

/* The @bytes at r@reg + @off to @slot of the record, which is 0 where they cannot be read, or @off is not known. */
static void probe(struct prog *p, int slot, int bytes, int reg, int off)
{
	put(p, bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0));
	put(p, bpf_store(slot, BPF_REG_1));
	if (off < 0)
		return;
	put(p, bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_10, 0));
	put(p, bpf_op(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_1, 0, slot));
	put(p, bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, bytes));
	put(p, bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, reg, 0));
	put(p, bpf_op(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_3, 0, off));
	put(p, bpf_op(BPF_JMP | BPF_CALL, 0, 0, BPF_CALL_PROBE_READ_KERNEL));
}

/* r@reg = the pointer at r@from + @off; 0 */
static void follow(struct prog *p, int reg, int from, int off)
{
	probe(p, AT(at), 8, from, off);
	put(p, bpf_load(reg, BPF_REG_10, AT(at)));
}

static void put_file(struct prog *p, const struct btf *b)
{
	probe(p, AT(f_mode), 4, BPF_REG_7, btf_offset(b, "file", "f_mode"));
	follow(p, BPF_REG_8, BPF_REG_7, btf_offset(b, "file", "f_inode"));
	probe(p, AT(mode), 2, BPF_REG_8, btf_offset(b, "inode", "i_mode"));
	probe(p, AT(watched), 4, BPF_REG_8, btf_offset(b, "inode", "i_fsnotify_mask"));
	probe(p, AT(hint), 1, BPF_REG_8, btf_offset(b, "inode", "i_write_hint"));
}

static void put_socket(struct prog *p, const struct btf *b)
{
	follow(p, BPF_REG_8, BPF_REG_7, btf_offset(b, "file", "private_data"));
	probe(p, AT(kind), 2, BPF_REG_8, btf_offset(b, "socket", "type"));
	follow(p, BPF_REG_8, BPF_REG_8, btf_offset(b, "socket", "sk"));
	/* struct sock begins with struct sock_common, and struct inet_sock with struct sock */
	probe(p, AT(family), 2, BPF_REG_8, btf_offset(b, "sock_common", "skc_family"));
	probe(p, AT(policy), 8, BPF_REG_8, btf_offset(b, "sock", "sk_policy"));
	probe(p, AT(reuse), 8, BPF_REG_8, btf_offset(b, "sock", "sk_reuseport_cb"));
	probe(p, AT(index), 4, BPF_REG_8, btf_offset(b, "inet_sock", "mc_index"));
	probe(p, AT(address), 4, BPF_REG_8, btf_offset(b, "inet_sock", "mc_addr"));
	put(p, bpf_load(BPF_REG_9, BPF_REG_10, AT(reuse)));
	probe(p, AT(program), 8, BPF_REG_9, btf_offset(b, "sock_reuseport", "prog"));
	/* newer kernels have it in struct inet_sock */
	int labels = btf_offset(b, "inet_sock", "ipv6_fl_list");

	probe(p, AT(labels), 8, BPF_REG_8, labels);
	follow(p, BPF_REG_8, BPF_REG_8, btf_offset(b, "inet_sock", "pinet6"));
	if (labels < 0)
		probe(p, AT(labels), 8, BPF_REG_8, btf_offset(b, "ipv6_pinfo", "ipv6_fl_list"));
	probe(p, AT(anycast), 8, BPF_REG_8, btf_offset(b, "ipv6_pinfo", "ipv6_ac_list"));
}

static int load_prog(const struct btf *b, struct err *e)
{
	struct prog p = { .n = 0 };
	int func = btf_func(b, "bpf_iter_task_file");

	if (func < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "this kernel has no task_file iterator");
	/* the context: meta, task, fd, file; meta begins with the seq_file */
	put(&p, bpf_load(BPF_REG_6, BPF_REG_1, 0));
	put(&p, bpf_load(BPF_REG_7, BPF_REG_1, 24));
	put(&p, bpf_op(BPF_LDX | BPF_W | BPF_MEM, BPF_REG_9, BPF_REG_1, 0));
	p.v[p.n - 1].off = 16;
	size_t none = p.n; /* to the end */
	put(&p, bpf_op(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_7, 0, 0));
	put(&p, bpf_load(BPF_REG_6, BPF_REG_6, 0));
	put(&p, bpf_store(AT(fd), BPF_REG_9));
	put_file(&p, b);
	put_socket(&p, b);
	put(&p, bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_6, 0));
	put(&p, bpf_op(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0));
	put(&p, bpf_op(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, -(int)sizeof(struct raw)));
	put(&p, bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, sizeof(struct raw)));
	put(&p, bpf_op(BPF_JMP | BPF_CALL, 0, 0, BPF_CALL_SEQ_WRITE));
	p.v[none].off = (int16_t)(p.n - none - 1);
	put(&p, bpf_op(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0));
	put(&p, bpf_op(BPF_JMP | BPF_EXIT, 0, 0, 0));
	if (p.broken)
		return err_set(e, ERR_BUG, E2BIG, "a BPF program of more than %u instructions",
		               INSNS_MAX);
	return bpf_iter_prog("haul_files", func, p.v, p.n, e);
}

int filelook_new(struct filelook **out, struct err *e)
{
	AUTO(filelook) struct filelook *f = calloc(1, sizeof(*f));

	if (!f)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	f->prog = bpf_iter_new(load_prog, e);
	if (f->prog < 0)
		return f->prog;
	*out = steal(f);
	return 0;
}

static void judge_socket(const struct raw *r, struct filelook_seen *s)
{
	bool inet = r->family == AF_INET || r->family == AF_INET6;

	s->reuse_program = inet && r->reuse && r->program;
	s->ipsec = inet && r->policy;
	/* with an address getsockopt() tells it; a stream sends no multicasts */
	s->by_number = inet && r->kind != SOCK_STREAM && r->index && !r->address;
	s->flow_labels = r->family == AF_INET6 && r->labels;
	s->anycast = r->family == AF_INET6 && r->anycast;
}

/* Return: does it have anything? */
static bool judge(const struct raw *r, struct filelook_seen *s)
{
	*s = (struct filelook_seen){ .fd = (int)r->fd };
	if (S_ISSOCK(r->mode)) {
		judge_socket(r, s);
	} else if (S_ISDIR(r->mode)) {
		s->watched = r->watched != 0;
	} else if (S_ISREG(r->mode)) {
		s->random = r->f_mode & FMODE_RANDOM;
		s->write_hint = (unsigned int)r->hint;
	}
	return s->watched || s->random || s->write_hint || s->reuse_program || s->by_number ||
	       s->flow_labels || s->anycast || s->ipsec;
}

int filelook_read(const struct filelook *f, pid_t pid, struct filelook_seen **out, size_t *n,
                  struct err *e)
{
	void *v = NULL;
	size_t all = 0;
	int r = bpf_iter_read(f->prog, pid, sizeof(struct raw), &v, &all, e);
	AUTO(mem) struct raw *raw = v;

	if (r < 0)
		return r;
	*n = 0;
	*out = calloc(all + 1, sizeof(**out));
	if (!*out)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	for (size_t i = 0; i < all; i++)
		*n += judge(&raw[i], &(*out)[*n]);
	return 0;
}

void filelook_free(struct filelook *f)
{
	if (!f)
		return;
	if (f->prog >= 0)
		close(f->prog);
	free(f);
}
