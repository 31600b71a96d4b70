// SPDX-License-Identifier: GPL-2.0-or-later
/* authorized.c - the list of those who may send a process here. */
#include "transport/keys/keys.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auto.h"
#include "common/log.h"

/* Who can write the list is on it, so to speak. */
static bool safe_file(FILE *f, const char *path)
{
	struct stat st;

	if (fstat(fileno(f), &st) < 0)
		return false;
	if ((st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & 022))
		return true;
	log_warn("%s is not read: other users may write to it", path);
	return false;
}

bool key_has_print(const char *print, const void *arg)
{
	return !strcmp(print, arg);
}

/* "type base64 comment". @line is changed. */
static bool line_matches(char *line, key_is is, const void *arg, char *comment, size_t bytes)
{
	char print[KEY_PRINT_BYTES];
	char *save = NULL, *type = strtok_r(line, " \t\r\n", &save);
	char *b64 = type ? strtok_r(NULL, " \t\r\n", &save) : NULL;
	char *rest = b64 ? strtok_r(NULL, "\r\n", &save) : NULL;
	ssh_key listed = NULL;

	if (!b64 || type[0] == '#')
		return false;
	enum ssh_keytypes_e kind = ssh_key_type_from_name(type);

	if (kind == SSH_KEYTYPE_UNKNOWN) {
		log_warn("authorized keys: a line that begins with %.40s is left out: options are "
		         "not supported",
		         type);
		return false;
	}
	if (ssh_pki_import_pubkey_base64(b64, kind, &listed) != SSH_OK)
		return false;
	bool same = key_print(listed, print, sizeof(print)) == 0 && is(print, arg);

	ssh_key_free(listed);
	if (same)
		snprintf(comment, bytes, "%s", rest ? rest : "");
	return same;
}

bool key_authorized(const char *path, key_is is, const void *arg, char *comment, size_t bytes)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(mem) char *line = NULL;
	size_t cap = 0;
	bool found = false;

	if (!f || !safe_file(f, path))
		return false;
	while (!found && getline(&line, &cap, f) >= 0)
		found = line_matches(line, is, arg, comment, bytes);
	return found;
}
