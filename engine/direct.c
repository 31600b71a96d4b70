// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * direct.c - reads past the page cache (O_DIRECT): what a device puts into memory leaves no trace in
 * the page table, so a page that is protected again while a read is under way looks clean.
 */
#include "engine/engine.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

static bool is_direct(pid_t pid, const char *fd)
{
	char path[64], line[64];
	unsigned int flags = 0;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", pid, fd);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "flags: %o", &flags) == 1)
			break;
	return flags & O_DIRECT;
}

/*
 * Only what has a path is worth a look: of sockets there may be thousands. The file itself is not
 * asked, for its server may be slow.
 */
static bool has_direct(pid_t pid)
{
	char path[32], first;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	AUTO(dir) DIR *d = opendir(path);

	for (struct dirent *de; d && (de = readdir(d));)
		if (isdigit((unsigned char)de->d_name[0]) &&
		    readlinkat(dirfd(d), de->d_name, &first, 1) == 1 && first == '/' &&
		    is_direct(pid, de->d_name))
			return true;
	return false;
}

static bool has_aio(pid_t pid)
{
	AUTO(mem) char *line = NULL;
	size_t cap = 0;
	char path[32];
	bool yes = false;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	AUTO(file) FILE *f = fopen(path, "re");

	while (f && !yes && getline(&line, &cap, f) > 0)
		yes = strstr(line, " /[aio]") != NULL;
	return yes;
}

enum direct_io direct_io(pid_t pid)
{
	if (!has_direct(pid))
		return DIRECT_NONE;
	return has_aio(pid) ? DIRECT_AIO : DIRECT_SYNC;
}
