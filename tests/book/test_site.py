"""The built book in a browser: every page, over http and from disk, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import browser_checks
import pytest
import site_checks
import weight

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
PAGES = site_checks.toc_pages()
CHAPTERS = site_checks.notebook_pages()
API = site_checks.api_pages()
WEIGHT_MAX = 900_000  # compressed bytes a chapter or a page of the API, with all that it loads but figures
UNFOLD = """() => {
    for (const button of document.querySelectorAll('.toggle-button, button.toggle-button')) button.click();
    for (const details of document.querySelectorAll('details')) details.open = true;
}"""


def problems_of(page: Page) -> list[str]:
    """What went wrong while the page loaded: outside requests, the console, widgets, maths."""
    browser_checks.settle(page)
    wrong = browser_checks.unready_widgets(page) + browser_checks.unrendered_maths(page)
    return wrong + page.problems  # type: ignore[attr-defined, no-any-return]


def theme(page: Page) -> str | None:
    return page.locator("html").get_attribute("data-theme")


def too_heavy(page: Page, site: Path, name: str) -> list[str]:
    """A page and all that it loads, but the figures of a chapter."""
    figures = set(site_checks.figure_bytes(site_checks.page(site, name))) if name in CHAPTERS else set()
    sizes = weight.page_weight(page, site, figures)
    assert name in sizes and "searchindex.js" in sizes, "the list of what was loaded is not whole"
    wrong = [f"{name} weighs too much:\n{weight.table(sizes)}"] if sum(sizes.values()) > WEIGHT_MAX else []
    if name in API and any("mathjax" in file for file in sizes):
        wrong.append("the formulas are text; nothing here needs MathJax")
    return wrong


def unspoken_maths(page: Page, name: str) -> list[str]:
    """Every formula of the source became one that can be read aloud: MathJax keeps its MathML beside the drawing."""
    written = page.locator("article .math").count()
    spoken = page.locator("article mjx-container mjx-assistive-mml math").count()
    wrong = [] if spoken >= written else [f"{written} formulas, {spoken} that can be read aloud"]
    return wrong if written >= 10 or name != "book/03_attention.html" else [*wrong, f"only {written} formulas"]


def unfolding_solutions(page: Page) -> list[str]:
    """Solutions are folded, and open; afterwards all that folds is open."""
    bodies = page.locator("div.solution section:first-of-type")
    wrong = [f"solution {i} is not folded" for i, body in enumerate(bodies.all()) if body.is_visible()]
    page.evaluate(UNFOLD)
    browser_checks.settle(page)
    return wrong + [f"solution {i} does not open" for i, body in enumerate(bodies.all()) if not body.is_visible()]


# One load of a page serves several checks: loading it is most of the work.


@pytest.mark.parametrize("name", [*PAGES, "search.html"])
def test_a_page_over_http_in_light_colors(open_page: Callable, site: Path, name: str) -> None:
    page = open_page(name)
    wrong = problems_of(page)
    assert theme(page) == "light"
    if name in CHAPTERS or name in API:
        wrong += too_heavy(page, site, name)
    if name in CHAPTERS:
        wrong += unspoken_maths(page, name)
    wrong += unfolding_solutions(page) + browser_checks.inaccessible(page)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [*PAGES, "search.html"])
def test_a_page_from_disk_in_dark_colors_on_a_phone(open_page: Callable, name: str) -> None:
    """Nothing scrolls sideways, and in chapter 3 (an example for all) no formula does; then wide, for axe.

    By then it differs from the other in nothing but colors, and axe takes its time: so axe looks at the colors only.
    """
    page = open_page(name, scheme="file", dark=True, width=390, height=800)
    wrong = problems_of(page)
    assert theme(page) == "dark"
    page.evaluate(UNFOLD)
    wrong += browser_checks.too_wide(page, 390)
    if name == "book/03_attention.html":
        assert page.locator("mjx-math.lm-wraps").count() >= 20
        wrong += browser_checks.scrolling_maths(page)
    wrong += browser_checks.too_wide(page, 320)
    page.set_viewport_size({"width": 1280, "height": 900})
    browser_checks.settle(page)
    wrong += browser_checks.inaccessible(page, colors_only=True)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_the_first_page_leads_to_the_landing_page(open_page: Callable, scheme: str) -> None:
    page = open_page("index.html", scheme=scheme)
    page.wait_for_url(f"**/{PAGES[0]}")
    assert page.locator("article h1").is_visible() and page.problems == []


@pytest.mark.parametrize(("words", "found"), [("softmax", True), ("xyzzyplugh", False)])
def test_search(open_page: Callable, words: str, found: bool) -> None:
    """By hand from the landing page, as a reader does; a word that is not there is not found."""
    page = open_page(PAGES[0])
    page.locator(".search-button__button:visible").first.click()
    page.locator("dialog[open] input[type=search]").fill(words)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    page.wait_for_function(
        "/found|did not match/.test((document.querySelector('#search-results .search-summary') || {}).textContent)"
    )
    results = page.locator("#search-results ul.search li a")
    hits = results.evaluate_all("all => all.map(a => new URL(a.href).pathname)")
    assert ("/book/03_attention.html" in hits) == found and (found or not hits)
    assert page.problems == []
