#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""terminal.py - a program with a terminal whose both ends it has, like script(1) or a terminal emulator: a shell
at the one end, a line that is not complete on its way to it, output that was not read on its way back."""
import argparse
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time

import answers

SIZE = (37, 91, 370, 910)


def wait_for(fd, want, seconds=30):
    """Reads until WANT has come; returns all that came."""
    got, end = b"", time.monotonic() + seconds
    while want not in got and time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            got += os.read(fd, 65536)
    return got


class Terminal:
    def __init__(self):
        self.shell, self.master = pty.fork()
        if self.shell == 0:
            for s in (signal.SIGUSR1, signal.SIGINT):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [s])
            os.execvp("bash", ["bash", "--norc", "--noediting"])
        os.write(self.master, b"PS1=; stty -echo; x=5; echo rea''dy\n")
        wait_for(self.master, b"ready\r\n")
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE))
        self.modes = termios.tcgetattr(self.master)
        self.turn = 0
        self.leave()

    def leave(self):
        """What waits in both directions: output with a newline, which is translated once, half a line of input."""
        self.turn += 1
        os.write(self.master, b"echo waits%d; kill -URG $$\n" % self.turn)
        end = time.monotonic() + 10
        while struct.unpack("i", fcntl.ioctl(self.master, termios.FIONREAD, b"\0" * 4))[0] < 8 and time.monotonic() < end:
            time.sleep(0.01)
        os.write(self.master, b"echo one%d and" % self.turn)

    def verify(self):
        faults = []
        os.write(self.master, b" two\n")
        want = b"waits%d\r\none%d and two\r\n" % (self.turn, self.turn)
        got = wait_for(self.master, b"two\r\n")
        if got != want:
            faults.append("from the terminal came %r, not %r" % (got, want))
        if termios.tcgetattr(self.master) != self.modes:
            faults.append("modes %r, not %r" % (termios.tcgetattr(self.master), self.modes))
        if struct.unpack("HHHH", fcntl.ioctl(self.master, termios.TIOCGWINSZ, b"\0" * 8)) != SIZE:
            faults.append("its size is another")
        if os.tcgetpgrp(self.master) != self.shell or os.getsid(self.shell) != self.shell:
            faults.append("the foreground group is %d, the session %d" % (os.tcgetpgrp(self.master), os.getsid(self.shell)))
        # job control: ^C reaches the job in the foreground, the shell goes on; /dev/tty is there for what it starts
        os.write(self.master, b"sleep 1000\n")
        end = time.monotonic() + 20
        while os.tcgetpgrp(self.master) == self.shell and time.monotonic() < end:
            time.sleep(0.01)
        while os.tcgetpgrp(self.master) != self.shell and time.monotonic() < end:
            os.write(self.master, b"\x03")  # again: a job that has just been forked may not take it
            time.sleep(0.2)
        os.write(self.master, b"(echo x=$x tty >/dev/tty)\n")
        if b"x=5 tty" not in wait_for(self.master, b"tty\r\n"):
            faults.append("the shell does not continue after ^C")
        self.leave()
        return faults


p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--dir", required=True)
a = p.parse_args()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.environ.pop("PROMPT_COMMAND", None)
answers.serve(a.dir, Terminal().verify)
