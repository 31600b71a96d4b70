// SPDX-License-Identifier: GPL-2.0-or-later
/* facts.c - what podman tells of a container and of itself, beside what haul needs in order to move it. */
#include "engine/container/facts.h"

#include <stdio.h>
#include <string.h>

#include "engine/container/tool.h"
#include "engine/proc/within.h"

#define ASK_LIMIT_MS 20000

/* Lines of a word and a value. */
static const char format[] =
        "oci {{.OCIRuntime}}\n"
        "unit {{index .Config.Labels \"PODMAN_SYSTEMD_UNIT\"}}\n"
        "{{range .Dependencies}}depends {{.}}\n{{end}}"
        "{{if .Config.Healthcheck}}health yes\n{{end}}"
        "{{if .Config.Tty}}terminal yes\n{{end}}"
        "{{range .HostConfig.Devices}}device {{.PathOnHost}}\n{{end}}"
        "{{range $name, $n := .NetworkSettings.Networks}}net {{$name}}\n{{end}}"
        "{{range $port, $b := .HostConfig.PortBindings}}port {{$port}}\n{{end}}"
        "{{range .Mounts}}{{.Type}} {{if eq .Type \"volume\"}}{{.Name}}{{else}}{{.Source}}{{end}}\n"
        "{{end}}";
static const char host_format[] =
        "version {{.Version.Version}}\n"
        "storage {{.Store.GraphDriverName}} in {{.Store.GraphRoot}} and {{.Store.RunRoot}}\n";

static void keep(struct facts_list *l, char *item)
{
	if (l->n < FACTS_ITEMS_MAX)
		l->v[l->n++] = item;
}

/* The values stay where they are in @text. */
static void read_lines(struct facts *f, char *text)
{
	const struct {
		const char *word;
		struct facts_list *list;
		char **one;
	} words[] = {
		{ "oci", NULL, &f->oci },         { "unit", NULL, &f->unit },
		{ "depends", NULL, &f->depends }, { "health", NULL, &f->health },
		{ "device", &f->devices, NULL },  { "terminal", NULL, &f->terminal },
		{ "net", &f->nets, NULL },        { "port", &f->ports, NULL },
		{ "volume", &f->volumes, NULL },  { "bind", &f->binds, NULL },
		{ "version", NULL, &f->version }, { "storage", NULL, &f->storage },
	};
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, ' ');

		if (!value || !value[1])
			continue;
		*value++ = 0;
		for (size_t i = 0; i < ARRAY_SIZE(words); i++)
			if (strcmp(words[i].word, line) == 0 && words[i].list)
				keep(words[i].list, value);
			else if (strcmp(words[i].word, line) == 0)
				*words[i].one = value;
	}
}

int facts_host(struct facts *out, struct err *e)
{
	const char *const argv[] = { "podman", "info", "--format", host_format, NULL };
	int r = tool_run(argv, ASK_LIMIT_MS, out->host, sizeof(out->host), e);

	if (r == 0)
		read_lines(out, out->host);
	return r;
}

int facts_ask(const struct container *c, struct facts *out, struct err *e)
{
	const char *const argv[] = { "podman", "container", "inspect", "--format",
		                     format,   c->id,       NULL };

	if (strcmp(c->runtime, "podman") != 0)
		return 0;
	int r = tool_run(argv, ASK_LIMIT_MS, out->said, sizeof(out->said), e);

	if (r < 0)
		return r;
	read_lines(out, out->said);
	return facts_host(out, e);
}

/* ---- what cannot move ---- */

/* Of any runtime. */
static int judge_spaces(const struct container *c, struct findings *out)
{
	int r = 0;

	if (!within_shares(c->pid, "ns/user"))
		r = finding_add(out, SEV_BLOCKER, "container-user",
		                "start it without --userns and --uidmap, by root",
		                "container %s has a user namespace of its own, which haul does not "
		                "move",
		                c->id);
	if (r == 0 && within_shares(c->pid, "ns/pid"))
		r = finding_add(out, SEV_BLOCKER, "container-pids", "start it without --pid=host",
		                "container %s has the host's process IDs, which may be taken there",
		                c->id);
	return r;
}

/* It may be given as a path. */
static bool is_runc(const char *oci)
{
	const char *slash = strrchr(oci, '/');

	return !strcmp(slash ? slash + 1 : oci, "runc");
}

static int judge_runtime(const struct facts *f, struct findings *out)
{
	int r = 0;

	if (f->oci && !is_runc(f->oci))
		r = finding_add(out, SEV_BLOCKER, "container-oci",
		                "start it with podman --runtime runc",
		                "podman runs the container by %s, which Debian builds without CRIU",
		                f->oci);
	if (r == 0 && f->unit)
		r = finding_add(out, SEV_BLOCKER, "container-unit",
		                "stop the unit, and start the container by podman run",
		                "the unit %s of systemd's has started the container, and would "
		                "start it again",
		                f->unit);
	if (r == 0 && f->depends)
		r = finding_add(out, SEV_BLOCKER, "container-depends",
		                "start it without namespaces of another container",
		                "the container depends on the container %.12s, whose namespaces it "
		                "shares",
		                f->depends);
	return r;
}

static int judge_rest(const struct facts *f, struct findings *out)
{
	int r = 0;

	if (f->terminal)
		r = finding_add(
		        out, SEV_BLOCKER, "container-terminal", "start it without --tty",
		        "the container has a terminal of podman's, which haul does not move");
	for (size_t i = 0; r == 0 && i < f->devices.n; i++)
		r = finding_add(out, SEV_WARNING, "container-device",
		                "see that the destination has the same one",
		                "the container may use the device %s", f->devices.v[i]);
	for (size_t i = 0; r == 0 && i < f->ports.n; i++)
		r = finding_add(
		        out, SEV_WARNING, "container-port", "lead its clients to the destination",
		        "port %s of the container is published at the destination by podman "
		        "there, and no longer here",
		        f->ports.v[i]);
	if (r == 0 && f->health)
		r = finding_add(out, SEV_WARNING, "container-health",
		                "see podman ps there afterwards",
		                "a health check that falls into the pause may fail");
	return r;
}

int facts_judge(const struct container *c, const struct facts *f, struct findings *out)
{
	int r = judge_spaces(c, out);

	if (r == 0)
		r = judge_runtime(f, out);
	return r < 0 ? r : judge_rest(f, out);
}

/* ---- the destination ---- */

int facts_has(const char *kind, const char *name, struct err *e)
{
	const char *const argv[] = { "podman", kind, "exists", "--", name, NULL };
	struct err why = ERR_INIT;
	int r = tool_run(argv, ASK_LIMIT_MS, NULL, 0, &why);

	if (r == 0)
		return 1;
	return r == -EPROTO ? 0 : err_set(e, ERR_SYS, -r, "%s", why.msg);
}
