// uses: core cividis edit grid heat
// W8, the saliency lab: which words made F what it is? Four methods beside what happens when words are taken out.

const KEYS = ["part", "sentence", "baseline", "steps", "off", "weights"];
const METHODS = ["leave one out", "gradient × input", "integrated gradients"];

// ---- scores --------------------------------------------------------------------------------------------------------

// 24-bit steps between two bounds: F of every selection; in number s, word w is out if bit w is set.
const unpackScores = ([low, high, text]) => {
  const raw = atob(text), at = (i) => raw.charCodeAt(i);
  return Array.from({ length: raw.length / 3 }, (_, i) => low + (at(3 * i) + 256 * at(3 * i + 1) + 65536 * at(3 * i + 2)) * ((high - low) / 16777215));
};
const cache = new WeakMap();
const scoresOf = (packed) => cache.get(packed) || cache.set(packed, unpackScores(packed)).get(packed);

// F = tanh(Σ w): its slope is the same for every w.
const toy = ({ weights, baseline, steps }, mask) => {
  const empty = baseline === "mask" ? mask : 0, change = weights.map((w) => w - empty), none = empty * weights.length;
  const slope = (z) => 1 - Math.tanh(z) ** 2, at = (off) => Math.tanh(sum(weights.map((w, i) => (off.includes(i) ? empty : w))));
  const mean = sum(Array.from({ length: steps }, (_, k) => slope(none + ((k + 0.5) / steps) * sum(change)))) / steps;
  return { words: weights.map((_, i) => `w${i + 1}`), at, ends: [at([]), Math.tanh(none)], slope: slope(sum(weights)), mean, change,
    leave: weights.map((_, i) => at([]) - at([i])), gradient: change.map((c) => c * slope(sum(weights))), integrated: change.map((c) => c * mean) };
};

// A classifier's F; of a long text the kernel says what a selection is worth.
const text = ({ sentence, baseline, steps, off }, data, kernel) => {
  const row = data.sentences[sentence], kept = row[baseline], { ends, leave, gradient } = kept;
  const key = [sentence, baseline, [...off].sort((a, b) => a - b)], answered = JSON.stringify(kernel?.state) === JSON.stringify(key);
  const found = { words: row.words, ends, leave, gradient, integrated: kept.integrated[data.steps.indexOf(steps)], rollout: row.rollout };
  if (kept.subsets) return { ...found, at: (out) => scoresOf(kept.subsets)[sum(out.map((i) => 2 ** i))] };
  const nothing = leave.map(() => NaN);
  return { ...found, ...(answered ? { now: kernel.now, effects: kernel.effects } : off.length ? { now: NaN, effects: nothing } : { now: ends[0], effects: leave }) };
};

const study = (state, data, mask, kernel) => {
  const r = { ...state, target: data.target, mask, ...(state.part === "toy" ? toy(state, mask) : text(state, data, kernel)) };
  const without = (i) => state.off.filter((j) => j !== i);
  r.now ??= r.at(state.off);
  r.effects ??= r.words.map((_, i) => r.at(without(i)) - r.at([...without(i), i]));
  const methods = [r.leave, r.gradient, r.integrated], lost = (whole) => methods.map(() => whole);
  r.shares = r.words.map((_, i) => [...methods.map((m) => m[i]), r.effects[i]]);
  const sums = methods.map(sum), outs = methods.map((m) => sum(state.off.map((i) => m[i])));
  const block = (totals, whole) => [totals, lost(whole), totals.map((v) => v - whole)];
  r.totals = [...block(sums, r.ends[0] - r.ends[1]), ...block(outs, r.ends[0] - r.now)];
  r.values = [[r.ends[0], r.now, r.ends[1]]];
  if (state.part === "text") r.values.push(r.values[0].map((f) => 1 / (1 + Math.exp(-f))));
  return r;
};

// ---- what made a number --------------------------------------------------------------------------------------------

const TOTALS = ["sum over all words", "F(all) - F(none)", "completeness gap", "sum over the words out", "F(all) - F(now)", "gap"];
const quote = (word) => `“${word}”`;
const erased = (r) => (r.baseline === "mask" ? (r.part === "toy" ? `${r.mask}, which stands for [MASK]` : "[MASK]") : "zero");
const difference = (a, b, result) => `${short(a)} - ${short(b)} = ${fmt(result)}`;
const shareText = (r, i, j) => {
  const word = quote(r.words[i]), value = r.shares[i][j], plain = r.part === "toy";
  if (j === 0) return [`leave one out: F(all) - F(without ${word}) = ${difference(r.ends[0], r.ends[0] - value, value)}`, `${word} becomes ${erased(r)}, nothing else changes`];
  if (j === 1) return [plain ? `gradient × input: ${short(r.change[i])} × (1 - tanh²(Σw)) = ${short(r.change[i])}×${short(r.slope)} = ${fmt(value)}` :
    `gradient × input: ${word} - ${erased(r)}, times the slope of F at the whole text = ${fmt(value)}`, "the slope here; where F is flat it says little"];
  if (j === 2) return [`integrated gradients: ${plain ? `${short(r.change[i])} × mean slope ${short(r.mean)}` : `${word} - ${erased(r)}, times the mean slope`} = ${fmt(value)}`,
    `the mean of ${r.steps} slopes on the straight way from all words at ${erased(r)} to the text`];
  return [`${word}, the others as they are now: F with it - F without it = ${fmt(value)}`, r.off.includes(i) ? "it is out: so much would come back" : "it is in: so much would be lost"];
};
const totalText = (r, i, j) => {
  const col = column(r.totals, j), at = i < 3 ? 0 : 3;
  if (i % 3 === 0) return [`${METHODS[j]}: ${TOTALS[i]} = ${fmt(col[i])}`];
  if (i % 3 === 1) return [`${TOTALS[i]} = ${difference(r.ends[0], i < 3 ? r.ends[1] : r.now, col[i])}`, "what there is to share out"];
  return [`${METHODS[j]}: ${difference(col[at], col[at + 1], col[i])}`, i < 3 ? "zero if the shares add up to the whole: integrated gradients promise that, for many steps" :
    "zero if the shares of the words that are out foretell what their loss does"];
};
const EXPLAIN = {
  shares: shareText,
  totals: totalText,
  rollout: (r, i) => [`rollout: ${fmt(r.rollout[i])} of what the head reads comes from ${quote(r.words[i])}, if attention and residual paths were all`,
    `${fmt(1 - sum(r.rollout))} is at [CLS] and [SEP]; the sign and the class play no part`],
  weights: (r, i, j) => [`w${j + 1} = ${fmt(r.weights[j])}: type a number`],
  values: (r, i, j) => [`${i ? `probability of ${quote(r.target)} = 1 / (1 + e^-F)` : r.part === "toy" ? "F = tanh(Σ w)" : `F = log(p / (1 - p)) of ${quote(r.target)}`} = ${fmt(r.values[i][j])}`,
    ["with all words", "with the words that are in", `with none: each is ${erased(r)}`][j]],
};

// ---- the figure ----------------------------------------------------------------------------------------------------

const render = ({ model, el }) => {
  const data = model.get("data"), mask = model.get("toy_mask");
  const problem = ({ part, sentence, baseline, steps, off, weights }) => {
    if (!["toy", "text"].includes(part) || !["zero", "mask"].includes(baseline) || !data.sentences[sentence]) return "This is no state of this figure";
    if (!data.steps.includes(steps)) return `Steps must be one of ${data.steps.join(", ")}`;
    if (!(weights.length >= 2 && weights.length <= 8 && weights.every((w) => Math.abs(w) <= 10))) return "Numbers go from -10 to 10";
    const n = part === "toy" ? weights.length : data.sentences[sentence].words.length;
    return new Set(off).size === off.length && off.every((i) => Number.isInteger(i) && i >= 0 && i < n) ? "" : "There is no such word";
  };
  let result = null, views = {}, shape = "";
  const here = session({ model, el }, { name: "saliency_lab", title: "Saliency lab", keys: [...KEYS, "kernel"], problem,
    draw: (state) => draw(state), paint: () => paint() });
  const { ui, initial, read, change, apply } = here, { alert } = ui;
  const own = ({ kernel, ...state }) => state; // the kernel's answer is the kernel's to set
  const places = [["toy", "toy: tanh(Σ w)"], ...data.sentences.map((_, i) => [String(i), `sentence ${i + 1}`])];
  const nearest = (n) => data.steps.reduce((best, v, i) => (Math.abs(v - n) < Math.abs(data.steps[best] - n) ? i : best), 0);
  const controls = {
    part: choice("F of", places, (at) => apply(at === "toy" ? { part: "toy", off: [] } : { part: "text", sentence: Number(at), off: [] })),
    baseline: choice("A word that is out is", [["zero", "zero"], ["mask", "[MASK]"]], (baseline) => apply({ baseline })),
    steps: slider({ label: "steps", min: data.steps[0], max: data.steps[data.steps.length - 1], step: 1, unit: "steps of integrated gradients", alert,
      bounds: { min: 0, max: data.steps.length - 1 }, to: nearest, from: (i) => data.steps[Number(i)], onInput: (n) => apply({ steps: data.steps[nearest(n)] }) }),
  };
  const line = h("div", { class: "lm-words", role: "group", "aria-label": "Take words out, or put them back" });
  const stageBox = h("div", {}), note = h("p", { class: "lm-note" }), legend = h("div", { class: "lm-legend" });
  const box = explainBox(ui, () => views, (t) => [EXPLAIN[t.id](result, t.i, t.j), []]), { explain } = box;

  const flip = (i) => { const { off } = read(); apply({ off: off.includes(i) ? off.filter((j) => j !== i) : [...off, i] }); };
  const build = () => {
    const { words, part } = result, on = { explain, alert, restore: () => paint(), editor: cellEditor };
    views = {
      ...(part === "toy" && { weights: grid({ id: "weights", name: "w", label: "The numbers of the toy", rows: ["w"], cols: words, editable: () => true, ...on,
        edit: (_, i, v) => change({ weights: result.weights.map((w, j) => (j === i ? v : w)) }) }) }),
      values: grid({ id: "values", name: "F", label: "F", rows: ["F", `p of ${result.target}`].slice(0, result.values.length), cols: ["all words", "now", "no words"], explain }),
      shares: matrixView({ id: "shares", name: "shares", label: "What each word is worth", rows: words, cols: [...METHODS, "in this selection"], explain, cell: [44, 22] }),
      ...(part === "text" && { rollout: matrixView({ id: "rollout", name: "rollout", label: "Attention rollout", rows: words, cols: ["share"], explain, cell: [44, 22] }) }),
      totals: grid({ id: "totals", name: "sums", label: "Sums and gaps", rows: TOTALS, cols: METHODS, explain }),
    };
    // The words are buttons; they stay the same elements while the text does, so that the focus stays too.
    line.replaceChildren(...words.map((word, i) => button(word, () => flip(i), { "data-word": i })));
    stageBox.replaceChildren(...[["weights", "values"], ["shares", "rollout"], ["totals"]].map((row) => h("div", { class: "lm-flow lm-frame" },
      ...row.filter((id) => views[id]).map((id) => views[id].el))));
    explain.keep(views, { id: "shares", i: 0, j: 2 });
  };
  const paint = () => {
    const { words, off } = result, limit = largest(result.shares), signed = signedScale(limit, ui.paper), unit = unitScale();
    const most = largest([result.rollout || []]) || 1, plain = () => ui.paper;
    [...line.children].forEach((node, i) => node.setAttribute("aria-pressed", String(off.includes(i))));
    views.weights?.paint([result.weights], plain, "");
    views.values.paint(result.values, plain, result.part === "toy" ? "tanh(Σ w)" : `log odds of ${quote(result.target)}`);
    views.shares.paint(result.shares, signed, `limit ${fmt(limit)}`);
    views.rollout?.paint(result.rollout.map((v) => [v]), (v) => unit(v / most), `0 to ${fmt(most)}`);
    views.totals.paint(result.totals, plain, "");
    note.textContent = Number.isNaN(result.now) ? "The kernel has not answered for this selection" :
      `F is ${fmt(result.now)} ${off.length ? `without ${off.map((i) => quote(words[i])).join(", ")}` : "with all words"}; completeness gap of integrated gradients, ${result.steps} steps: ${fmt(result.totals[2][2])}`;
    legend.replaceChildren(fmt(-limit), bar("lm-signed"), fmt(limit), ...(views.rollout ? [" rollout: 0", bar("lm-unit"), fmt(most)] : []));
    explain.show();
    ui.say(note.textContent); // after the explainer, whose cell has not changed
    ui.drawn();
  };
  const draw = (state) => {
    result = study(state, data, mask, state.kernel);
    const needed = JSON.stringify([state.part, state.sentence, result.words]);
    if (needed !== shape) {
      shape = needed;
      build();
    }
    controls.part.set(state.part === "toy" ? "toy" : String(state.sentence));
    controls.baseline.set(state.baseline);
    controls.steps.set(state.steps);
    ui.badge(model.get("source") || `computed in your browser${state.part === "toy" ? "" : ` from ${data.classifier || "a classifier"}`}`);
    paint();
  };

  ui.body.append(h("div", { class: "lm-controls" }, ...Object.values(controls).map((c) => c.el)),
    group("Presets", button("Reset", () => apply(own(initial))), button("All words out", () => apply({ off: result.words.map((_, i) => i) })),
      button("All words in", () => apply({ off: [] })), button("Toy", () => apply({ part: "toy", off: [], baseline: "zero", steps: 32, weights: [1.5, -0.5, 0.25] }))),
    line, note, stageBox, box.el, legend);
  here.begin();
  return () => here.destroy();
};

render.math = { study, unpackScores }; // for the tests

export default { render };
