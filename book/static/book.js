/* Tab stops. The theme makes a block that scrolls sideways reachable with the Tab key, but looks only when the page loads or changes
 * its size. A block that was folded then gets its tab stop here, when it is unfolded. */
"use strict";

(() => {
  const BLOCKS = "pre, .cell_output > .output, .pst-scrollable-table-container";

  function setTabStops() {
    for (const block of document.querySelectorAll(BLOCKS)) {
      const scrolls = block.scrollWidth > block.clientWidth || block.scrollHeight > block.clientHeight;
      block.tabIndex = scrolls ? 0 : -1;
    }
  }

  document.addEventListener("toggle", setTabStops, true); // <details>; the event does not bubble
  document.addEventListener("click", (event) => {
    if (event.target.closest(".toggle-button, .admonition.dropdown")) setTabStops(); // sphinx-togglebutton
  });
})();

/* Narrow screens. MathJax sets a formula in one line; a long one may break at a \qquad and after an equals sign. */
(() => {
  const LONG = 20; // characters; shorter ones in a line of text stay as they are
  const isGap = (node) => node.matches("mjx-mstyle") && node.querySelector("mjx-mspace")?.style.width === "2em";
  const isEquals = (node) => node.matches("mjx-mo") && node.querySelector(".mjx-c3D") !== null;

  function pieces(nodes) {
    const found = [[[]]]; // between gaps, between equals signs, nodes
    for (const node of nodes) {
      if (isGap(node)) found.push([[]]);
      else {
        found.at(-1).at(-1).push(node);
        if (isEquals(node)) found.at(-1).push([]);
      }
    }
    return found;
  }

  const row = (nodes) => {
    const made = document.createElement("mjx-mrow");
    made.append(...nodes);
    return made;
  };

  // Sphinx puts a formula with a matrix in it into an alignment of one row.
  function content(math) {
    const rows = [...math.querySelectorAll(":scope > mjx-mtable:only-child > mjx-table > mjx-itable > mjx-mtr")];
    return rows.length === 1 ? [...rows[0].children].flatMap((cell) => [...cell.children]) : [...math.children];
  }

  function wrap(math) {
    const split = pieces(content(math)).map((parts) => parts.filter((part) => part.length));
    if (split.length < 2 && split[0].length < 2) return;
    math.replaceChildren(...split.filter((parts) => parts.length).map((parts) => row(parts.map(row))));
    math.classList.add("lm-wraps");
  }

  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    for (const math of document.querySelectorAll("mjx-container > mjx-math")) {
      if (math.matches("[display=true] > *") || math.querySelectorAll("mjx-c").length > LONG) wrap(math);
    }
  });
})();
