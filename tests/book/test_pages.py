"""The html of the built book: links, downloads, headings, pictures. No browser, but the built site, is needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import site_checks
from site_checks import Page, Site

pytestmark = pytest.mark.browser
PAGES = site_checks.toc_pages()
CHAPTERS = site_checks.notebook_pages()
FIGURES_MAX = 500_000  # bytes a chapter
SCRIPT_MAX, WIDGET_MAX = 40_000, 15_000  # bytes of the script of a page with one widget, and for each more


@pytest.fixture(scope="module")
def built(site: Path) -> Site:
    return Site(site)


def test_every_page_of_the_contents_is_built(built: Site) -> None:
    assert len(set(PAGES)) == len(PAGES) >= 3
    assert not set(PAGES) - set(built.pages)


def test_links_and_anchors_lead_somewhere(built: Site) -> None:
    wrong = site_checks.broken_links(built)
    assert not wrong, "\n".join(wrong)
    assert sum(len(page.links) for page in built.pages.values()) > 100


CHECKS = [
    site_checks.bare_images,
    site_checks.disordered_headings,
    site_checks.untitled,
    site_checks.leftovers,
    site_checks.repeated_ids,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", PAGES)
def test_page(built: Site, name: str, check: Callable[[Page], list[str]]) -> None:
    wrong = check(built.pages[name])
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", PAGES)
def test_links_into_the_repository(built: Site, name: str) -> None:
    wrong = site_checks.repository_links(built.pages[name], site_checks.repository())
    assert not wrong, "\n".join(wrong)


def test_titles_tell_the_pages_apart(built: Site) -> None:
    titles = [built.pages[name].soup.title.get_text() for name in PAGES]
    assert len(set(titles)) == len(titles), titles


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_can_be_launched_and_downloaded(built: Site, name: str) -> None:
    wrong = site_checks.missing_launchers(built.pages[name])
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", CHAPTERS)
def test_figures_are_light(built: Site, name: str) -> None:
    sizes = site_checks.figure_bytes(built.pages[name])
    assert sum(sizes.values()) <= FIGURES_MAX, sizes


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_the_script_of_its_own_widgets(built: Site, name: str) -> None:
    page = built.pages[name]
    used = sorted({str(figure["data-afm"]) for figure in page.soup.select("[data-afm]")})
    scripts = [urlsplit(str(tag["src"])).path for tag in page.soup.select("script[src*='widgets']")]
    assert len(scripts) == bool(used), scripts
    for script in scripts:
        text = (built.folder / site_checks.resolve(name, script)).read_text(encoding="utf-8")
        assert re.findall(r"^modules\.(\w+) = ", text, re.MULTILINE) == used
        assert len(text.encode()) <= SCRIPT_MAX + WIDGET_MAX * (len(used) - 1)


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_solution_belongs_to_an_exercise_and_was_run(built: Site, name: str) -> None:
    article = built.pages[name].article
    exercises, solutions = article.select("div.exercise"), article.select("div.solution")
    answered = {link["href"] for s in solutions for link in s.select(".admonition-title a")}
    assert answered == {f"#{e['id']}" for e in exercises} and len(solutions) == len(exercises)
    for solution in solutions:
        outputs = [o for o in solution.select(".cell_output") if o.get_text(strip=True) or o.find("img")]
        assert outputs, f"{solution.get('id')} shows no output"
        assert "dropdown" in solution["class"], f"{solution.get('id')} is not folded"
