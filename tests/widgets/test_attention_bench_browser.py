"""The attention bench, driven in a real Chromium: alone on a page, and on the chapter's built page."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
import torch

from companion.widgets import AttentionBench
from companion.widgets.attention_bench import PRESETS

pytestmark = pytest.mark.browser

CHAPTER = "book/03_attention.html"
MATRICES = ("x", "wq", "wk", "wv", "q", "k", "v", "s", "z", "a", "h", "o")
STALL_MS = 10 * 1000 / 60  # one frame is the aim, and is printed; a busy machine must not fail


@pytest.fixture(params=["alone", "chapter"])
def bench(request, figures, kept_figure):
    """The default bench; what goes wrong on the page fails the test."""
    alone = request.param == "alone"
    figure = figures([AttentionBench()])[0] if alone else kept_figure(CHAPTER, "attention_bench")
    yield figure
    assert figure.page.problems == []


@pytest.fixture
def alone(figures):
    figure = figures([AttentionBench()])[0]
    yield figure
    assert figure.page.problems == []


def mathematics(page, state):
    """What the script's own pure function makes of a state."""
    return page.evaluate(
        "s => { const r = lmWidgets.attention_bench.render.math.attend(s);"
        " return JSON.parse(JSON.stringify(r, (k, v) => v === -Infinity ? 'masked' : v)); }",
        state,
    )


def random_state(rng):
    n, d, dk, dv = rng.randint(2, 16), rng.randint(1, 8), rng.randint(1, 32), rng.randint(1, 8)

    def m(rows, columns):
        return [[rng.gauss(0, 2) for _ in range(columns)] for _ in range(rows)]

    state = {"scale": rng.random() < 0.5, "causal": rng.random() < 0.5, "temperature": rng.uniform(0.1, 10)}
    if rng.random() < 0.5:
        return state | {"mode": "x", "x": m(n, d), "wq": m(d, dk), "wk": m(d, dk), "wv": m(d, dv)}
    return state | {"mode": "qkv", "q": m(n, dk), "k": m(n, dk), "v": m(n, dv)}


def test_the_scripts_mathematics_is_companions(alone):
    rng = random.Random(0)
    for _ in range(60):
        state = random_state(rng)
        bench = AttentionBench(**state)
        got = mathematics(alone.page, state)
        z = torch.tensor([[-math.inf if v == "masked" else v for v in row] for row in got["z"]], dtype=torch.float64)
        pairs = [
            (got["s"], bench.scores),
            (z, bench.scaled_scores),
            (got["a"], bench.weights),
            (got["o"], bench.output),
        ]
        pairs += list(zip((got["q"], got["k"], got["v"]), bench.qkv, strict=True))
        pairs.append(([row[0] for row in got["h"]], bench.entropy))
        for mine, theirs in pairs:
            mine = torch.as_tensor(mine, dtype=torch.float64)
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_the_default_as_specified(bench):
    assert bench.texts("a")[2] == "0.1400 0.2840 0.5760"
    assert bench.texts("o")[2] == "3.2959 4.8719"
    assert bench.explanation() == "q3·k3 = 2×1 + 1×1 = 3.0000; /√2 = 2.1213; softmax 0.5760"
    truth = AttentionBench()
    for name, tensor in [("s", truth.scores), ("z", truth.scaled_scores), ("a", truth.weights), ("o", truth.output)]:
        torch.testing.assert_close(torch.tensor(bench.values(name), dtype=torch.float64), tensor, rtol=0, atol=1e-12)
    assert float(bench.cell("a", 2, 2).get_attribute("data-value")) != 0.5760  # in full
    assert bench.root.get_attribute("data-widget") == "attention_bench"


def test_scale_mask_and_temperature(bench):
    revision = bench.rev
    bench.root.get_by_label("scale by √d_k").uncheck()
    assert bench.texts("a")[2] == "0.0900 0.2447 0.6652"
    assert bench.rev == revision + 1
    bench.root.get_by_label("scale by √d_k").check()
    bench.root.get_by_label("causal mask").check()
    assert bench.texts("a")[1] == "0.5000 0.5000 0.0000"
    assert " ".join(bench.texts("z")).count("-∞") == 3
    assert bench.values("z")[0][1:] == [-math.inf, -math.inf]
    bench.root.get_by_label("causal mask").uncheck()
    bench.slide("temperature", 0.5)
    assert bench.texts("a")[2] == "0.0454 0.1867 0.7679"
    assert bench.explanation() == "q3·k3 = 2×1 + 1×1 = 3.0000; /(√2×0.5) = 4.2426; softmax 0.7679"
    assert bench.root.get_by_role("slider", name="temperature").get_attribute("aria-valuetext") == "0.5 temperature"
    bench.button("Reset").click()
    assert bench.texts("a")[2] == "0.1400 0.2840 0.5760"


def test_one_edited_cell(bench):
    second = bench.texts("a")[1]
    bench.type("wq", 0, 0, "3")
    assert bench.texts("a")[2] == "0.0381 0.3177 0.6443"
    assert bench.texts("a")[1] == second
    assert bench.cell("wq", 0, 0).inner_text() == "3.0000"


def test_every_size_can_be_moved(bench):
    for label, key, shapes in [
        ("n", 8, {"x": (8, 2), "a": (8, 8), "o": (8, 2)}),
        ("d_model", 5, {"x": (8, 5), "wq": (5, 2), "wv": (5, 2)}),
        ("d_k", 7, {"wq": (5, 7), "q": (8, 7), "k": (8, 7), "v": (8, 2)}),
        ("d_v", 1, {"wv": (5, 1), "v": (8, 1), "o": (8, 1)}),
    ]:
        bench.root.get_by_role("slider", name=label, exact=True).fill(str(key))
        for name, shape in shapes.items():
            values = bench.values(name)
            assert (len(values), len(values[0])) == shape, name
    box = bench.root.get_by_role("spinbutton", name="n, number")
    box.fill("3")
    box.press("Enter")
    assert len(bench.values("a")) == 3
    state = {name: bench.values(name) for name in ("x", "wq", "wk", "wv")}
    truth = AttentionBench(**state)
    torch.testing.assert_close(torch.tensor(bench.values("o"), dtype=torch.float64), truth.output, rtol=0, atol=1e-12)


def test_a_number_out_of_range_is_refused(alone):
    box = alone.root.get_by_role("spinbutton", name="n, number")
    before = alone.texts("a")
    for text in ("9", "1", "2.5", ""):
        box.fill(text)
        box.press("Tab")
        assert alone.alert() == "n must be a whole number from 2 to 8"
        assert box.input_value() == "3"
    assert alone.texts("a") == before
    temperature = alone.root.get_by_role("spinbutton", name="temperature τ, number")
    temperature.fill("0.05")
    temperature.press("Tab")
    assert alone.alert() == "temperature τ must be a number from 0.1 to 10"


def test_numbers_outlive_a_smaller_figure(alone):
    alone.type("x", 2, 1, "7")
    alone.slide("n", 2)
    alone.slide("n", 3)
    assert alone.values("x")[2][1] == 7


def test_presets(bench):
    for key, preset in PRESETS.items():
        if key == "default":
            bench.button("Reset").click()
        else:
            bench.button(preset["label"]).click()
        truth = AttentionBench.preset(key)
        for name, tensor in (("a", truth.weights), ("o", truth.output)):
            mine = torch.tensor(bench.values(name), dtype=torch.float64)
            torch.testing.assert_close(mine, tensor, rtol=0, atol=1e-12)
    bench.button("The source's example").click()
    assert bench.texts("a") == ["0.0000 0.0000 1.0000"] * 3
    assert bench.texts("o") == ["-2.0000 17.0000"] * 3


def test_q_k_v_directly(bench):
    before = bench.texts("o")
    bench.root.get_by_label("Q, K, V directly").check()
    assert bench.texts("o") == before
    assert bench.matrix("x").count() == bench.matrix("wq").count() == 0
    bench.type("v", 0, 0, "-2")
    assert bench.values("v")[0][0] == -2
    truth = AttentionBench(mode="qkv", **{name: bench.values(name) for name in "qkv"})
    mine = torch.tensor(bench.values("o"), dtype=torch.float64)
    torch.testing.assert_close(mine, truth.output, rtol=0, atol=1e-12)
    bench.root.get_by_label("X and the weights").check()
    assert bench.texts("o") == before


def test_two_hundred_random_edits(bench):
    rng = random.Random(1)
    # Straight into the open editor: the same path as typing, without a round trip for every key.
    edit = """([root, edits]) => edits.flatMap(([name, r, c, text]) => {
        const td = root.querySelector(`[data-matrix="${name}"] td[data-r="${r}"][data-c="${c}"]`);
        td.focus();
        td.dispatchEvent(new KeyboardEvent("keydown", { key: "F2", bubbles: true, cancelable: true }));
        const input = td.querySelector("input");
        input.value = text;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        input.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
        return [...root.querySelectorAll('[data-matrix="a"] tbody tr')]
            .map(tr => [...tr.querySelectorAll("td")].reduce((sum, td) => sum + Number(td.dataset.value), 0));
    })"""
    edits = []
    for _ in range(200):
        name = rng.choice(["x", "wq", "wk", "wv"])
        rows = 3 if name == "x" else 2
        text = str(round(rng.uniform(-50, 50), rng.randint(0, 6)))
        edits.append([name, rng.randrange(rows), rng.randrange(2), text])
    sums = bench.page.evaluate(edit, [bench.root.element_handle(), edits])
    assert len(sums) == 600
    assert max(abs(total - 1) for total in sums) < 1e-12
    truth = AttentionBench(**{name: bench.values(name) for name in ("x", "wq", "wk", "wv")})
    mine = torch.tensor(bench.values("a"), dtype=torch.float64)
    torch.testing.assert_close(mine, truth.weights, rtol=0, atol=1e-12)


def test_scores_times_a_thousand(bench):
    for r in range(2):
        for c in range(2):
            bench.type("wq", r, c, str(1000 * AttentionBench().wq[r][c]))
    assert max(map(max, bench.values("s"))) == 3000
    assert all(math.isfinite(v) for name in MATRICES for row in bench.values(name) for v in row)
    assert "NaN" not in bench.root.inner_text()


def test_what_is_no_number_is_refused_in_place(bench):
    before = {name: bench.texts(name) for name in MATRICES if name != "x"}
    for text in ("abc", "1,5", "--1", "1e999", "0x10", "Infinity", "½"):
        revision = bench.rev
        bench.cell("x", 1, 0).focus()
        bench.page.keyboard.press("F2")
        bench.page.keyboard.press("ControlOrMeta+a")
        bench.page.keyboard.insert_text(text)
        bench.page.keyboard.press("Enter")
        editor = bench.matrix("x").locator("input")
        assert editor.get_attribute("aria-invalid") == "true", text
        assert bench.alert() == f"“{text}” is not a number; write it like -1.5"
        assert {name: bench.texts(name) for name in before} == before, text
        assert bench.rev == revision, text
        bench.page.keyboard.press("Escape")
        assert editor.count() == 0
        assert bench.alert() == ""
        assert bench.cell("x", 1, 0).inner_text() == "0.0000"


def test_an_empty_cell_is_refused(bench):
    before = bench.texts("a")
    bench.cell("x", 0, 0).focus()
    bench.page.keyboard.press("Delete")
    bench.page.keyboard.press("Enter")
    assert bench.alert() == "This cell needs a number"
    assert bench.texts("a") == before
    bench.cell("x", 2, 1).click()  # leaving the cell gives the edit up, and says so
    assert bench.alert() == "This cell needs a number; the last number stays"
    assert bench.cell("x", 0, 0).inner_text() == "1.0000"
    assert bench.texts("a") == before


def test_a_result_that_is_not_finite_keeps_the_drawing(bench):
    bench.type("wq", 0, 0, "1e200")
    before = {name: bench.texts(name) for name in MATRICES if name != "wk"}
    bench.cell("wk", 0, 0).focus()
    bench.page.keyboard.press("F2")
    bench.page.keyboard.insert_text("1e200")
    bench.page.keyboard.press("Enter")
    assert bench.alert() == "With this number the result is too large to compute; the last drawing stays"
    assert {name: bench.texts(name) for name in before} == before
    bench.page.keyboard.press("Escape")
    assert bench.values("wk")[0][0] == 0
    assert bench.alert() == ""


def test_escape_takes_back_what_was_typed(bench):
    before = bench.texts("o")
    bench.cell("wv", 1, 1).focus()
    bench.page.keyboard.type("-9")
    assert bench.texts("o") != before  # the output follows while you type
    bench.page.keyboard.press("Escape")
    assert bench.texts("o") == before


def test_keyboard_only(bench):
    page, keys = bench.page, bench.page.keyboard
    bench.button("Causal").focus()  # the last control before the matrices
    keys.press("Tab")

    def here():
        return page.evaluate(
            "() => { const td = document.activeElement;"
            " return [td.closest('[data-matrix]').dataset.matrix, td.dataset.r, td.dataset.c]; }"
        )

    assert here() == ["wq", "0", "0"]
    order = []
    for _ in range(11):
        keys.press("Tab")
        order.append(here()[0])
    assert order == ["wk", "wv", "x", "q", "k", "v", "s", "z", "a", "h", "o"]  # one stop a matrix
    for _ in range(2):
        keys.press("Shift+Tab")
    steps = ["ArrowDown", "ArrowRight", "End", "PageDown", "Home", "PageUp", "ArrowUp", "ArrowLeft"]
    places = [["1", "0"], ["1", "1"], ["1", "2"], ["2", "2"], ["2", "0"], ["0", "0"], ["0", "0"], ["0", "0"]]
    for key, place in zip(steps, places, strict=True):
        keys.press(key)
        assert here() == ["a", *place], key
    keys.press("Control+End")
    assert here() == ["a", "2", "2"]
    assert bench.explanation().endswith("softmax 0.5760")
    keys.press("Enter")  # pins
    keys.press("Control+Home")
    assert bench.explanation().endswith("softmax 0.5760")
    assert bench.button("Pinned: release").is_visible()
    keys.press("Escape")
    assert bench.explanation().startswith("q1·k1")
    for _ in range(6):
        keys.press("Shift+Tab")
    assert here()[0] == "x"
    keys.press("Control+Home")
    keys.type("-2.5")
    keys.press("Enter")
    assert here() == ["x", "0", "0"]
    assert bench.values("x")[0][0] == -2.5


def test_focus_lights_the_row_and_the_column_that_made_the_cell(bench):
    def lit(name):
        return bench.matrix(name).locator(".lm-lit").evaluate_all("tds => tds.map(t => t.dataset.r + t.dataset.c)")

    bench.cell("o", 1, 0).focus()
    assert lit("a") == ["10", "11", "12"]
    assert lit("v") == ["00", "10", "20"]
    assert lit("x") == lit("q") == []
    assert re.fullmatch(r"o2\[1\] = row 2 of A · column 1 of V = .* = 3\.0070", bench.explanation())
    bench.cell("k", 2, 1).focus()
    assert lit("x") == ["20", "21"]
    assert lit("wk") == ["01", "11"]
    assert bench.explanation() == "k3[2] = row 3 of X · column 2 of W_K = 1×1 + 1×0 = 1.0000"
    bench.cell("s", 0, 1).focus()
    assert (lit("q"), lit("k")) == (["00", "01"], ["10", "11"])
    bench.cell("h", 2, 0).focus()
    assert bench.explanation().startswith("Entropy of row 3: -Σ a log₂ a = 1.3713 bits")


def test_hover_and_tap_show_what_focus_shows(bench):
    bench.cell("s", 1, 2).focus()
    focused = bench.explanation()
    bench.cell("a", 0, 0).focus()
    bench.cell("s", 1, 2).hover()
    assert bench.explanation() == focused
    bench.root.locator("strong").hover()
    assert bench.explanation().startswith("q1·k1")
    bench.cell("s", 1, 2).dispatch_event("click")
    assert bench.explanation() == focused


def test_mouse_alone_can_edit(bench):
    cell = bench.cell("x", 0, 1)
    cell.click()
    assert bench.matrix("x").locator("input").count() == 0
    cell.click()
    bench.page.keyboard.type("4")
    bench.cell("a", 0, 0).click()
    assert bench.values("x")[0][1] == 4


def test_goals_test_themselves(bench):
    def reached():
        return bench.root.locator("[data-goal]").evaluate_all(
            "ls => ls.filter(l => l.dataset.done === '1').map(l => l.dataset.goal)"
        )

    assert reached() == []
    bench.root.get_by_label("Q, K, V directly").check()
    bench.type("k", 0, 0, "-9")
    assert reached() == ["ignore"]
    bench.type("q", 1, 0, "0")
    bench.type("q", 1, 1, "0")
    assert reached() == ["ignore", "uniform"]
    bench.type("k", 1, 0, "20")
    assert reached() == ["ignore", "uniform", "copy"]
    bench.root.get_by_label("causal mask").check()
    assert "ignore" not in reached()


def test_the_status_speaks_after_a_pause(bench):
    status = bench.root.get_by_role("status")
    assert status.count() == 1 and bench.root.locator("output").count() == 0
    assert status.inner_text() == ""  # nobody is told anything on arrival
    # All at once in the page: on a busy machine a pause could come between two keys.
    said = bench.page.evaluate(
        """([status, cell]) => new Promise(done => { const seen = [];
            new MutationObserver(() => seen.push(status.textContent)).observe(status, { childList: true });
            const right = () => document.activeElement.dispatchEvent(
                new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true, cancelable: true }));
            cell.focus(); right(); right();
            setTimeout(() => done(seen), 900); })""",
        [status.element_handle(), bench.cell("a", 0, 0).element_handle()],
    )
    assert len(said) == 1 and said[0].startswith("q1·k3")


def test_two_figures_share_nothing(figures):
    one, two = figures([AttentionBench(), AttentionBench(temperature=2.0)])
    before, revision = {name: two.texts(name) for name in MATRICES}, two.rev
    one.type("x", 0, 0, "5")
    one.root.get_by_label("causal mask").check()
    one.root.get_by_label("Q, K, V directly").check()
    assert {name: two.texts(name) for name in MATRICES} == before
    assert two.rev == revision
    assert two.root.get_by_label("X and the weights").is_checked()
    two.button("Uniform").click()
    assert one.root.get_by_label("causal mask").is_checked()
    assert one.page.problems == []


def test_a_link_restores_the_state(figures):
    one, two = figures([AttentionBench(), AttentionBench()])
    two.type("wk", 1, 1, "-0.125")
    two.slide("temperature", 1.5)
    two.button("Link to this state").click()
    expected, fragment = two.values("o"), two.page.evaluate("location.hash")
    assert re.fullmatch(r"#lm-attention_bench-2-[\w-]+", fragment)
    one, two = figures([AttentionBench(), AttentionBench()], hash=fragment)
    assert two.values("o") == expected
    assert one.values("o") != expected
    assert one.page.problems == two.page.problems == []


def test_a_link_in_the_chapter(chapter_figure, kept_figure):
    state = {"mode": "x", "scale": False, "causal": True, "temperature": 2} | {
        key: PRESETS["default"][key] for key in ("x", "wq", "wk", "wv")
    }
    figure = kept_figure(CHAPTER, "attention_bench")
    packed = figure.page.evaluate("s => lmWidgets.attention_bench.render.math.pack(s)", state)
    figure = chapter_figure(f"{CHAPTER}#lm-attention_bench-1-{packed}", "attention_bench")
    truth = AttentionBench(scale=False, causal=True, temperature=2.0)
    assert torch.allclose(torch.tensor(figure.values("a"), dtype=torch.float64), truth.weights)
    assert figure.root.evaluate("el => el.getBoundingClientRect().top < innerHeight")
    assert figure.page.problems == []


@pytest.mark.parametrize("payload", ["%%%", "eyJhIjox", "eyJtb2RlIjoieCIsIngiOltbMSwiYSJdXX0"])
def test_a_damaged_link_is_refused(figures, payload):
    figure = figures([AttentionBench()], hash=f"#lm-attention_bench-1-{payload}")[0]
    assert re.search("damaged|must be a matrix|no state", figure.alert())
    assert figure.texts("a")[2] == "0.1400 0.2840 0.5760"
    assert figure.page.problems == []


def test_csv_and_svg(bench):
    with bench.page.expect_download() as saved:
        bench.button("Save CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text(encoding="utf-8"))))
    assert saved.value.suggested_filename == "attention.csv"
    assert len(rows) == sum(len(row) for name in MATRICES for row in bench.values(name))
    weights = [float(row["value"]) for row in rows if row["matrix"] == "A"]
    assert weights == [v for row in bench.values("a") for v in row]
    with bench.page.expect_download() as saved:
        bench.button("Save SVG").click()
    tree = ElementTree.parse(saved.value.path())
    texts = [node.text for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("0.5760") == 1 and texts.count("4.8719") == 1


CONTRAST = """root => {
    const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255);
    const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const light = text => rgb(text).map(linear).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    return Math.min(...[...root.querySelectorAll("[role=gridcell]")].map(td => {
        const style = getComputedStyle(td);
        const pair = [light(style.color), light(style.backgroundColor)].sort((a, b) => b - a);
        return (pair[0] + 0.05) / (pair[1] + 0.05);
    }));
}"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_on_every_color(figures, dark):
    figure = figures([AttentionBench()], dark=dark)[0]
    assert figure.root.get_attribute("data-dark") == ("1" if dark else "0")
    for name in ("Causal", "The same, X ÷ 10", "The source's example"):
        figure.button(name).click()
        assert figure.root.evaluate(CONTRAST) >= 4.5


def test_weights_are_painted_in_cividis(alone):
    for r in range(3):
        for c in range(3):
            color = alone.cell("a", r, c).evaluate("td => getComputedStyle(td).backgroundColor")
            truth = matplotlib.colormaps["cividis"](alone.values("a")[r][c])[:3]
            assert [int(v) for v in re.findall(r"\d+", color)] == pytest.approx([255 * v for v in truth], abs=8)


def test_dark_mode_follows_the_host(alone):
    zero = alone.cell("x", 0, 1)
    assert zero.evaluate("td => td.style.background") == "rgb(255, 255, 255)"
    revision = alone.rev
    alone.page.evaluate("document.documentElement.dataset.theme = 'dark'")
    alone.page.wait_for_function("rev => document.querySelector('.lm-widget').dataset.rev > rev", arg=revision)
    assert alone.root.get_attribute("data-dark") == "1"
    assert zero.evaluate("td => td.style.background") == "rgb(18, 18, 18)"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe(figures, dark):
    first, _ = figures([AttentionBench(), AttentionBench.preset("causal")], dark=dark)
    first.cell("x", 0, 0).focus()
    first.page.keyboard.press("Delete")
    first.page.keyboard.press("Enter")  # the refused editor is part of the picture
    assert first.violations() == []


def test_axe_in_the_chapter(chapter_figure):
    figure = chapter_figure(CHAPTER, "attention_bench", dark=True)
    assert figure.violations(".lm-widget[data-widget]") == []


@pytest.mark.parametrize("where", ["alone", "chapter"])
@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_is_wide_enough(figures, kept_figure, where, width):
    if where == "alone":
        figure = figures([AttentionBench()], width=width)[0]
    else:
        figure = kept_figure(CHAPTER, "attention_bench", width=width)
    figure.slide("n", 8)
    figure.slide("d_model", 8)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert figure.page.evaluate(overflow) <= 0
    figure.cell("wv", 7, 1).focus()  # scrolled into view inside its frame
    box = figure.cell("wv", 7, 1).bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert figure.page.problems == []


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_the_page_works_from_a_folder_too(figures, scheme):
    figure = figures([AttentionBench()], scheme=scheme)[0]
    figure.root.get_by_label("causal mask").check()
    assert figure.texts("a")[0] == "1.0000 0.0000 0.0000"
    figure.button("Link to this state").click()
    assert figure.page.problems == []


def test_without_script_the_table_stays(chromium, tmp_path):
    (tmp_path / "index.html").write_text(AttentionBench()._repr_html_(), encoding="utf-8")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    assert page.locator("table").count() == 2
    assert "0.1400\t0.2840\t0.5760" in page.locator("table").first.inner_text()
    context.close()


def test_a_state_that_cannot_be_drawn_leaves_the_table(figures, monkeypatch):
    bench = AttentionBench()
    broken = json.loads(json.dumps(bench.page_state())) | {"wq": [[1.0]]}
    monkeypatch.setattr(AttentionBench, "page_state", lambda self: broken)
    figure = figures([bench], ready=False)[0]
    figure.page.wait_for_timeout(200)
    assert figure.root.locator("table").count() == 2
    assert figure.root.get_attribute("data-ready") is None
    assert len(figure.page.problems) == 1
    assert "The shapes do not fit: X 3×2, W_Q 1×1, W_K 2×2, W_V 2×2" in figure.page.problems[0]


def test_heads_of_a_real_size(figures):
    g = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(9, 32, generator=g) for _ in range(3))
    words = ["the", "film", "was", "long", "but", "I", "loved", "it", "anyway"]
    bench = AttentionBench.from_tensors(q, k, v, tokens=words, model="bert-book, layer 2, head 1")
    figure = figures([bench])[0]
    badge = figure.root.locator(".lm-badge")
    assert badge.text_content() == "Q, K, V from kernel: bert-book, layer 2, head 1, cpu; the rest in your browser"
    mine = torch.tensor(figure.values("a"), dtype=torch.float64)
    torch.testing.assert_close(mine, bench.weights, rtol=0, atol=1e-12)
    assert figure.matrix("a").locator("thead").inner_text().split() == words
    canvas = figure.matrix("q").locator("canvas")
    canvas.focus()
    figure.page.keyboard.press("Control+End")
    figure.page.keyboard.press("ArrowUp")
    assert [canvas.get_attribute(f"data-{key}") for key in "rc"] == ["7", "31"]
    assert float(canvas.get_attribute("data-value")) == bench.q[7][31]
    assert figure.explanation() == f"q8[32] = {bench.q[7][31]:.4f}"
    figure.cell("s", 3, 4).focus()
    assert "… (26 smaller)" in figure.explanation()
    figure.button("Uniform").click()
    assert badge.text_content() == "edited by you, computed in your browser"
    figure.button("Reset").click()
    assert badge.text_content().endswith("the rest in your browser")
    assert figure.page.problems == []


def test_a_redraw_does_not_stall(figures, record_property):
    g = torch.Generator().manual_seed(3)
    x, wq, wk, wv = (torch.randn(8, 8, generator=g) for _ in range(4))
    figure = figures([AttentionBench(x, wq, wk, wv)])[0]
    # Every number changes, on the largest editable figure.
    cost = figure.redraw_ms("temperature", [0.1 + (i % 30) / 10 for i in range(50)])
    record_property("redraw_ms", cost)
    print(f"redraw at 8x8: {cost:.2f} ms")
    assert cost < STALL_MS
