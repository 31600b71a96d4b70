// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fuzz-conf.c - any bytes as a configuration file: no crash, and an error has a place and a
 * reason. It runs the files given; with -DLIBFUZZER the fuzzer does.
 */
#include "common/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t bytes)
{
	struct err e = ERR_INIT;
	char path[40], value[64];
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("conf", MFD_CLOEXEC);
	if (ftruncate(fd, (off_t)bytes) < 0 || pwrite(fd, p, bytes, 0) != (ssize_t)bytes)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	memset(value, 'x', sizeof(value));
	int r = conf_get(path, CONF_CRIU, value, sizeof(value), &e);

	if (r == 1 && strnlen(value, sizeof(value)) == sizeof(value))
		abort();
	if ((r < 0) != (e.msg[0] != 0) || (r < 0 && !strstr(e.msg, path)))
		abort();
	return 0;
}
