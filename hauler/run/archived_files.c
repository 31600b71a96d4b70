// SPDX-License-Identifier: GPL-2.0-or-later
/* archived_files.c - what files and directories hold, from an archive to the worker: it says what a save has kept. */
#include "hauler/run/priv.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/digest.h"
#include "hauler/load/load.h"
#include "transport/msg/batch.h"

#define SILENCE_MS 120000

/* Without digests the worker takes a file for another one. */
int archived_prove(struct mig *m, const Haul__Doubt *d, struct err *e)
{
	static const uint8_t unknown[DIGEST_BYTES];
	AUTO(mem) ProtobufCBinaryData *v = calloc(d->n_file + 1, sizeof(*v));
	AUTO(mem) uint8_t *digest = calloc(d->n_file + 1, DIGEST_BYTES);
	Haul__Proof p = HAUL__PROOF__INIT;

	if (!v || !digest)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for digests");
	int r = load_keeps(m->load, LOAD_FILES) ? load_digests(m->load, d, m->link.route, digest, e)
	                                        : 0;

	if (r < 0)
		return r;
	for (size_t i = 0; i < d->n_file; i++) {
		v[i].data = digest + i * DIGEST_BYTES;
		v[i].len = memcmp(v[i].data, unknown, DIGEST_BYTES) ? DIGEST_BYTES : 0;
	}
	p.digest = v;
	p.n_digest = d->n_file;
	return talk_say(m, HAUL__MSG__BODY_PROOF, &p, e);
}

/* The same directory on this host is not the one of the freeze, whatever its number. */
int archived_offer(const struct mig *m, Haul__Offer *o, struct err *e)
{
	for (size_t i = 0; i < o->n_tree; i++) {
		o->tree[i]->inode = o->tree[i]->birth_ns = 0;
		o->tree[i]->replace = m->opt->fs.replace;
	}
	return o->n_tree && !load_keeps(m->load, LOAD_TREE)
	               ? err_set(e, ERR_USER, EBADMSG, "%s is damaged: its directories",
	                         m->opt->dest)
	               : 0;
}

/* ---- single files ---- */

static int say_part(struct mig *m, Haul__FilePart *p, struct err *e)
{
	m->fig.shipped_bytes += p->data.len;
	m->fig.shipped_files += p->meta != NULL;
	send_paced(m->pages.send, p->data.len);
	return wire_say(m->link.ctl, HAUL__MSG__BODY_FILE_PART, p, DEADLINE_NEVER, e);
}

int archived_files(struct mig *m, struct err *e)
{
	struct load_log *g = NULL;
	Haul__Msg *msg = NULL;
	int r = load_wants(m->load) ? load_log_new(&g, m->load, LOAD_FILES, e) : 0;

	chan_silence(m->link.ctl, SILENCE_MS);
	while (g && r == 0 && (r = load_log_next(g, &msg, e)) > 0) {
		r = say_part(m, msg->file_part, e);
		haul__msg__free_unpacked(steal(msg), NULL);
	}
	load_log_free(g);
	return r;
}

/* ---- directories ---- */

/* Return: 1: the batch ends pass @number; 0; -errno */
static int ends_pass(const Haul__Batch *b, uint32_t *number, struct err *e)
{
	Haul__TreeOps *ops = NULL;
	int r = batch_unpack(b, &ops, e);

	if (r < 0)
		return r;
	const Haul__TreeOp *last = ops->n_op ? ops->op[ops->n_op - 1] : NULL;
	bool is = last && last->kind == HAUL__TREE_KIND__TREE_PASS;

	*number = is ? (uint32_t)last->offset : 0;
	haul__tree_ops__free_unpacked(ops, NULL);
	return is;
}

static int say_batch(struct mig *m, Haul__Batch *b, struct err *e)
{
	struct chan *ch = m->link.files;
	Haul__Msg *msg = NULL;
	uint32_t number = 0;

	send_paced(m->pages.send, b->packed.len);
	int r = wire_say(ch, HAUL__MSG__BODY_BATCH, b, DEADLINE_NEVER, e);

	if (r == 0)
		r = ends_pass(b, &number, e);
	if (r <= 0)
		return r;
	r = talk_expect(m, ch, HAUL__MSG__BODY_APPLIED, &msg, mig_deadline(m), e);
	if (r == 0 && msg->applied->pass != number)
		r = err_set(e, ERR_PEER, EPROTO, "pass %u of files, not %u", msg->applied->pass,
		            number);
	if (msg)
		haul__msg__free_unpacked(msg, NULL);
	return r;
}

int archived_tree(struct mig *m, struct err *e)
{
	struct load_log *g = NULL;
	Haul__Msg *msg = NULL;

	if (!load_keeps(m->load, LOAD_TREE))
		return 0;
	/* it stays open: the worker takes its end for a lost source */
	int r = talk_files(m, &m->link.files, e);

	if (r == 0)
		r = load_log_new(&g, m->load, LOAD_TREE, e);
	if (r == 0)
		chan_silence(m->link.files, SILENCE_MS);
	while (r == 0 && (r = load_log_next(g, &msg, e)) > 0) {
		r = say_batch(m, msg->batch, e);
		haul__msg__free_unpacked(steal(msg), NULL);
	}
	load_log_free(g);
	return r;
}
