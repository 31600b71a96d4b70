// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * http.c - HTTP to a hauld, by libcurl: requests, and events that continue after an interruption.
 */
#include "hauler/cli/http.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/clock.h"
#include "hauler/report/say.h"

#define API_SOCKET      "/run/haul/api.sock"
#define ANSWER_MAX      (16 << 20)
#define LINE_MAX_BYTES  65536
#define REQUEST_LIMIT_S 90
#define AGAIN_MS        500
#define AWAY_MAX_US     120000000 /* give up on a hauld that stays away this long */

struct agent {
	CURL *curl;
	char base[512], token[300];
	const char *socket, *ca;
	bool asked_for; /* the user has named it */
	/* of one answer */
	char *text;
	size_t bytes;
	/* of events */
	agent_heard *heard;
	void *arg;
	const volatile int *stop;
	uint64_t *at, id;
	bool ended;
};

/* ---- which one ---- */

static bool somebody_listens(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	return fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;
}

/* A file, not an option: options are in process lists. */
static int load_token(struct agent *a, const struct opts *o, struct err *e)
{
	char path[512];
	const char *home = getenv("HOME");
	struct stat st;

	snprintf(path, sizeof(path), "%s/.config/haul/token", home ? home : "");
	AUTO(file) FILE *f = fopen(o->hauld.token_file ? o->hauld.token_file : path, "re");

	if (!f)
		return o->hauld.token_file ? err_sys(e, "--token-file=%s", o->hauld.token_file) : 0;
	if (fstat(fileno(f), &st) == 0 && (st.st_mode & 077))
		return err_set(e, ERR_USER, EPERM, "%s: others may read the token: chmod 600 it",
		               o->hauld.token_file ? o->hauld.token_file : path);
	if (!fgets(a->token, sizeof(a->token), f))
		a->token[0] = 0;
	a->token[strcspn(a->token, "\r\n")] = 0;
	return 0;
}

int cli_http_open(struct agent **out, const struct opts *o, struct err *e)
{
	const char *word = o->hauld.agent ? o->hauld.agent : getenv("HAUL_AGENT");
	bool local = !word || !*word || !strcmp(word, "local");
	struct agent *a;

	if (word && !strcmp(word, "none"))
		return -ENOENT;
	if (!local && strncmp(word, "https://", 8)) {
		err_set(e, ERR_USER, EINVAL, "--agent=%s: local, none, or https://HOST[:PORT]",
		        word);
		return err_fix(e, "hauld serves TCP with TLS only");
	}
	if (local && !somebody_listens(API_SOCKET)) {
		if (!word || !*word)
			return -ENOENT;
		err_set(e, ERR_LINK, ECONNREFUSED, "no hauld serves %s", API_SOCKET);
		return err_fix(e, "start hauld");
	}
	a = calloc(1, sizeof(*a));
	if (!a || curl_global_init(CURL_GLOBAL_DEFAULT) || !(a->curl = curl_easy_init())) {
		free(a);
		return err_set(e, ERR_SYS, ENOMEM, "libcurl does not start");
	}
	a->socket = local ? API_SOCKET : NULL;
	a->ca = o->hauld.ca;
	a->asked_for = word != NULL;
	snprintf(a->base, sizeof(a->base), "%s", local ? "http://haul" : word);
	a->base[strcspn(a->base + 8, "/") + 8] = 0;
	int r = local ? 0 : load_token(a, o, e);

	if (r < 0) {
		cli_http_close(a);
		return r;
	}
	*out = a;
	return 0;
}

void cli_http_close(struct agent *a)
{
	if (!a)
		return;
	curl_easy_cleanup(a->curl);
	free(a->text);
	explicit_bzero(a->token, sizeof(a->token));
	free(a);
}

/* ---- one request ---- */

static size_t take(char *data, size_t size, size_t n, void *arg)
{
	struct agent *a = arg;
	size_t more = size * n;
	char *text = a->bytes + more > ANSWER_MAX ? NULL : realloc(a->text, a->bytes + more + 1);

	if (!text)
		return 0;
	a->text = text;
	memcpy(text + a->bytes, data, more);
	a->bytes += more;
	text[a->bytes] = 0;
	return more;
}

static struct curl_slist *prepare(struct agent *a, const char *path, const char *key)
{
	struct curl_slist *headers = NULL;
	char url[1200], line[400];

	snprintf(url, sizeof(url), "%s%s", a->base, path);
	curl_easy_reset(a->curl);
	curl_easy_setopt(a->curl, CURLOPT_URL, url);
	curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(a->curl, CURLOPT_PROTOCOLS_STR, a->socket ? "http" : "https");
	curl_easy_setopt(a->curl, CURLOPT_NOPROXY, a->socket ? "*" : NULL);
	if (a->socket)
		curl_easy_setopt(a->curl, CURLOPT_UNIX_SOCKET_PATH, a->socket);
	if (a->ca)
		curl_easy_setopt(a->curl, CURLOPT_CAINFO, a->ca);
	headers = curl_slist_append(headers, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:");
	if (a->token[0]) {
		snprintf(line, sizeof(line), "Authorization: Bearer %s", a->token);
		headers = curl_slist_append(headers, line);
	}
	if (key) {
		snprintf(line, sizeof(line), "Idempotency-Key: %s", key);
		headers = curl_slist_append(headers, line);
	}
	return headers;
}

static int not_reached(const struct agent *a, CURLcode c, struct err *e)
{
	bool nobody = c == CURLE_COULDNT_CONNECT || c == CURLE_GOT_NOTHING ||
	              c == CURLE_RECV_ERROR || c == CURLE_SEND_ERROR;

	return err_set(e, ERR_LINK, nobody ? ECONNREFUSED : EIO, "hauld at %s: %s",
	               a->socket ? a->socket : a->base, curl_easy_strerror(c));
}

static int refused(json_t *o, long status, struct err *e)
{
	const char *detail = json_string_value(json_object_get(o, "detail"));
	const char *code = json_string_value(json_object_get(o, "code"));
	bool target = status == 404 || status == 409;

	return err_set(e, target ? ERR_TARGET : ERR_USER,
	               status == 401 || status == 403 ? EACCES : EINVAL, "hauld: %s (%s)",
	               detail ? detail : "not understood", code ? code : "no code");
}

int cli_http_ask(struct agent *a, const char *method, const char *path, const char *key,
                 json_t *body, json_t **answer, struct err *e)
{
	AUTO(mem) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct curl_slist *headers = prepare(a, path, key);
	long status = 0;

	json_decref(body);
	a->bytes = 0;
	curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(a->curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(a->curl, CURLOPT_TIMEOUT, (long)REQUEST_LIMIT_S);
	curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, a);
	if (text || !strcmp(method, "POST"))
		curl_easy_setopt(a->curl, CURLOPT_POSTFIELDS, text ? text : "");
	CURLcode c = curl_easy_perform(a->curl);

	curl_slist_free_all(headers);
	if (c != CURLE_OK)
		return not_reached(a, c, e);
	curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
	json_t *o = json_loadb(a->text ? a->text : "", a->bytes, 0, NULL);

	say_clean(o);

	if (status >= 200 && status < 300 && o) {
		*answer = o;
		return 0;
	}
	int r = refused(o, status, e);

	json_decref(o);
	return r;
}

/* ---- events ---- */

/* Whole lines of an event stream: "id: N", "data: {...}". */
static void line(struct agent *a, char *text)
{
	if (!strncmp(text, "id: ", 4))
		a->id = strtoull(text + 4, NULL, 10);
	if (strncmp(text, "data: ", 6))
		return;
	json_t *o = json_loads(text + 6, 0, NULL);

	say_clean(o);

	*a->at = a->id;
	if (o && !a->heard(a->arg, o))
		a->ended = true;
	json_decref(o);
}

static size_t take_events(char *data, size_t size, size_t n, void *arg)
{
	struct agent *a = arg;
	size_t done = 0;

	if (take(data, size, n, a) != size * n)
		return 0;
	for (char *end; (end = memchr(a->text + done, '\n', a->bytes - done));) {
		*end = 0;
		line(a, a->text + done);
		done = (size_t)(end - a->text) + 1;
	}
	a->bytes -= done;
	memmove(a->text, a->text + done, a->bytes);
	return a->ended || a->bytes > LINE_MAX_BYTES ? 0 : size * n;
}

static int look_at_stop(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct agent *ag = arg;

	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return ag->stop && *ag->stop;
}

/* One connection. Return: 0; CURLcode */
static CURLcode listen_once(struct agent *a, const char *path, long *status)
{
	struct curl_slist *headers = prepare(a, path, NULL);
	char last[64];

	snprintf(last, sizeof(last), "Last-Event-ID: %llu", (unsigned long long)*a->at);
	if (*a->at)
		headers = curl_slist_append(headers, last);
	a->bytes = 0;
	curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, take_events);
	curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(a->curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(a->curl, CURLOPT_XFERINFOFUNCTION, look_at_stop);
	curl_easy_setopt(a->curl, CURLOPT_XFERINFODATA, a);
	/* heartbeats come every 15 s */
	curl_easy_setopt(a->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(a->curl, CURLOPT_LOW_SPEED_TIME, 60L);
	CURLcode c = curl_easy_perform(a->curl);

	curl_slist_free_all(headers);
	*status = 0;
	curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, status);
	return c;
}

int cli_http_follow(struct agent *a, const char *path, uint64_t *at, agent_heard *heard, void *arg,
                    const volatile int *stop, struct err *e)
{
	const struct timespec pause = { 0, AGAIN_MS * 1000000L };
	uint64_t away_us = 0;

	a->heard = heard;
	a->arg = arg;
	a->stop = stop;
	a->at = at;
	a->ended = false;
	for (;;) {
		uint64_t was = *at;
		long status;
		CURLcode c = listen_once(a, path, &status);

		if (a->ended || status == 204)
			return 0;
		if (stop && *stop)
			return -ECANCELED;
		if (status >= 400)
			return err_set(e, ERR_USER, EINVAL, "hauld: no events: status %ld", status);
		if (*at != was || !away_us)
			away_us = now_us();
		if (now_us() - away_us > AWAY_MAX_US)
			return not_reached(a, c ? c : CURLE_GOT_NOTHING, e);
		nanosleep(&pause, NULL);
	}
}
