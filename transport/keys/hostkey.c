// SPDX-License-Identifier: GPL-2.0-or-later
/* hostkey.c - fingerprints, and the key that this host is known by. */
#include "transport/keys/keys.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auto.h"
#include "common/log.h"

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

void key_make_folder(const char *path)
{
	AUTO(mem) char *copy = strdup(path);

	if (copy)
		mkdir(dirname(copy), 0755); /* the write that follows reports a failure */
}

/* ---- the host key, made at the first start ---- */

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			p += done;
			n -= (size_t)done;
		}
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* Write it under another name first, so that a crash or a second hauld does no harm. */
static int write_key(const char *path, const char *text)
{
	AUTO(mem) char *tmp = NULL;

	if (asprintf(&tmp, "%s.%d", path, (int)getpid()) < 0) {
		tmp = NULL;
		return -ENOMEM;
	}
	key_make_folder(path);
	AUTO(fd) int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	int r = write_all(fd, text, strlen(text));

	if (r == 0 && link(tmp, path) < 0 && errno != EEXIST)
		r = -errno;
	unlink(tmp);
	return r;
}

static int make_key(const char *path, struct err *e)
{
	ssh_key key = NULL;
	char *text = NULL;

	if (ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) != SSH_OK ||
	    ssh_pki_export_privkey_base64(key, NULL, NULL, NULL, &text) != SSH_OK) {
		ssh_key_free(key);
		return err_set(e, ERR_SYS, EIO, "cannot make a host key");
	}
	ssh_key_free(key);
	int r = write_key(path, text);

	explicit_bzero(text, strlen(text));
	ssh_string_free_char(text);
	if (r < 0) {
		err_set(e, ERR_SYS, -r, "cannot write the host key %s: %s", path, strerror(-r));
		return err_fix(e, "make its folder, or name another file with --host-key");
	}
	log_info("host key made: %s", path);
	return 0;
}

/* No passphrase: nobody could type it. */
static int no_passphrase(const char *prompt, char *buf, size_t len, int echo, int verify, void *arg)
{
	(void)prompt, (void)buf, (void)len, (void)echo, (void)verify, (void)arg;
	return -1;
}

int key_load_host(ssh_key *out, const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		int r = errno == ENOENT ? make_key(path, e) : err_sys(e, "host key %s", path);

		if (r < 0)
			return r;
		if (stat(path, &st) < 0)
			return err_sys(e, "host key %s", path);
	}
	if (st.st_mode & 077) {
		err_set(e, ERR_USER, EPERM, "host key %s can be read by others", path);
		return err_fix(e,
		               "chmod 600 %s; or, when others had access, remove it: a new one is "
		               "made",
		               path);
	}
	if (ssh_pki_import_privkey_file(path, NULL, no_passphrase, NULL, out) != SSH_OK) {
		err_set(e, ERR_USER, EINVAL, "host key %s is not a private key that SSH can read",
		        path);
		return err_fix(e, "remove it: hauld makes a new one (then run haul trust on the "
		                  "other hosts)");
	}
	return 0;
}
