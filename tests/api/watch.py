#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""watch.py start|state|wait|get|list ... - small commands for shell tests; inside a host.

start PID HOST [JSON]   POST; prints the id
state ID WORD...        until its state or status is one of them
wait ID                 until it is over; prints its status
field ID KEY            one of its values
count ID EVENT          how many events of that kind
"""
import json
import sys
import time

from client import Api

api = Api()
verb, args = sys.argv[1], sys.argv[2:]


def patient(fn, limit_s=60):
    """While hauld is not there: again."""
    until = time.time() + limit_s
    while True:
        try:
            return fn()
        except OSError:
            if time.time() > until:
                raise
            time.sleep(0.1)


if verb == "start":
    body = dict({"pid": int(args[0]), "destination": args[1]}, **json.loads(args[2] if len(args) > 2 else "{}"))
    a = patient(lambda: api.post("/v1/migrations", body))
    if a.status != 201:
        sys.exit("POST: %s" % a)
    print(a.json["id"])
elif verb == "state":
    until = time.time() + 60
    while True:
        m = patient(lambda: api.get("/v1/migrations/" + args[0])).json
        if m["state"] in args[1:] or m["status"] in args[1:]:
            break
        if time.time() > until or m["status"] not in ("queued", "running"):
            sys.exit("%s is %s, %s, not %s" % (args[0], m["status"], m["state"], args[1:]))
        time.sleep(0.02)
elif verb == "wait":
    until = time.time() + 200
    while time.time() < until:
        m = patient(lambda: api.get("/v1/migrations/" + args[0])).json
        if m["status"] not in ("queued", "running"):
            break
        time.sleep(0.1)
    print(m["status"])
elif verb == "field":
    print(patient(lambda: api.get("/v1/migrations/" + args[0])).json.get(args[1]))
elif verb == "count":
    print(sum(e["event"] == args[1] for _, e in api.events("/v1/migrations/%s/events" % args[0])))
