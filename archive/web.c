// SPDX-License-Identifier: GPL-2.0-or-later
/* web.c - bytes of a file behind a URL, by range requests of libcurl over one connection that stays open. */
#include "archive/web.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/auto.h"

#define CONNECT_S    10L
#define STALL_S      30L
#define REDIRECTS    5L
#define PROTOCOLS    "http,https"
#define PARTIAL      206
#define NOT_IN_RANGE 416

struct web {
	pthread_mutex_t lock; /* one request at a time */
	CURL *curl;
	char *url;
	uint64_t size;
};

/* One answer: no more than was asked for is taken. */
struct answer {
	uint8_t *at;
	size_t left;
	uint64_t size; /* of the whole file, as Content-Range says; 0: it does not */
};

static const char *trusted; /* file of certificates; NULL: the system's */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

bool web_is(const char *path)
{
	return !strncasecmp(path, "http://", 7) || !strncasecmp(path, "https://", 8);
}

void web_trust(const char *ca)
{
	trusted = ca;
}

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	struct answer *a = arg;
	size_t bytes = size * n;

	if (bytes > a->left)
		return 0; /* ends the transfer */
	memcpy(a->at, data, bytes);
	a->at += bytes;
	a->left -= bytes;
	return bytes;
}

/* "Content-Range: bytes 0-4095/1234567" */
static size_t take_header(char *data, size_t size, size_t n, void *arg)
{
	static const char name[] = "content-range:";
	struct answer *a = arg;
	char line[128];

	if (size * n < sizeof(line) && size * n > sizeof(name)) {
		memcpy(line, data, size * n);
		line[size * n] = 0;
		const char *slash = strncasecmp(line, name, sizeof(name) - 1) ? NULL
		                                                              : strchr(line, '/');

		if (slash)
			a->size = strtoull(slash + 1, NULL, 10);
	}
	return size * n;
}

static int said(const struct web *w, CURLcode code, long status, const struct answer *a,
                struct err *e)
{
	if (code != CURLE_OK && code != CURLE_WRITE_ERROR)
		return err_set(e, ERR_USER, EIO, "%s: %s", w->url, curl_easy_strerror(code));
	if (status == PARTIAL && a->left == 0)
		return 0;
	if (status == PARTIAL || status == NOT_IN_RANGE)
		return err_set(e, ERR_USER, ENODATA, "%s is cut off", w->url);
	if (status == 200) {
		err_set(e, ERR_USER, ENOTSUP, "%s: the server sends whole files only", w->url);
		return err_fix(e, "use a server that knows range requests, or copy the archive");
	}
	return err_set(e, ERR_USER, EIO, "%s: HTTP status %ld", w->url, status);
}

static int ask(struct web *w, uint64_t at, struct answer *a, struct err *e)
{
	char range[48];
	long status = 0;

	snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)at,
	         (unsigned long long)(at + a->left - 1));
	curl_easy_setopt(w->curl, CURLOPT_RANGE, range);
	curl_easy_setopt(w->curl, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(w->curl, CURLOPT_HEADERDATA, a);
	CURLcode code = curl_easy_perform(w->curl);

	curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &status);
	return said(w, code, status, a, e);
}

/* A URL with TLS leads to no server without it. */
static void set_up(const struct web *w)
{
	bool tls = !strncasecmp(w->url, "https:", 6);

	curl_easy_setopt(w->curl, CURLOPT_URL, w->url);
	curl_easy_setopt(w->curl, CURLOPT_PROTOCOLS_STR, PROTOCOLS);
	curl_easy_setopt(w->curl, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : PROTOCOLS);
	if (trusted)
		curl_easy_setopt(w->curl, CURLOPT_CAINFO, trusted);
	curl_easy_setopt(w->curl, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(w->curl, CURLOPT_MAXREDIRS, REDIRECTS);
	curl_easy_setopt(w->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(w->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	curl_easy_setopt(w->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(w->curl, CURLOPT_LOW_SPEED_TIME, STALL_S);
	curl_easy_setopt(w->curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(w->curl, CURLOPT_HEADERFUNCTION, take_header);
}

int web_open(struct web **out, const char *url, struct err *e)
{
	struct web *w = calloc(1, sizeof(*w));
	uint8_t first;
	struct answer a = { .at = &first, .left = 1 };

	pthread_once(&once, init);
	*out = w;
	if (w) {
		pthread_mutex_init(&w->lock, NULL);
		w->url = strdup(url);
		w->curl = curl_easy_init();
	}
	if (!w || !w->url || !w->curl)
		return err_set(e, ERR_SYS, ENOMEM, "no memory for %s", url);
	set_up(w);
	int r = ask(w, 0, &a, e);

	if (r == 0 && !a.size)
		r = err_set(e, ERR_USER, EIO, "%s: the server does not say how long it is", url);
	w->size = a.size;
	return r;
}

int web_read(struct web *w, uint64_t at, void *buf, size_t bytes, struct err *e)
{
	struct answer a = { .at = buf, .left = bytes };

	if (bytes == 0)
		return 0;
	pthread_mutex_lock(&w->lock);
	int r = ask(w, at, &a, e);

	pthread_mutex_unlock(&w->lock);
	return r;
}

uint64_t web_bytes(const struct web *w)
{
	return w->size;
}

void web_close(struct web *w)
{
	if (!w)
		return;
	curl_easy_cleanup(w->curl);
	pthread_mutex_destroy(&w->lock);
	free(w->url);
	free(w);
}
