// SPDX-License-Identifier: GPL-2.0-or-later
/* known.c - whom we trust: known_hosts, in the form of OpenSSH. */
#include "transport/priv.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

const char *known_path(const struct chan_target *to)
{
	return to->known_hosts ? to->known_hosts : TR_CONF_DIR "/known_hosts";
}

/* As OpenSSH writes a host: in small letters, with a port that is not SSH's own. */
static void name_of(const struct chan_target *to, char *out, size_t bytes)
{
	snprintf(out, bytes, to->port == 22 ? "%s" : "[%s]:%u", to->host, to->port);
	for (; *out; out++)
		*out = (char)tolower((unsigned char)*out);
}

int known_look_up(const struct chan_target *to, ssh_key key, int *as, struct err *e)
{
	AUTO(file) FILE *f = fopen(known_path(to), "re");
	AUTO(mem) char *line = NULL;
	char name[300];
	size_t cap = 0;

	*as = KNOWN_NOT;
	if (!f)
		return errno == ENOENT ? 0
		                       : err_set(e, ERR_USER, errno, "known hosts in %s: %s",
		                                 known_path(to), strerror(errno));
	name_of(to, name, sizeof(name));
	while (*as != KNOWN_SAME && getline(&line, &cap, f) >= 0) {
		struct ssh_knownhosts_entry *entry = NULL;

		line[strcspn(line, "\r\n")] = '\0';
		if (!line[0] || line[0] == '#' ||
		    ssh_known_hosts_parse_line(name, line, &entry) != SSH_OK)
			continue;
		*as = ssh_key_cmp(entry->publickey, key, SSH_KEY_CMP_PUBLIC) ? KNOWN_OTHER
		                                                             : KNOWN_SAME;
		ssh_knownhosts_entry_free(entry);
	}
	return 0;
}

int known_add(const struct chan_target *to, ssh_key key)
{
	char *b64 = NULL, name[300];

	key_make_folder(known_path(to));
	FILE *f = fopen(known_path(to), "ae");

	if (!f)
		return -errno;
	name_of(to, name, sizeof(name));
	bool ok = ssh_pki_export_pubkey_base64(key, &b64) == SSH_OK &&
	          fprintf(f, "%s %s %s\n", name, ssh_key_type_to_char(ssh_key_type(key)), b64) > 0;

	ssh_string_free_char(b64);
	if (fclose(f) == EOF)
		return -errno;
	return ok ? 0 : -EIO;
}

/* How to call haul for this target. */
static const char *port_option(const struct chan_target *to, char *out, size_t bytes)
{
	out[0] = '\0';
	if (to->port != TR_PORT_DEFAULT)
		snprintf(out, bytes, "--port %u ", to->port);
	return out;
}

int known_check(const struct chan_target *to, ssh_key key, struct err *e)
{
	char print[128], port[24];
	int as, r = known_look_up(to, key, &as, e);

	if (r < 0 || as == KNOWN_SAME)
		return r;
	key_print(key, print, sizeof(print));
	port_option(to, port, sizeof(port));
	if (as == KNOWN_OTHER) {
		err_set(e, ERR_LINK, EKEYREJECTED,
		        "THE HOST KEY OF %s HAS CHANGED (now %s): the host was set up again, or "
		        "someone intercepts the connection; nothing was sent",
		        to->host, print);
		return err_fix(
		        e,
		        "compare it with `hauld --fingerprint` there; if it is right, remove the "
		        "old line from %s, then: haul trust %s%s",
		        known_path(to), port, to->host);
	}
	err_set(e, ERR_LINK, EKEYREJECTED, "the host key of %s (%s) is not known here", to->host,
	        print);
	return err_fix(e, "haul trust %s%s (compare the key with `hauld --fingerprint` there)",
	               port, to->host);
}
