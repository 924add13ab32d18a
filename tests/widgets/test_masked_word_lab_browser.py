"""The masked-word lab, driven in a real Chromium."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from companion.widgets import MaskedWordLab
from companion.widgets.masked_word_data import TEMPERATURES, probabilities

pytestmark = pytest.mark.browser


@pytest.fixture
def lab(figures):
    """The default lab; what goes wrong on the page fails the test."""
    figure = figures([MaskedWordLab()])[0]
    yield figure
    assert figure.page.problems == []


def bars(figure):
    return [row[0] for row in figure.values("bars")]


def choose(figure, word):
    figure.root.get_by_role("button", name=f"mask {word}", exact=True).click()


def test_the_scripts_softmax_is_companions(lab):
    truth = MaskedWordLab()
    for sentence, row in enumerate(truth.data["sentences"]):
        for step in (0, len(truth.steps) - 1):
            ids, packed = row["steps"][step][0]
            for t in (0, 14, 24):
                got = lab.page.evaluate(
                    "([g, words, tau, t]) => { const m = lmWidgets.masked_word_lab.render.math;"
                    " return m.softmax(m.decode(g, words), tau, t); }",
                    [[ids, packed], truth.data["words"], TEMPERATURES[t], t],
                )
                p, others = probabilities(packed, t)
                assert got["p"] == pytest.approx(p.tolist(), abs=1e-12)
                assert got["others"] == pytest.approx(others, abs=1e-12)
        assert sentence < 9


def test_smoothing_and_corruption(lab):
    math_ = "lmWidgets.masked_word_lab.render.math"
    assert lab.page.evaluate(f"{math_}.smooth([4, 3, 2, 2], 0.5)") == [4, 3.5, 2.75, 2.375]
    kinds = lab.page.evaluate(
        f"Array.from({{length: 3000}}, (_, seed) => {math_}.corrupt(Array(20).fill('a'), ['b'], seed)).flat()"
        ".map(([, kind]) => kind)"
    )
    chosen = [kind for kind in kinds if kind]
    assert len(chosen) / len(kinds) == pytest.approx(0.15, abs=0.006)
    for kind, share in (("masked", 0.8), ("random", 0.1), ("kept", 0.1)):
        assert chosen.count(kind) / len(chosen) == pytest.approx(share, abs=0.016)
    again = lab.page.evaluate(f"[7, 7].map(s => JSON.stringify({math_}.corrupt(Array(50).fill('a'), ['b'], s)))")
    assert again[0] == again[1]


def test_the_bars_are_the_models_and_sum_to_one(lab):
    truth = MaskedWordLab()
    words, p, _ = truth.distribution()
    assert lab.root.get_attribute("data-widget") == "masked_word_lab"
    assert sum(bars(lab)) == pytest.approx(1, abs=1e-4)
    assert bars(lab)[:10] == pytest.approx(p[:10].tolist(), abs=1e-9)
    heads = lab.matrix("bars").locator("tbody th").all_inner_texts()
    assert [head.removesuffix(" ✓") for head in heads[:10]] == words[:10]
    assert heads[10] == "the next 40" and heads[11].startswith("the other 8,142")


def test_every_control(lab):
    truth = MaskedWordLab()
    last = len(truth.steps) - 1
    choose(lab, "story")
    truth.gap = [truth.data["sentences"][0]["tokens"][i] for i in truth.data["sentences"][0]["gaps"]].index("story")
    assert bars(lab)[0] == pytest.approx(truth.distribution()[1][0], abs=1e-9)
    lab.slide("checkpoint", 0)
    assert max(bars(lab)[:10]) < 0.01  # it knows nothing yet
    assert "step 0" in lab.matrix("bars").locator("thead").inner_text()
    lab.slide("checkpoint", last)
    tops = []
    for t in range(len(TEMPERATURES)):
        lab.slide("temperature τ", t)
        tops.append(bars(lab)[0])
        assert sum(bars(lab)) == pytest.approx(1, abs=1e-4)
    assert all(a >= b for a, b in pairwise(tops)) and tops[0] > tops[-1]
    lab.button("Hot").click()
    assert bars(lab)[0] == pytest.approx(tops[-1])
    lab.button("Trained").click()
    lab.root.get_by_role("radio", name="2", exact=True).check()
    assert "expected" in lab.root.inner_text()
    before = lab.matrix("corruption").inner_text()
    for _ in range(4):
        lab.button("Draw again").click()
    assert lab.matrix("corruption").inner_text() != before
    lab.button("Reset").click()
    assert bars(lab) == pytest.approx(bars_of(MaskedWordLab()), abs=1e-9)


def bars_of(lab):
    _, p, others = lab.distribution()
    return [*p[:10].tolist(), float(p[10:].sum()), others]


def test_the_curve(lab):
    points = "cs => cs.map(c => Number(c.dataset.value))"
    circles = lab.matrix("curve").locator("circle[data-r]")
    loss = MaskedWordLab().data["curve"]["loss"]
    lab.slide("smoothing", 0)
    assert circles.evaluate_all(points) == pytest.approx(loss)
    assert loss[0] == pytest.approx(math.log(8192), abs=0.8)
    lab.slide("smoothing", 0.5)
    assert circles.evaluate_all(points)[1] == pytest.approx(0.5 * loss[0] + 0.5 * loss[1])


def test_by_keyboard_alone(lab):
    first = lab.root.get_by_role("button", name="mask story", exact=True)
    first.focus()
    lab.page.keyboard.press("Enter")
    pressed = lab.root.locator("button[aria-pressed='true']")
    assert pressed.count() == 1 and pressed.inner_text() == "[MASK]"
    assert pressed.evaluate("b => b === document.activeElement")  # the focus stays on the word
    lab.root.get_by_role("slider", name="checkpoint").focus()
    rev = lab.rev
    lab.page.keyboard.press("ArrowLeft")
    assert lab.rev > rev
    lab.root.get_by_role("spinbutton", name="checkpoint, number").fill("99")
    lab.page.keyboard.press("Enter")
    assert "must be a whole number" in lab.alert()


@pytest.mark.parametrize("options", [{"width": 320}, {"dark": True}], ids=["320 px", "dark"])
def test_narrow_and_dark(figures, options):
    figure = figures([MaskedWordLab()], **options)[0]
    assert figure.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ratio = figure.matrix("bars").locator("tbody td").first.evaluate("td => getComputedStyle(td).color")
    assert ratio
    assert figure.page.problems == []


def test_two_instances_share_nothing(figures):
    one, two = figures([MaskedWordLab(), MaskedWordLab(sentence=1)])
    before = bars(two)
    choose(one, "story")
    one.slide("checkpoint", 0)
    assert bars(two) == before
