/* SPDX-License-Identifier: GPL-2.0-or-later */
/* misc_kernel.c - timers, pending signals, event descriptors, open files, process attributes. */
#include "misc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SIG_TICK    (SIGRTMIN + 0)
#define SIG_PENDING (SIGRTMIN + 1)
#define SIG_FD      (SIGRTMIN + 2)
#define TICK_NS     10000000L
#define ALARM_US    20000L
#define WAIT_NAPS   500
#define TICKS_MIN   1 /* each timer must tick more often than that */
#define QUEUED                                                                                     \
	3 /* timer descriptors: one is read at once, one is never read between two verifications */

static atomic_llong expirations;

static int open_timer_fd(int flags)
{
	struct itimerspec every = { { 0, TICK_NS }, { 0, TICK_NS } };
	int fd = timerfd_create(CLOCK_MONOTONIC, flags);

	if (fd < 0 || timerfd_settime(fd, 0, &every, NULL))
		work_die("timerfd: %s", strerror(errno));
	return fd;
}

static void *run_timer_fd(void *arg)
{
	int fd = *(int *)arg;
	uint64_t n;

	for (;;) {
		if (read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
			atomic_fetch_add(&expirations, (long long)n);
		else if (errno != EINTR)
			work_fail("timerfd: %s", strerror(errno));
	}
	return NULL;
}

static void timerfd_set_up(void)
{
	static int fd;

	fd = open_timer_fd(0);
	misc_start_thread(run_timer_fd, &fd, 0);
}

static void timerfd_check(struct report *r)
{
	long long before = atomic_load(&expirations);

	for (int n = 0; n < WAIT_NAPS && atomic_load(&expirations) - before <= TICKS_MIN; n++)
		work_nap_us(10000);
	if (atomic_load(&expirations) == before)
		rep_error(r, "the timerfd stands still at %lld", before);
	rep_extra(r, ",\"timerfd\":%lld", before);
}

static int late_fd;

static void late_set_up(void)
{
	late_fd = open_timer_fd(TFD_NONBLOCK);
}

/* It has expired by now; it must do so again. */
static void late_check(struct report *r)
{
	uint64_t first = 0, again = 0;

	work_nap_us(3 * TICK_NS / 1000);
	if (read(late_fd, &first, sizeof(first)) != (ssize_t)sizeof(first))
		rep_error(r, "the unread timerfd has not expired");
	for (int n = 0; n < WAIT_NAPS && !again; n++) {
		work_nap_us(10000);
		if (read(late_fd, &again, sizeof(again)) < 0)
			again = 0;
	}
	if (!again)
		rep_error(r, "the unread timerfd (%lu times) does not tick again", first);
}

/* signals that stay pending */
#define COOKIE      0x68616c756c6aULL
#define LINE_BYTES  16
#define GHOST_BYTES 5000

static void block(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* timers */

static volatile sig_atomic_t ticks, alarms;
static timer_t timer;

static void on_timer(int sig)
{
	if (sig == SIGALRM)
		alarms++;
	else
		ticks++;
}

static void timers_set_up(void)
{
	struct sigaction sa = { .sa_handler = on_timer, .sa_flags = SA_RESTART };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIG_TICK };
	struct itimerspec every = { { 0, TICK_NS }, { 0, TICK_NS } };
	struct itimerval alarm_every = { { 0, ALARM_US }, { 0, ALARM_US } };

	sigaction(SIG_TICK, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer) || timer_settime(timer, 0, &every, NULL) ||
	    setitimer(ITIMER_REAL, &alarm_every, NULL))
		work_die("timers: %s", strerror(errno));
}

/* Both must go on ticking, and the intervals must be what they were. */
static void timers_check(struct report *r)
{
	int ticks_before = ticks, alarms_before = alarms;
	struct itimerspec now;
	struct itimerval alarm_now;

	for (int n = 0; n < WAIT_NAPS; n++) {
		if (ticks - ticks_before > TICKS_MIN && alarms - alarms_before > TICKS_MIN)
			break;
		work_nap_us(10000);
	}
	if (ticks == ticks_before || alarms == alarms_before)
		rep_error(r, "a timer stands still: ticks %d, alarms %d", ticks - ticks_before,
		          alarms - alarms_before);
	if (timer_gettime(timer, &now) || now.it_interval.tv_nsec != TICK_NS)
		rep_error(r, "the interval timer is lost");
	if (getitimer(ITIMER_REAL, &alarm_now) || alarm_now.it_interval.tv_usec != ALARM_US)
		rep_error(r, "the alarm timer is lost");
	rep_extra(r, ",\"ticks\":%d,\"alarms\":%d", (int)ticks, (int)alarms);
}

static void timers_damage(void)
{
	timer_delete(timer);
}

/* signals that stay pending, and one that waits in a signalfd */

static int queue_serial, fd_serial, signal_fd;

static void queue(int sig, int value)
{
	if (sigqueue(getpid(), sig, (union sigval){ .sival_int = value }))
		work_fail("sigqueue: %s", strerror(errno));
}

static void pending_set_up(void)
{
	block(SIG_PENDING);
	for (int i = 0; i < QUEUED; i++)
		queue(SIG_PENDING, queue_serial++);
}

static void pending_check(struct report *r)
{
	struct timespec none = { 0, 0 };
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIG_PENDING);
	for (int i = queue_serial - QUEUED; i < queue_serial; i++) {
		if (sigtimedwait(&set, &info, &none) != SIG_PENDING)
			rep_error(r, "pending signal %d is lost", i);
		else if (info.si_value.sival_int != i || info.si_code != SI_QUEUE ||
		         info.si_pid != getpid())
			rep_error(r, "pending signal %d came as %d, code %d, from %d", i,
			          info.si_value.sival_int, info.si_code, (int)info.si_pid);
	}
	if (sigtimedwait(&set, &info, &none) == SIG_PENDING)
		rep_error(r, "one pending signal too many");
	for (int i = 0; i < QUEUED; i++)
		queue(SIG_PENDING, queue_serial++);
}

static void signalfd_set_up(void)
{
	sigset_t set;

	block(SIG_FD);
	sigemptyset(&set);
	sigaddset(&set, SIG_FD);
	signal_fd = signalfd(-1, &set, SFD_NONBLOCK);
	if (signal_fd < 0)
		work_die("signalfd: %s", strerror(errno));
	queue(SIG_FD, fd_serial);
}

static void signalfd_check(struct report *r)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		rep_error(r, "signalfd: the signal is lost: %s", strerror(errno));
	else if (info.ssi_signo != (uint32_t)SIG_FD || info.ssi_int != fd_serial)
		rep_error(r, "signalfd: signal %u with %d, not %d", info.ssi_signo, info.ssi_int,
		          fd_serial);
	queue(SIG_FD, ++fd_serial);
}

/* eventfd and epoll */

static int event_fd, epoll_fd;
static uint64_t event_sum = 1;

static void events_set_up(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = COOKIE };

	event_fd = eventfd(1, EFD_NONBLOCK);
	epoll_fd = epoll_create1(0);
	if (event_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &ev))
		work_die("epoll: %s", strerror(errno));
	ev.events = EPOLLIN | EPOLLET;
	ev.data.u64 = ~COOKIE;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signal_fd, &ev))
		work_die("epoll: %s", strerror(errno));
}

static void events_turn(void)
{
	uint64_t one = 1;

	if (write(event_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
		event_sum++;
}

static void events_check(struct report *r)
{
	struct epoll_event ev[4];
	uint64_t got = 0, first = 1;
	int n = epoll_wait(epoll_fd, ev, ARRAY_SIZE(ev), 1000), seen = 0;

	for (int i = 0; i < n; i++)
		seen += ev[i].data.u64 == COOKIE;
	if (!seen)
		rep_error(r, "epoll: no event of the eventfd (%d events)", n);
	if (read(event_fd, &got, sizeof(got)) != (ssize_t)sizeof(got) || got != event_sum)
		rep_error(r, "eventfd holds %lu, not %lu", got, event_sum);
	event_sum = 1;
	if (write(event_fd, &first, sizeof(first)) != (ssize_t)sizeof(first))
		rep_error(r, "eventfd: %s", strerror(errno));
}

/* files */

static int append_fd, ghost_fd;
static long lines;

static void append_set_up(void)
{
	char path[600];

	append_fd = open(work_path("misc.append", path, sizeof(path)),
	                 O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0644);
	if (append_fd < 0)
		work_die("%s: %s", path, strerror(errno));
}

static void append_turn(void)
{
	char line[LINE_BYTES + 1];

	snprintf(line, sizeof(line), "%015ld\n", lines);
	if (write(append_fd, line, LINE_BYTES) == LINE_BYTES)
		lines++;
	else
		work_fail("misc.append: %s", strerror(errno));
}

static void append_check(struct report *r)
{
	char line[LINE_BYTES + 1] = "";
	struct stat st = { 0 };
	off_t at = lseek(append_fd, 0, SEEK_CUR);

	if (fstat(append_fd, &st) || st.st_size != lines * LINE_BYTES || at != st.st_size)
		rep_error(r, "misc.append: size %ld, offset %ld, not %ld", st.st_size, at,
		          lines * LINE_BYTES);
	if (!(fcntl(append_fd, F_GETFL) & O_APPEND))
		rep_error(r, "misc.append: O_APPEND is gone");
	for (long i = 0; i < lines; i++) {
		if (pread(append_fd, line, LINE_BYTES, i * LINE_BYTES) != LINE_BYTES ||
		    strtol(line, NULL, 10) != i) {
			rep_error(r, "misc.append: line %ld is '%.15s'", i, line);
			return;
		}
	}
}

/* Deleted but open; content follows from the place. */
static void ghost_set_up(void)
{
	char path[600];
	unsigned char bytes[GHOST_BYTES];

	ghost_fd = open(work_path("misc.ghost", path, sizeof(path)), O_RDWR | O_CREAT | O_TRUNC,
	                0600);
	for (size_t k = 0; k < sizeof(bytes); k++)
		bytes[k] = (unsigned char)rnd_mix(k);
	if (ghost_fd < 0 || write(ghost_fd, bytes, sizeof(bytes)) != GHOST_BYTES || unlink(path))
		work_die("%s: %s", path, strerror(errno));
	lseek(ghost_fd, 1234, SEEK_SET);
}

static void ghost_check(struct report *r)
{
	unsigned char bytes[GHOST_BYTES + 1] = { 0 };
	ssize_t n = pread(ghost_fd, bytes, sizeof(bytes), 0);

	if (n != GHOST_BYTES || lseek(ghost_fd, 0, SEEK_CUR) != 1234)
		rep_error(r, "deleted file: %zd bytes, offset %ld", n,
		          lseek(ghost_fd, 0, SEEK_CUR));
	for (size_t k = 0; k < GHOST_BYTES; k++) {
		if (bytes[k] != (unsigned char)rnd_mix(k)) {
			rep_error(r, "deleted file: byte %zu is wrong", k);
			return;
		}
	}
}

/* attributes */

static char cwd[600];
static unsigned char alt_stack[65536];

static void attributes_set_up(void)
{
	struct rlimit files = { 300, 600 };
	stack_t st = { .ss_sp = alt_stack, .ss_size = sizeof(alt_stack) };

	errno = 0;
	umask(027);
	if (chdir(work_path("", cwd, sizeof(cwd))) || !getcwd(cwd, sizeof(cwd)) ||
	    setpriority(PRIO_PROCESS, 0, 5) || setrlimit(RLIMIT_NOFILE, &files) ||
	    prctl(PR_SET_NAME, "work-misc") || sigaltstack(&st, NULL))
		work_die("attributes: %s", strerror(errno));
}

static void attributes_check(struct report *r)
{
	char now[600] = "", name[16] = "";
	struct rlimit files;
	stack_t st;
	mode_t mask = umask(027);

	if (mask != 027)
		rep_error(r, "umask is %o", mask);
	if (!getcwd(now, sizeof(now)) || strcmp(now, cwd))
		rep_error(r, "the working folder is '%s'", now);
	if (getpriority(PRIO_PROCESS, 0) != 5)
		rep_error(r, "nice is %d", getpriority(PRIO_PROCESS, 0));
	if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur != 300 || files.rlim_max != 600)
		rep_error(r, "RLIMIT_NOFILE is %lu", files.rlim_cur);
	if (prctl(PR_GET_NAME, name) || strcmp(name, "work-misc"))
		rep_error(r, "the name is '%s'", name);
	if (sigaltstack(NULL, &st) || st.ss_sp != alt_stack || st.ss_size != sizeof(alt_stack))
		rep_error(r, "the alternate signal stack is lost");
	if (getpid() != work_pid)
		rep_error(r, "pid is %d, was %d", (int)getpid(), (int)work_pid);
}

static void attributes_damage(void)
{
	umask(0);
}

struct thing misc_kernel[] = {
	{ .name = "timers",
	  .set_up = timers_set_up,
	  .check = timers_check,
	  .damage = timers_damage },
	{ .name = "timerfd", .set_up = timerfd_set_up, .check = timerfd_check, .off = true },
	{ .name = "timerfd-unread", .set_up = late_set_up, .check = late_check, .off = true },
	{ .name = "pending", .set_up = pending_set_up, .check = pending_check },
	{ .name = "signalfd", .set_up = signalfd_set_up, .check = signalfd_check },
	{ .name = "events", .set_up = events_set_up, .turn = events_turn, .check = events_check },
	{ .name = "append", .set_up = append_set_up, .turn = append_turn, .check = append_check },
	{ .name = "ghost", .set_up = ghost_set_up, .check = ghost_check, .off = true },
	{ .name = "attributes",
	  .set_up = attributes_set_up,
	  .check = attributes_check,
	  .damage = attributes_damage },
};
const size_t misc_nr_kernel = ARRAY_SIZE(misc_kernel);
