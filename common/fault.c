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
#define INT_TAKES_US  100000

#define FAULT_NAME(id, name) name,
static const char *const names[] = { "", FAULTS(FAULT_NAME) };

/* Once only: the process that takes our place must survive. */
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

/* Give the thread that takes signals time to act. */
static void interrupt(void)
{
	kill(getpid(), SIGINT);
	usleep(INT_TAKES_US);
}

void fault_at(enum fault f)
{
	static const struct {
		const char *what;
		void (*act)(void);
	} acts[] = { { ":kill", die }, { ":hold", hold }, { ":int", interrupt } };
	const char *want = getenv("HAUL_FAULT");
	size_t n = strlen(names[f]);

	for (; want && f != FAULT_NONE; want = strchr(want, ',') ? strchr(want, ',') + 1 : NULL)
		for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
			if (!strncmp(want, names[f], n) &&
			    strcspn(want + n, ",") == strlen(acts[i].what) &&
			    !strncmp(want + n, acts[i].what, strlen(acts[i].what)))
				acts[i].act();
}
