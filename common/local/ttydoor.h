/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ttydoor.h - the protocol to attach to the terminal of a process that was hauled here: a Unix
 * socket (SOCK_SEQPACKET) named by the pid. The first byte of a packet is its kind.
 */
#ifndef HAUL_TTYDOOR_H
#define HAUL_TTYDOOR_H

#define TTYDOOR_PATH  "/run/haul/tty-%d"
#define TTYDOOR_BYTES 4096 /* of a packet */

enum {
	TTYDOOR_DATA = 'd', /* both ways: what is typed, what is shown */
	TTYDOOR_SIZE = 'w', /* to the holder: struct winsize */
};

#endif
