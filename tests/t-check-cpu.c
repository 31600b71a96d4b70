// SPDX-License-Identifier: GPL-2.0-or-later
/* t-check-cpu.c - CPUs compared by the real CRIU: its own is fine, nonsense is a warning. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/check/check.h"
#include "common/clock.h"
#include "common/conf.h"
#include "engine/criu/criu.h"
#include "engine/images/img.h"
#include "transport/msg/haul.pb-c.h"

static char path[4096];
static unsigned int failed;

/* @bytes of cpuinfo.img are offered; @code (NULL: nothing) is found of the CPU */
static void expect(const char *name, uint8_t *data, size_t bytes, const char *code)
{
	struct check_host host = { .criu_path = path, .criu_version = 40201, .criu_lazy = true };
	Haul__Offer o = HAUL__OFFER__INIT;
	Haul__Criu criu = HAUL__CRIU__INIT;
	struct findings f = { 0 };
	struct err e = ERR_INIT;
	struct utsname u;
	const char *got = NULL;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	uint32_t id = (uint32_t)pid;

	uname(&u);
	o.machine = u.machine;
	o.kernel = u.release;
	o.page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	o.criu = &criu;
	o.pid = &id;
	o.n_pid = 1;
	criu.version = 40201;
	criu.cpuinfo = (ProtobufCBinaryData){ bytes, data };
	int r = check_offer(&o, &host, &f, &e);

	for (size_t k = 0; k < f.n; k++)
		if (!strncmp(f.v[k].code, "cpu", 3)) {
			got = f.v[k].code;
			printf("%s: %s: %s\n", name, got, f.v[k].text);
		}
	if (r < 0 || !got != !code || (got && strcmp(got, code))) {
		printf("%s: %s (%s), not %s\n", name, got ? got : "nothing", e.msg,
		       code ? code : "nothing");
		failed++;
	}
	findings_fini(&f);
}

int main(void)
{
	AUTO(fd) int dir = -1;
	AUTO(mem) uint8_t *cpu = NULL;
	struct err e = ERR_INIT;
	size_t n = 0;

	if (geteuid() != 0 || conf_criu(path, sizeof(path), getenv("HAUL_CRIU"), "", &e) < 0 ||
	    img_dir(&dir, &e) < 0 ||
	    criu_cpuinfo(path, dir, false, deadline_in_ms(10000), &e) < 0) {
		printf("skipped: %s\n", e.msg[0] ? e.msg : "needs root");
		return 77;
	}
	if (img_load(dir, "cpuinfo.img", 1 << 20, &cpu, &n, &e) < 0) {
		printf("cpuinfo.img: %s\n", e.msg);
		return 1;
	}
	expect("its own CPU", cpu, n, NULL);
	expect("half of it", cpu, n / 2, "cpu-unknown");
	for (size_t k = 12; k < n; k++)
		cpu[k] = 0xff;
	expect("nonsense", cpu, n, "cpu-unknown");
	return failed ? 1 : 0;
}
