"""What every notebook of the book keeps to."""

import base64
import re
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from notebooks import ROOT, UNVERIFIED, chapters, code_cells, pages, read_notebook, shown_texts, tags, tool

FIRST_CELL = """\
try:
    import companion  # noqa: F401
except ImportError:
    %pip install -q git+{address}"""
MACHINE_PATH = re.compile(
    r"(?<![\w.:/~-])(?:/(?:home|root|Users|tmp|work|usr|opt|var|mnt|private|content)/[\w.-]+|[A-Za-z]:\\\\?[\w.-]+\\)"
)
FIGURES_AT_MOST = 500_000  # bytes a chapter

each_chapter = pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
loaded = cache(read_notebook)


def test_the_book_has_notebooks_and_all_are_in_its_contents() -> None:
    assert chapters()
    assert sorted(chapters()) == sorted((ROOT / "book").glob("*.ipynb"))
    assert len(set(pages())) == len(pages())


@each_chapter
def test_the_file_is_in_the_normal_form(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    assert tool("execute").serialize(tool("execute").normalize(notebook)) == text, "run make notebooks"
    assert b"\r" not in path.read_bytes()


@each_chapter
def test_every_code_cell_was_run_in_order(path: Path) -> None:
    cells = [cell for cell in loaded(path)["cells"] if cell["cell_type"] == "code"]
    assert all(cell["source"].strip() for cell in cells), "an empty code cell is never run"
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        counts = {o["execution_count"] for o in cell["outputs"] if o["output_type"] == "execute_result"}
        assert counts <= {cell["execution_count"]}, cell["id"]


@each_chapter
def test_no_cell_failed_or_warned(path: Path) -> None:
    for cell in code_cells(loaded(path)):
        kinds = {output["output_type"] for output in cell["outputs"]}
        streams = {output["name"] for output in cell["outputs"] if output["output_type"] == "stream"}
        assert "error" not in kinds, cell["id"]
        assert "stderr" not in streams, cell["id"]
        assert "raises-exception" not in tags(cell), cell["id"]


@each_chapter
def test_ids_are_unique_and_readable(path: Path) -> None:
    ids = Counter(cell["id"] for cell in loaded(path)["cells"])
    assert max(ids.values()) == 1, ids.most_common(1)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]{1,40}", id) for id in ids), ids
    assert not [id for id in ids if re.fullmatch(r"[0-9a-f]{8}(?:-[0-9a-f-]+)?", id)], "give the cell a name"


@each_chapter
def test_the_first_cell_installs_the_package_and_nothing_else(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first = loaded(path)["cells"][0]
    assert first["cell_type"] == "code"
    assert first["source"].strip() == FIRST_CELL.format(address=project["urls"]["Repository"])
    assert tags(first) == {"remove-cell"}
    assert first["outputs"] == []


@each_chapter
def test_few_cells_are_not_compared_and_each_is_followed_by_an_assertion(path: Path) -> None:
    cells = code_cells(loaded(path))
    loose = [place for place, cell in enumerate(cells) if tags(cell) & UNVERIFIED]
    assert 7 * len(loose) <= len(cells), f"{len(loose)} of {len(cells)} cells are not compared"
    for place in loose:
        following = cells[place + 1]["source"] if place + 1 < len(cells) else ""
        assert "nbval-skip" not in tags(cells[place]), "an untested cell"
        assert asserts_at_the_end(cells[place]["source"]) or asserts(following), cells[place]["id"]


def asserts(source: str) -> bool:
    """Does this code assert something?"""
    return re.search(r"^(?:assert\b|torch\.testing\.assert_|np\.testing\.assert_)", source, re.M) is not None


def asserts_at_the_end(source: str) -> bool:
    """Is the last statement an assertion?"""
    statements = re.findall(r"^\S.*", source, re.M)
    return bool([s for s in statements[-3:] if asserts(s)])


@each_chapter
def test_every_picture_says_what_it_shows(path: Path) -> None:
    for cell in loaded(path)["cells"]:
        if cell["cell_type"] == "markdown":
            assert not re.search(r"!\[\s*\]\(", cell["source"]), cell["id"]
            continue
        pictures = [o for o in cell.get("outputs", []) if any(k.startswith("image/") for k in o.get("data", {}))]
        if pictures:
            alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 5, f"cell {cell['id']} needs an alt text"


@each_chapter
def test_the_figures_are_small(path: Path) -> None:
    data = [o.get("data", {}) for cell in code_cells(loaded(path)) for o in cell["outputs"]]
    assert not [k for d in data for k in d if k in ("image/jpeg", "image/svg+xml", "application/pdf")], "png only"
    assert sum(len(base64.b64decode(d["image/png"])) for d in data if "image/png" in d) <= FIGURES_AT_MOST


@each_chapter
def test_no_path_of_a_machine(path: Path) -> None:
    for cell in loaded(path)["cells"]:
        texts = [cell["source"], *(text for text, _ in shown_texts(cell))]
        texts += [o["data"]["text/html"] for o in cell.get("outputs", []) if "text/html" in o.get("data", {})]
        assert not [m for text in texts for m in MACHINE_PATH.findall(text)], cell["id"]


@each_chapter
def test_no_escape_was_taken_for_a_character(path: Path) -> None:
    for cell in loaded(path)["cells"]:  # "\text" written as a tab and "ext" leaves a broken formula
        assert not re.findall(r"[\x00-\x09\x0b-\x1f]", cell["source"]), cell["id"]


@each_chapter
def test_a_chapter_starts_with_its_title(path: Path) -> None:
    words = [cell["source"] for cell in loaded(path)["cells"] if cell["cell_type"] == "markdown"]
    assert re.match(r"(?:\([\w-]+\)=\n)?# \S", words[0])
    assert sum(len(re.findall(r"^# \S", re.sub(r"```.*?```", "", text, flags=re.S), re.M)) for text in words) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [("/home/me/x", True), (r"C:\Users\me", True), ("https://a.org/home/me", False), ("and/or", False), ("1/2", False)],
)
def test_the_pattern_for_machine_paths(text: str, found: bool) -> None:
    assert bool(MACHINE_PATH.search(text)) is found


def test_an_assertion_must_be_last() -> None:
    assert asserts_at_the_end("x = 1\nassert x")
    assert asserts_at_the_end("x = 1\ntorch.testing.assert_close(\n    x,\n    1,\n)")
    assert not asserts_at_the_end("assert True\n" + "x = 1\n" * 3)


def worked(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells with a worked example."""
    return [cell for cell in code_cells(notebook) if "worked-example" in tags(cell)]


@each_chapter
def test_worked_examples_are_compared_by_nbval(path: Path) -> None:
    cells = worked(loaded(path))
    assert cells
    assert not [cell["id"] for cell in cells if tags(cell) & UNVERIFIED]
    assert [cell["id"] for cell in cells if shown_texts(cell)]
