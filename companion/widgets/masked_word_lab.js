// uses: core grid chart
// W7, the masked-word lab: one word is hidden, and the bars are the model's softmax over its whole vocabulary.

const KEYS = ["sentence", "gap", "checkpoint", "temperature", "smoothing", "seed"];
const SHOWN = 10;

// ---- the data ------------------------------------------------------------------------------------------------------

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const shorts = (raw, from, n) => Array.from({ length: n }, (_, i) => raw[from + 2 * i] + 256 * raw[from + 2 * i + 1]);
// 16-bit steps between two bounds that stand in front.
const scaled = (raw, from, n) => {
  const view = new DataView(raw.buffer), low = view.getFloat32(from, true), high = view.getFloat32(from + 4, true);
  return shorts(raw, from + 8, n).map((q) => low + q * ((high - low) / 65535));
};
const decode = ([ids, packed], words) => {
  const numbers = bytes(ids), raw = bytes(packed), n = numbers.length / 2;
  return { names: shorts(numbers, 0, n).map((i) => words[i]), below: scaled(raw, 0, n),
    rest: scaled(raw, 8 + 2 * n, (raw.length - 16 - 2 * n) / 2) };
};
// softmax(z / τ): the kept words one by one, all others together.
const softmax = ({ names, below, rest }, tau, t) => {
  const weights = below.map((z) => Math.exp(z / tau)), others = Math.exp(rest[t]), total = sum(weights) + others;
  return { names, p: weights.map((w) => w / total), others: others / total };
};
const smooth = (values, beta) => {
  const out = [];
  for (const v of values) out.push(out.length ? beta * out[out.length - 1] + (1 - beta) * v : v);
  return out;
};

// Chance that a seed repeats in every browser (mulberry32).
const chance = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
// 15 % of the tokens are chosen; of these 80 % become [MASK], 10 % another word, 10 % stay.
const corrupt = (tokens, words, seed) => {
  const random = chance(seed);
  return tokens.map((token) => {
    const draw = random() / 0.15, other = words[Math.floor(random() * words.length)];
    if (draw >= 1) return [token, ""];
    return draw < 0.8 ? ["[MASK]", "masked"] : draw < 0.9 ? [other, "random"] : [token, "kept"];
  });
};

// ---- the figure ----------------------------------------------------------------------------------------------------

const render = ({ model, el }) => {
  const data = model.get("data"), taus = model.get("temperatures"), { steps, words, sentences, curve } = data;
  const others = data.vocabulary - bytes(sentences[0].steps[0][0][0]).length / 2;
  const problem = (s) => {
    const within = (v, n) => Number.isInteger(v) && v >= 0 && v < n;
    if (!within(s.sentence, sentences.length) || !within(s.gap, sentences[s.sentence].gaps.length)) return "There is no such gap";
    if (!within(s.checkpoint, steps.length) || !within(s.temperature, taus.length)) return "There is no such step or temperature";
    return s.smoothing >= 0 && s.smoothing <= 0.99 && Number.isInteger(s.seed) ? "" : "Smoothing goes from 0 to 0.99";
  };
  let now = null, views = {};
  const here = session({ model, el }, { name: "masked_word_lab", title: "Masked-word lab", keys: KEYS, problem,
    draw: (state) => draw(state), paint: () => paint() });
  const { ui, initial, read, apply } = here, { alert } = ui;
  const nearest = (tau) => taus.reduce((best, v, i) => (Math.abs(Math.log(v / tau)) < Math.abs(Math.log(taus[best] / tau)) ? i : best), 0);
  const controls = {
    sentence: choice("Sentence", sentences.map((_, i) => [String(i), String(i + 1)]), (i) => apply({ sentence: Number(i), gap: 0 })),
    checkpoint: slider({ label: "checkpoint", min: 0, max: steps.length - 1, step: 1, unit: "as number of the checkpoint", alert,
      onInput: (checkpoint) => apply({ checkpoint }) }),
    temperature: slider({ label: "temperature τ", min: taus[0], max: taus[taus.length - 1], step: 0.01, unit: "as temperature", alert,
      bounds: { min: 0, max: taus.length - 1, step: 1 }, to: nearest, from: (i) => taus[Number(i)], onInput: (tau) => apply({ temperature: nearest(tau) }) }),
    smoothing: slider({ label: "smoothing", min: 0, max: 0.99, step: 0.01, unit: "as smoothing", alert, onInput: (smoothing) => apply({ smoothing }) }),
  };
  const line = h("div", { class: "lm-words", role: "group", "aria-label": "Choose the word to mask" });
  const about = h("p", { class: "lm-note" });
  const body = h("tbody", {}), head = h("th", { scope: "col" });
  const bars = h("div", { class: "lm-matrix lm-bars", "data-matrix": "bars" }, h("div", { class: "lm-scroll", tabindex: "0", role: "region",
    "aria-label": "The likeliest words" }, h("table", {}, h("thead", {}, h("tr", {}, h("td", {}), head)), body)));
  const drawn = h("p", { class: "lm-words", "data-matrix": "corruption" }), count = h("p", { class: "lm-note" });
  const box = explainBox(ui, () => views, (t) => [[`step ${curveOf().xs[t.j]}: smoothed loss ${fmt(curveOf().values[0][t.j])}`], []]);

  const curveOf = () => {
    const values = smooth(curve.loss, now.smoothing);
    return { label: "Training loss of the masked words", names: ["loss, nats"], xs: curve.step, values: [values], xLabel: "step", low: 0, high: Math.max(...curve.loss) };
  };
  // The words are buttons; they stay the same elements while the sentence does, so that the focus stays too.
  let shownSentence = -1;
  const layWords = () => {
    const row = sentences[now.sentence];
    if (shownSentence !== now.sentence) {
      shownSentence = now.sentence;
      line.replaceChildren(...row.tokens.map((token, i) => {
        const gap = row.gaps.indexOf(i);
        return gap < 0 ? h("span", {}, token) : button(token, () => apply({ gap }), { "data-gap": gap });
      }));
    }
    for (const node of line.querySelectorAll("button")) {
      const on = Number(node.dataset.gap) === now.gap, token = row.tokens[row.gaps[node.dataset.gap]];
      node.setAttribute("aria-pressed", String(on));
      node.textContent = on ? "[MASK]" : token;
      node.setAttribute("aria-label", on ? `${token}, masked` : `mask ${token}`);
    }
  };
  const paint = () => {
    const { names, p, others: left } = now.result, hidden = now.word, rank = names.indexOf(hidden);
    const rows = [...names.slice(0, SHOWN).map((name, i) => [name, p[i]]), [`the next ${names.length - SHOWN}`, sum(p.slice(SHOWN))],
      [`the other ${others.toLocaleString("en")}`, left]];
    const fill = css(mix(ui.paper, ui.dark ? [108, 182, 255] : [31, 111, 178], 0.35));
    head.textContent = `probability at step ${steps[now.checkpoint].toLocaleString("en")}, τ = ${taus[now.temperature]}`;
    body.replaceChildren(...rows.map(([name, value], i) => h("tr", {},
      h("th", { scope: "row", class: i < SHOWN && name === hidden && "lm-true" }, i < SHOWN && name === hidden ? `${name} ✓` : name),
      h("td", { "data-r": i, "data-c": 0, "data-value": String(value), style: `background:linear-gradient(to right,${fill} ${100 * value}%,transparent 0)` }, fmt(value)))));
    const text = rank < 0 ? `“${hidden}” was hidden; it is not among the ${names.length} likeliest` :
      `“${hidden}” was hidden; it is number ${rank + 1}, with ${fmt(p[rank])}`;
    about.textContent = text;
    ui.say(text);
    const changed = now.corrupted.filter(([, kind]) => kind);
    drawn.replaceChildren(...now.corrupted.flatMap(([token, kind], i) => [i ? " " : "", kind ? h("mark", { "data-kind": kind }, token) : token]));
    count.textContent = changed.length ? `asked: ${changed.map(([token, kind]) => `${kind}${kind === "masked" ? "" : ` (${token})`}`).join(", ")}` : "nothing was chosen this time";
    if (views.curve) {
      const at = curve.step.reduce((best, s, j) => (Math.abs(s - steps[now.checkpoint]) < Math.abs(curve.step[best] - steps[now.checkpoint]) ? j : best), 0);
      views.curve.paint(curveOf(), ui.dark, { i: 0, j: at });
      box.explain.show();
    }
    ui.drawn();
  };
  const draw = (state) => {
    const row = sentences[state.sentence];
    now = { ...state, word: row.tokens[row.gaps[state.gap]],
      result: softmax(decode(row.steps[state.checkpoint][state.gap], words), taus[state.temperature], state.temperature),
      corrupted: corrupt(row.tokens, words, state.seed) };
    controls.sentence.set(String(state.sentence));
    controls.checkpoint.set(state.checkpoint);
    controls.temperature.set(taus[state.temperature]);
    controls.smoothing.set(state.smoothing);
    layWords();
    paint();
  };

  const last = steps.length - 1, one = taus.indexOf(1), hasCurve = curve.step?.length > 1;
  if (hasCurve) {
    now = initial;
    views = { curve: chart({ id: "curve", name: "training loss", data: curveOf(), explain: box.explain }) };
    box.explain.keep(views, { id: "curve", i: 0, j: curve.step.length - 1 });
  }
  ui.badge(model.get("source") || "computed in your browser from the book's own model");
  ui.body.append(
    h("div", { class: "lm-controls" }, ...["sentence", "checkpoint", "temperature"].map((key) => controls[key].el)),
    group("Presets", button("Reset", () => apply(initial)), button("Untrained", () => apply({ checkpoint: 0, temperature: one })),
      button("Trained", () => apply({ checkpoint: last, temperature: one })), button("Cold", () => apply({ checkpoint: last, temperature: 0 })),
      button("Hot", () => apply({ checkpoint: last, temperature: taus.length - 1 }))),
    line, about, bars,
    h("div", { class: "lm-controls" }, hasCurve ? controls.smoothing.el : ""), ...(hasCurve ? [views.curve.el, box.el] : []),
    group("80/10/10", button("Draw again", () => apply({ seed: read().seed + 1 }))), drawn, count);
  here.begin();
  return () => { views.curve?.destroy(); here.destroy(); };
};

render.math = { decode, softmax, smooth, corrupt }; // for the tests

export default { render };
