#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kept_epoll.py - an epoll set that a child has, too, without the descriptors that it watches; in their place the
child has others. The child's number is below its parent's, as after numbers have wrapped. --only: the child also
adds one that the parent does not have."""
import argparse
import os
import select
import signal

import answers


class Watch:
    def __init__(self, only):
        self.pipes = [os.pipe() for _ in range(4)]
        self.set = select.epoll()
        for k, (r, _) in enumerate(self.pipes):
            self.set.register(r, select.EPOLLIN | (select.EPOLLET if k == 1 else 0))
        self.set.modify(self.pipes[2][0], 0)
        ready, tell = os.pipe()
        with open("/proc/sys/kernel/ns_last_pid", "w") as f:
            f.write(str(os.getpid() - 50))
        self.child = os.fork()
        if self.child == 0:
            null = os.open("/dev/null", os.O_RDONLY)
            other = os.pipe()
            os.dup2(null, self.pipes[0][0])  # watched by the parent under this number
            os.dup2(other[0], self.pipes[1][0])
            os.close(self.pipes[2][0])
            for r, w in self.pipes:
                os.close(w)
            if only:
                self.set.register(os.dup(other[0]), select.EPOLLIN)
            os.write(tell, b"x")
            while True:
                signal.sigwait([signal.SIGUSR2])
        os.read(ready, 1)

    def verify(self):
        faults = [] if self.child < os.getpid() else ["the child's number is above its parent's"]
        if self.set.poll(0):
            faults.append("something is ready")
        for k, (r, w) in enumerate(self.pipes):
            os.write(w, b"x")
            got = self.set.poll(0.2)
            want = [] if k == 2 else [(r, select.EPOLLIN)]
            if got != want:
                faults.append("pipe %d: %s, not %s" % (k, got, want))
            os.read(r, 1)
        # the set knows its members by their numbers
        r = self.pipes[3][0]
        self.set.unregister(r)
        self.set.register(r, select.EPOLLIN)
        return faults


p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--dir", required=True)
p.add_argument("--only", action="store_true")
a = p.parse_args()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
answers.serve(a.dir, Watch(a.only).verify)
