"""What the tests of the figures ask axe-core can be answered with no, and a page that tests share forgets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kept import let_go

from companion.widgets import RotaryDial

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("within", [None, ".lm-widget[data-widget]"])
def test_a_pale_text_and_a_nameless_button_are_found(figures, within):
    figure = figures([RotaryDial()])[0]
    assert figure.violations(within) == []
    figure.root.locator(".lm-text").evaluate(
        "e => { e.style.color = '#ccc'; e.append(document.createElement('button')); }"
    )
    assert [rule for rule, _ in figure.violations(within)] == ["button-name", "color-contrast"]


CHAPTER = "book/03_attention.html"


def test_a_kept_page_gives_fresh_figures(kept_figure):
    bench = kept_figure(CHAPTER, "attention_bench")
    weights, revision = bench.texts("a"), bench.rev
    bench.type("wq", 0, 0, "3")
    bench.button("Link to this state").click()
    assert bench.texts("a") != weights and bench.page.evaluate("location.hash") != ""
    again = kept_figure(CHAPTER, "attention_bench")
    assert again.page is bench.page and again.page.evaluate("location.hash") == ""
    assert (again.texts("a"), again.rev) == (weights, revision)


@pytest.mark.parametrize(("failed", "left"), [(False, ["clean", "unused"]), (True, ["unused"])])
def test_a_kept_page_goes_after_a_failure_or_a_problem(failed, left):
    closed = []
    pages = {
        name: SimpleNamespace(problems=problems, close=lambda name=name: closed.append(name))
        for name, problems in {"clean": [], "broken": ["a problem"], "unused": ["a problem"]}.items()
    }
    let_go(pages, ["clean", "broken"], failed=failed)
    assert list(pages) == left and closed == [name for name in ("clean", "broken") if name not in left]
