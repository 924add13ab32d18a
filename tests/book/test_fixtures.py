"""The browser fixtures themselves: each kind of trouble on a page is seen, and a sound page has none."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

SOUND = '<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>t</title><script src="a.js"></script>'


@pytest.fixture
def small(tmp_path: Path) -> Callable[[str], Path]:
    """A site of one sound page with the given line added."""

    def write(extra: str) -> Path:
        (tmp_path / "a.js").write_text("document.title = matchMedia('(prefers-color-scheme: dark)').matches", "utf-8")
        (tmp_path / "p.html").write_text(SOUND + extra, encoding="utf-8")
        return tmp_path

    return write


@pytest.mark.parametrize("scheme", ["http", "file"])
@pytest.mark.parametrize("dark", [False, True])
def test_a_sound_page_has_no_problems(open_page: Callable, small: Callable, scheme: str, dark: bool) -> None:
    page = open_page("p.html", root=small(""), scheme=scheme, dark=dark)
    assert page.title() == str(dark).lower()
    assert page.problems == []


TROUBLE = {
    "outside request": '<img alt="" src="https://example.org/x.png">',
    "outside request: ws": "<script>new WebSocket('ws://example.org/')</script>",
    "outside request: file": '<img alt="" src="file:///x.png">',
    "page error": "<script>nonsense()</script>",
    "console error": "<script>console.error('broken')</script>",
    "HTTP 404": '<img alt="" src="missing.png">',
    "failed request": '<img alt="" src="missing.png">',
}


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        *((kind, "http") for kind in TROUBLE if kind not in ("failed request", "outside request: file")),
        *((kind, "file") for kind in TROUBLE if kind != "HTTP 404"),
    ],
)
def test_trouble_is_seen(open_page: Callable, small: Callable, kind: str, scheme: str) -> None:
    page = open_page("p.html", root=small(TROUBLE[kind]), scheme=scheme)
    deadline = time.monotonic() + 5
    while not page.problems and time.monotonic() < deadline:
        page.wait_for_timeout(10)  # events arrive while Playwright waits
    assert [p for p in page.problems if p.startswith(kind)], page.problems
