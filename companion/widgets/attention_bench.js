// W3, the attention bench: X -> Q, K, V -> QKᵀ -> Z -> A -> O, every input editable, every cell explained.

const INPUTS = { x: ["x", "wq", "wk", "wv"], qkv: ["q", "k", "v"] };
const NAMES = { x: "X", wq: "W_Q", wk: "W_K", wv: "W_V", q: "Q", k: "K", v: "V", s: "QKᵀ", z: "Z", a: "A", h: "H", o: "O" };
const SHOWN = ["mode", "x", "wq", "wk", "wv", "q", "k", "v", "scale", "causal", "temperature"];

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
  return { ...state, q, k, v, s, z, a, h: a.map((row) => [entropy(row)]), o: matmul(a, v) };
};

// Why a state cannot be drawn, or "". States come from the kernel and from links, so nothing is taken for granted.
const isMatrix = (m) => Array.isArray(m) && m.length && m.every((row) => Array.isArray(row) && row.length &&
  row.length === m[0].length) && allFinite(m);
const problem = (state) => {
  const { mode, scale, causal, temperature } = state;
  if (!INPUTS[mode] || typeof scale !== "boolean" || typeof causal !== "boolean") return "This is no state of this figure";
  if (!(temperature >= 0.1 && temperature <= 10)) return "The temperature must be from 0.1 to 10";
  const bad = INPUTS[mode].find((id) => !isMatrix(state[id]));
  if (bad) return `${NAMES[bad]} must be a matrix of finite numbers`;
  const shape = (id) => `${NAMES[id]} is ${state[id].length}×${state[id][0].length}`;
  const [rows, cols] = [(id) => state[id].length, (id) => state[id][0].length];
  const [first, a, b] = mode === "x" ? ["x", "wq", "wk"] : ["q", "q", "k"];
  if (rows(first) < 2 || rows(first) > 16) return `There must be 2 to 16 tokens; ${shape(first)}`;
  if (cols(a) !== cols(b)) return `Q and K must have the same width; ${shape(a)}, ${shape(b)}`;
  for (const id of INPUTS[mode].slice(1)) {
    if (rows(id) !== (mode === "x" ? cols("x") : rows("q"))) return `The shapes do not fit; ${shape(first)}, ${shape(id)}`;
  }
  return "";
};
const OVERFLOW = "With this number the result is too large to compute";
const finite = (r) => [r.q, r.k, r.v, r.s, r.o].every(allFinite) && r.a.every((row) => row.every(Number.isFinite)) &&
  r.z.every((row, i) => row.every((z, j) => Number.isFinite(z) || (r.causal && j > i)));

// ---- what made a cell ----------------------------------------------------------------------------------------------

const divisorText = ({ scale, temperature, q }) =>
  [scale ? `√${q[0].length}` : "", temperature === 1 ? "" : short(temperature)].filter(Boolean).join("×");

const scoreLine = (r, i, j) => {
  const by = divisorText(r), scaled = r.s[i][j] / ((r.scale ? Math.sqrt(r.q[0].length) : 1) * r.temperature);
  return `q${i + 1}·k${j + 1} = ${spellSum(r.q[i], r.k[j])} = ${fmt(r.s[i][j])}` +
    (by ? `; /${by.includes("×") ? `(${by})` : by} = ${fmt(scaled)}` : "") +
    (r.z[i][j] === -Infinity ? "; masked: -∞" : "") + `; softmax ${fmt(r.a[i][j])}`;
};
const softmaxLine = (r, i, j) => {
  const top = Math.max(...r.z[i]), powers = r.z[i].map((z) => Math.exp(z - top));
  return `Row ${i + 1}, its largest score ${fmt(top)} subtracted: ${fmt(powers[j])} / (${powers.map(fmt).join(" + ")}) = ${fmt(r.a[i][j])}`;
};
// Each: the sentence, and what it is made of: [matrix, i, j], undefined = all.
const EXPLAIN = {
  s: (r, i, j) => [[scoreLine(r, i, j)], [["q", i], ["k", j]]],
  z: (r, i, j) => [[scoreLine(r, i, j)], [["q", i], ["k", j], ["s", i, j]]],
  a: (r, i, j) => [[scoreLine(r, i, j), softmaxLine(r, i, j)], [["q", i], ["k", j], ["s", i, j], ["z", i]]],
  h: (r, i) => [[`Entropy of row ${i + 1}: -Σ a·log₂a = ${fmt(r.h[i][0])} bits; 0 is one token alone, ` +
    `log₂${r.a.length} = ${fmt(Math.log2(r.a.length))} is all tokens alike`], [["a", i]]],
  o: (r, i, j) => [[`o${i + 1}[${j + 1}] = row ${i + 1} of A · column ${j + 1} of V = ` +
    `${spellSum(r.a[i], column(r.v, j))} = ${fmt(r.o[i][j])}`], [["a", i], ["v", undefined, j]]],
};
for (const [id, weight] of [["q", "wq"], ["k", "wk"], ["v", "wv"]]) {
  EXPLAIN[id] = (r, i, j) => r.mode === "qkv"
    ? [[`${id}${i + 1}[${j + 1}] = ${fmt(r[id][i][j])}${r[id][0].length > 16 ? "" : ": type a number"}`], []]
    : [[`${id}${i + 1}[${j + 1}] = row ${i + 1} of X · column ${j + 1} of ${NAMES[weight]} = ` +
      `${spellSum(r.x[i], column(r[weight], j))} = ${fmt(r[id][i][j])}`], [["x", i], [weight, undefined, j]]];
  EXPLAIN[weight] = (r, i, j) => [[`${NAMES[weight]}[${i + 1},${j + 1}] = ${fmt(r[weight][i][j])}: type a number. ` +
    `It makes column ${j + 1} of ${NAMES[id]}`], [[id, undefined, j], ["x", undefined, i]]];
}
EXPLAIN.x = (r, i, j) => [[`x${i + 1}[${j + 1}] = ${fmt(r.x[i][j])}: type a number. It makes row ${i + 1} of Q, K and V`],
  [["q", i], ["k", i], ["v", i]]];

// ---- goals that test themselves ------------------------------------------------------------------------------------

const near = (a, b, eps) => a.every((v, i) => Math.abs(v - b[i]) <= eps);
const GOALS = [
  ["ignore", "Make token 3 ignore token 1: a weight below 0.01, no mask",
    (r) => r.a.length > 2 && !r.causal && r.a[2][0] < 0.01],
  ["uniform", "Make token 2 look at all tokens alike while token 1 does not, no mask",
    (r) => !r.causal && Math.log2(r.a.length) - r.h[1][0] < 1e-6 && Math.log2(r.a.length) - r.h[0][0] > 0.01],
  ["copy", "Make the output of token 1 the value of token 2, to within 0.01, where the two values differ",
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
const sizesOf = (s) => s.mode === "x"
  ? { n: s.x.length, d: s.x[0].length, dk: s.wq[0].length, dv: s.wv[0].length }
  : { n: s.q.length, dk: s.q[0].length, dv: s.v[0].length };
const resize = (memory, state, change) => {
  const { n, d, dk, dv } = { ...sizesOf(state), ...change };
  const shapes = { x: [n, d], wq: [d, dk], wk: [d, dk], wv: [d, dv], q: [n, dk], k: [n, dk], v: [n, dv] };
  return Object.fromEntries(INPUTS[state.mode].map((id) => [id, resized(memory, id, state[id], ...shapes[id])]));
};

// ---- the figure ----------------------------------------------------------------------------------------------------

const labelsOf = (id, matrix, tokens) => {
  const token = (letter) => matrix.map((_, i) => tokens[i] ?? `${letter}${i + 1}`);
  const count = (prefix, length) => Array.from({ length }, (_, j) => `${prefix}${j + 1}`);
  if (["s", "z", "a"].includes(id)) return [token("q"), matrix[0].map((_, j) => tokens[j] ?? `k${j + 1}`)];
  if (id === "h") return [token("q"), ["bits"]];
  return [id[0] === "w" ? count("", matrix.length) : token(id), count("", matrix[0].length)];
};
const LABELS = { s: "Scores, Q times K transposed", z: "Z, scaled scores", a: "A, attention weights", h: "H, entropy of each row of A", o: "O, output" };

const operatorTexts = (r) => ({ scale: `${divisorText(r) ? `÷ ${divisorText(r)}` : "as it is"}${r.causal ? " + M" : ""} →` });

// The stages as elements, from the views; the order on the page is the order of the equation.
const stages = (views, mode, scaleText) => {
  const op = (text, label) => h("div", { class: "lm-op" }, h("span", {}, text), label ? h("small", {}, label) : "");
  const step = (...parts) => h("div", { class: "lm-step" }, ...parts);
  const blank = h("div", { class: "lm-hint" }, "Type into any outlined cell.");
  const inputs = mode === "x" ? [blank, ...["wq", "wk", "wv", "x", "q", "k", "v"].map((id) => views[id].el)]
    : ["q", "k", "v"].map((id) => views[id].el);
  const title = (number, text) => h("p", { class: "lm-stage" }, h("span", {}, number), text);
  return [
    title("1", mode === "x" ? "Project: each token asks (Q), offers (K) and carries (V)" : "Queries, keys and values"),
    h("div", { class: `lm-frame ${mode === "x" ? "lm-falk" : "lm-flow"}` }, ...inputs),
    title("2", "Compare, weigh and mix"),
    h("div", { class: "lm-frame lm-flow" }, views.s.el, step(op(scaleText), views.z.el),
      step(op("softmax →", "each row"), h("div", { class: "lm-pair" }, views.a.el, views.h.el)), step(op("· V →"), views.o.el)),
  ];
};

const legend = () => h("div", { class: "lm-legend" },
  "−limit", h("span", { class: "lm-bar lm-signed" }), "+limit (beside each name); weights 0",
  h("span", { class: "lm-bar lm-unit" }), "1");

const build = ({ model, el }) => {
  const saved = store(model, [...SHOWN, "tokens", "computed_by"], () => refresh());
  const presets = model.get("presets") || {};
  const memory = {};
  let result = null, views = {}, shape = "";
  const ui = frame(el, { name: "attention_bench", title: "Attention bench", badge: "", onTheme: () => paint() });
  const initial = saved.read();
  const large = () => { const { n, d = 1, dk, dv } = sizesOf(result); return Math.max(n, d, dk, dv) > 8; };

  // Every change comes through here: computed first, and only what can be drawn is kept.
  const change = (patch) => {
    const next = { ...saved.read(), ...patch }, why = problem(next) || (finite(attend(next)) ? "" : OVERFLOW);
    if (why) return `${why}; the last drawing stays`;
    saved.write(patch);
    draw(attend(next));
    return "";
  };
  const apply = (patch) => ui.alert(change(patch));
  const refresh = () => { // the kernel changed something
    const next = saved.read(), why = problem(next) || (finite(attend(next)) ? "" : OVERFLOW);
    ui.alert(why && `${why}; the last drawing stays`);
    if (!why) draw(attend(next));
  };

  const explain = explainer({ id: "a", i: -1, j: -1 }, (target, pinned) => {
    if (!views[target.id]) return;
    const [lines, parts] = EXPLAIN[target.id](result, target.i, target.j);
    text.replaceChildren(...lines.map((line) => h("span", {}, line)));
    pin.hidden = !pinned;
    for (const [id, view] of Object.entries(views)) {
      const lit = parts.filter(([from]) => from === id).map(([, i, j]) => ({ i, j }));
      view.light(lit, target.id === id ? target : null);
    }
    ui.say(lines.join(". "));
  });
  const text = h("div", { class: "lm-text" });
  const pin = button("Pinned: release", () => explain.unpin(), { class: "lm-pin", hidden: true });
  const explainBox = h("div", { class: "lm-explain" }, text, pin);

  const alert = (message) => ui.alert(message);
  const size = (key, label, min, unit) => slider({ label, min, max: 8, step: 1, alert, unit: (v) => `${v} ${unit}`,
    onInput: (v) => apply(resize(memory, saved.read(), { [key]: v })) });
  const sliders = { n: size("n", "n", 2, "tokens"), d: size("d", "d_model", 1, "numbers a token"),
    dk: size("dk", "d_k", 1, "numbers a query and key"), dv: size("dv", "d_v", 1, "numbers a value") };
  const heatSlider = slider({ label: "temperature τ", min: 0.1, max: 10, step: 0.1, alert,
    unit: (v) => `temperature ${v}`, onInput: (v) => apply({ temperature: v }) });
  const scale = toggle("scale by √d_k", (on) => apply({ scale: on }));
  const causal = toggle("causal mask", (on) => apply({ causal: on }));
  const mode = choice("Edit", [["x", "X and the weights"], ["qkv", "Q, K, V directly"]], (to) => apply(switched(to)));
  const switched = (to) => {
    const now = saved.read();
    if (to === "qkv") return { mode: to, q: result.q, k: result.k, v: result.v };
    return isMatrix(now.x) ? { mode: to } : { mode: to, ...presets.default };
  };
  const buttons = Object.entries(presets).filter(([key]) => key !== "default")
    .map(([key, { label, ...state }]) => button(label, () => apply(state), { "data-preset": key }));
  const reset = button("Reset", () => apply(initial), { class: "lm-reset" });
  const goals = GOALS.map(([key, label]) => h("li", { "data-goal": key }, h("span", { class: "lm-mark" }), label));

  const rebuild = () => {
    const active = Object.entries(views).find(([, view]) => view.focused())?.[0];
    const tokens = saved.read().tokens || [], editableIds = INPUTS[result.mode];
    const ids = [...(result.mode === "x" ? INPUTS.x : []), "q", "k", "v", "s", "z", "a", "h", "o"];
    views = Object.fromEntries(ids.map((id) => {
      const [rows, cols] = labelsOf(id, result[id], tokens);
      const editable = editableIds.includes(id);
      return [id, matrixView({ id, name: NAMES[id], label: `${LABELS[id] || NAMES[id]}${editable ? ", editable" : ""}`,
        rows, cols, editable, explain, alert, cell: rows.length <= 16 ? [8, 22] : undefined,
        edit: (i, j, v) => change({ [id]: saved.read()[id].map((row, r) => row.map((old, c) => (r === i && c === j ? v : old))) }),
        restore: () => paint() })];
    }));
    scaleText = h("span", {});
    stageBox.replaceChildren(...stages(views, result.mode, scaleText));
    const { a } = result;
    explain.keep((t) => views[t.id] && t.i >= 0 && t.i < views[t.id].n && t.j < views[t.id].m, { id: "a", i: a.length - 1, j: a.length - 1 });
    if (active) views[active]?.goTo(0, 0);
  };
  let scaleText;
  const stageBox = h("div", { class: "lm-stages" });

  const scalesOf = (paper) => {
    const scales = {};
    for (const id of Object.keys(views)) {
      scales[id] = id === "a" ? unitScale() : id === "h" ? () => paper : signedScale(largest(result[id]), paper);
    }
    return scales;
  };
  const paint = () => {
    const scales = scalesOf(ui.paper);
    for (const [id, view] of Object.entries(views)) {
      const dims = id === "h" ? "entropy" : `${view.n}×${view.m}`;
      const limit = ["a", "h"].includes(id) ? "" : `, limit ${fmt(largest(result[id]))}`;
      view.paint(result[id], scales[id], dims + limit);
    }
    explain.show();
    ui.drawn();
  };
  const draw = (next) => {
    result = next;
    const sizes = sizesOf(result), now = JSON.stringify([sizes, result.mode, saved.read().tokens]);
    if (now !== shape) rebuild();
    shape = now;
    for (const [key, control] of Object.entries(sliders)) {
      control.el.hidden = sizes[key] === undefined || large();
      if (sizes[key]) control.set(sizes[key]);
    }
    heatSlider.set(result.temperature);
    scale.set(result.scale);
    causal.set(result.causal);
    mode.set(result.mode);
    mode.el.hidden = large();
    scaleText.textContent = operatorTexts(result).scale;
    GOALS.forEach(([, , reached], i) => { goals[i].dataset.done = reached(result) ? "1" : "0"; });
    ui.badge(badgeOf(saved.read(), initial));
    paint();
  };

  ui.body.append(
    h("div", { class: "lm-controls" }, ...Object.values(sliders).map((s) => s.el), heatSlider.el, scale.el, causal.el, mode.el),
    group("Presets", reset, ...buttons), stageBox, explainBox, legend(),
    h("div", { class: "lm-goals" }, h("p", {}, "Goals"), h("ul", {}, ...goals)),
    exits(ui, model, { name: "attention", state: () => linkable(saved.read()), csv: () => csvOf(blocks().flat()),
      svg: () => svgOf("Attention", blocks()) }));
  const blocks = () => {
    const scales = scalesOf([255, 255, 255]), tokens = saved.read().tokens || [];
    const one = (id) => { const [rows, cols] = labelsOf(id, result[id], tokens);
      return { name: NAMES[id], rows, cols, values: result[id], scale: scales[id] }; };
    return [...(result.mode === "x" ? [["x", "wq", "wk", "wv"]] : []), ["q", "k", "v"], ["s", "z", "a", "h", "o"]].map((ids) => ids.map(one));
  };

  const why = problem(initial);
  if (why) throw new Error(why);
  draw(attend(initial));
  const linked = linkedState(model);
  if (linked) ui.alert(change(linkable({ ...initial, ...linked })).replace("the last drawing", "the default"));
  ui.ready();
  return () => { saved.destroy(); ui.destroy(); };
};

// What a link carries: the switches and the matrices of the mode in use.
const linkable = (state) =>
  Object.fromEntries(["mode", "scale", "causal", "temperature", ...(INPUTS[state.mode] || [])].map((key) => [key, state[key]]));

const badgeOf = (now, initial) => {
  if (!now.computed_by) return "computed in your browser";
  const same = now.mode === initial.mode && INPUTS[now.mode].every((id) => JSON.stringify(now[id]) === JSON.stringify(initial[id]));
  return same ? `Q, K, V from ${now.computed_by}; the rest in your browser` : "edited by you; computed in your browser";
};

const render = (context) => build(context);
render.math = { attend, fmt, short, parseNumber, problem, pack, unpack, unitScale, signedScale, inkOn, luminance };

export default { render };
