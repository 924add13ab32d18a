// Typing into the cells of a grid. spec, beside the grid's: edit(i, j, value) -> "" or why it is refused, alert(text),
// restore() to repaint the cell when its editor is gone. The drawing follows while you type; Enter keeps, Esc reverts.

const cellEditor = ({ label, rows, cols, table, cells, edits, at, edit, alert, restore }) => {
  let busy = null;
  const close = (refocus) => {
    const cell = cells[busy.i][busy.j];
    busy = null; // first: removing the input fires its blur
    cell.replaceChildren();
    cell.classList.remove("lm-editing");
    restore();
    if (refocus) cell.focus();
  };
  const attempt = (input) => {
    const value = parseNumber(input.value), why = value === null ? refusal(input.value) : edit(busy.i, busy.j, value);
    input.setAttribute("aria-invalid", String(Boolean(why)));
    return why;
  };
  const open = (i, j, text) => {
    const cell = cells[i][j], before = Number(cell.dataset.value);
    const input = h("input", { class: "lm-editor", "aria-label": `${label}, row ${rows[i]}, column ${cols[j]}`,
      oninput: () => attempt(input),
      onkeydown: (event) => {
        event.stopPropagation();
        if (event.key === "Escape") edit(i, j, before);
        else if (event.key !== "Enter") return;
        const why = event.key === "Enter" ? attempt(input) : "";
        alert(why);
        if (!why) close(true);
      },
      onblur: () => {
        if (!busy) return;
        const why = attempt(input);
        alert(why && `${why}; the last number stays`);
        close();
      } });
    busy = { i, j };
    input.value = text ?? String(before);
    cell.replaceChildren(input);
    cell.classList.add("lm-editing");
    input.focus();
    if (text === undefined) input.select();
    else attempt(input);
  };
  let armed = false; // a click on the cell that already has the focus edits it
  table.addEventListener("pointerdown", (event) => { armed = event.target === document.activeElement; });
  table.addEventListener("keydown", (event) => {
    const [i, j] = at(), { key } = event, erase = key === "Backspace" || key === "Delete";
    const typed = key.length === 1 && key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!edits(i, j) || !(typed || erase || key === "F2")) return;
    open(i, j, typed ? key : erase ? "" : undefined);
    event.preventDefault();
  });
  return {
    busy: (i, j) => busy?.i === i && busy.j === j,
    clicked: (i, j) => { const opens = armed && edits(i, j); if (opens) open(i, j); return opens; },
  };
};
