// SPDX-License-Identifier: GPL-2.0-or-later
/* unitfile.c - the files of a service, reduced to what they set. */
#include "common/host/unitfile.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto.h"
#include "common/host/hostroot.h"
#include "common/host/systemctl.h"

#define SHOW_BYTES 4096

/* A text that grows within a fixed room. */
struct room {
	char *text;
	size_t n;
};

static void add(struct room *r, const char *s, size_t n)
{
	size_t left = UNITFILE_BYTES - 1 - r->n;

	n = n < left ? n : left;
	memcpy(r->text + r->n, s, n);
	r->n += n;
	r->text[r->n] = 0;
}

static bool is_space(char c)
{
	return isspace((unsigned char)c);
}

/* It says what the unit is called, or when it is started: nothing that a process notices. */
static bool is_plain_word(const char *section, const char *line)
{
	static const char *const words[] = { "Description=", "Documentation=", "SourcePath=" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strncmp(line, words[i], strlen(words[i])))
			return true;
	return !strcmp(section, "Install");
}

/* @line: "Key = value", without a newline */
static void add_setting(struct room *r, const char *section, const char *line)
{
	size_t n = strlen(line), key = strcspn(line, "=");

	while (n && is_space(line[n - 1]))
		n--;
	if (key >= n || is_plain_word(section, line))
		return;
	size_t value = key + 1;

	while (key && is_space(line[key - 1]))
		key--;
	while (value < n && is_space(line[value]))
		value++;
	add(r, section, strlen(section));
	add(r, ".", 1);
	add(r, line, key);
	add(r, "=", 1);
	add(r, line + value, n - value);
	add(r, "\n", 1);
}

/* A line that ends with a backslash goes on in the next one. Return: its length; -1: the file has ended */
static ssize_t next_line(FILE *f, char **line, size_t *bytes)
{
	AUTO(mem) char *more = NULL;
	size_t room = 0;
	ssize_t n = getline(line, bytes, f);

	while (n >= 2 && !strcmp(*line + n - 2, "\\\n") && n < SHOW_BYTES) {
		ssize_t k = getline(&more, &room, f);

		if (k < 0)
			break;
		char *longer = realloc(*line, (size_t)(n + k + 1));

		if (!longer)
			return -1;
		*line = longer;
		*bytes = (size_t)(n + k + 1);
		longer[n - 2] = ' ';
		memcpy(longer + n - 1, more, (size_t)k + 1);
		n += k - 1;
	}
	return n;
}

static void add_file(struct room *r, const char *path)
{
	char name[512], section[32] = "";
	AUTO(mem) char *line = NULL;
	size_t bytes = 0;

	snprintf(name, sizeof(name), "%s%s", hostroot(), path);
	AUTO(file) FILE *f = fopen(name, "re");

	while (f && next_line(f, &line, &bytes) > 0) {
		const char *at = line;

		while (is_space(*at))
			at++;
		if (*at == '[')
			snprintf(section, sizeof(section), "%.*s", (int)strcspn(at + 1, "]"),
			         at + 1);
		else if (*at && *at != '#' && *at != ';')
			add_setting(r, section, at);
	}
}

static bool is_hauls(const char *path)
{
	const char *base = strrchr(path, '/');

	return base && (!strncmp(base, "/zz-haul-", 9) || !strncmp(base, "/zzz-haul-", 10));
}

int unitfile_settings(const char *unit, char out[UNITFILE_BYTES])
{
	char text[SHOW_BYTES], paths[SHOW_BYTES], *save = NULL;
	struct room r = { .text = out };

	out[0] = 0;
	int rc = systemctl_show(unit, "--property=FragmentPath,DropInPaths,UnitFileState", text,
	                        sizeof(text));

	if (rc < 0)
		return rc;
	systemctl_value(text, "FragmentPath", paths, sizeof(paths));
	if (paths[0] == '/')
		add_file(&r, paths);
	systemctl_value(text, "DropInPaths", paths, sizeof(paths));
	for (char *path = strtok_r(paths, " ", &save); path; path = strtok_r(NULL, " ", &save))
		if (*path == '/' && !is_hauls(path))
			add_file(&r, path);
	systemctl_value(text, "UnitFileState", paths, sizeof(paths));
	if (!strcmp(paths, "enabled"))
		add_setting(&r, "Unit", "UnitFileState=enabled");
	return 0;
}

/* ---- comparing ---- */

static bool has_line(const char *text, const char *line, size_t n)
{
	for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n')
		if (strcspn(at, "\n") == n && !memcmp(at, line, n))
			return true;
	return false;
}

static void keep(char first[UNITFILE_LINE], const char *line, size_t n)
{
	snprintf(first, UNITFILE_LINE, "%.*s", (int)(n < UNITFILE_LINE ? n : UNITFILE_LINE - 1),
	         line);
	for (char *c = first; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
}

unsigned int unitfile_only(const char *text, const char *other, char first[UNITFILE_LINE])
{
	unsigned int count = 0;

	first[0] = 0;
	for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
		size_t n = strcspn(at, "\n");

		if (!n || has_line(other, at, n))
			continue;
		if (count++ == 0)
			keep(first, at, n);
	}
	return count;
}
