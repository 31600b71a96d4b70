// SPDX-License-Identifier: GPL-2.0-or-later
/* container.c - podman and runc by their commands. */
#include "engine/container/container.h"

#include <ctype.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/host/rundir.h"
#include "engine/container/tool.h"
#include "engine/container/whose.h"
#include "engine/proc/within.h"

#define ASK_LIMIT_MS     20000
#define CAPTURE_LIMIT_MS 60000
#define END_LIMIT_MS     60000
#define IMAGES           "images"
#define ARGS_MAX         16

struct runtime {
	const char *word;
	const char *archive; /* below the folder of struct asked */
	bool takes_folder; /* its commands name the folder that the archive is in */
	int (*find)(const char *name, struct container *out, struct err *e);
	/* the command, NULL behind its last word; @files: its archive, or a folder for images */
	void (*capture)(const struct container *c, const char *files, const char **argv);
	void (*restore)(const struct container *c, const char *files, const char **argv);
	/* NULL: it has none */
	void (*pause)(const struct container *c, const char *verb, const char **argv);
	int (*end)(const struct container *c, struct err *e);
};

/* ---- runc ---- */

static int text_of(const json_t *o, const char *key, char *out, size_t bytes)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && (size_t)snprintf(out, bytes, "%s", s) < bytes ? 0 : -EBADMSG;
}

static int runc_find(const char *name, struct container *out, struct err *e)
{
	const char *const argv[] = { "runc", "state", name, NULL };
	char said[8192], status[32];

	if (tool_run(argv, ASK_LIMIT_MS, said, sizeof(said), e) < 0)
		return err_code(e);
	json_t *o = json_loads(said, 0, NULL);

	out->pid = (pid_t)json_integer_value(json_object_get(o, "pid"));
	bool understood = text_of(o, "bundle", out->bundle, sizeof(out->bundle)) == 0 &&
	                  text_of(o, "status", status, sizeof(status)) == 0;

	json_decref(o);
	if (!understood)
		return err_set(e, ERR_SYS, EBADMSG, "runc says nothing that haul understands of %s",
		               name);
	if (strcmp(status, "running") != 0)
		out->pid = 0;
	snprintf(out->id, sizeof(out->id), "%s", name);
	return 0;
}

static void runc_capture(const struct container *c, const char *files, const char **argv)
{
	const char *const v[] = { "runc",         "checkpoint", "--leave-running",
		                  "--image-path", files,        "--work-path",
		                  files,          c->id };

	memcpy(argv, v, sizeof(v));
}

static void runc_restore(const struct container *c, const char *files, const char **argv)
{
	const char *const v[] = { "runc",        "restore", "--detach", "--image-path", files,
		                  "--work-path", files,     "--bundle", c->bundle,      c->id };

	memcpy(argv, v, sizeof(v));
}

static int runc_end(const struct container *c, struct err *e)
{
	const char *const argv[] = { "runc", "delete", "--force", c->id, NULL };

	return tool_run(argv, END_LIMIT_MS, NULL, 0, e);
}

/* ---- podman ---- */

static const char podman_format[] =
        "{{.State.Pid}}\t{{.Id}}\t{{.Name}}\t{{.Image}}\t{{.ImageName}}\t"
        "{{.HostConfig.NetworkMode}}\t{{.Pod}}\t{{.State.Status}}";

static int podman_find(const char *name, struct container *out, struct err *e)
{
	const char *const argv[] = { "podman",      "container", "inspect", "--format",
		                     podman_format, name,        NULL };
	char said[8192], status[32] = "";

	if (tool_run(argv, ASK_LIMIT_MS, said, sizeof(said), e) < 0)
		return err_code(e);
	char *at = said, *field[8] = { 0 };

	said[strcspn(said, "\n")] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(field); i++)
		field[i] = strsep(&at, "\t");
	if (!field[7])
		return err_set(e, ERR_SYS, EBADMSG,
		               "podman says nothing that haul understands of %s", name);
	out->pid = (pid_t)strtol(field[0], NULL, 10);
	snprintf(out->id, sizeof(out->id), "%.*s", CONTAINER_ID_BYTES - 1, field[1]);
	snprintf(out->name, sizeof(out->name), "%.*s", CONTAINER_ID_BYTES - 1, field[2]);
	snprintf(out->image, sizeof(out->image), "%.*s", CONTAINER_ID_BYTES - 1, field[3]);
	snprintf(out->image_name, sizeof(out->image_name), "%.*s", CONTAINER_PATH_BYTES - 1,
	         field[4]);
	snprintf(out->network, sizeof(out->network), "%.*s", 63, field[5]);
	out->pod = *field[6] != 0;
	snprintf(status, sizeof(status), "%.31s", field[7]);
	if (strcmp(status, "running") != 0)
		out->pid = 0;
	return 0;
}

static void podman_capture(const struct container *c, const char *files, const char **argv)
{
	const char *const v[] = { "podman",          "container", "checkpoint",
		                  "--leave-running", "--export",  files,
		                  "--compress",      "none",      c->id };

	memcpy(argv, v, sizeof(v));
}

static void podman_restore(const struct container *c, const char *files, const char **argv)
{
	const char *const v[] = { "podman", "container", "restore", "--import", files };

	(void)c;
	memcpy(argv, v, sizeof(v));
}

static void podman_pause(const struct container *c, const char *verb, const char **argv)
{
	const char *const v[] = { "podman", verb, c->id };

	memcpy(argv, v, sizeof(v));
}

/* By its own command: podman takes another end for a crash, and starts it again. */
static int podman_end(const struct container *c, struct err *e)
{
	const char *const kill[] = { "podman", "kill", "--signal", "KILL", c->id, NULL };
	const char *const rm[] = { "podman", "rm", "--force", "--time", "0", c->id, NULL };
	struct err ignore = ERR_INIT;

	tool_run(kill, END_LIMIT_MS, NULL, 0, &ignore);
	return tool_run(rm, END_LIMIT_MS, NULL, 0, e);
}

/* ---- all ---- */

static const struct runtime runtimes[] = {
	{ .word = "podman",
	  .archive = "archive.tar",
	  .find = podman_find,
	  .capture = podman_capture,
	  .restore = podman_restore,
	  .pause = podman_pause,
	  .end = podman_end },
	{ .word = "runc",
	  .archive = IMAGES "/descriptors.json",
	  .takes_folder = true,
	  .find = runc_find,
	  .capture = runc_capture,
	  .restore = runc_restore,
	  .end = runc_end },
};

/* Runtimes that haul knows by name, and does not move. */
static const struct {
	const char *word, *why;
} unmoved[] = {
	{ "crun", "haul does not move containers of crun, which Debian builds without CRIU; podman "
	          "starts them by runc with --runtime runc" },
	{ "lxc", "haul does not move containers of LXC" },
	{ "docker", "haul does not move containers of Docker" },
	{ "cri", "haul does not move containers of Kubernetes" },
};

static const struct runtime *runtime_of(const struct container *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(runtimes); i++)
		if (!strcmp(runtimes[i].word, c->runtime))
			return &runtimes[i];
	return NULL;
}

static bool name_ok(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && (i == 0 || !strchr("_.+-", name[i])))
			return false;
	return n > 0 && n < CONTAINER_ID_BYTES;
}

/* Return: the name behind the word of a runtime; NULL */
static const char *split(const char *text, const struct runtime **out)
{
	for (size_t i = 0; i < ARRAY_SIZE(runtimes); i++) {
		size_t n = strlen(runtimes[i].word);

		*out = &runtimes[i];
		if (!strncmp(text, runtimes[i].word, n) && text[n] == ':')
			return text + n + 1;
	}
	return NULL;
}

/* Return: why haul does not move what @text names; NULL: that is not known */
static const char *why_unmoved(const char *text)
{
	size_t n = strcspn(text, ":");

	for (size_t i = 0; text[n] && i < ARRAY_SIZE(unmoved); i++)
		if (n == strlen(unmoved[i].word) && !strncmp(text, unmoved[i].word, n))
			return unmoved[i].why;
	return NULL;
}

bool container_word(const char *text)
{
	const struct runtime *rt;

	return split(text, &rt) || why_unmoved(text);
}

bool container_is(const struct container *c)
{
	return runtime_of(c) && name_ok(c->id) && (!c->name[0] || name_ok(c->name)) &&
	       (!c->bundle[0] || c->bundle[0] == '/');
}

/* runc is asked for a container that it has made for podman, or for another one above it: that one would start it again. */
static int judge_owner(const struct container *c, struct err *e)
{
	char word[CONTAINER_WORD_BYTES];
	size_t n = strlen(c->runtime);

	if (!c->pid || !whose_container(c->pid, word, sizeof(word)) ||
	    (!strncmp(word, c->runtime, n) && word[n] == ':'))
		return 0;
	return err_set(
	        e, ERR_USER, EPERM,
	        "%s:%s belongs to %s, whose runtime would take the move for a crash: move it "
	        "by that name",
	        c->runtime, c->id, word);
}

int container_find(const char *text, struct container *out, struct err *e)
{
	const struct runtime *rt;
	const char *name = split(text, &rt), *why = why_unmoved(text);

	*out = (struct container){ 0 };
	if (why)
		return err_set(e, ERR_USER, ENOTSUP, "%s", why);
	if (!name || !name_ok(name))
		return err_set(e, ERR_USER, EINVAL, "\"%s\" does not name a container", text);
	snprintf(out->runtime, sizeof(out->runtime), "%s", rt->word);
	int r = rt->find(name, out, e);

	if (r < 0)
		return r;
	if (out->pid)
		out->cgroup_space = !within_shares(out->pid, "ns/cgroup");
	return judge_owner(out, e);
}

bool container_taken(const struct container *c, char *text, size_t bytes)
{
	const struct runtime *rt = runtime_of(c);
	const char *const names[] = { c->id, c->name };
	struct container found = { 0 };
	struct err ignore = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!*names[i] || rt->find(names[i], &found, &ignore) < 0)
			continue;
		snprintf(text, bytes, "%s has a container %.64s already", c->runtime, names[i]);
		return true;
	}
	return false;
}

static bool image_name_ok(const char *name)
{
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && (c == name || !strchr("._-/:@", *c)))
			return false;
	return *name;
}

int container_image(const struct container *c, struct err *e)
{
	const char *const argv[] = { "podman",  "image",       "inspect", "--format",
		                     "{{.Id}}", c->image_name, NULL };
	char said[CONTAINER_ID_BYTES];

	if (!c->image[0])
		return 1;
	if (!image_name_ok(c->image_name))
		return err_set(e, ERR_PEER, EBADMSG, "an image with a bad name");
	int r = tool_run(argv, ASK_LIMIT_MS, said, sizeof(said), e);

	said[r < 0 ? 0 : strcspn(said, "\n")] = 0;
	return r == -EPROTO ? 0 : r < 0 ? r : !strcmp(said, c->image);
}

int container_version(const struct container *c, char *out, size_t bytes, struct err *e)
{
	const char *const argv[] = { c->runtime, "--version", NULL };
	int r = tool_run(argv, ASK_LIMIT_MS, out, bytes, e);

	out[strcspn(out, "\n")] = 0;
	return r;
}

static int make_archive(const struct container *c, const struct asked *a, char *out, size_t bytes,
                        struct err *e)
{
	snprintf(out, bytes, "%s/%s", asked_dir(a), runtime_of(c)->archive);
	return rundir_parents(out, e);
}

int container_archive(const struct container *c, const struct asked *a, struct err *e)
{
	char path[CONTAINER_PATH_BYTES];

	if (make_archive(c, a, path, sizeof(path), e) < 0)
		return err_code(e);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(e, "%s", path) : fd;
}

/* What the command takes: the path of its archive, or of the folder that it is in. */
static int files_of(const struct container *c, const struct asked *a, char *out, size_t bytes,
                    struct err *e)
{
	int r = make_archive(c, a, out, bytes, e);

	if (r < 0)
		return r;
	if (runtime_of(c)->takes_folder)
		*strrchr(out, '/') = 0;
	return 0;
}

int container_capture(const struct container *c, struct asked *a, struct wanted *request,
                      int *archive, struct err *e)
{
	const struct runtime *rt = runtime_of(c);
	uint64_t deadline = deadline_in_ms(CAPTURE_LIMIT_MS);
	const char *argv[ARGS_MAX] = { NULL };
	char files[CONTAINER_PATH_BYTES];
	AUTO(tool) struct tool *cmd = NULL;

	*archive = -1;
	if (files_of(c, a, files, sizeof(files), e) < 0)
		return err_code(e);
	rt->capture(c, files, argv);
	if (tool_start(&cmd, argv, asked_path(a), e) < 0 ||
	    asked_dump(a, cmd, request, deadline, e) < 0 || tool_wait(cmd, deadline, e) < 0)
		return err_wrap(e, "ask %s for container %s", c->runtime, c->id);
	make_archive(c, a, files, sizeof(files), e);
	*archive = open(files, O_RDONLY | O_CLOEXEC);
	return *archive < 0 ? err_sys(e, "%s", files) : 0;
}

int container_restore(const struct container *c, struct asked *a, struct tool **out, struct err *e)
{
	const struct runtime *rt = runtime_of(c);
	const char *argv[ARGS_MAX] = { NULL };
	char files[CONTAINER_PATH_BYTES];

	if (files_of(c, a, files, sizeof(files), e) < 0)
		return err_code(e);
	rt->restore(c, files, argv);
	return tool_start(out, argv, asked_path(a), e);
}

int container_guard(const struct container *c, struct tool **out, struct err *e)
{
	const struct runtime *rt = runtime_of(c);
	const char *argv[ARGS_MAX] = { NULL };

	if (!rt->pause)
		return 0;
	rt->pause(c, "pause", argv);
	return tool_start(out, argv, NULL, e);
}

void container_unguard(const struct container *c, struct tool *guard)
{
	const struct runtime *rt = runtime_of(c);
	const char *argv[ARGS_MAX] = { NULL };
	struct err why = ERR_INIT;

	if (guard && tool_wait(guard, deadline_in_ms(END_LIMIT_MS), &why) < 0)
		log_warn("%s", why.msg);
	if (!rt || !rt->pause)
		return;
	rt->pause(c, "unpause", argv);
	if (tool_run(argv, END_LIMIT_MS, NULL, 0, &why) < 0)
		log_info("%s", why.msg);
}

int container_end(const struct container *c, struct err *e)
{
	return runtime_of(c)->end(c, e);
}
