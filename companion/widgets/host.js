// The host of the static page: boots every <div data-afm="name" data-state="{json}"> when it comes into view, without
// any kernel. A classic script, since modules do not load from file://. `modules` is filled by bundle.py.

class PageModel {
  constructor(state, linkKey) { this.state = state; this.linkKey = linkKey; this.handlers = {}; }
  get(key) { return this.state[key]; }
  set(key, value) {
    if (this.state[key] === value) return;
    this.state[key] = value;
    for (const event of [`change:${key}`, "change"]) [...(this.handlers[event] || [])].forEach((f) => f());
  }
  save_changes() {} // there is no kernel to tell
  on(event, handler) { (this.handlers[event] ||= []).push(handler); }
  off(event, handler) {
    if (!event) this.handlers = {};
    else this.handlers[event] = (this.handlers[event] || []).filter((f) => handler && f !== handler);
  }
}

const boot = (el, linkKey) => {
  const fallback = [...el.childNodes];
  try {
    modules[el.dataset.afm].render({ model: new PageModel(JSON.parse(el.dataset.state), linkKey), el });
  } catch (error) {
    el.replaceChildren(...fallback); // the table of the default state is better than half a figure
    console.error(`widget ${el.dataset.afm}:`, error);
  }
};

const start = () => {
  const counts = {}, keys = new Map();
  for (const el of document.querySelectorAll("[data-afm]")) {
    const name = el.dataset.afm;
    counts[name] = (counts[name] || 0) + 1;
    keys.set(el, `lm-${name}-${counts[name]}`);
    el.querySelectorAll("table").forEach((table) => { table.tabIndex = 0; }); // a wide table scrolls: by keyboard too
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      boot(target, keys.get(target));
    }
  }, { rootMargin: "300px" });
  for (const [el, key] of keys) {
    if (location.hash.startsWith(`#${key}-`)) { // a link to this widget: draw it now and show it
      boot(el, key);
      el.scrollIntoView();
    } else watcher.observe(el);
  }
};

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
