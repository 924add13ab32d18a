"""Every check of the built site can fail: here each one gets a small site that it must refuse, and a sound one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import browser_checks
import pytest
import site_checks
import weight
from site_checks import Page, Site

ADDRESS = "https://github.com/OWNER/book"
SOUND = """<!doctype html><html lang="en"><head><title>A page - Book</title><link rel="icon" href="data:,"></head>
<body><main><article class="bd-article"><h1 id="top">A page</h1><h2>Part</h2><p>It costs $5, or $6.</p>
<a href="p.html#top">here</a> <a href="https://example.org/">there</a>
<img src="a.png" alt="A line that rises from left to right"></article></main></body></html>"""


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a site of one page: the sound one, with one piece replaced."""

    def write(old: str = "", new: str = "") -> Path:
        assert old in SOUND
        (tmp_path / "a.png").write_bytes(b"1234")
        (tmp_path / "p.html").write_text(SOUND.replace(old, new, 1) if old else SOUND, encoding="utf-8")
        return tmp_path

    return write


def check(name: str, folder: Path) -> list[str]:
    if name == "broken_links":
        return site_checks.broken_links(Site(folder))
    if name == "repository_links":
        return site_checks.repository_links(Page(folder, "p.html"), ADDRESS)
    return getattr(site_checks, name)(Page(folder, "p.html"))


FAULTS = [
    ("broken_links", "p.html#top", "q.html", "no file"),
    ("broken_links", "p.html#top", "P.html#top", "no file"),
    ("broken_links", "p.html#top", "../p.html", "no file"),
    ("broken_links", "p.html#top", "#bottom", "no anchor"),
    ("broken_links", "p.html#top", "p.html#bottom", "no anchor"),
    ("broken_links", "a.png", "b.png", "no file"),
    ("broken_links", "https://example.org/", "http://example.org/", "nor https"),
    ("broken_links", "https://example.org/", "//example.org/", "nor https"),
    ("repository_links", "https://example.org/", f"{ADDRESS}/blob/main/no/such.py", "not in the repository"),
    ("repository_links", "https://example.org/", f"{ADDRESS}/blob/master/README.md", "agreed form"),
    ("repository_links", "https://example.org/", "https://github.com/other/book", "agreed form"),
    ("repository_links", "https://example.org/", "https://mybinder.org/v2/gh/OWNER/book/main", "agreed form"),
    (
        "repository_links",
        "https://example.org/",
        "https://colab.research.google.com/github/OWNER/book/blob/main/book/99_none.ipynb",
        "not in the repository",
    ),
    ("bare_images", ' alt="A line that rises from left to right"', "", "no alt"),
    ("bare_images", "A line that rises from left to right", "_images/0123456789.png", "describes nothing"),
    ("bare_images", "A line that rises from left to right", "", "describes nothing"),
    ("disordered_headings", "h2>Part</h2", "h3>Part</h3", "follows an h1"),
    ("disordered_headings", "h2>Part</h2", "h1>Part</h1", "exactly one h1"),
    ("untitled", ' lang="en"', "", "lang"),
    ("untitled", "A page - Book", "Book", "does not begin"),
    ("leftovers", "$5, or $6", "$x^2$", "not rendered"),
    ("leftovers", "$5, or $6", r"\(x\)", "not rendered"),
    ("leftovers", "$5, or $6", "{ref}`here`", "not rendered"),
    ("leftovers", "$5, or $6", "[?]", "not rendered"),
    ("leftovers", "$5, or $6", '<span class="xref myst">gone</span>', "not resolved"),
    ("repeated_ids", "<h2>", '<h2 id="top">', "2 times"),
]


@pytest.mark.parametrize(("name", "old", "new", "message"), FAULTS)
def test_a_fault_is_found(small: Callable, name: str, old: str, new: str, message: str) -> None:
    found = check(name, small(old, new))
    assert len(found) == 1 and message in found[0], found


@pytest.mark.parametrize("name", sorted({fault[0] for fault in FAULTS}))
def test_a_sound_page_passes(small: Callable, name: str) -> None:
    assert check(name, small()) == []


def test_links_of_the_agreed_form_pass(small: Callable) -> None:
    for link in (ADDRESS, f"{ADDRESS}/issues/new?title=x", f"{ADDRESS}/blob/main/pyproject.toml"):
        assert check("repository_links", small("https://example.org/", link)) == []


def test_a_chapter_without_launch_buttons_is_found(small: Callable) -> None:
    folder = small()
    assert len(site_checks.missing_launchers(Page(folder, "p.html"))) == 3
    (folder / "p.ipynb").write_text('{"cells": 1}', encoding="utf-8")
    links = "".join(f'<a href="https://{host}/p.ipynb">x</a>' for host in ("colab.research.google.com", "mybinder.org"))
    found = site_checks.missing_launchers(Page(small("<h2>Part</h2>", links + '<a href="p.ipynb">x</a>'), "p.html"))
    assert len(found) == 1 and "is no notebook" in found[0]


def test_figures_are_weighed(small: Callable) -> None:
    assert site_checks.figure_bytes(Page(small(), "p.html")) == {"a.png": 4}


ALIKE = '<p style="color: #333">a text of some length</p>' * 5
PALE = "<style>.pale { color: #ccc }</style>"
LINKS = "<style>a { color: #111; text-decoration: none } p { color: #000 }</style>"
IN_BROWSER = [
    ("unready_widgets", '<div data-afm="x"></div>', "not ready"),
    ("unready_widgets", '<div data-afm="x" data-ready="1"></div>', "data-widget and data-rev"),
    ("unrendered_maths", '<span class="math">x</span>', "not rendered"),
    (
        "unrendered_maths",
        '<span class="math"><mjx-container><mjx-merror>x</mjx-merror></mjx-container></span>',
        "error",
    ),
    ("unrendered_maths", '<mjx-container><i style="color: red">\\foo</i></mjx-container>', "unknown TeX"),
    (
        "scrolling_maths",
        '<mjx-container display="true" style="display: block; overflow: auto; width: 99px">'
        '<mjx-math style="display: inline-block; width: 150px">x</mjx-math></mjx-container>',
        "a formula of 150 px",
    ),
    ("too_wide", '<pre style="width: 400px">x</pre>', "408 px"),
    ("too_wide", '<p style="overflow: hidden"><button style="margin-left: 360px">Press</button></p>', "Press: reaches"),
    (
        "too_wide",
        '<p data-widget="x" style="width: 9px"><button style="margin-left: 9px">Press</button></p>',
        "Press: reaches",
    ),
    ("inaccessible", "<button></button>", "button-name"),
    ("inaccessible", '<span style="color: #ccc; background: #fff">pale</span>', "color-contrast"),
    ("wrong_colors", '<span style="color: #ccc; background: #fff">pale</span>', "color-contrast"),
    ("wrong_colors", '<pre>x</pre><pre><b style="color: #ccc; background: #fff">pale</b></pre>', "color-contrast"),
    # One of many that seem alike: another color, ground or size, on a link or below, in a row of disabled buttons.
    ("wrong_colors", f'{ALIKE}<p style="color: #ccc">pale</p>', "color-contrast"),
    ("wrong_colors", f'{ALIKE}<p style="background: #444">dark</p>', "color-contrast"),
    ("wrong_colors", f'{ALIKE}<div style="background: #444"><p><i>dark</i></p></div>', "color-contrast"),
    ("wrong_colors", f'{ALIKE}<div style="opacity: 0.3"><p>faint</p></div>', "color-contrast"),
    (
        "wrong_colors",
        "".join(f'<p style="color: #888; font-size: {size}px">long enough</p>' for size in (30, 30, 30, 16)),
        "color-contrast",
    ),
    (
        "wrong_colors",
        f"{'<button disabled>No</button>' * 5}<style>button {{ color: #ccc; background: #fff }}</style>"
        "<button>Yes</button>",
        "color-contrast",
    ),
    ("wrong_colors", f'{"<b class=pale>1</b> " * 5}{PALE}<p><b class="pale">words</b></p>', "color-contrast"),
    (
        "wrong_colors",
        f'{"<p><a href=#top>only</a></p>" * 5}{LINKS}<p>In the midst of <a href="#top">words</a></p>',
        "link-in-text",
    ),
    ("inaccessible", "</article></main><p>Outside of everything</p>", "region"),
]
BROWSER_CHECKS = {
    "unready_widgets": lambda page: browser_checks.unready_widgets(page, timeout=300),
    "unrendered_maths": browser_checks.unrendered_maths,
    "scrolling_maths": browser_checks.scrolling_maths,
    "too_wide": lambda page: browser_checks.too_wide(page, 390),
    "inaccessible": browser_checks.inaccessible,
    "wrong_colors": lambda page: browser_checks.inaccessible(page, colors_only=True),
}


@pytest.mark.browser
@pytest.mark.parametrize(("name", "fault", "message"), IN_BROWSER)
def test_a_fault_is_found_in_the_browser(
    open_page: Callable, small: Callable, name: str, fault: str, message: str
) -> None:
    found = BROWSER_CHECKS[name](open_page("p.html", root=small("<h2>Part</h2>", f"<h2>Part</h2>{fault}")))
    assert found and any(message in line for line in found), found


@pytest.mark.browser
def test_a_sound_page_passes_in_the_browser(open_page: Callable, small: Callable) -> None:
    ready = '<div data-afm="x" data-ready="1" data-widget="x" data-rev="1">.</div>'
    frame = '<div style="overflow-x: auto" tabindex="0"><pre style="width: 600px">x</pre><input aria-label="y"></div>'
    page = open_page("p.html", root=small("<h2>Part</h2>", f"<h2>Part</h2>{ready}{frame}"))
    assert {name: run(page) for name, run in BROWSER_CHECKS.items()} == {name: [] for name in BROWSER_CHECKS}


@pytest.mark.browser
def test_weight_counts_what_is_loaded(open_page: Callable, small: Callable, scratch: tuple[Path, str]) -> None:
    folder = small("<h2>", '<script src="s.js"></script><h2>')
    inside = folder.relative_to(scratch[0]).as_posix()
    (folder / "s.js").write_text("//" + "x" * 100_000, encoding="utf-8")
    sizes = weight.page_weight(open_page("p.html", root=folder), scratch[0], figures={f"{inside}/a.png"})
    assert set(sizes) == {f"{inside}/p.html", f"{inside}/s.js"} and 100 < sizes[f"{inside}/s.js"] < 1000
    assert "in all" in weight.table(sizes)
