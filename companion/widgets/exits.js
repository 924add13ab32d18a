// Ways out of a figure: a link to its state, the numbers as CSV, the picture as SVG.

const download = (name, type, text) => {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1e4);
};

// One line a number, so that any program reads it: matrix, row, column, value in full.
const csvOf = (blocks) => {
  const quote = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = blocks.flatMap(({ name, rows, cols, values }) =>
    values.flatMap((row, i) => row.map((v, j) => [name, quote(rows[i]), quote(cols[j]), v].join(","))));
  return `matrix,row,column,value\n${lines.join("\n")}\n`;
};

// Lines of matrices as a picture on white; each block has name, rows, cols, values and a scale.
const svgOf = (title, lines) => {
  const W = 66, H = 24, out = [];
  let y = 40, width = 0;
  const text = (x, at, s, extra = "") => out.push(`<text x="${x}" y="${at}" ${extra}>${escapeXml(s)}</text>`);
  for (const line of lines) {
    let x = 12, tall = 0;
    for (const { name, rows, cols, values, scale } of line) {
      const left = x + 8 * Math.max(3, ...rows.map((r) => r.length));
      text(left, y, name, 'font-weight="bold"');
      cols.forEach((c, j) => text(left + j * W + W / 2, y + 20, c, 'text-anchor="middle"'));
      values.forEach((row, i) => {
        const top = y + 26 + i * H;
        text(left - 6, top + 16, rows[i], 'text-anchor="end"');
        row.forEach((v, j) => {
          const rgb = scale(v);
          out.push(`<rect x="${left + j * W}" y="${top}" width="${W}" height="${H}" fill="${css(rgb)}" stroke="#bbb"/>`);
          text(left + j * W + W / 2, top + 16, fmt(v), `text-anchor="middle" fill="${inkOn(rgb)}"`);
        });
      });
      x = left + cols.length * W + 36;
      tall = Math.max(tall, rows.length);
    }
    width = Math.max(width, x);
    y += tall * H + 66;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" ` +
    `font-family="sans-serif" font-size="12"><title>${escapeXml(title)}</title>` +
    `<rect width="100%" height="100%" fill="#fff"/>${out.join("")}</svg>`;
};

// A state as letters, digits, - and _ only: it stands in the address after #, where scripts take it for a selector.
const pack = (state) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(state))))
    .replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const unpack = (text) => {
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0))));
};

// Buttons: link (only where the host is a page with an address of its own), CSV, SVG.
const exits = (ui, model, name, { state, blocks, svg }) => {
  const link = () => {
    history.replaceState(null, "", `#${model.linkKey}-${pack(state())}`);
    navigator.clipboard?.writeText(location.href).catch(() => {}); // the address bar has it anyway
    note.textContent = "The address of this page restores this state.";
    ui.say(note.textContent);
  };
  const note = h("span", { class: "lm-note" });
  return h("div", { class: "lm-exits" },
    model.linkKey ? button("Link to this state", link) : "",
    button("Save CSV", () => download(`${name}.csv`, "text/csv", csvOf(blocks().flat()))),
    button("Save SVG", () => download(`${name}.svg`, "image/svg+xml", svg?.() || svgOf(name, blocks()))), note);
};

// The state in the page's address, if it is one for this widget.
const followLink = (model, keys, { ui, apply }) => {
  const prefix = `#${model.linkKey}-`;
  if (!model.linkKey || !location.hash.startsWith(prefix)) return;
  try {
    const linked = unpack(location.hash.slice(prefix.length));
    apply(Object.fromEntries(keys.filter((key) => key in linked).map((key) => [key, linked[key]])));
  } catch {
    ui.alert("The link to this state is damaged");
  }
};
