/* SPDX-License-Identifier: GPL-2.0-or-later */
/* work.h - what every workload shares: control protocol, stamped pages, pace, thread crew. */
#ifndef WORK_H
#define WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PAGE_BYTES    4096UL
#define PAGE_WORDS    (PAGE_BYTES / 8)
#define MIB_PAGES     256UL
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* work.c: options, signals, files, reports */

struct work_opt {
	const char *name; /* with its dashes; NULL ends the table */
	const char *help;
	long *number; /* one of the three is set */
	const char **text;
	bool *flag;
};

struct report {
	uint64_t checked_pages;
	uint64_t bad_pages;
	uint64_t zero_pages; /* of the bad ones: reads as zero, should not */
	uint64_t stale_pages; /* of the bad ones: an older generation */
	uint64_t errors; /* anything wrong that is not a page */
	uint64_t first_bad; /* address */
	uint64_t ops; /* done by other processes of the workload */
	char detail[280]; /* the first fault */
	char extra[1024]; /* more JSON members, each led by a comma */
};

typedef void work_verify_fn(struct report *r);

extern pid_t work_pid; /* of the process that called work_start */

void work_start(int argc, char **argv, const struct work_opt *opts);
void work_child(void);
void work_ready(void);
bool work_poll(work_verify_fn *verify);
bool work_paused(void);
bool work_failed(void);
const char *work_reason(void);
bool work_may_write(void);
void work_count(uint64_t ops);
uint64_t work_ops(void);
unsigned work_verify_number(void);
long work_sabotage_due(void);
void work_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void work_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
const char *work_path(const char *name, char *buf, size_t size);
int work_write_file(const char *name, const char *text, size_t len);
void *work_map(size_t pages);
long work_status_kib(const char *key);
int64_t work_now_us(void);
void work_nap_us(long us);

void rep_error(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rep_page(struct report *r, const void *addr, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
void rep_extra(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void rep_merge(struct report *to, const struct report *from, const char *who);

/* pace.c: an even pace that never catches up for lost time; random numbers */

struct pace {
	long rate; /* per second; 0: as fast as it goes */
	int64_t last_us; /* CLOCK_REALTIME of the last turn */
	int64_t gap_us; /* between the last two turns */
	double credit;
};

void pace_init(struct pace *p, long rate);
unsigned pace_due(struct pace *p);
void pace_nap(const struct pace *p);

struct rnd {
	uint64_t state;
};

uint64_t rnd_next(struct rnd *r);
uint64_t rnd_below(struct rnd *r, uint64_t limit);
uint64_t rnd_mix(uint64_t x);

/* area.c: pages that know what they must hold */

#define STAMP_MAGIC 0x6861756cULL /* upper half of a stamped page's first word */
#define WANT_MAYBE  (UINT64_C(1) << 63) /* MADV_FREE: the stamp or zero */

struct area {
	unsigned char *base;
	uint64_t *want; /* per page: owner and generation; 0: must read as zero */
	size_t pages;
	size_t first; /* index of the page at base */
	uint64_t serial; /* last generation given out; never goes back */
	uint32_t tag; /* which area of the process */
	uint16_t owner; /* which process and thread writes now */
	uint16_t noise_words; /* words per page that do not compress, < PAGE_WORDS */
	uint16_t step; /* 1: every word is stamped and checked */
};

void area_init(struct area *a, void *base, size_t pages, uint32_t tag, uint16_t owner);
void area_fill(const struct area *a, size_t page, uint64_t *words);
void area_stamp(struct area *a, size_t page);
void area_stamp_all(struct area *a);
int area_write(struct area *a, size_t page);
void area_check_at(const struct area *a, size_t page, const void *at, struct report *r);
void area_check(const struct area *a, size_t page, struct report *r);
void area_verify(const struct area *a, struct report *r);
bool area_holds(const struct area *a, size_t page, struct report *r);
void area_sabotage(const struct area *a, size_t page, long kind);

/* crew.c: threads that can be parked while the main thread verifies */

#define CREW_MAX 256

void crew_start(unsigned members, void *(*run)(void *), void *first_arg, size_t arg_bytes);
bool crew_turn(void (*parked)(void *), void *arg);
bool crew_park(unsigned limit_s);
void crew_release(void);
void crew_stop(void);

#endif
