#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""queue.py LIMIT PID... - each process by one POST, all at once; never more than LIMIT run; each is
moved once; the important ones leave the queue first. Runs in the host that they leave."""
import json
import sys
import threading

from client import Api, expect

limit, pids = int(sys.argv[1]), [int(v) for v in sys.argv[2:]]
api = Api()
position = api.get("/v1/migrations").json["position"]
ids = {}


def ask(pid):
    a = api.post("/v1/migrations", {"pid": pid, "destination": DEST, "priority": pid % 3},
                 headers={"Idempotency-Key": "queue-%d-%d" % (limit, pid)})
    expect("POST of %d" % pid, a.status, 201)
    ids[a.json["id"]] = pid


DEST = "hostB" if api.get("/v1/version").json["host"] == "hostA" else "hostA"
threads = [threading.Thread(target=ask, args=(p,)) for p in pids]
for t in threads:
    t.start()
for t in threads:
    t.join()
expect("as many migrations as processes", len(ids), len(pids))
for id in ids:
    m = api.wait(id, 400)
    expect("migration of %d: %s" % (m["pid"], m.get("error")), m["status"], "done")

# what happened, in order
running, most, started, done = set(), 0, [], []
seen = 0
for _, e in api.events("/v1/events", after=position):
    if e["job"] not in ids:
        continue
    if e["event"] == "started":
        expect("%s was started once" % e["job"], e["job"] in started, False)
        running.add(e["job"])
        started.append(e["job"])
    elif e["event"] == "ended":
        running.discard(e["job"])
        seen += 1
    elif e["event"] == "done":
        done.append(e["pid"])
    most = max(most, len(running))
    if seen == len(ids):
        break
expect("each moved once", sorted(done), sorted(pids))
expect("never more at once than the limit", most <= limit, True)
expect("as many at once as the limit", most, min(limit, len(pids)))
# those that were there when the first ones ended: by priority
order = [ids[i] % 3 for i in started[limit + len(pids) // 2:]]
print("  limit %d: %d moved, %d at once at most; priorities of the later half %s" %
      (limit, len(done), most, "".join(str(p) for p in order)))
# those that start together say so in any order
early = [(i, k) for i in range(len(order)) for k in range(i + limit, len(order)) if order[i] < order[k]]
expect("the least important are the last", early, [])
