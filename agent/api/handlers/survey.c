// SPDX-License-Identifier: GPL-2.0-or-later
/* survey.c - haul check of one process after the other, a line of JSON for each. */
#include "agent/api/handlers/survey.h"

#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/auto.h"

static pid_t check(const char *haul, const char *pid, int *out)
{
	extern char **environ;
	const char *argv[] = { haul, "--json", "--agent=none", "check", pid, NULL };
	posix_spawn_file_actions_t fa;
	int pipes[2];
	pid_t child = -1;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -1;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, pipes[1], 1);
	posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
	if (posix_spawn(&child, haul, &fa, NULL, (char *const *)argv, environ))
		child = -1;
	posix_spawn_file_actions_destroy(&fa);
	close(pipes[1]);
	*out = pipes[0];
	return child;
}

static json_t *findings_of(int fd)
{
	AUTO(file) FILE *f = fdopen(fd, "r");
	AUTO(mem) char *line = NULL;
	json_t *v = json_array();
	size_t room = 0;

	while (f && getline(&line, &room, f) > 0) {
		json_t *o = json_loads(line, 0, NULL);

		if (o)
			json_array_append_new(v, o);
	}
	return v;
}

int survey_main(int argc, char **argv)
{
	for (int i = 2; i < argc; i++) {
		int fd, status = -1;
		pid_t child = check(argv[1], argv[i], &fd);

		if (child < 0)
			return 1;
		json_t *o = json_pack("{s:i,s:o}", "pid", atoi(argv[i]), "findings",
		                      findings_of(fd));

		waitpid(child, &status, 0);
		json_object_set_new(o, "can_move", json_boolean(status == 0));
		AUTO(mem) char *text = json_dumps(o, JSON_COMPACT);

		json_decref(o);
		if (text)
			puts(text);
	}
	return 0;
}
