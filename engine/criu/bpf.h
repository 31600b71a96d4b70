/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bpf.h - small BPF programs on the kernel's iterators over a process's threads and mappings. */
#ifndef HAUL_BPF_H
#define HAUL_BPF_H

#include <linux/bpf.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

/* ---- btf.c: what the programs need of the kernel's type information ---- */

struct btf;

/**
 * btf_load() - read the running kernel's type information. *out: caller frees. Return: 0; -errno
 */
int btf_load(struct btf **out, struct err *e);
/** btf_func() - the number of a function type. Return: -ENOENT */
int btf_func(const struct btf *b, const char *name);
/** btf_offset() - offset of a member of a struct, also inside anonymous members; -ENOENT */
int btf_offset(const struct btf *b, const char *name, const char *member);
/** btf_inner() - offset in struct @name of @inner, a member of its member @member, which is a struct; -ENOENT */
int btf_inner(const struct btf *b, const char *name, const char *member, const char *inner);
void btf_free(struct btf *b);
DEFINE_AUTO(btf, btf_free)

/* ---- bpf.c ---- */

#define BPF_CALL_SEQ_WRITE         127
#define BPF_CALL_PROBE_READ_KERNEL 113

/** bpf_load() - dst = 8 bytes at src + @off */
struct bpf_insn bpf_load(int dst, int src, int off);
/** bpf_store() - 8 bytes on the stack, at @off from its top, = src */
struct bpf_insn bpf_store(int off, int src);
/** bpf_op() - an instruction that computes or jumps; @code: BPF_ALU64 | ..., @imm: its constant */
struct bpf_insn bpf_op(int code, int dst, int src, int imm);
/**
 * bpf_iter_prog() - load a program for the iterator whose function has the number @func in BTF
 * Return: its descriptor; -ENOTSUP
 */
int bpf_iter_prog(const char *name, int func, const struct bpf_insn *v, size_t n, struct err *e);
/**
 * bpf_iter_new() - load the kernel's BTF, and with it the program that @load makes of it
 * Return: its descriptor; -ENOTSUP; -errno
 */
int bpf_iter_new(int (*load)(const struct btf *b, struct err *e), struct err *e);
/**
 * bpf_iter_read() - run it over @pid: all that it has written, records of @each bytes
 * @out: the caller's; @n: records
 * Return: 0; -errno
 */
int bpf_iter_read(int prog, pid_t pid, size_t each, void **out, size_t *n, struct err *e);

#endif
