// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * sqlite.c - SQLite databases that become other files: SQLite compares the inode number of its open
 * database with that of the file at its path before it makes a rollback journal, and then refuses to write.
 */
#include "hauler/files/needs.h"

#include <string.h>
#include <unistd.h>

#include "hauler/inspect/inspect.h"
#include "hauler/options/dirs.h"

#define HEAD_BYTES     20
#define MAGIC          "SQLite format 3"
#define AT_WRITE       18 /* version of the file format for writing */
#define VERSION_LEGACY 1 /* a rollback journal; 2: a write-ahead log */

/* Is it a database that is written by way of a rollback journal? */
static bool has_rollback(pid_t root, const struct held_file *held)
{
	char head[HEAD_BYTES];
	AUTO(fd) int fd = held_read(root, held);

	return fd >= 0 && pread(fd, head, sizeof(head), 0) == HEAD_BYTES &&
	       !memcmp(head, MAGIC, sizeof(MAGIC)) && head[AT_WRITE] == VERSION_LEGACY;
}

static int say(struct findings *out, const char *path)
{
	return finding_add(
	        out, SEV_WARNING, "sqlite-moved",
	        "PRAGMA journal_mode=WAL before the move; or keep it on storage that both "
	        "hosts see; or let the program open it again afterwards",
	        "%s is an SQLite database with a rollback journal: at the destination it is "
	        "another file (inode), and the program's writes will fail with "
	        "SQLITE_READONLY_DBMOVED until it opens the database again",
	        path);
}

int needs_say_sqlite(const struct needs *n, const struct inspect *insp, struct findings *out)
{
	size_t n_files;
	Haul__File *const *files = inspect_files(insp, &n_files);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_files; i++)
		if (files[i]->write && files[i]->open && dirs_opts_cover(n->dirs, files[i]->path) &&
		    has_rollback(n->root_pid, inspect_held(files[i])))
			r = say(out, files[i]->path);
	for (size_t i = 0; r == 0 && i < n->n; i++)
		if (!n->archived && n->v[i].file.write && n->v[i].file.open &&
		    needs_travels(&n->v[i]) && has_rollback(n->root_pid, &n->v[i].held))
			r = say(out, n->v[i].here);
	return r;
}
