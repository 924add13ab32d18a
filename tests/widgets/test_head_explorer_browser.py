"""The head explorer, driven in a real Chromium."""

from __future__ import annotations

import pytest

from companion.widgets import HeadExplorer

pytestmark = pytest.mark.browser


@pytest.fixture
def explorer(figures):
    """The default explorer; what goes wrong on the page fails the test."""
    figure = figures([HeadExplorer()])[0]
    yield figure
    assert figure.page.problems == []


def lines(figure):
    values = "ls => ls.map(l => Number(l.dataset.value))"
    return figure.matrix("lines").locator("line[data-value]").evaluate_all(values)


def expected(truth, threshold):
    weights = truth.weights.flatten().tolist()
    return [v for v in weights if v >= threshold]


def test_the_lines_are_the_weights_at_or_above_the_threshold(explorer):
    truth = HeadExplorer()
    assert explorer.root.get_attribute("data-widget") == "head_explorer"
    for threshold in (0.02, 0, 0.2, 0.5):
        explorer.slide("threshold", threshold)
        assert sorted(lines(explorer)) == pytest.approx(sorted(expected(truth, threshold)), abs=1e-12)
        assert f"{len(expected(truth, threshold))} weights of at least" in explorer.root.inner_text()


def test_every_control(explorer):
    truth = HeadExplorer(layer=2, chosen=[0, 3])
    explorer.root.get_by_role("group", name="Layer").get_by_role("radio", name="3", exact=True).check()
    explorer.root.get_by_role("group", name="Heads").get_by_role("checkbox", name="4", exact=True).check()
    assert sorted(lines(explorer)) == pytest.approx(sorted(expected(truth, 0.02)), abs=1e-12)
    explorer.root.get_by_label("without [CLS] and [SEP]").check()
    truth.drop_special = True
    assert sorted(lines(explorer)) == pytest.approx(sorted(expected(truth, 0.02)), abs=1e-12)
    explorer.root.get_by_role("radio", name="matrix", exact=True).check()
    shown = explorer.values("A")
    assert shown == [pytest.approx(row, abs=1e-12) for row in truth.weights[0].tolist()]
    assert all(sum(row) == pytest.approx(1, abs=1e-9) for row in shown)
    explorer.root.get_by_role("group", name="Sentence").get_by_role("radio", name="2", exact=True).check()
    assert "never" in explorer.root.inner_text()
    for scale in ("root", "log", "linear"):
        rev = explorer.rev
        explorer.root.get_by_role("radio", name=scale, exact=True).check()
        assert explorer.rev > rev
    explorer.button("Reset").click()
    assert sorted(lines(explorer)) == pytest.approx(sorted(expected(HeadExplorer(), 0.02)), abs=1e-12)


def test_the_overview_has_a_picture_of_every_head(explorer):
    explorer.button("Overview").click()
    thumbs = explorer.root.locator("[data-layer][data-head]")
    assert thumbs.count() == HeadExplorer().data["layers"] * HeadExplorer().data["heads"]
    explorer.root.locator("[data-layer='1'][data-head='2']").click()
    truth = HeadExplorer(layer=1, chosen=[2])
    assert explorer.values("A") == [pytest.approx(row, abs=1e-12) for row in truth.weights[0].tolist()]


def test_the_last_head_stays(explorer):
    box = explorer.root.get_by_role("group", name="Heads").get_by_role("checkbox", name="1", exact=True)
    box.click()
    assert box.is_checked() and "from 1 to 8 heads" in explorer.alert()


def test_by_keyboard_alone(explorer):
    explorer.matrix("lines").locator("[tabindex='0']").focus()
    assert "most from" in explorer.explanation()
    before = explorer.explanation()
    explorer.page.keyboard.press("ArrowDown")
    assert explorer.explanation() != before
    explorer.page.keyboard.press("Enter")
    assert explorer.root.get_by_role("button", name="Pinned: release").is_visible()
    explorer.page.keyboard.press("Escape")
    explorer.root.get_by_role("radio", name="matrix", exact=True).focus()
    explorer.page.keyboard.press("Space")
    explorer.cell("A", 0, 0).focus()
    explorer.page.keyboard.press("ArrowRight")
    assert "takes" in explorer.explanation()


@pytest.mark.parametrize("options", [{"width": 320}, {"dark": True}], ids=["320 px", "dark"])
def test_narrow_and_dark(figures, options):
    figure = figures([HeadExplorer()], **options)[0]
    for name in ("lines", "matrix", "all heads"):
        figure.root.get_by_role("radio", name=name, exact=True).check()
        assert figure.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert figure.page.problems == []


def test_two_instances_share_nothing(figures):
    one, two = figures([HeadExplorer(), HeadExplorer(sentence=1)])
    before = lines(two)
    one.slide("threshold", 0.3)
    one.root.get_by_role("group", name="Layer").get_by_role("radio", name="2", exact=True).check()
    assert lines(two) == before
