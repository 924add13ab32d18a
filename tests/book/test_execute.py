"""book/tools/execute.py: one normal form, two runs with identical bytes, and nothing stored when a cell fails."""

import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from notebooks import read_notebook, tool

v4 = nbformat.v4
Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    def build(*sources: str) -> Path:
        cells = [v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(sources)]
        cells.append(v4.new_markdown_cell("注意 é", id="words"))
        cells[0].metadata = {"tags": ["a"], "mystnb": {"image": {"alt": "x"}}, "collapsed": True, "editable": True}
        notebook = v4.new_notebook(cells=cells, metadata={"colab": {"x": 1}, "language_info": {"name": "python"}})
        nbformat.write(notebook, tmp_path / "x.ipynb")
        return tmp_path / "x.ipynb"

    return build


def test_the_normal_form_and_two_runs(make: Maker) -> None:
    path = make(
        "import sys\nprint('é 1')\nsys.stdout.flush()\nprint(2)\nimport pathlib\nprint(pathlib.Path.cwd().name)",
        "from tqdm import tqdm\nfor _ in tqdm(range(3)):\n    pass",
        "import ipywidgets\n\n\nclass Both(ipywidgets.IntSlider):\n"
        "    def _repr_mimebundle_(self, **kwargs):\n"
        "        bundle = super()._repr_mimebundle_(**kwargs)\n"
        "        return {**bundle, 'text/html': '<b>0</b>'}\n\n\nBoth()",
        "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])\nplt.show()",
    )
    assert tool("execute").refresh(path) is True
    first = path.read_bytes()
    assert tool("execute").refresh(path) is False
    assert path.read_bytes() == first

    assert first.endswith(b"}\n") and b"\r" not in first
    assert "注意 é".encode() in first
    notebook = read_notebook(path)
    words, bar, widget, figure, _ = notebook["cells"]
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert "version" not in notebook["metadata"]["language_info"]
    assert words["metadata"] == {"tags": ["a"], "mystnb": {"image": {"alt": "x"}}}
    assert [o["text"] for o in words["outputs"]] == [f"é 1\n2\n{path.parent.name}\n"]
    assert bar["outputs"] == []
    assert set(widget["outputs"][0]["data"]) == {"text/html", "text/plain"}
    assert "image/png" in figure["outputs"][0]["data"]
    assert [cell["execution_count"] for cell in notebook["cells"][:4]] == [1, 2, 3, 4]
    assert [p.name for p in path.parent.iterdir()] == ["x.ipynb"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("print(1)\nraise ValueError('a cell that fails')", "a cell that fails"),  # and its tag does not excuse it
        ("import sys\nprint('a warning', file=sys.stderr)", "wrote to stderr"),
        ("object()", "object's address"),
    ],
)
def test_what_fails_is_not_stored(make: Maker, capsys: pytest.CaptureFixture[str], source: str, message: str) -> None:
    path = make("1 + 1", source)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"][1]["metadata"]["tags"] = ["raises-exception"]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    before = path.read_bytes()
    assert tool("execute").main([str(path)]) == 1
    assert path.read_bytes() == before
    assert message in capsys.readouterr().err
    assert [p.name for p in path.parent.iterdir()] == ["x.ipynb"]
