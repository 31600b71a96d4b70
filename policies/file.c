// SPDX-License-Identifier: GPL-2.0-or-later
/* file.c - policy files: one flat JSON object; every fault with its file, line and key. */
#include "policies/priv.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/printable.h"

#define FILE_BYTES_MAX 65536
#define KEY_MEANING    "meaning"
#define SUFFIX         ".json"

/* ---- the line of a key: jansson does not say ---- */

/* Past the string that begins at @s, or to the end. */
static const char *skip_string(const char *s)
{
	for (s++; *s && *s != '"'; s++)
		if (*s == '\\' && s[1])
			s++;
	return *s ? s + 1 : s;
}

/* Is the string from @s to @end @key? As jansson reads it: letters may be escaped. */
static bool is_key(const char *s, const char *end, const char *key)
{
	json_t *v = json_loadb(s, (size_t)(end - s), JSON_DECODE_ANY, NULL);
	bool same = v && !strcmp(json_string_value(v), key);

	json_decref(v);
	return same;
}

/* The line of @key in a valid text, or of item @item of its list, from 1. */
static uint32_t line_of(const char *text, const char *key, size_t item)
{
	uint32_t line = 1;
	int depth = 0;
	bool ours = false, next = false; /* in its value; an item begins */

	for (const char *s = text, *end; *s; s = end) {
		end = *s == '"' ? skip_string(s) : s + 1;
		line += *s == '\n';
		if (isspace((unsigned char)*s))
			continue;
		if (depth == 1 && *s == '"' && end[strspn(end, " \t\r\n")] == ':')
			ours = is_key(s, end, key);
		if (ours && depth == 2 && next && *s != ']')
			item--;
		if (ours && item == 0)
			return line;
		depth += (*s == '{' || *s == '[') - (*s == '}' || *s == ']');
		next = *s == '[' || *s == ',';
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

static const char *known_key(size_t i)
{
	return i < POL_NOPTIONS                ? pol_table[i].name
	       : i < POL_NOPTIONS + POL_NLISTS ? pol_lists[i - POL_NOPTIONS].name
	                                       : KEY_MEANING;
}

/* What may have been meant: a third of the letters may be wrong. NULL: nothing is near */
static const char *nearest(const char *key)
{
	size_t least = strlen(key) / 3 + 1; /* and fewer */
	const char *best = NULL;

	for (size_t i = 0; i <= POL_NOPTIONS + POL_NLISTS; i++) {
		size_t d = distance(key, known_key(i));

		if (d < least) {
			best = known_key(i);
			least = d;
		}
	}
	return best;
}

static int list_of(const char *key)
{
	for (size_t i = 0; i < POL_NLISTS; i++)
		if (!strcmp(pol_lists[i].name, key))
			return (int)i;
	return -1;
}

/* Return: 0; -EINVAL, and @item is the one at fault, or 0 */
static int take_list(struct pol_texts *l, const char *key, const json_t *v, const char *text,
                     size_t *item, struct err *e)
{
	size_t n = json_array_size(v);

	if (!json_is_array(v) || n > POL_LIST_MAX)
		return err_set(e, ERR_USER, EINVAL, "%s: must be a list of at most %d strings", key,
		               POL_LIST_MAX);
	for (*item = 1; *item <= n; ++*item) {
		const char *one = json_string_value(json_array_get(v, *item - 1));

		if (!one || strlen(one) >= POL_TEXT_BYTES)
			return err_set(e, ERR_USER, EINVAL,
			               "%s: number %zu is not a string of fewer than %d characters",
			               key, *item, POL_TEXT_BYTES);
		strcpy(l->v[*item - 1], one);
		l->line[*item - 1] = line_of(text, key, *item);
	}
	l->n = n;
	return 0;
}

static int unknown_key(const char *key, struct err *e)
{
	const char *near = nearest(key);

	err_set(e, ERR_USER, EINVAL, "%s: unknown key", key);
	return err_fix(e, "%s%s%shaul policy schema lists all keys", near ? "did you mean " : "",
	               near ? near : "", near ? "? " : "");
}

/* It is shown on terminals; cut between letters. */
static void take_meaning(struct policy *p, const char *text)
{
	size_t n = strlen(text), most = sizeof(p->meaning) - 1;

	for (n = n < most ? n : most; n && (text[n] & 0xc0) == 0x80;)
		n--;
	snprintf(p->meaning, sizeof(p->meaning), "%.*s", (int)n, text);
	printable(p->meaning);
}

static int one_key(struct policy *p, const char *key, const json_t *v, const char *text,
                   struct err *e)
{
	int row = row_of(key), list = list_of(key), r = 0;
	size_t item = 0;

	if (list >= 0) {
		r = take_list(&p->list[list], key, v, text, &item, e);
	} else if (row >= 0) {
		p->from[row] = line_of(text, key, 0);
		r = pol_set_json(p, (size_t)row, v, e);
	} else if (strcmp(key, KEY_MEANING)) {
		r = unknown_key(key, e);
	} else if (!json_is_string(v)) {
		r = err_set(e, ERR_USER, EINVAL, "%s: must be a string", key);
	} else {
		take_meaning(p, json_string_value(v));
	}
	return r < 0 ? err_wrap(e, "%s:%u", p->path, line_of(text, key, item)) : 0;
}

static int parse(struct policy *p, const char *text, struct err *e)
{
	json_error_t at;
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &at), *v;
	const char *key;
	int r = 0;

	if (!o)
		r = err_set(e, ERR_USER, EINVAL, "%s:%d: %s", p->path, at.line, at.text);
	else if (!json_is_object(o))
		r = err_set(e, ERR_USER, EINVAL, "%s:1: not an object", p->path);
	json_object_foreach(o, key, v) if (r == 0) r = one_key(p, key, v, text, e);
	json_decref(o);
	if (r == 0)
		r = pol_contradiction(p, e);
	if (r < 0)
		printable(e->msg); /* a key may hold anything */
	return r;
}

/* A FIFO, say, would have to be waited for. */
static FILE *open_regular(const char *path, struct err *e)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(e, "policy %s", path);
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(e, ERR_USER, EINVAL, "%s: not a regular file", path);
		return NULL;
	}
	FILE *f = fdopen(fd, "r");

	if (f)
		steal_fd(&fd);
	else
		err_sys(e, "policy %s", path);
	return f;
}

/* Without .json at its end. */
static size_t name_len(const char *file)
{
	size_t n = strlen(file), suffix = strlen(SUFFIX);

	return n > suffix && !strcmp(file + n - suffix, SUFFIX) ? n - suffix : n;
}

static int load_file(struct policy *p, const char *path, struct err *e)
{
	AUTO(file) FILE *f = open_regular(path, e);
	AUTO(mem) char *text = malloc(FILE_BYTES_MAX + 1);

	if (!f)
		return -e->code;
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
	snprintf(p->name, sizeof(p->name), "%.*s", (int)name_len(base), base);
	printable(p->name);
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
	return strchr(word, '/') || word[name_len(word)];
}

/* Files with a dot in front are hidden, or not finished. */
static bool is_name(const char *word)
{
	return *word && *word != '.' && !is_path(word);
}

int pol_load(struct policy *p, const char *word, struct err *e)
{
	char path[512];

	if (is_path(word))
		return load_file(p, word, e);
	for (size_t i = 0; is_name(word) && i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s.json", dirs[i], word);
		if (access(path, F_OK) == 0)
			return load_file(p, path, e);
	}
	pol_init(p);
	snprintf(p->name, sizeof(p->name), "%s", word);
	if (!strcmp(word, "default"))
		return 0;
	err_set(e, ERR_USER, ENOENT, "no policy \"%s\" in %s or %s", word, dirs[0], dirs[1]);
	return err_fix(e, "haul policy list shows the policies");
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

	if (!copy || !is_name(copy) || has_name(*v, *n, copy))
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
			size_t len = name_len(f->d_name);

			if (f->d_name[len])
				add_name(&v, n, f->d_name, len);
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
