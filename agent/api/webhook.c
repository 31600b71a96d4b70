// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * webhook.c - one URL that is told of events: a process that follows the file of all and posts
 * one event after the other, signed, until it was accepted. The position is on disk: an event
 * that happens while hauld is down is not lost, and one that was being posted then comes twice.
 */
#include "agent/api/webhook.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/api/conf.h"
#include "agent/api/events.h"
#include "common/auto.h"
#include "common/clock.h"
#include "common/log.h"
#include "config.h"

#define POST_LIMIT_S   10
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 300000
#define TRY_FOR_US     86400000000ull /* give up on an event after a day */
#define SECRET_BYTES   256

struct hook {
	const char *url;
	const struct api_conf *conf;
	char host[256]; /* for logs: a URL may hold a secret */
	char pos_name[40];
	char secret[SECRET_BYTES];
	size_t secret_bytes;
	int state_fd, all_fd, inotify_fd;
	uint64_t pos;
	CURL *curl;
};

/* ---- its position ---- */

static void name_of(const char *url, char *out, size_t bytes)
{
	uint8_t sum[32] = { 0 };
	int n = snprintf(out, bytes, "webhook-");

	gnutls_hash_fast(GNUTLS_DIG_SHA256, url, strlen(url), sum);
	for (size_t i = 0; i < 8; i++)
		n += snprintf(out + n, bytes - (size_t)n, "%02x", sum[i]);
}

static void load_pos(struct hook *h)
{
	char text[32] = "";
	AUTO(fd) int fd = openat(h->state_fd, h->pos_name, O_RDONLY | O_CLOEXEC);
	off_t end = lseek(h->all_fd, 0, SEEK_END);

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		h->pos = strtoull(text, NULL, 10);
	else
		h->pos = (uint64_t)end; /* a new URL starts with the next event */
	if (h->pos > (uint64_t)end)
		h->pos = (uint64_t)end;
}

static void keep_pos(const struct hook *h)
{
	char fresh[48], text[32];
	int n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)h->pos);

	snprintf(fresh, sizeof(fresh), "%s.new", h->pos_name);
	AUTO(fd)
	int fd = openat(h->state_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, (size_t)n) != n ||
	    renameat(h->state_fd, fresh, h->state_fd, h->pos_name) < 0)
		log_warn("webhook=%s: cannot store its position: %s", h->host, strerror(errno));
}

/* ---- one event ---- */

const char *const webhook_main_events[] = { "queued", "started",   "cancelling", "running",
	                                    "done",   "failed",    "error",      "ended",
	                                    "stderr", "link-lost", "finding",    NULL };

static bool wanted(const struct hook *h, const char *line)
{
	json_t *o = json_loads(line, 0, NULL);
	const char *name = json_string_value(json_object_get(o, "event"));
	bool yes = name && !strcmp(h->conf->webhook_events, "all");

	for (size_t i = 0; name && webhook_main_events[i]; i++)
		yes |= !strcmp(name, webhook_main_events[i]);
	json_decref(o);
	return yes;
}

/* HMAC-SHA256 of TIME.ID.BODY: none can be changed, and a copy sent much later shows. */
static void sign(const struct hook *h, long long at_s, const char *body, size_t bytes, char *out,
                 size_t out_bytes)
{
	char head[64];
	uint8_t sum[32];
	gnutls_hmac_hd_t mac;
	int n = snprintf(head, sizeof(head), "%lld.%llu.", at_s, (unsigned long long)h->pos);

	if (gnutls_hmac_init(&mac, GNUTLS_MAC_SHA256, h->secret, h->secret_bytes) < 0) {
		*out = 0;
		return;
	}
	gnutls_hmac(mac, head, (size_t)n);
	gnutls_hmac(mac, body, bytes);
	gnutls_hmac_deinit(mac, sum);
	n = snprintf(out, out_bytes, "Haul-Signature: t=%lld,v1=", at_s);
	for (size_t i = 0; i < sizeof(sum); i++)
		n += snprintf(out + n, out_bytes - (size_t)n, "%02x", sum[i]);
}

static size_t drop(char *data, size_t size, size_t n, void *arg)
{
	(void)data;
	(void)arg;
	return size * n;
}

/* Return: 0 when it was accepted */
static int post(const struct hook *h, const char *body, size_t bytes, char *why, size_t why_bytes)
{
	char id[64], signature[160];
	struct curl_slist *headers = NULL;
	long status = 0;

	sign(h, (long long)(now_wall_ms() / 1000), body, bytes, signature, sizeof(signature));
	snprintf(id, sizeof(id), "Haul-Event-Id: %llu", (unsigned long long)h->pos);
	headers = curl_slist_append(headers, "Content-Type: application/json");
	headers = curl_slist_append(headers, id);
	headers = curl_slist_append(headers, signature);
	curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE, (long)bytes);
	CURLcode r = curl_easy_perform(h->curl);

	curl_slist_free_all(headers);
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	if (r != CURLE_OK)
		snprintf(why, why_bytes, "%s", curl_easy_strerror(r));
	else
		snprintf(why, why_bytes, "status %ld", status);
	return r == CURLE_OK && status >= 200 && status < 300 ? 0 : -1;
}

static void sleep_ms(unsigned int ms)
{
	poll(NULL, 0, (int)ms);
}

static void deliver(const struct hook *h, const char *line, size_t bytes)
{
	uint64_t until = now_us() + TRY_FOR_US;
	unsigned int wait = BACKOFF_MIN_MS, tries = 0;
	char why[128];

	while (post(h, line, bytes, why, sizeof(why)) < 0) {
		if (now_us() > until) {
			log_err("webhook=%s event=%llu: not accepted for a day: dropped", h->host,
			        (unsigned long long)h->pos);
			return;
		}
		if (tries++ == 0)
			log_warn("webhook=%s event=%llu: %s; trying again", h->host,
			         (unsigned long long)h->pos, why);
		/* a quarter more or less, so that several do not retry together */
		sleep_ms(wait - wait / 4 + (unsigned int)(now_us() % (wait / 2)));
		wait = wait * 2 < BACKOFF_MAX_MS ? wait * 2 : BACKOFF_MAX_MS;
	}
	if (tries)
		log_info("webhook=%s event=%llu tries=%u: accepted", h->host,
		         (unsigned long long)h->pos, tries + 1);
}

/* ---- loop ---- */

static void wait_for_events(const struct hook *h)
{
	struct pollfd p = { .fd = h->inotify_fd, .events = POLLIN };
	char buf[4096];

	poll(&p, 1, 10000);
	while (read(h->inotify_fd, buf, sizeof(buf)) > 0)
		;
}

static void follow(struct hook *h)
{
	char line[EVENT_BYTES];
	ssize_t n;

	for (;;) {
		while ((n = events_line(h->all_fd, h->pos, line, sizeof(line))) > 0) {
			h->pos += (uint64_t)n;
			/* its first bytes are missing when it was cut off by a trim */
			if (!strncmp(line, "{\"job\":\"", 8) && wanted(h, line))
				deliver(h, line, (size_t)n - 1);
			keep_pos(h);
		}
		if (!events_skip_hole(h->all_fd, &h->pos))
			wait_for_events(h);
	}
}

static int load_secret(struct hook *h)
{
	AUTO(fd) int fd = open(h->conf->webhook_secret, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, h->secret, sizeof(h->secret));

	while (n > 0 && (h->secret[n - 1] == '\n' || h->secret[n - 1] == '\r'))
		n--;
	if (n < 16) {
		log_err("webhook-secret %s: %s", h->conf->webhook_secret,
		        n < 0 ? strerror(errno) : "shorter than 16 bytes");
		return -1;
	}
	h->secret_bytes = (size_t)n;
	return 0;
}

static int set_up(struct hook *h)
{
	CURLU *u = curl_url();
	char *host = NULL, path[600];

	if (!u || curl_url_set(u, CURLUPART_URL, h->url, 0) ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0)) {
		log_err("webhooks: one of them is not a URL");
		curl_url_cleanup(u);
		return -1;
	}
	snprintf(h->host, sizeof(h->host), "%s", host);
	curl_free(host);
	curl_url_cleanup(u);
	name_of(h->url, h->pos_name, sizeof(h->pos_name));
	h->all_fd = openat(h->state_fd, "events.jsonl", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	h->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	snprintf(path, sizeof(path), "%s/events.jsonl", h->conf->state);
	h->curl = curl_easy_init();
	if (h->all_fd < 0 || h->inotify_fd < 0 || !h->curl ||
	    inotify_add_watch(h->inotify_fd, path, IN_MODIFY) < 0 || load_secret(h) < 0)
		return -1;
	curl_easy_setopt(h->curl, CURLOPT_URL, h->url);
	curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h->curl, CURLOPT_USERAGENT, PACKAGE_STRING);
	curl_easy_setopt(h->curl, CURLOPT_TIMEOUT, (long)POST_LIMIT_S);
	curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, drop);
	load_pos(h);
	keep_pos(h);
	return 0;
}

int webhook_main(const struct api_conf *conf, int state_fd, const char *url)
{
	static struct hook h;

	prctl(PR_SET_NAME, "hauld-webhook");
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	h = (struct hook){ .url = url, .conf = conf, .state_fd = state_fd };
	curl_global_init(CURL_GLOBAL_DEFAULT);
	if (set_up(&h) < 0) {
		sleep_ms(BACKOFF_MIN_MS * 10); /* a fault will not be mended at once */
		return 1;
	}
	log_info("webhook=%s position=%llu", h.host, (unsigned long long)h.pos);
	follow(&h);
	return 0;
}
