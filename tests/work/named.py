#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""named.py - a process whose name, and the name of the file that it has open, may hold any byte.

Usage: named.py DIR FOLDER COMM FILE: the file is made in FOLDER, the names have Python's escapes. DIR/ready appears when they are set."""
import ctypes
import os
import signal
import sys

where, folder = sys.argv[1:3]
comm, file = (a.encode().decode("unicode_escape").encode("latin1") for a in sys.argv[3:])
fd = os.open(os.path.join(os.fsencode(folder), file), os.O_RDWR | os.O_CREAT)
ctypes.CDLL(None).prctl(15, comm, 0, 0, 0)  # PR_SET_NAME
open(where + "/ready", "w").close()
while True:
    signal.pause()
