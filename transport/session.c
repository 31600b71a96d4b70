// SPDX-License-Identifier: GPL-2.0-or-later
/* session.c - what both ends of an SSH session need before it is a channel. */
#include "transport/priv.h"

#include <fcntl.h>
#include <poll.h>

#include "common/clock.h"

/*
 * Modern authenticated ciphers only, the fastest first. One stream over loopback, each end
 * on one core of an EPYC with VAES, medians of 15 (tests/bench/ssh-raw.c), in MB/s:
 *
 *                 channel   libssh alone
 *   aes256-gcm        852   652
 *   aes128-gcm        775   689
 *   chacha20          670   562
 *
 * They differ little because libssh's copies and 4 KiB reads cost more than the cipher.
 * Besides, new session keys are due after 64 GiB with AES, after 1 GiB with chacha20.
 */
#define CIPHERS "aes256-gcm@openssh.com,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com"

const char *session_ciphers(void)
{
	return tr_tuning.ciphers ? tr_tuning.ciphers : CIPHERS;
}

int session_set(ssh_session s)
{
	if (!tr_tuning.rekey_bytes)
		return 0;
	return ssh_options_set(s, SSH_OPTIONS_REKEY_DATA, &tr_tuning.rekey_bytes);
}

int session_wait(ssh_session s, int fd, uint64_t deadline_us)
{
	int flags = ssh_get_poll_flags(s);
	struct pollfd p = { .fd = fd,
		            .events = (short)(POLLIN | (flags & SSH_WRITE_PENDING ? POLLOUT : 0)) };
	int ms = deadline_poll_ms(deadline_us);

	if (ms == 0)
		return -ETIMEDOUT;
	if (poll(&p, 1, ms) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

int session_fd(int fd, struct err *e)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? err_sys(e, "copy of a socket") : copy;
}
