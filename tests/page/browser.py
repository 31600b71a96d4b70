#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""browser.py URL TOKEN PROGRAM PID HOST SHOTS OTHER - a person at the page of hauld, played in Chromium.

Signs in (first with a wrong token), looks at the hosts, checks PROGRAM (PID), moves it to HOST with
the keyboard alone, watches until it has moved, opens the details; then starts OTHER and cancels it. Pictures of it go to SHOTS: light, dark, and as wide as a phone. Fails
when a script of the page complains or anything is fetched from elsewhere. Chromium is driven over a
pipe by its DevTools protocol: nothing to install.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time

CHROMIUM = os.environ.get("CHROMIUM", "chromium")


class Browser:
    def __init__(self, profile):
        to_them, ours_out = os.pipe()
        ours_in, from_them = os.pipe()

        def fds():
            os.dup2(to_them, 13)
            os.dup2(from_them, 14)
            os.dup2(13, 3)
            os.dup2(14, 4)

        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
             "--ignore-certificate-errors", "--user-data-dir=" + profile, "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-proxy-server", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=fds, close_fds=False)
        os.close(to_them)
        os.close(from_them)
        self.out, self.inp, self.rest = ours_out, ours_in, b""
        os.set_blocking(self.inp, False)
        self.number, self.session, self.seen = 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(domain + ".enable")
        self.call("Page.bringToFront")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def messages(self, until):
        while time.monotonic() < until:
            while b"\0" in self.rest:
                one, self.rest = self.rest.split(b"\0", 1)
                yield json.loads(one)
            try:
                data = os.read(self.inp, 1 << 20)
                if not data:
                    raise SystemExit("chromium has ended")
                self.rest += data
            except BlockingIOError:
                time.sleep(0.01)

    def call(self, method, **params):
        self.number += 1
        m = {"id": self.number, "method": method, "params": params}
        if self.session:
            m["sessionId"] = self.session
        os.write(self.out, json.dumps(m).encode() + b"\0")
        for got in self.messages(time.monotonic() + 30):
            if got.get("id") == self.number:
                if "error" in got:
                    raise SystemExit("%s: %s" % (method, got["error"]))
                return got["result"]
            self.seen.append(got)
        raise SystemExit(method + ": chromium does not answer")

    def js(self, code):
        r = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in r:
            raise SystemExit("%s: %s" % (code, r["exceptionDetails"]))
        return r["result"].get("value")

    def wait(self, code, what, seconds=60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.js("!!(%s)" % code):
                return
            time.sleep(0.05)
        self.shot("failed")
        raise SystemExit("%s: never; the page says: %s\n%s" % (what, self.js("document.body.innerText"), "\n".join(self.complaints())))

    def type(self, text):
        self.call("Input.insertText", text=text)

    def key(self, name, code=0):
        text = {"Enter": "\r", " ": " "}.get(name, "")
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code,
                      **({"text": text} if text and kind == "keyDown" else {}))

    def focus(self):
        return self.js("document.activeElement.id || (document.activeElement.tagName === 'BUTTON' ? document.activeElement.textContent : '')")

    def tab_to(self, what):
        """by the keyboard alone, as someone without a mouse does"""
        for _ in range(60):
            if what in self.focus():
                return
            self.key("Tab", 9)
        raise SystemExit("no way to %s by the keyboard; at %s" % (what, self.focus()))

    def look(self, width, dark):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def shot(self, name):
        time.sleep(0.2)
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=name not in ("failed",))["data"]
        with open(os.path.join(SHOTS, name + ".png"), "wb") as f:
            f.write(base64.b64decode(data))

    def complaints(self):
        out = []
        for m in self.seen:
            p = m.get("params", {})
            if m.get("method") == "Runtime.exceptionThrown":
                out.append(p["exceptionDetails"].get("exception", {}).get("description") or p["exceptionDetails"]["text"])
            if m.get("method") == "Log.entryAdded" and p["entry"]["level"] == "error" and "401" not in p["entry"]["text"]:
                out.append(p["entry"]["text"])
            if m.get("method") == "Network.requestWillBeSent":
                url = p["request"]["url"]
                if not url.lower().startswith((URL.lower(), "data:", "about:", "chrome:")):
                    out.append("fetched from elsewhere: " + url)
        return out


def under_way(name):
    return "[...document.querySelectorAll('#running article h3')].some(h => h.textContent.includes(%s))" % json.dumps(name)


def outcome(number, word):
    return "document.querySelectorAll('#history .badge')[%d]?.textContent === %s" % (number, json.dumps(word))


def start(b, program, pid, host):
    b.tab_to("process")
    b.type("%s %s" % (program, pid))
    b.tab_to("destination")
    b.type(host)


URL, TOKEN, PROGRAM, PID, HOST, SHOTS, OTHER = sys.argv[1:]
os.makedirs(SHOTS, exist_ok=True)
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    b = Browser(profile)
    try:
        b.look(1200, False)
        b.call("Page.navigate", url=URL + "/")
        b.wait("!document.getElementById('login')?.hidden && document.readyState === 'complete'", "the login")
        b.wait("document.activeElement.id === 'token'", "the focus")
        b.type("not-the-token")
        b.key("Enter", 13)
        b.wait("document.getElementById('login-error').textContent", "a word about the wrong token")
        b.shot("1-login")
        b.type(TOKEN)
        b.key("Enter", 13)
        b.wait("!document.getElementById('main').hidden", "the page behind the login")
        b.wait("document.getElementById('live').textContent === 'live'", "events")
        b.wait("document.getElementById('hosts').textContent.toLowerCase().includes(%s + 'reachable')" % json.dumps(HOST.lower()), "the other host")
        b.wait("document.querySelectorAll('#processes option').length > 0", "processes")
        start(b, PROGRAM, PID, HOST)
        b.tab_to("check")
        b.key("Enter", 13)
        b.wait("document.getElementById('said').textContent.includes('Nothing stands in the way')", "the check")
        b.shot("2-checked")
        b.tab_to("Move")
        b.key("Enter", 13)
        b.wait(under_way(PROGRAM), "a migration under way")
        b.wait("document.querySelector('#running svg .dot')", "a chart of rounds")
        b.shot("3-under-way")
        b.look(390, True)
        b.shot("4-under-way-phone-dark")
        b.look(1200, False)
        b.wait(outcome(0, "moved"), "that it has moved", 120)
        b.wait("document.querySelector('#history tr td:nth-child(5)').textContent.includes('ms')", "the downtime")
        b.tab_to(PROGRAM)
        b.key("Enter", 13)
        b.wait("document.getElementById('detail').open && document.querySelectorAll('#detail-body svg').length >= 2", "the details")
        b.wait("document.querySelector('#detail .log').textContent.includes('ended')", "the events")
        b.shot("5-detail")
        b.look(1200, True)
        b.shot("6-detail-dark")
        b.key("Escape", 27)
        b.wait("!document.getElementById('detail').open", "the end of the details")
        b.look(390, False)
        start(b, "", OTHER, HOST)
        b.key("Enter", 13)
        b.wait("document.querySelector('#running .danger:enabled')", "one to cancel")
        b.wait("document.querySelector('#running .now')?.textContent === 'Rounds'", "its rounds")
        b.js("document.querySelector('#running .danger').focus()")
        b.key("Enter", 13)
        b.wait(outcome(0, "cancelled"), "that it is cancelled")
        b.shot("7-history-phone")
        b.look(1200, True)
        b.shot("8-dark")
        wide = b.js("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        b.look(360, False)
        wide = max(wide, b.js("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
        if wide > 0:
            raise SystemExit("the page is %d pixels wider than the screen" % wide)
        if b.complaints():
            raise SystemExit("\n".join(b.complaints()))
        print("stopped %s, predicted %s" % tuple(b.js(
            "[5, 6].map(n => [...document.querySelectorAll('#history tr')].at(-1).querySelector(`td:nth-child(${n})`).textContent)")))
    finally:
        b.process.terminate()
        b.process.wait()
