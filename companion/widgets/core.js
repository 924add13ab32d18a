// What every widget shares: elements, numbers, colors, controls, the frame around a figure, its state. Concatenated in
// front of each widget's own module: nothing is imported at run time, so that the same text is an anywidget module in
// JupyterLab and Colab and part of a classic script in the static page.

const h = (tag, attrs = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
};

// ---- numbers -------------------------------------------------------------------------------------------------------

// Four decimals everywhere; no minus zero; a masked score is -∞.
const fmt = (v) => {
  if (v === -Infinity) return "-∞";
  const text = Math.abs(v) < 1e7 ? v.toFixed(4) : v.toExponential(4);
  return text === "-0.0000" ? "0.0000" : text;
};
// A factor inside a sum: 2, 0.576, (-1).
const short = (v) => {
  const text = Math.abs(v) < 1e7 ? String(Number(v.toFixed(4)) || 0) : v.toExponential(1);
  return text[0] === "-" ? `(${text})` : text;
};
// What a reader may type. A comma is refused: 1,5 and 1,500 cannot be told apart.
const parseNumber = (text) => {
  const plain = text.trim().replace("−", "-"); // a pasted minus sign
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(plain) && Number.isFinite(Number(plain)) ? Number(plain) : null;
};
const refusal = (text) =>
  text.trim() ? `“${text.trim().slice(0, 20)}” is not a number; write it like -1.5` : "This cell needs a number";

const sum = (values) => values.reduce((total, v) => total + v, 0);
const dot = (a, b) => { let total = 0; for (let i = 0; i < a.length; i++) total += a[i] * b[i]; return total; };
const column = (m, j) => m.map((row) => row[j]);
const transpose = (m) => m[0].map((_, j) => column(m, j));
const matmul = (a, b) => { const columns = transpose(b); return a.map((row) => columns.map((c) => dot(row, c))); };
const allFinite = (m) => m.every((row) => row.every(Number.isFinite));
const largest = (m) => Math.max(0, ...m.flat().filter(Number.isFinite).map(Math.abs));

// "1×2 + 3×4", or the six largest products of a long sum.
const spellSum = (a, b) => {
  const order = a.map((_, i) => i);
  const shown = a.length > 8 ? order.sort((i, j) => Math.abs(a[j] * b[j]) - Math.abs(a[i] * b[i])).slice(0, 6) : order;
  const terms = shown.map((i) => `${short(a[i])}×${short(b[i])}`).join(" + ");
  return a.length > 8 ? `${terms} + … (${a.length - 6} smaller)` : terms;
};

// Text that goes into a picture.
const escapeXml = (text) => text.replace(/[&<>\x22]/g, (c) => `&#${c.charCodeAt(0)};`);

// ---- colors --------------------------------------------------------------------------------------------------------

const hex = (text) => text.match(/../g).map((pair) => parseInt(pair, 16));
const NEGATIVE = hex("8073ac"), POSITIVE = hex("e08214");
const mix = (a, b, t) => a.map((v, i) => Math.round(v + (b[i] - v) * t));
const css = (rgb) => `rgb(${rgb.join(",")})`;
const linear = (v) => (v / 255 <= 0.04045 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
// Black or white, whichever stands out more: at least 4.5 to 1 on any color.
const inkOn = (rgb) => (luminance(rgb) > 0.179 ? "#000" : "#fff");

// A scale turns a value into a color. `paper` is what lies under the figure, so that zero is no color at all.
const signedScale = (limit, paper) => (v) =>
  Number.isFinite(v) && limit ? mix(paper, v < 0 ? NEGATIVE : POSITIVE, Math.min(1, Math.abs(v) / limit)) : paper;

// ---- controls ------------------------------------------------------------------------------------------------------

// A box to type into. What is typed is taken when the box is left, and at Enter: in JupyterLab that alone brings no
// change event. Until then `show` leaves it alone: the kernel may answer, and draw, while a number is half typed.
const entry = (attrs, take) => {
  let typing = false;
  const done = () => { if (typing) { typing = false; take(el.value); } };
  const el = h("input", { ...attrs, oninput: () => { typing = true; }, onchange: done, onblur: done,
    onkeydown: ({ key }) => { if (key === "Enter") done(); } });
  return { el, show: (value) => { if (!typing) el.value = value; } };
};

// A native range and its number box; a screen reader says the value with its unit. The range may have another measure
// than the number, say its exponent: `bounds` of the range, `to` it and `from` it.
const slider = ({ label, min, max, step, unit, onInput, alert, bounds, to = (v) => v, from = Number }) => {
  const range = h("input", { type: "range", min, max, step, ...bounds, oninput: () => onInput(from(range.value)) });
  let current = min;
  const box = entry({ type: "number", min, max, step: step < 1 ? "any" : step, "aria-label": `${label}, number` }, (text) => {
    const value = parseNumber(text);
    if (value !== null && value >= min && value <= max && (step < 1 || (value - min) % step === 0)) return onInput(value);
    alert(`${label} must be ${["a", "a whole", "an even"][Math.floor(step)]} number from ${min} to ${max}`);
    box.show(current);
  });
  const set = (v) => {
    current = v;
    box.show(v);
    range.value = to(v);
    range.setAttribute("aria-valuetext", `${v} ${unit}`);
  };
  return { el: h("div", { class: "lm-slider" }, h("label", {}, h("span", {}, label), range), box.el), set };
};

const toggle = (label, onInput) => {
  const input = h("input", { type: "checkbox", onchange: () => onInput(input.checked) });
  return { el: h("label", { class: "lm-toggle" }, input, ` ${label}`), set: (on) => { input.checked = on; } };
};

const choice = (label, options, onInput) => {
  const name = `lm${Math.random()}`; // radio buttons of one group share a name, which must be no other widget's
  const inputs = options.map(([value]) => h("input", { type: "radio", name, value, onchange: () => onInput(value) }));
  const el = h("fieldset", { class: "lm-choice" }, h("legend", {}, label),
    ...options.map(([, text], i) => h("label", {}, inputs[i], ` ${text}`)));
  return { el, set: (value) => inputs.forEach((input) => { input.checked = input.value === value; }) };
};

const button = (text, onclick, attrs = {}) => h("button", { type: "button", ...attrs, onclick }, text);
const bar = (kind) => h("span", { class: `lm-bar ${kind}` });
const group = (label, ...children) =>
  h("div", { class: "lm-group", role: "group", "aria-label": label }, h("span", { class: "lm-name" }, label), ...children);

// ---- the frame around a figure -------------------------------------------------------------------------------------

const rgbOf = (text) => (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
// What is painted behind an element: the first ancestor with a color of its own.
const paperOf = (node, dark) => {
  for (let at = node; at; at = at.parentElement) {
    const [r, g, b, a = 1] = rgbOf(getComputedStyle(at).backgroundColor);
    if (a === 1) return [r, g, b];
  }
  return dark ? [18, 18, 18] : [255, 255, 255];
};

// Empties `el`, draws the widget's frame into it, and watches the host's theme.
const frame = (el, { name, title, onTheme }) => {
  const root = el.classList.contains("lm-widget") ? el : el.appendChild(h("div", { class: "lm-widget" }));
  root.replaceChildren();
  // Else JupyterLab takes the arrows and single letters of whatever has the focus for commands of its own.
  root.addEventListener("focusin", ({ target }) => { target.dataset.lmSuppressShortcuts = true; });
  root.dataset.widget = name;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", title);
  const status = h("p", { class: "lm-sr", role: "status" });
  const alertBox = h("p", { class: "lm-alert", role: "alert" });
  const badgeBox = h("span", { class: "lm-badge" });
  const body = h("div", { class: "lm-body" });
  root.append(h("div", { class: "lm-head" }, h("strong", {}, title), badgeBox), body, alertBox, status);

  let timer = 0, revision = 0;
  const ui = { root, body, paper: [255, 255, 255], dark: false };
  // Debounced: a screen reader hears where the reader stopped, not every tick on the way; and only who is inside.
  ui.say = (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => { if (root.contains(document.activeElement)) status.textContent = text; }, 500);
  };
  ui.alert = (text) => { alertBox.textContent = text; };
  ui.badge = (text) => { if (badgeBox.textContent !== text) badgeBox.textContent = text; };
  ui.drawn = () => { root.dataset.rev = ++revision; };
  ui.readTheme = () => {
    const ink = getComputedStyle(root).color;
    ui.dark = luminance(rgbOf(ink)) > 0.4;
    ui.paper = paperOf(root, ui.dark);
    root.dataset.dark = ui.dark ? "1" : "0";
    root.style.setProperty("--lm-paper", css(ui.paper));
    root.style.setProperty("--lm-ink", ink);
  };
  const themed = () => {
    const before = String(ui.paper);
    ui.readTheme();
    if (before !== String(ui.paper)) onTheme();
  };
  const observer = new MutationObserver(() => requestAnimationFrame(themed));
  for (const node of [document.documentElement, document.body]) observer.observe(node, { attributes: true });
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", themed);
  ui.destroy = () => { observer.disconnect(); scheme.removeEventListener("change", themed); clearTimeout(timer); };
  ui.readTheme();
  return ui;
};

// A widget's state: the `keys` of the model. A state that `problem` refuses is not drawn, and the last drawing stays.
const session = ({ model, el }, { name, title, keys, problem, draw, paint }) => {
  const read = () => Object.fromEntries(keys.map((key) => [key, model.get(key)]));
  const initial = read(), wrong = problem(initial);
  if (wrong) throw new Error(wrong);
  const ui = frame(el, { name, title, onTheme: () => paint() });
  const refused = (state) => { const why = problem(state); return why && `${why}; the last drawing stays`; };
  let own = false, queued = false; // own: the widget writes, so it needs no echo
  const heard = () => {
    if (own || queued) return;
    queued = true; // a kernel sends several values at once: draw them together
    queueMicrotask(() => {
      queued = false;
      const why = refused(read());
      ui.alert(why);
      if (!why) draw(read());
    });
  };
  keys.forEach((key) => model.on(`change:${key}`, heard));
  const change = (patch) => {
    const next = { ...read(), ...patch }, why = refused(next);
    if (why) return why;
    own = true;
    for (const [key, value] of Object.entries(patch)) model.set(key, value);
    own = false;
    model.save_changes();
    draw(next);
    return "";
  };
  const apply = (patch) => { const why = change(patch); ui.alert(why); return why; };
  // The first drawing, and then the state of a link, where the widget has links.
  const begin = (follow) => {
    draw(initial);
    follow?.();
    const done = () => { ui.root.dataset.ready = "1"; };
    requestAnimationFrame(() => requestAnimationFrame(done));
    setTimeout(done, 300); // a hidden tab paints no frames
  };
  const destroy = () => { keys.forEach((key) => model.off(`change:${key}`, heard)); ui.destroy(); };
  return { ui, initial, read, change, apply, begin, destroy };
};
