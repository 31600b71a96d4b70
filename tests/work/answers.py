# SPDX-License-Identifier: GPL-2.0-or-later
"""answers.py - the answers of a program that is moved: at each SIGUSR1 it verifies itself, and says what it found."""
import json
import os
import signal


def serve(where, verify, **more):
    """Writes WHERE/ready, then WHERE/verify.N for each SIGUSR1, which has to be blocked: what verify() lists, and MORE."""
    open(where + "/ready", "w").close()
    done = 0
    while True:
        signal.sigwait([signal.SIGUSR1])
        done += 1
        faults = verify()
        name = "%s/verify.%d" % (where, done)
        with open(name + ".new", "w") as f:
            json.dump({"ok": not faults, "faults": faults, **more}, f)
        os.rename(name + ".new", name)
