/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * api.h - the HTTP side of hauld: one process, one thread, one loop. hauld forks it, and
 * again when it dies; each migration is a runner (runner.c) that needs neither of them.
 * docs/API.md is the specification.
 */
#ifndef HAUL_AGENT_API_H
#define HAUL_AGENT_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

#define API_SOCKET      "/run/haul/api.sock"
#define API_STATE_DIR   "/var/lib/haul/migrations"
#define API_TOKENS      "/etc/haul/tokens"
#define API_ID_BYTES    17 /* 16 hexadecimal digits and the end */
#define API_BODY_MAX    65536
#define API_CONNECTIONS 1000

struct MHD_Connection;
struct MHD_Daemon;
struct MHD_Response;

/* ---- config.c ---- */

struct api_conf {
	const char *config; /* the file; also given to haul */
	char socket[100], state[512], tokens[512];
	char bind[64], cert[512], key[512]; /* TCP: only with TLS */
	unsigned int port; /* 0: no TCP */
	unsigned int running_max, bandwidth_mbit, kept_max;
	char user_policies[256]; /* what users other than root may name */
	char webhooks[1024]; /* URLs */
	char webhook_secret[512]; /* a file */
	char webhook_events[8]; /* main, all */
};

/* What the daemon keeps, and gives to each API process; -1: there is none. */
struct api_given {
	int state_fd; /* the folder of migrations, locked */
	int local_fd, tls_fd; /* they listen */
	int beat_fd; /* a byte now and then says that all is well */
};

/** api_conf_load() - from @path, defaults for what is not there. Return: 0; -EINVAL names it */
int api_conf_load(struct api_conf *c, const char *path, struct err *e);
/** config_check() - say all that is wrong with it. Return: exit status */
int config_check(const char *path, const char *criu_option);

/* ---- api.c: the loop ---- */

struct job;
struct task;
struct feed;
struct metrics;

struct api {
	const struct api_conf *conf;
	struct MHD_Daemon *local, *tls;
	int signal_fd, inotify_fd, state_fd, all_fd, beat_fd;
	char haul[4096]; /* the command beside this hauld */
	struct job **job; /* oldest first */
	size_t n_jobs;
	uint64_t next_seq;
	struct task *task;
	struct feed *feed;
	struct metrics *metrics;
	bool stop;
};

/** api_main() - in a process of its own, until SIGTERM. Return: exit status */
int api_main(const struct api_conf *conf, const struct api_given *given);
/** tls_check() - do certificate and key fit? */
int tls_check(const struct api_conf *conf, struct err *e);
uint64_t api_wall_ms(void);

/* ---- access.c: who asks ---- */

/* A token's role is one of the last three; users of the socket other than root have their own. */
enum role { ROLE_NOBODY, ROLE_USER, ROLE_READ, ROLE_OPERATE, ROLE_ADMIN };

struct who {
	enum role role;
	uid_t uid; /* of ROLE_USER */
	char name[64];
};

struct req;
/** access_who() - Return: 0; 401 or 429, a status to answer with */
int access_who(struct req *q, bool tls, struct who *out);
/** access_session() - the token that a browser gives. Return: 0; 401, 429 */
int access_session(struct req *q, const char *token, struct who *out);
enum role access_role(const char *word);
/** access_token() - is it in the file? It holds lines of NAME ROLE SHA256 */
bool access_token(const char *path, const char *token, struct who *out);

/* ---- http.c: requests and answers ---- */

struct req {
	struct api *api;
	struct MHD_Connection *c;
	const struct route *route;
	char arg[64]; /* what stands for the star of the path */
	struct who who;
	char *body;
	size_t body_bytes;
	unsigned int refused; /* the status; 0: it is not */
	const char *refused_code, *refused_text;
	struct task *task; /* a command whose end is the answer */
};

/* A handler answers with one of http_*(), or has started a task. Return: enum MHD_Result */
struct route {
	const char *method, *path;
	enum role need; /* ROLE_NOBODY: anybody */
	bool user; /* ROLE_USER may, too; the handler looks what is theirs */
	int (*run)(struct req *q);
};

extern const struct route routes[];

/** http_start() - on a socket that listens; with TLS when @cert. Return: NULL on failure */
struct MHD_Daemon *http_start(struct api *a, int fd, const char *cert, const char *key);
int http_json(struct req *q, unsigned int status, json_t *body);
/** http_problem() - application/problem+json; @code is stable */
int http_problem(struct req *q, unsigned int status, const char *code, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
int http_text(struct req *q, const char *type, char *text);
int http_send(struct req *q, unsigned int status, struct MHD_Response *r, const char *type);
/** http_body() - the body as an object. Return: NULL after a problem was made of it (*@r) */
json_t *http_body(struct req *q, int *r);
const char *http_query(const struct req *q, const char *key);
const char *http_header(const struct req *q, const char *key);
/** http_cookie() - the token of a browser. Return: NULL when there is none */
const char *http_cookie(const struct req *q);

/* ---- conn.c ---- */

/** conn_notify() - as libmicrohttpd wants it */
void conn_notify(void *arg, struct MHD_Connection *c, void **context, int what);
/** conn_busy() - its request is here, and is being answered; or the answer is out */
void conn_busy(struct MHD_Connection *c, bool busy);
void conn_tick(void);
/** conn_recent() - is one new, or just served? Its request, or its answer, may be under way */
bool conn_recent(void);

/* ---- task.c: a command whose output becomes an answer ---- */

struct task {
	struct task *next;
	struct req *q; /* NULL: the client has gone */
	pid_t pid;
	int fd, status;
	bool ended;
	char *out;
	size_t bytes;
	uint64_t deadline_us;
};

/** task_start() - run @path with @argv, the request waits. Return: enum MHD_Result */
int task_start(struct req *q, const char *path, const char *const *argv);
void task_read(struct task *t);
void task_ended(struct api *a, pid_t pid, int status);
/** task_tick() - end those that take too long */
void task_tick(struct api *a);
void task_free(struct api *a, struct task *t);
/** task_lines() - what it printed: JSON objects, one a line -> array */
json_t *task_lines(const struct task *t);

/* ---- jobs.c: the registry ---- */

enum job_status {
	JOB_QUEUED,
	JOB_RUNNING,
	JOB_DONE,
	JOB_FAILED,
	JOB_BLOCKED,
	JOB_CANCELLED,
	JOB_UNRESOLVED, /* handed over, outcome not known */
	JOB_INTERRUPTED, /* its runner was killed */
	JOB_NSTATUS
};

struct job {
	char id[API_ID_BYTES];
	uint64_t seq;
	enum job_status status;
	pid_t pid;
	uid_t uid; /* whose it is; root's: 0 */
	int priority;
	bool cancelling;
	unsigned int readers; /* of its events: it must stay */
	pid_t runner; /* that we started, until it holds its lock */
	uint64_t pos; /* of its events: read so far */
	json_t *spec; /* job.json */
	json_t *view; /* what GET shows */
};

const char *job_status_name(enum job_status s);
bool job_over(const struct job *j);
/** jobs_load() - all that is in the state folder */
int jobs_load(struct api *a, struct err *e);
/** jobs_new() - @spec: stolen. Return: NULL with @e */
struct job *jobs_new(struct api *a, json_t *spec, struct err *e);
struct job *jobs_find(struct api *a, const char *id);
/** jobs_cancel() - Return: 0; -EALREADY: it is over */
int jobs_cancel(struct api *a, struct job *j, struct err *e);
/** jobs_resolved() - the operator has decided: @kept: it goes on here */
void jobs_resolved(struct api *a, struct job *j, bool kept);
/** jobs_follow() - read what the runners have written since */
void jobs_follow(struct api *a);
/** jobs_schedule() - start what may start, notice runners that died */
void jobs_schedule(struct api *a);
/** jobs_prune() - forget the oldest that are over, when there are too many */
void jobs_prune(struct api *a);
int job_open(const struct api *a, const struct job *j, const char *name, int flags);
/** job_event() - one of hauld's own: "queued", "cancelling", "ended" */
void job_event(struct api *a, struct job *j, json_t *event);

/* ---- events.c: files of events, one JSON object a line ---- */

/**
 * events_put() - append @line to a migration's file and to that of all
 * It gets the keys job and at_ms in front. What is no object is left out.
 */
void events_put(int job_dir, int all_fd, const char *id, const char *line);
/** events_line() - Return: bytes of the line at @pos with its end, 0: none yet, -errno */
ssize_t events_line(int fd, uint64_t pos, char *buf, size_t bytes);
/** events_skip_hole() - @pos is in what was given back: to what is there. Return: it was */
bool events_skip_hole(int fd, uint64_t *pos);
#define EVENT_BYTES 16384

/* ---- webhook.c ---- */

/** webhook_main() - in a process of its own, until SIGTERM. Return: exit status */
int webhook_main(const struct api_conf *conf, int state_fd, const char *url);

/* ---- runner.c: one migration, in a process that outlives hauld ---- */

int runner_main(const char *dir);
#define RUNNER_NAME "hauld-runner"

/* ---- feed.c: server-sent events ---- */

/** feed_start() - of @j, or of all when NULL */
int feed_start(struct req *q, struct job *j);
/** feed_wake() - something was written; or a heartbeat is due */
void feed_wake(struct api *a, bool written);

/* ---- metrics.c ---- */

void metrics_event(struct api *a, struct job *j, json_t *event);
char *metrics_text(struct api *a);

/* ---- look.c, survey.c ---- */

struct proc {
	pid_t pid, ppid;
	uid_t uid;
	char comm[32];
	long long threads, start, rss_pages;
	bool kernel;
};

/** proc_read() - Return: 0; -ESRCH */
int proc_read(pid_t pid, struct proc *p);
bool host_ok(const char *s);
bool name_ok(const char *s);
/** may_touch() - pid of @body, theirs. Return: false after an answer was made (*@r) */
bool may_touch(struct req *q, json_t *body, struct proc *p, int *r);
int get_processes(struct req *q);
int post_check(struct req *q);
int get_peers(struct req *q);
/** survey_main() - NAME HAUL PID...: haul check of each */
int survey_main(int argc, char **argv);
#define SURVEY_NAME "hauld-survey"

/* ---- ask.c ---- */

int post_migration(struct req *q);

/* ---- rules.c: policies ---- */

int get_policies(struct req *q);
int get_policy(struct req *q);
int put_policy(struct req *q);
int post_validate(struct req *q);

/* ---- page.c: the page, and the OpenAPI document ---- */

int page_get(struct req *q);

#endif
