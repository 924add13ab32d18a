"""Chapter 3 in a real JupyterLab: every cell runs, and a value set with the mouse in the page arrives in the kernel."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from lab import Lab, jupyterlab

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


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("book")
    for source in (ROOT / "book").glob("*"):
        if source.is_file():
            shutil.copy(source, folder)
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in ("1", "nonsense", "'never'")])
    broken.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(broken, folder / "broken.ipynb")
    with jupyterlab(folder, tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


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
