// SPDX-License-Identifier: GPL-2.0-or-later
/* t-check-offer.c - offers made up here, and what the destination finds of them. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/check/check.h"
#include "common/auto.h"
#include "common/elf.h"
#include "tests/checks.h"
#include "transport/msg/haul.pb-c.h"

#define FILE_PATH "/var/tmp/t-check-file"
#define CRIU      40201
#define NAME(s)   ((char *)(s)) /* messages have no const */

/* An offer that this host can take, in parts that a test may change. */
struct set {
	struct utsname u;
	Haul__Offer o;
	Haul__Criu criu;
	Haul__File file;
	Haul__File *files[64];
	uint32_t pid[4];
	uint32_t uid;
	char *mount;
	struct check_host host;
};

/* A pid that was just given back. */
static uint32_t free_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return (uint32_t)pid;
}

static void good(struct set *s)
{
	memset(s, 0, sizeof(*s));
	uname(&s->u);
	haul__offer__init(&s->o);
	haul__criu__init(&s->criu);
	haul__file__init(&s->file);
	s->criu.version = CRIU;
	s->file.path = NAME("/etc/passwd");
	s->file.mode = S_IFREG | 0644;
	s->files[0] = &s->file;
	s->pid[0] = free_pid();
	s->mount = NAME("/proc");
	s->o.kernel = s->u.release;
	s->o.machine = s->u.machine;
	s->o.page_bytes = 4096;
	s->o.criu = &s->criu;
	s->o.rss_bytes = 1 << 20;
	s->o.n_pid = 1;
	s->o.pid = s->pid;
	s->o.root_pid = s->pid[0];
	s->o.n_file = 1;
	s->o.file = s->files;
	s->o.n_uid = 1;
	s->o.uid = &s->uid;
	s->o.n_mount = 1;
	s->o.mount = &s->mount;
	/* a CRIU that is none: the CPU check says that it cannot be done */
	s->host = (struct check_host){ .criu_path = "/bin/false",
		                       .criu_version = CRIU,
		                       .criu_lazy = true };
}

static const struct finding *find(const struct findings *f, const char *code)
{
	for (size_t k = 0; k < f->n; k++)
		if (!strcmp(f->v[k].code, code))
			return &f->v[k];
	return NULL;
}

/* @code with @severity, besides no blocker; NULL: no blocker at all */
static void expect(const char *name, struct set *s, const char *code, enum severity severity)
{
	struct findings f = { 0 };
	struct err e = ERR_INIT;
	int r = check_offer(&s->o, &s->host, &f, &e);
	const struct finding *hit = code ? find(&f, code) : NULL;

	CHECK(r == 0, "%s: %s", name, e.msg);
	CHECK(!code || (hit && hit->severity == severity), "%s: %s", name, code);
	CHECK(!hit || severity == SEV_INFO || hit->remedy[0], "%s: no remedy", name);
	for (size_t k = 0; k < f.n; k++) {
		CHECK(f.v[k].severity != SEV_BLOCKER || (code && !strcmp(f.v[k].code, code)),
		      "%s: %s besides: %s", name, f.v[k].code, f.v[k].text);
		if (getenv("SHOW") && code && !strcmp(f.v[k].code, code))
			printf("%s: %d %s: %s [%s]\n", name, f.v[k].severity, f.v[k].code,
			       f.v[k].text, f.v[k].remedy);
	}
	findings_fini(&f);
}

/* ---- the host ---- */

static void hosts(void)
{
	struct set s;

	good(&s);
	expect("all well", &s, NULL, SEV_INFO);
	s.o.kernel = NAME("2.6.32");
	expect("other kernel", &s, "kernel", SEV_INFO);
	good(&s);
	s.o.machine = NAME("vax");
	expect("other machine", &s, "machine", SEV_BLOCKER);
	good(&s);
	s.o.page_bytes = 65536;
	expect("other pages", &s, "page-size", SEV_BLOCKER);
	good(&s);
	s.host.criu_version = 0;
	s.host.criu_error = "no such file";
	expect("no CRIU", &s, "criu-missing", SEV_BLOCKER);
	good(&s);
	s.criu.version = CRIU + 100;
	expect("older CRIU", &s, "criu-older", SEV_BLOCKER);
	good(&s);
	s.criu.version = CRIU - 100;
	expect("newer CRIU", &s, NULL, SEV_INFO);
	good(&s);
	s.host.criu_lazy = false;
	expect("no userfaultfd", &s, "no-userfaultfd", SEV_BLOCKER);
	good(&s);
	s.uid = 3999999999u;
	expect("user without a name", &s, "user", SEV_INFO);
	good(&s);
	expect("CPU not known", &s, "cpu-unknown", SEV_WARNING);
	s.criu.cpuinfo = (ProtobufCBinaryData){ 4, (uint8_t *)"none" };
	expect("CPU information that is none", &s, "cpu-unknown", SEV_WARNING);

	static uint8_t bits[1024 + 1] = { 1 }; /* CPUs that threads are bound to */
	good(&s);
	s.o.cpus = (ProtobufCBinaryData){ 1024, bits };
	expect("a CPU that is here", &s, NULL, SEV_INFO);
	bits[1023] = 0x80;
	s.o.cpus = (ProtobufCBinaryData){ 1024, bits };
	expect("a CPU that is not here", &s, "cpu-missing", SEV_WARNING);
	s.o.cpus = (ProtobufCBinaryData){ 1025, bits };
	expect("more CPUs than Linux can have", &s, NULL, SEV_INFO);
}

static void memory(void)
{
	struct set s;
	uint64_t have = check_mem_free_bytes();

	CHECK(have > 1 << 20, "%llu free", (unsigned long long)have);
	good(&s);
	s.o.rss_bytes = have + 1;
	expect("more than there is", &s, "memory-short", SEV_BLOCKER);
	s.o.rss_bytes = have - 1;
	expect("all there is", &s, "memory-short", SEV_BLOCKER);
	s.o.rss_bytes = UINT64_MAX;
	expect("all there could be", &s, "memory-short", SEV_BLOCKER);
	s.o.rss_bytes = have / 2;
	expect("half of it", &s, have > 256 << 20 ? NULL : "memory-short", SEV_BLOCKER);
}

/* ---- pids ---- */

static void pids(void)
{
	struct findings f = { 0 };
	struct set s;
	uint32_t many[40];

	good(&s);
	s.pid[1] = (uint32_t)getpid();
	s.o.n_pid = 2;
	expect("taken", &s, "pid-taken", SEV_BLOCKER);
	CHECK(check_pids_free(s.pid, 1, &f) == 0 && f.n == 0, "%zu findings", f.n);
	CHECK(check_pids_free(s.pid, 2, &f) == 0 && f.blockers == 1, "%u blockers", f.blockers);
	CHECK(f.n && strstr(f.v[0].text, "t-check-offer"), "%s", f.n ? f.v[0].text : "");
	findings_fini(&f);
	for (size_t k = 0; k < ARRAY_SIZE(many); k++) {
		int parent = fork();

		if (parent == 0)
			for (;;)
				pause();
		many[k] = (uint32_t)parent;
	}
	CHECK(check_pids_free(many, ARRAY_SIZE(many), &f) == 0 && f.n == 17, "%zu findings", f.n);
	findings_fini(&f);
	for (size_t k = 0; k < ARRAY_SIZE(many); k++) {
		kill((pid_t)many[k], SIGKILL);
		waitpid((pid_t)many[k], NULL, 0);
	}
	good(&s);
	s.pid[0] = 4194304;
	expect("above every pid", &s, "pid-max", SEV_BLOCKER);
}

/* A leader that has ended; its number stays the name of the session. */
static void sessions(void)
{
	int p[2];
	pid_t member = 0;
	struct set s;

	good(&s);
	if (pipe(p) < 0)
		return;
	pid_t leader = fork();

	if (leader == 0) {
		setsid();
		member = fork();
		if (member == 0)
			for (;;)
				pause();
		_exit(write(p[1], &member, sizeof(member)) != sizeof(member));
	}
	waitpid(leader, NULL, 0);
	CHECK(read(p[0], &member, sizeof(member)) == sizeof(member), "member");
	s.pid[0] = (uint32_t)leader;
	expect("session without leader", &s, "pid-taken", SEV_BLOCKER);
	kill(member, SIGKILL);
	close(p[0]);
	close(p[1]);
}

/* ---- files ---- */

static void file(const char *name, struct set *s, const char *code)
{
	expect(name, s, code, SEV_BLOCKER);
	good(s);
	s->file.path = NAME(FILE_PATH);
	s->file.mode = S_IFREG | 0640;
	s->file.size = 5;
}

static void missing(struct set *s)
{
	s->file.path = NAME("/nowhere/at/all");
	s->mount = NAME("/nowhere");
	s->file.open = true;
	file("missing", s, "file-missing");
	s->file.path = NAME("/nowhere/at/all");
	s->file.directory = true;
	file("missing directory", s, "file-missing");
	s->mount = NAME("/nowhere");
	expect("missing mount point", s, "mount", SEV_INFO);
	s->file.path = NAME("/nowhere/gone (deleted)");
	s->file.open = true;
	file("with a name like that of a deleted one", s,
	     "file-missing"); /* those are not offered */
	s->file.path = NAME("/proc/3999999/status");
	file("of a process", s, NULL);
	s->file.path = NAME("/proc/3999999x");
	file("named like one of a process", s, NULL);
	s->file.path = NAME("/proc/nothing");
	file("missing in /proc", s, "file-missing");
	s->file.path = NAME("/dev/nothing");
	s->file.mode = S_IFCHR | 0666;
	file("missing device", s, "file-missing");
	s->file.path = NAME("/dev/null");
	s->file.mode = S_IFCHR | 0666;
	s->file.open = true;
	file("device", s, NULL);
}

static void differing(struct set *s)
{
	s->file.open = true;
	file("same", s, NULL);
	s->file.open = s->file.write = true;
	s->file.size = 6;
	file("written, other size", s, "file-differs");
	s->file.write = true;
	s->file.size = 6;
	file("appended to, other size", s, NULL);
	s->file.mapped = true;
	s->file.size = 6;
	file("mapped, other size", s, "file-differs");
	s->file.open = true;
	s->file.mode = S_IFREG | 0644;
	file("other mode", s, "file-mode");
	s->file.open = true;
	s->file.mode = S_IFIFO | 0640;
	file("other type", s, "file-differs");
	s->file.directory = true;
	file("no directory", s, "file-differs");
	s->file.mapped = true;
	s->file.build_id = (ProtobufCBinaryData){ 2, (uint8_t *)"id" };
	file("no build-id here", s, "file-differs");
	s->file.path = NAME("/proc/sys/kernel/ostype");
	s->file.mode = S_IFREG | 0444;
	s->file.size = 0;
	s->file.mapped = true;
	s->file.build_id = (ProtobufCBinaryData){ 2, (uint8_t *)"id" };
	file("a file of /proc as a program", s, "file-differs");
}

/* This program, with its own build-id and with another one. */
static void programs(struct set *s)
{
	static char exe[512];
	uint8_t id[64];
	struct stat st;

	AUTO(fd) int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	size_t n = elf_build_id(fd, id, sizeof(id));

	CHECK(n > 0 && fstat(fd, &st) == 0, "this program has no build-id");
	CHECK(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0, "its name");
	for (int k = 0; k < 2; k++) {
		s->file.path = exe;
		s->file.mode = st.st_mode;
		s->file.size = (uint64_t)st.st_size;
		s->file.mapped = true;
		s->file.build_id = (ProtobufCBinaryData){ n, id };
		file(k ? "other build" : "same build", s, k ? "file-differs" : NULL);
		id[0] ^= 1;
	}
}

static void many(struct set *s)
{
	static Haul__File bad[64];
	static char name[64][32];
	struct findings f = { 0 };
	struct err e = ERR_INIT;

	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		haul__file__init(&bad[k]);
		snprintf(name[k], sizeof(name[k]), "/nowhere/\x1b[%zu", k);
		bad[k].path = name[k];
		s->files[k] = &bad[k];
	}
	s->o.n_file = ARRAY_SIZE(bad);
	CHECK(check_offer(&s->o, &s->host, &f, &e) == 0, "%s", e.msg);
	CHECK(f.blockers == 17, "%u blockers", f.blockers);
	for (size_t k = 0; k < f.n; k++)
		CHECK(!strchr(f.v[k].text, 0x1b), "an escape sequence");
	findings_fini(&f);
}

static void files(void)
{
	struct set s;
	AUTO(fd) int fd = open(FILE_PATH, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && write(fd, "12345", 5) == 5 && fchmod(fd, 0640) == 0, FILE_PATH);
	good(&s);
	file("/etc/passwd", &s, NULL);
	missing(&s);
	differing(&s);
	programs(&s);
	many(&s);
	unlink(FILE_PATH);
}

/* ---- ports ---- */

/* A socket of this process at @addr. Return: its port */
static uint32_t occupy(int *fd, const char *addr, int type, bool v6only, bool reuse)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	bool v6 = inet_pton(AF_INET6, addr, &a6.sin6_addr) == 1;
	struct sockaddr *a = v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4;
	socklen_t n = v6 ? sizeof(a6) : sizeof(a4);
	int only = v6only, on = reuse;

	*fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return 0;
	inet_pton(AF_INET, addr, &a4.sin_addr);
	if (v6)
		setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(*fd, a, n) < 0 || (type == SOCK_STREAM && listen(*fd, 1) < 0) ||
	    getsockname(*fd, a, &n) < 0)
		return 0;
	return ntohs(v6 ? a6.sin6_port : a4.sin_port);
}

/* Something at @here; the tree wants the same port of @want. */
static const struct port_case {
	const char *name, *here, *want, *code;
	int type;
	bool v6only_here, v6only_want, reuse;
} port_cases[] = {
	{ "the same", "127.0.0.1", "127.0.0.1", "port-taken", .type = SOCK_STREAM },
	{ "any here", "0.0.0.0", "127.0.0.1", "port-taken", .type = SOCK_STREAM },
	{ "any there", "127.0.0.1", "0.0.0.0", "port-taken", .type = SOCK_STREAM, .reuse = true },
	{ "another address", "127.0.0.1", "127.0.0.2", NULL, .type = SOCK_STREAM },
	{ "IPv6, the same", "::1", "::1", "port-taken", .type = SOCK_STREAM },
	{ "IPv6 for both here", "::", "127.0.0.1", "port-taken", .type = SOCK_STREAM },
	{ "IPv6 only here", "::", "0.0.0.0", NULL, .type = SOCK_STREAM, .v6only_here = true },
	{ "IPv6 for both there", "127.0.0.1", "::", "port-taken", .type = SOCK_STREAM },
	{ "IPv6 only there", "127.0.0.1", "::", NULL, .type = SOCK_STREAM, .v6only_want = true },
	{ "IPv4 in IPv6", "::ffff:127.0.0.1", "127.0.0.1", "port-taken", .type = SOCK_STREAM },
	{ "another family", "::1", "127.0.0.1", NULL, .type = SOCK_STREAM },
	{ "UDP", "0.0.0.0", "127.0.0.1", "port-taken", .type = SOCK_DGRAM },
	{ "UDP, shared", "0.0.0.0", "0.0.0.0", "port-shared", .type = SOCK_DGRAM, .reuse = true },
};

static void one_port(const struct port_case *c, bool other_protocol)
{
	Haul__Port port = HAUL__PORT__INIT, *ports = &port;
	uint8_t addr[16];
	struct set s;

	AUTO(fd) int fd = -1;
	uint32_t number = occupy(&fd, c->here, c->type, c->v6only_here, c->reuse);

	if (!number) {
		printf("port, %s: not possible here\n", c->name);
		return;
	}
	bool v6 = inet_pton(AF_INET6, c->want, addr) == 1;

	CHECK(v6 || inet_pton(AF_INET, c->want, addr) == 1, "%s", c->want);
	good(&s);
	port.address = (ProtobufCBinaryData){ v6 ? 16 : 4, addr };
	port.port = number;
	port.udp = (c->type == SOCK_DGRAM) != other_protocol;
	port.v6only = c->v6only_want;
	s.o.n_port = 1;
	s.o.port = &ports;
	expect(c->name, &s, other_protocol ? NULL : c->code,
	       c->code && !strcmp(c->code, "port-shared") ? SEV_WARNING : SEV_BLOCKER);
	if (!c->code || other_protocol)
		return;
	struct findings f = { 0 };
	char word[40];

	snprintf(word, sizeof(word), "pid %d (t-check-offer)", getpid());
	CHECK(ports_check(&s.o, &f) == 0 && f.n == 1, "%s: %zu findings", c->name, f.n);
	CHECK(f.n && strstr(f.v[0].text, word), "%s", f.n ? f.v[0].text : "");
	snprintf(word, sizeof(word), "port %u of %s", number, c->want);
	CHECK(f.n && strstr(f.v[0].text, word), "%s", f.n ? f.v[0].text : "");
	findings_fini(&f);
}

/* An address that no host has (RFC 5737), one that comes along, and one that every host has. */
static void addresses(void)
{
	uint8_t four[4] = { 192, 0, 2, 77 },
	        mapped[16] = { [10] = 0xff, [11] = 0xff, 192, 0, 2, 77 };
	uint8_t group[4] = { 239, 1, 2, 3 };
	Haul__Port port = HAUL__PORT__INIT, *ports = &port;
	Haul__Move move = HAUL__MOVE__INIT, *moves = &move;
	Haul__Net net = HAUL__NET__INIT;
	struct set s;

	good(&s);
	port.port = 5353;
	port.udp = true;
	s.o.n_port = 1;
	s.o.port = &ports;
	port.address = (ProtobufCBinaryData){ 4, four };
	expect("address that is missing", &s, "address-missing", SEV_BLOCKER);
	port.address = (ProtobufCBinaryData){ 16, mapped };
	expect("the same in IPv6", &s, "address-missing", SEV_BLOCKER);
	move.addr = (ProtobufCBinaryData){ 4, four };
	net.n_move = 1;
	net.move = &moves;
	s.o.net = &net;
	expect("address that comes along", &s, NULL, SEV_INFO);
	s.o.net = NULL;
	port.address = (ProtobufCBinaryData){ 4, group };
	expect("address of a group", &s, NULL, SEV_INFO);
}

/* UNIX sockets here that listen, that are bound for datagrams, and a file that one has left. */
static void unix_names(void)
{
	static const char *const names[] = { "/tmp/t-check-offer.sock", "@t-check-offer" };
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM };

	for (int k = 0; k < 4; k++) {
		struct sockaddr_un a = { .sun_family = AF_UNIX };
		char *name = NAME(names[k / 2]);
		AUTO(fd) int fd = socket(AF_UNIX, types[k & 1] | SOCK_CLOEXEC, 0);
		struct set s;

		unlink(names[0]);
		strcpy(a.sun_path, name);
		if (name[0] == '@')
			a.sun_path[0] = 0;
		socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));

		CHECK(bind(fd, (struct sockaddr *)&a, n) == 0, "%s: %s", name, strerror(errno));
		CHECK(types[k & 1] == SOCK_DGRAM || listen(fd, 1) == 0, "listen: %s", name);
		good(&s);
		s.o.n_unix_name = 1;
		s.o.unix_name = &name;
		expect(name, &s, "unix-taken", SEV_BLOCKER);
		close(steal_fd(&fd));
		expect("the name after its program", &s, NULL, SEV_INFO);
	}
	unlink(names[0]);
}

static void ports(void)
{
	for (size_t k = 0; k < ARRAY_SIZE(port_cases); k++) {
		one_port(&port_cases[k], false);
		one_port(&port_cases[k], true);
	}
}

/* ---- what nobody would send ---- */

static void refused(const char *name, struct set *s)
{
	struct findings f = { 0 };
	struct err e = ERR_INIT;
	int r = check_offer(&s->o, &s->host, &f, &e);

	CHECK(r == -EBADMSG && e.src == ERR_PEER, "%s: %d %s", name, r, e.msg);
	findings_fini(&f);
	good(s);
}

static void nonsense(void)
{
	static char path[8192];
	struct set s;

	memset(path, '/', sizeof(path) - 1);
	good(&s);
	s.o.n_pid = 0;
	refused("no pid", &s);
	s.o.n_pid = 1 << 30;
	refused("too many pids", &s);
	s.pid[0] = 0;
	refused("pid 0", &s);
	s.pid[0] = UINT32_MAX;
	refused("pid -1", &s);
	s.o.n_file = 1 << 30;
	refused("too many files", &s);
	s.o.n_uid = 1 << 30;
	refused("too many users", &s);
	s.o.n_mount = 1 << 30;
	refused("too many mounts", &s);
	s.file.path = NAME("../etc/passwd");
	refused("relative file", &s);
	s.file.path = NAME("");
	refused("file without name", &s);
	s.file.path = path;
	refused("very long name", &s);
	s.mount = NAME("proc");
	refused("relative mount", &s);
	Haul__Port port = HAUL__PORT__INIT, *ports_ = &port;

	port.port = 65536;
	port.address = (ProtobufCBinaryData){ 4, (uint8_t *)path };
	s.o.n_port = 1;
	s.o.port = &ports_;
	refused("a port that is none", &s);
	port.port = 80;
	port.address.len = 5;
	s.o.n_port = 1;
	s.o.port = &ports_;
	refused("an address of five bytes", &s);
	s.o.n_port = 1 << 30;
	refused("too many ports", &s);
}

int main(void)
{
	hosts();
	memory();
	pids();
	sessions();
	files();
	ports();
	addresses();
	unix_names();
	nonsense();
	return checks_end();
}
