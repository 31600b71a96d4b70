// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * t-journal.c - a journal says after a crash, a torn or damaged record or a full disk
 * exactly what was recorded, or that it cannot tell; and it has one owner.
 */
#include "common/host/journal.h"
#include "tests/checks.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ID   0x00c0ffee12345678ULL
#define SIDE JOURNAL_SOURCE

static struct err e;
static char top[] = "/var/tmp/haul-journal.XXXXXX", dir[128], file[192];

static void in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fn();
		exit(0);
	}
	MUST_E(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, e);
}

static struct journal *begin(void)
{
	struct journal *j = NULL;

	MUST_E(journal_new(&j, dir, SIDE, ID, &e) == 0, e);
	return j;
}

static struct journal *again(void)
{
	struct journal *j = NULL;

	MUST_E(journal_adopt(&j, dir, SIDE, ID, &e) == 0, e);
	return j;
}

static int adopt_fails(void)
{
	struct journal *j = NULL;
	int r = journal_adopt(&j, dir, SIDE, ID, NULL);

	MUST_E(r < 0 && !j, e);
	return r;
}

static bool word_is(const struct journal *j, const char *word)
{
	return !strcmp(journal_word(j), word);
}

static bool value_is(const struct journal *j, const char *key, const char *value)
{
	const char *v = journal_get(j, key);

	return v && value ? !strcmp(v, value) : v == value;
}

static size_t get_file(char *text, size_t room)
{
	int fd = open(file, O_RDONLY);
	ssize_t n = read(fd, text, room);

	MUST_E(n >= 0 && (size_t)n < room && close(fd) == 0, e);
	return (size_t)n;
}

static void put_file(const char *text, size_t n)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	MUST_E(fd >= 0 && write(fd, text, n) == (ssize_t)n && close(fd) == 0, e);
}

/* ---- records ---- */

static void a_life(void)
{
	struct journal *j = begin(), *k = NULL;
	struct stat st;

	MUST_E(journal_new(&k, dir, SIDE, ID, NULL) == -EEXIST && !k, e);
	MUST_E(stat(file, &st) == 0 && (st.st_mode & 07777) == 0600, e);
	MUST_E(stat(dir, &st) == 0 && (st.st_mode & 07777) == 0700, e);
	MUST_E(journal_of_this_boot(j) && strlen(journal_get(j, "boot")) == 36, e);
	MUST_E(journal_add(j, &e, "freeze", "dest=%s port=%u", "fe80::1%eth0", 4285u) == 0, e);
	MUST_E(journal_add(j, &e, "held", "pids=%s port=7", "1:2:0,3:4:1") == 0, e);
	MUST_E(journal_add(j, &e, "commit", "%s", "") == 0, e);
	for (int round = 0; round < 3; round++) {
		MUST_E(word_is(j, "commit") && value_is(j, "pids", "1:2:0,3:4:1"), e);
		MUST_E(value_is(j, "dest", "fe80::1%eth0") && value_is(j, "port", "7"), e);
		MUST_E(value_is(j, "ids", NULL) && value_is(j, "commit", NULL), e);
		MUST_E(round == 2 || adopt_fails() == -EBUSY, e);
		journal_close(j, false);
		j = again();
	}
	journal_close(j, true);
	MUST_E(adopt_fails() == -ENOENT, e);
	journal_close(NULL, true);
}

/* What could break out of its line, or into another key, is refused and not written. */
static void strange_values(void)
{
	struct journal *j = begin();
	char text[4096], *big = malloc(JOURNAL_BYTES_MAX);
	size_t before = get_file(text, sizeof(text));

	MUST_E(journal_add(j, NULL, "freeze", "dest=%s", "a\nb") == -EINVAL, e);
	MUST_E(journal_add(j, NULL, "freeze", "dest=%s", "a\tb") == -EINVAL, e);
	MUST_E(journal_add(j, NULL, "freeze", "dest=%s", "\xc3\xa9") == -EINVAL, e);
	memset(big, 'x', JOURNAL_BYTES_MAX);
	big[JOURNAL_BYTES_MAX - 1] = 0; /* what could not be read again is not written */
	MUST_E(journal_add(j, NULL, "freeze", "dest=%s", big) == -E2BIG, e);
	MUST_E(word_is(j, "begin") && get_file(text, sizeof(text)) == before, e);
	big[JOURNAL_BYTES_MAX / 2] = 0; /* a tree of some ten thousand processes */
	MUST_E(journal_add(j, &e, "held", "dest=%s", big) == 0 && value_is(j, "dest", big), e);
	MUST_E(journal_add(j, NULL, "held", "dest=%s", big) == -E2BIG && word_is(j, "held"), e);
	MUST_E(journal_add(j, &e, "commit", "%s", "") == 0 && word_is(j, "commit"), e);
	journal_close(j, false);
	j = again();
	MUST_E(value_is(j, "dest", big) && word_is(j, "commit"), e);
	journal_close(j, true);
	free(big);
}

/* begin, freeze, commit: returns the file, at[]: where each begins, and the end */
static void three(char *text, size_t room, size_t at[4])
{
	struct journal *j = begin();

	at[0] = 0;
	at[1] = get_file(text, room);
	MUST_E(journal_add(j, &e, "freeze", "dest=%s", "hostB") == 0, e);
	at[2] = get_file(text, room);
	MUST_E(journal_add(j, &e, "commit", "%s", "") == 0, e);
	at[3] = get_file(text, room);
	journal_close(j, true);
}

static void torn_at_every_byte(void)
{
	static const char *const words[] = { "", "begin", "freeze", "commit" };
	char text[4096], now[4096];
	size_t at[4], whole = 0;

	three(text, sizeof(text), at);
	for (size_t cut = 0; cut <= at[3]; cut++) {
		put_file(text, cut);
		whole += whole < 3 && cut == at[whole + 1];
		struct journal *j = again();

		MUST_E(word_is(j, words[whole]), e);
		MUST_E(value_is(j, "dest", whole >= 2 ? "hostB" : NULL), e);
		MUST_E(journal_of_this_boot(j) == (whole >= 1), e);
		/* what is written behind it is whole, for the next one, too */
		MUST_E(journal_add(j, &e, "undone", "x=%d", 1) == 0, e);
		journal_close(j, false);
		j = again();
		MUST_E(word_is(j, "undone") && value_is(j, "x", "1"), e);
		MUST_E(journal_add(j, &e, "done", "%s", "") == 0, e);
		journal_close(j, false);
		j = again();
		MUST_E(word_is(j, "done") && get_file(now, sizeof(now)) > at[whole], e);
		MUST_E(!memcmp(now, text, at[whole]), e);
		journal_close(j, true);
	}
}

/* With its newline a record was whole once: it must not count as never written. */
static void every_byte_counts(void)
{
	char text[4096];
	size_t at[4];

	three(text, sizeof(text), at);
	for (size_t i = 0; i < at[3]; i++)
		for (int bit = 0; bit < 8; bit++) {
			text[i] ^= (char)(1 << bit);
			put_file(text, at[3]);
			/* but without the very last byte, it looks torn */
			if (i == at[3] - 1)
				journal_close(again(), true);
			else
				MUST_E(adopt_fails() == -EBADMSG, e);
			text[i] ^= (char)(1 << bit);
		}
	MUST_E(unlink(file) == 0 || errno == ENOENT, e);
}

static void no_journals(void)
{
	static const char *const bad[] = { "\n",
		                           "\n\n",
		                           "0000000000000000\n",
		                           "0000000000000000 \n",
		                           "0000000000000000 begin boot=x\n",
		                           "ffffffffffffffff" };
	char *big = calloc(1, 1 << 20);
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put_file(bad[i], strlen(bad[i]));
		if (strchr(bad[i], '\n'))
			MUST_E(adopt_fails() == -EBADMSG, e);
	}
	struct journal *j = again(); /* the last one: torn */

	MUST_E(word_is(j, "") && !journal_of_this_boot(j), e);
	journal_close(j, false);
	memset(big, 'a', 1 << 20); /* one endless line */
	put_file(big, 1 << 20);
	journal_close(again(), false);
	put_file(big, 1 << 20);
	MUST_E(truncate(file, 1ULL << 40) == 0 && adopt_fails() == -EFBIG, e);
	MUST_E(unlink(file) == 0 && symlink("/dev/null", file) == 0 && adopt_fails() == -ELOOP, e);
	MUST_E(journal_new(&j, dir, SIDE, ID, NULL) == -EEXIST, e);
	MUST_E(lstat(file, &st) == 0 && S_ISLNK(st.st_mode) && unlink(file) == 0, e);
	MUST_E(chmod(dir, 0770) == 0 && journal_new(&j, dir, SIDE, ID, NULL) == -EPERM, e);
	MUST_E(chmod(dir, 0700) == 0, e);
	free(big);
}

/* ---- disks ---- */

static void fill_up(int full)
{
	struct journal *j = begin();
	struct stat before, after;
	char key[32], last[32];
	int n = 0, r = 0;

	for (; n < 100000 && r == 0; n++) {
		MUST_E(stat(file, &before) == 0, e);
		snprintf(key, sizeof(key), "key=%d", n);
		r = journal_add(j, NULL, "freeze", "%s", key);
	}
	MUST_E(r == -full && n > 10, e);
	MUST_E(stat(file, &after) == 0 && after.st_size == before.st_size, e);
	snprintf(last, sizeof(last), "%d", n - 2);
	MUST_E(value_is(j, "key", last), e);
	journal_close(j, false);
	j = again();
	MUST_E(word_is(j, "freeze") && value_is(j, "key", last), e);
	journal_close(j, false);
}

static void limited(void)
{
	struct rlimit l = { 5001, RLIM_INFINITY }, none = { RLIM_INFINITY, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	MUST_E(setrlimit(RLIMIT_FSIZE, &l) == 0, e);
	fill_up(ENOSPC); /* a short write, not EFBIG */
	MUST_E(setrlimit(RLIMIT_FSIZE, &none) == 0, e);
	struct journal *j = again();

	MUST_E(journal_add(j, &e, "undone", "%s", "") == 0 && word_is(j, "undone"), e);
	journal_close(j, false);
	j = again();
	MUST_E(word_is(j, "undone"), e);
	journal_close(j, true);
}

/* /run is a tmpfs, which may be full. */
static void full_tmpfs(void)
{
	if (unshare(CLONE_NEWNS) < 0) {
		printf("not root: the full disk is left to RLIMIT_FSIZE\n");
		return;
	}
	MUST_E(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, e);
	MUST_E(mount("none", top, "tmpfs", 0, "size=16k,mode=700") == 0, e);
	fill_up(ENOSPC);
	MUST_E(unlink(file) == 0, e);
	/* the short records of a destination find their place, whatever others write meanwhile */
	struct journal *j = begin();
	int fd = open(top, O_TMPFILE | O_WRONLY, 0600);

	while (write(fd, "x", 1) == 1)
		;
	MUST_E(fd >= 0 && errno == ENOSPC, e);
	MUST_E(journal_add(j, &e, "gate", "secret=%0512d root=1 start=1", 7) == 0, e);
	MUST_E(journal_add(j, &e, "commit", "%s", "") == 0, e);
	MUST_E(journal_add(j, &e, "done", "%s", "") == 0, e);
	journal_close(j, true);
	close(fd);
}

/* A process that has it open takes it over, and no other gets it in between. */
static void taken_over(void)
{
	struct journal *j = begin(), *k = NULL;
	int fd = dup(journal_fd(j));

	MUST_E(fd >= 0 && journal_add(j, &e, "commit", "x=%d", 3) == 0, e);
	journal_close(j, false);
	MUST_E(adopt_fails() == -EBUSY, e);
	MUST_E(journal_take(&k, dir, SIDE, ID, fd, &e) == 0, e);
	MUST_E(word_is(k, "commit") && value_is(k, "x", "3") && adopt_fails() == -EBUSY, e);
	MUST_E(journal_add(k, &e, "done", "%s", "") == 0, e);
	/* a damaged one stays open, and locked */
	fd = dup(journal_fd(k));
	int w = open(file, O_WRONLY);

	MUST_E(pwrite(w, "#", 1, 3) == 1 && close(w) == 0, e);
	j = NULL;
	MUST_E(journal_take(&j, dir, SIDE, ID, fd, NULL) == -EBADMSG && !j, e);
	journal_close(k, false);
	MUST_E(adopt_fails() == -EBUSY && close(fd) == 0, e);
	MUST_E(adopt_fails() == -EBADMSG && unlink(file) == 0, e);
}

/* ---- owners ---- */

static void lock_lives_with_children(void)
{
	struct journal *j = begin();
	int sk[2], status;

	MUST_E(pipe(sk) == 0, e);
	pid_t pid = fork();

	if (pid == 0) {
		close(sk[1]);
		exit(read(sk[0], &status, 1) != 0);
	}
	journal_close(j, false); /* as by SIGKILL: the child has it yet */
	MUST_E(adopt_fails() == -EBUSY, e);
	close(sk[1]);
	MUST_E(waitpid(pid, &status, 0) == pid && status == 0, e);
	close(sk[0]);
	journal_close(again(), true);
}

static unsigned int *owners;

static void contender(void)
{
	for (int got = 0; got < 50;) {
		struct journal *j = NULL;
		struct stat ours, theirs;
		int r = journal_adopt(&j, dir, SIDE, ID, NULL);

		if (r == -ENOENT)
			r = journal_new(&j, dir, SIDE, ID, NULL);
		MUST_E(r == 0 || r == -EBUSY || r == -EEXIST || r == -ENOENT, e);
		if (r < 0)
			continue;
		MUST_E(__atomic_add_fetch(owners, 1, __ATOMIC_SEQ_CST) == 1, e);
		/* what we write can be found by whoever comes later */
		MUST_E(stat(file, &ours) == 0 && journal_add(j, &e, "held", "%s", "") == 0, e);
		sched_yield();
		MUST_E(stat(file, &theirs) == 0 && ours.st_ino == theirs.st_ino, e);
		MUST_E(theirs.st_size > ours.st_size, e);
		MUST_E(__atomic_sub_fetch(owners, 1, __ATOMIC_SEQ_CST) == 0, e);
		journal_close(j, got % 3 == 0);
		got++;
	}
}

/* Several who take over, make and remove the same one. */
static void one_owner(void)
{
	pid_t pid[4];
	int status;

	owners = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST_E(owners != MAP_FAILED, e);
	for (size_t i = 0; i < ARRAY_SIZE(pid); i++)
		if ((pid[i] = fork()) == 0) {
			contender();
			exit(0);
		}
	for (size_t i = 0; i < ARRAY_SIZE(pid); i++)
		MUST_E(waitpid(pid[i], &status, 0) == pid[i] && status == 0, e);
	unlink(file);
}

/* What was reported as written is there after SIGKILL, and no half of anything. */
static void killed(void)
{
	for (int round = 0; round < 20; round++) {
		int sk[2], said, status;
		char byte[4096];
		ssize_t n;

		MUST_E(pipe(sk) == 0, e);
		pid_t pid = fork();

		if (pid == 0) {
			struct journal *j = begin();

			for (int i = 1;; i++)
				MUST_E(journal_add(j, &e, "held", "i=%d", i) == 0 &&
				               write(sk[1], "x", 1) == 1,
				       e);
		}
		close(sk[1]);
		MUST_E(read(sk[0], byte, 1) == 1, e);
		poll(NULL, 0, round % 5);
		MUST_E(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid, e);
		for (said = 1; (n = read(sk[0], byte, sizeof(byte))) > 0;)
			said += (int)n;
		close(sk[0]);
		struct journal *j = again();
		int i = atoi(journal_get(j, "i"));

		MUST_E(i == said || i == said + 1, e);
		journal_close(j, true);
	}
}

/* ---- all of them ---- */

static int count(void *arg, uint64_t id)
{
	MUST_E(id % ID == 0, e);
	return ++*(int *)arg == 100 ? 17 : 0;
}

static void listed(void)
{
	static const char *const stray[] = { "x",
		                             "source-",
		                             "source-00c0ffee1234567",
		                             "source-00C0FFEE12345678",
		                             "source-+0c0ffee12345678",
		                             "source-00c0ffee12345678.old",
		                             "sourc-00c0ffee12345678" };
	char path[256];
	struct journal *j[8];
	int n = 0, fd;

	snprintf(path, sizeof(path), "%s/none", dir);
	MUST_E(journal_each(path, SIDE, count, &n) == 0 && n == 0, e);
	for (size_t i = 0; i < ARRAY_SIZE(stray); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, stray[i]);
		fd = open(path, O_CREAT | O_WRONLY, 0600);
		MUST_E(fd >= 0 && close(fd) == 0, e);
	}
	for (uint64_t i = 0; i < 8; i++)
		MUST_E(journal_new(&j[i], dir, i % 2 ? JOURNAL_DEST : SIDE, ID * (i + 1), &e) == 0,
		       e);
	MUST_E(journal_each(dir, SIDE, count, &n) == 0 && n == 4, e);
	n = 99;
	MUST_E(journal_each(dir, JOURNAL_DEST, count, &n) == 17 && n == 100, e);
	/* swept: old ones, those of another boot; never one that is owned */
	for (int i = 0; i < 4; i++)
		journal_close(j[i], false);
	journal_sweep(dir, JOURNAL_DEST, 1000);
	n = 0;
	MUST_E(journal_each(dir, JOURNAL_DEST, count, &n) == 0 && n == 4, e);
	snprintf(path, sizeof(path), "%s/dest-%016llx", dir, (unsigned long long)ID * 2);
	MUST_E(truncate(path, 0) == 0, e); /* says of no boot */
	snprintf(path, sizeof(path), "%s/dest-%016llx", dir, (unsigned long long)ID * 6);
	MUST_E(truncate(path, 0) == 0, e);
	journal_sweep(dir, JOURNAL_DEST, 1000);
	n = 0;
	MUST_E(journal_each(dir, JOURNAL_DEST, count, &n) == 0 && n == 3, e);
	for (int i = 4; i < 8; i++)
		journal_close(j[i], true);
}

int main(void)
{
	char rm[64];

	MUST_E(mkdtemp(top), e);
	snprintf(dir, sizeof(dir), "%s/a/journal", top);
	snprintf(file, sizeof(file), "%s/source-%016llx", dir, (unsigned long long)ID);
	a_life();
	strange_values();
	torn_at_every_byte();
	every_byte_counts();
	no_journals();
	limited();
	in_child(full_tmpfs);
	taken_over();
	lock_lives_with_children();
	one_owner();
	killed();
	listed();
	snprintf(rm, sizeof(rm), "rm -rf %s", top);
	MUST_E(system(rm) == 0, e);
	return 0;
}
