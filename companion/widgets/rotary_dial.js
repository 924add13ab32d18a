// uses: core edit grid chart
// W6, the rotary dial: pair i of a vector at position m turns by m θ_i, θ_i = base^(-2i/d).

const KEYS = ["m", "n", "q", "k", "base", "pairing"];
const PAIRINGS = [["interleaved", "neighbors (1 2, 3 4)"], ["half", "halves (1 3, 2 4)"]];

const pairsOf = (d, pairing) =>
  Array.from({ length: d / 2 }, (_, i) => (pairing === "half" ? [i, i + d / 2] : [2 * i, 2 * i + 1]));
const thetas = (d, base) => Array.from({ length: d / 2 }, (_, i) => base ** (-2 * i / d));
const turn = (x, position, { base, pairing }) => {
  const out = [...x], angles = thetas(x.length, base);
  pairsOf(x.length, pairing).forEach(([a, b], i) => {
    const c = Math.cos(position * angles[i]), s = Math.sin(position * angles[i]);
    [out[a], out[b]] = [x[a] * c - x[b] * s, x[a] * s + x[b] * c];
  });
  return out;
};
// The score against the distance, from positions that are really there: R_m q · R_n k.
const curveOf = (state, reach) => {
  const xs = Array.from({ length: 2 * reach + 1 }, (_, i) => i - reach);
  return { xs, values: xs.map((x) => dot(turn(state.q, Math.max(0, x), state), turn(state.k, Math.max(0, -x), state))) };
};
const rotate = (state) => {
  const { m, n, q, k, base } = state, tq = turn(q, m, state), tk = turn(k, n, state);
  const reach = Math.max(16, 2 ** Math.ceil(Math.log2(Math.abs(m - n) || 1)));
  return { ...state, d: q.length, theta: thetas(q.length, base), pairs: pairsOf(q.length, state.pairing), tq, tk, reach,
    score: dot(tq, tk), norms: [q, tq, k, tk].map((v) => Math.hypot(...v)), curve: curveOf(state, reach) };
};

const problem = ({ m, n, q, k, base, pairing }) => {
  const whole = (v) => Number.isInteger(v) && v >= 0 && v <= 256, vector = (v) => Array.isArray(v) && v.every(Number.isFinite);
  if (!whole(m) || !whole(n)) return "Positions are whole numbers from 0 to 256";
  if (!vector(q) || !vector(k) || ![2, 4, 8].includes(q.length) || q.length !== k.length) return "q and k must both have 2, 4 or 8 numbers";
  if (!(base >= 10 && base <= 1e6) || !PAIRINGS.some(([key]) => key === pairing)) return "This is no state of this figure";
  const r = rotate({ m, n, q, k, base, pairing });
  return [...r.tq, ...r.tk, r.score, ...r.norms, ...r.curve.values].every(Number.isFinite) ? "" : "With this number the result is too large to compute";
};

// ---- what made a number --------------------------------------------------------------------------------------------

const LETTER = [["q", "m"], ["q", "m"], ["k", "n"], ["k", "n"]];
const explainVector = (r, row, j) => {
  const [letter, at] = LETTER[row], x = r[letter], position = r[at];
  if (j === r.d) return [[`length of ${row % 2 ? `R${position} ${letter}` : letter} = √(${(row % 2 ? r[`t${letter}`] : x).map((v) => `${short(v)}²`).join(" + ")}) = ${fmt(r.norms[row])}`,
    "turning does not change the length"], []];
  if (row % 2 === 0) return [[`${letter}${j + 1} = ${fmt(x[j])}: type a number`], []];
  const i = r.pairs.findIndex((pair) => pair.includes(j)), [a, b] = r.pairs[i], angle = `${position}×${short(r.theta[i])}`;
  const line = j === a ? `${short(x[a])}×cos(${angle}) - ${short(x[b])}×sin(${angle})` : `${short(x[a])}×sin(${angle}) + ${short(x[b])}×cos(${angle})`;
  return [[`R${position} ${letter}[${j + 1}] = ${line} = ${fmt(r[`t${letter}`][j])}`,
    `pair ${i + 1} turns by ${at} θ${i + 1} = ${fmt(position * r.theta[i])} rad`], [["vectors", row - 1, a], ["vectors", row - 1, b]]];
};
const EXPLAIN = {
  vectors: explainVector,
  score: (r) => [[`score = R${r.m} q · R${r.n} k = ${spellSum(r.tq, r.tk)} = ${fmt(r.score)}`,
    `the same for all positions with m - n = ${r.m - r.n}`], [["vectors", 1], ["vectors", 3]]],
  curve: (r, _, j) => [[`m - n = ${r.curve.xs[j]}: score ${fmt(r.curve.values[j])}`], []],
};

// ---- one dial a pair -----------------------------------------------------------------------------------------------

const dialSvg = (r, i, longest, dark, [m, n]) => {
  const [a, b] = r.pairs[i], S = 132, C = S / 2, unit = 54 / (longest || 1), colors = dark ? SERIES_DARK : SERIES, out = [];
  const arrow = (x, position, color, dash, label) => {
    const angle = Math.atan2(x[b], x[a]) + position * r.theta[i], length = Math.hypot(x[a], x[b]) * unit;
    const tip = (turnBy, reach) => `${(C + reach * Math.cos(angle + turnBy)).toFixed(2)},${(C - reach * Math.sin(angle + turnBy)).toFixed(2)}`;
    const [tx, ty] = tip(0, length).split(",");
    out.push(`<line x1="${C}" y1="${C}" x2="${tx}" y2="${ty}" stroke="${color}" stroke-width="2.5" stroke-dasharray="${dash}" data-angle="${position * r.theta[i]}"/>`);
    if (length > 8) out.push(`<polygon points="${tx},${ty} ${tip(0.14, length - 8)} ${tip(-0.14, length - 8)}" fill="${color}"/>`);
    const [lx, ly] = tip(0, length + 8).split(",");
    if (label) out.push(`<text x="${lx}" y="${Number(ly) + 4}" text-anchor="middle" fill="${color}">${label}</text>`);
  };
  arrow(r.q, 0, `${colors[0]}55`, "", "");
  arrow(r.k, 0, `${colors[3]}55`, "5 3", "");
  arrow(r.q, m, colors[0], "", "q");
  arrow(r.k, n, colors[3], "5 3", "k");
  const ring = dark ? "#ffffff55" : "#00000044";
  return `<svg width="${S}" height="${S}" viewBox="0 0 ${S} ${S}" font-size="13" font-weight="700" aria-hidden="true">` +
    `<circle cx="${C}" cy="${C}" r="54" fill="none" stroke="${ring}"/><path d="M12 ${C}H120M${C} 12V120" stroke="${ring}"/>${out.join("")}</svg>`;
};

const makeDials = (r) => {
  const dials = r.pairs.map(([a, b], i) => {
    const face = h("div", { role: "img" }), text = h("small", {});
    return { face, text, el: h("div", { class: "lm-dial", "data-pair": i + 1 }, h("b", {}, `pair ${i + 1}: ${a + 1}, ${b + 1}`), face, text) };
  });
  const paint = (now, dark, [m, n]) => {
    const longest = Math.max(...now.pairs.flatMap(([a, b]) => [Math.hypot(now.q[a], now.q[b]), Math.hypot(now.k[a], now.k[b])]));
    dials.forEach(({ face, text }, i) => {
      face.innerHTML = dialSvg(now, i, longest, dark, [m, n]);
      if (m !== now.m || n !== now.n) return; // on the way: the words wait for the arrival
      face.setAttribute("aria-label", `Pair ${i + 1}: q turned by ${fmt(m * now.theta[i])}, k by ${fmt(n * now.theta[i])} radians`);
      text.replaceChildren(`θ = ${fmt(now.theta[i])}`, h("br"), `q ${fmt(m * now.theta[i])}, k ${fmt(n * now.theta[i])}`);
    });
  };
  return { el: h("div", { class: "lm-flow lm-frame" }, ...dials.map((d) => d.el)), paint };
};

// ---- the figure ----------------------------------------------------------------------------------------------------

// Play moves both positions one step on, and again, until an end: the score stays. With reduced motion it jumps.
const player = (step, glide) => {
  let timer = 0, frame = 0;
  const stop = () => { clearTimeout(timer); cancelAnimationFrame(frame); timer = 0; play.textContent = "Play"; play.setAttribute("aria-pressed", "false"); };
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const tick = () => {
    if (!step()) return stop();
    timer = setTimeout(tick, 900);
    const begin = performance.now();
    const go = (now) => {
      const part = Math.min(1, Math.max(0, (now - begin) / 600));
      glide(1 - part);
      if (part < 1 && timer) frame = requestAnimationFrame(go);
    };
    if (!still.matches) frame = requestAnimationFrame(go);
  };
  const play = button("Play", () => {
    if (timer) { stop(); glide(0); } else { play.textContent = "Pause"; play.setAttribute("aria-pressed", "true"); tick(); }
  }, { "aria-pressed": "false" });
  const forward = button("Step", () => { stop(); step(); });
  return { els: [play, forward], stop };
};

const FILL = { q: [1, 2, 3, 4, 5, 6, 7, 8], k: [1, -1, 0.5, 2, -2, 1, 3, -0.5] };

const render = ({ model, el }) => {
  let result = null, views = {}, shape = "", dials = null;
  const here = session({ model, el }, { name: "rotary_dial", title: "Rotary dial", keys: KEYS, problem,
    draw: (state) => draw(state), paint: () => paint() });
  const { ui, initial, read, change, apply } = here, { alert } = ui, memory = { q: [...FILL.q], k: [...FILL.k] };
  const stageBox = h("div", {}), dialBox = h("div", {}), legend = h("div", { class: "lm-legend" });
  const user = (patch) => { motion.stop(); return apply(patch); };
  const widen = (d) => {
    const now = read();
    for (const x of ["q", "k"]) now[x].forEach((v, i) => { memory[x][i] = v; });
    return { q: memory.q.slice(0, d), k: memory.k.slice(0, d) };
  };
  const position = (key, name) => slider({ label: name, min: 0, max: 256, step: 1, unit: "as position", alert, onInput: (v) => user({ [key]: v }) });
  const controls = {
    m: position("m", "m, query at"), n: position("n", "n, key at"),
    base: slider({ ...BASE, alert, onInput: (base) => user({ base }) }),
    d: choice("d", [["2", "2"], ["4", "4"], ["8", "8"]], (d) => user(widen(Number(d)))),
    pairing: choice("Pairs", PAIRINGS, (pairing) => user({ pairing })),
  };
  const step = () => {
    const { m, n } = read();
    return Math.max(m, n) < 256 && !change({ m: m + 1, n: n + 1 });
  };
  const motion = player(step, (back) => dials.paint(result, ui.dark, [result.m - back, result.n - back]));
  const box = explainBox(ui, () => views, (t) => EXPLAIN[t.id](result, t.i, t.j));

  const vectors = () => [result.q, result.tq, result.k, result.tk].map((row, i) => [...row, result.norms[i]]);
  const limit = () => largest(vectors());
  const chartData = () => ({ label: "Score against m - n", names: ["score"], xs: result.curve.xs, values: [result.curve.values],
    xLabel: "m - n", low: Math.min(0, ...result.curve.values), high: Math.max(0, ...result.curve.values) });
  const rowNames = ["q", "Rₘ q", "k", "Rₙ k"];
  const columns = () => [...result.q.map((_, j) => String(j + 1)), "length"];
  const build = () => {
    const on = { explain: box.explain, alert, restore: () => paint(), editor: cellEditor,
      edit: (i, j, v) => { const key = LETTER[i][0]; return change({ [key]: result[key].map((old, c) => (c === j ? v : old)) }); } };
    views = {
      vectors: grid({ id: "vectors", name: "q and k, turned", label: "Query and key, as given and turned", rows: rowNames, cols: columns(),
        editable: (i, j) => i % 2 === 0 && j < result.d, ...on }),
      score: grid({ id: "score", name: "score", label: "Score", rows: ["Rₘ q · Rₙ k"], cols: ["value"], ...on }),
      curve: chart({ id: "curve", name: "score against m - n", data: chartData(), ...on }),
    };
    dials = makeDials(result);
    dialBox.replaceChildren(dials.el);
    stageBox.replaceChildren(h("div", { class: "lm-flow lm-frame" }, views.vectors.el, views.score.el), views.curve.el);
    box.explain.keep(views, { id: "score", i: 0, j: 0 });
  };
  const paint = () => {
    views.vectors.paint(vectors(), signedScale(limit(), ui.paper), `limit ${fmt(limit())}`);
    views.score.paint([[result.score]], signedScale(result.norms[0] * result.norms[2], ui.paper), "");
    views.curve.paint(chartData(), ui.dark, { i: 0, j: result.m - result.n + result.reach });
    legend.replaceChildren(fmt(-limit()), bar("lm-signed"), fmt(limit()));
    dials.paint(result, ui.dark, [result.m, result.n]);
    box.explain.show();
    ui.drawn();
  };
  const draw = (state) => {
    result = rotate(state);
    const needed = JSON.stringify([result.d, state.pairing, result.reach]);
    if (needed !== shape) {
      shape = needed;
      views.curve?.destroy();
      build();
    }
    for (const key of ["m", "n", "base", "pairing"]) controls[key].set(state[key]);
    controls.d.set(String(result.d));
    paint();
  };

  ui.badge("computed in your browser");
  ui.body.append(h("div", { class: "lm-controls" }, ...Object.values(controls).map((c) => c.el)),
    group("Move both", ...motion.els),
    group("Presets", button("Reset", () => user(initial)), ...model.get("presets").map(({ label, ...state }) => button(label, () => user(state)))),
    dialBox, stageBox, box.el, legend);
  here.begin();
  return () => { motion.stop(); views.curve.destroy(); here.destroy(); };
};

render.math = { rotate, problem }; // for the tests

export default { render };
