// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * gate.c - tickets: who has shown a key once proves it again with one MAC, which costs the destination
 * neither a process nor a key exchange. docs/PROTOCOL.md section 1.
 */
#include "transport/gate.h"

#include <gnutls/crypto.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "transport/keys/secret.h"
#include "transport/priv.h"

#define TICKET_S  86400
#define TAG_BYTES 8 /* of a key, in its ticket */

_Static_assert(TICKET_SECRET_BYTES == SECRET_BYTES, "secret_is() compares proofs");

/* In struct ticket's id: when it ends (4 bytes), random (4), the key's tag (8) */
#define ID_RANDOM 4
#define ID_TAG    8

int gate_open(struct gate *g, const struct chan_server *s, struct err *e)
{
	g->server = s;
	if (getrandom(g->key, sizeof(g->key), 0) != sizeof(g->key))
		return err_sys(e, "getrandom");
	return chan_server_key_text(s, g->host_key, sizeof(g->host_key), e);
}

static bool mac(const uint8_t key[32], const void *p, size_t bytes, uint8_t out[32])
{
	return gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, 32, p, bytes, out) == 0;
}

static bool tag(const char *print, uint8_t out[TAG_BYTES])
{
	uint8_t sum[32];

	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, print, strlen(print), sum) < 0)
		return false;
	memcpy(out, sum, TAG_BYTES);
	return true;
}

static uint32_t now_s(void)
{
	return (uint32_t)(now_us() / 1000000);
}

bool gate_issue(const struct gate *g, const char *print, struct ticket *out)
{
	uint32_t ends = now_s() + TICKET_S;

	if (!server_allows(g->server, key_has_print, print))
		return false;
	memcpy(out->id, &ends, sizeof(ends));
	return getrandom(out->id + ID_RANDOM, 4, 0) == 4 && tag(print, out->id + ID_TAG) &&
	       mac(g->key, out->id, sizeof(out->id), out->secret);
}

static bool has_tag(const char *print, const void *arg)
{
	uint8_t t[TAG_BYTES];

	return tag(print, t) && !memcmp(t, arg, sizeof(t));
}

/* The ticket's proof for this connection: over the challenge and the preamble up to the proof */
static bool proof(const uint8_t secret[TICKET_SECRET_BYTES],
                  const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES],
                  const uint8_t preamble[PREAMBLE_BYTES], uint8_t out[PREAMBLE_PROOF_BYTES])
{
	uint8_t text[PREAMBLE_CHALLENGE_BYTES + PREAMBLE_PROVEN_BYTES];

	memcpy(text, challenge, PREAMBLE_CHALLENGE_BYTES);
	memcpy(text + PREAMBLE_CHALLENGE_BYTES, preamble, PREAMBLE_PROVEN_BYTES);
	return mac(secret, text, sizeof(text), out);
}

bool gate_admits(const struct gate *g, const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES],
                 const uint8_t preamble[PREAMBLE_BYTES])
{
	uint8_t secret[TICKET_SECRET_BYTES], want[PREAMBLE_PROOF_BYTES];
	struct err e = ERR_INIT;
	struct preamble p;
	uint32_t ends;

	if (preamble_get(preamble, &p, &e) < 0 || p.wants != PREAMBLE_ENTER)
		return false;
	memcpy(&ends, p.ticket, sizeof(ends));
	return mac(g->key, p.ticket, sizeof(p.ticket), secret) &&
	       proof(secret, challenge, preamble, want) &&
	       secret_is(want, p.proof, sizeof(p.proof)) && ends > now_s() &&
	       server_allows(g->server, has_tag, p.ticket + ID_TAG);
}

int gate_prove(const struct ticket *t, const uint8_t challenge[PREAMBLE_CHALLENGE_BYTES],
               uint8_t preamble[PREAMBLE_BYTES], struct err *e)
{
	if (!proof(t->secret, challenge, preamble, preamble + PREAMBLE_PROVEN_BYTES))
		return err_set(e, ERR_SYS, EIO, "GnuTLS makes no HMAC-SHA256");
	return 0;
}
