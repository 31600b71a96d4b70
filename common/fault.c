// SPDX-License-Identifier: GPL-2.0-or-later
/* fault.c - see fault.h. */
#include "common/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOLD_LIMIT_MS 60000
#define LOOK_EVERY_MS 5

#define FAULT_NAME(id, name) name,
static const char *const names[] = { "", FAULTS(FAULT_NAME) };

const char *fault_name(unsigned int f)
{
	return f < FAULT_COUNT ? names[f] : NULL;
}

/* Once: whoever goes on in our place shall live. */
static void die(void)
{
	const char *path = getenv("HAUL_FAULT_FILE");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : 0;

	if (fd >= 0)
		raise(SIGKILL);
}

static void hold(void)
{
	const char *path = getenv("HAUL_FAULT_FILE");
	char over[512];

	snprintf(over, sizeof(over), "%s.over", path ? path : "");
	int fd = path && access(over, F_OK) < 0
	                 ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)
	                 : -1;

	if (fd < 0)
		return;
	dprintf(fd, "%d\n", getpid());
	close(fd);
	for (int ms = 0; ms < HOLD_LIMIT_MS && access(path, F_OK) == 0; ms += LOOK_EVERY_MS)
		usleep(LOOK_EVERY_MS * 1000);
}

void fault_at(enum fault f)
{
	const char *want = getenv("HAUL_FAULT");
	size_t n = strlen(names[f]);

	if (!want || f == FAULT_NONE || strncmp(want, names[f], n) || want[n] != ':')
		return;
	if (!strcmp(want + n + 1, "kill"))
		die();
	if (!strcmp(want + n + 1, "hold"))
		hold();
}
