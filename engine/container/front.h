/* SPDX-License-Identifier: GPL-2.0-or-later */
/* front.h - the program in front of CRIU: what a container runtime finds as `criu`. */
#ifndef HAUL_FRONT_H
#define HAUL_FRONT_H

#include <stdbool.h>

#define FRONT_SOCKET "haul.sock" /* in the folder of PATH that has us as `criu` */
#define FRONT_FD_FIRST                                                                             \
	250 /* descriptors that haul adds to CRIU's table: no runtime counts that far */
#define FRONT_FDS_MAX 40

/* What haul answers to a program in front: end, or become the CRIU at @path. */
struct front_answer {
	bool become;
	bool cgroup_space; /* in a cgroup namespace of its own: the runtime has put it into the container's cgroup */
	char path[512];
};

/** front_called() - was this program called by the name of CRIU? */
bool front_called(const char *argv0);
/**
 * front_main() - hand the runtime's socket to the haul that waits, and do what it answers; when none waits, become the
 * next `criu` of PATH, with the same arguments
 */
int front_main(char **argv);

#endif
