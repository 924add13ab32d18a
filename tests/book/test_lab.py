"""Widgets in a real JupyterLab: what is set in the page arrives in the kernel, and what the kernel finds in the page.

Chapter 3 is run as a whole, with its bench. The figures of chapters 1 and 2 stand in a notebook of their own.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
import torch
from lab import Lab, jupyterlab

from companion.widgets import GradientLab, PathLength

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.lab
ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "03_attention.ipynb"
# What the kernel thinks of the benches of the chapter, whatever they are called there.
READ = """\
import gc
from companion.widgets import AttentionBench
print([round(bench.temperature, 4) for bench in gc.get_objects() if issubclass(type(bench), AttentionBench)])
"""
FIGURES = (
    "from companion.widgets import GradientLab, PathLength",
    "path = PathLength()\npath",
    'graph = GradientLab("graph")\ngraph',
    'descent = GradientLab("descent", rate=0.18, steps=30)\ndescent',
)


def write_notebook(file: Path, *code: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in code]
    book = nbformat.v4.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, file)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("book")
    for source in (ROOT / "book").glob("*"):
        if source.is_file():
            shutil.copy(source, folder)
    write_notebook(folder / "broken.ipynb", "1", "nonsense", "'never'")
    write_notebook(folder / "figures.ipynb", *FIGURES)
    with jupyterlab(folder, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def desk(lab: Lab, chromium: Browser) -> Iterator[Page]:
    """A notebook with the figures of chapters 1 and 2, run once for the tests that use it."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    page = context.new_page()
    lab.open(page, "figures.ipynb")
    lab.run_all(page)
    assert lab.failures(page) == []
    yield page
    context.close()


def figure(tab: Page, name: str, which: int = 0) -> Locator:
    found = tab.locator(f'[data-widget="{name}"][data-ready="1"]').nth(which)
    found.scroll_into_view_if_needed()
    return found


def numbers(figure: Locator, matrix: str) -> list[list[float]]:
    """What one of its tables shows, row by row."""
    rows = figure.locator(f'[data-matrix="{matrix}"] tbody tr')
    values = "rows => rows.map(row => [...row.querySelectorAll('td')].map(td => td.dataset.value))"
    return [[float(value) for value in row] for row in rows.evaluate_all(values)]


def enter(figure: Locator, label: str, value: float) -> None:
    box = figure.get_by_role("spinbutton", name=f"{label}, number")
    box.fill(str(value))
    box.press("Enter")


def revised(figure: Locator, since: int) -> None:
    """Wait until it has been drawn again."""
    figure.and_(figure.page.locator(f'[data-rev]:not([data-rev="{since}"])')).wait_for()


def revision(figure: Locator) -> int:
    return int(figure.get_attribute("data-rev") or 0)


def test_a_cell_that_fails_is_seen(lab: Lab, tab: Page) -> None:
    lab.open(tab, "broken.ipynb")
    lab.run_all(tab)
    raised, silent = lab.failures(tab)
    assert "NameError" in raised and silent.endswith("did not run")
    assert lab.run_new_cell(tab, "print(6 * 7)") == "42\n"


def drag(tab: Page, slider: Locator, to: float) -> None:
    """Take the slider's thumb with the mouse and let it go at a share `to` of its length."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    low, high, now = (float(slider.evaluate(f"e => e.{key}")) for key in ("min", "max", "value"))
    assert box
    middle = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] * (now - low) / (high - low), middle)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * to, middle, steps=5)
    tab.mouse.up()


def test_the_bench_tells_the_kernel(lab: Lab, tab: Page) -> None:
    lab.open(tab, CHAPTER)
    lab.run_all(tab)
    assert lab.failures(tab) == []
    bench = tab.locator('[data-widget="attention_bench"][data-ready="1"]').first
    slider = bench.get_by_role("slider", name=re.compile("temperature", re.IGNORECASE))
    known = lab.run_new_cell(tab, READ)
    before, revision = slider.input_value(), int(bench.get_attribute("data-rev") or 0)
    drag(tab, slider, to=0.6)
    after = float(slider.input_value())
    assert after != float(before) and 5 < after < 7.5 and str(after) not in known and "[" in known
    assert int(bench.get_attribute("data-rev") or 0) > revision
    # While a drag goes on, the page sends a value only when the kernel has taken the last one: it may need a moment.
    said = [lab.run_new_cell(tab, READ)]
    while str(after) not in said[-1] and len(said) < 5:
        said.append(lab.run_new_cell(tab, READ))
    assert str(after) in said[-1], f"the page shows {after}, the kernel has {said}"


def kernel_says(lab: Lab, tab: Page, expression: str, expected: str) -> None:
    """An expression in the kernel soon has this value; a value that was set in the page may be on its way."""
    said = [lab.run_new_cell(tab, f"print({expression})").strip()]
    while said[-1] != expected and len(said) < 5:
        said.append(lab.run_new_cell(tab, f"print({expression})").strip())
    assert said[-1] == expected, f"{expression}: {said}"


def test_the_path_and_its_kernel_agree(lab: Lab, desk: Page) -> None:
    path = figure(desk, "path_length")
    assert numbers(path, "path")[0] == [15, pytest.approx(0.9**15)]
    slider = path.get_by_role("slider", name=re.compile("recurrent weight"))
    drag(desk, slider, to=0.25)
    set_here = float(slider.input_value())
    enter(path, "k, kernel", 5)
    truth = PathLength(k=5, w=set_here)
    shown = numbers(path, "path")
    assert 0.6 < set_here < 0.7 and [row[0] for row in shown] == list(truth.paths.values())
    assert shown[0][1] == pytest.approx(truth.signals["rnn"])
    kernel_says(lab, desk, "(path.k, path.w, path.paths)", str((5, set_here, truth.paths)))
    before = revision(path)
    lab.run_new_cell(desk, "path.n = path.j = 64")
    revised(path, before)
    assert [row[0] for row in numbers(path, "path")] == list(PathLength(n=64, k=5).paths.values())
    assert numbers(path, "cost")[3] == [64**2 * 64, PathLength(n=64).operations_with_projections["attention"]]


def test_the_notebook_leaves_a_figure_its_keys(desk: Page) -> None:
    """JupyterLab has commands on arrows and letters: b puts in a cell, an arrow goes to the next one."""
    cells = "jupyterapp.shell.currentWidget.content.widgets.length"
    before = desk.evaluate(cells)
    path = figure(desk, "path_length")
    path.locator('[data-matrix="path"] td[data-r="0"][data-c="0"]').click()
    for key in ("ArrowDown", "ArrowRight", "b"):
        desk.keyboard.press(key)
    assert desk.evaluate("[document.activeElement.dataset.r, document.activeElement.dataset.c]") == ["1", "1"]
    slider = path.get_by_role("slider", name=re.compile("recurrent weight"))
    value = float(slider.input_value())
    slider.press("ArrowRight")
    assert float(slider.input_value()) == pytest.approx(value + 0.01)
    assert desk.evaluate(cells) == before


CHECKED = f"checked by kernel: torch {torch.__version__}, cpu"


def differences(lab: Locator, sources: list[str]) -> list[list[float]]:
    """What the kernel's check of the numbers now shown has found, a row a source."""
    lab.locator(".lm-badge", has_text=CHECKED).wait_for()
    assert lab.locator('[data-matrix="kernel"] tbody th').all_inner_texts() == sources
    return numbers(lab, "kernel")


def test_the_graph_is_checked_by_the_kernels_autograd(lab: Lab, desk: Page) -> None:
    sources = ["companion.history.autograd", "torch.autograd"]
    graph = figure(desk, "gradient_lab", 0)
    assert all(row == [pytest.approx(0, abs=1e-12)] for row in differences(graph, sources))
    # The old check does not count for the new numbers: the table goes, and comes again with the kernel's answer.
    enter(graph, "w, weight", -1.5)
    assert all(row == [pytest.approx(0, abs=1e-12)] for row in differences(graph, sources))
    truth = GradientLab("graph", w=-1.5)
    assert [row[3] for row in numbers(graph, "nodes")] == pytest.approx(list(truth.gradients.values()))
    kernel_says(lab, desk, "graph.w, round(graph.gradients['w'], 12)", f"-1.5 {round(truth.gradients['w'], 12)}")
    before = revision(graph)
    lab.run_new_cell(desk, "graph.w, graph.t = -6.0, 0.5")
    revised(graph, before)
    assert all(row == [pytest.approx(0, abs=1e-12)] for row in differences(graph, sources))
    value, _, _, gradient, _ = numbers(graph, "nodes")[1]
    assert value == -6 and gradient == pytest.approx(GradientLab("graph", w=-6.0, t=0.5).gradients["w"])


def test_the_descent_is_checked_by_torch_optim(lab: Lab, desk: Page) -> None:
    sources = ["companion.history.optimizers", "torch.optim"]
    descent = figure(desk, "gradient_lab", 1)
    found = differences(descent, sources)
    assert [len(row) for row in found] == [4, 4] and max(map(max, found)) < 1e-12
    descent.get_by_role("checkbox", name="Adam", exact=True).uncheck()
    enter(descent, "steps", 100)
    found = differences(descent, sources)
    assert [len(row) for row in found] == [3, 3] and max(map(max, found)) < 1e-12
    kernel_says(lab, desk, "descent.steps, descent.optimizers", "100 ['sgd', 'momentum', 'adamw']")
    ends = [GradientLab("descent", rate=0.18, steps=100).path(name)[-1] for name in ("sgd", "momentum", "adamw")]
    assert [row[:2] for row in numbers(descent, "points")] == [pytest.approx(end, abs=1e-12) for end in ends]
    # A state that cannot be drawn leaves the drawing, and the next good one brings the check back.
    shown = numbers(descent, "points")
    lab.run_new_cell(desk, "descent.rate = 5.0")
    descent.get_by_text("the last drawing stays").wait_for()
    assert numbers(descent, "points") == shown
    lab.run_new_cell(desk, "descent.rate = 0.02")
    differences(descent, sources)
    kernel_says(lab, desk, "descent.kernel['state']['rate']", "0.02")
    assert descent.locator(".lm-alert").inner_text() == ""
