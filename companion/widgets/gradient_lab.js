// uses: core grid chart
// W2, the gradient lab: L = (σ(wx + b) - t)² walked forward and back, and optimizers on f = ½ (x² + κ y²).

// What each part depends on.
const PARTS = { graph: ["part", "x", "w", "b", "t"], descent: ["part", "curvature", "start_x", "start_y", "rate", "steps", "optimizers"] };
const KEYS = [...PARTS.graph, "stage", ...PARTS.descent.slice(1)];
const RANGES = { x: [-10, 10], w: [-10, 10], b: [-10, 10], t: [-10, 10], curvature: [1, 100], start_x: [-5, 5], start_y: [-5, 5], rate: [0.001, 1], stage: [0, 11], steps: [0, 200] };

// ---- one neuron ----------------------------------------------------------------------------------------------------

// Name, formula, slope of what uses it and that in words, the step that computes it, the step that brings its gradient,
// what uses it, place in the drawing.
const NODES = [
  ["x", "", (v) => v.w, "w", 0, 11, 2, 0, 0], ["w", "", (v) => v.x, "x", 0, 11, 2, 0, 1], ["p", "w×x", () => 1, "1", 1, 10, 4, 1, 0.5],
  ["b", "", () => 1, "1", 0, 10, 4, 1, 1.5], ["z", "p + b", (v) => v.y * (1 - v.y), "y (1 - y)", 2, 9, 5, 2, 1], ["y", "σ(z)", () => 1, "1", 3, 8, 7, 3, 1],
  ["t", "", () => -1, "-1", 0, 8, 7, 3, 2], ["e", "y - t", (v) => 2 * v.e, "2 e", 4, 7, 8, 4, 1.5], ["L", "e²", () => NaN, "", 5, 6, -1, 5, 1.5],
].map(([id, formula, slope, words, there, back, user, a, c]) => ({ id, formula, slope, words, there, back, user, a, c }));
const LAST = 11, PROBE = 1e-5;
const FORWARD = { p: (v) => v.w * v.x, z: (v) => v.p + v.b, y: (v) => 1 / (1 + Math.exp(-v.z)), e: (v) => v.y - v.t, L: (v) => v.e ** 2 };
// All values; what stands in `fixed` is taken instead of computed.
const forward = ({ x, w, b, t }, fixed = {}) => {
  const v = { x, w, b, t, ...fixed };
  for (const [id, rule] of Object.entries(FORWARD)) if (!(id in fixed)) v[id] = rule(v);
  return v;
};
// A row a node: value, local derivative, upstream gradient, gradient, finite difference.
const backward = (state) => {
  const v = forward(state), rows = [];
  for (let i = NODES.length - 1; i >= 0; i--) {
    const { id, slope, user } = NODES[i], at = (h) => forward(state, { [id]: v[id] + h }).L, local = slope(v), upstream = rows[user]?.[3] ?? NaN;
    rows[i] = [v[id], local, upstream, user < 0 ? 1 : local * upstream, (at(PROBE) - at(-PROBE)) / (2 * PROBE)];
  }
  return rows;
};

// ---- four optimizers -----------------------------------------------------------------------------------------------

const NAMES = { sgd: "SGD", momentum: "momentum", adam: "Adam", adamw: "AdamW" };
const MU = 0.9, B1 = 0.9, B2 = 0.999, EPSILON = 1e-8, DECAY = 0.01;
// One coordinate: from p, its gradient g and the memory s of the step before to the next.
const adam = (p, g, s, rate, t) => {
  const m = B1 * (s.m || 0) + (1 - B1) * g, q = B2 * (s.q || 0) + (1 - B2) * g * g, mHat = m / (1 - B1 ** t), qHat = q / (1 - B2 ** t);
  return { m, q, mHat, qHat, p: p - rate * mHat / (Math.sqrt(qHat) + EPSILON) };
};
const RULES = {
  sgd: (p, g, s, rate) => ({ p: p - rate * g }),
  momentum: (p, g, s, rate) => { const v = MU * (s.v || 0) + g; return { v, p: p - rate * v }; },
  adam,
  adamw: (p, g, s, rate, t) => adam(p - rate * DECAY * p, g, s, rate, t),
};
const height = ([x, y], k) => 0.5 * (x * x + k * y * y);
const descend = ({ curvature: k, start_x, start_y, rate, steps }, name) => {
  let at = [{ p: start_x }, { p: start_y }];
  const memory = [at];
  for (let t = 1; t <= steps; t++) {
    at = at.map((s, axis) => { const g = (axis ? k : 1) * s.p; return { g, before: s.p, ...RULES[name](s.p, g, s, rate, t) }; });
    memory.push(at);
  }
  const path = memory.map((both) => both.map((s) => s.p));
  return { name, memory, path, f: path.map((point) => height(point, k)) };
};
// Why a path grows without bound: a step turns y into (1 - rate κ) y; momentum bears more.
const diverging = ({ rate, curvature: k, start_y }, name) => {
  const [limit, text] = { sgd: [2 / k, "2/κ"], momentum: [2 * (1 + MU) / k, `2(1 + ${MU})/κ`] }[name] || [Infinity];
  return rate > limit && start_y ? `${NAMES[name]} is diverging: rate ${short(rate)} > ${text} = ${fmt(limit)}` : "";
};

const problem = (state) => {
  const { part, stage, steps, optimizers: chosen } = state, within = ([key, [low, high]]) => state[key] >= low && state[key] <= high;
  if (!PARTS[part] || !Object.entries(RANGES).every(within) || ![stage, steps].every(Number.isInteger)) return "This is no state of this figure";
  if (!chosen?.length || !chosen.every((name) => NAMES[name])) return "Choose one optimizer at least";
  const far = chosen.find((name) => !descend(state, name).f.every(Number.isFinite));
  return far ? `${NAMES[far]} grows too large: take a smaller rate` : "";
};

// ---- what made a number --------------------------------------------------------------------------------------------

const tiny = (v) => (v ? v.toExponential(1) : "0");
const explainNode = (r, i, column) => {
  const { id, formula, words, back, user } = NODES[i], [value, local, upstream, gradient, probe] = r.rows[i], above = NODES[user]?.id;
  if (r.stage < NODES[i][column ? "back" : "there"]) return [`${id}: step forward`];
  if (!column) return [`${id} = ${formula ? `${formula} = ${formula.replace(/[a-z]/g, (c) => short(r.v[c]))} = ` : ""}${fmt(value)}`];
  if (column > 3) return [`(L(${id} + h) - L(${id} - h)) / 2h = ${fmt(probe)}`, `h = ${PROBE}; off by ${tiny(Math.abs(probe - gradient))}`];
  if (!above) return ["dL/dL = 1: going back begins here"];
  return [[`∂${above}/∂${id} = ${words} = ${fmt(local)}`, `dL/d${above} = ${fmt(upstream)}`, `dL/d${id} = ∂${above}/∂${id} × dL/d${above} = ${short(local)} × ${short(upstream)} = ${fmt(gradient)}`][column - 1]];
};
const adamStep = (s, rate) => ` - ${rate}×${short(s.mHat)} / (√${short(s.qHat)} + ε)`;
const STEP = {
  sgd: (s, rate) => ` - ${rate}×${short(s.g)}`,
  momentum: (s, rate) => ` - ${rate}×${short(s.v)}`,
  adam: adamStep,
  adamw: (s, rate) => `×(1 - ${rate}×${DECAY})${adamStep(s, rate)}`,
};
const explainPoint = (r, i, t) => [`${NAMES[r.runs[i].name]}, step ${t}: (${r.runs[i].path[t].map(fmt).join(", ")}), f = ${fmt(r.runs[i].f[t])}`];
const EXPLAIN = {
  nodes: explainNode,
  graph: (r, _, i) => explainNode(r, i, r.stage < NODES[i].back ? 0 : 3),
  points: (r, i, column) => {
    const { name, memory, path, f } = r.runs[i], { steps, curvature: k } = r, [x, y] = path[steps], s = memory[steps][column], letter = "xy"[column];
    if (!letter) return [`${NAMES[name]}: f = ½ (${short(x)}² + ${short(k)}×${short(y)}²) = ${fmt(f[steps])}`];
    if (!steps) return [`${NAMES[name]}: ${letter} = ${fmt(s.p)}, the start`];
    return [`${NAMES[name]}, step ${steps}: ${letter} = ${short(s.before)}${STEP[name](s, short(r.rate))} = ${fmt(s.p)}`,
      `g = ${column ? `κ y = ${short(k)}×${short(s.before)}` : "x"} = ${fmt(s.g)}${s.v ? `, v = ${MU} v + g` : ""}`];
  },
  paths: explainPoint,
  loss: explainPoint,
  kernel: (r, i, j) => [`${r.sources[i]} differs by at most ${tiny(r.differences[i][j])}`],
};

// How far the kernel's numbers are from these, if it has computed this state: a row a source.
const differencesOf = (r, kernel) => {
  if (!kernel?.by || !PARTS[r.part].every((key) => String(r[key]) === String(kernel.state[key]))) return null;
  const mine = r.part === "graph" ? [r.rows.map((row) => row[3])] : r.runs.map((run) => run.path.flat());
  const far = (a, b) => Math.max(...a.map((v, i) => Math.abs(v - b[i]) / Math.max(1, Math.abs(b[i]))));
  return Object.values(kernel.by).map((theirs) => mine.map((list, j) => far(list, theirs[j])));
};
const plain = (v) => (Number.isNaN(v) ? "·" : fmt(v)); // not yet reached
// What is shown, and what the drawings take: one label and one row of values serve the paths and the loss.
const compute = (state) => {
  if (state.part === "descent") {
    const runs = state.optimizers.map((name) => descend(state, name)), values = runs.map((run) => run.f);
    return { ...state, runs, values, label: "f along the paths", names: runs.map((run) => NAMES[run.name]), xs: Object.keys(values[0]).map(Number), xLabel: "step", low: 0, high: Math.max(...values.flat()), nth: Math.ceil(state.steps / 50) || 1 };
  }
  const rows = backward(state), shown = rows.map((row, i) => row.map((v, j) => (state.stage >= NODES[i][j ? "back" : "there"] ? v : NaN)));
  return { ...state, v: forward(state), rows, shown, values: [column(rows, 0)], label: "Graph of L" };
};

// ---- drawings ------------------------------------------------------------------------------------------------------

const graphSvg = (r, { dark, here }) => {
  const W = 84, H = 44, [ink, [, accent]] = palette(dark), out = [], x = (node) => 2 + 88 * node.c, y = (node) => 2 + 76 * node.a;
  const stroke = (on) => `stroke="${on ? accent : ink}" stroke-width="${on ? 2.5 : 1}"`;
  const text = (px, py, color, s, extra) => out.push(`<text x="${px}" y="${py}" fill="${color}" ${extra}>${s}</text>`);
  for (const node of NODES.slice(0, -1)) {
    const to = NODES[node.user];
    out.push(`<path d="M${x(node) + W / 2} ${y(node) + H}L${x(to) + W / 2} ${y(to)}" ${stroke(r.stage === node.back)}/>`);
  }
  NODES.forEach((node, i) => {
    const [value, local, , gradient] = r.shown[i];
    out.push(`<rect x="${x(node)}" y="${y(node)}" width="${W}" height="${H}" rx="7" class="lm-node" ${stroke(here?.j === i || reached(r).includes(node))} data-r="0" data-c="${i}"/>`);
    text(x(node) + 5, y(node) + 17, ink, `${node.id} = ${plain(value)}`, `data-node="${node.id}" data-value="${value}"`);
    if (r.stage >= node.back) text(x(node) + 5, y(node) + 35, accent, `d ${fmt(gradient)}`, `data-gradient="${node.id}" data-value="${gradient}"`);
    if (Number.isFinite(local)) text(0.8 * x(node) + 0.2 * x(NODES[node.user]) + W / 2, y(node) + H + 15, accent, `×${fmt(local)}`, `text-anchor="middle" class="lm-halo" data-value="${local}"`);
  });
  return picture(264, 5 * 76 + H + 4, out);
};

// Level lines are ellipses: f = c at x = √(2c), y = √(2c/κ).
const bowlSvg = (r, { dark, width, here }) => {
  const L = 40, B = 34, R = 8, H = Math.round(width * 0.55) + B, k = r.curvature, [ink, colors] = palette(dark), out = [];
  const reach = (axis, least) => 1.08 * Math.max(least, ...r.runs.flatMap((run) => run.path.map((point) => Math.abs(point[axis]))));
  const X = reach(0, 4.5), Y = reach(1, 2.4), sx = (width - L - R) / 2 / X, sy = (H - B - R) / 2 / Y, x = (v) => L + (v + X) * sx, y = (v) => R + (Y - v) * sy;
  const text = (px, py, s, anchor) => out.push(`<text x="${px}" y="${py}" fill="${ink}" text-anchor="${anchor}">${s}</text>`);
  const inner = `x="${L}" y="${R}" width="${width - L - R}" height="${H - B - R}"`;
  out.push(`<svg ${inner} viewBox="${inner.match(/[\d.]+/g).join(" ")}" fill="none" stroke="${ink}"><rect ${inner} opacity="0.4"/>`);
  for (let level = 0; level < 8; level++) {
    const c = height([X, Y], k) / 3 ** level;
    out.push(`<ellipse cx="${x(0)}" cy="${y(0)}" rx="${Math.sqrt(2 * c) * sx}" ry="${Math.sqrt(2 * c / k) * sy}" opacity="0.3" data-value="${c}"/>`);
  }
  out.push("</svg>");
  for (const v of ticks(-X, X, Math.min(8, width / 60))) text(x(v), H - B + 15, axis(v), "middle");
  for (const v of ticks(-Y, Y, 6)) text(L - 5, y(v) + 4, axis(v), "end");
  r.runs.forEach(({ path, f }, i) => out.push(series(i, colors[i], path.map(([a, b]) => [x(a).toFixed(1), y(b).toFixed(1)]), f, here, r.nth)));
  text((L + width - R) / 2, H - 3, "x", "middle");
  text(4, 14, "y", "start");
  return picture(width, H, out);
};

// ---- the figure ----------------------------------------------------------------------------------------------------

// The nodes whose value or gradient the present step brings.
const reached = ({ stage }) => NODES.filter(({ there, back }) => stage === there || stage === back);
const stageText = (r) => `step ${r.stage} of ${LAST}, ${r.stage < 6 ? "forward" : "back"} to ${reached(r).map(({ id }) => id).join(", ")}`;

const LABELS = { graph: { x: "x, input", w: "w, weight", b: "b, bias", t: "t, target", stage: "stage" }, descent: { rate: "rate", steps: "steps", curvature: "κ, curvature" } };
const EXPONENT = { bounds: { min: -3, max: 0, step: 0.01 }, to: Math.log10, from: (v) => Number((10 ** v).toPrecision(2)) };

const render = ({ model, el }) => {
  let result = null, views = {}, shape = "", stage = LAST;
  const here = session({ model, el }, { name: "gradient_lab", title: "Gradient lab", keys: [...KEYS, "kernel"], problem, draw: (state) => draw(state), paint: () => paint() });
  const { ui, initial, read } = here;
  // What is refused leaves the controls, too, as they were.
  const apply = (patch) => { const why = here.apply(patch); if (why) sync(read()); return why; };
  const own = ({ kernel, ...state }) => state; // the kernel's numbers are the kernel's to set
  const part = choice("Part", [["graph", "one neuron"], ["descent", "optimizers"]], (part) => apply({ part }));
  const controls = {}, boxes = {};
  const switches = Object.entries(NAMES).map(([name, label]) => [name, toggle(label, () => apply({ optimizers: switches.filter(([, one]) => one.el.querySelector("input").checked).map(([key]) => key) }))]);
  const walk = (by) => button(by < 0 ? "Step back" : "Step forward", () => apply({ stage: Math.min(LAST, Math.max(0, read().stage + by)) }));
  for (const [key, labels] of Object.entries(LABELS)) {
    const mine = Object.entries(labels).map(([name, label]) => (controls[name] = slider({ label, min: RANGES[name][0], max: RANGES[name][1], step: /^st/.test(name) ? 1 : 0.1, unit: `as ${label}`,
      alert: ui.alert, onInput: (v) => apply({ [name]: v }), ...(name === "rate" && EXPONENT) })));
    boxes[key] = h("div", {}, h("div", { class: "lm-controls" }, ...mine.map((c) => c.el)), key === "graph" ? group("Walk", walk(-1), walk(1)) : group("Optimizers", ...switches.map(([, one]) => one.el)));
  }
  const stageBox = h("div", {}), note = h("p", { class: "lm-note" }), legend = h("div", { class: "lm-legend" });
  const box = explainBox(ui, () => views, (t) => [EXPLAIN[t.id](result, t.i, t.j), []]), { explain } = box;

  const clear = () => Object.values(views).forEach((view) => view.destroy?.());
  const build = () => {
    clear();
    const { runs, sources, names } = result;
    views = runs ? {
      points: grid({ id: "points", name: "points", label: "Points", rows: names, cols: ["x", "y", "f"], explain }),
      paths: chart({ id: "paths", name: "paths", data: result, svg: bowlSvg, explain }),
      loss: chart({ id: "loss", name: "f", data: result, explain }),
    } : {
      graph: chart({ id: "graph", name: "L = (σ(w x + b) - t)²", data: result, svg: graphSvg, explain }),
      nodes: grid({ id: "nodes", name: "nodes", label: "Nodes", rows: NODES.map(({ id, formula }) => (formula ? `${id} = ${formula}` : id)),
        cols: ["value", "local", "upstream", "gradient", "finite difference"], explain, write: plain }),
    };
    if (sources) views.kernel = grid({ id: "kernel", name: "kernel", label: "Largest difference", rows: sources, cols: names || ["gradients"], explain, write: tiny });
    stageBox.className = runs ? "" : "lm-flow";
    stageBox.replaceChildren(...Object.values(views).map((view) => view.el));
    explain.keep(views, runs ? { id: "points", i: 0, j: 0 } : { id: "nodes", i: 1, j: 3 });
  };
  const paint = () => {
    const { runs, steps } = result, values = runs?.map(({ path, f }) => [...path[steps], f[steps]]) || result.shown, limit = largest(values);
    (views.points || views.nodes).paint(values, signedScale(limit, ui.paper), `limit ${fmt(limit)}`);
    views.kernel?.paint(result.differences, () => ui.paper, "largest difference, relative above 1");
    views.graph?.paint(result, ui.dark);
    views.paths?.paint(result, ui.dark);
    views.loss?.paint(result, ui.dark, { i: 0, j: result.steps });
    note.textContent = runs ? runs.map((run) => diverging(result, run.name)).filter(Boolean).join(". ") : stageText(result);
    legend.replaceChildren(fmt(-limit), bar("lm-signed"), fmt(limit));
    explain.show();
    ui.drawn();
  };
  const sync = (state) => {
    part.set(state.part);
    for (const key in boxes) boxes[key].hidden = state.part !== key;
    for (const key in controls) controls[key].set(state[key]);
    switches.forEach(([name, one]) => one.set(state.optimizers.includes(name)));
  };
  const draw = ({ kernel, ...state }) => {
    result = compute(state);
    result.differences = differencesOf(result, kernel);
    result.sources = result.differences && Object.keys(kernel.by);
    const needed = JSON.stringify([state.part, result.sources, ...(result.runs ? [state.optimizers, state.steps] : [])]);
    if (needed !== shape) {
      shape = needed;
      build();
    }
    if (!result.runs && stage !== state.stage) explain.focus({ id: "nodes", i: NODES.indexOf(reached(state)[0]), j: state.stage < 6 ? 0 : 3 });
    stage = state.stage;
    sync(state);
    ui.badge(`computed in your browser${result.sources ? `, checked by kernel: ${kernel.device}` : ""}`);
    paint();
  };

  ui.body.append(h("div", { class: "lm-controls" }, part.el), ...Object.values(boxes),
    group("Presets", button("Reset", () => apply(own(initial))), ...model.get("presets").map(({ label, ...state }) => button(label, () => apply(state)))),
    note, stageBox, box.el, legend);
  here.begin();
  return () => { clear(); here.destroy(); };
};

render.math = { backward, descend, diverging, problem }; // for the tests

export default { render };
