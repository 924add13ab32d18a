// Matrices: a table of numbers that the keyboard walks and edits, a canvas for big ones with the same crosshair, and
// the explainer that says what made the cell under the pointer or the focus.

// Where a key leads from cell (i, j) of an n x m matrix; null for a key that leads nowhere.
const walk = (key, ctrl, i, j, n, m) => {
  const to = {
    ArrowUp: [i - 1, j], ArrowDown: [i + 1, j], ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1],
    Home: [ctrl ? 0 : i, 0], End: [ctrl ? n - 1 : i, m - 1], PageUp: [0, j], PageDown: [n - 1, j],
  }[key];
  return to ? [Math.min(n - 1, Math.max(0, to[0])), Math.min(m - 1, Math.max(0, to[1]))] : null;
};

// One target at a time: pinned, else under the pointer, else in focus. `draw(target, pinned)` shows it.
const explainer = (draw) => {
  let pinned = null, hover = null, focus = null;
  const same = (a, b) => a === b || (a && b && a.id === b.id && a.i === b.i && a.j === b.j);
  const show = () => draw(pinned || hover || focus, Boolean(pinned));
  return {
    show,
    hover: (target) => { if (!same(target, hover)) { hover = target; show(); } },
    focus: (target) => { focus = target; hover = null; show(); },
    pin: (target) => { pinned = same(pinned, target) ? null : target; show(); },
    unpin: () => { pinned = null; show(); },
    // The matrices are new: what no longer exists is forgotten.
    keep: (views, fallback) => {
      const exists = (t) => t && views[t.id] && t.i < views[t.id].n && t.j < views[t.id].m;
      hover = null;
      if (!exists(pinned)) pinned = null;
      if (!exists(focus)) focus = fallback;
    },
  };
};

// The sentence that says what made a cell, and the light on what it was made of. `describe(target)` gives the lines and
// the parts, [matrix, i, j]; an undefined i or j means all.
const explainBox = (ui, views, describe) => {
  const text = h("div", { class: "lm-text" });
  const release = button("Pinned: release", () => explain.unpin(), { class: "lm-pin" });
  const explain = explainer((target, pinned) => {
    const [lines, parts] = describe(target);
    text.replaceChildren(...lines.map((line) => h("span", {}, line)));
    release.hidden = !pinned;
    for (const [id, view] of Object.entries(views())) {
      view.light(parts.filter(([from]) => from === id).map(([, i, j]) => ({ i, j })), target.id === id ? target : null);
    }
    ui.say(lines.join(". "));
  });
  return { el: h("div", { class: "lm-explain" }, text, release), explain };
};

// W_Q as W with a small Q below.
const nameNode = (name) => {
  const [base, below] = name.split("_");
  return h("b", {}, base, ...(below ? [h("sub", {}, below)] : []));
};

// What mouse, finger and focus do, the same for tables and canvases.
const pointed = (node, id, explain, at) => {
  node.addEventListener("pointermove", (event) => {
    const cell = at(event);
    if (cell && event.pointerType === "mouse") explain.hover({ id, i: cell[0], j: cell[1] });
  });
  node.addEventListener("pointerleave", () => explain.hover(null));
};

// A table of numbers. spec: id, name (for the label), about (under the name), rows, cols (labels), editable,
// explain, edit(i, j, value) -> "" or why it is refused, alert(text), restore() after an edit is given up.
const grid = (spec) => {
  const { id, name, rows, cols, editable, explain } = spec;
  const n = rows.length, m = cols.length;
  let at = [0, 0], editor = null;
  const head = h("tr", {}, h("td", { role: "presentation" }),
    ...cols.map((c) => h("th", { role: "columnheader", scope: "col" }, c)));
  const cells = rows.map((_, i) => cols.map((_, j) =>
    h("td", { role: "gridcell", tabindex: i + j ? "-1" : "0", "data-r": i, "data-c": j })));
  const headers = rows.map((r) => h("th", { role: "rowheader", scope: "row" }, r));
  const table = h("table", { role: "grid", "aria-label": spec.label, "aria-readonly": String(!editable) },
    h("thead", {}, head), h("tbody", {}, ...rows.map((_, i) => h("tr", {}, headers[i], ...cells[i]))));
  const about = h("span", { class: "lm-about" });
  const el = h("div", { class: `lm-matrix${editable ? " lm-editable" : ""}`, "data-matrix": id },
    h("div", { class: "lm-title" }, nameNode(name), " ", about), h("div", { class: "lm-scroll" }, table));

  const cellOf = (event) => {
    const td = event.target.closest?.("td[data-r]");
    return td && table.contains(td) ? [Number(td.dataset.r), Number(td.dataset.c)] : null;
  };
  const rove = (i, j) => {
    cells[at[0]][at[1]].tabIndex = -1;
    at = [i, j];
    cells[i][j].tabIndex = 0;
  };
  const goTo = (i, j) => { rove(i, j); cells[i][j].focus(); };

  const close = (refocus) => {
    const { i, j } = editor;
    editor = null; // first: removing the input fires its blur
    cells[i][j].replaceChildren();
    cells[i][j].classList.remove("lm-editing");
    spec.restore();
    if (refocus) cells[i][j].focus();
  };
  const attempt = (text) => {
    const value = parseNumber(text);
    return value === null ? refusal(text) : spec.edit(editor.i, editor.j, value);
  };
  const open = (i, j, text) => {
    const input = h("input", { class: "lm-editor", "aria-label": `${spec.label}, row ${rows[i]}, column ${cols[j]}` });
    const before = Number(cells[i][j].dataset.value);
    editor = { i, j, input };
    input.value = text ?? String(before);
    cells[i][j].replaceChildren(input);
    cells[i][j].classList.add("lm-editing");
    const live = () => input.setAttribute("aria-invalid", String(Boolean(attempt(input.value))));
    input.addEventListener("input", live);
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") {
        spec.edit(i, j, before);
        spec.alert("");
        close(true);
      } else if (event.key === "Enter") {
        const problem = attempt(input.value);
        spec.alert(problem);
        input.setAttribute("aria-invalid", String(Boolean(problem)));
        if (!problem) close(true);
      }
    });
    input.addEventListener("blur", () => {
      if (!editor) return;
      const problem = attempt(input.value);
      spec.alert(problem && `${problem}; the last number stays`);
      close(false);
    });
    input.focus();
    if (text === undefined) input.select();
    else live();
  };

  table.addEventListener("focusin", (event) => {
    const cell = cellOf(event);
    if (!cell) return;
    rove(...cell);
    explain.focus({ id, i: cell[0], j: cell[1] });
  });
  let armed = false; // a click on the cell that already has the focus edits it
  table.addEventListener("pointerdown", (event) => {
    const cell = cellOf(event);
    armed = Boolean(cell) && document.activeElement === cells[cell[0]][cell[1]];
  });
  table.addEventListener("click", (event) => {
    const cell = cellOf(event);
    if (!cell || event.target.tagName === "INPUT") return;
    if (editable && armed) open(...cell);
    else goTo(...cell);
  });
  table.addEventListener("keydown", (event) => {
    const [i, j] = at, plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const to = walk(event.key, event.ctrlKey || event.metaKey, i, j, n, m);
    if (to) goTo(...to);
    else if (event.key === "Enter") explain.pin({ id, i, j });
    else if (event.key === "Escape") explain.unpin();
    else if (editable && event.key === "F2") open(i, j);
    else if (editable && plain && event.key.length === 1 && event.key !== " ") open(i, j, event.key);
    else if (editable && (event.key === "Backspace" || event.key === "Delete")) open(i, j, "");
    else return;
    event.preventDefault();
  });
  pointed(table, id, explain, cellOf);

  let limit = null;
  return {
    el, n, m,
    // Only what changed is written: a redraw of eleven 8x8 matrices fits into a frame.
    paint: (values, scale, note) => {
      if (limit !== note) about.textContent = limit = note;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < m; j++) {
          const td = cells[i][j], v = values[i][j], full = String(v), color = css(scale(v));
          if (td.lmColor !== color) {
            td.lmColor = td.style.background = color;
            td.style.color = inkOn(scale(v));
          }
          if (editor?.i === i && editor.j === j) continue;
          if (td.dataset.value !== full || !td.firstChild) {
            td.dataset.value = full;
            td.textContent = fmt(v);
          }
        }
      }
    },
    // lit: list of {i, j}; a missing i lights a column, a missing j a row. `here` is the explained cell.
    light: (lit, here) => {
      for (let i = 0; i < n; i++) {
        headers[i].classList.toggle("lm-on", here?.i === i);
        for (let j = 0; j < m; j++) {
          const on = lit.some((l) => (l.i === undefined || l.i === i) && (l.j === undefined || l.j === j));
          const list = cells[i][j].classList;
          list.toggle("lm-lit", on);
          list.toggle("lm-here", here?.i === i && here.j === j);
        }
      }
      for (let j = 0; j < m; j++) head.children[j + 1].classList.toggle("lm-on", here?.j === j);
    },
  };
};

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
  // Whole device pixels a cell, so that the edges stay sharp.
  const w = spec.cell?.[0] ?? Math.max(3, Math.min(18, Math.floor(560 / m))), t = spec.cell?.[1] ?? (n > 32 ? w : 18);
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
  canvas.addEventListener("keydown", (event) => {
    const to = walk(event.key, event.ctrlKey || event.metaKey, ...at, n, m);
    if (to) move(...to);
    else if (event.key === "Enter") explain.pin({ id, i: at[0], j: at[1] });
    else if (event.key === "Escape") explain.unpin();
    else return;
    event.preventDefault();
  });
  pointed(canvas, id, explain, cellOf);
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
