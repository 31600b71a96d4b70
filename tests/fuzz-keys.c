// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-keys.c - any bytes as an authorized_keys or, when the first byte is odd, as a line of
 * known_hosts: no crash, and only a line with the key lets a client in. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */
#include "transport/priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/log.h"
#include "replay.h"

#define KEY "AAAAC3NzaC1lZDI1NTE5AAAAIEZdAZoYpQbkmSB3VDzXdXw0DktU8tkzmAeBrDHEEKbd"

/* The key itself in it: the last digit has bits to spare, and libssh ignores the name. */
#define KEY_DIGITS "IEZdAZoYpQbkmSB3VDzXdXw0DktU8tkzmAeBrDHEEKb"

static void print_of(const char *base64, char *out, size_t bytes)
{
	ssh_key key = NULL;

	if (ssh_pki_import_pubkey_base64(base64, SSH_KEYTYPE_ED25519, &key) != SSH_OK ||
	    key_print(key, out, bytes) < 0)
		abort();
	ssh_key_free(key);
}

static void authorized(const uint8_t *p, size_t bytes)
{
	static int fd = -1;
	static char print[KEY_PRINT_BYTES];
	char path[40], comment[32];

	if (!print[0]) {
		log_setup("fuzz", LOG_ERR_);
		print_of(KEY, print, sizeof(print));
	}
	if (fd < 0 && ((fd = memfd_create("keys", MFD_CLOEXEC)) < 0 || fchmod(fd, 0600) < 0))
		abort();
	if (ftruncate(fd, (off_t)bytes) < 0 || pwrite(fd, p, bytes, 0) != (ssize_t)bytes)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (key_authorized(path, key_has_print, print, comment, sizeof(comment)) &&
	    (strnlen(comment, sizeof(comment)) == sizeof(comment) ||
	     !memmem(p, bytes, KEY_DIGITS, sizeof(KEY_DIGITS) - 1)))
		abort();
}

static void known(const uint8_t *p, size_t bytes)
{
	struct ssh_knownhosts_entry *entry = NULL;
	AUTO(mem) char *line = strndup((const char *)p, bytes);

	if (line && ssh_known_hosts_parse_line("hostB", line, &entry) == SSH_OK)
		ssh_knownhosts_entry_free(entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	if (bytes < 1)
		return 0;
	if (p[0] & 1)
		known(p + 1, bytes - 1);
	else
		authorized(p + 1, bytes - 1);
	return 0;
}
