"""A page that holds nothing but widgets, and a handle that reads what a widget shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kept import let_go

from companion.widgets.base import Widget
from companion.widgets.bundle import bundle, stylesheet

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

PAGE = """<!doctype html>
<html lang="en" data-theme="{theme}"><head><meta charset="utf-8"><title>Widgets</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>body {{ margin: 0; padding: 8px; font-family: sans-serif; background: #fff; color: #222 }}
[data-theme=dark] body {{ background: #121212; color: #ced6dd }}</style>
<link rel="stylesheet" href="widgets.css"><script defer src="widgets.js"></script></head>
<body><main><h1>Widgets</h1>{body}</main></body></html>
"""

# The figures as the page's file has them, and their script once more: nothing is left of what was done to them.
AFRESH = """async () => {
    window.lmFile ??= await (await fetch(location.pathname)).text();
    const written = new DOMParser().parseFromString(lmFile, "text/html").querySelectorAll("[data-afm]");
    const figures = document.querySelectorAll("[data-afm]");
    if (figures.length !== written.length) throw new Error(`${figures.length} figures, ${written.length} in the file`);
    figures.forEach((figure, i) => figure.replaceWith(written[i]));
    history.replaceState(null, "", location.pathname);
    scrollTo(0, 0);
    const old = document.querySelector("script[src*='widgets-']"), script = document.createElement("script");
    script.src = old.src;
    await new Promise((done, failed) => { script.onload = done; script.onerror = failed; old.replaceWith(script); });
}"""

# What stands beside the figures of a page goes, but for styles: axe begins by making a copy of all that there is.
ONLY = """selector => {
    const kept = new Set(), found = [...document.querySelectorAll(selector)];
    for (const figure of found) for (let e = figure; e; e = e.parentElement) kept.add(e);
    for (const e of kept) if (!found.includes(e) && e !== document.head && e !== document.documentElement)
        for (const other of [...e.children]) if (!kept.has(other) && !other.matches("style, link")) other.remove();
}"""

# Only what failed is described: finding a name for every element looked at would be most of the work.
AXE = {"resultTypes": ["violations"], "selectors": False, "preload": False}


FORMULAS = "**/vendor/mathjax/**"


class Figure:
    """One widget on a page, ready to be driven."""

    def __init__(self, page: Page, root: Locator, *, ready: bool = True) -> None:
        self.page, self.root = page, root
        if not ready:
            return
        root.scroll_into_view_if_needed()
        root.and_(page.locator("[data-ready='1']")).wait_for()

    @property
    def rev(self) -> int:
        return int(self.root.get_attribute("data-rev") or -1)

    def matrix(self, name: str) -> Locator:
        return self.root.locator(f"[data-matrix='{name}']")

    def cell(self, name: str, row: int, column: int) -> Locator:
        return self.matrix(name).locator(f"td[data-r='{row}'][data-c='{column}']")

    def _rows(self, name: str, what: str) -> list[list[Any]]:
        rows: list[list[Any]] = (
            self.matrix(name)
            .locator("tbody tr")
            .evaluate_all(f"trs => trs.map(tr => [...tr.querySelectorAll('td')].map(td => {what}))")
        )
        return rows

    def values(self, name: str) -> list[list[float]]:
        return [[float(v) for v in row] for row in self._rows(name, "td.dataset.value")]

    def texts(self, name: str) -> list[str]:
        return [" ".join(row) for row in self._rows(name, "td.textContent")]

    def explanation(self) -> str:
        return self.root.locator(".lm-text").inner_text().split("\n")[0]

    def alert(self) -> str:
        return self.root.get_by_role("alert").inner_text()

    def type(self, name: str, row: int, column: int, text: str) -> None:
        """Put a number into a cell, by keyboard."""
        self.cell(name, row, column).focus()
        self.page.keyboard.press("F2")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def slide(self, label: str, value: float) -> None:
        self.root.get_by_role("slider", name=label).fill(str(value))

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def violations(self, within: str | None = None) -> list[tuple[str, list[str]]]:
        """What axe-core finds on the page, or within what the selector names: rules, and some elements of each.

        What stands beside the selector's elements is removed.
        """
        if within:
            self.page.evaluate(ONLY, within)
        if not self.page.evaluate("'axe' in window"):
            from axe_playwright_python.base import AXE_SCRIPT

            self.page.evaluate(AXE_SCRIPT)
        run = "([within, options]) => axe.run(within || document, options)"
        found = self.page.evaluate(run, [within, AXE])["violations"]
        return [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found]

    def redraw_ms(self, label: str, values: Sequence[float]) -> float:
        """What one move of this slider costs, style and layout included, in milliseconds of the page's own thread.

        The thread's time, not the clock's: other work on the machine is not the figure's.
        """
        move = """(range, values) => { for (const value of values) { range.value = value;
            range.dispatchEvent(new Event("input")); document.body.offsetHeight; } }"""
        slider = self.root.get_by_role("slider", name=label)
        slider.evaluate(move, list(values)[:10])
        tools = self.page.context.new_cdp_session(self.page)
        tools.send("Performance.enable", {"timeDomain": "threadTicks"})

        def spent() -> float:
            metrics = tools.send("Performance.getMetrics")["metrics"]
            return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

        before = spent()
        slider.evaluate(move, list(values))
        return 1000 * (spent() - before) / len(values)


@pytest.fixture
def figures(open_page: Callable[..., Page], tmp_path: Path) -> Callable[..., list[Figure]]:
    """A function that puts widgets on a page of their own and opens it."""

    def show(widgets: Sequence[Widget], *, hash: str = "", ready: bool = True, **options: Any) -> list[Figure]:
        body = "".join(widget._repr_html_() for widget in widgets)
        theme = "dark" if options.get("dark") else "light"
        (tmp_path / "index.html").write_text(PAGE.format(theme=theme, body=body), encoding="utf-8")
        (tmp_path / "widgets.js").write_text(bundle({widget.name for widget in widgets}), encoding="utf-8")
        (tmp_path / "widgets.css").write_text(stylesheet(), encoding="utf-8")
        page = open_page(f"index.html{hash}", root=tmp_path, **options)
        return [Figure(page, page.locator("[data-afm]").nth(i), ready=ready) for i in range(len(widgets))]

    return show


@pytest.fixture
def chapter_figure(open_page: Callable[..., Page]) -> Callable[..., Figure]:
    """A function that opens a page of the built book and gives its first widget of that name.

    The formulas of the page stay unset: they are looked at elsewhere, and setting them takes longer than the rest.
    """

    def show(path: str, name: str, **options: Any) -> Figure:
        page = open_page(path, without=FORMULAS, **options)
        return Figure(page, page.locator(f"[data-afm='{name}']").first)

    return show


@pytest.fixture(scope="module")
def kept_pages() -> dict[str, Page]:
    """The pages of the built book that the tests of a module share."""
    return {}


@pytest.fixture
def kept_figure(
    open_for_module: Callable[..., Page], kept_pages: dict[str, Page], request: pytest.FixtureRequest
) -> Iterator[Callable[..., Figure]]:
    """A function like `chapter_figure`'s, for a page that is loaded once a module: loading is most of the work.

    Every test gets fresh figures on it. After a test that failed, or left an error on the page, the next one loads it
    anew.
    """
    used, failed = set(), request.session.testsfailed

    def show(path: str, name: str, *, width: int = 1280, height: int = 900) -> Figure:
        if path not in kept_pages:
            kept_pages[path] = open_for_module(path, without=FORMULAS)
        used.add(path)
        page = kept_pages[path]
        page.set_viewport_size({"width": width, "height": height})
        page.mouse.move(0, 0)
        page.evaluate(AFRESH)
        return Figure(page, page.locator(f"[data-afm='{name}']").first)

    yield show
    let_go(kept_pages, used, failed=request.session.testsfailed > failed)
