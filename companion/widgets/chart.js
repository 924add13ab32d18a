// Lines over numbers, as SVG with a crosshair by pointer or arrow keys; one text for the page and for the saved file.

const SERIES = ["#1f6fb2", "#b3005e", "#2e7d32", "#a85400", "#6a3fb5", "#00707a"];
const SERIES_DARK = ["#6cb6ff", "#ff7ab8", "#7fd083", "#ffb454", "#c3a6ff", "#5ad1dc"];
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "1 3"]; // colors are never the only difference

// Round numbers that cover a range: 1, 2 or 5 times a power of ten apart.
const ticks = (low, high, count) => {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
};

// A number beside an axis.
const axis = (v) => String(Math.abs(v) < 1e5 ? Number(v.toPrecision(6)) : Number(v.toPrecision(2)).toExponential());
// Ink and the colors of series.
const palette = (dark) => [dark ? "#d5dbe1" : "#2b313a", dark ? SERIES_DARK : SERIES];
const picture = (width, tall, parts) => `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${tall}" viewBox="0 0 ${width} ${tall}" ` +
  `font-family="sans-serif" font-size="12" aria-hidden="true">${parts.join("")}</svg>`;
// A line through points, series i. A point carries its value; of a long line every nth is drawn, the last, and the one in focus.
const series = (i, color, points, values, here, nth = 1) =>
  `<polyline points="${points.join(" ")}" fill="none" stroke="${color}" stroke-width="1.6" stroke-dasharray="${DASHES[i]}"/>` + points.map(([x, y], j) => {
    const on = here?.i === i && here.j === j;
    return on || j % nth === 0 || j === points.length - 1 ? `<circle cx="${x}" cy="${y}" r="${on ? 5 : 2}" fill="${color}" data-r="${i}" data-c="${j}" data-value="${values[j]}"/>` : "";
  }).join("");

// data: label, names (a series each), xs, values (a row each), xLabel, low, high; here: {i: series, j: point} or null.
const chartSvg = ({ label, names, xs, values, xLabel, low, high, nth }, { dark, width, here, mark }) => {
  const keys = names.length > 1 ? Math.ceil(names.length / Math.floor((width - 46) / 120)) : 0; // lines of the legend
  const L = 46, R = 12, T = 12 + 18 * keys, B = 40, H = 250 + 18 * keys, last = xs.length - 1;
  const [ink, colors] = palette(dark), out = [`<title>${escapeXml(label)}: ${names.map(escapeXml).join(", ")}</title>`];
  const x = (v) => L + ((v - xs[0]) / (xs[last] - xs[0] || 1)) * (width - L - R);
  const y = (v) => T + ((high - v) / (high - low || 1)) * (H - T - B);
  const line = (x1, y1, x2, y2, extra) => out.push(`<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" ${extra}/>`);
  const text = (px, py, s, extra) => out.push(`<text x="${px}" y="${py}" fill="${ink}" ${extra}>${escapeXml(s)}</text>`);
  for (const v of ticks(low, high, 5)) {
    line(L, y(v), width - R, y(v), `stroke="${ink}" opacity="${Math.abs(v) < 1e-12 ? 0.6 : 0.15}"`);
    text(L - 6, y(v) + 4, axis(v), 'text-anchor="end"');
  }
  for (const v of ticks(xs[0], xs[last], Math.min(width / 60, xs.length)).filter(Number.isInteger)) {
    line(x(v), H - B, x(v), H - B + 4, `stroke="${ink}"`);
    text(x(v), H - B + 17, String(v), 'text-anchor="middle"');
  }
  text((L + width - R) / 2, H - 6, xLabel, 'text-anchor="middle"');
  names.slice(0, keys && names.length).forEach((s, i) => {
    const each = Math.floor((width - L) / 120), kx = L + (i % each) * 120, ky = 14 + 18 * Math.floor(i / each);
    line(kx, ky - 4, kx + 26, ky - 4, `stroke="${colors[i]}" stroke-width="2" stroke-dasharray="${DASHES[i]}"`);
    text(kx + 32, ky, s, "");
  });
  if (mark) out.push(`<circle cx="${x(xs[mark.j])}" cy="${y(values[mark.i][mark.j])}" r="7" fill="none" stroke="${ink}" stroke-width="2"/>`);
  if (here) line(x(xs[here.j]), T, x(xs[here.j]), H - B, `stroke="${colors[here.i]}" stroke-dasharray="3 3"`);
  values.forEach((row, i) => out.push(series(i, colors[i], row.map((v, j) => [x(xs[j]).toFixed(1), y(v).toFixed(1)]), row, here, nth)));
  return picture(width, H, out);
};

// A chart that takes its place among the matrices: the same explainer, n series of m points. Another drawing takes the
// same place with its own svg(data, how), in which the points have data-r and data-c.
const chart = (spec) => {
  const { id, name, data, explain, svg = chartSvg, near = svg === chartSvg ? (dx, dy) => 10 * dx + dy : Math.hypot } = spec;
  const n = data.values.length, m = data.values[0].length;
  const plot = h("div", { class: "lm-plot", tabindex: "0", role: "application", "aria-roledescription": "chart",
    "aria-label": `${data.label}; arrow keys read the points` });
  const el = h("div", { class: "lm-chart", "data-matrix": id }, h("div", { class: "lm-title" }, nameNode(name)), plot);
  let at = [0, 0], shown = data, here = null, mark = null, dark = false;
  const draw = () => {
    const width = Math.max(220, Math.min(760, plot.clientWidth || 600));
    plot.innerHTML = svg(shown, { dark, width, here, mark });
    if (here) Object.assign(plot.dataset, { r: here.i, c: here.j, value: String(shown.values[here.i][here.j]) });
  };
  const move = (i, j) => { at = [i, j]; explain.focus({ id, i, j }); };
  const nearest = (event) => {
    const dots = [...plot.querySelectorAll("[data-r]")].map((dot) => {
      const { left, top, width, height } = dot.getBoundingClientRect();
      return [near(Math.abs(left + width / 2 - event.clientX), Math.abs(top + height / 2 - event.clientY)), Number(dot.dataset.r), Number(dot.dataset.c)];
    });
    return dots.reduce((a, b) => (b[0] < a[0] ? b : a)).slice(1);
  };
  plot.addEventListener("focus", () => move(...at));
  plot.addEventListener("pointerdown", (event) => move(...nearest(event))); // before the focus, which redraws what a click needs
  roam(plot, { id, explain, n, m, cellAt: nearest, at: () => at, move });
  const resized = new ResizeObserver(() => draw());
  resized.observe(plot);
  return {
    el, n, m,
    destroy: () => resized.disconnect(),
    paint: (next, onDark, marked) => { shown = next; dark = onDark; mark = marked; }, // light() draws
    light: (lit, to) => { here = to; draw(); },
  };
};

// The slider of a base: what its range moves is the exponent.
const BASE = { label: "base", min: 10, max: 1e6, step: 0.1, unit: "as base", bounds: { min: 1, max: 6 },
  to: Math.log10, from: (v) => Number((10 ** v).toPrecision(2)) };
