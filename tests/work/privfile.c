/* SPDX-License-Identifier: GPL-2.0-or-later */
/* privfile.c - private mappings of a file, some pages written, and .data and .bss. */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define R8(x)        x, x, x, x, x, x, x, x
#define R512(x)      R8(R8(R8(x)))
#define DATA_PAGES   64UL
#define BSS_PAGES    256UL
#define DATA_WORD    0x6461746121ULL
#define FILE_NAME    "privfile.dat"
#define SKIP_PAGES   (4 * MIB_PAGES) /* where the read-only mapping begins */
#define PAGE_ALIGNED __attribute__((aligned(4096)))

static long mib = 16, rate = 2000;
static const struct work_opt opts[] = {
	{ "--mib", "size of the file in MiB, 16 or more (16)", &mib, NULL, NULL },
	{ "--rate", "page writes per second (2000)", &rate, NULL, NULL },
	{ 0 },
};

/* the first half of .data is never written: it must hold what the program file says */
static uint64_t data_words[DATA_PAGES * PAGE_WORDS] PAGE_ALIGNED = { R8(R8(R512(DATA_WORD))) };
static unsigned char bss_bytes[BSS_PAGES * PAGE_BYTES] PAGE_ALIGNED;

static struct area content; /* of the file; its base is never read */
static struct area written, data, bss;
static unsigned char *read_only;
static size_t file_pages;
static struct rnd rnd = { 3 };

static void create_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	uint64_t words[PAGE_WORDS];

	if (fd < 0)
		work_die("%s: %s", path, strerror(errno));
	area_init(&content, NULL, file_pages, 1, 1);
	for (size_t i = 0; i < file_pages; i++) {
		content.want[i] = i + 1;
		area_fill(&content, i, words);
		if (write(fd, words, PAGE_BYTES) != (ssize_t)PAGE_BYTES)
			work_die("%s: cannot write", path);
	}
	fsync(fd);
	close(fd);
}

static void *map_file(const char *path, int prot, size_t skip_pages)
{
	int fd = open(path, (prot & PROT_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	void *p;

	if (fd < 0)
		work_die("%s: %s", path, strerror(errno));
	p = mmap(NULL, (file_pages - skip_pages) * PAGE_BYTES, prot, MAP_PRIVATE, fd,
	         (off_t)(skip_pages * PAGE_BYTES));
	if (p == MAP_FAILED)
		work_die("%s: cannot map: %s", path, strerror(errno));
	close(fd);
	return p;
}

static void set_up(void)
{
	char path[600];

	work_path(FILE_NAME, path, sizeof(path));
	file_pages = (size_t)mib * MIB_PAGES;
	create_file(path);
	/* written pages start as the file's content: the same tag and generations */
	area_init(&written, map_file(path, PROT_READ | PROT_WRITE, 0), file_pages, 1, 2);
	memcpy(written.want, content.want, file_pages * sizeof(*content.want));
	written.serial = file_pages;
	read_only = map_file(path, PROT_READ, SKIP_PAGES);
	area_init(&data, data_words + DATA_PAGES / 2 * PAGE_WORDS, DATA_PAGES / 2, 2, 3);
	area_stamp_all(&data);
	area_init(&bss, bss_bytes, BSS_PAGES, 3, 4);
	for (size_t i = 0; i < BSS_PAGES; i += 2)
		area_stamp(&bss, i);
}

static void check_file(struct report *r)
{
	char path[600];
	uint64_t words[PAGE_WORDS];
	int fd = open(work_path(FILE_NAME, path, sizeof(path)), O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		rep_error(r, "%s: %s", FILE_NAME, strerror(errno));
		return;
	}
	for (size_t i = 0; i < file_pages; i++) {
		if (pread(fd, words, PAGE_BYTES, (off_t)(i * PAGE_BYTES)) != (ssize_t)PAGE_BYTES) {
			rep_error(r, "%s is short", FILE_NAME);
			break;
		}
		area_check_at(&content, i, words, r);
	}
	close(fd);
}

static void check_data(struct report *r)
{
	for (size_t k = 0; k < DATA_PAGES / 2 * PAGE_WORDS; k++) {
		if (((volatile uint64_t *)data_words)[k] != DATA_WORD) {
			rep_page(r, &data_words[k], ".data word %zu is %016lx", k, data_words[k]);
			break;
		}
	}
	r->checked_pages += DATA_PAGES / 2;
	area_verify(&data, r);
	area_verify(&bss, r);
}

static void verify(struct report *r)
{
	size_t own = 0;

	if (work_sabotage_due() == 5)
		((volatile uint64_t *)data_words)[17] = 0;
	else if (work_sabotage_due())
		area_sabotage(&written, 7, work_sabotage_due());
	area_verify(&written, r);
	for (size_t i = SKIP_PAGES; i < file_pages; i++)
		area_check_at(&content, i, read_only + (i - SKIP_PAGES) * PAGE_BYTES, r);
	check_data(r);
	check_file(r);
	for (size_t i = 0; i < file_pages; i++)
		own += written.want[i] != content.want[i];
	rep_extra(r, ",\"file_pages\":%zu,\"written_pages\":%zu", file_pages, own);
}

/* Every third page of the first three quarters of the file is written, sooner or later. */
static int write_one(void)
{
	switch (rnd_below(&rnd, 3)) {
	case 0:
		return area_write(&written, rnd_below(&rnd, file_pages / 4) * 3);
	case 1:
		return area_write(&data, rnd_below(&rnd, data.pages));
	default:
		return area_write(&bss, rnd_below(&rnd, BSS_PAGES / 2) * 2);
	}
}

int main(int argc, char **argv)
{
	struct pace pace;

	work_start(argc, argv, opts);
	if (mib < 16)
		work_die("--mib is 16 or more");
	set_up();
	work_ready();
	pace_init(&pace, rate);
	while (work_poll(verify)) {
		unsigned due = pace_due(&pace);

		if (!due || !work_may_write()) {
			work_nap_us(500);
			continue;
		}
		work_count(due);
		while (due-- && write_one() == 0)
			;
	}
	return 0;
}
