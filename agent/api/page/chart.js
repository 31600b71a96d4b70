/* SPDX-License-Identifier: GPL-2.0-or-later */
/* chart.js - small charts in SVG; every number comes with its text. */
const NS = "http://www.w3.org/2000/svg";

function node(name, attributes, text) {
	const n = document.createElementNS(NS, name);
	for (const [k, v] of Object.entries(attributes || {}))
		n.setAttribute(k, v);
	if (text !== undefined)
		n.textContent = text;
	return n;
}

/* 1, 2, 5, 10...: the end of an axis that has all of it */
function nice(max) {
	if (!(max > 0))
		return 1;
	const ten = 10 ** Math.floor(Math.log10(max));
	return [1, 2, 5, 10].map((k) => k * ten).find((k) => k >= max);
}

/**
 * lines() - series over time
 * @series: [{ name, cls, points: [[x, y]...], dots, steps }]
 * @say: text of a value on the y axis; @step: what it counts in; @unit: of x
 */
export function lines(series, say, step, unit, label) {
	const W = 560, H = 170, L = 64, R = 10, T = 10, B = 22;
	const all = series.flatMap((s) => s.points);
	const x1 = Math.max(...all.map((p) => p[0]), 0.1), y1 = step * nice(Math.max(...all.map((p) => p[1]), 0) / step);
	const x = (v) => L + (W - L - R) * v / x1, y = (v) => H - B - (H - T - B) * Math.min(v / y1, 1);
	const svg = node("svg", { viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img" });

	svg.append(node("title", {}, label));
	for (const k of [0, 0.5, 1]) {
		svg.append(node("line", { class: "axis", x1: L, x2: W - R, y1: y(y1 * k), y2: y(y1 * k) }));
		svg.append(node("text", { x: L - 6, y: y(y1 * k) + 4, "text-anchor": "end" }, say(y1 * k)));
	}
	for (const k of [0, 0.5, 1])
		svg.append(node("text", { x: x(x1 * k), y: H - 6, "text-anchor": k === 0 ? "start" : k === 1 ? "end" : "middle" },
			`${(x1 * k).toFixed(x1 < 10 ? 1 : 0)} ${unit}`));
	for (const s of series) {
		const g = node("g", { class: s.cls });
		let path = "";

		s.points.forEach(([px, py], i) => {
			path += i === 0 ? `M${x(px)} ${y(py)}` : s.steps ? `H${x(px)}V${y(py)}` : `L${x(px)} ${y(py)}`;
		});
		g.append(node("path", { class: "line", d: path }));
		if (s.dots)
			for (const [px, py] of s.points) {
				const d = node("circle", { class: "dot", cx: x(px), cy: y(py), r: 3.5 });
				d.append(node("title", {}, `${s.name}: ${say(py)}`));
				g.append(d);
			}
		svg.append(g);
	}
	return svg;
}

/** pairs() - two bars below one another, to be compared. @bars: [{ name, cls, value, text }] */
export function pairs(bars, label) {
	const W = 560, row = 24, L = 86, R = 70;
	const max = Math.max(...bars.map((b) => b.value), 1e-9);
	const svg = node("svg", { viewBox: `0 0 ${W} ${row * bars.length + 4}`, class: "chart", role: "img" });

	svg.append(node("title", {}, label));
	bars.forEach((b, i) => {
		const w = Math.max(2, (W - L - R) * b.value / max), top = i * row + 4;
		const g = node("g", { class: b.cls });

		g.append(node("rect", { class: "bar", x: L, y: top, width: w, height: row - 8, rx: 3 }));
		g.append(node("text", { x: L - 6, y: top + 12, "text-anchor": "end" }, b.name));
		g.append(node("text", { x: L + w + 6, y: top + 12 }, b.text));
		svg.append(g);
	});
	return svg;
}
