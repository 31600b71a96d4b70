/* SPDX-License-Identifier: GPL-2.0-or-later */
/* objects.h - shared memory of a tree as the tracker sees it; for the other files of the tracker. */
#ifndef HAUL_OBJECTS_H
#define HAUL_OBJECTS_H

#include "engine/proc/proc.h"
#include "engine/tracker/tracker.h"

/* A bit for each page. */
struct object_bits {
	uint64_t *word;
	size_t pages;
};

/* A piece of memory that lies on the kernel's own tmpfs: anonymous, memfd, System V. */
struct object {
	uint64_t inode; /* CRIU's number of it, too */
	int fd; /* to read it; it keeps the object alive */
	bool seen; /* mapped in the tree at this round, or look */
	bool loose; /* a mapping could write to it unseen */
	bool whole; /* this round reports all its pages */
	struct object_bits wrote, looked; /* found written: by a round, by a look */
};

struct objects {
	struct object **v; /* ascending by inode; pointers stay */
	size_t n, cap;
	bool armed; /* the back end sees writes to shared memory */
	uint64_t dev; /* of the kernel's own tmpfs; 0: not known */
	bool look; /* what objects_tell() reports: the look; else the round */
};

/** objects_init() - @armed: see struct objects */
void objects_init(struct objects *o, bool armed);
/** objects_has() - is it a mapping of such an object? */
bool objects_has(const struct objects *o, const struct vma *vma);
/** objects_get() - the object of a mapping that objects_has(). Return: NULL: it is gone, or no memory */
struct object *objects_get(struct objects *o, pid_t pid, const struct vma *vma);
/** objects_begin() - a round begins; @look: a look does */
void objects_begin(struct objects *o, bool look);
/** objects_wrote() - the mapping @vma of @x was found written. Return: 0; -ENOMEM */
int objects_wrote(const struct objects *o, struct object *x, const struct vma *vma, uint64_t vaddr,
                  uint64_t pages);
/** objects_tell() - see tracker_objects() */
int objects_tell(struct objects *o, tracker_obj_fn emit, void *arg);
/** objects_fd() - see tracker_object_fd() */
int objects_fd(const struct objects *o, uint64_t obj);
/** objects_fini() - close and forget all of them */
void objects_fini(struct objects *o);

#endif
