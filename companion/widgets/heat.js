// A big matrix on a canvas: one label, one tab stop, the crosshair by pointer or arrow keys. What the crosshair stands
// on is in data-r, data-c and data-value.
const heat = (spec) => {
  const { id, name, rows, cols, explain } = spec;
  const n = rows.length, m = cols.length;
  const canvas = h("canvas", { tabindex: "0", role: "application", "aria-roledescription": "heat map",
    "aria-label": `${spec.label}, ${n} rows, ${m} columns; arrow keys read the cells` });
  const about = h("span", { class: "lm-about" });
  const el = h("div", { class: "lm-matrix lm-heat", "data-matrix": id },
    h("div", { class: "lm-title" }, nameNode(name), " ", about), h("div", { class: "lm-scroll" }, canvas));
  // Whole pixels a cell, so that the edges stay sharp.
  const [w, t] = spec.cell || [m, n].map((count) => Math.max(4, Math.min(22, Math.floor(576 / count))));
  canvas.width = m;
  canvas.height = n;
  const cover = h("div", { class: "lm-cross", hidden: true });
  canvas.style.width = `${m * w}px`;
  canvas.style.height = `${n * t}px`;
  const box = h("div", { class: "lm-canvas" }, cover);
  canvas.replaceWith(box);
  box.prepend(canvas);
  let at = [0, 0], values = null;
  const cellOf = (event) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const j = Math.floor(((event.clientX - left) / width) * m), i = Math.floor(((event.clientY - top) / height) * n);
    return i >= 0 && j >= 0 && i < n && j < m ? [i, j] : null;
  };
  const move = (i, j) => { at = [i, j]; explain.focus({ id, i, j }); };
  canvas.addEventListener("focus", () => move(...at));
  canvas.addEventListener("click", (event) => { const cell = cellOf(event); if (cell) move(...cell); });
  roam(canvas, { id, explain, n, m, cellAt: cellOf, at: () => at, move });
  return {
    el, n, m,
    paint: (next, scale, note) => {
      values = next;
      about.textContent = note;
      const context = canvas.getContext("2d"), image = context.createImageData(m, n);
      for (let i = 0, p = 0; i < n; i++) {
        for (let j = 0; j < m; j++, p += 4) {
          const rgb = scale(values[i][j]);
          image.data[p] = rgb[0];
          image.data[p + 1] = rgb[1];
          image.data[p + 2] = rgb[2];
          image.data[p + 3] = 255;
        }
      }
      context.putImageData(image, 0, 0);
    },
    light: (lit, here) => {
      const to = here || lit[0];
      cover.hidden = !to;
      if (!to) return;
      const i = to.i ?? 0, j = to.j ?? 0, tall = to.i === undefined ? n : 1, wide = to.j === undefined ? m : 1;
      Object.assign(cover.style, { left: `${(100 * j) / m}%`, top: `${(100 * i) / n}%`,
        width: `${(100 * wide) / m}%`, height: `${(100 * tall) / n}%` });
      if (!here) return;
      Object.assign(canvas.dataset, { r: i, c: j, value: String(values[i][j]) });
    },
  };
};

const matrixView = (spec) => (spec.rows.length > 16 || spec.cols.length > 16 ? heat : grid)(spec);
