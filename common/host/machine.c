// SPDX-License-Identifier: GPL-2.0-or-later
/* machine.c - which machine this is, and which of its boots. */
#include "common/host/machine.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

void machine_here(struct machine *out)
{
	struct utsname u;
	struct stat st;
	AUTO(file) FILE *f = fopen("/etc/machine-id", "re");

	*out = (struct machine){ 0 };
	if (stat("/proc/self/ns/pid", &st) == 0)
		out->pidns = st.st_ino;
	if (f && fgets(out->id, sizeof(out->id), f))
		out->id[strspn(out->id, "0123456789abcdef")] = 0;
	journal_boot_id(out->boot);
	if (uname(&u) == 0)
		snprintf(out->host, sizeof(out->host), "%s", u.nodename);
}
