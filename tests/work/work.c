/* SPDX-License-Identifier: GPL-2.0-or-later */
/* work.c - options, signals and files of the control protocol; no descriptor stays open. */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

pid_t work_pid;

static const char *dir;
static long sabotage;
static volatile sig_atomic_t verify_asked, pause_asked, term_asked;
static int verify_done;
static atomic_ullong ops_done;
static atomic_int failed; /* 0, 1: the reason is being written, 2: it is written */
static char reason[320];

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		verify_asked++;
	else if (sig == SIGUSR2)
		pause_asked ^= 1;
	else
		term_asked = 1;
}

/**
 * work_die() - give up while setting up; never used once the workload is ready
 * @fmt: reason
 */
void work_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static void usage(const char *prog, const struct work_opt *opts)
{
	printf("usage: %s --dir DIR [options]\n", prog);
	for (; opts->name; opts++)
		printf("  %-18s %s\n", opts->name, opts->help);
	exit(0);
}

static void parse_option(char **argv, int *i, const struct work_opt *opts)
{
	const char *arg = argv[*i + 1];
	char *end;

	while (opts->name && strcmp(opts->name, argv[*i]))
		opts++;
	if (!opts->name)
		work_die("unknown option %s", argv[*i]);
	if (opts->flag) {
		*opts->flag = true;
		return;
	}
	if (!arg)
		work_die("%s takes a value", opts->name);
	++*i;
	if (opts->text) {
		*opts->text = arg;
		return;
	}
	*opts->number = strtol(arg, &end, 10);
	if (*end || end == arg || *opts->number < 0)
		work_die("%s takes a number, not '%s'", opts->name, arg);
}

static const struct work_opt common_opts[] = {
	{ "--dir", "control folder, the same path on both hosts", NULL, &dir, NULL },
	{ "--sabotage", "damage own state at verification 2 (kind 1..)", &sabotage, NULL, NULL },
};

/**
 * work_start() - read the options, take the signals
 * @opts: the workload's own options, ended by a NULL name
 */
void work_start(int argc, char **argv, const struct work_opt *opts)
{
	static const int signals[] = { SIGUSR1, SIGUSR2, SIGTERM };
	struct work_opt all[32] = { 0 };
	struct sigaction sa = { .sa_handler = on_signal };
	size_t n;

	for (n = 0; n < ARRAY_SIZE(common_opts); n++)
		all[n] = common_opts[n];
	for (; opts->name && n < ARRAY_SIZE(all) - 1; n++)
		all[n] = *opts++;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help"))
			usage(argv[0], all);
		parse_option(argv, &i, all);
	}
	if (!dir)
		work_die("--dir is missing");
	dir = realpath(dir, NULL);
	if (!dir)
		work_die("--dir: %s", strerror(errno));
	work_pid = getpid();
	for (n = 0; n < ARRAY_SIZE(signals); n++)
		sigaction(signals[n], &sa, NULL);
}

/* A forked child takes commands from its parent only. */
void work_child(void)
{
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	sabotage = 0;
}

const char *work_path(const char *name, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s", dir, name);
	return buf;
}

/**
 * work_write_file() - write a file of the control folder, whole or not at all
 * @name: inside the folder
 * Return: 0 or -errno
 */
int work_write_file(const char *name, const char *text, size_t len)
{
	char path[600], tmp[600];
	int fd;

	work_path(name, path, sizeof(path));
	snprintf(tmp, sizeof(tmp), "%s/.%s.%d", dir, name, (int)getpid());
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			close(fd);
			unlink(tmp);
			return -EIO;
		}
		text += n;
		len -= (size_t)n;
	}
	close(fd);
	return rename(tmp, path) < 0 ? -errno : 0;
}

void work_ready(void)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (work_write_file("ready", text, (size_t)len) < 0)
		work_die("%s: cannot write ready: %s", dir, strerror(errno));
}

/**
 * work_fail() - the state is wrong: say so once, stop writing, keep everything
 * @fmt: reason
 *
 * Any thread may call it. The first reason of the tree of processes is kept.
 */
void work_fail(const char *fmt, ...)
{
	char path[600];
	va_list ap;
	int none = 0;

	if (!atomic_compare_exchange_strong(&failed, &none, 1))
		return;
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason) - 1, fmt, ap);
	va_end(ap);
	atomic_store(&failed, 2);
	strcat(reason, "\n");
	if (access(work_path("failed", path, sizeof(path)), F_OK) < 0)
		work_write_file("failed", reason, strlen(reason));
	reason[strlen(reason) - 1] = '\0';
}

bool work_failed(void)
{
	return atomic_load_explicit(&failed, memory_order_relaxed) != 0;
}

const char *work_reason(void)
{
	return atomic_load(&failed) == 2 ? reason : "";
}

bool work_paused(void)
{
	return pause_asked != 0;
}

bool work_may_write(void)
{
	return !work_failed() && !pause_asked;
}

void work_count(uint64_t ops)
{
	atomic_fetch_add_explicit(&ops_done, ops, memory_order_relaxed);
}

uint64_t work_ops(void)
{
	return atomic_load(&ops_done);
}

unsigned work_verify_number(void)
{
	return (unsigned)verify_done;
}

/* The kind of damage to do to oneself now, else 0; the first verification is left clean. */
long work_sabotage_due(void)
{
	return verify_done == 2 ? sabotage : 0;
}

static void write_verdict(const struct report *r, int64_t began_us)
{
	char name[32], json[2048];
	int len;
	bool ok = !r->bad_pages && !r->errors && !work_failed();
	const char *detail = r->detail[0] ? r->detail : work_reason();

	if (!ok)
		work_fail("verification %d: %s", verify_done, detail);
	len = snprintf(json, sizeof(json),
	               "{\"ok\":%s,\"pid\":%d,\"checked_pages\":%lu,\"bad_pages\":%lu,"
	               "\"zero_pages\":%lu,\"stale_pages\":%lu,\"errors\":%lu,"
	               "\"first_bad\":\"0x%lx\",\"ops\":%lu,\"paused\":%s,\"failed\":%s,"
	               "\"realtime_us\":%ld,\"took_ms\":%ld,\"detail\":\"%s\"%s}\n",
	               ok ? "true" : "false", (int)getpid(), r->checked_pages, r->bad_pages,
	               r->zero_pages, r->stale_pages, r->errors, r->first_bad, work_ops() + r->ops,
	               work_paused() ? "true" : "false", work_failed() ? "true" : "false", began_us,
	               (work_now_us() - began_us) / 1000, detail, r->extra);
	snprintf(name, sizeof(name), "verify.%d", verify_done);
	if (work_write_file(name, json, (size_t)len) < 0)
		fprintf(stderr, "cannot write %s: %s", name, json);
}

/**
 * work_poll() - do what the signals asked for; call it once a turn in the main thread
 * @verify: fills in a report about everything the workload holds
 * Return: false when the workload shall end
 */
bool work_poll(work_verify_fn *verify)
{
	static struct report r;

	while (verify_done != verify_asked) {
		int64_t began_us = work_now_us();

		verify_done++;
		memset(&r, 0, sizeof(r));
		verify(&r);
		write_verdict(&r, began_us);
	}
	return !term_asked;
}

/* Anonymous private memory, zero, not populated. */
void *work_map(size_t pages)
{
	void *p = mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		work_die("cannot map %zu pages: %s", pages, strerror(errno));
	return p;
}

/**
 * work_status_kib() - one number from /proc/self/status
 * @key: such as "VmRSS:"
 * Return: the number, -1 when it is not there
 */
long work_status_kib(const char *key)
{
	char text[8192];
	const char *at;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strstr(text, key);
	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

int64_t work_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

void work_nap_us(long us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}
