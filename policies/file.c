// SPDX-License-Identifier: GPL-2.0-or-later
/* file.c - policy files: one flat JSON object; every fault with its file, line and key. */
#include "policies/priv.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX 65536
#define KEY_MEANING    "meaning"

/* ---- where a key stands: jansson does not say ---- */

/* Past the string that begins at @s, or to the end. */
static const char *skip_string(const char *s)
{
	for (s++; *s && *s != '"'; s++)
		if (*s == '\\' && s[1])
			s++;
	return *s ? s + 1 : s;
}

/* The line of @key in a valid text; keys inside nested values do not count. */
static uint32_t line_of(const char *text, const char *key)
{
	size_t len = strlen(key);
	uint32_t line = 1;
	int depth = 0;

	for (const char *s = text; *s;) {
		if (*s == '\n')
			line++;
		depth += (*s == '{' || *s == '[') - (*s == '}' || *s == ']');
		if (*s != '"') {
			s++;
			continue;
		}
		const char *end = skip_string(s), *after = end;

		while (isspace((unsigned char)*after))
			after++;
		if (depth == 1 && *after == ':' && (size_t)(end - s) == len + 2 &&
		    !memcmp(s + 1, key, len))
			return line;
		s = end;
	}
	return 1;
}

/* ---- one file ---- */

static int row_of(const char *key)
{
	for (size_t i = 0; i < POL_NOPTIONS; i++)
		if (!strcmp(pol_table[i].name, key))
			return (int)i;
	return -1;
}

/* How many letters have to be changed, added or taken away. */
static size_t distance(const char *a, const char *b)
{
	size_t row[64], n = strlen(b) < 63 ? strlen(b) : 63;

	for (size_t k = 0; k <= n; k++)
		row[k] = k;
	for (size_t i = 0; a[i]; i++) {
		size_t corner = row[0];

		row[0] = i + 1;
		for (size_t k = 1; k <= n; k++) {
			size_t best = corner + (a[i] != b[k - 1]);

			corner = row[k];
			if (row[k] + 1 < best)
				best = row[k] + 1;
			if (row[k - 1] + 1 < best)
				best = row[k - 1] + 1;
			row[k] = best;
		}
	}
	return row[n];
}

static const char *nearest(const char *key)
{
	size_t best = 0, least = SIZE_MAX;

	for (size_t i = 0; i < POL_NOPTIONS; i++) {
		size_t d = distance(key, pol_table[i].name);

		if (d < least) {
			best = i;
			least = d;
		}
	}
	return pol_table[best].name;
}

static int list_of(const char *key)
{
	for (size_t i = 0; i < POL_NLISTS; i++)
		if (!strcmp(pol_lists[i].name, key))
			return (int)i;
	return -1;
}

static int take_list(struct pol_texts *l, const char *key, const json_t *v, struct err *e)
{
	size_t n = json_array_size(v);

	if (!json_is_array(v) || n > POL_LIST_MAX)
		return err_set(e, ERR_USER, EINVAL, "%s: must be a list of at most %d strings", key,
		               POL_LIST_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(v, i));

		if (!text || strlen(text) >= POL_TEXT_BYTES)
			return err_set(e, ERR_USER, EINVAL,
			               "%s: number %zu is no string of less than %d letters", key,
			               i + 1, POL_TEXT_BYTES);
		strcpy(l->v[i], text);
	}
	l->n = n;
	return 0;
}

static int one_key(struct policy *p, const char *key, const json_t *v, const char *text,
                   struct err *e)
{
	uint32_t line = line_of(text, key);
	int row = row_of(key), list = list_of(key), r = 0;

	if (list >= 0) {
		r = take_list(&p->list[list], key, v, e);
	} else if (row >= 0) {
		p->from[row] = line;
		r = pol_set_json(p, (size_t)row, v, e);
	} else if (strcmp(key, KEY_MEANING)) {
		err_set(e, ERR_USER, EINVAL, "%s: unknown key", key);
		r = err_fix(e, "did you mean %s? haul policy explain lists all keys", nearest(key));
	} else if (!json_is_string(v)) {
		r = err_set(e, ERR_USER, EINVAL, "%s: must be a string", key);
	} else {
		snprintf(p->meaning, sizeof(p->meaning), "%s", json_string_value(v));
	}
	return r < 0 ? err_wrap(e, "%s:%u", p->path, line) : 0;
}

static int parse(struct policy *p, const char *text, struct err *e)
{
	json_error_t at;
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &at), *v;
	const char *key;
	int r = 0;

	if (!o)
		return err_set(e, ERR_USER, EINVAL, "%s:%d: %s", p->path, at.line, at.text);
	if (!json_is_object(o))
		r = err_set(e, ERR_USER, EINVAL, "%s:1: not an object", p->path);
	json_object_foreach(o, key, v) if (r == 0) r = one_key(p, key, v, text, e);
	json_decref(o);
	return r < 0 ? r : pol_contradiction(p, e);
}

static int load_file(struct policy *p, const char *path, struct err *e)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(mem) char *text = malloc(FILE_BYTES_MAX + 1);

	if (!f)
		return err_sys(e, "policy %s", path);
	if (!text)
		return err_set(e, ERR_SYS, ENOMEM, "no memory");
	size_t n = fread(text, 1, FILE_BYTES_MAX + 1, f);

	if (ferror(f))
		return err_sys(e, "policy %s", path);
	if (n > FILE_BYTES_MAX || memchr(text, 0, n))
		return err_set(e, ERR_USER, EINVAL, "%s:1: not a policy file", path);
	text[n] = 0;
	pol_init(p);
	snprintf(p->path, sizeof(p->path), "%s", path);
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	snprintf(p->name, sizeof(p->name), "%.*s", (int)strcspn(base, "."), base);
	return parse(p, text, e);
}

int pol_load_text(struct policy *p, const char *name, const char *text, size_t bytes, struct err *e)
{
	AUTO(mem) char *copy = bytes <= FILE_BYTES_MAX ? strndup(text, bytes) : NULL;

	if (!copy || strlen(copy) != bytes)
		return err_set(e, ERR_USER, EINVAL, "%s:1: not a policy file", name);
	pol_init(p);
	snprintf(p->path, sizeof(p->path), "%s", name);
	snprintf(p->name, sizeof(p->name), "%s", name);
	return parse(p, copy, e);
}

/* ---- names ---- */

static const char *const dirs[] = { POL_DIR_ADMIN, POLICY_DIR };

static bool is_path(const char *word)
{
	size_t n = strlen(word);

	return strchr(word, '/') || (n > 5 && !strcmp(word + n - 5, ".json"));
}

int pol_load(struct policy *p, const char *word, struct err *e)
{
	char path[512];

	if (is_path(word))
		return load_file(p, word, e);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s.json", dirs[i], word);
		if (access(path, F_OK) == 0)
			return load_file(p, path, e);
	}
	pol_init(p);
	snprintf(p->name, sizeof(p->name), "%s", word);
	if (!strcmp(word, "default"))
		return 0;
	err_set(e, ERR_USER, ENOENT, "no policy \"%s\" in %s or %s", word, dirs[0], dirs[1]);
	return err_fix(e, "haul policy list shows what there is");
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_name(char **v, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(v[i], name))
			return true;
	return false;
}

static void add_name(char ***v, size_t *n, const char *name, size_t len)
{
	AUTO(mem) char *copy = strndup(name, len);

	if (!copy || has_name(*v, *n, copy))
		return;
	char **more = realloc(*v, (*n + 1) * sizeof(*more));

	if (!more)
		return;
	*v = more;
	more[(*n)++] = steal(copy);
}

char **pol_names(size_t *n)
{
	char **v = NULL;

	*n = 0;
	add_name(&v, n, "default", 7);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		AUTO(dir) DIR *d = opendir(dirs[i]);

		for (struct dirent *f; d && (f = readdir(d));) {
			const char *dot = strrchr(f->d_name, '.');

			if (dot && dot != f->d_name && !strcmp(dot, ".json"))
				add_name(&v, n, f->d_name, (size_t)(dot - f->d_name));
		}
	}
	if (v)
		qsort(v, *n, sizeof(*v), by_name);
	return v;
}

void pol_names_free(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}
