"""The worked examples give the same text whatever the number of threads and the vector instructions of the machine.

With one thread and vector instructions nbval runs them (book/conftest.py); here are the others. Only the worked
examples run, and the cells whose names they use: not the training runs and the clocks beside them. If a cell that they
need were left out, the run would fail or show something else, and so would the test.
"""

import ast
import symtable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from notebooks import chapters, read_notebook, shown_texts, tags, tool

ENVIRONMENTS = {
    # A thread that waits sleeps: two tests on two cores would take turns at waiting.
    "two threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"},
    "no vector instructions": {"ATEN_CPU_CAPABILITY": "default"},
}


def stored(path: Path) -> dict[str, list[tuple[str, str]]]:
    """What the worked examples of a notebook show, by cell."""
    cells = read_notebook(path)["cells"]
    return {cell["id"]: shown_texts(cell) for cell in cells if "worked-example" in tags(cell)}


def names(node: ast.AST) -> tuple[set[str], set[str]]:
    """The names that a piece of code binds or changes, and those that it uses; what is local to a function is not."""
    table = symtable.symtable(ast.unparse(node), "cell", "exec")
    bound = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    used = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    inner = list(table.get_children())
    for child in inner:
        used |= {s.get_name() for s in child.get_symbols() if s.is_global()}
        inner += child.get_children()
    return bound, used


def changed(node: ast.AST) -> set[str]:
    """The names whose entries or attributes are set."""
    stores = [n for n in ast.walk(node) if isinstance(n, ast.Attribute | ast.Subscript)]
    return {n.id for s in stores if isinstance(s.ctx, ast.Store) for n in ast.walk(s.value) if isinstance(n, ast.Name)}


def live(statements: list[ast.stmt], wanted: set[str]) -> set[str]:
    """The names that must have a value before these statements, if the wanted ones must have one after them."""
    for statement in reversed(statements):
        if isinstance(statement, ast.For):
            body = live(statement.body, set()) - names(statement.target)[1]
            wanted = wanted | body | names(statement.iter)[1] | live(statement.orelse, set())
        elif isinstance(statement, ast.With):
            wanted = live(statement.body, wanted)
            for item in reversed(statement.items):
                bound = names(item.optional_vars)[1] if item.optional_vars else set()
                wanted = (wanted - bound) | names(item.context_expr)[1]
        elif isinstance(statement, ast.If | ast.While | ast.Try):
            wanted = wanted | names(statement)[1]
        else:
            bound, used = names(statement)
            wanted = (wanted - bound) | used
    return wanted


def needed(cells: list[Any]) -> list[Any]:
    """The worked examples among the cells, and what they stand on, in order."""
    kept: list[Any] = []
    wanted: set[str] = set()
    for cell in reversed([cell for cell in cells if cell["cell_type"] == "code"]):
        if "remove-cell" in tags(cell):
            continue  # installs the package on a machine without it
        source = "\n".join("" if line.lstrip()[:1] == "%" else line for line in cell["source"].split("\n"))
        tree = ast.parse(source)
        if "worked-example" in tags(cell) or (names(tree)[0] | changed(tree)) & wanted:
            kept.append(cell)
            wanted = live(tree.body, wanted)
    return kept[::-1]


def test_what_the_worked_examples_stand_on() -> None:
    def cell(source: str, *tags: str, kind: str = "code") -> dict[str, Any]:
        return {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}}

    sources = ["import a as b, c.d", "x = b.f()", "y = c.g()", "z = 1", "x[0] = z", "for i in y: w = i", "w"]
    cells = [cell(source) for source in sources] + [cell("# x", kind="markdown"), cell("print(x)", "worked-example")]
    assert [c["source"] for c in needed(cells)] == [sources[0], sources[1], sources[3], sources[4], "print(x)"]
    sources = ["n = 1", "n = 2", "[n for n in 'ab']", "def f(): return n"]
    cells = [cell(source) for source in sources] + [cell("f()", "worked-example")]
    assert [c["source"] for c in needed(cells)] == [sources[1], sources[3], "f()"]
    assert needed([cell("%pip install x", "remove-cell"), cell("print(1)")]) == []


# What a fresh kernel would have: the chapters share one, because starting it and importing torch is most of the work.
FRESH = """\
%reset -f
import matplotlib.pyplot, torch
matplotlib.pyplot.close("all")
matplotlib.rcdefaults()
torch.set_default_dtype(torch.float32)
del matplotlib, torch"""
PROBE = "import os, torch\nprint(torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())"


def run(environment: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Run the worked examples of all chapters in one kernel: what PROBE printed, and the cells, by chapter and id."""
    v4 = nbformat.v4
    notebook = v4.new_notebook(cells=[v4.new_code_cell(PROBE)])
    places = {}
    for path in chapters():
        notebook.cells.append(v4.new_code_cell(FRESH))
        for cell in needed(nbformat.read(path, as_version=4).cells):
            places[f"{path.stem}: {cell.id}"] = len(notebook.cells)
            notebook.cells.append(cell)
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place}"  # two chapters may use the same
    execute = tool("execute")
    done = execute.normalize(execute.execute(notebook, chapters()[0].parent, environment))
    return done.cells[0].outputs[0].text, {name: done.cells[place] for name, place in places.items()}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_text_is_the_same(environment: str) -> None:
    probed, cells = run(ENVIRONMENTS[environment])
    threads, capability = probed.split(maxsplit=1)
    reached = {"two threads": threads == "2", "no vector instructions": capability.strip() == "DEFAULT"}
    assert reached[environment], "the environment did not reach the kernel"
    after = {name: shown_texts(cell) for name, cell in cells.items() if "worked-example" in tags(cell)}
    before = {f"{path.stem}: {id}": text for path in chapters() for id, text in stored(path).items()}
    assert before.keys() == after.keys() and all(stored(path) for path in chapters())
    assert {name: text for name, text in after.items() if text != before[name]} == {}
