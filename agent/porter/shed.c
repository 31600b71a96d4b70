// SPDX-License-Identifier: GPL-2.0-or-later
/* shed.c - a process gives up what root has. */
#include "agent/porter/shed.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/log.h"
#include "common/host/rundir.h"

#define RUN_DIR   "/run/haul"
#define NOBODY    65534
#define FILES_MAX 1024
#define DATA_MAX  (512UL << 20)
#define NICE      5

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define LOAD(field)   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define DENY(code)    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (code))
#define NO(call)      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##call, 0, 1), DENY(EPERM)
#define UNLESS(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0)

/* It has sockets and memory. What else could be had by a system call is refused. */
static int close_calls(struct err *e)
{
	static struct sock_filter rules[] = {
#ifdef ARCH
		LOAD(arch),
		UNLESS(ARCH),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
#endif
		LOAD(nr),
#ifdef __x86_64__
		/* the numbers of x32 */
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		NO(open),
		NO(creat),
		NO(fork),
		NO(vfork),
#endif
		NO(accept),
		NO(accept4),
		NO(add_key),
		NO(bind),
		NO(bpf),
		NO(chroot),
		NO(connect),
		NO(execve),
		NO(execveat),
		NO(init_module),
		NO(finit_module),
		NO(io_setup),
		NO(kcmp),
		NO(kexec_load),
		NO(keyctl),
		NO(kill),
		NO(linkat),
		NO(listen),
		NO(memfd_create),
		NO(mkdirat),
		NO(mknodat),
		NO(mount),
		NO(name_to_handle_at),
		NO(open_by_handle_at),
		NO(openat),
		NO(perf_event_open),
		NO(personality),
		NO(pivot_root),
		NO(process_vm_readv),
		NO(process_vm_writev),
		NO(ptrace),
		NO(request_key),
		NO(setns),
		NO(shmget),
		NO(socket),
		NO(socketpair),
		NO(symlinkat),
		NO(umount2),
		NO(unlinkat),
		NO(unshare),
		NO(userfaultfd),
#ifdef __NR_io_uring_setup
		NO(io_uring_setup),
#endif
#ifdef __NR_openat2
		NO(openat2),
#endif
#ifdef __NR_pidfd_open
		NO(pidfd_open),
#endif
#ifdef __NR_pidfd_getfd
		NO(pidfd_getfd),
#endif
#ifdef __NR_clone3
		/* the C library then uses clone(), of which the flags can be seen */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone3, 0, 1),
		DENY(ENOSYS),
#endif
		/* threads only */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 3),
		LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
		DENY(EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog f = { .len = ARRAY_SIZE(rules), .filter = rules };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f) < 0 ? err_sys(e, "seccomp") : 0;
}

/* A directory that is removed while we are in it: nothing can be made there. */
static int empty_root(struct err *e)
{
	char path[64];
	int r = rundir_make(RUN_DIR, 0755, e);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), RUN_DIR "/porter.%d", (int)getpid());
	if (mkdir(path, 0700) < 0)
		return err_sys(e, "%s", path);
	AUTO(fd) int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (rmdir(path) < 0 || fd < 0 || fchdir(fd) < 0 || chroot(".") < 0)
		return err_sys(e, "an empty root directory");
	return 0;
}

static void limit(int what, rlim_t max)
{
	struct rlimit l = { max, max };

	setrlimit(what, &l);
}

static void limit_all(void)
{
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, FILES_MAX);
	limit(RLIMIT_MSGQUEUE, 0);
	limit(RLIMIT_MEMLOCK, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	limit(RLIMIT_DATA, DATA_MAX);
#endif
	setpriority(PRIO_PROCESS, 0, NICE);
}

static int drop_rights(struct err *e)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } }, left[2];

	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return err_sys(e, "become nobody");
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &h, none) < 0 || syscall(SYS_capget, &h, left) < 0)
		return err_sys(e, "capabilities");
	if (left[0].permitted || left[1].permitted || setuid(0) == 0)
		return err_set(e, ERR_BUG, EPERM, "rights of root are left");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, "prctl");
	return 0;
}

int shed_everything(struct err *e)
{
	/* sockets that it is given stay what they are; where it fails: new ones are refused below, too */
	if (unshare(CLONE_NEWNET | CLONE_NEWIPC) < 0)
		log_info("porter: in the network of the host: %s", strerror(errno));
	limit_all();
	int r = empty_root(e);

	if (r == 0)
		r = drop_rights(e);
	return r < 0 ? r : close_calls(e);
}
