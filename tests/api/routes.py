#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""routes.py - every route, right and wrong; two users; idempotency; events that go on where they were cut.

Runs in host A. Arguments: PID of root's process, PID of user 1001, of another one of root, of user 1002,
certificate, token of an admin, of an operator, of a reader, openapi.json.
"""
import json
import socket
import sys
import threading
import time

from client import Api, SOCKET, as_uid, expect, problem

root_pid, own1, own2, other = (int(v) for v in sys.argv[1:5])
cert, admin, operator, reader, document = sys.argv[5:10]
api = Api()
paths = json.load(open(document))["paths"]


def note(text):
    print("  " + text, flush=True)


def every_route_answers():
    """As root at the socket, each GET of the document; and each status is one that the document has."""
    n = 0
    for path, methods in paths.items():
        if "get" not in methods or path.endswith("events"):
            continue
        real = path.replace("{name}", "default").replace("{id}", "0123456789abcdef")
        a = api.get(real)
        expect("GET " + real, a.status, 404 if "{id}" in path else 200)
        assert str(a.status) in methods["get"]["responses"], path
        n += 1
    a = api.get("/v1/openapi.json")
    expect("the document is the one that is served", a.json["paths"].keys(), paths.keys())
    for path, status, code in [("/v1/nothing", 404, "not-found"), ("/v1/migrations/", 404, "not-found"),
                               ("/v1/policies/no-such", 404, "not-found"), ("/v1/policies/..", 404, "not-found"),
                               ("/v1/migrations?limit=0", 400, "bad-request"),
                               ("/v1/migrations?cursor=0123456789abcdef", 400, "bad-request"),
                               ("/v1/events?after=x", 400, "bad-request"),
                               ("/v1/peers?pid=99999999", 404, "no-process"),
                               ("/v1/peers?connect_limit_ms=99", 400, "bad-request")]:
        problem(path, api.get(path), status, code)
    for method, path in [("DELETE", "/v1/migrations"), ("PUT", "/metrics"), ("POST", "/v1/policies/default")]:
        problem(method + " " + path, api.ask(method, path), 405, "method")
    note("%d routes by GET; wrong paths, queries, methods" % n)


def wrong_requests():
    good = {"pid": root_pid, "destination": "hostB"}
    cases = [({}, 422, "bad-value"), ({"pid": 1, "destination": "hostB"}, 422, "bad-value"),
             ({"pid": "x", "destination": "hostB"}, 422, "bad-value"),
             ({"pid": 4000000, "destination": "hostB"}, 404, "no-process"),
             ({"pid": root_pid}, 422, "bad-value"), (dict(good, destination="-oProxy"), 422, "bad-value"),
             (dict(good, destination="a b"), 422, "bad-value"), (dict(good, port=0), 422, "bad-value"),
             (dict(good, port=70000), 422, "bad-value"), (dict(good, priority="high"), 422, "bad-value"),
             (dict(good, policy="no-such"), 422, "bad-value"), (dict(good, policy="../../etc/passwd"), 422, "bad-value"),
             (dict(good, options={"mode": "fast"}), 422, "bad-value"), (dict(good, options={"streams": 99}), 422, "bad-value"),
             (dict(good, options={"rm": 1}), 422, "bad-value"), (dict(good, nonsense=1), 422, "bad-value"),
             (dict(good, fs="/srv"), 422, "bad-value"), (dict(good, fs=[1]), 422, "bad-value"),
             (dict(good, fs_replace="yes"), 422, "bad-value"), (dict(good, into_root=["a"]), 422, "bad-value"),
             (dict(good, map=["x"] * 40), 422, "bad-value"), (dict(good, link_limit_s=-1), 422, "bad-value")]
    for body, status, code in cases:
        problem("POST %s" % body, api.post("/v1/migrations", body), status, code)
    for raw, status, code in [("{", 400, "bad-json"), ("[]", 400, "bad-json"), ("", 400, "bad-json"),
                              ('{"pid":1,"pid":2}', 400, "bad-json"), ("\xff\xfe", 400, "bad-json")]:
        problem("POST %r" % raw, api.post("/v1/migrations", raw=raw.encode("latin-1")), status, code)
    problem("form", api.post("/v1/migrations", raw="pid=1", headers={"Content-Type": "text/plain"}), 415, "media-type")
    problem("long key", api.post("/v1/migrations", good, headers={"Idempotency-Key": "k" * 129}), 422, "bad-value")
    problem("long body", api.post("/v1/migrations", raw=b" " * 70000), 413, "too-large")
    for path, body in [("/v1/check", {"pid": 4000000}), ("/v1/check", {"pid": 1})]:
        a = api.post(path, body)
        expect("%s %s" % (path, body), a.status in (404, 422), True)
    for verb in ("cancel", "resolve"):
        problem(verb, api.post("/v1/migrations/0123456789abcdef/" + verb, {}), 404, "not-found")
    expect("nothing was made of it", api.get("/v1/migrations").json["migrations"], [])
    note("%d wrong requests: each its status and code" % (len(cases) + 12))


def raw_bytes(data):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(1)
    s.connect(SOCKET)
    out = b""
    try:
        s.sendall(data)
        while chunk := s.recv(65536):
            out += chunk
    except (TimeoutError, ConnectionError):  # closed with bytes unread; or what is no whole request is waited for; for how long: t-api-limits
        pass
    return out


def wrong_http():
    for data in [b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                 b"GET /" + b"a" * 60000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 60000 + b"\r\n\r\n",
                 b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n",
                 b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
                 b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"]:
        head = raw_bytes(data).split(b"\r\n")[0]
        expect("answer to %r" % data[:30], head == b"" or b" 4" in head or b" 5" in head, True)
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    head = raw_bytes(b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3 + b"0\r\n\r\n")
    expect("chunked body of 192 KiB", b" 413 " in head.split(b"\r\n")[0], True)
    expect("it still serves", api.get("/healthz").status, 200)
    note("malformed HTTP is refused; it still serves")


def policies():
    good = {"meaning": "for a test", "mode": "pre-copy", "streams": 3}
    a = api.post("/v1/policies/validate", good)
    expect("validate", (a.status, a.json["options"]["streams"], a.json["options"]["mode"]), (200, 3, "pre-copy"))
    for bad in [{"streems": 3}, {"streams": 99}, {"streams": "x"}, {"mode": 1}, {"meaning": 5},
                {"map": ["nonsense"]}, {"move-address": ["x"]}, {"fs": ["srv"]}]:
        problem("validate %s" % bad, api.post("/v1/policies/validate", bad), 422, "bad-policy")
        problem("put %s" % bad, api.ask("PUT", "/v1/policies/mine", bad), 422, "bad-policy")
    problem("not there yet", api.get("/v1/policies/mine"), 404, "not-found")
    expect("put", api.ask("PUT", "/v1/policies/mine", good).status, 200)
    expect("read back", api.get("/v1/policies/mine").json["options"]["streams"], 3)
    expect("listed", "mine" in [p["name"] for p in api.get("/v1/policies").json["policies"]], True)
    problem("a strange name", api.ask("PUT", "/v1/policies/a.b", good), 422, "bad-value")
    note("policies: list, read, validate, put")


def users():
    mine = as_uid(1001, lambda: Api().get("/v1/processes?findings=1").json["processes"])
    pids = [p["pid"] for p in mine]
    expect("own processes only", (own1 in pids, other in pids, root_pid in pids), (True, False, False))
    expect("with findings", all("findings" in p and "can_move" in p for p in mine), True)
    for pid in (other, root_pid):
        for path in ("/v1/migrations", "/v1/check"):
            a = as_uid(1001, lambda: [(x := Api().post(path, {"pid": pid, "destination": "hostB"})).status, x.code])
            expect("user 1001, %s of %d" % (path, pid), a, [404, "no-process"])
    for body in ({"options": {"streams": 1}}, {"policy": "evacuate"}, {"fs": ["/srv"]}, {"into_root": "/"}, {"map": ["fd:1=null"]}):
        a = as_uid(1001, lambda: [(x := Api().post("/v1/migrations", dict(body, pid=own1, destination="hostB"))).status, x.code])
        expect("user 1001, %s" % body, a, [403, "forbidden"])
    a = as_uid(1001, lambda: [Api().ask("PUT", "/v1/policies/evil", {}).status, Api().get("/metrics").status,
                              Api().post("/v1/migrations/0123456789abcdef/resolve", {"copy_here": "drop"}).status])
    expect("what is not for users", a, [403, 403, 403])
    made = as_uid(1001, lambda: Api().post("/v1/migrations", {"pid": own1, "destination": "hostB"}).json)
    got = as_uid(1002, lambda: [Api().get("/v1/migrations/" + made["id"]).status, Api().get("/v1/migrations").json["migrations"],
                                Api().post("/v1/migrations/" + made["id"] + "/cancel").status,
                                Api().get("/v1/migrations/" + made["id"] + "/events").status])
    expect("user 1002 sees nothing of it", got, [404, [], 404, 404])
    seen = as_uid(1001, lambda: Api().wait(made["id"]))
    expect("user 1001's process moved, %s" % seen.get("error"), (seen["status"], seen["owner"]), ("done", "uid 1001"))
    args = json.load(open("/var/lib/haul/migrations/%s/job.json" % made["id"]))["args"]
    expect("haul is told whose all of it has to be", "--owner=1001" in args, True)
    expect("root sees whose it is", api.get("/v1/migrations/" + made["id"]).json["owner"], "uid 1001")
    all_ = as_uid(1002, lambda: [e["job"] for _, e in limited(Api().events("/v1/events", after=0, timeout=1))])
    expect("user 1002 hears nothing of it", all_, [])
    note("two users: each sees, checks, moves only what is theirs")


def limited(events):
    """Events until nothing comes for a while."""
    try:
        yield from events
    except (TimeoutError, socket.timeout):
        pass


def idempotency():
    body, key = {"pid": own2, "destination": "hostB", "options": {"bandwidth-limit-mbit": 20, "mode": "pre-copy"}}, {"Idempotency-Key": "one"}
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(api.post("/v1/migrations", body, headers=key))) for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expect("ten at once: statuses", sorted(a.status for a in answers), [200] * 9 + [201])
    expect("ten at once: one migration", len({a.json["id"] for a in answers}), 1)
    problem("the key for something else", api.post("/v1/migrations", dict(body, priority=1), headers=key), 422, "key-reused")
    problem("without a key", api.post("/v1/migrations", body), 409, "busy-process")
    id = answers[0].json["id"]
    problem("resolve", api.post("/v1/migrations/%s/resolve" % id, {"copy_here": "keep"}), 409, "not-open")
    problem("resolve how", api.post("/v1/migrations/%s/resolve" % id, {}), 422, "bad-value")
    deadline = time.time() + 30
    while api.get("/v1/migrations/" + id).json["state"] != "rounds" and time.time() < deadline:
        time.sleep(0.05)
    expect("cancel", api.post("/v1/migrations/%s/cancel" % id).status, 202)
    m = api.wait(id)
    expect("cancelled", (m["status"], m["exit"]), ("cancelled", 130))
    problem("cancel again", api.post("/v1/migrations/%s/cancel" % id), 409, "over")
    expect("and the same POST is still that one", api.post("/v1/migrations", body, headers=key).json["id"], id)
    note("idempotency: ten POSTs at once are one migration; cancelled in its rounds")
    return id


def events(cancelled):
    whole = list(api.events("/v1/migrations/%s/events" % cancelled))
    expect("begins and ends", (whole[0][1]["event"], whole[-1][1]["event"], whole[-1][1]["status"]), ("queued", "ended", "cancelled"))
    for cut in (1, len(whole) // 2, len(whole) - 1):
        rest = list(api.events("/v1/migrations/%s/events" % cancelled, after=whole[cut - 1][0]))
        expect("from event %d" % cut, rest, whole[cut:])
    expect("after the last one there is nothing, and an EventSource is told so",
           api.get("/v1/migrations/%s/events" % cancelled, headers={"Last-Event-ID": str(whole[-1][0])}).status, 204)

    made = api.post("/v1/migrations", {"pid": own2, "destination": "hostB"}).json["id"]
    live, at, cuts = [], None, 0
    while not live or live[-1]["event"] != "ended":  # cut after every third event
        for n, (at, e) in enumerate(api.events("/v1/migrations/%s/events" % made, after=at)):
            live.append(e)
            if n == 2:
                cuts += 1
                break
    expect("live, cut %d times: as the file has it" % cuts, live, [e for _, e in api.events("/v1/migrations/%s/events" % made)])
    expect("moved", api.wait(made)["status"], "done")
    kinds = [e["event"] for e in live]
    for k in ("queued", "started", "state", "freeze", "running", "done", "ended"):
        assert k in kinds, "no event %s in %s" % (k, kinds)
    of_all = [e for _, e in limited(api.events("/v1/events", after=0, timeout=1)) if e["job"] == made]
    expect("the feed of all has the same", of_all, live)
    position = api.get("/v1/migrations").json["position"]
    expect("nothing behind the position of a list", list(limited(api.events("/v1/events", after=position, timeout=1))), [])
    note("events: %d of one migration, cut %d times, none twice, none lost" % (len(live), cuts))


def lists():
    v = api.get("/v1/migrations").json["migrations"]
    expect("three", len(v), 3)
    expect("newest first", [m["created_ms"] for m in v], sorted((m["created_ms"] for m in v), reverse=True))
    got, cursor = [], ""
    while cursor is not None:
        page = api.get("/v1/migrations?limit=1" + (cursor and "&cursor=" + cursor)).json
        got += page["migrations"]
        cursor = page["next"]
    expect("page by page", [m["id"] for m in got], [m["id"] for m in v])
    for query, n in [("status=cancelled", 1), ("pid=%d" % own1, 1),
                     ("owner=uid%201001", 1), ("destination=hostB", 3), ("destination=hostC", 0)]:
        expect(query, len(api.get("/v1/migrations?" + query).json["migrations"]), n)
    note("lists: filters and pages")


def tokens():
    def at(token):
        return Api("hostA", cert, token)
    expect("TLS", at(reader).get("/v1/migrations").status, 200)
    problem("no token", at(None).get("/v1/migrations"), 401, "unauthorized")
    expect("without one: health, page", [at(None).get(p).status for p in ("/healthz", "/")], [200, 200])
    expect("metrics for readers", at(reader).get("/metrics").status, 200)
    problem("readers start nothing", at(reader).post("/v1/migrations", {"pid": root_pid, "destination": "hostB"}), 403, "forbidden")
    problem("operators write no policy", at(operator).ask("PUT", "/v1/policies/mine", {}), 403, "forbidden")
    expect("operators check", at(operator).post("/v1/check", {"pid": root_pid, "destination": "hostB"}).json["can_move"], True)
    expect("admins write policies", at(admin).ask("PUT", "/v1/policies/mine", {}).status, 200)
    expect("who am I", at(operator).get("/v1/version").json["you"], "carol")
    s = at(None).post("/v1/session", {"token": reader})
    cookie = s.headers["Set-Cookie"]
    expect("session", (s.status, all(w in cookie for w in ("HttpOnly", "Secure", "SameSite=Strict"))), (200, True))
    expect("with the cookie", at(None).get("/v1/migrations", headers={"Cookie": cookie.split(";")[0]}).status, 200)
    statuses = [at("wrong-token-%06d" % i).get("/v1/version").status for i in range(12)]
    expect("failed logins", (statuses[:10], statuses[10:]), ([401] * 10, [429] * 2))
    problem("also the right one has to wait", at(reader).get("/v1/version"), 429, "slow-down")
    expect("the socket does not", api.get("/v1/version").status, 200)
    note("TLS: roles, session, ten wrong tokens and then nobody from there")


every_route_answers()
wrong_requests()
wrong_http()
policies()
users()
events(idempotency())
lists()
tokens()
