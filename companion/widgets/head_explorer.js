// uses: core cividis grid heat chart
// W4, the head explorer: the attention maps of a trained model, as lines, as a matrix, or all of them at once.

const KEYS = ["sentence", "layer", "chosen", "view", "threshold", "scale", "drop_special"];
const VIEWS = [["lines", "lines"], ["matrix", "matrix"], ["grid", "all heads"]];
const SCALES = [["linear", "linear"], ["root", "root"], ["log", "log"]];
const MOST = 8, cividis = unitScale();
const HUES = [...SERIES, "#8a6d00", "#5a5a5a"], HUES_DARK = [...SERIES_DARK, "#e3d26f", "#c8c8c8"];

// ---- the maps ------------------------------------------------------------------------------------------------------

const unpackMaps = (data, sentence) => {
  const { tokens, maps } = data.sentences[sentence], raw = atob(maps), n = tokens.length;
  const at = (l, head, i, j) => raw.charCodeAt(((l * data.heads + head) * n + i) * n + j) / 255;
  const rows = Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: data.layers }, (_, l) => Array.from({ length: data.heads }, (_, head) => rows.map((i) => rows.map((j) => at(l, head, i, j)))));
};
// Without the first and the last token, each row divided by what is left of it.
const dropSpecial = (map) => map.slice(1, -1).map((row) => {
  const kept = row.slice(1, -1), left = sum(kept);
  return kept.map((v) => (left ? v / left : 0));
});
const SHADE = { linear: (a) => a, root: Math.sqrt, log: (a) => (a > 0 ? Math.max(0, 1 + Math.log10(a) / 3) : 0) };
const linesOf = (maps, threshold) => maps.flatMap((map, h) => map.flatMap((row, i) => row.flatMap((v, j) => (v >= threshold ? [{ h, i, j, v }] : []))));

// ---- lines between two columns of words ----------------------------------------------------------------------------

const linesSvg = (tokens, lines, { dark, width, lit, shade }) => {
  const H = 24, top = 26, left = 0.36 * width, right = 0.64 * width, colors = dark ? HUES_DARK : HUES, ink = dark ? "#d5dbe1" : "#2b313a", out = [];
  const y = (i) => top + i * H + H / 2;
  out.push(`<text x="${left - 8}" y="14" text-anchor="end" fill="${ink}" font-weight="700">looks</text><text x="${right + 8}" y="14" fill="${ink}" font-weight="700">is looked at</text>`);
  for (const { h, i, j, v } of lines) {
    const on = lit === null || lit === i;
    out.push(`<line x1="${left}" y1="${y(i)}" x2="${right}" y2="${y(j)}" stroke="${colors[h]}" stroke-width="${(0.6 + 4 * shade(v)).toFixed(2)}" ` +
      `stroke-dasharray="${DASHES[h % DASHES.length]}" opacity="${on ? Math.max(0.25, shade(v)).toFixed(3) : 0.06}" data-h="${h}" data-r="${i}" data-c="${j}" data-value="${v}"/>`);
  }
  tokens.forEach((token, i) => {
    const bold = lit === i ? ' font-weight="700"' : "";
    out.push(`<text x="${left - 8}" y="${y(i) + 4}" text-anchor="end" fill="${ink}"${bold}>${escapeXml(token)}</text><text x="${right + 8}" y="${y(i) + 4}" fill="${ink}">${escapeXml(token)}</text>`);
  });
  return `<svg width="${width}" height="${top + tokens.length * H + 8}" font-family="sans-serif" font-size="13" aria-hidden="true">${out.join("")}</svg>`;
};

// ---- the figure ----------------------------------------------------------------------------------------------------

const render = ({ model, el }) => {
  const data = model.get("data"), L = data.layers, H = data.heads;
  const problem = (s) => {
    const within = (v, n) => Number.isInteger(v) && v >= 0 && v < n, heads = s.chosen;
    if (!within(s.sentence, data.sentences.length) || !within(s.layer, L)) return "There is no such sentence or layer";
    if (!Array.isArray(heads) || !heads.length || heads.length > MOST || !heads.every((v) => within(v, H))) return `Choose from 1 to ${MOST} heads`;
    return s.threshold >= 0 && s.threshold <= 0.5 && VIEWS.some(([v]) => v === s.view) && s.scale in SHADE ? "" : "The threshold goes from 0 to 0.5";
  };
  const stageBox = h("div", {}), note = h("p", { class: "lm-note" });
  let now = null, views = {}, built = "", unpacked = {}, picture = null;
  const here = session({ model, el }, { name: "head_explorer", title: "Head explorer", keys: KEYS, problem, draw: (s) => draw(s), paint: () => paint() });
  const { ui, initial, read, apply } = here, { alert } = ui;
  const headBoxes = Array.from({ length: H }, (_, k) => toggle(String(k + 1), (on) => {
    const { chosen } = read(), next = on ? [...chosen, k].sort((a, b) => a - b) : chosen.filter((v) => v !== k);
    if (apply({ chosen: next })) headBoxes[k].set(!on); // the last head stays
  }));
  const controls = {
    sentence: choice("Sentence", data.sentences.map((_, i) => [String(i), String(i + 1)]), (i) => apply({ sentence: Number(i) })),
    layer: choice("Layer", Array.from({ length: L }, (_, i) => [String(i), String(i + 1)]), (i) => apply({ layer: Number(i) })),
    view: choice("View", VIEWS, (view) => apply({ view })),
    scale: choice("Color", SCALES, (scale) => apply({ scale })),
    threshold: slider({ label: "threshold", min: 0, max: 0.5, step: 0.01, unit: "as smallest weight that is drawn", alert, onInput: (threshold) => apply({ threshold }) }),
    drop: toggle("without [CLS] and [SEP]", (on) => apply({ drop_special: on })),
  };
  const describe = (t) => {
    const { tokens, maps, state } = now, k = t.id === "lines" ? 0 : t.h || 0;
    if (t.id === "lines") {
      const row = maps[0][t.i], best = row.indexOf(Math.max(...row));
      return [[`“${tokens[t.i]}” in layer ${state.layer + 1}, head ${state.chosen[0] + 1}: most from “${tokens[best]}”, ${fmt(row[best])}`], []];
    }
    return [[`“${tokens[t.i]}” takes ${fmt(maps[k][t.i][t.j])} from “${tokens[t.j]}”`, `layer ${state.layer + 1}, head ${state.chosen[k] + 1}; the row sums to ${fmt(sum(maps[k][t.i]))}`], []];
  };
  const box = explainBox(ui, () => views, describe);

  // The lines are one stop for the keyboard: up and down go through the words that look.
  const makeLines = () => {
    const plot = h("div", { class: "lm-plot", tabindex: "0", role: "application", "aria-roledescription": "lines", "aria-label": "Attention as lines; up and down choose the word that looks" });
    const n = now.tokens.length, node = h("div", { class: "lm-chart", "data-matrix": "lines" }, plot);
    let at = 0, lit = null;
    const redraw = () => { plot.innerHTML = linesSvg(now.tokens, now.lines, { dark: ui.dark, width: Math.max(260, Math.min(620, plot.clientWidth || 560)), lit, shade: SHADE[now.state.scale] }); };
    const cellAt = (event) => {
      const row = Math.floor((event.clientY - plot.getBoundingClientRect().top - 26) / 24);
      return row >= 0 && row < n ? [row, 0] : null;
    };
    const move = (i) => { at = i; box.explain.focus({ id: "lines", i, j: 0 }); };
    plot.addEventListener("focus", () => move(at));
    plot.addEventListener("click", (event) => { const cell = cellAt(event); if (cell) move(cell[0]); });
    roam(plot, { id: "lines", explain: box.explain, n, m: 1, cellAt, at: () => [at, 0], move });
    const resized = new ResizeObserver(redraw);
    resized.observe(plot);
    return { el: node, n, m: 1, paint: redraw, destroy: () => resized.disconnect(), light: (_, to) => { lit = to && (plot === document.activeElement || plot.matches(":hover")) ? to.i : null; redraw(); } };
  };
  const makeGrid = () => {
    const cells = Array.from({ length: L }, (_, l) => Array.from({ length: H }, (_, k) => {
      const n = now.tokens.length, canvas = h("canvas", { width: n, height: n, style: "width:min(5.2rem,15cqw);height:min(5.2rem,15cqw);image-rendering:pixelated" });
      const node = h("button", { type: "button", class: "lm-thumb", "data-layer": l, "data-head": k, "aria-label": `layer ${l + 1}, head ${k + 1}`,
        onclick: () => apply({ layer: l, chosen: [k], view: "matrix" }) }, canvas, h("small", {}, `${l + 1}.${k + 1}`));
      return { node, canvas };
    }));
    const paint = () => cells.forEach((row, l) => row.forEach(({ canvas }, k) => {
      const map = now.all[l][k], context = canvas.getContext("2d"), image = context.createImageData(map.length, map.length);
      map.flat().forEach((v, p) => image.data.set([...cividis(SHADE[now.state.scale](v)), 255], 4 * p));
      context.putImageData(image, 0, 0);
    }));
    return { el: h("div", { class: "lm-thumbs", style: `grid-template-columns:repeat(${H},max-content)` }, ...cells.flat().map(({ node }) => node)), paint };
  };
  const build = () => {
    views.lines?.destroy();
    views = {};
    picture = null;
    if (now.state.view === "lines") views = { lines: makeLines() };
    else if (now.state.view === "matrix") views = { A: matrixView({ id: "A", name: "A", label: "Attention weights", rows: now.tokens, cols: now.tokens, explain: box.explain }) };
    else picture = makeGrid();
    stageBox.replaceChildren(...Object.values(views).map((v) => v.el), picture ? picture.el : "");
    box.el.hidden = Boolean(picture);
    if (!picture) box.explain.keep(views, { id: Object.keys(views)[0], i: 0, j: 0 });
  };
  const paint = () => {
    const { state, maps } = now, shade = SHADE[state.scale];
    if (views.A) views.A.paint(maps[0], (v) => cividis(shade(v)), `layer ${state.layer + 1}, head ${state.chosen[0] + 1}`);
    views.lines?.paint();
    picture?.paint();
    if (!picture) box.explain.show();
    note.textContent = { lines: `${now.lines.length} weights of at least ${state.threshold} are drawn.`, matrix: "A row for each word that looks; rows sum to 1.", grid: "Layers from top to bottom, heads from left to right. Choose one to see it large." }[state.view] +
      " A weight says how much of a value was taken. It does not say what the model's answer depends on.";
    ui.drawn();
  };
  const draw = (state) => {
    unpacked[state.sentence] ||= unpackMaps(data, state.sentence);
    const all = unpacked[state.sentence].map((heads) => heads.map((map) => (state.drop_special ? dropSpecial(map) : map)));
    const tokens = data.sentences[state.sentence].tokens.slice(...(state.drop_special ? [1, -1] : [0]));
    const maps = state.chosen.map((k) => all[state.layer][k]);
    now = { state, all, tokens, maps, lines: linesOf(maps, state.threshold) };
    const needed = JSON.stringify([state.sentence, state.view, state.drop_special]);
    if (needed !== built) { built = needed; build(); }
    for (const key of ["sentence", "layer"]) controls[key].set(String(state[key]));
    for (const key of ["view", "scale", "threshold"]) controls[key].set(state[key]);
    controls.drop.set(state.drop_special);
    headBoxes.forEach((one, k) => one.set(state.chosen.includes(k)));
    paint();
  };

  ui.badge(model.get("source") || "the book's own model, weights in 255ths");
  ui.body.append(h("div", { class: "lm-controls" }, controls.sentence.el, controls.layer.el, group("Heads", ...headBoxes.map((one) => one.el)), controls.view.el, controls.scale.el, controls.threshold.el, controls.drop.el),
    group("Presets", button("Reset", () => apply(initial)), button("All heads of this layer", () => apply({ chosen: Array.from({ length: Math.min(H, MOST) }, (_, k) => k), view: "lines", threshold: 0.2 })),
      button("Without the marks", () => apply({ drop_special: true, view: "matrix" })), button("Overview", () => apply({ view: "grid", scale: "root" }))),
    stageBox, box.el, note);
  here.begin();
  return () => { views.lines?.destroy(); here.destroy(); };
};

render.math = { unpackMaps, dropSpecial, linesOf }; // for the tests

export default { render };
