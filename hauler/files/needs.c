// SPDX-License-Identifier: GPL-2.0-or-later
/* needs.c - files that the tree needs, with their paths here and at the destination. */
#include "hauler/files/needs.h"

#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/array.h"
#include "engine/images/img.h"
#include "hauler/inspect/priv.h"
#include "hauler/mig/mig.h"

/* This many files stay open between passes; others are opened again in each. */
#define KEPT_MAX 256

static const char *const words[] = {
	[HAUL__FILE_STATE__FILE_NONE] = "with it",    [HAUL__FILE_STATE__FILE_SAME] = "same",
	[HAUL__FILE_STATE__FILE_MISSING] = "missing", [HAUL__FILE_STATE__FILE_DIFFERS] = "differs",
	[HAUL__FILE_STATE__FILE_TAIL] = "older",      [HAUL__FILE_STATE__FILE_KEPT] = "kept",
	[HAUL__FILE_STATE__FILE_SHARED] = "shared",
};

const char *needs_word(Haul__FileState s)
{
	return (size_t)s < ARRAY_SIZE(words) && words[s] ? words[s] : "?";
}

bool needs_travels(const struct need *k)
{
	return k->state == HAUL__FILE_STATE__FILE_MISSING ||
	       k->state == HAUL__FILE_STATE__FILE_DIFFERS ||
	       k->state == HAUL__FILE_STATE__FILE_TAIL;
}

/* ---- the list ---- */

/* Return: 0; -EXDEV not below the tree's root */
static int path_there(const struct needs *n, const Haul__File *f, char out[PATH_MAX])
{
	/* a service outside the tree is known by its path on the host */
	if (!n->into_root || S_ISSOCK(f->mode) || f->path[0] != '/') {
		snprintf(out, PATH_MAX, "%s", f->path);
		return 0;
	}
	return root_map(f->path, n->root, n->into_root, out, PATH_MAX);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* @held: NULL: a file that no process holds: its content is not read */
static int add(struct needs *n, const Haul__File *f, const struct held_file *held,
               struct findings *out)
{
	char there[PATH_MAX];

	if (dirs_opts_cover(n->dirs, f->path))
		return 0; /* it comes with that directory */
	int r = path_there(n, f, there);

	if (r < 0)
		return finding_add(out, SEV_BLOCKER, "into-root",
		                   "the process has to close it before it can move there",
		                   "%s does not lie below the tree's root directory %s", f->path,
		                   n->root);
	if (array_grow(&n->v, n->n, &n->cap, sizeof(*n->v)) < 0)
		return -ENOMEM;
	struct need *k = &n->v[n->n];

	*k = (struct need){ .file = *f, .here = strdup(f->path), .there = strdup(there), .fd = -1 };
	if (held)
		k->held = *held;
	k->file.path = k->there;
	n->n++;
	return k->here && k->there && tsearch(k->there, &n->by_there, by_name) ? 0 : -ENOMEM;
}

static bool has(const struct needs *n, const char *there)
{
	return tfind(there, &n->by_there, by_name) != NULL;
}

/* The directories above each file, which may be missing, too. */
static int add_above(struct needs *n, struct findings *out)
{
	size_t n_files = n->n;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_files; i++) {
		char dir[PATH_MAX];

		snprintf(dir, sizeof(dir), "%s", n->v[i].here);
		for (char *slash; r == 0 && (slash = strrchr(dir, '/')) && slash > dir;) {
			char there[PATH_MAX];
			Haul__File f = HAUL__FILE__INIT;
			struct stat st;

			*slash = 0;
			f.path = dir;
			f.directory = true;
			if (path_there(n, &f, there) < 0 || has(n, there) || stat(dir, &st) < 0)
				break;
			f.mode = st.st_mode;
			f.uid = st.st_uid;
			f.gid = st.st_gid;
			r = add(n, &f, NULL, out);
		}
	}
	return r;
}

/* What programs expect in each root directory. */
static const struct {
	const char *path;
	mode_t mode;
	unsigned int minor; /* of the memory devices */
} basics[] = {
	{ "/", S_IFDIR | 0755, 0 },
	{ "/proc", S_IFDIR | 0555, 0 },
	{ "/dev", S_IFDIR | 0755, 0 },
	{ "/tmp", S_IFDIR | 01777, 0 },
	{ "/dev/null", S_IFCHR | 0666, 3 },
	{ "/dev/zero", S_IFCHR | 0666, 5 },
	{ "/dev/full", S_IFCHR | 0666, 7 },
	{ "/dev/random", S_IFCHR | 0666, 8 },
	{ "/dev/urandom", S_IFCHR | 0666, 9 },
};

static int add_basics(struct needs *n, struct findings *out)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(basics); i++) {
		char here[PATH_MAX], there[PATH_MAX];
		Haul__File f = HAUL__FILE__INIT;

		root_map(basics[i].path, "/", n->root, here, sizeof(here));
		root_map(basics[i].path, "/", n->into_root, there, sizeof(there));
		if (has(n, there))
			continue;
		f.path = here;
		f.mode = basics[i].mode;
		f.directory = S_ISDIR(f.mode);
		f.device = basics[i].minor ? makedev(1, basics[i].minor) : 0;
		r = add(n, &f, NULL, out);
	}
	return r;
}

static int say_unfit(const struct needs *n, const struct inspect *insp, struct findings *out)
{
	const char *what = inspect_unmovable_root(insp);

	if (!what || !n->into_root || !strcmp(n->into_root, n->root))
		return 0;
	return finding_add(out, SEV_BLOCKER, "into-root",
	                   "restore it into the same root directory as here",
	                   "%s: CRIU brings it back by its path on the host", what);
}

/* Return: 0; -ENOMEM */
static int list_all(struct needs *n, const struct inspect *insp, const struct opts *o,
                    struct findings *f)
{
	size_t n_files;
	Haul__File *const *files = inspect_files(insp, &n_files);
	int r = say_unfit(n, insp, f);

	for (size_t i = 0; r == 0 && i < n_files; i++)
		r = add(n, files[i], inspect_held(files[i]), f);
	if (r < 0)
		return r;
	r = n->into_root && n->into_root[1] ? add_basics(n, f) : 0;
	return r < 0 || o->pol.v.files == POL_FILES_REQUIRE ? r : add_above(n, f);
}

int needs_new(struct needs **out, const struct inspect *insp, const struct opts *o,
              struct findings *f, struct err *e)
{
	AUTO(needs) struct needs *n = calloc(1, sizeof(*n));

	if (!n)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the list of files");
	n->root = inspect_root_dir(insp);
	n->into_root = o->into_root;
	n->dirs = &o->fs;
	n->root_pid = o->pid;
	int r = list_all(n, insp, o, f);

	n->ptr = calloc(n->n + 1, sizeof(Haul__File *));
	if (r < 0 || !n->ptr)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for the list of files");
	for (size_t i = 0; i < n->n; i++)
		n->ptr[i] = &n->v[i].file;
	*out = steal(n);
	return 0;
}

void needs_free(struct needs *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n; i++) {
		if (n->v[i].there)
			tdelete(n->v[i].there, &n->by_there, by_name);
		free(n->v[i].here);
		free(n->v[i].there);
		free(n->v[i].block);
		auto_fd(&n->v[i].fd);
	}
	free(n->v);
	free(n->ptr);
	free(n);
}

/* ---- content: only from what a process holds ---- */

/* The path must lead to that file still: CRIU opens it by name at the destination. */
static bool has_name(const struct need *k)
{
	struct stat st;

	return lstat(k->here, &st) == 0 && st.st_dev == k->held.dev && st.st_ino == k->held.ino;
}

static int say_replaced(const struct need *k, struct err *e)
{
	err_set(e, ERR_TARGET, ESTALE, "%s is no longer the same file", k->here);
	return err_fix(e, "a log was rotated, or the program has made a new file: try again");
}

static int say_unread(const struct need *k, int r, struct err *e)
{
	if (r == -ESTALE)
		return say_replaced(k, e);
	if (r != -EBUSY)
		return err_set(e, ERR_SYS, -r, "read %s: %s", k->here, strerror(-r));
	err_set(e, ERR_TARGET, EBUSY,
	        "%s has a lease: opening it would send a signal to its holder", k->here);
	return err_fix(
	        e, "the program has to give up the lease (fcntl F_SETLEASE) before it can move");
}

int needs_open(struct needs *n, struct need *k, struct err *e)
{
	if (!has_name(k))
		return say_replaced(k, e);
	if (k->fd >= 0)
		return k->fd;
	int fd = held_read(n->root_pid, &k->held);

	if (fd < 0)
		return say_unread(k, fd, e);
	k->fd = fd;
	n->kept++;
	return fd;
}

void needs_close(struct needs *n, struct need *k)
{
	if (k->fd < 0 || (k->file.write && n->kept <= KEPT_MAX))
		return;
	close(steal_fd(&k->fd));
	n->kept--;
}

/* ---- the negotiation ---- */

void needs_offer(const struct needs *n, Haul__Offer *o)
{
	o->n_file = n->n;
	o->file = n->ptr;
	o->proofs = true;
	if (n->into_root)
		o->into_root = (char *)n->into_root;
}

void needs_seen(struct needs *n, const Haul__Answer *a)
{
	for (size_t i = 0; i < n->n && i < a->n_seen; i++) {
		n->v[i].state = a->seen[i]->state;
		n->v[i].there_bytes = a->seen[i]->bytes;
	}
}

int needs_digest(struct needs *n, uint32_t k, uint64_t bytes, uint64_t seed, uint8_t *out)
{
	if (k >= n->n || !S_ISREG(n->v[k].file.mode))
		return -EINVAL;
	AUTO(fd) int fd = held_read(n->root_pid, &n->v[k].held);
	int r = fd < 0 ? fd : digest_file(fd, bytes, seed, out);

	if (r)
		return r;
	memcpy(n->v[k].proven, out, DIGEST_BYTES);
	return 0;
}

/* ---- the tree is stopped ---- */

static uint64_t ns(const struct statx_timestamp *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + t->tv_nsec;
}

static int add_still(Haul__Switch *s, uint32_t k, const struct statx *st)
{
	Haul__Still **v = realloc(s->still, (s->n_still + 1) * sizeof(*v));

	if (!v)
		return -ENOMEM;
	s->still = v;
	if (!(v[s->n_still] = malloc(sizeof(**v))))
		return -ENOMEM;
	Haul__Still *still = v[s->n_still++];

	haul__still__init(still);
	still->file = k;
	still->size = st->stx_size;
	still->ctime_ns = ns(&st->stx_ctime);
	return 0;
}

/* The destination has it as it was compared, or brought. */
static bool is_compared(const struct need *k)
{
	return S_ISREG(k->file.mode) && !k->file.write && k->file.ctime_ns &&
	       (k->state == HAUL__FILE_STATE__FILE_SAME || needs_travels(k));
}

bool needs_looks_again(const struct needs *n, const struct need *k)
{
	return is_compared(k) || k->state == HAUL__FILE_STATE__FILE_SHARED ||
	       (n->archived && k->file.write && S_ISREG(k->file.mode) && needs_travels(k));
}

int needs_still(const struct needs *n, Haul__Switch *s, struct err *e)
{
	for (uint32_t i = 0; i < n->n; i++) {
		const struct need *k = &n->v[i];
		bool same = is_compared(k);
		struct statx st;

		if (!needs_looks_again(n, k))
			continue;
		if (statx(AT_FDCWD, k->here, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st) < 0)
			return errno == ENOENT ? say_replaced(k, e) : err_sys(e, "%s", k->here);
		if (st.stx_ino != k->held.ino ||
		    makedev(st.stx_dev_major, st.stx_dev_minor) != k->held.dev)
			return say_replaced(k, e);
		if (!same && add_still(s, i, &st) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for files");
		if (same &&
		    (st.stx_size != k->file.size || ns(&st.stx_mtime) != k->file.mtime_ns)) {
			err_set(e, ERR_TARGET, ESTALE, "%s was changed while the tree moved",
			        k->here);
			return err_fix(e, "try again");
		}
	}
	return 0;
}

void needs_still_free(Haul__Switch *s)
{
	for (size_t i = 0; i < s->n_still; i++)
		free(s->still[i]);
	free(s->still);
}

int needs_reroot(const struct needs *n, int images_fd, struct err *e)
{
	return n->into_root && strcmp(n->root, n->into_root)
	               ? img_reroot(images_fd, n->root, n->into_root, e)
	               : 0;
}
