/* SPDX-License-Identifier: GPL-2.0-or-later */
/* err.h - the one error object: on the stack, never allocates, first wins. */
#ifndef HAUL_ERR_H
#define HAUL_ERR_H

#include <errno.h>
#include <stdarg.h>

enum err_src {
	ERR_NONE,
	ERR_SYS, /* a system call failed */
	ERR_USER, /* bad command line, file or environment */
	ERR_PEER, /* the other host broke the protocol or refused */
	ERR_LINK, /* the connection is gone, stalled or not trusted */
	ERR_CRIU, /* CRIU refused; msg holds its own error line */
	ERR_TARGET, /* the process cannot be moved as it is */
	ERR_STOPPED, /* the user asked to stop */
	ERR_BUG, /* haul contradicts itself: undo, do not abort */
};

#define ERR_MSG_BYTES 768
#define ERR_FIX_BYTES 256

struct err {
	enum err_src src;
	int code; /* +errno */
	char msg[ERR_MSG_BYTES]; /* the cause, outermost context first */
	char fix[ERR_FIX_BYTES]; /* the remedy, or empty */
};

#define ERR_INIT                                                                                   \
	{                                                                                          \
		.src = ERR_NONE                                                                    \
	}

/**
 * err_set() - record an error, unless one is recorded already
 * @e:    may be NULL (then only the code is returned)
 * @code: +errno
 * Return: -@code, so that callers write return err_set(...)
 */
int err_set(struct err *e, enum err_src src, int code, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

/** err_sys() - err_set(ERR_SYS, errno, "...: strerror"). Return: -errno */
int err_sys(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** err_code() - what a function that failed with @e returns: -code, or -EIO if none was set */
static inline int err_code(const struct err *e)
{
	return e->code ? -e->code : -EIO;
}
/** err_wrap() - put "context: " before a recorded error. Return: -e->code */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** err_fix() - say what the user can do about it; first wins. Return: -e->code */
int err_fix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** err_clear() - forget the error, so that @e can be used for another attempt */
void err_clear(struct err *e);

/** err_src_name() - stable lower-case word for --json and logs */
const char *err_src_name(enum err_src src);

#endif
