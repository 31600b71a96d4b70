// SPDX-License-Identifier: GPL-2.0-or-later
/* why.c - find the cause of a refusal by CRIU among all that it printed. */
#include "engine/criu/criu.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Errors that CRIU also logs when it succeeds: ignored. */
static const char *const harmless[] = {
	"RLIMIT_NOFILE", /* without CAP_SYS_RESOURCE it keeps its limit */
	"Unable to restore TCP_CORK", /* its page stream is not a TCP socket, which CRIU before 4.0 reports */
	"Unable to restore TCP_NODELAY",
};

static bool is_harmless(const char *line)
{
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
		if (strstr(line, harmless[i]))
			return true;
	return false;
}

/* The text behind "Error (file.c:123): ". */
static const char *bare(const char *line)
{
	const char *at = strstr(line, "Error ("), *text = at ? strstr(at, "): ") : NULL;

	return text ? text + 3 : line;
}

void criu_errors(int images_fd, const char *log_name, char *out, size_t bytes)
{
	int fd = openat(images_fd, log_name, O_RDONLY | O_CLOEXEC);
	AUTO(file) FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
	char line[512];
	size_t used = 0;

	out[0] = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (!strstr(line, "Error (") || is_harmless(line))
			continue;
		line[strcspn(line, "\n")] = 0;
		int n = snprintf(out + used, bytes - used, "%s%s", used ? "; " : "", bare(line));

		if (n < 0 || (size_t)n >= bytes - used)
			break;
		used += (size_t)n;
		if (used > bytes / 2)
			break;
	}
}

/*
 * CRIU logs something whenever it fails. If it did not, it could not write, and the error on its
 * socket is only a consequence. Return: is the obstacle known?
 */
static bool kept_from_writing(int images_fd, pid_t pid, char *out, size_t bytes)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	struct statvfs fs;

	if (pid > 0 && prlimit(pid, RLIMIT_FSIZE, NULL, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY)
		snprintf(out, bytes,
		         "it could not write its log nor images: files are limited to %llu "
		         "bytes (ulimit -f)",
		         (unsigned long long)limit.rlim_cur);
	else if (fstatvfs(images_fd, &fs) == 0 && fs.f_blocks && fs.f_bavail == 0)
		snprintf(out, bytes,
		         "it could not write its log nor images: the tmpfs for them is full");
	return out[0] != 0;
}

void criu_why(int images_fd, const char *log_name, const char *errmsg, pid_t pid, char *out,
              size_t bytes)
{
	struct stat st = { 0 };
	bool logged = fstatat(images_fd, log_name, &st, 0) == 0 && st.st_size > 0;

	criu_errors(images_fd, log_name, out, bytes);
	if (out[0] || (!logged && kept_from_writing(images_fd, pid, out, bytes)))
		return;
	if (errmsg && errmsg[0] && !is_harmless(errmsg))
		snprintf(out, bytes, "%s", bare(errmsg));
	else
		snprintf(out, bytes,
		         logged ? "no reason given" : "it gave no reason, and wrote no log");
	out[strcspn(out, "\n")] = 0;
}

/* Remedies for the most frequent refusals. */
static const struct {
	const char *word, *remedy;
} remedies[] = {
	{ "has bad size", "make the file the same on both hosts, and keep it so during the move" },
	{ "bad build-ID", "install the same version of the file on both hosts" },
	{ "File exists", "a pid of the tree was taken at the destination meanwhile: try again" },
	{ "Can't open file", "the file has to be at the same path on the destination" },
	{ "external", "haul check names what leads out of the tree; close it there" },
	{ "bind inet socket",
	  "a port of the tree is in use there, or was a minute ago (ss -tan) and the "
	  "program does not set SO_REUSEADDR: try again later" },
	{ "Can't lookup mount", "start the program with descriptors above 2 closed" },
	{ "ulimit -f", "start haul, or hauld, without that limit" },
	{ "tmpfs for them is full", "free memory on that host" },
	{ "", "haul check PID HOST may say more; nothing has changed, it can be tried again" },
};

const char *criu_remedy(const char *why)
{
	size_t i = 0;

	while (!strstr(why, remedies[i].word)) /* the last word is in every text */
		i++;
	return remedies[i].remedy;
}
