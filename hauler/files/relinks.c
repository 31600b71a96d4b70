// SPDX-License-Identifier: GPL-2.0-or-later
/* relinks.c - names for the time of the dump. */
#include "hauler/files/relinks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/images/img.h"
#include "hauler/inspect/inspect.h"
#include "hauler/mig/mig.h"

static bool are_one(const char *a, const char *b)
{
	struct stat x, y;

	return lstat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

int relinks_make(struct mig *m, struct err *e)
{
	size_t n = 0;
	const struct img_relink *v = m->insp ? inspect_relinks(m->insp, &n) : NULL;

	for (size_t k = 0; k < n; k++)
		if (link(v[k].to, v[k].from) < 0 &&
		    !(errno == EEXIST && are_one(v[k].from, v[k].to)))
			return err_sys(e, "a second name for %s", v[k].to);
	return 0;
}

int relinks_drop(struct mig *m, struct err *e)
{
	size_t n = 0;
	const struct img_relink *v = m->insp ? inspect_relinks(m->insp, &n) : NULL;

	(void)e;
	for (size_t k = 0; k < n; k++)
		if (are_one(v[k].from, v[k].to))
			unlink(v[k].from);
	return 0;
}
