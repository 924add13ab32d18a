"""The worked examples give the same text whatever the number of threads and the vector instructions of the machine."""

from pathlib import Path

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


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_the_text_is_the_same(path: Path, environment: str, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
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
