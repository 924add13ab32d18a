// A table of numbers that the keyboard walks and edits, and the explainer that says what made the cell under the
// pointer or the focus.

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

// What pointer and keys do, the same for tables, canvases and charts. `cellAt(event)` is the cell under the pointer,
// `at()` the one in focus, `move(i, j)` goes to another.
const roam = (node, { id, explain, n, m, cellAt, at, move }) => {
  node.addEventListener("pointermove", (event) => {
    const cell = cellAt(event);
    if (cell && event.pointerType === "mouse") explain.hover({ id, i: cell[0], j: cell[1] });
  });
  node.addEventListener("pointerleave", () => explain.hover(null));
  node.addEventListener("keydown", (event) => {
    const [i, j] = at(), to = walk(event.key, event.ctrlKey || event.metaKey, i, j, n, m);
    if (to) move(...to);
    else if (event.key === "Enter") explain.pin({ id, i, j });
    else if (event.key === "Escape") explain.unpin();
    else return;
    event.preventDefault();
  });
};

// A table of numbers. spec: id, name (for the label), about (under the name), rows, cols (labels), editable,
// (all cells, or a function of i and j), explain, edit(i, j, value) -> "" or why it is refused, alert(text), restore() after an edit is given up,
// write(v, j), the text of a number in column j.
const grid = (spec) => {
  const { id, name, rows, cols, editable, explain, write = fmt } = spec;
  const n = rows.length, m = cols.length, edits = editable || (() => false);
  let at = [0, 0];
  const head = h("tr", {}, h("td", { role: "presentation" }),
    ...cols.map((c) => h("th", { role: "columnheader", scope: "col" }, c)));
  const cells = rows.map((_, i) => cols.map((_, j) =>
    h("td", { role: "gridcell", tabindex: i + j ? "-1" : "0", "data-r": i, "data-c": j,
      class: edits(i, j) && "lm-edits", "aria-readonly": String(!edits(i, j)) })));
  const headers = rows.map((r) => h("th", { role: "rowheader", scope: "row" }, r));
  const table = h("table", { role: "grid", "aria-label": spec.label },
    h("thead", {}, head), h("tbody", {}, ...rows.map((_, i) => h("tr", {}, headers[i], ...cells[i]))));
  const about = h("span", { class: "lm-about" });
  const el = h("div", { class: "lm-matrix", "data-matrix": id },
    h("div", { class: "lm-title" }, nameNode(name), " ", about), h("div", { class: "lm-scroll" }, table));

  const cellOf = (event) => {
    const td = event.target.closest?.("td[data-r]");
    return td ? [Number(td.dataset.r), Number(td.dataset.c)] : null;
  };
  const rove = (i, j) => {
    cells[at[0]][at[1]].tabIndex = -1;
    at = [i, j];
    cells[i][j].tabIndex = 0;
  };
  const goTo = (i, j) => { rove(i, j); cells[i][j].focus(); };

  const editor = spec.editor?.({ ...spec, table, cells, edits, at: () => at });
  table.addEventListener("focusin", (event) => {
    const cell = cellOf(event);
    if (!cell) return;
    rove(...cell);
    explain.focus({ id, i: cell[0], j: cell[1] });
  });
  table.addEventListener("click", (event) => {
    const cell = cellOf(event);
    if (cell && event.target.tagName !== "INPUT" && !editor?.clicked(...cell)) goTo(...cell);
  });
  roam(table, { id, explain, n, m, cellAt: cellOf, at: () => at, move: goTo });

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
          if (editor?.busy(i, j)) continue;
          if (td.dataset.value !== full || !td.firstChild) {
            td.dataset.value = full;
            td.textContent = write(v, j);
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
