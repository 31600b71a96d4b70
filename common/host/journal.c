// SPDX-License-Identifier: GPL-2.0-or-later
/* journal.c - see journal.h. */
#include "common/host/journal.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/host/hostroot.h"
#include "common/host/rundir.h"

#define SUM_CHARS  16u
#define NAME_BYTES 32
#define ROOM_BYTES 4096 /* a page of /run */

struct journal {
	char path[512];
	int fd;
	char *text; /* records, each ended by '\0', without their checksums */
	char *value; /* as large: journal_get() */
	size_t bytes;
	off_t good_bytes; /* of the file: whole records */
};

static const char *const side_names[] = { [JOURNAL_SOURCE] = "source", [JOURNAL_DEST] = "dest" };

void journal_boot_id(char out[JOURNAL_BOOT_BYTES])
{
	AUTO(fd) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, out, JOURNAL_BOOT_BYTES - 1) : 0;

	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static void sum_of(const char *line, size_t n, char out[SUM_CHARS + 1])
{
	snprintf(out, SUM_CHARS + 1, "%016llx", (unsigned long long)XXH3_64bits(line, n));
}

/* ---- files ---- */

static int make_dirs(const char *dir, struct err *e)
{
	/* a record can get a process killed or resumed */
	char path[512];

	snprintf(path, sizeof(path), "%s%s", hostroot(), dir);
	return rundir_parents(path, e) < 0 ? err_code(e) : rundir_make(path, 0700, e);
}

static struct journal *make(const char *dir, enum journal_side side, uint64_t id)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->fd = -1;
	snprintf(j->path, sizeof(j->path), "%s%s/%s-%016llx", hostroot(), dir, side_names[side],
	         (unsigned long long)id);
	return j;
}

/* Lock it, and make sure that it is still the file that others find under this name. */
static int own(struct journal *j, struct err *e)
{
	struct stat st;

	if (flock(j->fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, ERR_USER, errno == EWOULDBLOCK ? EBUSY : errno,
		               "%s: its migration is still under way", j->path);
	if (fstat(j->fd, &st) < 0 || st.st_nlink == 0)
		return err_set(e, ERR_SYS, ENOENT, "%s was removed", j->path);
	return 0;
}

static int keep(struct journal *j, const char *line, size_t n)
{
	char *value = realloc(j->value, j->bytes + n + 1);

	if (!value)
		return -ENOMEM;
	j->value = value;
	char *text = realloc(j->text, j->bytes + n + 1);

	if (!text)
		return -ENOMEM;
	memcpy(text + j->bytes, line, n);
	text[j->bytes + n] = '\0';
	j->text = text;
	j->bytes += n + 1;
	return 0;
}

static int begin(struct journal *j, struct err *e)
{
	char boot[JOURNAL_BOOT_BYTES];

	journal_boot_id(boot);
	/* reserve space: the last records are short, and must not fail when the disk is full */
	if (fallocate(j->fd, FALLOC_FL_KEEP_SIZE, 0, ROOM_BYTES) < 0 && errno != EOPNOTSUPP)
		return err_sys(e, "journal %s", j->path);
	return journal_add(j, e, "begin", "boot=%s time=%lld", boot, (long long)time(NULL));
}

int journal_new(struct journal **out, const char *dir, enum journal_side side, uint64_t id,
                struct err *e)
{

	int r = make_dirs(dir, e);

	if (r < 0)
		return r;
	struct journal *j = make(dir, side, id);

	if (!j)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a journal");
	j->fd = open(j->path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	r = j->fd < 0 ? err_sys(e, "journal %s", j->path) : own(j, e);
	bool ours = r == 0; /* otherwise another process was quicker to adopt it */

	if (ours)
		r = begin(j, e);
	if (r < 0) {
		journal_close(j, ours);
		return r;
	}
	*out = j;
	return 0;
}

/* ---- reading ---- */

/* Return: is this a whole record? */
static bool whole(const char *line, size_t n)
{
	char sum[SUM_CHARS + 1];

	if (n < SUM_CHARS + 2 || line[SUM_CHARS] != ' ' || memchr(line, '\0', n))
		return false;
	sum_of(line + SUM_CHARS + 1, n - SUM_CHARS - 1, sum);
	return !memcmp(sum, line, SUM_CHARS);
}

static int take_lines(struct journal *j, const char *text, size_t bytes, struct err *e)
{
	for (size_t at = 0; at < bytes;) {
		const char *end = memchr(text + at, '\n', bytes - at);

		if (!end)
			return 0; /* torn: no message that depends on it was sent */
		size_t n = (size_t)(end - text) - at;

		/* the newline is written last, so this record was whole once */
		if (!whole(text + at, n))
			return err_set(e, ERR_USER, EBADMSG, "%s is damaged at byte %zu", j->path,
			               at);
		if (keep(j, text + at + SUM_CHARS + 1, n - SUM_CHARS - 1) < 0)
			return err_set(e, ERR_SYS, ENOMEM, "no memory for a journal");
		at += n + 1;
		j->good_bytes = (off_t)at;
	}
	return 0;
}

static int load(struct journal *j, struct err *e)
{
	struct stat st;

	if (fstat(j->fd, &st) < 0)
		return err_sys(e, "%s", j->path);
	if (!S_ISREG(st.st_mode) || st.st_size > JOURNAL_BYTES_MAX)
		return err_set(e, ERR_USER, EFBIG, "%s is not a journal", j->path);
	size_t bytes = (size_t)st.st_size;
	AUTO(mem) char *text = malloc(bytes + 1);

	if (!text)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a journal");
	if (pread(j->fd, text, bytes, 0) != (ssize_t)bytes)
		return err_sys(e, "read %s", j->path);
	int r = take_lines(j, text, bytes, e);

	if (r)
		return r;
	/* a record appended to a torn one would be torn, too */
	if (j->good_bytes < st.st_size && ftruncate(j->fd, j->good_bytes) < 0)
		r = err_sys(e, "%s", j->path);
	return r;
}

int journal_fd(const struct journal *j)
{
	return j->fd;
}

static int open_again(struct journal *j, struct err *e)
{
	j->fd = open(j->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (j->fd < 0)
		return err_sys(e, "%s", j->path);
	int r = own(j, e);

	return r < 0 ? r : load(j, e);
}

int journal_adopt(struct journal **out, const char *dir, enum journal_side side, uint64_t id,
                  struct err *e)
{
	struct journal *j = make(dir, side, id);
	if (!j)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a journal");
	int r = open_again(j, e);

	if (r < 0) {
		journal_close(j, false);
		return r;
	}
	*out = j;
	return 0;
}

int journal_take(struct journal **out, const char *dir, enum journal_side side, uint64_t id, int fd,
                 struct err *e)
{
	struct journal *j = make(dir, side, id);

	if (!j)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a journal");
	j->fd = fd;
	int r = load(j, e);

	if (r < 0) {
		j->fd = -1; /* it stays the caller's, and locked */
		journal_close(j, false);
		return r;
	}
	*out = j;
	return 0;
}

/* Return: the last record; NULL when there is none */
static const char *last_record(const struct journal *j)
{
	const char *last = NULL;

	for (size_t at = 0; at < j->bytes; at += strlen(j->text + at) + 1)
		last = j->text + at;
	return last;
}

const char *journal_word(const struct journal *j)
{
	static _Thread_local char word[NAME_BYTES];
	const char *last = last_record(j);

	snprintf(word, sizeof(word), "%.*s", last ? (int)strcspn(last, " ") : 0, last ? last : "");
	return word;
}

const char *journal_get(const struct journal *j, const char *key)
{
	size_t n = strlen(key);
	const char *found = NULL;

	for (size_t at = 0; at < j->bytes; at += strlen(j->text + at) + 1)
		for (const char *p = strchr(j->text + at, ' '); p; p = strchr(p + 1, ' '))
			if (!strncmp(p + 1, key, n) && p[1 + n] == '=')
				found = p + 2 + n;
	if (!found)
		return NULL;
	n = strcspn(found, " ");
	memcpy(j->value, found, n);
	j->value[n] = '\0';
	return j->value;
}

bool journal_of_this_boot(const struct journal *j)
{
	char now[JOURNAL_BOOT_BYTES];
	const char *then = journal_get(j, "boot");

	journal_boot_id(now);
	return then && !strcmp(then, now);
}

/* ---- writing ---- */

/* Return: 0 and CHECKSUM WORD VALUES with a newline, not ended by '\0' */
static int compose(char **out, size_t *bytes, const char *word, const char *fmt, va_list ap,
                   struct err *e)
{
	AUTO(mem) char *values = NULL;
	AUTO(mem) char *line = NULL;
	int n = vasprintf(&values, fmt, ap);

	if (n >= 0)
		n = asprintf(&line, "%*s %s%s%s\n", (int)SUM_CHARS, "", word, n ? " " : "", values);
	if (n < 0)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for a journal");
	char *record = line + SUM_CHARS + 1;
	size_t length = (size_t)n - SUM_CHARS - 2;
	char sum[SUM_CHARS + 1];

	for (size_t i = 0; i < length; i++)
		if (record[i] != ' ' && !isgraph((unsigned char)record[i]))
			return err_set(e, ERR_USER, EINVAL,
			               "a character that the journal cannot hold");
	sum_of(record, length, sum);
	memcpy(line, sum, SUM_CHARS);
	*bytes = (size_t)n;
	*out = steal(line);
	return 0;
}

int journal_add(struct journal *j, struct err *e, const char *word, const char *fmt, ...)
{
	AUTO(mem) char *line = NULL;
	size_t bytes = 0;
	va_list ap;

	va_start(ap, fmt);
	int r = compose(&line, &bytes, word, fmt, ap, e);

	va_end(ap);
	if (r < 0)
		return r;
	if ((size_t)j->good_bytes + bytes > JOURNAL_BYTES_MAX)
		return err_set(e, ERR_BUG, E2BIG, "a journal record of %zu bytes", bytes);
	/* one write: a crash leaves all of it, or a torn end that reading drops */
	ssize_t w = write(j->fd, line, bytes);

	if (w != (ssize_t)bytes) {
		int code = w < 0 ? errno : ENOSPC;

		/* half a record must not spoil the next one */
		if (w > 0 && ftruncate(j->fd, j->good_bytes) < 0)
			code = errno;
		return err_set(e, ERR_SYS, code, "write %s: %s", j->path, strerror(code));
	}
	j->good_bytes += w;
	return keep(j, line + SUM_CHARS + 1, bytes - SUM_CHARS - 2) < 0
	               ? err_set(e, ERR_SYS, ENOMEM, "no memory for a journal")
	               : 0;
}

void journal_close(struct journal *j, bool remove)
{
	if (!j)
		return;
	if (remove)
		unlink(j->path);
	if (j->fd >= 0)
		close(j->fd);
	free(j->text);
	free(j->value);
	free(j);
}

/* ---- all of them ---- */

static bool parse_name(const char *name, enum journal_side side, uint64_t *id)
{
	size_t n = strlen(side_names[side]);
	char *end;

	if (strncmp(name, side_names[side], n) || name[n] != '-' || strlen(name) != n + 17 ||
	    strspn(name + n + 1, "0123456789abcdef") != 16)
		return false;
	*id = strtoull(name + n + 1, &end, 16);
	return !*end;
}

int journal_each(const char *dir, enum journal_side side, int (*fn)(void *arg, uint64_t id),
                 void *arg)
{
	AUTO(dir) DIR *d = opendir(dir);
	int r = 0;

	if (!d)
		return 0; /* nothing was ever recorded */
	for (struct dirent *de; r == 0 && (de = readdir(d));) {
		uint64_t id;

		if (parse_name(de->d_name, side, &id))
			r = fn(arg, id);
	}
	return r;
}

struct sweep {
	const char *dir;
	enum journal_side side;
	unsigned int max_s;
};

static int sweep_one(void *arg, uint64_t id)
{
	const struct sweep *s = arg;
	struct journal *j = NULL;
	struct err ignore = ERR_INIT;
	struct stat st;

	if (journal_adopt(&j, s->dir, s->side, id, &ignore) < 0)
		return 0;
	bool old = fstat(j->fd, &st) == 0 && st.st_mtime + (time_t)s->max_s < time(NULL);

	journal_close(j, old || !journal_of_this_boot(j));
	return 0;
}

void journal_sweep(const char *dir, enum journal_side side, unsigned int max_s)
{
	struct sweep s = { dir, side, max_s };

	journal_each(dir, side, sweep_one, &s);
}
