// SPDX-License-Identifier: GPL-2.0-or-later
/* proof.c - answers the destination's question whether files are the same, by digests. */
#include <stdlib.h>

#include "common/clock.h"
#include "common/digest.h"
#include "hauler/files/needs.h"
#include "hauler/mig/mig.h"
#include "transport/msg/haul.pb-c.h"

#define SEND_LIMIT_MS 10000
#define FILES_MAX     65536

int needs_prove(struct mig *m, const Haul__Doubt *d, struct err *e)
{
	Haul__Proof p = HAUL__PROOF__INIT;

	if (!m->needs || d->n_file != d->n_bytes || d->n_file > FILES_MAX)
		return err_set(e, ERR_PEER, EPROTO, "a question about %zu files", d->n_file);
	AUTO(mem) ProtobufCBinaryData *v = calloc(d->n_file + 1, sizeof(*v));
	AUTO(mem) uint8_t *digest = calloc(d->n_file + 1, DIGEST_BYTES);

	if (!v || !digest)
		return err_set(e, ERR_SYS, ENOMEM, "no memory to compare files");
	for (size_t i = 0; i < d->n_file; i++) {
		v[i].data = digest + i * DIGEST_BYTES;
		if (needs_digest(m->needs, d->file[i], d->bytes[i], m->link.route, v[i].data) == 0)
			v[i].len = DIGEST_BYTES;
	}
	p.n_digest = d->n_file;
	p.digest = v;
	return wire_say(m->link.ctl, HAUL__MSG__BODY_PROOF, &p, deadline_in_ms(SEND_LIMIT_MS), e);
}
