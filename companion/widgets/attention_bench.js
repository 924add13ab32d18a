// uses: core cividis edit grid heat exits
// W3, the attention bench: X -> Q, K, V -> QKᵀ -> Z -> A -> O, every input editable, every cell explained.

const INPUTS = { x: ["x", "wq", "wk", "wv"], qkv: ["q", "k", "v"] };
const NAMES = { x: "X", wq: "W_Q", wk: "W_K", wv: "W_V", q: "Q", k: "K", v: "V", s: "QKᵀ", z: "Z", a: "A", h: "H", o: "O" };
const KEYS = ["mode", "x", "wq", "wk", "wv", "q", "k", "v", "scale", "causal", "temperature", "tokens", "computed_by"];

// Z = QKᵀ / (√d_k τ) + M, A = softmax of each row of Z, O = A V; H is a row's entropy in bits.
const softmax = (row) => {
  const top = Math.max(...row), powers = row.map((z) => Math.exp(z - top)), total = sum(powers);
  return powers.map((p) => p / total);
};
const entropy = (row) => -sum(row.map((a) => (a > 0 ? a * Math.log2(a) : 0))) || 0;
const attend = (state) => {
  const { mode, x, wq, wk, wv, scale, causal, temperature } = state;
  const [q, k, v] = mode === "x" ? [matmul(x, wq), matmul(x, wk), matmul(x, wv)] : [state.q, state.k, state.v];
  const divisor = (scale ? Math.sqrt(q[0].length) : 1) * temperature;
  const s = matmul(q, transpose(k));
  const z = s.map((row, i) => row.map((score, j) => (causal && j > i ? -Infinity : score / divisor)));
  const a = z.map(softmax);
  return { ...state, divisor, q, k, v, s, z, a, h: a.map((row) => [entropy(row)]), o: matmul(a, v) };
};

const sizesOf = (s) => s.mode === "x"
  ? { n: s.x.length, d: s.x[0].length, dk: s.wq[0].length, dv: s.wv[0].length }
  : { n: s.q.length, dk: s.q[0].length, dv: s.v[0].length };
const shapesOf = ({ n, d, dk, dv }) =>
  ({ x: [n, d], wq: [d, dk], wk: [d, dk], wv: [d, dv], q: [n, dk], k: [n, dk], v: [n, dv] });

// Why a state cannot be drawn, or "". States come from the kernel and from links, so nothing is taken for granted.
const isMatrix = (m) => Array.isArray(m) && m.length && m.every((row) => Array.isArray(row) && row.length &&
  row.length === m[0].length) && allFinite(m);
const problem = (state) => {
  const { mode, scale, causal, temperature: t } = state, ids = INPUTS[mode];
  if (!ids || typeof scale !== "boolean" || typeof causal !== "boolean" || !(t >= 0.1 && t <= 10)) return "This is no state of this figure";
  const bad = ids.find((id) => !isMatrix(state[id]));
  if (bad) return `${NAMES[bad]} must be a matrix of finite numbers`;
  const size = sizesOf(state), shapes = shapesOf(size), [rows, cols] = [(id) => state[id].length, (id) => state[id][0].length];
  if (size.n < 2 || size.n > 16 || ids.some((id) => rows(id) !== shapes[id][0] || cols(id) !== shapes[id][1])) {
    return `The shapes do not fit: ${ids.map((id) => `${NAMES[id]} ${rows(id)}×${cols(id)}`).join(", ")}`;
  }
  const r = attend(state);
  return [r.q, r.k, r.v, r.s, r.a, r.o].every(allFinite) ? "" : "With this number the result is too large to compute";
};

// ---- what made a cell ----------------------------------------------------------------------------------------------

const divisorText = ({ scale, temperature, q }) =>
  [scale ? `√${q[0].length}` : "", temperature === 1 ? "" : short(temperature)].filter(Boolean).join("×");

const scoreLine = (r, i, j) => {
  const by = divisorText(r);
  return `q${i + 1}·k${j + 1} = ${spellSum(r.q[i], r.k[j])} = ${fmt(r.s[i][j])}` +
    (by ? `; /${by.includes("×") ? `(${by})` : by} = ${fmt(r.s[i][j] / r.divisor)}` : "") +
    (r.z[i][j] === -Infinity ? "; masked: -∞" : "") + `; softmax ${fmt(r.a[i][j])}`;
};
const softmaxLine = (r, i, j) => {
  const top = Math.max(...r.z[i]), powers = r.z[i].map((z) => Math.exp(z - top));
  return `softmax, row ${i + 1}, largest score ${fmt(top)} subtracted: ${fmt(powers[j])} / (${powers.map(fmt).join(" + ")}) = ${fmt(r.a[i][j])}`;
};
// Each: the sentence, and what it is made of: [matrix, i, j], undefined = all.
const EXPLAIN = {
  s: (r, i, j) => [[scoreLine(r, i, j)], [["q", i], ["k", j]]],
  z: (r, i, j) => [[scoreLine(r, i, j)], [["q", i], ["k", j], ["s", i, j]]],
  a: (r, i, j) => [[scoreLine(r, i, j), softmaxLine(r, i, j)], [["q", i], ["k", j], ["s", i, j], ["z", i]]],
  h: (r, i) => [[`Entropy of row ${i + 1}: -Σ a log₂ a = ${fmt(r.h[i][0])} bits; 0 is one token alone, ` +
    `log₂${r.a.length} = ${fmt(Math.log2(r.a.length))} all alike`], [["a", i]]],
  o: (r, i, j) => [[`o${i + 1}[${j + 1}] = row ${i + 1} of A · column ${j + 1} of V = ` +
    `${spellSum(r.a[i], column(r.v, j))} = ${fmt(r.o[i][j])}`], [["a", i], ["v", undefined, j]]],
};
for (const [id, weight] of [["q", "wq"], ["k", "wk"], ["v", "wv"]]) {
  EXPLAIN[id] = (r, i, j) => r.mode === "qkv"
    ? [[`${id}${i + 1}[${j + 1}] = ${fmt(r[id][i][j])}${r[id][0].length > 16 ? "" : ": type a number"}`], []]
    : [[`${id}${i + 1}[${j + 1}] = row ${i + 1} of X · column ${j + 1} of ${NAMES[weight]} = ` +
      `${spellSum(r.x[i], column(r[weight], j))} = ${fmt(r[id][i][j])}`], [["x", i], [weight, undefined, j]]];
  EXPLAIN[weight] = (r, i, j) => [[`${NAMES[weight]}[${i + 1},${j + 1}] = ${fmt(r[weight][i][j])}: type a number`,
    `it makes column ${j + 1} of ${NAMES[id]}`], [[id, undefined, j], ["x", undefined, i]]];
}
EXPLAIN.x = (r, i, j) => [[`x${i + 1}[${j + 1}] = ${fmt(r.x[i][j])}: type a number`, `it makes row ${i + 1} of Q, K and V`],
  [["q", i], ["k", i], ["v", i]]];

// ---- goals that test themselves ------------------------------------------------------------------------------------

const near = (a, b, eps) => a.every((v, i) => Math.abs(v - b[i]) <= eps);
const GOALS = [
  ["ignore", "Make token 3 ignore token 1 without the mask: a weight below 0.01",
    (r) => r.a.length > 2 && !r.causal && r.a[2][0] < 0.01],
  ["uniform", "Make token 2 look at all tokens alike, but not token 1, without the mask",
    (r) => !r.causal && Math.log2(r.a.length) - r.h[1][0] < 1e-6 && Math.log2(r.a.length) - r.h[0][0] > 0.01],
  ["copy", "Make the output of token 1 the value of token 2, within 0.01, though their values differ",
    (r) => near(r.o[0], r.v[1], 0.01) && !near(r.v[0], r.v[1], 0.1)],
];

// ---- sizes ---------------------------------------------------------------------------------------------------------

// What a cell holds that comes into being when a matrix grows: small, and not all alike.
const seedValue = (i, j) => ((2 * i + 3 * j) % 5) / 2 - 1;
// Numbers outlive a shrink and a regrowth: `memory` keeps what was there.
const resized = (memory, id, matrix, n, m) => {
  const kept = (memory[id] ||= {});
  matrix.forEach((row, i) => row.forEach((v, j) => { kept[`${i},${j}`] = v; }));
  return Array.from({ length: n }, (_, i) => Array.from({ length: m }, (_, j) => kept[`${i},${j}`] ?? seedValue(i, j)));
};
const resize = (memory, state, change) => {
  const shapes = shapesOf({ ...sizesOf(state), ...change });
  return Object.fromEntries(INPUTS[state.mode].map((id) => [id, resized(memory, id, state[id], ...shapes[id])]));
};

// ---- the figure ----------------------------------------------------------------------------------------------------

// Row and column labels: tokens by their words, or as q1, k1; dimensions by number.
const labelsOf = (id, matrix, tokens) => {
  const square = ["s", "z", "a"].includes(id), token = (letter) => (_, i) => tokens[i] ?? letter + (i + 1);
  const count = (_, i) => String(i + 1);
  return [matrix.map(id[0] === "w" ? count : token(square || id === "h" ? "q" : id)),
    id === "h" ? ["bits"] : matrix[0].map(square ? token("k") : count)];
};
const LABELS = { s: "scores", z: "scaled scores", a: "weights", h: "entropy", o: "output" };

// The stages as elements, from the views; the order on the page is the order of the equation.
const stages = (views, mode, scaleText) => {
  const op = (text, label) => h("div", { class: "lm-op" }, h("span", {}, text), label ? h("small", {}, label) : "");
  const step = (...parts) => h("div", { class: "lm-step" }, ...parts);
  const elements = (...ids) => ids.map((id) => views[id].el);
  const blank = h("div", { class: "lm-hint" }, "Type into any outlined cell.");
  const title = (number, text) => h("p", { class: "lm-stage" }, h("span", {}, number), text);
  return [
    title("1", mode === "x" ? "Project: what a token asks (Q), offers (K) and carries (V)" : "Queries, keys and values"),
    h("div", { class: `lm-frame ${mode === "x" ? "lm-falk" : "lm-flow"}` },
      ...(mode === "x" ? [blank, ...elements("wq", "wk", "wv", "x")] : []), ...elements("q", "k", "v")),
    title("2", "Compare, weigh and mix"),
    h("div", { class: "lm-frame lm-flow" }, views.s.el, step(op(scaleText), views.z.el),
      step(op("softmax →", "each row"), h("div", { class: "lm-pair" }, ...elements("a", "h"))), step(op("· V →"), views.o.el)),
  ];
};

const makeViews = (result, tokens, on) => {
  const ids = [...(result.mode === "x" ? INPUTS.x : []), "q", "k", "v", "s", "z", "a", "h", "o"];
  return Object.fromEntries(ids.map((id) => {
    const [rows, cols] = labelsOf(id, result[id], tokens), editable = INPUTS[result.mode].includes(id);
    const label = `${NAMES[id]}, ${LABELS[id] || (editable ? "editable" : "computed")}`;
    return [id, matrixView({ id, name: NAMES[id], label, rows, cols, cell: [8, 22], ...on, editable: () => editable,
      edit: (i, j, v) => on.edit(id, i, j, v) })];
  }));
};
const scaleOf = (id, values, paper) =>
  id === "a" ? unitScale() : id === "h" ? () => paper : signedScale(largest(values), paper);

const makeControls = ({ ui, read, apply }, switchTo) => {
  const memory = {};
  const size = (key, label, min, unit) => slider({ label, min, max: 8, step: 1, alert: ui.alert, unit,
    onInput: (v) => apply(resize(memory, read(), { [key]: v })) });
  const sizes = { n: size("n", "n", 2, "tokens"), d: size("d", "d_model", 1, "numbers a token"),
    dk: size("dk", "d_k", 1, "numbers a query and key"), dv: size("dv", "d_v", 1, "numbers a value") };
  const others = {
    temperature: slider({ label: "temperature τ", min: 0.1, max: 10, step: 0.1, alert: ui.alert, unit: "temperature",
      onInput: (temperature) => apply({ temperature }) }),
    scale: toggle("scale by √d_k", (scale) => apply({ scale })),
    causal: toggle("causal mask", (causal) => apply({ causal })),
    mode: choice("Edit", [["x", "X and the weights"], ["qkv", "Q, K, V directly"]], switchTo),
  };
  const set = (result) => {
    const now = sizesOf(result), large = Math.max(...Object.values(now)) > 8;
    for (const [key, control] of Object.entries(sizes)) {
      control.el.hidden = !now[key] || large;
      if (now[key]) control.set(now[key]);
    }
    for (const [key, control] of Object.entries(others)) control.set(result[key]);
    others.mode.el.hidden = large;
  };
  return { el: h("div", { class: "lm-controls" }, ...Object.values({ ...sizes, ...others }).map((c) => c.el)), set };
};

const render = ({ model, el }) => {
  let result = null, views = {}, shape = "";
  const here = session({ model, el }, { name: "attention_bench", title: "Attention bench", keys: KEYS, problem,
    draw: (state) => draw(state), paint: () => paint() });
  const { ui, initial, read, change, apply } = here;
  const scaleText = h("span", {}), stageBox = h("div", {});
  const edit = (id, r, c, v) =>
    change({ [id]: result[id].map((row, i) => row.map((old, j) => (i === r && j === c ? v : old))) });
  const presets = Object.entries(model.get("presets")).map(([key, { label, ...state }]) => ({ key, label, state }));
  const switchTo = (mode) => apply(mode === "qkv" ? { mode, q: result.q, k: result.k, v: result.v }
    : isMatrix(read().x) ? { mode } : presets[0].state);
  const controls = makeControls(here, switchTo);
  const box = explainBox(ui, () => views, (t) => EXPLAIN[t.id](result, t.i, t.j));
  const goals = GOALS.map(([key, label]) => h("li", { "data-goal": key }, label));

  const paint = () => {
    for (const [id, view] of Object.entries(views)) {
      const limit = id === "a" ? "" : `, limit ${fmt(largest(result[id]))}`;
      view.paint(result[id], scaleOf(id, result[id], ui.paper), id === "h" ? "entropy" : `${view.n}×${view.m}${limit}`);
    }
    box.explain.show();
    ui.drawn();
  };
  const draw = (state) => {
    result = attend(state);
    const { tokens } = state, needed = JSON.stringify([sizesOf(result), result.mode, tokens]);
    if (needed !== shape) {
      shape = needed;
      views = makeViews(result, tokens, { explain: box.explain, alert: ui.alert, restore: () => paint(), edit, editor: cellEditor });
      stageBox.replaceChildren(...stages(views, result.mode, scaleText));
      box.explain.keep(views, { id: "a", i: result.a.length - 1, j: result.a.length - 1 });
    }
    controls.set(result);
    scaleText.textContent = `${divisorText(result) && "÷ "}${divisorText(result)}${result.causal ? " + M" : ""} →`;
    GOALS.forEach(([, , reached], i) => { goals[i].dataset.done = reached(result) ? "1" : "0"; });
    ui.badge(badgeOf(state, initial));
    paint();
  };
  const blocks = () => [...(result.mode === "x" ? [INPUTS.x] : []), ["q", "k", "v"], ["s", "z", "a", "h", "o"]].map((ids) =>
    ids.map((id) => {
      const values = result[id], [rows, cols] = labelsOf(id, values, result.tokens);
      return { name: NAMES[id], rows, cols, values, scale: scaleOf(id, values, [255, 255, 255]) };
    }));

  ui.body.append(controls.el,
    group("Presets", button("Reset", () => apply(initial)), ...presets.slice(1).map(({ key, label, state }) =>
      button(label, () => apply(state), { "data-preset": key }))),
    stageBox, box.el,
    h("div", { class: "lm-legend" }, "−limit", bar("lm-signed"), "+limit, weights 0", bar("lm-unit"), "1"),
    h("div", { class: "lm-goals" }, h("p", {}, "Goals"), h("ul", {}, ...goals)),
    exits(ui, model, "attention", { state: () => linkable(read()), blocks }));
  here.begin(() => followLink(model, KEYS, here));
  return here.destroy;
};

// What a link carries: the switches and the matrices of the mode in use.
const linkable = (state) =>
  Object.fromEntries(["mode", "scale", "causal", "temperature", ...(INPUTS[state.mode] || [])].map((key) => [key, state[key]]));

const badgeOf = (now, initial) => {
  if (!now.computed_by) return "computed in your browser";
  const same = INPUTS[now.mode].every((id) => JSON.stringify(now[id]) === JSON.stringify(initial[id]));
  return same ? `Q, K, V from ${now.computed_by}; the rest in your browser` : "edited by you, computed in your browser";
};

render.math = { attend, problem, fmt, parseNumber, pack, unpack }; // for the tests

export default { render };
