// SPDX-License-Identifier: GPL-2.0-or-later
/* btf.c - find a function and a struct member in the kernel's type information. */
#include "engine/criu/bpf.h"

#include <fcntl.h>
#include <linux/btf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BTF_FILE      "/sys/kernel/btf/vmlinux"
#define BTF_BYTES_MAX (64u << 20)
#define DEPTH_MAX     8

struct btf {
	uint8_t *data;
	const uint8_t *types, *end;
	const char *strings;
	uint32_t string_bytes;
	uint32_t *at; /* offset in @types, by type number */
	uint32_t n;
};

/* Size of a type without its header; -1: an unknown kind. */
static long extra_bytes(const struct btf_type *t)
{
	static const struct {
		unsigned char fixed, each;
		bool known;
	} kinds[] = {
		[BTF_KIND_INT] = { 4, 0, true },
		[BTF_KIND_PTR] = { 0, 0, true },
		[BTF_KIND_ARRAY] = { 12, 0, true },
		[BTF_KIND_STRUCT] = { 0, 12, true },
		[BTF_KIND_UNION] = { 0, 12, true },
		[BTF_KIND_ENUM] = { 0, 8, true },
		[BTF_KIND_FWD] = { 0, 0, true },
		[BTF_KIND_TYPEDEF] = { 0, 0, true },
		[BTF_KIND_VOLATILE] = { 0, 0, true },
		[BTF_KIND_CONST] = { 0, 0, true },
		[BTF_KIND_RESTRICT] = { 0, 0, true },
		[BTF_KIND_FUNC] = { 0, 0, true },
		[BTF_KIND_FUNC_PROTO] = { 0, 8, true },
		[BTF_KIND_VAR] = { 4, 0, true },
		[BTF_KIND_DATASEC] = { 0, 12, true },
		[BTF_KIND_FLOAT] = { 0, 0, true },
		[17] = { 4, 0, true },
		/* DECL_TAG */[18] = { 0, 0, true }, /* TYPE_TAG */
		[19] = { 0, 12, true }, /* ENUM64 */
	};
	unsigned int kind = BTF_INFO_KIND(t->info);

	if (kind >= ARRAY_SIZE(kinds) || !kinds[kind].known)
		return -1;
	return kinds[kind].fixed + (long)kinds[kind].each * BTF_INFO_VLEN(t->info);
}

static const struct btf_type *type_of(const struct btf *b, uint32_t id)
{
	return id && id < b->n ? (const struct btf_type *)(const void *)(b->types + b->at[id])
	                       : NULL;
}

static bool is_named(const struct btf *b, uint32_t name_off, const char *name)
{
	return name_off < b->string_bytes && !strcmp(b->strings + name_off, name);
}

/* Return: 0; -EBADMSG */
static int index_types(struct btf *b)
{
	uint32_t cap = 0;

	b->n = 1; /* 0 is void */
	for (const uint8_t *p = b->types; p < b->end;) {
		const struct btf_type *t = (const struct btf_type *)(const void *)p;

		if ((size_t)(b->end - p) < sizeof(*t))
			return -EBADMSG;
		long extra = extra_bytes(t);

		if (extra < 0 || extra > b->end - p - (long)sizeof(*t))
			return -EBADMSG;
		if (b->n >= cap) {
			cap = cap ? 2 * cap : 65536;
			uint32_t *at = realloc(b->at, cap * sizeof(*at));

			if (!at)
				return -ENOMEM;
			b->at = at;
		}
		b->at[b->n++] = (uint32_t)(p - b->types);
		p += (long)sizeof(*t) + extra;
	}
	return 0;
}

static int read_file(struct btf *b, size_t *bytes, struct err *e)
{
	AUTO(fd) int fd = open(BTF_FILE, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ERR_SYS, ENOTSUP, "no " BTF_FILE);
	if (st.st_size < (off_t)sizeof(struct btf_header) || st.st_size > BTF_BYTES_MAX)
		return err_set(e, ERR_SYS, ENOTSUP, BTF_FILE " has %lld bytes",
		               (long long)st.st_size);
	b->data = malloc((size_t)st.st_size);
	if (!b->data)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for " BTF_FILE);
	for (*bytes = 0; *bytes < (size_t)st.st_size;) {
		ssize_t n = read(fd, b->data + *bytes, (size_t)st.st_size - *bytes);

		if (n <= 0)
			return err_sys(e, "read " BTF_FILE);
		*bytes += (size_t)n;
	}
	return 0;
}

int btf_load(struct btf **out, struct err *e)
{
	AUTO(btf) struct btf *b = calloc(1, sizeof(*b));
	size_t bytes = 0;
	int r = b ? read_file(b, &bytes, e) : err_set(e, ERR_SYS, ENOMEM, "no memory");

	if (r < 0)
		return r;
	const struct btf_header *h = (const struct btf_header *)(const void *)b->data;

	if (h->magic != BTF_MAGIC || h->hdr_len > bytes ||
	    h->type_off + (uint64_t)h->type_len > bytes - h->hdr_len ||
	    h->str_off + (uint64_t)h->str_len > bytes - h->hdr_len || h->str_len == 0)
		return err_set(e, ERR_SYS, ENOTSUP, BTF_FILE " makes no sense");
	b->types = b->data + h->hdr_len + h->type_off;
	b->end = b->types + h->type_len;
	b->strings = (const char *)b->data + h->hdr_len + h->str_off;
	b->string_bytes = h->str_len;
	if (b->strings[h->str_len - 1] || index_types(b) < 0)
		return err_set(e, ERR_SYS, ENOTSUP, BTF_FILE " has types that are not known here");
	*out = steal(b);
	return 0;
}

int btf_func(const struct btf *b, const char *name)
{
	for (uint32_t i = 1; i < b->n; i++) {
		const struct btf_type *t = type_of(b, i);

		if (BTF_INFO_KIND(t->info) == BTF_KIND_FUNC && is_named(b, t->name_off, name))
			return (int)i;
	}
	return -ENOENT;
}

/* @type: out: of what type it is, unless NULL */
static int member_offset(const struct btf *b, const struct btf_type *t, const char *member,
                         uint32_t *type, int depth)
{
	const struct btf_member *m = (const struct btf_member *)(const void *)(t + 1);

	for (uint32_t i = 0; depth < DEPTH_MAX && i < BTF_INFO_VLEN(t->info); i++) {
		uint32_t bits = BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m[i].offset)
		                                        : m[i].offset;
		const struct btf_type *in = type_of(b, m[i].type);

		if (is_named(b, m[i].name_off, member)) {
			if (type)
				*type = m[i].type;
			return (int)(bits / 8);
		}
		if (m[i].name_off || !in ||
		    (BTF_INFO_KIND(in->info) != BTF_KIND_STRUCT &&
		     BTF_INFO_KIND(in->info) != BTF_KIND_UNION))
			continue;
		int at = member_offset(b, in, member, type, depth + 1);

		if (at >= 0)
			return (int)(bits / 8) + at;
	}
	return -ENOENT;
}

static const struct btf_type *struct_of(const struct btf *b, const char *name)
{
	for (uint32_t i = 1; i < b->n; i++) {
		const struct btf_type *t = type_of(b, i);

		if (BTF_INFO_KIND(t->info) == BTF_KIND_STRUCT && is_named(b, t->name_off, name))
			return t;
	}
	return NULL;
}

int btf_offset(const struct btf *b, const char *name, const char *member)
{
	const struct btf_type *t = struct_of(b, name);

	return t ? member_offset(b, t, member, NULL, 0) : -ENOENT;
}

int btf_inner(const struct btf *b, const char *name, const char *member, const char *inner)
{
	const struct btf_type *t = struct_of(b, name);
	uint32_t type = 0;
	int at = t ? member_offset(b, t, member, &type, 0) : -ENOENT;

	t = type_of(b, type);
	for (int i = 0; i < DEPTH_MAX && t && BTF_INFO_KIND(t->info) == BTF_KIND_TYPEDEF; i++)
		t = type_of(b, t->type);
	if (at < 0 || !t ||
	    (BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT && BTF_INFO_KIND(t->info) != BTF_KIND_UNION))
		return -ENOENT;
	int in = member_offset(b, t, inner, NULL, 0);

	return in < 0 ? in : at + in;
}

void btf_free(struct btf *b)
{
	if (!b)
		return;
	free(b->data);
	free(b->at);
	free(b);
}
