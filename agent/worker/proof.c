// SPDX-License-Identifier: GPL-2.0-or-later
/* proof.c - ask the source for digests of files, and look again at shared files in the freeze. */
#include "agent/worker/proof.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/mig/mig.h"
#include "agent/check/files.h"
#include "agent/files/bring.h"
#include "common/clock.h"

#define PROOF_LIMIT_MS 60000

static int ask(struct wrk *w, const struct files_doubt *v, size_t n, struct err *e)
{
	AUTO(mem) uint32_t *file = calloc(n, sizeof(*file));
	AUTO(mem) uint64_t *bytes = calloc(n, sizeof(*bytes));
	Haul__Doubt d = HAUL__DOUBT__INIT;

	if (!file || !bytes)
		return err_set(e, ERR_SYS, ENOMEM, "no memory to compare files");
	for (size_t i = 0; i < n; i++) {
		file[i] = v[i].file;
		bytes[i] = v[i].bytes;
	}
	d.n_file = d.n_bytes = n;
	d.file = file;
	d.bytes = bytes;
	return wrk_say(w, HAUL__MSG__BODY_DOUBT, &d, e);
}

int proof_ask(void *arg, struct files_doubt *v, size_t n, struct err *e)
{
	struct wrk *w = arg;
	Haul__Msg *in = NULL;
	int r = 0;

	if (ask(w, v, n, e) < 0 || wire_recv(w->ctl, &in, deadline_in_ms(PROOF_LIMIT_MS), e) < 0)
		return err_wrap(e, "comparing files");
	if (in->body_case != HAUL__MSG__BODY_PROOF || in->proof->n_digest != n)
		r = err_set(e, ERR_PEER, EPROTO, "no answer about %zu files", n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const ProtobufCBinaryData *d = &in->proof->digest[i];

		v[i].known = d->len == DIGEST_BYTES;
		if (v[i].known)
			memcpy(v[i].theirs, d->data, DIGEST_BYTES);
	}
	haul__msg__free_unpacked(in, NULL);
	w->offer.doubts.n = 0;
	if (r < 0)
		return r;
	w->offer.doubts.v = calloc(n, sizeof(*v));
	if (!w->offer.doubts.v)
		return err_set(e, ERR_SYS, ENOMEM, "no memory to compare files");
	memcpy(w->offer.doubts.v, v, n * sizeof(*v));
	w->offer.doubts.n = n;
	return 0;
}

static int look_again(const char *path, const Haul__Still *s, struct err *e)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) < 0)
		return err_sys(e, "%s", path);
	if (st.stx_size == s->size &&
	    (uint64_t)st.stx_ctime.tv_sec * 1000000000u + st.stx_ctime.tv_nsec == s->ctime_ns)
		return 0;
	err_set(e, ERR_PEER, ESTALE,
	        "%s looked like the same file on both hosts, but the last writes to it are not at "
	        "the destination",
	        path);
	return err_fix(e, "move it away there, or let haul replace it: --files=ship-differing");
}

int proof_still(struct wrk *w, const Haul__Switch *s, struct err *e)
{
	const struct bring *l = w->bring;
	size_t want = 0;

	for (size_t i = 0; i < l->n; i++)
		want += l->v[i].state == HAUL__FILE_STATE__FILE_SHARED;
	for (size_t i = 0; i < s->n_still; i++) {
		uint32_t k = s->still[i]->file;

		if (k >= l->n || l->v[k].state != HAUL__FILE_STATE__FILE_SHARED)
			return err_set(e, ERR_PEER, EBADMSG, "file %u is not shared", k);
		if (look_again(l->v[k].path, s->still[i], e) < 0)
			return -e->code;
		want--;
	}
	return want ? err_set(e, ERR_PEER, EBADMSG, "the source did not describe %zu shared files",
	                      want)
	            : 0;
}
