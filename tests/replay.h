/* SPDX-License-Identifier: GPL-2.0-or-later */
/* replay.h - run a fuzz target on files, without a fuzzer: unless built with -DLIBFUZZER. */
#ifndef HAUL_REPLAY_H
#define HAUL_REPLAY_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes);

#ifndef LIBFUZZER
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static unsigned int replayed;

static int replay(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)ftw;
	if (kind != FTW_F)
		return 0;
	FILE *f = fopen(path, "re");
	size_t n = (size_t)st->st_size;
	uint8_t *p = malloc(n ? n : 1);

	if (!f || !p || fread(p, 1, n, f) != n) {
		fprintf(stderr, "%s cannot be read\n", path);
		exit(1);
	}
	fclose(f);
	LLVMFuzzerTestOneInput(p, n);
	free(p);
	replayed++;
	return 0;
}

/* Files and folders, which are walked. */
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (nftw(argv[i], replay, 16, FTW_PHYS) < 0) {
			perror(argv[i]);
			return 1;
		}
	}
	printf("%u inputs\n", replayed);
	return argc > 1 && replayed == 0;
}
#endif

#endif
