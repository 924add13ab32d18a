"""book/tools/colab.py, but for the environments that it makes: what it reads, what it changes, what it notices."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from notebooks import ROOT, chapters, code_cells, read_notebook, tool

colab = tool("colab")
WHEEL = Path("/some where/large_models_companion-1.0-py3-none-any.whl")
WAS = {"torch": {"version": "2.0", "files": 3, "digest": "a"}, "numpy": {"version": "1.0", "files": 2, "digest": "b"}}


@pytest.mark.parametrize("chapter", chapters(), ids=lambda path: path.stem)
def test_the_command_of_each_chapter_is_run_as_it_stands_but_for_the_address(chapter: Path) -> None:
    first = code_cells(read_notebook(chapter))[0]["source"]
    given = colab.from_wheel(first, WHEEL)
    assert "github" not in given and given.count(f"%pip install -q '{WHEEL.as_posix()}'") == 1
    address = first.split("-q ")[1]
    assert given.replace(f"'{WHEEL.as_posix()}'", address) == first


@pytest.mark.parametrize(
    "first", ["import companion", "%pip install companion", "%pip install git+https://example.org"]
)
def test_a_first_cell_that_installs_nothing_from_github_is_refused(first: str) -> None:
    with pytest.raises(colab.Failed, match="the first cell should install the package from GitHub"):
        colab.from_wheel(first, WHEEL)


def test_what_requirements_txt_pins() -> None:
    assert colab.pins(["b-c", "a"], "# a==0\na==1.0  # why\nb-c==2.1.post1\n") == ["b-c==2.1.post1", "a==1.0"]
    with pytest.raises(colab.Failed, match="pins no c, d"):
        colab.pins(["a", "c", "d"], "a==1.0\n")
    pinned = colab.pins([*colab.THERE, colab.KERNEL], (ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert [pin.split("==")[0] for pin in pinned] == ["torch", "numpy", "ipykernel"]


@pytest.mark.parametrize(
    ("name", "now", "said"),
    [
        ("torch", None, ["torch 2.0 was removed"]),
        ("torch", {"version": "2.1", "files": 3, "digest": "a"}, ["torch was 2.0 and is 2.1"]),
        ("numpy", {"version": "1.0", "files": 2, "digest": "c"}, ["numpy 1.0 has other files than before"]),
        ("numpy", WAS["numpy"], []),
    ],
)
def test_every_change_of_what_was_there_is_said(name: str, now: dict[str, Any] | None, said: list[str]) -> None:
    after = {**WAS, name: now} if now is not None else {k: v for k, v in WAS.items() if k != name}
    assert colab.changes(WAS, after) == said


def test_nothing_leads_back_to_this_checkout() -> None:
    ours = {"PYTHONPATH": "x", "COMPANION_DATA": "x", "JUPYTER_PATH": "x", "VIRTUAL_ENV": "x", "PYTHONUTF8": "0"}
    assert colab.outside({**ours, "PATH": "p", "PIP_FIND_LINKS": "f"}) == {
        **{"PATH": "p", "PIP_FIND_LINKS": "f"},
        "PYTHONUTF8": "1",
    }


def test_the_digest_tells_a_changed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a package with two files, and one that is compiled and does not count."""
    about = tmp_path / "thing-1.2.dist-info"
    (tmp_path / "thing" / "__pycache__").mkdir(parents=True)
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.2\n", encoding="utf-8")
    files = ["thing/a.py", "thing/__pycache__/a.pyc"]
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in [*files, "thing-1.2.dist-info/RECORD"]))

    def seen(module: str, compiled: str) -> Any:
        for file, text in zip(files, (module, compiled), strict=True):
            (tmp_path / file).write_text(text, encoding="utf-8")
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{colab.LOOK}"
        monkeypatch.setattr(colab, "LOOK", code)
        monkeypatch.setattr(colab, "python_of", lambda _: sys.executable)
        return colab.look(tmp_path, "thing", "nothing-of-that-name")

    first = seen("x = 1", "c")
    assert list(first) == ["thing"] and (first["thing"]["version"], first["thing"]["files"]) == ("1.2", 2)
    assert seen("x = 1", "d") == first
    assert colab.changes(first, seen("x = 2", "d")) == ["thing 1.2 has other files than before"]


def test_a_command_that_fails_is_named_with_its_last_words() -> None:
    code = "import sys; print('so far'); sys.exit('no such thing')"
    with pytest.raises(colab.Failed, match=r"installing x failed:\nso far\nno such thing"):
        colab.checked([sys.executable, "-c", code], "installing x")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Code cells in a kernel of this very environment, where the package counts as installed, or not."""

    def start(*sources: str, installed: bool = True) -> Any:
        monkeypatch.setattr(colab, "python_of", lambda _: sys.executable)
        monkeypatch.setattr(colab, "look", lambda *_: {colab.PACKAGE: {}} if installed else {})
        cells = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(sources)]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("words"), *cells])
        (tmp_path / "content").mkdir()
        return colab.Session(notebook, tmp_path, tmp_path / "content")

    return start


def test_every_cell_runs_in_the_empty_folder(session: Callable[..., Any]) -> None:
    ran = session("1 + 1", "import os\nassert not os.listdir()\nprint(os.getcwd())")
    ran.run()
    assert len(ran.seconds) == 2 and colab.printed(ran.notebook.cells[-1]) == str(ran.folder)


def test_a_cell_that_raises_is_named_and_nothing_after_it_runs(session: Callable[..., Any]) -> None:
    ran = session("1 + 1", "import a_module_that_nobody_has", "print(3)")
    with pytest.raises(colab.Failed, match=r"(?s)cell c1: .*\nModuleNotFoundError: No module named 'a_module_that_nob"):
        ran.run()
    assert len(ran.seconds) == 1 and ran.notebook.cells[-1].execution_count is None


def test_a_first_cell_that_installed_nothing_is_told_with_what_it_printed(session: Callable[..., Any]) -> None:
    ran = session("print('no matching distribution')", installed=False)
    with pytest.raises(colab.Failed, match="cell c0 did not install large-models-companion:\nno matching"):
        ran.run()


def test_an_unknown_chapter_is_refused_before_anything_is_built(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colab, "build_wheel", lambda out: pytest.fail("built"))
    with pytest.raises(SystemExit):
        colab.main(["07_nothing"])
    assert "no chapter 07_nothing; choose from 01_history" in capsys.readouterr().err


def test_a_failure_gives_exit_status_1_and_its_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(out: Path) -> Path:
        wheel = out / WHEEL.name
        wheel.write_bytes(b"")
        return wheel

    def run(chapter: str, *_: Any) -> None:
        if chapter == "01_history":
            raise colab.Failed("cell imports: no module companion")

    monkeypatch.setattr(colab, "build_wheel", built)
    monkeypatch.setattr(colab, "make_environment", lambda folder: None)
    monkeypatch.setattr(colab, "look", lambda folder, *names: WAS)
    monkeypatch.setattr(colab, "run_chapter", run)
    assert colab.main([]) == 0
    assert colab.main(["01_history", "06_fine_tuning"]) == 1
    assert "colab: 01_history: cell imports: no module companion" in capsys.readouterr().err
