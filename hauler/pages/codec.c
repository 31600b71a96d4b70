// SPDX-License-Identifier: GPL-2.0-or-later
/* codec.c - should a stream compress? Both codecs are measured; the slower one is tried again regularly. */
#include "hauler/pages/send.h"

/* After PROBE_EVERY frames the other codec is tried for PROBE_FRAMES. */
#define PROBE_FRAMES 8
#define PROBE_EVERY  192
#define PACK_WORTH   1.05

static void phase_end(struct codec_choice *c)
{
	if (c->us && c->pages)
		c->rate[c->use] = (double)c->pages / (double)c->us;
	c->frames = 0;
	c->pages = c->us = 0;
}

void codec_account(struct codec_choice *c, unsigned int pages, uint64_t us)
{
	c->frames++;
	c->pages += pages;
	c->us += us;
	if (c->probing && c->frames >= PROBE_FRAMES) {
		phase_end(c);
		c->probing = false;
		/* compression must be clearly better */
		if (c->rate[CODEC_LZ4] > PACK_WORTH * c->rate[CODEC_NONE])
			c->use = CODEC_LZ4;
		else
			c->use = CODEC_NONE;
	} else if (!c->probing && c->frames >= (c->rate[CODEC_LZ4] ? PROBE_EVERY : PROBE_FRAMES)) {
		phase_end(c);
		c->probing = true;
		c->use = c->use == CODEC_LZ4 ? CODEC_NONE : CODEC_LZ4;
	}
}
