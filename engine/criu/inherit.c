// SPDX-License-Identifier: GPL-2.0-or-later
/* inherit.c - clear, in the child that becomes CRIU, what a restored process would inherit through it. */
#include "engine/criu/inherit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <stddef.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/proc/attrs.h"

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif

/* A unit with OOMScoreAdjust=-900 must not protect the processes of its users. */
static void clear_oom_score(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	/* where it may not be written, it is not below 0 */
	ssize_t ignored = fd < 0 ? 0 : write(fd, "0", 1);

	(void)ignored;
	if (fd >= 0)
		close(fd);
}

int inherit_clear(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* a kernel or sandbox without keyrings has no keys that could be reached, either */
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS &&
	    errno != EPERM)
		return -errno;
	clear_oom_score();
	prctl(PR_SET_TIMERSLACK, ATTRS_SLACK_NS, 0, 0, 0);
	prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0);
	syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0);
	personality(PER_LINUX);
	prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
	prctl(PR_SET_MEMORY_MERGE, 0, 0, 0, 0);
	return 0;
}
