// uses: core grid chart
// W1, path length and forgetting: the shortest path from position i to position j, what is left of a signal at its
// end, and what a layer costs.

const KEYS = ["architecture", "n", "i", "j", "k", "w", "d"];
const NETS = [["rnn", "RNN"], ["cnn", "CNN"], ["dilated", "dilated CNN"], ["attention", "attention"]];
const order = (architecture) => NETS.findIndex(([key]) => key === architecture);

// The least m with k^m - 1 >= D.
const dilatedLayers = (D, k) => {
  let m = 0;
  while (k ** m - 1 < D) m++;
  return m;
};
// The nodes of the shortest path, [row, position]; row 0 holds the inputs.
const pathOf = ({ architecture, i, j, k }, steps) => {
  if (architecture === "rnn") return Array.from({ length: steps + 1 }, (_, s) => [1, i + s]);
  if (architecture === "attention") return [[0, i], [1, j]];
  // The digits of D in base k are the taps of the dilated net: k^0, k^1, ... positions apart.
  return Array.from({ length: steps + 1 }, (_, row) => [row, architecture === "cnn" ? Math.min(j, i + row * (k - 1)) : i + (j - i) % k ** row]);
};
const measure = (state) => {
  const { architecture, n, i, j, k, w, d } = state, D = j - i;
  const paths = [D, Math.ceil(D / (k - 1)), dilatedLayers(D, k), 1], steps = paths[order(architecture)];
  return { ...state, D, paths, steps, path: pathOf(state, steps), rows: architecture === "rnn" ? 2 : steps + 1,
    signals: paths.map((length, a) => (a ? (length === 1 ? 1 : NaN) : w ** D)),
    leading: [n * d * d, k * n * d * d, k * n * d * d, n * n * d],
    full: [2 * n * d * d, k * n * d * d, k * n * d * d, 4 * n * d * d + 2 * n * n * d],
    curve: Array.from({ length: n }, (_, s) => w ** s) };
};

const problem = ({ architecture, n, i, j, k, w, d }) => {
  const whole = (v, low, high) => Number.isInteger(v) && v >= low && v <= high;
  if (order(architecture) < 0) return "This is no state of this figure";
  if (!whole(n, 2, 64) || !whole(i, 1, n - 1) || !whole(j, i + 1, n)) return "The path leads from an earlier position to a later one of 2 to 64";
  if (!whole(k, 2, 7) || !whole(d, 8, 512) || !(w >= 0.5 && w <= 1.1)) return "k goes from 2 to 7, w from 0.5 to 1.1, d from 8 to 512";
  return "";
};

// ---- what made a number --------------------------------------------------------------------------------------------

const PATH = [
  [({ D }) => `one step a position: ${D}`, () => "the steps come one after the other"],
  [({ D, k, paths }) => `a layer reaches k - 1 = ${k - 1} back: ⌈${D}/${k - 1}⌉ = ${paths[1]}`, () => "a layer looks at each position and the ones before it"],
  [({ k, paths: [, , m] }) => `${m === 1 ? "1 layer reaches" : `${m} layers reach`} ${k}^${m} - 1 = ${k ** m - 1}, ${m - 1} only ${k ** (m - 1) - 1}: ${m}`,
    ({ k }) => `the taps of layer l are k^(l-1) positions apart: 1, ${k}, ${k * k}, …`],
  [() => "every position looks at every other: 1", () => "in one layer"],
];
const explainPath = (r, a) => [`${NETS[a][1]}: D = ${r.j} - ${r.i} = ${r.D}; ${PATH[a][0](r)}`, PATH[a][1](r)];
const explainSignal = (r, a) => [
  a === 0 ? `RNN: each of ${r.D} steps multiplies by w: ${short(r.w)}^${r.D} = ${fmt(r.signals[0])}`
    : r.paths[a] === 1 ? `${NETS[a][1]}: a path of length 1 passes on all of it: 1.0000`
      : `${NETS[a][1]}: depends on the weights of ${r.paths[a]} layers, not on w`,
  "the factor that one path passes on"];
const COST = [
  [({ n, d }) => `n d² = ${n}×${d}²`, ({ n, d }) => `2 n d² = 2×${n}×${d}²`, "input and state are multiplied by a matrix each"],
  ...Array(2).fill([({ n, k, d }) => `k n d² = ${k}×${n}×${d}²`, ({ n, k, d }) => `k n d² = ${k}×${n}×${d}²`, "a matrix for each of the k taps"]),
  [({ n, d }) => `n² d = ${n}²×${d}`, ({ n, d }) => `4 n d² + 2 n² d = 4×${n}×${d}² + 2×${n}²×${d}`, "W_Q, W_K, W_V and W_O are multiplications too, and so is A V"],
];
const EXPLAIN = {
  path: (r, a, column) => (column ? explainSignal : explainPath)(r, a),
  cost: (r, a, column) => [`${NETS[a][1]}: ${COST[a][column](r)} = ${(column ? r.full : r.leading)[a]} multiplications a layer`, COST[a][2]],
  net: (r, _, e) => {
    const [[row, from], [to, at]] = [r.path[e], r.path[e + 1]], left = `; ${short(r.w)}^${e + 1} = ${fmt(r.w ** (e + 1))} is left`;
    const more = { rnn: left, attention: "" }[r.architecture] ?? `, layer ${row} → ${to}`;
    return [`step ${e + 1} of ${r.steps}: position ${from} → ${at}${more}`, `from ${r.i} to ${r.j}`];
  },
  signal: (r, series, s) => [series ? `attention, distance ${s}: one step, 1.0000` : `RNN, distance ${s}: ${short(r.w)}^${s} = ${fmt(r.curve[s])}`, "the factor that one path passes on"],
};

// ---- the unrolled net ----------------------------------------------------------------------------------------------

// Every edge that position j depends on, [row, from, to]: it leads to the row above.
const edgesOf = ({ architecture, n, j, k, rows }) => {
  if (architecture === "attention") return Array.from({ length: n }, (_, p) => [0, p + 1, j]);
  const edges = [];
  if (architecture === "rnn") {
    for (let p = 1; p <= j; p++) edges.push([0, p, p], ...(p > 1 ? [[1, p - 1, p]] : []));
    return edges;
  }
  let needed = [j];
  for (let row = rows - 2; row >= 0; row--) {
    const apart = architecture === "dilated" ? k ** row : 1, below = new Set();
    for (const to of needed) {
      for (let from = to; from > 0 && from > to - k * apart; from -= apart) {
        edges.push([row, from, to]);
        below.add(from);
      }
    }
    needed = below;
  }
  return edges;
};
const netSvg = (r, { dark, width, here }) => {
  const { n, rows, architecture } = r, L = 14, T = 26, each = Math.max(4, Math.min(56, 230 / (rows - 1))), base = T + each * (rows - 1), H = base + 42;
  const [ink, [, lit]] = palette(dark), big = Math.min(9, (width - 2 * L) / n, each * 0.8);
  const x = (p) => Number((L + ((p - 1) / (n - 1)) * (width - 2 * L)).toFixed(1)), y = (row) => Number((base - row * each).toFixed(1));
  const flat = architecture === "rnn"; // its states lie in one row
  const text = (p, at, s, color) => `<text x="${x(p)}" y="${at}" fill="${color}" text-anchor="${x(p) < 60 ? "start" : x(p) > width - 60 ? "end" : "middle"}">${s}</text>`;
  const lines = edgesOf(r).map(([row, from, to]) => `M${x(from)} ${y(row)}L${x(to)} ${y(flat && from !== to ? row : row + 1)}`);
  const dots = Array.from({ length: rows }, (_, row) => `M${L} ${y(row)}H${width - L + 0.1}`); // dashes of no length, with round ends
  const path = r.path.slice(1).map(([row, p], e) => {
    const [from, at] = r.path[e];
    return `<line x1="${x(at)}" y1="${y(from)}" x2="${x(p)}" y2="${y(row)}" stroke="${lit}" stroke-width="${here?.j === e ? 6 : 3}" stroke-linecap="round" data-r="0" data-c="${e}" data-value="${p}"/>`;
  });
  return picture(width, H, [`<path d="${lines.join("")}" stroke="${ink}" opacity="0.28" fill="none"/>`,
    `<path d="${dots.join("")}" stroke="${ink}" opacity="0.6" stroke-width="${big}" stroke-linecap="round" stroke-dasharray="0 ${(width - 2 * L) / (n - 1)}"/>`, ...path,
    ...r.path.map(([row, p]) => `<circle cx="${x(p)}" cy="${y(row)}" r="${Math.max(2.5, big / 1.6)}" fill="${lit}"/>`), text(r.j, 14, `to ${r.j}`, lit), text(r.i, base + 18, `from ${r.i}`, lit),
    text(1, H - 6, flat ? "inputs below, states above" : `inputs below, ${rows === 2 ? "one layer" : `${rows - 1} layers`} above`, ink)]);
};

// ---- the figure ----------------------------------------------------------------------------------------------------

const netData = (r) => ({ ...r, label: `${NETS[order(r.architecture)][1]}, unrolled, with the shortest path of ${r.steps} ${r.steps === 1 ? "step" : "steps"}`, values: [r.path.slice(1).map(([, p]) => p)] });
const chartData = (r) => ({ label: "What is left of a signal, against the distance", names: [`RNN, w = ${short(r.w)}`, "attention"],
  xs: r.curve.map((_, s) => s), values: [r.curve, r.curve.map(() => 1)], xLabel: "distance D", low: 0, high: Math.max(1, ...r.curve) });

const render = ({ model, el }) => {
  let result = null, views = {}, shape = "", shown = "";
  const here = session({ model, el }, { name: "path_length", title: "Path length and forgetting", keys: KEYS, problem,
    draw: (state) => draw(state), paint: () => paint() });
  const { ui, initial, read, apply } = here, { alert } = ui;
  const netBox = h("div", {}), chartBox = h("div", {}), legend = h("div", { class: "lm-legend" });
  // A position that is moved takes the other, and the end of the sequence, with it.
  const place = (patch) => {
    let { n, i, j } = { ...read(), ...patch };
    if ("n" in patch) [j, i] = [Math.min(j, n), Math.min(i, Math.min(j, n) - 1)];
    else if ("i" in patch) j = Math.max(j, i + 1);
    else i = Math.min(i, j - 1);
    return apply({ n: Math.max(n, j), i, j });
  };
  const count = (label, min, max, unit, onInput) => slider({ label, min, max, step: 1, unit, alert, onInput });
  const controls = {
    architecture: choice("Net", NETS, (architecture) => apply({ architecture })),
    n: count("n, length", 2, 64, "positions", (n) => place({ n })),
    i: count("i, from", 1, 63, "as position", (i) => place({ i })),
    j: count("j, to", 2, 64, "as position", (j) => place({ j })),
    k: count("k, kernel", 2, 7, "positions", (k) => apply({ k })),
    w: slider({ label: "w, recurrent weight", min: 0.5, max: 1.1, step: 0.01, unit: "as weight", alert, onInput: (w) => apply({ w }) }),
    d: count("d, width", 8, 512, "numbers", (d) => apply({ d })),
  };
  const box = explainBox(ui, () => views, (t) => [EXPLAIN[t.id](result, t.i, t.j), t.id === "net" ? [["path", order(result.architecture), 0]] : []]);
  const { explain } = box, rows = NETS.map(([, name]) => name);
  const tables = {
    path: grid({ id: "path", name: "shortest path", label: "Shortest path and what it passes on", rows, cols: ["steps", "signal"], explain,
      write: (v, column) => (Number.isNaN(v) ? "–" : column ? fmt(v) : String(v)) }),
    cost: grid({ id: "cost", name: "operations a layer", label: "Multiplications a layer", rows, cols: ["leading order", "with projections"], explain, write: String }),
  };
  const build = () => {
    views.net?.destroy();
    views.signal?.destroy();
    views = { net: chart({ id: "net", name: "unrolled net", data: netData(result), svg: netSvg, explain }), ...tables,
      signal: chart({ id: "signal", name: "signal", data: chartData(result), explain }) };
    netBox.replaceChildren(views.net.el);
    chartBox.replaceChildren(views.signal.el);
    explain.keep(views, { id: "path", i: order(result.architecture), j: 0 });
  };
  const paintBars = (most) => {
    const fill = css(mix(ui.paper, ui.dark ? [108, 182, 255] : [31, 111, 178], 0.35));
    for (const td of tables.cost.el.querySelectorAll("td[data-value]")) {
      td.style.backgroundImage = `linear-gradient(to right,${fill} ${(100 * td.dataset.value) / most}%,transparent 0)`;
    }
  };
  const paint = () => {
    const pair = (a, b) => a.map((v, i) => [v, b[i]]), plain = () => ui.paper, most = Math.max(...result.leading, ...result.full);
    views.net.paint(netData(result), ui.dark);
    views.path.paint(pair(result.paths, result.signals), plain, `D = ${result.D}`);
    views.cost.paint(pair(result.leading, result.full), plain, `longest bar ${most}`);
    paintBars(most);
    views.signal.paint(chartData(result), ui.dark, { i: 0, j: result.D });
    explain.show();
    ui.drawn();
  };
  const draw = (state) => {
    result = measure(state);
    const needed = JSON.stringify([state.architecture, result.steps, state.n]);
    if (needed !== shape) {
      shape = needed;
      build();
    }
    for (const key of KEYS) controls[key].set(state[key]);
    if (shown !== state.architecture) explain.focus({ id: "path", i: order(shown = state.architecture), j: 0 });
    paint();
  };

  legend.append("1 colored: the shortest path", " · ", "2 gray: all that position j depends on");
  ui.badge("computed in your browser");
  ui.body.append(h("div", { class: "lm-controls" }, ...Object.values(controls).map((c) => c.el)),
    group("Presets", button("Reset", () => apply(initial)), ...model.get("presets").map(({ label, ...state }) => button(label, () => apply(state)))),
    netBox, legend, h("div", { class: "lm-flow lm-frame" }, tables.path.el, tables.cost.el), chartBox, box.el);
  here.begin();
  return () => { views.net.destroy(); views.signal.destroy(); here.destroy(); };
};

render.math = { measure, edgesOf, problem }; // for the tests

export default { render };
