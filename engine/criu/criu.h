/* SPDX-License-Identifier: GPL-2.0-or-later */
/* criu.h - one `criu swrk` process and its RPC. */
#ifndef HAUL_CRIU_H
#define HAUL_CRIU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/auto.h"
#include "common/err.h"

struct criu;

/* CRIU's notification scripts and final answers, parsed once, here. */
enum criu_event {
	CRIU_EV_NONE,
	CRIU_EV_PRE_DUMP, /* dump: options accepted, nothing stopped yet */
	CRIU_EV_NETWORK_LOCK,
	CRIU_EV_QUERY_EXT_FILES, /* dump: tree is stopped */
	CRIU_EV_POST_DUMP, /* dump: images complete, tree held by ptrace */
	CRIU_EV_NETWORK_UNLOCK,
	CRIU_EV_PRE_RESTORE, /* restore: nothing forked yet */
	CRIU_EV_SETUP_NS,
	CRIU_EV_POST_SETUP_NS,
	CRIU_EV_POST_RESTORE, /* restore: the gate; no user code has run */
	CRIU_EV_PRE_RESUME,
	CRIU_EV_POST_RESUME,
	CRIU_EV_OTHER, /* a notification that we ignore */
	CRIU_EV_DONE, /* final answer: success */
	CRIU_EV_FAILED, /* final answer: refused; see the error */
};

/*
 * Files without a name travel in the images, up to this size each; larger ones would fill the
 * memory.
 */
#define CRIU_GHOST_MAX_BYTES (1u << 30)
/* A descriptor that takes a file's place in a restore. */
struct criu_inherit {
	char key[64]; /* the file's name, as CRIU calls it */
	int fd; /* ours; CRIU gets a copy */
};

#define CRIU_INHERIT_MAX 32

struct criu_opts {
	const char *parent; /* dump: name given to img_parent(); NULL: all pages are streamed */
	int images_fd; /* directory, ours; must stay open */
	pid_t pid; /* dump: root of the tree */
	bool tcp_close; /* drop TCP connections instead of moving them */
	bool shell_job;
	bool ext_unix;
	bool file_locks;
	bool sibling; /* restore: the root becomes a child of CRIU's parent, not of CRIU */
	const char *log_name; /* file in images_fd */
	unsigned int version; /* of this CRIU */
	char *const *external; /* dump: files whose other end may stay behind */
	size_t n_external;
	const struct criu_inherit *inherit; /* restore: as for criu_spawn_rooted() */
	size_t n_inherit;
	/* a request of a container runtime's, whose other options hold; NULL: none */
	const uint8_t *base;
	size_t base_bytes;
	int inherit_first; /* with @base: number of the first of @inherit in CRIU's table */
};

/* The first version that makes a call between the stop and the dump. */
#define CRIU_SAYS_STOPPED  31900
#define CRIU_LEAVE_STOPPED 40000

/** criu_event_of() - the notification that CRIU calls @script */
enum criu_event criu_event_of(const char *script);

/**
 * criu_leaves_stopped() - does this CRIU leave the tree stopped after a dump?
 * One that cannot (before 4.0) is told to resume it: to keep it stopped, the caller sends SIGSTOP
 * before the last answer to the dump, while ptrace still holds all threads.
 */
static inline bool criu_leaves_stopped(unsigned int version)
{
	return version >= CRIU_LEAVE_STOPPED;
}

/**
 * criu_spawn() - start `PATH swrk`, idle until asked
 * @page_fd: one end of a socketpair for the page stream, or -1; not taken
 */
int criu_spawn(struct criu **out, const char *path, int page_fd, struct err *e);

/**
 * criu_spawn_scanned() - the same, with CRIU's page scans passed to us
 * @opens:    and its opens, among which are those of smaps
 * @listener: out: for scans_start(); -1 where seccomp does not allow it
 */
int criu_spawn_scanned(struct criu **out, const char *path, int page_fd, bool opens, int *listener,
                       struct err *e);

/**
 * criu_spawn_rooted() - start a CRIU that will restore, with copies of the descriptors of @v
 * @root: the tree's root directory; NULL: the host's. With one it runs in a mount namespace of its own, with a /proc in @root; the tree will live in that
 * namespace.
 */
int criu_spawn_rooted(struct criu **out, const char *path, const char *root,
                      const struct criu_inherit *v, size_t n, struct err *e);

/** criu_spawn_beside() - the same, in the mount and UTS namespace of process @beside */
int criu_spawn_beside(struct criu **out, const char *path, pid_t beside,
                      const struct criu_inherit *v, size_t n, struct err *e);

/**
 * criu_spawn_for() - start one for another process, which adopts it
 * @rpc: CRIU's end of a socket pair that the other process has made: CRIU finds the images by that one's pid
 */
int criu_spawn_for(const char *path, int rpc, const struct criu_inherit *v, size_t n, pid_t *pid,
                   struct err *e);

/** criu_version() - ask the running CRIU; 4.2.1 is 40201 */
int criu_version(struct criu *c, unsigned int *version, uint64_t deadline_us, struct err *e);
/** criu_has_lazy() - restore with userfaultfd possible on this host? */
int criu_has_lazy(struct criu *c, bool *yes, uint64_t deadline_us, struct err *e);

/** criu_cpuinfo() - dump cpuinfo.img into @images_fd, or check the one there */
int criu_cpuinfo(const char *path, int images_fd, bool check, uint64_t deadline_us, struct err *e);

/** criu_dump() - ask for a push-mode dump that leaves the tree stopped */
int criu_dump(struct criu *c, const struct criu_opts *o, struct err *e);
/** criu_restore() - ask for a restore with lazy pages, held at the gate */
int criu_restore(struct criu *c, const struct criu_opts *o, struct err *e);

/**
 * criu_next() - wait for the next event
 * @pid: out, may be NULL: root of the restored tree at POST_RESTORE and DONE
 * Return: 0 and *ev (CRIU_EV_FAILED sets @e from CRIU's own log lines);
 * -ETIMEDOUT; -ECANCELED after criu_cancel(); -ECONNRESET CRIU died
 */
int criu_next(struct criu *c, enum criu_event *ev, pid_t *pid, uint64_t deadline_us, struct err *e);
/** criu_reply() - answer a notification; false refuses */
int criu_reply(struct criu *c, bool ok, struct err *e);
/**
 * criu_pump() - accept every notification until @want arrives
 * A final event that is not @want is an error.
 */
int criu_pump(struct criu *c, enum criu_event want, pid_t *pid, uint64_t deadline_us,
              struct err *e);
/** criu_rpc() - our end of its socket, for a successor of this process */
int criu_rpc(const struct criu *c);
/** criu_adopt() - take over a CRIU that another process has spawned; @rpc: taken */
int criu_adopt(struct criu **out, int rpc, pid_t pid, struct err *e);
/**
 * criu_relay() - this CRIU was wanted by another program, which hears its notifications before they are answered, and
 * its last answer
 * @rpc: connection to that program; taken
 */
void criu_relay(struct criu *c, int rpc);
/** criu_relay_now() - let that program hear the notification that waits, before criu_reply(). Return: 0; -EPERM it refuses; -errno */
int criu_relay_now(struct criu *c, struct err *e);
/** criu_relay_rpc() - its connection; -1: none */
int criu_relay_rpc(const struct criu *c);
/** criu_cancel() - from any thread: criu_next() returns -ECANCELED from now on */
void criu_cancel(struct criu *c);
/** criu_pid() - of the CRIU process */
pid_t criu_pid(const struct criu *c);
/** criu_ends() - close its socket and give it 2 s to end. Return: false: it runs still, and criu_free() kills it */
bool criu_ends(struct criu *c);
/** criu_free() - close its socket, give it 2 s to end, then kill it; reap it */
void criu_free(struct criu *c);
DEFINE_AUTO(criu, criu_free)

/** criu_errors() - the first "Error" lines of a CRIU log, joined, in @out */
void criu_errors(int images_fd, const char *log_name, char *out, size_t bytes);
/**
 * criu_why() - the cause of a refusal: those lines; else @errmsg, CRIU's own one-line message,
 * unless it is harmless; else the reason why CRIU could not write
 * @pid: of CRIU, for its limits; 0: not known
 */
void criu_why(int images_fd, const char *log_name, const char *errmsg, pid_t pid, char *out,
              size_t bytes);
/** criu_remedy() - what can be done about the refusal @why */
const char *criu_remedy(const char *why);

/* ---- hwbreak.c: machines whose hardware breakpoints are never hit ---- */

/**
 * hwbreak_env() - the environment for CRIU: ours, with CRIU_FAULT added where breakpoints are
 * never hit. Static
 */
char **hwbreak_env(void);

#endif
