"""The worked examples give the same text whatever the number of threads and the vector instructions of the machine.

Only the worked examples run, and the cells whose names they use: not the training runs and the clocks beside them.
If a cell that they need were left out, the run would fail or show something else, and so would the test.
"""

import ast
from pathlib import Path
from typing import Any

import nbformat
import pytest
from notebooks import chapters, read_notebook, shown_texts, tags, tool

ENVIRONMENTS = {
    "one thread": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    "two threads": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    "no vector instructions": {"ATEN_CPU_CAPABILITY": "default"},
}


def stored(path: Path) -> dict[str, list[tuple[str, str]]]:
    """What the worked examples of a notebook show, by cell."""
    cells = read_notebook(path)["cells"]
    return {cell["id"]: shown_texts(cell) for cell in cells if "worked-example" in tags(cell)}


def names(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell binds or changes, and those that it uses."""
    bound, used = set(), set()
    for node in ast.walk(ast.parse("\n".join("" if line.lstrip()[:1] == "%" else line for line in source.split("\n")))):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            bound |= {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
    return bound - {"_"}, used


def needed(cells: list[Any]) -> list[Any]:
    """The worked examples among the cells, and what they stand on, in order."""
    kept: list[Any] = []
    wanted: set[str] = set()
    for cell in reversed([cell for cell in cells if cell["cell_type"] == "code"]):
        if "remove-cell" in tags(cell):
            continue  # installs the package on a machine without it
        bound, used = names(cell["source"])
        if "worked-example" in tags(cell) or bound & wanted:
            kept.append(cell)
            wanted |= used
    return kept[::-1]


def test_what_the_worked_examples_stand_on() -> None:
    def cell(source: str, *tags: str, kind: str = "code") -> dict[str, Any]:
        return {"cell_type": kind, "source": source, "metadata": {"tags": list(tags)}}

    sources = ["import a as b, c.d", "x = b.f()", "y = c.g()", "z = 1", "x[0] = z", "for i in y: w = i", "w"]
    cells = [cell(source) for source in sources] + [cell("# x", kind="markdown"), cell("print(x)", "worked-example")]
    assert [c["source"] for c in needed(cells)] == [sources[0], sources[1], sources[3], sources[4], "print(x)"]
    assert needed([cell("%pip install x", "remove-cell"), cell("print(1)")]) == []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_the_text_is_the_same(path: Path, environment: str, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = needed(notebook.cells)
    check = "import os, torch\nprint(torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())"
    notebook.cells.append(nbformat.v4.new_code_cell(check, id="environment"))
    execute = tool("execute")
    again = execute.normalize(execute.execute(notebook, path.parent, ENVIRONMENTS[environment]))
    *_, probe = again.cells
    threads, capability = probe.outputs[0].text.split(maxsplit=1)
    expected = {"one thread": threads == "1", "two threads": threads == "2"}
    assert expected.get(environment, capability.strip() == "DEFAULT"), "the environment did not reach the kernel"
    (tmp_path / "again.ipynb").write_text(nbformat.writes(again), encoding="utf-8")
    before, after = stored(path), stored(tmp_path / "again.ipynb")
    assert before.keys() == after.keys() and before
    assert {id: text for id, text in after.items() if text != before[id]} == {}
