// uses: core grid heat chart exits
// W5, the positional encoding bench: P[p, 2i] = sin(p ω_i), P[p, 2i+1] = cos(p ω_i), ω_i = base^(-2i/d).

const KEYS = ["d_model", "length", "base", "pairing", "view", "dims", "show"]; // what a link carries
const VIEWS = [["matrix", "table"], ["dot", "dot products"], ["distance", "by distance"], ["curves", "curves of dimensions"]];
const PAIRINGS = [["interleaved", "interleaved"], ["half", "half-split"]];
const SHOWS = [["formula", "formula"], ["given", "given table"], ["difference", "given − formula"]];

const frequencies = (d, base) => Array.from({ length: d / 2 }, (_, i) => base ** (-2 * i / d));
// Which pair a column belongs to, and whether it is a sine.
const place = (j, d, pairing) => (pairing === "half" ? [j % (d / 2), j < d / 2] : [j >> 1, j % 2 === 0]);
const sinusoidal = ({ d_model: d, length, base, pairing }) => {
  const omegas = frequencies(d, base);
  return Array.from({ length }, (_, p) => Array.from({ length: d }, (_, j) => {
    const [i, sine] = place(j, d, pairing);
    return sine ? Math.sin(p * omegas[i]) : Math.cos(p * omegas[i]);
  }));
};

// The table that is shown, its dot products, and the dot products with position 0.
const encode = (state) => {
  const { show, given, d_model: d, length, base } = state, formula = sinusoidal(state);
  if (show === "formula") { // P_p·P_q = Σ cos((p-q) ω_i): one number a distance
    const omegas = frequencies(d, base);
    const distance = formula.map((_, k) => sum(omegas.map((w) => Math.cos(k * w))));
    return { ...state, omegas, table: formula, distance, dot: formula.map((_, p) => formula.map((_, q) => distance[Math.abs(p - q)])) };
  }
  const rows = given.slice(0, length);
  const table = show === "given" ? rows : rows.map((row, p) => row.map((v, j) => v - formula[p][j]));
  const products = table.map((a) => table.map((b) => dot(a, b)));
  return { ...state, omegas: frequencies(d, base), table, distance: products[0], dot: products };
};

const isOne = (options, value) => options.some(([key]) => key === value);
const problem = ({ d_model: d, length, base, pairing, view, dims, show, given }) => {
  const whole = (v, low, high) => Number.isInteger(v) && v >= low && v <= high;
  if (!whole(d, 2, 128) || d % 2 || !whole(length, 1, 128) || !(base >= 10 && base <= 1e6)) return "d_model must be even, 2 to 128; the length 1 to 128; the base 10 to 1000000";
  if (!isOne(PAIRINGS, pairing) || !isOne(VIEWS, view) || !isOne(SHOWS, show)) return "This is no state of this figure";
  if (!Array.isArray(dims) || !dims.length || dims.length > 6 || !dims.every((j) => whole(j, 0, d - 1))) return `Choose one to six dimensions from 0 to ${d - 1}, like 0, 1, 4`;
  if (show !== "formula" && !(given.length >= length && given[0].length === d)) return "The given table has another size";
  return "";
};

// ---- what made a number --------------------------------------------------------------------------------------------

const spell = (terms) => terms.slice(0, 8).map((v) => (v < 0 ? `(${fmt(v)})` : fmt(v))).join(" + ") +
  (terms.length > 8 ? ` + … (${terms.length - 8} more)` : "");
const explainCell = (r, p, j) => {
  const { d_model: d, base, table, show } = r, [i, sine] = place(j, d, r.pairing), f = sine ? "sin" : "cos", w = r.omegas[i];
  const formula = `${f}(${p} × ${short(base)}^(-${2 * i}/${d})) = ${f}(${fmt(p * w)})`;
  return [show === "formula" ? `P[${p}, ${j}] = ${formula} = ${fmt(table[p][j])}`
    : `${show === "given" ? "Given" : "Given − formula"}[${p}, ${j}] = ${fmt(table[p][j])}; the formula: ${formula} = ${fmt(Math[f](p * w))}`,
  `pair ${i}: it repeats every 2π/ω = ${fmt(2 * Math.PI / w)} positions`];
};
const explainDot = (r, p, q) => [`P${p}·P${q} = ` + (r.show === "formula"
  ? `Σ cos((${p} - ${q}) ω) = ${spell(r.omegas.map((w) => Math.cos((p - q) * w)))} = ${fmt(r.dot[p][q])}`
  : `${spellSum(r.table[p], r.table[q])} = ${fmt(r.dot[p][q])}`),
r.show === "formula" ? `the same for every two positions that are ${Math.abs(p - q)} apart` : "sum over the dimensions"];
const EXPLAIN = {
  matrix: explainCell,
  dot: explainDot,
  distance: (r, _, k) => explainDot(r, 0, k),
  curves: (r, s, p) => explainCell(r, p, r.dims[s]),
};

const GOALS = [
  ["blur", "Make neighbors hard to tell apart: P0·P1 above 0.975 of P0·P0", (r) => r.length > 1 && r.distance[1] > 0.975 * r.distance[0]],
  ["repeat", "Let a position come back: P0·Pk above 0.99 of P0·P0 for some k of 4 or more, though P0·P1 is below 0.9",
    (r) => r.distance[1] < 0.9 * r.distance[0] && r.distance.some((v, k) => k > 3 && v > 0.99 * r.distance[0])],
  ["turn", "Let even the slowest of four or more pairs turn once within the length",
    (r) => r.omegas.length > 3 && r.length * r.omegas.at(-1) >= 2 * Math.PI],
];

// ---- the figure ----------------------------------------------------------------------------------------------------

const count = (length) => Array.from({ length }, (_, i) => String(i));
const bounds = (rows) => { const all = rows.flat(); return { low: Math.min(0, ...all), high: Math.max(...all) }; };
const chartData = (r) => (r.view === "distance"
  ? { label: "Dot product of position 0 with position k", names: ["P0·Pk"], values: [r.distance], xLabel: "distance k" }
  : { label: "Chosen dimensions over the positions", names: r.dims.map((j) => `dimension ${j}`), values: r.dims.map((j) => column(r.table, j)), xLabel: "position p" });
const dataOf = (r) => {
  const data = chartData(r);
  return { ...data, xs: r.table.map((_, p) => p), ...bounds(data.values) };
};
const makeView = (r, on) => {
  const { view, length: n, d_model: d } = r;
  if (view === "distance" || view === "curves") return chart({ id: view, name: view === "distance" ? "P0·Pk" : "P", data: dataOf(r), ...on });
  const square = view === "dot";
  return matrixView({ id: view, name: square ? "PPᵀ" : "P", label: square ? "Dot products of positions" : "Positional encoding, a row a position",
    rows: count(n), cols: count(square ? n : d), ...on });
};
const limitOf = (r) => (r.view === "dot" ? largest(r.dot) : r.show === "formula" ? 1 : largest(r.table));

// Dimensions as text: "0, 1, 4".
const dimsBox = (ui, apply) => {
  const box = entry({ type: "text", class: "lm-wide" }, (text) => {
    const dims = text.split(/[\s,]+/).filter(Boolean).map(Number);
    box.el.setAttribute("aria-invalid", String(Boolean(apply({ dims }))));
  });
  return { el: h("label", { class: "lm-toggle" }, "dimensions ", box.el), set: (dims) => {
    box.show(dims.join(", "));
    box.el.setAttribute("aria-invalid", "false");
  } };
};

const makeControls = (ui, apply, given) => {
  const rows = given.length ? Math.min(128, given.length) : 128, { alert } = ui;
  const all = {
    d_model: slider({ label: "d_model", min: 2, max: 128, step: 2, unit: "dimensions", alert, onInput: (v) => apply({ d_model: v }) }),
    length: slider({ label: "length", min: 1, max: rows, step: 1, unit: "positions", alert, onInput: (v) => apply({ length: v }) }),
    base: slider({ ...BASE, alert, onInput: (v) => apply({ base: v }) }),
    pairing: choice("Sines and cosines", PAIRINGS, (pairing) => apply({ pairing })),
    show: choice("Show", SHOWS, (show) => apply({ show, d_model: given[0].length, length: rows })),
    view: choice("View", VIEWS, (view) => apply({ view })),
    dims: dimsBox(ui, apply),
  };
  const set = (state) => {
    Object.entries(all).forEach(([key, control]) => control.set(state[key]));
    all.d_model.el.hidden = given.length > 0; // the width of a given table is what it is
    all.show.el.hidden = !given.length;
    all.dims.el.hidden = state.view !== "curves";
  };
  return { el: h("div", { class: "lm-controls" }, ...Object.values(all).map((c) => c.el)), set };
};

const render = ({ model, el }) => {
  let result = null, views = {}, shape = "";
  const here = session({ model, el }, { name: "positional_bench", title: "Positional encoding bench",
    keys: [...KEYS, "given", "computed_by"], problem, draw: (state) => draw(state), paint: () => paint() });
  const { ui, initial, read } = here, stageBox = h("div", { class: "lm-frame" });
  // A dimension that no longer exists is no longer chosen.
  const apply = (patch) => {
    const kept = read().dims.filter((j) => j < (patch.d_model ?? j + 1));
    return here.apply({ dims: kept.length ? kept : [0], ...patch });
  };
  const controls = makeControls(ui, apply, initial.given);
  const box = explainBox(ui, () => views, (t) => [EXPLAIN[t.id](result, t.i, t.j), []]);
  const goals = GOALS.map(([key, label]) => h("li", { "data-goal": key }, label));
  const legend = h("div", { class: "lm-legend" });

  const paint = () => {
    const { view } = result, limit = limitOf(result), at = views[view];
    const matrix = { matrix: result.table, dot: result.dot }[view];
    if (matrix) at.paint(matrix, signedScale(limit, ui.paper), `${at.n}×${at.m}, limit ${fmt(limit)}`);
    else at.paint(dataOf(result), ui.dark);
    legend.replaceChildren(...(matrix ? [fmt(-limit), bar("lm-signed"), fmt(limit)] : []));
    box.explain.show();
    ui.drawn();
  };
  const draw = (state) => {
    result = encode(state);
    const { view, d_model: d, length, dims } = state, needed = JSON.stringify([view, d, length, view === "curves" && dims]);
    if (needed !== shape) {
      shape = needed;
      views[Object.keys(views)[0]]?.destroy?.();
      views = { [view]: makeView(result, { explain: box.explain }) };
      stageBox.replaceChildren(views[view].el);
      box.explain.keep(views, { id: view, i: Math.min(1, views[view].n - 1), j: Math.min(1, views[view].m - 1) });
    }
    controls.set(state);
    GOALS.forEach(([, , reached], i) => { goals[i].dataset.done = state.show === "formula" && reached(result) ? "1" : "0"; });
    ui.badge(state.computed_by && state.show !== "formula" ? `table from ${state.computed_by}; the rest in your browser` : "computed in your browser");
    paint();
  };
  const blocks = () => [[{ name: "P", rows: count(result.table.length), cols: count(result.d_model), values: result.table,
    scale: signedScale(result.show === "formula" ? 1 : largest(result.table), [255, 255, 255]) }],
  ...(result.view === "matrix" ? [] : [[{ name: "PPT", rows: count(result.table.length), cols: count(result.table.length),
    values: result.dot, scale: signedScale(largest(result.dot), [255, 255, 255]) }]])];
  const svg = () => (views.distance || views.curves) && chartSvg(dataOf(result), { dark: false, width: 640, here: null });

  ui.body.append(controls.el,
    group("Presets", button("Reset", () => apply(initial)), ...model.get("presets").map(({ label, ...state }) => button(label, () => apply(state)))),
    stageBox, box.el, legend,
    h("div", { class: "lm-goals" }, h("p", {}, "Goals"), h("ul", {}, ...goals)),
    exits(ui, model, "positions", { state: () => Object.fromEntries(KEYS.map((key) => [key, result[key]])), blocks, svg }));
  here.begin(() => followLink(model, KEYS, here));
  return () => { views[result.view].destroy?.(); here.destroy(); };
};

render.math = { encode, problem }; // for the tests

export default { render };
