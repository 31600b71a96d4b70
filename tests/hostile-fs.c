// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * hostile-fs.c - a client that tries to write outside what a hauld's haul.conf allows: directories and
 * files with paths and links that lead elsewhere, also such as change on the way.
 *
 * hostile-fs HOST: where fs-allow = /srv and files-allow = /srv, /srv/link leads to /srv-outside, and
 * nothing in /srv-outside may change.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/log.h"
#include "tests/hostile-peer.h"
#include "transport/msg/batch.h"

#define TREE "/srv/evil"

static const char *path; /* of the one that is offered */
static size_t path_bytes;
static uint32_t file_mode;

/* ---- directories that are offered ---- */

static void offer_tree(Haul__Offer *o)
{
	static Haul__TreeRoot t;
	static Haul__TreeRoot *v = &t;

	haul__tree_root__init(&t);
	t.path.data = (uint8_t *)path;
	t.path.len = path_bytes ? path_bytes : strlen(path);
	t.replace = true;
	o->tree = &v;
	o->n_tree = 1;
}

/* Is it refused with a finding @code? It is started all the same, and must not start. */
static void refused(void (*more)(Haul__Offer *), const char *code)
{
	struct talk t;
	Haul__Msg *m = NULL;
	bool found = false;

	if (reach(&t, OFFER, NULL)) {
		if (say_offer(t.ch, PID_FREE, more) && (m = hear(t.ch)) &&
		    m->body_case == HAUL__MSG__BODY_ANSWER) {
			for (size_t i = 0; i < m->answer->n_finding; i++) {
				found |= !strcmp(m->answer->finding[i]->code, code);
				if (!found)
					printf("     %s: %s\n", m->answer->finding[i]->code,
					       m->answer->finding[i]->text);
			}
			say_start(t.ch, 1);
		} else if (m && m->body_case == HAUL__MSG__BODY_ABORT) {
			found = strstr(m->abort->reason, code) != NULL;
		}
		if (m)
			haul__msg__free_unpacked(m, NULL);
		listen_to_end(&t);
	}
	verdict(found && !strstr(t.said, "something else"), path, t.said);
}

static void roots(void)
{
	static const struct {
		const char *path, *code;
		size_t bytes;
	} v[] = {
		{ "/srv-outside/evil", "fs-not-allowed", 0 },
		{ "/srv", "fs-not-allowed", 0 },
		{ "/", "not allowed", 0 },
		{ "", "not allowed", 0 },
		{ "srv/evil", "not allowed", 0 },
		{ "/srv/../srv-outside/evil", "not allowed", 0 },
		{ "/srv/evil/..", "not allowed", 0 },
		{ "/srv/./evil", "not allowed", 0 },
		{ "/srv//evil", "not allowed", 0 },
		{ "/srv/evil/", "not allowed", 0 },
		{ "/srv/e\0vil", "not allowed", 11 },
		{ "/srv/e\nkeep", "not allowed", 0 },
		{ "/srv/link/evil", "fs-parent", 0 },
		{ "/srv/link", "fs-taken", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		path = v[i].path;
		path_bytes = v[i].bytes;
		refused(offer_tree, v[i].code);
	}
}

/* ---- operations on a directory ---- */

struct step {
	Haul__TreeKind kind;
	uint32_t mode; /* of META; 0: none */
	const char *path, *to, *data;
	uint64_t offset, bytes;
	uint32_t root;
	size_t path_bytes; /* when it is not text */
};

#define STEP(k, p, ...)                                                                            \
	{                                                                                          \
		.kind = HAUL__TREE_KIND__TREE_##k, .path = (p), __VA_ARGS__                        \
	}
#define DIR_(p)         STEP(MAKE, p, .mode = S_IFDIR | 0755)
#define REG_(p)         STEP(MAKE, p, .mode = S_IFREG | 0644)
#define LNK_(p, target) STEP(MAKE, p, .mode = S_IFLNK | 0777, .to = (target))
#define NAME(p, of)     STEP(LINK, p, .to = (of))
#define PUT_(p, text)   STEP(WRITE, p, .data = (text))
#define GONE(p)         STEP(REMOVE, p, .mode = 0)
#define STEPS           4
#define NO              "not allowed"

static const struct {
	const char *what, *want;
	struct step v[STEPS];
} attacks[] = {
	{ "the name ..", NO, { REG_("..") } },
	{ "the name .", NO, { REG_(".") } },
	{ "../evil", NO, { REG_("../evil") } },
	{ "a/../../evil", NO, { DIR_("a"), REG_("a/../../evil") } },
	{ "/srv-outside/evil", NO, { REG_("/srv-outside/evil") } },
	{ "a//b", NO, { DIR_("a"), REG_("a//b") } },
	{ "a/", NO, { DIR_("a/") } },
	{ "a name with NUL", NO, { STEP(MAKE, "a\0b", .mode = S_IFREG, .path_bytes = 3) } },
	{ "a path without end", NO, { STEP(MAKE, "", .mode = S_IFREG, .path_bytes = 5000) } },
	{ "a file in a link", "directory of", { LNK_("l", "/srv-outside"), REG_("l/evil") } },
	{ "a file in a link to ..", "directory of", { LNK_("l", "../.."), REG_("l/evil") } },
	{ "a file deep in a link",
	  "directory of",
	  { DIR_("a"), LNK_("a/l", "/srv-outside/dir"), REG_("a/l/b/evil") } },
	{ "a directory that becomes a link",
	  "directory of",
	  { DIR_("a"), REG_("a/x"), LNK_("a", "/srv-outside"), REG_("a/evil") } },
	{ "one that is removed first",
	  "directory of",
	  { DIR_("a"), GONE("a"), LNK_("a", "/srv-outside"), REG_("a/evil") } },
	{ "a directory over a link", "", { LNK_("l", "/srv-outside"), DIR_("l"), REG_("l/evil") } },
	{ "content through a link", "open", { LNK_("l", "/srv-outside/file"), PUT_("l", "evil") } },
	{ "a hole through a link",
	  "open",
	  { LNK_("l", "/srv-outside/file"), STEP(PUNCH, "l", .offset = 0, .bytes = 100) } },
	{ "owner and size through a link",
	  "another type",
	  { LNK_("l", "/srv-outside/file"), STEP(META, "l", .mode = S_IFREG | 0666) } },
	{ "mode of a link",
	  "",
	  { LNK_("l", "/srv-outside/file"), STEP(META, "l", .mode = S_IFLNK | 0666) } },
	{ "a name for what is behind a link",
	  "directory of",
	  { LNK_("l", "/srv-outside"), NAME("x", "l/file") } },
	{ "a name for a link, written to",
	  "open",
	  { LNK_("l", "/srv-outside/file"), NAME("x", "l"), PUT_("x", "evil") } },
	{ "a name for ..", NO, { NAME("x", "..") } },
	{ "a second name of a directory", "directory", { DIR_("a"), NAME("b", "a") } },
	{ "to remove what is behind a link", "", { LNK_("l", "/srv-outside"), GONE("l/file") } },
	{ "to remove a link", "", { LNK_("l", "/srv-outside"), GONE("l") } },
	{ "to remove the whole", NO, { GONE("") } },
	{ "a link in the place of the whole", NO, { LNK_("", "/srv-outside") } },
	{ "a file in the place of the whole", NO, { REG_("") } },
	{ "directory 7 of 1", "directory 7 of 1", { STEP(MAKE, "x", .mode = S_IFREG, .root = 7) } },
	{ "content of a fifo",
	  "open f",
	  { STEP(MAKE, "f", .mode = S_IFIFO | 0600), PUT_("f", "x") } },
	{ "content at 2^63",
	  NO,
	  { REG_("f"), STEP(WRITE, "f", .data = "x", .offset = 1ULL << 63) } },
	{ "a hole of 2^63 bytes",
	  NO,
	  { REG_("f"), STEP(PUNCH, "f", .offset = 1, .bytes = 1ULL << 63) } },
	{ "content for nothing", "open", { PUT_("f", "x") } },
	{ "a type that is none", NO, { STEP(MAKE, "x", .mode = 0170000) } },
	{ "an operation that is none", NO, { { .kind = (Haul__TreeKind)99, .path = "x" } } },
};

static void fill(Haul__TreeOp *op, Haul__TreeMeta *meta, const struct step *s)
{
	static uint8_t longest[5000];

	haul__tree_op__init(op);
	op->kind = s->kind;
	op->root = s->root;
	op->path.data = (uint8_t *)s->path;
	op->path.len = strlen(s->path);
	if (s->path_bytes) {
		memset(longest, 'x', sizeof(longest));
		memcpy(longest, s->path, strlen(s->path));
		longest[strlen(s->path)] = s->path_bytes < 100 ? 0 : 'x';
		op->path.data = longest;
		op->path.len = s->path_bytes;
	}
	if (s->to) {
		op->to.data = (uint8_t *)s->to;
		op->to.len = strlen(s->to);
	}
	if (s->data) {
		op->data.data = (uint8_t *)s->data;
		op->data.len = strlen(s->data);
	}
	op->offset = s->offset;
	op->bytes = s->bytes;
	if (s->mode) {
		haul__tree_meta__init(meta);
		meta->mode = s->mode;
		op->meta = meta;
	}
}

static void attack(const char *what, const char *want, const struct step *v)
{
	Haul__TreeOp op[STEPS], *list[STEPS];
	Haul__TreeMeta meta[STEPS];
	Haul__TreeOps ops = HAUL__TREE_OPS__INIT;
	struct err e = ERR_INIT;
	uint64_t wire = 0;
	struct chan *ch = NULL;
	struct talk t;

	path = TREE;
	path_bytes = 0;
	ops.op = list;
	for (; ops.n_op < STEPS && v[ops.n_op].kind; ops.n_op++) {
		fill(&op[ops.n_op], &meta[ops.n_op], &v[ops.n_op]);
		list[ops.n_op] = &op[ops.n_op];
	}
	if (reach(&t, ROUNDS, offer_tree)) {
		ch = stream(&t, HAUL__ROLE__ROLE_FILES);
		if (ch)
			batch_send(ch, &ops, deadline_in_ms(LIMIT_MS), &wire, &e);
		if (!*want) { /* it may be done, but does no harm: the migration continues */
			Haul__Msg bye = HAUL__MSG__INIT;
			Haul__Bye b = HAUL__BYE__INIT;
			Haul__TreeOp pass = HAUL__TREE_OP__INIT, *one = &pass;

			pass.kind = HAUL__TREE_KIND__TREE_PASS;
			pass.offset = 1;
			ops.op = &one;
			ops.n_op = 1;
			if (!ch || batch_send(ch, &ops, deadline_in_ms(LIMIT_MS), &wire, &e) < 0 ||
			    !hears(ch, HAUL__MSG__BODY_APPLIED))
				want = "APPLIED";
			bye.body_case = HAUL__MSG__BODY_BYE;
			bye.bye = &b;
			say(t.ch, &bye);
		}
		listen_to_end(&t);
	}
	verdict(ch && strstr(t.said, want) && strstr(t.said, *want ? "ABORT" : "UNDONE"), what,
	        t.said);
	chan_free(ch);
}

/* A batch that is more, or less, than it says. */
static void batches(void)
{
	static const struct {
		const char *what;
		uint32_t raw;
		const char *packed;
		size_t n;
		const char *want;
	} v[] = {
		{ "a batch of 4 GiB", UINT32_MAX, "x", 1, "a batch of files of 4294967295 bytes" },
		{ "a batch shorter than it is", 1, "xxxx", 4, "a batch of files of 1 bytes" },
		{ "a batch that does not unpack", 1000, "\xff\xff\xff\xff", 4,
		  "cannot be unpacked" },
		{ "a batch of nonsense", 4, "\xff\xff\xff\xff", 4, "cannot be decoded" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		Haul__Msg m = HAUL__MSG__INIT;
		Haul__Batch b = HAUL__BATCH__INIT;
		struct chan *ch = NULL;
		struct talk t;

		path = TREE;
		b.raw_bytes = v[i].raw;
		b.packed.data = (uint8_t *)v[i].packed;
		b.packed.len = v[i].n;
		m.body_case = HAUL__MSG__BODY_BATCH;
		m.batch = &b;
		if (reach(&t, ROUNDS, offer_tree)) {
			ch = stream(&t, HAUL__ROLE__ROLE_FILES);
			if (ch)
				say(ch, &m);
			listen_to_end(&t);
		}
		verdict(ch && strstr(t.said, v[i].want), v[i].what, t.said);
		chan_free(ch);
	}
}

/* ---- single files ---- */

static const char *link_to;

static void offer_file(Haul__Offer *o)
{
	static Haul__File f;
	static Haul__File *v = &f;

	haul__file__init(&f);
	f.path = (char *)path;
	f.mode = file_mode;
	f.size = 1;
	f.open = S_ISREG(file_mode);
	o->files = HAUL__FILES__FILES_SHIP_DIFFERING;
	o->proofs = true;
	o->file = &v;
	o->n_file = 1;
}

static void offer_out(Haul__Offer *o)
{
	static Haul__Out out;
	static Haul__Out *v = &out;

	haul__out__init(&out);
	out.kind = HAUL__OUT_KIND__OUT_FILE;
	out.path = (char *)path;
	o->out = &v;
	o->n_out = 1;
}

static void one_file(void)
{
	static const struct {
		const char *path;
		uint32_t mode;
	} v[] = {
		{ "/srv-outside/evil", S_IFREG | 0644 },
		{ "/etc/cron.d/evil", S_IFREG | 0644 },
		{ "/srv/../srv-outside/evil", S_IFREG | 0644 },
		{ "/srv/./../srv-outside/evil", S_IFREG | 0644 },
		{ "/srv-outside/link", S_IFLNK | 0777 },
		{ "/srv-outside/folder", S_IFDIR | 0777 },
		{ "/srv-outside/fifo", S_IFIFO | 0777 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		path = v[i].path;
		file_mode = v[i].mode;
		refused(offer_file, "file-not-allowed");
	}
	path = "/srv-outside/log";
	refused(offer_out, "file-not-allowed");
	path = "/srv/../srv-outside/log";
	refused(offer_out, "file-not-allowed");
}

/* A link, and a file in it: both below /srv by their names. */
static void offer_both(Haul__Offer *o)
{
	static Haul__File f[2];
	static Haul__File *v[2] = { &f[0], &f[1] };

	for (int i = 0; i < 2; i++)
		haul__file__init(&f[i]);
	f[0].path = (char *)"/srv/new";
	f[0].mode = S_IFLNK | 0777;
	f[0].open = true;
	f[0].link.data = (uint8_t *)link_to;
	f[0].link.len = strlen(link_to);
	f[1].path = (char *)path;
	f[1].mode = S_IFREG | 0644;
	f[1].open = true;
	f[1].size = 4;
	o->files = HAUL__FILES__FILES_SHIP_DIFFERING;
	o->file = v;
	o->n_file = 2;
}

static uint32_t part_uid; /* owner of the next parts */
static const char *part_xattr; /* and an attribute of theirs; NULL: none */

static bool say_part(struct chan *ch, uint32_t file, uint32_t mode, uint64_t offset)
{
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__FilePart p = HAUL__FILE_PART__INIT;
	Haul__FileMeta meta = HAUL__FILE_META__INIT;
	Haul__Xattr x = HAUL__XATTR__INIT, *xattrs = &x;

	x.name = (char *)part_xattr;
	meta.xattr = &xattrs;
	meta.n_xattr = part_xattr != NULL;
	meta.uid = part_uid;
	p.file = file;
	p.offset = offset;
	if (S_ISREG(mode)) {
		p.data.data = (uint8_t *)"evil";
		p.data.len = 4;
	}
	meta.mode = mode;
	meta.size = 4;
	p.meta = &meta;
	m.body_case = HAUL__MSG__BODY_FILE_PART;
	m.file_part = &p;
	return say(ch, &m);
}

static bool say_switch(struct chan *ch)
{
	Haul__Msg m = HAUL__MSG__INIT;
	Haul__Switch s = HAUL__SWITCH__INIT;

	s.tasks = 1;
	s.tcp_close = true;
	m.body_case = HAUL__MSG__BODY_SWITCH_OVER;
	m.switch_over = &s;
	return say(ch, &m);
}

/* @want of the parts, or of the switch that follows */
static void parts(const char *what, uint32_t file, uint64_t offset, const char *want)
{
	struct talk t;

	if (reach(&t, ROUNDS, offer_both)) {
		say_part(t.ch, 0, S_IFLNK | 0777, 0);
		say_part(t.ch, file, S_IFREG | 0644, offset);
		say_switch(t.ch);
		listen_to_end(&t);
	}
	verdict(strstr(t.said, want) && strstr(t.said, "UNDONE"), what, t.said);
}

/* What was judged is the file of the offer. */
static void other_meta(const char *what, uint32_t mode, uint32_t uid, const char *xattr,
                       const char *want)
{
	struct talk t;

	part_uid = uid;
	part_xattr = xattr;
	if (reach(&t, ROUNDS, offer_both)) {
		say_part(t.ch, 1, mode, 0);
		say_switch(t.ch);
		listen_to_end(&t);
	}
	part_uid = 0;
	part_xattr = NULL;
	verdict(strstr(t.said, want) && strstr(t.said, "UNDONE"), what, t.said);
}

static void files(void)
{
	one_file();
	link_to = "/srv-outside";
	path = "/srv/link/evil";
	refused(offer_both, "file-behind-link");
	path = "/srv/new/evil";
	parts("a file through a link that came with it", 1, 0, "symbolic link");
	path = "/srv/file";
	parts("a file that nobody offered", 7, 0, "was not asked for");
	parts("content at 2^63", 1, 1ULL << 63, "bytes at");
	parts("content for a link", 0, 0, "bytes at");
	other_meta("a file that is set-user-ID, and was not offered so", S_IFREG | 04755, 0, NULL,
	           "another owner or mode");
	other_meta("a file that is set-group-ID, and was not offered so", S_IFREG | 02755, 0, NULL,
	           "another owner or mode");
	other_meta("a file of another owner than it was offered with", S_IFREG | 0644, 4001, NULL,
	           "another owner or mode");
}

int main(int argc, char **argv)
{
	log_setup("hostile-fs", LOG_ERR_);
	if (argc != 2) {
		fputs("Usage: hostile-fs HOST\n", stderr);
		return 2;
	}
	host = argv[1];
	roots();
	for (size_t i = 0; i < ARRAY_SIZE(attacks); i++)
		attack(attacks[i].what, attacks[i].want, attacks[i].v);
	batches();
	files();
	printf("%u tried, %u not refused as they should\n", tried, failed);
	return failed ? 1 : 0;
}
