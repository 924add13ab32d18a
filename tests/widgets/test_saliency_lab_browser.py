"""The saliency lab, driven in a real Chromium."""

from __future__ import annotations

import random

import pytest
import torch

from companion import TextClassifier, TransformerClassifier, TransformerConfig, load_tokenizer
from companion.widgets import SaliencyLab
from companion.widgets.saliency_data import STEPS

pytestmark = pytest.mark.browser

STALL_MS = 250
GAP, OUT, LOST = 2, 3, 4  # rows of the sums


@pytest.fixture
def lab(figures):
    """The default lab; what goes wrong on the page fails the test."""
    figure = figures([SaliencyLab()])[0]
    yield figure
    assert figure.page.problems == []


def shares_of(truth):
    methods = list(truth.attributions.values())[:3]
    return [[*values, effect] for *values, effect in zip(*methods, truth.effects, strict=True)]


def agree(figure, truth):
    """What stands on the page is what the kernel computes."""
    shares = figure.values("shares")
    assert shares == [pytest.approx(row, abs=1e-6) for row in shares_of(truth)]
    whole, empty = truth.ends
    now = truth.score()
    assert figure.values("values")[0] == pytest.approx([whole, now, empty], abs=1e-6)
    totals = figure.values("totals")
    assert totals[GAP] == pytest.approx(list(truth.gaps.values()), abs=1e-6)
    assert totals[OUT] == pytest.approx([sum(shares[i][j] for i in truth.off) for j in range(3)], abs=1e-6)
    assert totals[LOST] == pytest.approx([whole - now] * 3, abs=1e-6)
    if truth.part == "text":
        assert [row[0] for row in figure.values("rollout")] == pytest.approx(truth.attributions["rollout"], abs=1e-6)


def flip(figure, word, nth=0):
    figure.root.locator(".lm-words").get_by_role("button", name=word, exact=True).nth(nth).click()


def test_the_scripts_mathematics_is_companions(lab):
    rng = random.Random(0)
    for _ in range(40):
        weights = [rng.uniform(-3, 3) for _ in range(rng.randint(2, 8))]
        truth = SaliencyLab(
            part="toy",
            weights=weights,
            baseline=rng.choice(["zero", "mask"]),
            steps=rng.choice(STEPS),
            off=rng.sample(range(len(weights)), rng.randint(0, 2)),
        )
        study_agrees(lab.page, truth)
    for sentence, row in enumerate(SaliencyLab().data["sentences"]):
        off = rng.sample(range(len(row["words"])), 3)
        study_agrees(lab.page, SaliencyLab(sentence=sentence, baseline="mask", steps=rng.choice(STEPS), off=off))


def study_agrees(page, truth):
    state = truth.page_state()
    got = page.evaluate("s => lmWidgets.saliency_lab.render.math.study(s, s.data, s.toy_mask)", state)
    assert got["shares"] == [pytest.approx(row, abs=1e-9) for row in shares_of(truth)]
    assert got["totals"][GAP] == pytest.approx(list(truth.gaps.values()), abs=1e-9)
    assert got["values"][0] == pytest.approx([truth.ends[0], truth.score(), truth.ends[1]], abs=1e-9)


def test_the_toy_of_the_specification(lab):
    lab.root.get_by_role("radio", name="toy: tanh(Σ w)").check()
    columns = list(zip(*[row.split() for row in lab.texts("shares")], strict=True))
    assert columns[0] == ("1.0932", "-0.0931", "0.0867")
    assert columns[1] == ("0.4206", "-0.1402", "0.0701")
    assert columns[2] == ("1.0180", "-0.3393", "0.1697")
    assert lab.values("totals")[0][2] == pytest.approx(0.8483, abs=1e-4)
    assert abs(lab.values("totals")[GAP][2]) < 1e-4
    lab.slide("steps", 0)
    assert lab.values("totals")[GAP][2] == pytest.approx(1.9e-3, abs=5e-5)
    assert "4 steps: 0.0019" in lab.root.inner_text()
    assert lab.matrix("rollout").count() == 0  # the toy has no attention
    agree(lab, SaliencyLab(part="toy", steps=4))


def test_every_control(lab):
    truth = SaliencyLab()
    assert lab.root.get_attribute("data-widget") == "saliency_lab"
    assert lab.root.locator(".lm-badge").inner_text().endswith(truth.data["classifier"])
    agree(lab, truth)
    lab.root.get_by_role("radio", name="[MASK]").check()
    truth.baseline = "mask"
    agree(lab, truth)
    for i, n in enumerate(STEPS):
        lab.slide("steps", i)
        truth.steps = n
        assert lab.values("totals")[GAP] == pytest.approx(list(truth.gaps.values()), abs=1e-6)
    flip(lab, "not")
    flip(lab, "good,")
    truth.off = [3, 4]
    agree(lab, truth)
    assert "without “not”, “good,”" in lab.root.inner_text()
    flip(lab, "not")
    truth.off = [4]
    agree(lab, truth)
    lab.root.get_by_role("radio", name="sentence 3").check()
    truth.off, truth.sentence = [], 2
    agree(lab, truth)
    lab.button("All words out").click()
    assert lab.values("values")[0][1] == pytest.approx(truth.ends[1], abs=1e-6)
    lab.button("All words in").click()
    agree(lab, truth)
    lab.button("Toy").click()
    agree(lab, SaliencyLab(part="toy"))
    lab.button("Reset").click()
    agree(lab, SaliencyLab())


def test_typing_a_number_of_the_toy(lab):
    lab.button("Toy").click()
    lab.type("weights", 0, 1, "2")
    agree(lab, SaliencyLab(part="toy", weights=[1.5, 2, 0.25]))
    lab.type("weights", 0, 0, "11")
    assert "Numbers go from -10 to 10" in lab.alert()
    assert lab.values("weights")[0][1:] == [2, 0.25]


def test_what_is_said_about_a_cell(lab):
    lab.button("Toy").click()
    said = {
        (0, 0): "leave one out: F(all) - F(without “w1”) = 0.8483 - (-0.2449) = 1.0932",
        (0, 1): "gradient × input: 1.5 × (1 - tanh²(Σw)) = 1.5×0.2804 = 0.4206",
        (0, 2): "integrated gradients: 1.5 × mean slope 0.6787 = 1.0180",
        (1, 3): "“w2”, the others as they are now: F with it - F without it = -0.0931",
    }
    for (i, j), text in said.items():
        lab.cell("shares", i, j).click()
        assert lab.explanation() == text
    lab.cell("totals", GAP, 0).click()
    assert lab.explanation() == "leave one out: 1.0868 - 0.8483 = 0.2385"
    lab.button("Reset").click()
    lab.cell("rollout", 0, 0).click()
    assert "of what the head reads comes from “The”" in lab.explanation()


def test_by_keyboard_alone(lab):
    keys = lab.page.keyboard
    word = lab.root.locator("[data-word='3']")
    word.focus()
    keys.press("Enter")
    assert word.get_attribute("aria-pressed") == "true"
    assert word.evaluate("b => b === document.activeElement")  # the focus stays on the word
    agree(lab, SaliencyLab(off=[3]))
    keys.press("Space")
    assert word.get_attribute("aria-pressed") == "false"
    lab.root.get_by_role("slider", name="steps").focus()
    keys.press("ArrowRight")
    agree(lab, SaliencyLab(steps=48))
    box = lab.root.get_by_role("spinbutton", name="steps, number")
    box.fill("5000")
    keys.press("Enter")
    assert "steps must be a whole number from 4 to 128" in lab.alert()
    box.fill("130")
    box.fill("17")
    keys.press("Enter")
    agree(lab, SaliencyLab(steps=16))  # the nearest that is kept
    lab.root.get_by_role("radio", name="zero").focus()
    keys.press("ArrowRight")
    agree(lab, SaliencyLab(steps=16, baseline="mask"))
    lab.cell("shares", 0, 0).focus()
    keys.press("ArrowDown")
    keys.press("End")
    assert lab.page.evaluate("[document.activeElement.dataset.r, document.activeElement.dataset.c]") == ["1", "3"]
    keys.press("Enter")
    assert lab.root.get_by_role("button", name="Pinned: release").is_visible()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (320, True)])
def test_axe_and_a_phone(figures, width, dark):
    lab = figures([SaliencyLab()], width=width, dark=dark)[0]
    assert lab.root.get_attribute("data-dark") == str(int(dark))
    for preset in ("Reset", "All words out", "Toy"):
        lab.button(preset).click()
        assert lab.page.evaluate("document.documentElement.scrollWidth") <= width
        assert lab.violations() == []
    assert lab.page.problems == []


def test_two_figures_share_nothing(figures):
    one, two = figures([SaliencyLab(), SaliencyLab(sentence=1)])
    before = two.texts("shares"), two.texts("values")
    flip(one, "not")
    one.slide("steps", 0)
    one.root.get_by_role("radio", name="[MASK]").check()
    assert (two.texts("shares"), two.texts("values")) == before
    agree(one, SaliencyLab(off=[3], steps=4, baseline="mask"))


def test_a_redraw_does_not_stall(lab, record_property):
    cost = lab.redraw_ms("steps", list(range(len(STEPS))) * 3)
    record_property("redraw_ms", cost)
    print(f"steps: {cost:.2f} ms")
    assert cost < STALL_MS


def test_a_long_text_waits_for_its_kernel(figures):
    """On a page with a kernel, the answer to a selection comes as a change of a trait."""
    torch.manual_seed(1)
    shape = {"d_model": 8, "n_heads": 2, "d_ff": 8, "n_layers": 1, "position": "rope", "init_std": 0.6}
    network = TransformerClassifier(TransformerConfig(vocab_size=8192, max_len=40, **shape), 2).eval()
    judge = TextClassifier(network, load_tokenizer(), ("neg", "pos"))
    truth = SaliencyLab.of(judge, "The film is long, the film is slow, and yet the end of it is so good.")
    lab = figures([truth])[0]
    assert lab.root.locator(".lm-badge").inner_text() == "kernel: TransformerClassifier, cpu"
    assert lab.matrix("shares").locator("canvas").count() == 1  # 17 words are more than a table holds
    assert lab.values("values")[0][:2] == pytest.approx([truth.ends[0]] * 2, abs=1e-6)
    flip(lab, "good.")
    assert "The kernel has not answered" in lab.root.inner_text()
    lab.page.evaluate(
        """([state, kernel]) => {
            const el = document.createElement("div"), handlers = {};
            document.querySelector("main").append(el);
            const model = { get: (k) => state[k], set: (k, v) => { state[k] = v; }, save_changes: () => {},
              off: () => {}, on: (name, f) => { handlers[name] = f; } };
            lmWidgets.saliency_lab.render({ model, el });
            window.says = (k) => { state.kernel = k; handlers["change:kernel"](); };
        }""",
        [truth.page_state() | {"off": [16]}, {}],
    )
    root = lab.page.locator("[data-widget='saliency_lab']").nth(1)
    root.get_by_text("The kernel has not answered").wait_for()
    truth.off = [16]
    lab.page.evaluate("k => says(k)", truth.kernel)
    root.get_by_text("without “good.”").wait_for()
    now = root.locator("[data-matrix='values'] td[data-c='1']").first.get_attribute("data-value")
    assert float(now or 0) == pytest.approx(truth.score(), abs=1e-6)
    assert lab.page.problems == []
