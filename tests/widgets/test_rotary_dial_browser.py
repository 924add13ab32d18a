"""The rotary dial, driven in a real Chromium."""

from __future__ import annotations

import math
import random

import pytest
import torch

from companion.widgets import RotaryDial

pytestmark = pytest.mark.browser

# Every angle that the first query's arrow is seen at, for so many milliseconds.
WATCH = """([root, duration]) => new Promise(done => {
    const seen = new Set(), begin = performance.now();
    const look = () => {
        seen.add(Number(root.querySelectorAll("[data-pair='1'] line[data-angle]")[2].dataset.angle));
        if (performance.now() - begin < duration) requestAnimationFrame(look);
        else done([...seen]);
    };
    look();
})"""


@pytest.fixture
def dial(figures):
    """The default dial; what goes wrong on the page fails the test."""
    figure = figures([RotaryDial()])[0]
    yield figure
    assert figure.page.problems == []


def move(figure, m, n):
    figure.slide("m, query at", m)
    figure.slide("n, key at", n)


def angles(figure, pair):
    """What the two arrows of one dial have turned by: q and k."""
    lines = figure.root.locator(f"[data-pair='{pair}'] line[data-angle]")
    return lines.evaluate_all("ls => ls.map(l => Number(l.dataset.angle))")[2:]


def test_the_scripts_mathematics_is_companions(dial):
    rng = random.Random(0)
    for _ in range(40):
        d = rng.choice([2, 4, 8])
        q, k = ([rng.gauss(0, 2) for _ in range(d)] for _ in range(2))
        pairing = rng.choice(["interleaved", "half"])
        truth = RotaryDial(
            rng.randint(0, 256), rng.randint(0, 256), q=q, k=k, base=rng.uniform(10, 1e6), pairing=pairing
        )
        got = dial.page.evaluate("s => lmWidgets.rotary_dial.render.math.rotate(s)", truth.page_state())
        for mine, theirs in zip((got["tq"], got["tk"], got["theta"]), (*truth.turned, truth.angles), strict=True):
            torch.testing.assert_close(torch.tensor(mine, dtype=torch.float64), theirs, rtol=0, atol=1e-11)
        assert got["score"] == pytest.approx(truth.score, abs=1e-10)
        at = got["curve"]["xs"].index(truth.m - truth.n)
        assert got["curve"]["values"][at] == pytest.approx(truth.score, abs=1e-9)


@pytest.mark.parametrize(
    ("m", "n", "score"), [(3, 3, "8.5000"), (7, 5, "7.2663"), (102, 100, "7.2663"), (0, 2, "12.5621")]
)
def test_the_scores_of_the_specification(dial, m, n, score):
    assert dial.texts("score") == ["7.2663"]
    move(dial, m, n)
    assert dial.texts("score") == [score]
    assert dial.values("score")[0][0] == pytest.approx(RotaryDial(m, n).score, abs=1e-12)


def test_the_other_numbers_of_the_specification(dial):
    assert dial.root.get_attribute("data-widget") == "rotary_dial"
    move(dial, 1, 0)
    assert dial.texts("vectors")[1] == "-1.1426 1.9221 2.9599 4.0298 5.4772"
    assert dial.texts("vectors")[0].endswith("5.4772")
    assert angles(dial, 1) == [1, 0]
    move(dial, 2, 0)
    dial.root.get_by_label("halves").check()
    assert dial.texts("score") == ["2.8452"]
    for m in (50, 256):
        move(dial, m, 0)
        assert dial.texts("vectors")[1].endswith("5.4772")


def test_every_control(dial):
    dial.root.get_by_role("radio", name="8", exact=True).check()
    assert dial.root.locator("[data-pair]").count() == 4
    assert len(dial.values("vectors")[0]) == 9
    dial.type("vectors", 0, 7, "-3.5")
    dial.type("vectors", 2, 0, "0.25")
    dial.slide("base", 3)
    move(dial, 9, 4)
    q, k = dial.values("vectors")[0][:8], dial.values("vectors")[2][:8]
    assert (q[7], k[0]) == (-3.5, 0.25)
    truth = RotaryDial(9, 4, q=q, k=k, base=1000)
    assert dial.values("score")[0][0] == pytest.approx(truth.score, abs=1e-12)
    assert angles(dial, 2) == pytest.approx([9 * truth.angles[1].item(), 4 * truth.angles[1].item()])
    dial.root.get_by_role("radio", name="2", exact=True).check()
    assert dial.root.locator("[data-pair]").count() == 1
    dial.root.get_by_role("radio", name="8", exact=True).check()
    assert dial.values("vectors")[0][7] == -3.5  # numbers outlive a narrower vector
    dial.button("Reset").click()
    assert dial.texts("score") == ["7.2663"]
    for name, score in [("Both 5 later", "7.2663"), ("Swapped", "12.5621"), ("m = n", "8.5000")]:
        dial.button(name).click()
        assert dial.texts("score") == [score]


def test_only_what_is_given_can_be_edited(dial):
    dial.cell("vectors", 1, 0).focus()
    dial.page.keyboard.type("5")
    assert dial.matrix("vectors").locator("input").count() == 0
    before = dial.texts("vectors")
    dial.cell("vectors", 0, 0).focus()
    for text in ("x", ""):
        dial.page.keyboard.press("F2")
        dial.page.keyboard.press("Delete")
        dial.page.keyboard.type(text)
        dial.page.keyboard.press("Enter")
        assert dial.alert() != ""
        assert dial.texts("vectors")[1:] == before[1:]
        dial.page.keyboard.press("Escape")
    assert dial.texts("vectors") == before


def test_explanations(dial):
    assert dial.explanation() == "score = R2 q · R0 k = (-2.2347)×1 + 0.077×(-1) + 2.9194×0.5 + 4.0592×2 = 7.2663"
    dial.cell("vectors", 1, 1).focus()
    assert dial.explanation() == "R2 q[2] = 1×sin(2×1) + 2×cos(2×1) = 0.0770"
    lit = dial.matrix("vectors").locator(".lm-lit").evaluate_all("ts => ts.map(t => t.dataset.r + t.dataset.c)")
    assert lit == ["00", "01"]
    dial.cell("vectors", 0, 4).focus()
    assert dial.explanation() == "length of q = √(1² + 2² + 3² + 4²) = 5.4772"


def test_the_curve(dial):
    plot = dial.matrix("curve").locator(".lm-plot")
    assert plot.locator("circle[data-r]").count() == 33
    plot.focus()
    dial.page.keyboard.press("End")
    assert float(plot.get_attribute("data-value")) == pytest.approx(RotaryDial(16, 0).score, abs=1e-12)
    assert dial.explanation() == f"m - n = 16: score {RotaryDial(16, 0).score:.4f}"
    move(dial, 100, 0)  # the curve reaches as far as the positions
    assert plot.locator("circle[data-r]").count() == 257


def test_step_and_play(dial):
    dial.button("Step").click()
    assert dial.root.get_by_role("slider", name="m, query at").input_value() == "3"
    assert dial.texts("score") == ["7.2663"]
    assert angles(dial, 1) == [3, 1]  # a step does not move, it arrives
    play = dial.root.get_by_role("button", name="Play")
    play.click()
    assert dial.button("Pause").get_attribute("aria-pressed") == "true"
    between = dial.page.evaluate(WATCH, [dial.root.element_handle(), 500])
    assert any(not math.isclose(v, round(v)) for v in between)  # on the way
    dial.page.wait_for_function("document.querySelector(\"input[type='range']\").value >= 6")
    assert dial.texts("score") == ["7.2663"]
    dial.button("Pause").click()
    m = dial.root.get_by_role("slider", name="m, query at").input_value()
    dial.page.wait_for_timeout(1100)
    assert dial.root.get_by_role("slider", name="m, query at").input_value() == m
    assert angles(dial, 1)[0] == float(m)


def test_reduced_motion_jumps(figures):
    dial = figures([RotaryDial()], reduced_motion=True)[0]
    dial.root.get_by_role("button", name="Play").click()
    seen = dial.page.evaluate(WATCH, [dial.root.element_handle(), 1200])
    assert len(seen) >= 2 and all(v == round(v) for v in seen)
    dial.button("Pause").click()


def test_play_ends_at_the_last_position(figures):
    dial = figures([RotaryDial(256, 255)])[0]
    dial.root.get_by_role("button", name="Play").click()
    assert dial.button("Play").is_visible()
    assert dial.root.get_by_role("slider", name="m, query at").input_value() == "256"


def test_a_position_out_of_range_is_refused(dial):
    box = dial.root.get_by_role("spinbutton", name="m, query at, number")
    for text in ("257", "-1", "1.5", ""):
        box.fill(text)
        box.press("Tab")
        assert dial.alert() == "m, query at must be a whole number from 0 to 256"
        assert box.input_value() == "2"
    assert dial.texts("score") == ["7.2663"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe(figures, dark):
    figure = figures([RotaryDial(), RotaryDial(pairing="half")], dark=dark)[0]
    assert figure.violations() == []


def test_a_phone_is_wide_enough(figures):
    dial = figures([RotaryDial()], width=320)[0]
    dial.root.get_by_role("radio", name="8", exact=True).check()
    assert dial.page.evaluate("document.documentElement.scrollWidth") <= 320


def test_two_figures_share_nothing(figures):
    one, two = figures([RotaryDial(), RotaryDial()])
    one.slide("m, query at", 9)
    one.type("vectors", 0, 0, "9")
    one.root.get_by_role("radio", name="8", exact=True).check()
    assert two.texts("score") == ["7.2663"]
    two.root.get_by_role("radio", name="8", exact=True).check()
    assert two.values("vectors")[0][0] == 1
    assert one.page.problems == []


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (320, True)])
def test_in_the_chapter(chapter_figure, width, dark):
    figure = chapter_figure("book/04_positional_encoding.html", "rotary_dial", width=width, dark=dark)
    assert figure.texts("score") == ["7.2663"]
    figure.button("Swapped").click()
    assert figure.texts("score") == ["12.5621"]
    assert figure.page.evaluate("document.documentElement.scrollWidth") <= width
    assert figure.violations(".lm-widget[data-widget]") == []
    assert figure.page.problems == []
