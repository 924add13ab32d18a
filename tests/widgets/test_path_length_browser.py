"""Path length and forgetting, driven in a real Chromium."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from companion.widgets import PathLength

pytestmark = pytest.mark.browser

STALL_MS = 10 * 1000 / 60  # one frame is the aim, and is printed; a busy machine must not fail
NETS = {"rnn": "RNN", "cnn": "CNN", "dilated": "dilated CNN", "attention": "attention"}


@pytest.fixture
def figure(figures):
    """The default figure; what goes wrong on the page fails the test."""
    one = figures([PathLength()])[0]
    yield one
    assert one.page.problems == []


def columns(figure, name):
    return list(zip(*(row.split() for row in figure.texts(name)), strict=True))


def choose(figure, architecture):
    figure.root.get_by_role("radio", name=NETS[architecture], exact=True).check()


def drawn(figure):
    """The positions on the drawn path, but for the first."""
    values = "ls => ls.map(l => Number(l.dataset.value))"
    return figure.matrix("net").locator("line[data-value]").evaluate_all(values)


def slider(figure, label):
    return figure.root.get_by_role("slider", name=label).input_value()


def expected(truth):
    """The two tables."""
    pairs = [truth.paths, truth.signals], [truth.operations, truth.operations_with_projections]
    return [[[float(figures[key]) for figures in pair] for key in NETS] for pair in pairs]


def test_the_scripts_mathematics_is_companions(figure):
    rng = random.Random(0)
    for _ in range(60):
        n = rng.randint(2, 64)
        i = rng.randint(1, n - 1)
        truth = PathLength(
            rng.choice(list(NETS)), n=n, i=i, j=rng.randint(i + 1, n), k=rng.randint(2, 7),
            w=rng.uniform(0.5, 1.1), d=rng.randint(8, 512),
        )  # fmt: skip
        got = figure.page.evaluate("s => lmWidgets.path_length.render.math.measure(s)", truth.page_state())
        paths, costs = expected(truth)
        assert [list(row) for row in zip(got["leading"], got["full"], strict=True)] == costs
        assert got["paths"] == [row[0] for row in paths]
        assert got["signals"] == pytest.approx([row[1] for row in paths], rel=1e-12, nan_ok=True)
        assert got["curve"] == pytest.approx([truth.w**distance for distance in range(n)], rel=1e-12)
        assert got["path"] == [list(node) for node in truth.path]


def test_the_path_runs_along_the_drawn_edges(figure):
    for architecture, k in [(a, k) for a in NETS for k in (2, 3, 7)]:
        truth = PathLength(architecture, n=40, i=3, j=38, k=k)
        edges = figure.page.evaluate(
            "s => { const { measure, edgesOf } = lmWidgets.path_length.render.math; return edgesOf(measure(s)); }",
            truth.page_state(),
        )
        for (row, at), (_, to) in pairwise(truth.path):
            assert [row, at, to] in edges
        assert all(0 <= row < len(truth.path) and 1 <= at <= 40 and 1 <= to <= 40 for row, at, to in edges)
        assert all(at <= to for _, at, to in edges) or architecture == "attention"  # causal


def test_the_numbers_of_the_specification(figure):
    assert figure.root.get_attribute("data-widget") == "path_length"
    steps, signals = columns(figure, "path")
    assert steps == ("15", "8", "3", "1")
    assert signals == ("0.2059", "–", "–", "1.0000")
    assert figure.values("path")[0][1] == pytest.approx(0.9**15, rel=1e-14)
    leading, full = columns(figure, "cost")
    assert (leading[3], leading[0], leading[1]) == ("16384", "65536", "196608")
    assert full == ("131072", "196608", "196608", "294912")
    figure.button("64 positions").click()
    assert columns(figure, "path")[0] == ("63", "32", "4", "1")


def test_every_control(figure):
    revision = figure.rev
    figure.slide("n, length", 40)
    figure.slide("j, to", 35)
    figure.slide("i, from", 5)
    figure.slide("k, kernel", 4)
    figure.slide("w, recurrent weight", 1.05)
    figure.slide("d, width", 100)
    assert figure.rev == revision + 6
    for architecture in NETS:
        choose(figure, architecture)
        truth = PathLength(architecture, n=40, i=5, j=35, k=4, w=1.05, d=100)
        paths, costs = expected(truth)
        assert figure.values("path") == [pytest.approx(row, rel=1e-12, nan_ok=True) for row in paths]
        assert figure.values("cost") == costs
        assert drawn(figure) == [position for _, position in truth.path[1:]]
    assert figure.root.get_by_role("slider", name="d, width").get_attribute("aria-valuetext") == "100 numbers"
    points = figure.matrix("signal").locator("circle[data-r='0']").evaluate_all("cs => cs.map(c => +c.dataset.value)")
    assert points == pytest.approx([1.05**distance for distance in range(40)], rel=1e-12)
    figure.button("w = 1.1").click()
    assert figure.values("path")[0][1] == pytest.approx(1.1**63, rel=1e-12)
    figure.button("Neighbors").click()
    assert columns(figure, "path") == [("1", "1", "1", "1"), ("0.9000", "1.0000", "1.0000", "1.0000")]
    figure.button("Long and narrow").click()
    assert figure.values("cost")[3][0] > figure.values("cost")[0][0]  # n > d
    figure.button("Reset").click()
    assert columns(figure, "path")[0] == ("15", "8", "3", "1")


def test_a_moved_position_takes_the_others_along(figure):
    figure.slide("j, to", 30)
    assert [slider(figure, label) for label in ("n, length", "i, from", "j, to")] == ["30", "1", "30"]
    figure.slide("i, from", 40)
    assert [slider(figure, label) for label in ("n, length", "i, from", "j, to")] == ["41", "40", "41"]
    figure.slide("n, length", 2)
    assert [slider(figure, label) for label in ("n, length", "i, from", "j, to")] == ["2", "1", "2"]
    assert figure.alert() == ""


@pytest.mark.parametrize(
    ("label", "text", "message"),
    [
        ("n, length", "65", "n, length must be a whole number from 2 to 64"),
        ("k, kernel", "2.5", "k, kernel must be a whole number from 2 to 7"),
        ("w, recurrent weight", "1.2", "w, recurrent weight must be a number from 0.5 to 1.1"),
        ("d, width", "", "d, width must be a whole number from 8 to 512"),
    ],
)
def test_a_number_out_of_range_is_refused(figure, label, text, message):
    before, box = figure.texts("path"), figure.root.get_by_role("spinbutton", name=f"{label}, number")
    kept = box.input_value()
    box.fill(text)
    box.press("Tab")
    assert figure.alert() == message
    assert (figure.texts("path"), box.input_value()) == (before, kept)


def test_bars_are_as_long_as_their_numbers(figure):
    shown = figure.matrix("cost").locator("td[data-value]")
    for value, image in shown.evaluate_all("ts => ts.map(t => [+t.dataset.value, t.style.backgroundImage])"):
        percent = float(image.split("%")[0].rsplit(" ", 1)[1])
        assert percent == pytest.approx(100 * value / 294912, abs=1e-3)
    assert "longest bar 294912" in figure.matrix("cost").inner_text()


def test_explanations(figure):
    assert figure.explanation() == "RNN: D = 16 - 1 = 15; one step a position: 15"
    said = {
        ("path", 1, 0): "CNN: D = 16 - 1 = 15; a layer reaches k - 1 = 2 back: ⌈15/2⌉ = 8",
        ("path", 2, 0): "dilated CNN: D = 16 - 1 = 15; 3 layers reach 3^3 - 1 = 26, 2 only 8: 3",
        ("path", 0, 1): "RNN: each of 15 steps multiplies by w: 0.9^15 = 0.2059",
        ("path", 1, 1): "CNN: depends on the weights of 8 layers, not on w",
        ("path", 3, 1): "attention: a path of length 1 passes on all of it: 1.0000",
        ("cost", 3, 0): "attention: n² d = 16²×64 = 16384 multiplications a layer",
        ("cost", 3, 1): "attention: 4 n d² + 2 n² d = 4×16×64² + 2×16²×64 = 294912 multiplications a layer",
        ("cost", 2, 1): "dilated CNN: k n d² = 3×16×64² = 196608 multiplications a layer",
    }
    for cell, text in said.items():
        figure.cell(*cell).focus()
        assert figure.explanation() == text
    choose(figure, "dilated")  # a chosen net explains itself
    assert figure.explanation() == said["path", 2, 0]


def test_keyboard_alone(figure):
    plot, press = figure.matrix("net").locator(".lm-plot"), figure.page.keyboard.press
    plot.focus()
    assert figure.explanation() == "step 1 of 15: position 1 → 2; 0.9^1 = 0.9000 is left"
    for key in ("End", "ArrowLeft", "Enter", "Home"):
        press(key)
    assert figure.explanation() == f"step 14 of 15: position 14 → 15; 0.9^14 = {0.9**14:.4f} is left"
    assert figure.button("Pinned: release").is_visible()
    press("Escape")
    assert figure.explanation().startswith("step 1 of 15")
    assert plot.get_attribute("data-value") == "2"
    figure.matrix("signal").locator(".lm-plot").focus()
    press("End")
    assert figure.explanation() == "RNN, distance 15: 0.9^15 = 0.2059"
    press("PageDown")
    assert figure.explanation() == "attention, distance 15: one step, 1.0000"
    figure.root.get_by_role("radio", name="RNN", exact=True).focus()
    press("ArrowRight")
    assert figure.explanation().startswith("CNN: D = ")
    assert len(drawn(figure)) == 8
    figure.root.get_by_role("slider", name="n, length").focus()
    press("ArrowLeft")
    assert slider(figure, "j, to") == "15"
    for name in ("path", "cost"):
        assert figure.matrix(name).locator("td[tabindex='0']").count() == 1
    assert figure.root.get_by_role("status").count() == 1 and figure.root.locator("output").count() == 0


def test_pointer(figure):
    choose(figure, "dilated")
    figure.matrix("net").locator("line[data-c='1']").hover(force=True)
    assert figure.explanation() == "step 2 of 3: position 1 → 7, layer 1 → 2"
    assert figure.matrix("path").locator(".lm-lit").get_attribute("data-r") == "2"
    figure.matrix("net").locator(".lm-plot").click(position={"x": 5, "y": 180})
    assert figure.explanation() == "step 1 of 3: position 1 → 1, layer 0 → 1"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (320, True)])
def test_axe_and_a_phone(figures, width, dark):
    figure = figures([PathLength(n=64, k=2, d=512)], width=width, dark=dark)[0]
    assert figure.root.get_attribute("data-dark") == str(int(dark))
    for architecture in NETS:
        choose(figure, architecture)
        assert figure.page.evaluate("document.documentElement.scrollWidth") <= width
        assert figure.matrix("net").locator("svg").bounding_box()["width"] <= width - 20
        assert figure.violations() == []
    assert figure.page.problems == []


@pytest.mark.parametrize(("label", "values"), [("k, kernel", [3, 2] * 20), ("w,", [0.6 + i / 100 for i in range(40)])])
def test_a_redraw_does_not_stall(figures, label, values, record_property):
    figure = figures([PathLength("cnn", n=64, k=2)])[0]
    cost = figure.redraw_ms(label, values)
    record_property("redraw_ms", cost)
    print(f"n=64, k=2, {label}: {cost:.2f} ms")
    assert cost < STALL_MS


def test_two_figures_share_nothing(figures):
    one, two = figures([PathLength(), PathLength("cnn")])
    before = two.texts("path"), drawn(two)
    choose(one, "attention")
    one.slide("n, length", 33)
    one.slide("w, recurrent weight", 0.6)
    assert (two.texts("path"), drawn(two)) == before
    assert two.root.get_by_role("radio", name="CNN", exact=True).is_checked()
    assert one.page.problems == []


def test_states_that_are_none(figure):
    good = PathLength().page_state()
    assert figure.page.evaluate("s => lmWidgets.path_length.render.math.problem(s)", good) == ""
    for key, value in [("architecture", "lstm"), ("n", 65), ("i", 0), ("j", 1), ("j", 17), ("k", 2.5), ("w", None)]:
        assert figure.page.evaluate("s => lmWidgets.path_length.render.math.problem(s)", good | {key: value}) != ""
