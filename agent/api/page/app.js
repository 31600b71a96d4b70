/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * app.js - the page: what /v1 says, kept up to date by /v1/events. Nothing of a process or of another
 * host is ever parsed as HTML: text goes in as text.
 */
import { lines, pairs } from "./chart.js";

const $ = (id) => document.getElementById(id);
const PAGE_BYTES = 4096, HISTORY = 25;
const STEPS = [["Connect", ["new", "connect", "negotiate", "prepare"]], ["Rounds", ["rounds"]],
	["Freeze", ["freeze", "send"]], ["Restore", ["restore", "commit"]], ["Post-copy", ["post-copy", "relink"]]];
const PARTS = [["stop", "stop_us"], ["dump", "dump_us"], ["scan", "scan_us"], ["send", "send_us"], ["restore", "restore_us"],
	["commit", "commit_us"]];
const OVER = new Set(["done", "failed", "blocked", "cancelled", "unresolved", "interrupted"]);
const WORD = { queued: "waits", running: "under way", done: "moved", failed: "stays here", blocked: "blocked", cancelled: "cancelled",
	unresolved: "decide", interrupted: "interrupted" };
const KIND = { done: "good", failed: "bad", blocked: "bad", unresolved: "bad", interrupted: "warn", cancelled: "warn" };

const jobs = new Map(); /* id -> migration, as in the API, with rounds[] and faults[] of this session */
let processes = [], policies = [], next = null, events = null, shown = null;

/* ---- texts ---- */

const bytes = (n) => n === undefined ? "–" : n >= 2 ** 30 ? `${(n / 2 ** 30).toFixed(2)} GiB` : n >= 2 ** 20 ?
	`${(n / 2 ** 20).toFixed(1)} MiB` : n >= 1024 ? `${Math.round(n / 1024)} KiB` : `${Math.round(n)} B`;
const rate = (n) => `${bytes(n)}/s`;
const span = (us) => us === undefined ? "–" : us >= 6e7 ? `${Math.floor(us / 6e7)} min ${Math.round(us % 6e7 / 1e6)} s` : us >= 1e6 ?
	`${(us / 1e6).toFixed(2)} s` : us >= 1000 ? `${(us / 1000).toFixed(us < 1e5 ? 1 : 0)} ms` : `${us} µs`;
const when = (ms) => new Date(ms).toLocaleString([], { dateStyle: "short", timeStyle: "medium" });

function el(name, props, ...children) {
	const n = document.createElement(name);
	for (const [k, v] of Object.entries(props || {}))
		if (k === "class") n.className = v;
		else if (k.startsWith("on")) n.addEventListener(k.slice(2), v);
		else n.setAttribute(k, v);
	n.append(...children.filter((c) => c !== null && c !== undefined));
	return n;
}

/* ---- the API ---- */

class Problem extends Error {
	constructor(status, body) {
		super(body.detail || `hauld said ${status}`);
		this.status = status;
		this.code = body.code;
	}
}

async function api(path, body, headers) {
	const r = await fetch(path, body === undefined ? { cache: "no-store" } : {
		method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers } });
	const data = await r.json().catch(() => ({}));
	if (r.status === 401)
		ask_login();
	if (!r.ok)
		throw new Problem(r.status, data);
	return data;
}

function ask_login() {
	if (events)
		events.close();
	events = null;
	$("main").hidden = true;
	$("login").hidden = false;
	$("logout").hidden = true;
	live(false, "not signed in");
	$("token").focus();
}

$("login").addEventListener("submit", async (e) => {
	e.preventDefault();
	const r = await fetch("/v1/session", { method: "POST", headers: { "Content-Type": "application/json" },
		body: JSON.stringify({ token: $("token").value }) });
	$("token").value = "";
	if (r.ok) {
		$("login-error").textContent = "";
		begin();
	} else {
		$("login-error").textContent = (await r.json().catch(() => ({}))).detail || `hauld said ${r.status}`;
	}
});

$("logout").addEventListener("click", async () => {
	await fetch("/v1/session", { method: "DELETE" });
	location.reload();
});

/* ---- events ---- */

function live(on, text) {
	$("live").textContent = text;
	$("live").classList.toggle("on", on);
}

function keep(m) {
	const old = jobs.get(m.id);
	jobs.set(m.id, { rounds: [], faults: [], ...old, ...m });
	return jobs.get(m.id);
}

/* One event into what is known of its migration; the same for live ones and for those read again. */
function apply(m, e) {
	switch (e.event) {
	case "queued": Object.assign(m, e.request, { rounds: m.rounds, faults: m.faults }); break;
	case "started": m.status = "running"; m.started_ms = e.at_ms; break;
	case "cancelling": m.cancelling = true; break;
	case "state": m.state = e.state; break;
	case "freeze": m.freeze = e; break;
	case "round":
		if (!m.rounds.some((r) => r.round === e.round && r.time_s === e.time_s)) m.rounds.push(e);
		m.round = e;
		break;
	case "progress":
		m.progress = e;
		if (e.state === "post-copy" && !m.faults.some((f) => f.time_s === e.time_s)) m.faults.push(e);
		break;
	case "running": m.downtime_us = e.downtime_us; break;
	case "finding": if (!m.findings) m.findings = []; m.findings.push(e); break;
	case "error": m.error = e; break;
	case "done": case "failed": m.result = e; break;
	case "ended": m.status = e.status; m.exit = e.exit; m.ended_ms = e.at_ms; break;
	}
}

/* not with the next frame: a tab in the background has none, and its title says how many are under way */
let due = 0;
function draw_soon() {
	if (!due)
		due = setTimeout(() => { due = 0; draw(); }, 40);
}

function listen(position) {
	events = new EventSource(`/v1/events?after=${position}`);
	events.onopen = () => live(true, "live");
	events.onerror = () => live(false, events.readyState === 2 ? "not connected" : "connecting again");
	events.onmessage = async (msg) => {
		const e = JSON.parse(msg.data);
		if (!jobs.has(e.job))
			keep(e.request || await api(`/v1/migrations/${e.job}`).catch(() => ({ id: e.job, status: "running" })));
		const m = jobs.get(e.job);
		apply(m, e);
		if (e.event === "ended")
			load_processes();
		draw_soon();
	};
}

/* ---- a migration ---- */

const figure = (picture, ...legend) => el("figure", {}, picture, el("figcaption", {}, ...legend.map(([cls, text]) =>
	el("span", { class: cls }, el("i"), text))));

function round_chart(m) {
	if (m.rounds.length === 0)
		return null;
	const dirty = m.rounds.map((r) => [r.time_s, r.dirty_pages_ps * PAGE_BYTES]);
	const link = m.rounds.map((r) => [r.time_s, r.link_Bps]);
	const last = m.rounds[m.rounds.length - 1];
	return figure(lines([{ name: "written", cls: "c-dirty", points: dirty, dots: true }, { name: "link", cls: "c-link", points: link, dots: true }],
		rate, 2 ** 20, "s", `After ${m.rounds.length} rounds the process writes ${rate(last.dirty_pages_ps * PAGE_BYTES)}, the link carries ${rate(last.link_Bps)}`),
	["c-dirty", "written by the process"], ["c-link", "carried by the link"]);
}

function fault_chart(m) {
	if (m.faults.length < 2)
		return null;
	const t0 = m.faults[0].time_s;
	return figure(lines([{ name: "faults", cls: "c-fault", points: m.faults.map((f) => [f.time_s - t0, f.faults]), steps: true }],
		(v) => Math.round(v).toLocaleString(), 1, "s", `${m.faults[m.faults.length - 1].faults} faults since the switch-over`),
	["c-fault", "faults since the switch-over"]);
}

function downtime_chart(m) {
	const real = m.result && m.result.downtime_us || m.downtime_us, predicted = m.round && m.round.predicted_downtime_us;
	if (!real || !predicted)
		return null;
	return figure(pairs([{ name: "predicted", cls: "c-link", value: predicted, text: span(predicted) },
		{ name: "real", cls: "c-left", value: real, text: span(real) }], `Stopped for ${span(real)}, predicted ${span(predicted)}`));
}

function parts(m) {
	const r = m.result;
	if (!r || !r.downtime_us)
		return null;
	const all = PARTS.reduce((sum, [, key]) => sum + (r[key] || 0), 0) || 1;
	const bar = el("div", { class: "parts", role: "img", "aria-label": "parts of the downtime" });
	PARTS.forEach(([name, key], i) => {
		const piece = el("span", { class: `p${i}`, title: `${name} ${span(r[key] || 0)}` });
		piece.style.flexGrow = String((r[key] || 0) / all);
		bar.append(piece);
	});
	return el("figure", {}, bar, el("figcaption", {}, ...PARTS.map(([name, key], i) =>
		el("span", { class: `p${i}` }, el("i"), `${name} ${span(r[key] || 0)}`))));
}

function facts(list) {
	return el("dl", { class: "facts" }, ...list.filter(([, v]) => v !== undefined && v !== null).map(([k, v]) =>
		el("div", {}, el("dt", {}, k), el("dd", {}, String(v)))));
}

function steps(m) {
	const at = m.status === "queued" ? -1 : STEPS.findIndex(([, states]) => states.includes(m.state));
	return el("ol", { class: "steps", "aria-label": "phases" }, ...STEPS.map(([name], i) =>
		el("li", i === at ? { class: "now", "aria-current": "step" } : { class: i < at ? "past" : "" }, name)));
}

function said(findings) {
	return el("ul", { class: "findings" }, ...findings.map((f) => el("li", { class: f.severity || "blocker" },
		f.severity === "info" ? "" : el("strong", { class: f.severity === "warning" ? "warn" : "bad" }, f.severity === "warning" ? "Warning: " : "In the way: "),
		f.text, f.remedy ? el("small", {}, f.remedy) : null)));
}

const name_of = (m) => `${m.comm || "process"} (${m.pid})`;
const badge = (m) => el("span", { class: `badge ${KIND[m.status] || ""}` }, WORD[m.status] || m.status);

function card(m) {
	const p = m.progress || {}, after = m.state === "post-copy" || m.state === "relink";
	const cancel = el("button", { class: "danger", onclick: () => act(m, "cancel", {}), "aria-label": `Cancel ${name_of(m)}` },
		m.status === "queued" ? "Take off the list" : "Cancel");

	cancel.disabled = m.cancelling || after || ["commit", "restore"].includes(m.state);
	return el("article", { class: "card", "data-id": m.id },
		el("div", { class: "title" }, el("h3", {}, `${name_of(m)} → ${m.destination}`), cancel),
		m.status === "queued" ? el("p", { class: "hint" }, "It waits for its turn.") : steps(m),
		facts([["sent", bytes(p.wire_bytes)], ["round", p.round], after ? ["still there", bytes((p.left_pages || 0) * PAGE_BYTES)] :
			["stopped now for", m.round ? span(m.round.predicted_downtime_us) : p.predicted_downtime_us && span(p.predicted_downtime_us)],
		after ? ["faults", p.faults] : ["writes", m.round && rate(m.round.dirty_pages_ps * PAGE_BYTES)], ["link", p.link_Bps && rate(p.link_Bps)],
		["was stopped for", m.downtime_us && span(m.downtime_us)]]),
		round_chart(m), fault_chart(m), m.round && !after ? el("p", { class: "hint" }, m.round.why) : null);
}

async function act(m, what, body) {
	try {
		const said = await api(`/v1/migrations/${m.id}/${what}`, body);
		if (what === "resolve")
			keep(said); /* of a cancelled one events say more, and may have come first */
	} catch (e) {
		alert(e.message);
	}
	draw_soon();
}

/* ---- in detail ---- */

function resolve_box(m) {
	if (m.status !== "unresolved")
		return null;
	const ask = (copy, text) => el("button", { class: copy === "drop" ? "danger" : "second", onclick: () =>
		confirm(`${text}\n\nIf ${m.destination} has it running too, that is wrong. Are you certain?`) && act(m, "resolve", { copy_here: copy }) }, text);
	return el("div", { class: "card" }, el("p", {}, el("strong", {}, "The outcome is not known."),
		` The copy here is stopped. Look at ${m.destination} first: when it answers again, haul recover ends this by itself.`),
	el("div", { class: "buttons" }, ask("keep", "Resume the copy here"), ask("drop", "Drop the copy here")));
}

function say_event(e) {
	const rest = { ...e };
	for (const k of ["job", "at_ms", "event", "migration", "time_s", "request"])
		delete rest[k];
	return `${e.time_s !== undefined ? e.time_s.toFixed(3).padStart(9) + " s" : when(e.at_ms)}  ${e.event}  ${
		Object.entries(rest).map(([k, v]) => `${k}=${typeof v === "object" ? JSON.stringify(v) : v}`).join(" ")}\n`;
}

function show(id) {
	const m = jobs.get(id), log = el("div", { class: "log", tabindex: "0", role: "region", "aria-label": "events" });
	const body = el("div");

	$("detail-title").textContent = `${name_of(m)} → ${m.destination}`;
	$("detail-body").replaceChildren(body, el("h2", {}, "Events"), log);
	const fill = () => {
		const r = m.result || {};
		body.replaceChildren(el("p", {}, badge(m), ` ${when(m.created_ms)}, policy ${m.policy || "default"}, by ${m.owner || "?"}`),
			m.error ? el("p", { class: "bad" }, m.error.text, m.error.remedy ? el("small", { class: "hint" }, ` — ${m.error.remedy}`) : "") : "",
			m.findings && m.findings.length ? said(m.findings) : "", resolve_box(m) || "",
			facts([["stopped for", r.downtime_us && span(r.downtime_us)], ["total", r.total_us && span(r.total_us)], ["rounds", r.rounds],
				["memory", r.rss_bytes && bytes(r.rss_bytes)], ["sent", r.wire_bytes !== undefined ? bytes(r.wire_bytes) : undefined],
				["faults", r.faults], ["fault, median", r.faults ? span(r.fault_p50_us) : undefined],
				["fault, 99 %", r.faults ? span(r.fault_p99_us) : undefined], ["came afterwards", r.remote_pages !== undefined ? bytes(r.remote_pages * PAGE_BYTES) : undefined]]),
			downtime_chart(m) || "", parts(m) || "", round_chart(m) || "", fault_chart(m) || "");
	};
	fill();
	$("detail").showModal();
	const source = new EventSource(`/v1/migrations/${id}/events?after=0`);
	/* told from its beginning: what this page has kept of it is told again */
	m.rounds = [];
	m.faults = [];
	m.findings = [];
	source.onmessage = (msg) => {
		const e = JSON.parse(msg.data);
		log.append(say_event(e));
		if (!(OVER.has(m.status) && ["queued", "started", "state"].includes(e.event)))
			apply(m, e);
		fill();
		if (e.event === "ended")
			source.close();
	};
	shown = source;
}

$("detail").addEventListener("close", () => { if (shown) shown.close(); shown = null; draw_soon(); });
$("close").addEventListener("click", () => $("detail").close());

/* ---- all of it ---- */

function row(m) {
	const r = m.result || {};
	const cell = (name, text, cls) => el("td", { "data-name": name, class: cls || "" }, text);
	return el("tr", { "data-id": m.id }, cell("", when(m.created_ms)),
		el("td", { "data-name": "" }, el("button", { class: "quiet", onclick: () => show(m.id) }, name_of(m))),
		cell("to", m.destination), el("td", { "data-name": "" }, badge(m)), cell("stopped", span(r.downtime_us), "n"),
		cell("predicted", span(r.downtime_us && m.round ? m.round.predicted_downtime_us : undefined), "n"),
		cell("total", span(r.total_us), "n"), cell("memory", bytes(r.rss_bytes), "n"), cell("sent", bytes(r.wire_bytes), "n"));
}

function draw() {
	const list = [...jobs.values()].sort((a, b) => b.created_ms - a.created_ms);
	const under_way = list.filter((m) => !OVER.has(m.status));
	const focus = document.activeElement && document.activeElement.getAttribute("aria-label");

	$("running").replaceChildren(...under_way.map(card));
	$("none").hidden = under_way.length > 0;
	const row_focus = document.activeElement && document.activeElement.closest && document.activeElement.closest("tr");
	const row_id = row_focus && row_focus.dataset.id;
	$("history").replaceChildren(...list.filter((m) => OVER.has(m.status)).map(row));
	if (row_id)
		$("history").querySelector(`tr[data-id="${row_id}"] button`)?.focus();
	else if (focus)
		[...$("running").querySelectorAll("button")].find((b) => b.getAttribute("aria-label") === focus)?.focus();
	$("scroll").hidden = list.length === under_way.length;
	$("no-history").hidden = !$("scroll").hidden;
	$("older").hidden = !next;
	document.title = under_way.length ? `haul: ${under_way.length} under way` : "haul";
}

function host(p, mine) {
	const facts = mine ? [p.program, `kernel ${p.kernel}`] : p.reachable ? [p.program, `kernel ${p.kernel}`, `CRIU ${p.criu}`,
		`${bytes(p.mem_free_bytes)} free`] : [p.error || "not reachable"];
	return el("li", {}, el("div", { class: "name" }, el("span", {}, p.host), mine ? el("span", { class: "here" }, "this host") :
		el("span", { class: p.reachable ? "good" : "bad" }, p.reachable ? "reachable" : "not reachable")),
	el("div", { class: "hint" }, facts.filter(Boolean).join(" · ")), !mine && p.remedy ? el("div", { class: "hint" }, p.remedy) : null);
}

let about = {};
async function load_hosts() {
	$("ask-hosts").disabled = true;
	const r = await api("/v1/peers").catch(() => ({ peers: [] }));
	$("hosts").replaceChildren(host(about, true), ...r.peers.map((p) => host(p, false)));
	$("destinations").replaceChildren(...r.peers.map((p) => el("option", { value: p.host })));
	$("ask-hosts").disabled = false;
}

async function load_processes() {
	processes = (await api("/v1/processes").catch(() => ({ processes: [] }))).processes
		.sort((a, b) => b.rss_bytes - a.rss_bytes);
	$("processes").replaceChildren(...processes.map((p) => el("option", { value: `${p.comm} ${p.pid}` }, bytes(p.rss_bytes))));
}

async function load_policies() {
	policies = (await api("/v1/policies").catch(() => ({ policies: [] }))).policies;
	$("policy").replaceChildren(...policies.map((p) => el("option", { value: p.name }, p.name)));
	$("policy").value = "default";
	say_policy();
}

function say_policy() {
	$("policy-says").textContent = policies.find((p) => p.name === $("policy").value)?.meaning || "";
}

async function load_page() {
	const r = await api(`/v1/migrations?limit=${HISTORY}${next ? `&cursor=${next}` : ""}`);
	r.migrations.forEach(keep);
	next = r.next;
	return r.position;
}

/* ---- moving ---- */

/* "name pid", "pid" or a name that only one has */
function wanted() {
	const text = $("process").value.trim(), number = /(\d+)$/.exec(text);
	const named = processes.filter((p) => p.comm === text);
	if (named.length === 1)
		return named[0].pid;
	if (named.length > 1)
		throw new Error(`${named.length} processes have this name: ${named.map((p) => p.pid).join(", ")}`);
	if (!number)
		throw new Error("no process of this name; a pid will do");
	return Number(number[1]);
}

async function form(what) {
	const buttons = $("start").querySelectorAll("button");
	buttons.forEach((b) => { b.disabled = true; });
	$("said").replaceChildren(el("p", { class: "hint" }, what === "check" ? "Checking…" : "…"));
	try {
		const body = { pid: wanted(), destination: $("destination").value.trim(), policy: $("policy").value };
		if (what === "check") {
			const r = await api("/v1/check", body);
			$("said").replaceChildren(el("p", { class: r.can_move ? "good" : "bad" }, r.can_move ? "Nothing stands in the way." : "It cannot be moved as it is."),
				said(r.findings));
		} else {
			const m = await api("/v1/migrations", body, { "Idempotency-Key": key() });
			if (!jobs.has(m.id)) /* events may have come first */
				keep(m);
			$("said").replaceChildren();
			$("start").reset();
			say_policy();
			draw();
			$("running").querySelector(`[data-id="${m.id}"]`)?.scrollIntoView({ block: "nearest" });
		}
	} catch (e) {
		$("said").replaceChildren(el("p", { class: "bad", role: "alert" }, e.message));
	}
	buttons.forEach((b) => { b.disabled = false; });
}

const key = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

$("start").addEventListener("submit", (e) => { e.preventDefault(); form("move"); });
$("check").addEventListener("click", () => $("start").reportValidity() && form("check"));
$("policy").addEventListener("change", say_policy);
$("ask-hosts").addEventListener("click", load_hosts);
$("older").addEventListener("click", async () => { await load_page(); draw(); });
$("process").addEventListener("focus", load_processes);

async function begin() {
	try {
		about = await api("/v1/version");
	} catch (e) {
		if (e.status !== 401)
			live(false, e.message);
		return;
	}
	$("host").textContent = about.host;
	$("about").textContent = `${about.program}, you are ${about.you}`;
	$("login").hidden = true;
	$("main").hidden = false;
	$("logout").hidden = false;
	jobs.clear();
	next = null;
	try {
		listen(await load_page());
		draw();
	} catch (e) {
		live(false, e.message);
	}
	load_hosts();
	load_processes();
	load_policies();
}

begin();
