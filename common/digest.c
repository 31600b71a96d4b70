// SPDX-License-Identifier: GPL-2.0-or-later
/* digest.c - XXH128 of the beginning of a file. */
#include "common/digest.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/auto.h"

#define STEP_BYTES (256u << 10)

int digest_file(int fd, uint64_t bytes, uint64_t seed, uint8_t out[DIGEST_BYTES])
{
	AUTO(mem) uint8_t *buf = malloc(STEP_BYTES);
	XXH3_state_t s;
	XXH128_canonical_t c;

	if (!buf)
		return -ENOMEM;
	XXH3_INITSTATE(&s);
	XXH3_128bits_reset_withSeed(&s, seed);
	for (uint64_t done = 0; done < bytes;) {
		size_t want = bytes - done < STEP_BYTES ? (size_t)(bytes - done) : STEP_BYTES;
		ssize_t n = pread(fd, buf, want, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		XXH3_128bits_update(&s, buf, (size_t)n);
		done += (uint64_t)n;
	}
	XXH128_canonicalFromHash(&c, XXH3_128bits_digest(&s));
	memcpy(out, c.digest, DIGEST_BYTES);
	return 0;
}
