/* SPDX-License-Identifier: GPL-2.0-or-later */
/* img_priv.h - framing of image files, for those that read or write them. */
#ifndef HAUL_ENGINE_IMG_PRIV_H
#define HAUL_ENGINE_IMG_PRIV_H

#include "engine/images/images.pb-c.h"
#include "engine/images/img.h"

#define MAGIC_COMMON 0x54564319u
#define MAGIC_CORE   0x55053847u
#define MAGIC_FILES  0x56303138u
#define MAGIC_FDINFO 0x56213732u

/** img_put_le32() - store @v at @p, lowest byte first */
void img_put_le32(uint8_t *p, uint32_t v);
/** img_put_message() - write @m as images have it: its size, then itself. Return: 0; -errno */
int img_put_message(FILE *out, const ProtobufCMessage *m);
/** img_put_pages() - write an entry of a page map. @flags: PE_... Return: 0; -errno */
int img_put_pages(FILE *out, uint64_t vaddr, uint64_t pages, uint32_t flags);
/** img_next() - the next message of an image at *at. Return: 1, 0 at the end, -EBADMSG */
int img_next(const uint8_t *img, size_t bytes, size_t *at, const uint8_t **msg, size_t *n);
/** img_load_framed() - a whole image; messages start at 8. @img: the caller's */
int img_load_framed(int dirfd, const char *name, uint32_t magic, uint8_t **img, size_t *bytes,
                    struct err *e);

/** img_unpack_core() - core-TID.img. @out: for cimg__core__free_unpacked(). Return: 0; -errno */
int img_unpack_core(int dirfd, pid_t tid, Cimg__Core **out, struct err *e);
/** img_save_core() - core-TID.img, written anew. Return: 0; -errno */
int img_save_core(int dirfd, pid_t tid, const Cimg__Core *c, struct err *e);
/* An image of several messages of one kind. */
struct img_kind {
	const char *name;
	uint32_t magic;
	const ProtobufCMessageDescriptor *of;
};
/* Changes one message. Return: 1 changed; 0 as it was; -errno with @e: the image stays as it is */
typedef int (*img_change_fn)(void *arg, ProtobufCMessage *m, struct err *e);
/** img_edit() - write an image anew, each message as @fn leaves it. Return: 0; -errno */
int img_edit(int dirfd, const struct img_kind *kind, img_change_fn fn, void *arg, struct err *e);
struct Cimg__File;
/* Changes one entry of files.img. Return: 1 changed; 0 as it was; -errno with @e: the file stays as it is */
typedef int (*img_edit_fn)(void *arg, struct Cimg__File *f, struct err *e);
/** img_edit_files() - write files.img anew, each entry as @fn leaves it. Return: 0; -errno */
int img_edit_files(int dirfd, img_edit_fn fn, void *arg, struct err *e);

struct Cimg__Fdinfo;
/* A descriptor of @pid, or of one that shares its table. Return: 0; -errno ends it */
typedef int (*img_fd_fn)(void *arg, pid_t pid, const struct Cimg__Fdinfo *d);
/** img_each_fd() - call @fn for each descriptor of the tree; each table once. Return: 0; -errno */
int img_each_fd(int dirfd, const struct img_tree *tree, img_fd_fn fn, void *arg, struct err *e);

/**
 * root_enter() - a mount namespace of its own, in which @root has a /proc: between fork and exec.
 * The namespace and the mount end with the last process in it. @out: descriptor for the error
 * message before _exit()
 */
void root_enter(const char *root, int out);

/** img_load_message() - the first message of an image. @out: unpacked, the caller's. Return: 0; -errno */
int img_load_message(int dirfd, const char *name, uint32_t magic,
                     const ProtobufCMessageDescriptor *type, void **out, struct err *e);
/** img_save_message() - an image of one message, written anew. Return: 0; -errno */
int img_save_message(int dirfd, const char *name, uint32_t magic, const ProtobufCMessage *m,
                     struct err *e);

#endif
