/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rights.h - may a process of the tree have a file of this host? docs/SECURITY.md has the rule. */
#ifndef HAUL_AGENT_RIGHTS_H
#define HAUL_AGENT_RIGHTS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* What decides about a process's accesses to files. */
struct rights_id {
	uint32_t uid, gid;
	uint32_t *groups; /* supplementary */
	size_t n_groups;
	uint64_t caps; /* effective */
};

/* The identities of a tree, and who started its move. */
struct rights {
	struct rights_id *v;
	size_t n;
	bool owned; /* for a user, or by a key that is limited to users: nothing but their own rights counts */
};

/* A file as the source describes it. */
struct rights_file {
	uint32_t uid, gid, mode;
};

struct Haul__Offer;
/**
 * rights_load() - the identities of an offer; rights_fini() frees them
 * A source that names none gets user IDs without any group, and root with all capabilities.
 * Return: 0; -ENOMEM
 */
int rights_load(struct rights *r, const struct Haul__Offer *o);
void rights_fini(struct rights *r);

/** rights_is_root() - does @id have the file capabilities that make checks pointless? */
bool rights_is_root(const struct rights_id *id);

/** rights_all_root() - is every identity of the tree root? */
bool rights_all_root(const struct rights *r);

/**
 * rights_open() - find the file at the absolute @path as the process @id would
 * @follow: follow a symbolic link that has the name itself
 * @need:   R_OK, W_OK, X_OK of access(2) on the file; 0: finding it is enough
 * @st:     out
 * Symbolic links are followed only where neither the link nor its directory can be changed by
 * others than root and @id. The calling thread has the identity of @id meanwhile.
 * Return: a descriptor (O_PATH), the caller's; -EACCES; -ELOOP such a link; -ENOENT; -errno
 */
int rights_open(const struct rights_id *id, const char *path, bool follow, int need,
                struct stat *st);

/* The directory in which the last file was found. */
struct rights_place {
	char dir[PATH_MAX];
	const struct rights_id *id;
	int fd; /* -1: none */
};
/**
 * rights_open_near() - rights_open() for many files, one after the other: the way to a directory is walked once for
 * those that lie in it
 * @p: fd is -1 at first; rights_place_fini() in the end
 */
int rights_open_near(struct rights_place *p, const struct rights_id *id, const char *path,
                     bool follow_last, int need, struct stat *st);
/** rights_see_near() - the same, links followed, where nobody needs the file open: cheaper for root. Return: 0; -errno */
int rights_see_near(struct rights_place *p, const struct rights_id *id, const char *path, int need,
                    struct stat *st);
void rights_place_fini(struct rights_place *p);

/** rights_need() - what an open with @flags needs of the file: R_OK, W_OK, both; 0: O_PATH */
int rights_need(unsigned int flags);
/** rights_access() - may @id use the open file @fd (O_PATH) with @need? Return: 0; -EACCES; -errno */
int rights_access(const struct rights_id *id, int fd, int need);

/**
 * rights_make() - make a file without a name, as @id would: it has one in the directory @dir for a moment only
 * @name: the name, or another one if that is taken
 * @kind: S_IFREG, S_IFDIR or S_IFIFO. Nobody else may open it, until its mode is set
 * Return: a descriptor, the caller's: for reading and writing of a regular file, else O_PATH; -errno
 */
int rights_make(const struct rights_id *id, int dir, const char *name, mode_t kind);

/**
 * rights_given() - may the tree keep a file that @id holds, but may not open by itself?
 * A privileged process opened it and handed it on or gave its privileges up. True only if root
 * started the move, @was (the file on the source) has the same owner, group and mode here, and
 * no unprivileged identity of @r could have put another file at @path.
 * @st: out, of the file here
 * Return: a descriptor (O_PATH), the caller's; -EACCES; -errno
 */
int rights_given(const struct rights *r, const struct rights_id *id, const char *path,
                 const struct rights_file *was, int need, struct stat *st);

/**
 * rights_find() - the same for the whole tree: may any of its identities have the file?
 * @was: NULL: not known
 */
int rights_find(const struct rights *r, const char *path, bool follow, int need,
                const struct rights_file *was, struct stat *st);

/**
 * rights_guarded() - can no unprivileged identity of the tree change an entry of the directory
 * @path, or of one above it? Return: 0; -EACCES; -errno
 */
int rights_guarded(const struct rights *r, const char *path);

/**
 * rights_create() - may the tree get a new file at @path?
 * @was:    the file on the source; its owner must be allowed to create it here
 * @parent: the directory of it on the source; NULL: not known. When root started the move, a
 *          directory here with the same owner, group and mode will do, but for a set-user-ID or set-group-ID
 *          file of another user
 * Return: 0; -EACCES; -errno
 */
int rights_create(const struct rights *r, const char *path, const struct rights_file *was,
                  const struct rights_file *parent);

#endif
