/* The theme makes a block that scrolls sideways reachable with the Tab key, but looks only when the page loads or changes
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
