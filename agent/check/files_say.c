// SPDX-License-Identifier: GPL-2.0-or-later
/* files_say.c - turn the states of files into findings: blockers with remedies, files to ship. */
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/check/allow.h"
#include "agent/check/files.h"
#include "common/auto.h"

#define PATH_BYTES   4096
#define SPARE_BYTES  (16ULL << 20) /* stays free on a file system that gets files */
#define VOLUMES_MAX  64
#define PRIVATE_ROOT "or let the tree have a root directory of its own there: --into-root=DIR"

/* A finding that could not be stored must not read as "nothing found". */
#define say(f, ...) ((f)->no_memory |= finding_add((f)->out, __VA_ARGS__) < 0)

const char *files_clean(const char *text, char *out, size_t bytes)
{
	size_t n = 0;

	for (; n < bytes - 1 && text[n]; n++)
		out[n] = iscntrl((unsigned char)text[n]) ? ' ' : text[n];
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = 0;
	return out;
}

bool files_is_log(const Haul__File *f)
{
	return f->write && !f->open && !f->mapped;
}

/* Does @path belong to this host rather than to a program that moves? */
static bool is_system(const Haul__Offer *o, const char *path)
{
	static const char *const dirs[] = { "/usr/",  "/lib/",  "/lib32/", "/lib64/", "/libx32/",
		                            "/bin/",  "/sbin/", "/etc/",   "/boot/",  "/dev/",
		                            "/proc/", "/sys/",  "/nix/",   "/gnu/" };
	size_t root = strlen(o->into_root);

	/* a private root belongs to this migration alone */
	if (root > 1 && !strncmp(path, o->into_root, root) && path[root] == '/')
		return false;
	if (!strncmp(path, "/usr/local/", 11) || !strncmp(path, "/dev/shm/", 9))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (!strncmp(path, dirs[i], strlen(dirs[i])))
			return true;
	return false;
}

/* ---- missing ---- */

static const char *absent_mount_of(const struct files *f, const char *path)
{
	for (size_t i = 0; i < f->o->n_mount; i++) {
		size_t n = strlen(f->o->mount[i]);

		if (f->absent[i] && !strncmp(path, f->o->mount[i], n) &&
		    (path[n] == '/' || !path[n]))
			return f->o->mount[i];
	}
	return NULL;
}

static void say_missing(struct files *f, const Haul__File *file)
{
	const char *point = absent_mount_of(f, file->path);
	bool log = file->write && !file->open;
	char fix[PATH_BYTES + 64], name[PATH_BYTES];

	if (f->missing++ >= FILES_SAID_MAX)
		return;
	if (point)
		snprintf(fix, sizeof(fix), "mount there what the source has at %s", point);
	else
		snprintf(fix, sizeof(fix), "%s",
		         S_ISSOCK(file->mode) ? "start the service that listens on it"
		         : S_ISCHR(file->mode) || S_ISBLK(file->mode)
		                 ? "load the driver that makes it"
		         : file->directory ? "make it there: mkdir -p; or --files=ship-missing"
		         : log             ? "make an empty one there, or --files=ship-missing"
		                           : "copy it to the same path there, or "
		                             "--files=ship-missing");
	say(f, SEV_BLOCKER, "file-missing", files_clean(fix, fix, sizeof(fix)),
	    "%s %s is not there at the destination", file->directory ? "directory" : "file",
	    files_clean(file->path, name, sizeof(name)));
}

void files_say_denied(struct files *f, const Haul__File *file, int r)
{
	char name[PATH_BYTES];

	if (f->denied++ >= FILES_SAID_MAX)
		return;
	say(f, SEV_BLOCKER, "file-denied",
	    r == -ELOOP
	            ? "mount the storage there instead, or let root own link and directory"
	            : "give the user of the process the right there, or let root move a process "
	              "that got the file from root: owner, group and mode must then be the same "
	              "on both hosts",
	    r == -ELOOP   ? "%s is reached at the destination through a symbolic link that another "
	                    "user could change"
	    : file->write ? "no process of the tree may write %s at the destination"
	                  : "no process of the tree may use %s at the destination",
	    files_clean(file->path, name, sizeof(name)));
}

static bool may_make(const struct files *f, const Haul__File *file)
{
	if (f->o->files == HAUL__FILES__FILES_REQUIRE || S_ISSOCK(file->mode) ||
	    !strncmp(file->path, "/proc/", 6) || !strncmp(file->path, "/sys/", 5))
		return false;
	return (!S_ISCHR(file->mode) && !S_ISBLK(file->mode)) || strlen(f->o->into_root) > 1;
}

/* ---- different ---- */

/* @how: "has 7 bytes at the destination, 9 at the source" */
static void say_differs(struct files *f, const Haul__File *file, const char *how)
{
	bool system = is_system(f->o, file->path);
	char name[PATH_BYTES];

	if (f->differing++ >= FILES_SAID_MAX)
		return;
	say(f, SEV_BLOCKER, "file-differs",
	    system ? "install the same version there, " PRIVATE_ROOT
	    : f->o->files == HAUL__FILES__FILES_SHIP_DIFFERING
	            ? "end the program that uses it there, " PRIVATE_ROOT
	            : "keep it on storage that both hosts see, copy it there, or let haul "
	              "replace it: --files=ship-differing",
	    "%s %s%s", files_clean(file->path, name, sizeof(name)), how,
	    system ? ": it belongs to the system there, and is never overwritten" : "");
}

static void how_differs(const struct files *f, uint32_t i, char *out, size_t bytes)
{
	const Haul__File *file = f->o->file[i];
	struct stat st;
	bool there = stat(file->path, &st) == 0;
	uint32_t kind = file->directory ? S_IFDIR : file->mode & S_IFMT;

	if (there && kind && (st.st_mode & S_IFMT) != kind)
		snprintf(out, bytes, "is of another type at the destination");
	else if (f->seen[i].bytes != file->size)
		snprintf(out, bytes, "has %llu bytes at the destination, %llu at the source",
		         (unsigned long long)f->seen[i].bytes, (unsigned long long)file->size);
	else if (file->write)
		snprintf(out, bytes, "is written by the tree, and not the same file on both hosts");
	else if (file->build_id.len)
		snprintf(out, bytes, "has another build-id at the destination");
	else
		snprintf(out, bytes, "has another content at the destination");
}

/* Where replacing is allowed it still needs that nobody there relies on the file. */
static bool is_free(uint32_t i, const struct file_id *used, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (used[k].file == i)
			return !used[k].by;
	return true;
}

static void judge_differing(struct files *f, uint32_t i, const struct file_id *used, size_t n)
{
	const Haul__File *file = f->o->file[i];
	char how[160];
	struct stat st;
	uint32_t kind = file->directory ? S_IFDIR : file->mode & S_IFMT;
	bool typed = !kind || stat(file->path, &st) < 0 || (st.st_mode & S_IFMT) == kind;

	if (typed && f->o->files == HAUL__FILES__FILES_SHIP_DIFFERING &&
	    !is_system(f->o, file->path) && is_free(i, used, n))
		return;
	how_differs(f, i, how, sizeof(how));
	if (typed && !is_free(i, used, n))
		for (size_t k = 0, at = strlen(how); k < n; k++)
			if (used[k].file == i)
				snprintf(how + at, sizeof(how) - at, ", where pid %d uses it",
				         used[k].by);
	say_differs(f, file, how);
}

/*
 * An older copy is completed under the rules for a differing one: not what belongs to the system, nor
 * what another process here uses, and its owner stays. A log here then stays as it is.
 * @why: out, for a log that stays
 */
static void judge_older(struct files *f, uint32_t i, const struct file_id *used, size_t n,
                        const char **why)
{
	const Haul__File *file = f->o->file[i];
	bool system = is_system(f->o, file->path), log = files_is_log(file);
	struct stat st;
	bool other = stat(file->path, &st) == 0 &&
	             (st.st_uid != file->uid || st.st_gid != file->gid);

	if (!system && is_free(i, used, n) && (log || !other))
		return;
	*why = system ? "belongs to the system" : "is in use";
	f->seen[i].state = log ? HAUL__FILE_STATE__FILE_KEPT : HAUL__FILE_STATE__FILE_DIFFERS;
}

static void judge_mode(struct files *f, uint32_t i)
{
	const Haul__File *file = f->o->file[i];
	char fix[32], name[PATH_BYTES];
	struct stat st;

	if (!(file->mapped || file->open || file->write) || stat(file->path, &st) < 0 ||
	    S_ISSOCK(st.st_mode) || (file->mode & 07777) == (st.st_mode & 07777) ||
	    f->differing++ >= FILES_SAID_MAX)
		return;
	snprintf(fix, sizeof(fix), "chmod %04o it there", file->mode & 07777);
	say(f, SEV_BLOCKER, "file-mode", fix,
	    "%s has mode %04o at the destination, %04o at the source; CRIU wants them equal",
	    files_clean(file->path, name, sizeof(name)), st.st_mode & 07777, file->mode & 07777);
}

/* ---- files to ship ---- */

struct volume {
	dev_t dev;
	uint64_t bytes, files, free_bytes, free_files;
	const char *path;
};

/* The file system of @path, or of its nearest existing directory. */
static int volume_at(const char *path, struct stat *st, struct statvfs *v)
{
	char dir[PATH_BYTES];

	snprintf(dir, sizeof(dir), "%s", path);
	while (stat(dir, st) < 0) {
		char *slash = strrchr(dir, '/');

		if (!slash)
			return -ENOENT;
		slash[slash == dir] = 0;
	}
	return statvfs(dir, v);
}

static void add_volume(struct volume *list, size_t *n, const char *path, uint64_t bytes)
{
	struct stat st;
	struct statvfs v;
	size_t k = 0;

	if (volume_at(path, &st, &v) < 0)
		return;
	while (k < *n && list[k].dev != st.st_dev)
		k++;
	if (k == VOLUMES_MAX)
		return;
	if (k == *n)
		list[(*n)++] = (struct volume){ .dev = st.st_dev,
			                        .free_bytes = (uint64_t)v.f_bavail * v.f_frsize,
			                        .free_files = v.f_files ? v.f_favail : UINT64_MAX,
			                        .path = path };
	list[k].bytes += bytes;
	list[k].files++;
}

/* How many bytes of a file travel; the source has the same rule. */
static bool travels(const struct files *f, uint32_t i, uint64_t *bytes)
{
	const Haul__File *file = f->o->file[i];
	uint64_t size = file->stored && file->stored < file->size ? file->stored : file->size;

	switch (f->seen[i].state) {
	case HAUL__FILE_STATE__FILE_MISSING:
	case HAUL__FILE_STATE__FILE_DIFFERS:
		*bytes = size;
		return true;
	case HAUL__FILE_STATE__FILE_TAIL:
		*bytes = size > f->seen[i].bytes ? size - f->seen[i].bytes : 0;
		return true;
	default:
		return false;
	}
}

/* The nearest directory above @path that the offer describes and that exists here. */
static const Haul__File *parent_of(const struct files *f, const char *path)
{
	char dir[PATH_BYTES];
	struct stat st;

	snprintf(dir, sizeof(dir), "%s", path);
	for (char *slash; (slash = strrchr(dir, '/')) && slash > dir;) {
		*slash = 0;
		for (uint32_t i = 0; i < f->o->n_file; i++)
			if (!strcmp(f->o->file[i]->path, dir) && lstat(dir, &st) == 0)
				return f->o->file[i];
	}
	return NULL;
}

/* May the tree get a new file here, or another one in the place of the file here? */
static bool may_place(const struct files *f, uint32_t i)
{
	const Haul__File *file = f->o->file[i];
	size_t root = strlen(f->o->into_root);

	/* root has named this directory for the move */
	if (!f->rights->owned && root > 1 && !strncmp(file->path, f->o->into_root, root))
		return true;
	const Haul__File *above = parent_of(f, file->path);
	const struct rights_file was = { file->uid, file->gid, file->mode },
	                         parent = { above ? above->uid : 0, above ? above->gid : 0,
		                            above ? above->mode : 0755 };
	struct stat st;

	if (rights_create(f->rights, file->path, &was, &parent) < 0)
		return false;
	if (f->seen[i].state == HAUL__FILE_STATE__FILE_MISSING)
		return true;
	AUTO(fd) int fd = rights_find(f->rights, file->path, false, W_OK, &was, &st);

	return fd >= 0;
}

static void judge_rights(struct files *f)
{
	char name[PATH_BYTES];
	uint64_t bytes;

	if (f->o->files == HAUL__FILES__FILES_REQUIRE)
		return;
	for (uint32_t i = 0; i < f->o->n_file; i++)
		if (travels(f, i, &bytes) && !may_place(f, i) && f->denied++ < FILES_SAID_MAX)
			say(f, SEV_BLOCKER, "file-denied",
			    "put it there yourself, or give its directory there the owner, group "
			    "and "
			    "mode that it has at the source",
			    "%s: its owner, user %u, may not write there at the destination",
			    files_clean(f->o->file[i]->path, name, sizeof(name)),
			    f->o->file[i]->uid);
}

/* @path without symbolic links above it, as far as it exists here. Return: false: it cannot be told */
static bool without_links(const char *path, char out[PATH_BYTES])
{
	char dir[PATH_BYTES];
	AUTO(mem) char *real = NULL;

	snprintf(dir, sizeof(dir), "%s", path);
	do {
		char *slash = strrchr(dir, '/');

		if (!slash)
			return false;
		*slash = 0;
		real = realpath(dir[0] ? dir : "/", NULL);
	} while (!real && dir[0]);
	int n = real ? snprintf(out, PATH_BYTES, "%s%s", real[1] ? real : "", path + strlen(dir))
	             : -1;

	return n > 0 && n < PATH_BYTES;
}

static bool makes_dir(const struct files *f, const char *path)
{
	uint64_t bytes;

	for (uint32_t i = 0; i < f->o->n_file; i++)
		if (f->o->file[i]->directory && !strcmp(f->o->file[i]->path, path))
			return travels(f, i, &bytes);
	return false;
}

/* Nothing is placed through a link, except a directory that is made by its other name anyway. */
static void judge_links(struct files *f)
{
	unsigned int n = 0;
	uint64_t bytes;
	char real[PATH_BYTES], name[PATH_BYTES];

	for (uint32_t i = 0; i < f->o->n_file; i++) {
		const Haul__File *file = f->o->file[i];

		if (!travels(f, i, &bytes) || !without_links(file->path, real) ||
		    !strcmp(real, file->path) || (file->directory && makes_dir(f, real)) ||
		    n++ >= FILES_SAID_MAX)
			continue;
		say(f, SEV_BLOCKER, "file-behind-link",
		    "mount the storage there instead, or make the link a directory",
		    "%s is reached through a symbolic link at the destination: nothing is written "
		    "through it",
		    files_clean(file->path, name, sizeof(name)));
	}
}

static void judge_allowed(struct files *f)
{
	unsigned int n = 0;
	uint64_t bytes;
	char name[PATH_BYTES];

	for (uint32_t i = 0; i < f->o->n_file; i++)
		if (travels(f, i, &bytes) && n < FILES_SAID_MAX &&
		    (f->allow ? allow_dir(f->allow, f->key, f->o->file[i]->path) < 0
		              : !allow_clean(f->o->file[i]->path)) &&
		    ++n)
			say(f, SEV_BLOCKER, "file-not-allowed",
			    "there, in haul.conf: files-allow = DIR, a directory above it",
			    "%s: the destination lets nothing be written there by this key",
			    files_clean(f->o->file[i]->path, name, sizeof(name)));
}

static void judge_space(struct files *f)
{
	struct volume list[VOLUMES_MAX];
	size_t n = 0;
	unsigned int files = 0;
	uint64_t all = 0, bytes;
	char name[PATH_BYTES];

	for (uint32_t i = 0; i < f->o->n_file; i++)
		if (travels(f, i, &bytes)) {
			add_volume(list, &n, f->o->file[i]->path, bytes);
			files++;
			all += bytes;
		}
	for (size_t k = 0; k < n; k++)
		if (list[k].bytes + SPARE_BYTES > list[k].free_bytes ||
		    list[k].files > list[k].free_files)
			say(f, SEV_BLOCKER, "space-short", "make room there",
			    "files of %llu MiB have to be brought to the file system of %s at the "
			    "destination, which has %llu MiB and room for %llu files",
			    (unsigned long long)list[k].bytes >> 20,
			    files_clean(list[k].path, name, sizeof(name)),
			    (unsigned long long)list[k].free_bytes >> 20,
			    (unsigned long long)list[k].free_files);
	if (files)
		say(f, SEV_INFO, "files-ship", NULL,
		    "haul brings %u file%s, %llu KiB, which the destination lacks", files,
		    files == 1 ? "" : "s", (unsigned long long)all >> 10);
}

/* ---- all ---- */

static void judge(struct files *f, uint32_t i, const struct file_id *used, size_t n)
{
	const Haul__File *file = f->o->file[i];
	Haul__FileState *s = &f->seen[i].state;
	const char *why = "is another log";
	char name[PATH_BYTES];

	if (*s == HAUL__FILE_STATE__FILE_TAIL)
		judge_older(f, i, used, n, &why);
	if (*s == HAUL__FILE_STATE__FILE_MISSING && S_ISLNK(file->mode) && !may_make(f, file)) {
		*s = HAUL__FILE_STATE__FILE_NONE; /* the restore does not need it */
		return;
	}
	if (*s == HAUL__FILE_STATE__FILE_MISSING && !may_make(f, file))
		say_missing(f, file);
	if (*s == HAUL__FILE_STATE__FILE_DIFFERS)
		judge_differing(f, i, used, n);
	if (*s == HAUL__FILE_STATE__FILE_MISSING || *s == HAUL__FILE_STATE__FILE_DIFFERS)
		return;
	if (*s == HAUL__FILE_STATE__FILE_NONE || S_ISLNK(file->mode))
		return;
	judge_mode(f, i);
	if (file->write && access(file->path, W_OK) < 0 && errno == EROFS)
		say(f, SEV_BLOCKER, "file-read-only", "mount it writable there",
		    "%s is open for writing, but the destination has it read-only",
		    files_clean(file->path, name, sizeof(name)));
	if (*s == HAUL__FILE_STATE__FILE_KEPT && f->o->files != HAUL__FILES__FILES_REQUIRE)
		say(f, SEV_WARNING, "log-kept", "move it away there to have this one in its place",
		    "%s %s at the destination: it stays, and the process appends to it",
		    files_clean(file->path, name, sizeof(name)), why);
}

/* Only where a file could be replaced: it walks /proc. */
static size_t find_users(const struct files *f, struct file_id *v)
{
	struct stat st;
	size_t n = 0;

	for (uint32_t i = 0; i < f->o->n_file; i++)
		if ((f->seen[i].state == HAUL__FILE_STATE__FILE_TAIL ||
		     (f->seen[i].state == HAUL__FILE_STATE__FILE_DIFFERS &&
		      f->o->files == HAUL__FILES__FILES_SHIP_DIFFERING)) &&
		    stat(f->o->file[i]->path, &st) == 0)
			v[n++] = (struct file_id){ .dev = st.st_dev, .ino = st.st_ino, .file = i };
	if (n)
		users_of(v, n);
	return n;
}

void files_judge(struct files *f)
{
	AUTO(mem) struct file_id *used = calloc(f->o->n_file + 1, sizeof(*used));
	size_t n = used ? find_users(f, used) : 0;

	f->no_memory |= !used;
	for (uint32_t i = 0; used && i < f->o->n_file; i++)
		judge(f, i, used, n);
	if (f->missing > FILES_SAID_MAX)
		say(f, SEV_BLOCKER, "file-missing", "see the others",
		    "%u more files are not there at the destination", f->missing - FILES_SAID_MAX);
	if (f->differing > FILES_SAID_MAX)
		say(f, SEV_BLOCKER, "file-differs", "see the others",
		    "%u more files differ at the destination", f->differing - FILES_SAID_MAX);
	judge_links(f);
	judge_allowed(f);
	judge_rights(f);
	if (f->denied > FILES_SAID_MAX)
		say(f, SEV_BLOCKER, "file-denied", "see the others",
		    "%u more files are not for this tree at the destination",
		    f->denied - FILES_SAID_MAX);
	if (f->out->blockers == 0)
		judge_space(f);
}
