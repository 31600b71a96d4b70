/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bpf.h - small BPF programs on the kernel's iterators over a process's threads and mappings. */
#ifndef HAUL_BPF_H
#define HAUL_BPF_H

#include <linux/bpf.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

#define BPF_CALL_SEQ_WRITE         127
#define BPF_CALL_PROBE_READ_KERNEL 113

/** bpf_load() - dst = 8 bytes at src + @off */
struct bpf_insn bpf_load(int dst, int src, int off);
/** bpf_store() - 8 bytes on the stack, at @off from its top, = src */
struct bpf_insn bpf_store(int off, int src);
struct bpf_insn bpf_op(int code, int dst, int src, int imm);
/**
 * bpf_iter_prog() - load a program for the iterator whose function has the number @func in BTF
 * Return: its descriptor; -ENOTSUP
 */
int bpf_iter_prog(const char *name, int func, const struct bpf_insn *v, size_t n, struct err *e);
/**
 * bpf_iter_read() - run it over @pid: all that it has written, records of @each bytes
 * @out: the caller's; @n: records
 * Return: 0; -errno
 */
int bpf_iter_read(int prog, pid_t pid, size_t each, void **out, size_t *n, struct err *e);

#endif
