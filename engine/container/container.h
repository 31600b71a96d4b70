/* SPDX-License-Identifier: GPL-2.0-or-later */
/* container.h - container runtimes by their commands. docs/CONTAINERS.md. */
#ifndef HAUL_CONTAINER_H
#define HAUL_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"
#include "engine/container/asked.h"

#define CONTAINER_WORD_BYTES 160 /* "podman:NAME" */
#define CONTAINER_ID_BYTES   128
#define CONTAINER_PATH_BYTES 512

struct runtime;
struct tool;

/* A container, as its runtime on this host knows it. A plain record: it may lie in shared memory. */
struct container {
	char runtime[16]; /* podman, runc; empty: none */
	char id[CONTAINER_ID_BYTES]; /* by which the runtime's commands name it */
	char name[CONTAINER_ID_BYTES]; /* by which users do */
	char image[CONTAINER_ID_BYTES]; /* its image's ID; empty: this runtime has no images */
	char image_name[CONTAINER_PATH_BYTES];
	char bundle
	        [CONTAINER_PATH_BYTES]; /* runc: the folder of config.json and the root file system */
	char network[64]; /* podman: its network mode */
	pid_t pid; /* of its init; 0: it does not run */
	bool pod; /* belongs to a pod, or others depend on it */
	bool cgroup_space; /* it has a cgroup namespace of its own */
	bool alone; /* its network has no interface but the loopback */
	bool made; /* at the destination: the runtime has been told to restore it */
};

/** container_word() - is @text the name of a container, "podman:NAME"? */
bool container_word(const char *text);
/** container_is() - has @c a runtime that we know, and an ID that may stand on a command line? */
bool container_is(const struct container *c);
/**
 * container_find() - ask its runtime
 * Return: 0; -ENOENT it does not know it; -errno
 */
int container_find(const char *text, struct container *out, struct err *e);
/** container_taken() - does @c's runtime here have one with its ID or name? @text: what has it */
bool container_taken(const struct container *c, char *text, size_t bytes);
/** container_image() - has the host its image, under its name? podman would pull another one of that name. Return: 1, 0; -errno: the runtime does not answer */
int container_image(const struct container *c, struct err *e);
/** container_version() - what the runtime says of itself, one line. Return: 0; -ENOENT not installed */
int container_version(const struct container *c, char *out, size_t bytes, struct err *e);

/**
 * container_capture() - have the runtime say what it would ask of CRIU, and all that its restore needs. The
 * container runs on.
 * @archive: what the runtime there needs, an open file
 */
int container_capture(const struct container *c, struct asked *a, struct wanted *request,
                      int *archive, struct err *e);
/** container_restore() - let the runtime begin to restore it, by the archive that was written */
int container_restore(const struct container *c, struct asked *a, struct tool **out, struct err *e);
/** container_archive() - where container_restore() looks for the archive. Return: a new file, to be written; -errno */
int container_archive(const struct container *c, const struct asked *a, struct err *e);
/**
 * container_guard() - its stopped copy: let the runtime refuse to start, stop or restart it
 * @out: what does it, beside us; NULL: this runtime starts nothing by itself
 */
int container_guard(const struct container *c, struct tool **out, struct err *e);
/** container_unguard() - undo that; harmless without it. @guard: of container_guard(), waited for; NULL */
void container_unguard(const struct container *c, struct tool *guard);
/** container_end() - kill it and remove its record; also of one that was never restored. Return: 0; -errno */
int container_end(const struct container *c, struct err *e);

#endif
