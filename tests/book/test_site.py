"""The built book in a browser: every page, over http and from disk, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import browser_checks
import pytest
import site_checks
import weight

pytestmark = pytest.mark.browser
PAGES = site_checks.toc_pages()
CHAPTERS = site_checks.notebook_pages()
WEIGHT_MAX = 900_000  # compressed bytes a chapter, with all that it loads but figures
UNFOLD = """() => {
    for (const button of document.querySelectorAll('.toggle-button, button.toggle-button')) button.click();
    for (const details of document.querySelectorAll('details')) details.open = true;
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("scheme", ["http", "file"])
@pytest.mark.parametrize("name", [*PAGES, "search.html"])
def test_page_works(open_page: Callable, name: str, scheme: str, dark: bool) -> None:
    """No outside request, nothing on the console, widgets ready, maths set; over http accessible, too."""
    page = open_page(name, scheme=scheme, dark=dark)
    browser_checks.settle(page)
    assert page.locator("html").get_attribute("data-theme") == ("dark" if dark else "light")
    wrong = browser_checks.unready_widgets(page) + browser_checks.unrendered_maths(page)
    wrong += page.problems  # before axe, which asks for style sheets in places of its own
    if scheme == "http":
        page.evaluate(UNFOLD)
        browser_checks.settle(page)
        # The dark page differs from the light one in nothing but its colors, and axe takes its time.
        wrong += browser_checks.inaccessible(page, rules=browser_checks.COLOR_RULES if dark else ())
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_the_first_page_leads_to_the_landing_page(open_page: Callable, scheme: str) -> None:
    page = open_page("index.html", scheme=scheme)
    page.wait_for_url(f"**/{PAGES[0]}")
    assert page.locator("article h1").is_visible() and page.problems == []


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_does_not_scroll_sideways(open_page: Callable, name: str) -> None:
    page = open_page(name, width=390, height=800)
    browser_checks.settle(page)
    browser_checks.unready_widgets(page)
    page.evaluate(UNFOLD)
    wrong = browser_checks.too_wide(page, 390) + browser_checks.too_wide(page, 320)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_is_light(open_page: Callable, site: Path, name: str) -> None:
    page = open_page(name)
    browser_checks.settle(page)
    browser_checks.unready_widgets(page)
    figures = set(site_checks.figure_bytes(site_checks.Page(site, name)))
    sizes = weight.page_weight(page, site, figures)
    assert name in sizes and "searchindex.js" in sizes, "the list of what was loaded is not whole"
    assert sum(sizes.values()) <= WEIGHT_MAX, f"{name} weighs too much:\n{weight.table(sizes)}"


@pytest.mark.parametrize("name", CHAPTERS)
def test_maths_stands_in_the_page(open_page: Callable, name: str) -> None:
    """Every formula of the source became one that can be read aloud: MathJax keeps its MathML beside the drawing."""
    page = open_page(name)
    browser_checks.settle(page)
    written = page.locator("article .math").count()
    assert page.locator("article mjx-container mjx-assistive-mml math").count() >= written
    if name == "book/03_attention.html":
        assert written >= 10


@pytest.mark.parametrize("name", CHAPTERS)
def test_solutions_open(open_page: Callable, name: str) -> None:
    page = open_page(name)
    for solution in page.locator("div.solution").all():
        body = solution.locator("section").first
        assert not body.is_visible(), "the solution is not folded"
        solution.locator(".toggle-button").first.click()
        body.wait_for(state="visible")
    assert page.problems == []


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
