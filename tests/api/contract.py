#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""contract.py PID DOCUMENT - what a running hauld answers is what its OpenAPI document says, and its metrics
are Prometheus' text. Judged by jsonschema and by Prometheus' own client library, not by us.

Runs in host A. Every operation of the document is called at least once while PID moves to B; an
operation that was never called, or a status that is not in the document, is a fault.
"""
import json
import re
import sys
import time

import jsonschema
from prometheus_client.parser import text_string_to_metric_families

from client import Api

pid, document = int(sys.argv[1]), json.load(open(sys.argv[2]))
api = Api()
called, statuses = set(), {}
EVENTS = {"round": "Round", "progress": "Progress", "freeze": "Freeze", "throttle": "Throttle", "link-lost": "LinkLost", "done": "Result", "failed": "Result",
          "finding": "Finding", "error": "Error", "stderr": "Error"}


def check(schema, value, what):
    whole = dict(schema, components=document["components"])
    fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(whole).iter_errors(value))
    if fault:
        raise SystemExit("%s: %s at %s\n%s" % (what, fault.message, list(fault.absolute_path), json.dumps(value)[:2000]))


def resolved(node):
    while "$ref" in node:
        at = document
        for part in node["$ref"][2:].split("/"):
            at = at[part]
        node = at
    return node


def template_of(path):
    path = path.split("?")[0]
    fits = [t for t in document["paths"] if re.fullmatch(re.sub(r"\\{\w+\\}|\{\w+\}", "[^/]+", t), path)]
    exact = [t for t in fits if "{" not in t]
    return (exact or fits)[0]


def call(method, path, status, body=None, **kw):
    template = template_of(path)
    operation = document["paths"][template][method.lower()]
    if body is not None and status < 400:
        check(resolved(operation["requestBody"]["content"]["application/json"]["schema"]), body, "request of " + path)
    a = api.ask(method, path, body, **kw)
    what = "%s %s: %d" % (method, path, a.status)
    if a.status != status:
        raise SystemExit("%s, not %d: %s" % (what, status, a.text[:500]))
    if str(a.status) not in operation["responses"]:
        raise SystemExit(what + " is not in the document")
    content = resolved(operation["responses"][str(a.status)]).get("content", {})
    kind = a.type.split(";")[0]
    if content and kind not in content:
        raise SystemExit("%s: %s, not %s" % (what, kind, list(content)))
    if a.json is not None:
        check(content[kind]["schema"], a.json, what)
    called.add((method, template))
    statuses[a.status] = statuses.get(a.status, 0) + 1
    return a


def event_ok(e):
    check({"$ref": "#/components/schemas/Event"}, e, "event")
    if e["event"] in EVENTS:
        check({"$ref": "#/components/schemas/" + EVENTS[e["event"]]}, e, "event " + e["event"])


for path in ("/healthz", "/readyz", "/v1/version", "/v1/openapi.json", "/v1/processes", "/v1/processes?findings=1", "/v1/peers",
             "/v1/peers?pid=%d" % pid, "/v1/policies", "/v1/policies/default", "/v1/migrations"):
    call("GET", path, 200)
call("POST", "/v1/check", 200, {"pid": pid, "destination": "hostB"})
call("POST", "/v1/check", 404, {"pid": 4000000, "destination": "hostB"})
call("POST", "/v1/policies/validate", 200, {"meaning": "a test", "mode": "pre-copy"})
call("POST", "/v1/policies/validate", 422, {"mode": "no-such"})
call("PUT", "/v1/policies/of-a-test", 200, {"meaning": "a test", "mode": "pre-copy"})
call("GET", "/v1/policies/of-a-test", 200)
call("GET", "/v1/policies/no-such", 404)
call("POST", "/v1/session", 401, {"token": "not one"})
call("DELETE", "/v1/session", 200)
call("POST", "/v1/migrations", 422, {"pid": pid})
call("POST", "/v1/migrations", 400, raw="{")
call("POST", "/v1/migrations", 415, raw="{}", headers={"Content-Type": "text/plain"})
call("POST", "/v1/migrations", 413, raw=" " * 100000)
call("GET", "/v1/migrations?limit=0", 400)
request = {"pid": pid, "destination": "hostB", "policy": "default", "options": {"bandwidth-limit-mbit": 60}, "priority": 3}
m = call("POST", "/v1/migrations", 201, request, headers={"Idempotency-Key": "once"}).json
call("POST", "/v1/migrations", 200, request, headers={"Idempotency-Key": "once"})
call("POST", "/v1/migrations", 409, {"pid": pid, "destination": "hostB"})
mine = "/v1/migrations/" + m["id"]
seen = {}
for _, e in api.events(mine + "/events"):
    event_ok(e)
    seen[e["event"]] = seen.get(e["event"], 0) + 1
    if e["event"] == "round":
        call("GET", mine, 200)
        call("GET", "/v1/migrations?status=running", 200)
    if e["event"] == "ended":
        break
if not {"queued", "started", "round", "freeze", "progress", "running", "done", "ended"} <= set(seen):
    raise SystemExit("events: only %s" % seen)
called.update({("GET", "/v1/migrations/{id}/events")})
for _, e in api.events("/v1/events?after=0"):
    event_ok(e)
    if e["event"] == "ended":
        called.add(("GET", "/v1/events"))
        break
call("GET", mine, 200)
call("POST", mine + "/cancel", 409, {})
call("POST", mine + "/resolve", 409, {"copy_here": "keep"})
call("POST", mine + "/resolve", 400, raw="[")
call("GET", "/v1/migrations/0000000000000000", 404)

families = {f.name: f for f in text_string_to_metric_families(call("GET", "/metrics", 200).text)}
for f in families.values():
    if not f.documentation or f.type == "unknown" or not f.name.startswith("haul_"):
        raise SystemExit("metric %s: %s, %r" % (f.name, f.type, f.documentation))
for name in ("haul_migrations", "haul_migrations_ended", "haul_downtime_seconds", "haul_queue_length", "haul_wire_bytes"):
    if name not in families:
        raise SystemExit("no metric %s among %s" % (name, sorted(families)))
done = [s.value for s in families["haul_migrations"].samples if s.labels == {"status": "done"}]
if done != [1.0]:
    raise SystemExit("haul_migrations{status=done} is %s" % done)

want = {(k.upper(), t) for t, methods in document["paths"].items() for k in methods if k in ("get", "put", "post", "delete")}
if want - called:
    raise SystemExit("never called: %s" % sorted(want - called))
print("  %d operations as in the document, %d answers: %s; %d kinds of events; %d metrics" %
      (len(want), sum(statuses.values()), " ".join("%dx%d" % (n, s) for s, n in sorted(statuses.items())), len(seen), len(families)))
