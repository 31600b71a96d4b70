// SPDX-License-Identifier: GPL-2.0-or-later
/* archive.c - haul save PID FILE, haul load FILE: a move of which one end is an archive. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hauler/cli/cli.h"
#include "hauler/cli/signals.h"
#include "hauler/load/load.h"
#include "hauler/save/save.h"

#define FREEZE_LIMIT_END_MS 600000 /* a tree that ends is not waited for */

static int misuse(const char *what)
{
	fprintf(stderr, "haul: %s\n", what);
	return EXIT_USAGE;
}

/* Return: the whole path, the caller's; NULL: its folder does not exist */
static char *whole_path(const char *file)
{
	AUTO(mem) char *copy = strdup(file);
	char *slash = copy ? strrchr(copy, '/') : NULL, *out = NULL;

	if (slash)
		*slash = 0;
	AUTO(mem) char *folder = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);

	if (!folder)
		return NULL;
	const char *name = slash ? file + (slash - copy) + 1 : file;

	return asprintf(&out, "%s/%s", strcmp(folder, "/") ? folder : "", name) < 0 ? NULL : out;
}

/* A folder: a file in it, named by the program and its process ID. */
static char *file_in(const char *folder, pid_t pid)
{
	char comm[32] = "", path[64], *out = NULL;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	if (!f || !fgets(comm, sizeof(comm), f))
		return NULL;
	comm[strcspn(comm, "\n")] = 0;
	for (char *c = comm; *c; c++)
		if (*c == '/' || *c <= ' ' || *c > '~')
			*c = '_';
	return asprintf(&out, "%s/%s-%d.haul", folder, comm, pid) < 0 ? NULL : out;
}

/* Return: 0 and o->dest; -ENOMEM */
static int take_url(struct opts *o, const char *url)
{
	char *dest = NULL;

	if (asprintf(&dest, SAVE_PREFIX "%s", url) < 0)
		return -ENOMEM;
	o->dest = dest; /* as long as the program runs */
	return 0;
}

/* Return: 0 and o->dest; -errno after a message */
static int take_file(struct opts *o, const char *file, bool makes)
{
	struct stat st;

	if (!*file) {
		fputs("haul: the name of the archive is empty\n", stderr);
		return -EINVAL;
	}
	if (!makes && strstr(file, "://"))
		return take_url(o, file);
	bool is_folder = stat(file, &st) == 0 && S_ISDIR(st.st_mode);
	AUTO(mem) char *inside = is_folder && makes ? file_in(file, o->pid) : NULL;
	AUTO(mem) char *path = whole_path(inside ? inside : file);
	char *dest = NULL;

	if (!path || asprintf(&dest, SAVE_PREFIX "%s", path) < 0) {
		fprintf(stderr, "haul: %s: %s\n", file, strerror(errno));
		return -EINVAL;
	}
	o->dest = dest; /* as long as the program runs */
	return 0;
}

static const char *unfit(const struct opts *o)
{
	const struct pol_options *v = &o->pol.v;

	if (o->archive.end + o->archive.stop + o->archive.runs > 1)
		return "--end, --stop and --leave-running exclude each other";
	if (v->mode == POL_POST_COPY || v->mode == POL_HYBRID)
		return "an archive is written by --mode=stop-copy or pre-copy";
	if (v->tcp == POL_TCP_MOVE || o->net.n_moves)
		return "connections do not go into an archive: --tcp=close or refuse";
	if (o->into_root || o->as)
		return "--into-root and --as are for moves to a host";
	return NULL;
}

static void fit(struct opts *o)
{
	struct pol_options *v = &o->pol.v;

	if (v->mode == POL_AUTO)
		v->mode = o->archive.end ? POL_STOP_COPY : POL_PRE_COPY;
	/* who would start a second one does not, as this one stays */
	if (!o->archive.end)
		v->supervisor = POL_SUPERVISOR_IGNORE;
	else if (!policy_given(o, "freeze-limit-ms"))
		v->freeze_limit_ms = FREEZE_LIMIT_END_MS;
}

/* The signal thread may look at it until the program ends. */
static struct mig loading, *now = &loading;

int cli_load(struct opts *o, int argc, char **argv)
{
	struct mig *m = &loading;

	(void)argc;
	if (take_file(o, argv[0], false) < 0)
		return EXIT_USAGE;
	o->pol.v.freeze_limit_ms = FREEZE_LIMIT_END_MS; /* nothing is stopped that runs */
	mig_init(m);
	m->opt = o;
	signals_catch(&now);
	int r = load_begin(m, &m->err);

	if (r == 0) {
		o->pid = load_pid(m->load);
		r = run_migration(m, o);
	}
	if (r < 0)
		report_error(&m->err, o->json);
	if (m->id)
		report_end(m);
	int status = r == 0 ? EXIT_OK : cli_status(m);

	run_fini(m);
	return status;
}

int cli_save(struct opts *o, int argc, char **argv)
{
	const char *why = unfit(o);

	(void)argc;
	if (why)
		return misuse(why);
	if (take_file(o, argv[1], true) < 0)
		return EXIT_USAGE;
	if (dirs_opts_cover(&o->fs, save_path(o->dest)))
		return misuse("the archive lies in a directory that would go into it (--fs)");
	fit(o);
	return cli_move(o, 0, NULL);
}
