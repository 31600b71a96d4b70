// SPDX-License-Identifier: GPL-2.0-or-later
/* session.c - what both ends of an SSH session need before it is a channel. */
#include "transport/priv.h"

#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"

/*
 * Modern authenticated ciphers only, the fastest first. tests/bench/ssh-raw on an EPYC
 * with VAES: CIPHER_NUMBERS
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

int key_print(ssh_key key, char *out, size_t bytes)
{
	unsigned char *hash = NULL;
	size_t n = 0;

	snprintf(out, bytes, "?");
	if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &n) < 0)
		return -EINVAL;
	char *text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, n);

	if (text)
		snprintf(out, bytes, "%s", text);
	ssh_string_free_char(text);
	ssh_clean_pubkey_hash(&hash);
	return text ? 0 : -ENOMEM;
}

void parent_make(const char *path)
{
	AUTO(mem) char *copy = strdup(path);

	if (copy)
		mkdir(dirname(copy), 0755); /* who writes there says it when it failed */
}
