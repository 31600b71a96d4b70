#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""trust.py - what users and tokens try against root at hauld's API; each attempt fails, root's request works.

Runs in host A, where one migration may run at once. Arguments: PIDs of two processes of root and of one of user
1001, certificate, tokens of an admin, of an operator, of a reader; then what to try. For "checks" hostB must be a
host that takes connections and says nothing.
"""
import select
import socket
import sys
import threading
import time

from client import Api, Meeting, SOCKET, as_uid, expect, problem

long, second, own = (int(v) for v in sys.argv[1:4])
cert, admin, operator, reader = sys.argv[4:8]
api = Api()


def note(text):
    print("  " + text, flush=True)


def queue():
    slow = api.post("/v1/migrations", {"pid": long, "destination": "hostB",
                                       "options": {"bandwidth-limit-mbit": 1, "mode": "pre-copy"}}).json["id"]
    until = time.time() + 30
    while api.get("/v1/migrations/" + slow).json["status"] != "running" and time.time() < until:
        time.sleep(0.05)
    users = as_uid(1001, lambda: Api().post("/v1/migrations", {"pid": own, "destination": "hostB", "priority": 1000}).json)["id"]
    roots = api.post("/v1/migrations", {"pid": second, "destination": "hostB", "priority": -1000}).json["id"]
    expect("both wait", [api.get("/v1/migrations/" + i).json["status"] for i in (users, roots)], ["queued"] * 2)
    expect("root cancels the one that runs", api.post("/v1/migrations/%s/cancel" % slow).status, 202)
    m = [api.wait(roots), api.wait(users)]
    expect("root's moved", m[0]["status"], "done")
    assert m[1]["started_ms"] >= m[0]["ended_ms"], "the user's went first: %s" % m
    note("queue: a user's priority of 1000 waits for root's of -1000")


def cancelling():
    made = api.post("/v1/migrations", {"pid": long, "destination": "hostB",
                                       "options": {"bandwidth-limit-mbit": 1, "mode": "pre-copy"}}).json["id"]
    # of the user's process, asked for by root; it waits
    hers = api.post("/v1/migrations", {"pid": own, "destination": "hostB"}).json["id"]
    a = as_uid(1001, lambda: [Api().get("/v1/migrations/" + hers).status, (x := Api().post("/v1/migrations/%s/cancel" % hers)).status, x.code])
    expect("the owner of the process sees root's migration and cannot cancel it", a, [200, 403, "forbidden"])
    expect("it still waits", api.get("/v1/migrations/" + hers).json["status"], "queued")
    expect("root cancels", [api.post("/v1/migrations/%s/cancel" % i).status for i in (hers, made)], [202, 202])
    expect("cancelled", [api.wait(i)["status"] for i in (hers, made)], ["cancelled"] * 2)
    # her own one she may cancel
    made = api.post("/v1/migrations", {"pid": long, "destination": "hostB",
                                       "options": {"bandwidth-limit-mbit": 1, "mode": "pre-copy"}}).json["id"]
    a = as_uid(1001, lambda: Api().post("/v1/migrations/%s/cancel" %
                                        Api().post("/v1/migrations", {"pid": own, "destination": "hostB"}).json["id"]).status)
    expect("a user cancels her own", a, 202)
    api.post("/v1/migrations/%s/cancel" % made)
    expect("the long one", api.wait(made)["status"], "cancelled")
    note("cancel: not what root started")


def checks():
    """Users with checks that never end: root's check is answered all the same."""
    def greedy():
        v = []
        for _ in range(8):
            s = socket.socket(socket.AF_UNIX)
            s.connect(SOCKET)
            body = b'{"pid": %d, "destination": "hostB"}' % own
            s.send(b"POST /v1/check HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            v.append(s)
        busy, end = 0, time.time() + 30
        while busy < 6 and time.time() < end:
            for s in select.select(v, [], [], 1)[0]:
                busy += b"503" in s.recv(100)
                v.remove(s)
        meeting.wait_here()
        return busy
    refused = []
    meeting = Meeting()
    t = threading.Thread(target=lambda: refused.append(as_uid(1001, greedy)), daemon=True)
    t.start()
    meeting.wait_for(1)
    held = []
    for i in range(20):
        c = Api("hostA", cert, operator).open(20)
        c.request("POST", "/v1/check", '{"pid": %d, "destination": "hostB"}' % long,
                  {"Content-Type": "application/json", "Authorization": "Bearer " + operator})
        held.append(c)
    expect("root's check, while users and an operator ask for 28", api.post("/v1/check", {"pid": long}).status, 200)
    meeting.let_go(1)
    t.join()
    assert refused[0] >= 6, "one user had more than two checks at once: %d of 8 refused" % refused[0]
    for c in held:
        c.close()
    note("checks: %d of a user's 8 were refused, root's was done" % refused[0])


def connections():
    def greedy():
        v = []
        for _ in range(100):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(1)
            try:
                s.connect(SOCKET)
                s.send(b"GET")
            except OSError:
                pass
            v.append(s)
        meeting.wait_here()
        return len(v)
    meeting = Meeting()
    threads = [threading.Thread(target=as_uid, args=(2000 + i, greedy), daemon=True) for i in range(24)]
    for t in threads:
        t.start()
    meeting.wait_for(len(threads))
    worst, n = 0, 100
    for _ in range(n):
        t0 = time.time()
        expect("root, while 24 users hold 100 connections each", api.get("/healthz").status, 200)
        worst = max(worst, time.time() - t0)
    meeting.let_go(len(threads))
    for t in threads:
        t.join()
    note("connections: root was served %d times beside 2400 of 24 users; the slowest took %.2f s" % (n, worst))


def operators():
    at = Api("hostA", cert, operator)
    for more in ({"map": ["fd:1=file:/etc/cron.d/x"]}, {"move_address": ["10.0.0.1"]}, {"fs": ["/etc"]}, {"exclude": ["*"]},
                 {"fs_replace": True}, {"into_root": "/"}, {"options": {"files": "ship-differing"}}):
        problem("operate: %s" % more, at.post("/v1/migrations", dict(more, pid=long, destination="hostB")), 403, "forbidden")
    made = at.post("/v1/migrations", {"pid": long, "destination": "hostB", "close_fd": ["77"], "options": {"bandwidth-limit-mbit": 1}})
    assert made.status in (201, 422), made
    if made.status == 201:
        at.post("/v1/migrations/%s/cancel" % made.json["id"])
        api.wait(made.json["id"])
    made = Api("hostA", cert, admin).post("/v1/migrations", {"pid": long, "destination": "hostC.invalid", "map": ["fd:1=null"]})
    expect("an admin may", made.status, 201)
    api.wait(made.json["id"])
    note("operate: neither map, nor addresses, nor directories, nor another root, nor replaced files")


def session(token, **headers):
    return Api("hostA", cert).post("/v1/session", {"token": token}, headers=headers)


def sessions():
    at = Api("hostA", cert)
    a, b = session(operator), session(operator)
    cookie, other = (x.headers["Set-Cookie"] for x in (a, b))
    expect("attributes", all(w in cookie for w in ("HttpOnly", "Secure", "SameSite=Strict", "Max-Age=", "Path=/", "__Host-")), True)
    assert operator not in cookie, "the cookie is the token"
    assert cookie.split(";")[0] != other.split(";")[0], "two sessions have one id"
    own_cookie = {"Cookie": cookie.split(";")[0]}
    here = dict(own_cookie, Origin="https://hostA:8443")
    body = {"pid": 1, "destination": "hostB"}
    expect("it reads", at.get("/v1/migrations", headers=own_cookie).status, 200)
    problem("from this page", at.post("/v1/migrations", body, headers=here), 422, "bad-value")
    for what, more in (("a foreign Origin", {"Origin": "https://evil.example"}), ("another port", {"Origin": "https://hostA:1"}),
                       ("plain HTTP", {"Origin": "http://hostA:8443"}), ("no Origin", {}), ("null", {"Origin": "null"}),
                       ("a foreign site", {"Sec-Fetch-Site": "cross-site"}), ("a neighbour", {"Sec-Fetch-Site": "same-site"})):
        problem("POST with %s" % what, at.post("/v1/migrations", body, headers=dict(own_cookie, **more)), 403, "origin")
    problem("DELETE with a foreign Origin", at.ask("DELETE", "/v1/session", headers=dict(own_cookie, Origin="https://evil.example")), 403, "origin")
    problem("a session opened by a foreign page", session(operator, Origin="https://evil.example"), 403, "origin")
    expect("the token needs no Origin", Api("hostA", cert, operator).post("/v1/migrations", body).status, 422)
    problem("the token as a cookie", at.get("/v1/migrations", headers={"Cookie": "__Host-haul=" + operator}), 401, "unauthorized")
    expect("logging out", at.ask("DELETE", "/v1/session", headers=here).status, 200)
    problem("the old cookie", at.get("/v1/migrations", headers=own_cookie), 401, "unauthorized")
    expect("the other session still works", at.get("/v1/migrations", headers={"Cookie": other.split(";")[0]}).status, 200)
    # a token that is taken away ends its sessions
    mine = {"Cookie": session(reader).headers["Set-Cookie"].split(";")[0]}
    expect("a reader's session", at.get("/v1/migrations", headers=mine).status, 200)
    lines = open("/etc/haul/tokens").readlines()
    open("/etc/haul/tokens", "w").writelines(x for x in lines if not x.startswith("bob "))
    problem("without the token", at.get("/v1/migrations", headers=mine), 401, "unauthorized")
    open("/etc/haul/tokens", "w").writelines(lines)
    for _ in range(20):
        session(operator)
    problem("the oldest of many sessions of a token", at.get("/v1/migrations", headers={"Cookie": other.split(";")[0]}), 401, "unauthorized")
    note("sessions: an id of their own, an end, and no foreign page")


for what in sys.argv[8:]:
    globals()[what]()
