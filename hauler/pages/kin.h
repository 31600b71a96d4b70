/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kin.h - which pages do processes of the tree share since a fork? */
#ifndef HAUL_KIN_H
#define HAUL_KIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "transport/msg/frame.h"

struct kin;

/** kin_new() - nobody yet. Return: 0; -ENOMEM */
int kin_new(struct kin **out);
/** kin_set() - while no thread uses it: these processes; @twins: what they share is sent once */
void kin_set(struct kin *k, const pid_t *pid, size_t n, bool twins);
/** kin_many() - are there several processes? Then they are read by mem_read_shared() */
bool kin_many(const struct kin *k);
/** kin_has() - is @pid one of several, whose shared pages are sent once? */
bool kin_has(const struct kin *k, pid_t pid);
/** kin_frames() - @out: the frame of memory of each page of @pid; 0: not known */
void kin_frames(const struct kin *k, pid_t pid, uint64_t vaddr, size_t pages, uint64_t *out);
/* One of the processes. */
struct kin_process {
	pid_t pid, outer; /* outer: as this host knows it */
	int pagemap; /* open as long as kin_set() is not called again */
};
/* Page number @page of the range is @who's, too. Return: 0 to go on */
typedef int (*kin_fn)(void *arg, const struct kin_process *who, size_t page);
/**
 * kin_each() - for each other process, in order: its pages whose frame is that of @frames
 * @pages: at most FRAME_PAGES_MAX. Return: 0, or what @fn returned
 */
int kin_each(const struct kin *k, pid_t pid, uint64_t vaddr, const uint64_t *frames, size_t pages,
             kin_fn fn, void *arg);
/** kin_found() - was a page of this frame shared? After many in vain kin_tired() is true */
void kin_found(struct kin *k, bool any);
/** kin_tired() - do not ask any more until kin_set() */
bool kin_tired(const struct kin *k);
void kin_free(struct kin *k);

#endif
