"""The gradient lab, driven in a real Chromium."""

from __future__ import annotations

import random

import pytest

from companion.widgets import GradientLab
from companion.widgets.gradient_lab import KEYS, NODES, OPTIMIZERS, PRESETS

pytestmark = pytest.mark.browser

STALL_MS = 10 * 1000 / 60  # one frame is the aim, and is printed; a busy machine must not fail
NAN = float("nan")

# A model as anywidget gives it, with a kernel that has answered; `window.kernelSays` lets it answer again.
WITH_KERNEL = """state => {
    const el = document.body.appendChild(document.createElement("div")), heard = {};
    const model = { get: key => state[key], set: (key, value) => { state[key] = value; }, save_changes: () => {},
        on: (event, f) => { heard[event] = f; }, off: () => {} };
    lmWidgets.gradient_lab.render({ model, el });
    window.kernelSays = kernel => { state.kernel = kernel; heard["change:kernel"](); };
}"""


@pytest.fixture
def lab(figures):
    """The default lab; what goes wrong on the page fails the test."""
    figure = figures([GradientLab()])[0]
    yield figure
    assert figure.page.problems == []


@pytest.fixture
def descent(figures):
    """The default lab with its second part open."""
    figure = figures([GradientLab("descent")])[0]
    yield figure
    assert figure.page.problems == []


def enter(figure, label, text):
    box = figure.root.get_by_role("spinbutton", name=f"{label}, number")
    box.fill(str(text))
    box.press("Enter")


def point(figure, name):
    """Where one optimizer is, as printed."""
    row = [r.inner_text() for r in figure.matrix("points").locator("tbody th").all()].index(OPTIMIZERS[name])
    return " ".join(figure.texts("points")[row].split()[:2])


def rows_of(truth):
    """The table of nodes: value, local derivative, upstream gradient, gradient, finite difference."""
    v, g, probe = truth.values, truth.gradients, truth.finite_differences
    user = {"x": "p", "w": "p", "p": "z", "b": "z", "z": "y", "y": "e", "t": "e", "e": "L"}
    slope = {"x": v["w"], "w": v["x"], "p": 1, "b": 1, "z": v["y"] * (1 - v["y"]), "y": 1, "t": -1, "e": 2 * v["e"]}
    return [[v[k], slope.get(k, NAN), g[user[k]] if k in user else NAN, g[k], probe[k]] for k in NODES]


def close(rows, truth):
    assert len(rows) == len(truth)
    for mine, theirs in zip(rows, truth, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-9, nan_ok=True)


def test_the_scripts_mathematics_is_companions(lab):
    rng = random.Random(0)
    math = "lmWidgets.gradient_lab.render.math"
    for _ in range(40):
        numbers = {key: rng.uniform(-3, 3) for key in "xwbt"}
        bowl = {"rate": rng.uniform(0.001, 0.2), "curvature": rng.uniform(1, 12), "steps": rng.randint(0, 60)}
        truth = GradientLab(**numbers, **bowl, start=(rng.uniform(-5, 5), rng.uniform(-5, 5)))
        state = truth.page_state()
        close(lab.page.evaluate(f"s => {math}.backward(s)", state), rows_of(truth))
        for name in OPTIMIZERS:
            got = lab.page.evaluate(f"([s, name]) => {math}.descend(s, name)", [state, name])
            close(got["path"], truth.path(name).tolist())
            assert got["f"] == pytest.approx(truth.losses(name).tolist(), rel=1e-9, abs=1e-12)


def test_the_graph_of_the_specification(lab):
    assert lab.root.get_attribute("data-widget") == "gradient_lab"
    rows = dict(zip(NODES, lab.texts("nodes"), strict=True))
    assert rows["L"].split() == ["0.5344", "·", "·", "1.0000", "1.0000"]
    assert [rows[key].split()[3] for key in "wbx"] == ["-0.5749", "-0.2875", "0.2875"]
    close(lab.values("nodes"), rows_of(GradientLab()))
    drawn = "ns => ns.map(n => [n.dataset.node || n.dataset.gradient, Number(n.dataset.value)])"
    truth = GradientLab()
    assert dict(lab.matrix("graph").locator("[data-node]").evaluate_all(drawn)) == pytest.approx(truth.values)
    assert dict(lab.matrix("graph").locator("[data-gradient]").evaluate_all(drawn)) == pytest.approx(truth.gradients)


def test_the_paths_of_the_specification(descent):
    for name, rate, steps, end in [
        ("sgd", 0.1, 1, "-3.6000 0.0000"),
        ("sgd", 0.18, 10, "-0.5498 0.2147"),
        ("momentum", 0.02, 10, "-1.2285 0.0088"),
        ("adam", 0.1, 1, "-3.9000 1.9000"),
        ("adam", 0.1, 10, "-3.0099 1.0246"),
    ]:
        enter(descent, "rate", rate)
        descent.slide("steps", steps)
        assert point(descent, name) == end
    assert "diverging" not in descent.root.inner_text()
    descent.button("Too fast for SGD").click()
    assert point(descent, "sgd") == "0.0000 234.7817"
    assert "SGD is diverging: rate 0.21 > 2/κ = 0.2000" in descent.root.inner_text()
    enter(descent, "rate", 0.2)
    assert "diverging" not in descent.root.inner_text()
    descent.root.get_by_role("checkbox", name="momentum").check()
    enter(descent, "rate", 0.39)
    assert "momentum is diverging: rate 0.39 > 2(1 + 0.9)/κ = 0.3800" in descent.root.inner_text()


def test_walking_the_graph(lab):
    lab.button("From the beginning").click()
    assert [row.split()[0] for row in lab.texts("nodes")] == [
        "2.0000",
        "-1.0000",
        "·",
        "1.0000",
        "·",
        "·",
        "1.0000",
        "·",
        "·",
    ]
    assert lab.matrix("graph").locator("[data-gradient]").count() == 0
    said = [
        "p = w×x = (-1)×2 = -2.0000",
        "z = p + b = (-2) + 1 = -1.0000",
        "y = σ(z) = σ((-1)) = 0.2689",
        "e = y - t = 0.2689 - 1 = -0.7311",
        "L = e² = (-0.7311)² = 0.5344",
        "dL/dL = 1: going back begins here",
        "dL/de = ∂L/∂e × dL/dL = (-1.4621) × 1 = -1.4621",
        "dL/dy = ∂e/∂y × dL/de = 1 × (-1.4621) = -1.4621",
        "dL/dz = ∂y/∂z × dL/dy = 0.1966 × (-1.4621) = -0.2875",
        "dL/dp = ∂z/∂p × dL/dz = 1 × (-0.2875) = -0.2875",
        "dL/dx = ∂p/∂x × dL/dp = (-1) × (-0.2875) = 0.2875",
    ]
    for stage, text in enumerate(said, 1):
        lab.button("Step forward").click()
        assert lab.explanation() == text
        assert lab.root.get_by_role("slider", name="stage").input_value() == str(stage)
    assert "step 11 of 11, back to x, w" in lab.root.inner_text()
    close(lab.values("nodes"), rows_of(GradientLab()))
    lab.button("Step forward").click()  # there is no further
    lab.button("Step back").click()
    assert "step 10 of 11, back to p, b" in lab.root.inner_text()
    assert lab.texts("nodes")[0].split() == ["2.0000", "·", "·", "·", "·"]


def test_every_control(lab):
    revision = lab.rev
    for label, value in [("x, input", 0.5), ("w, weight", 2), ("b, bias", -3), ("t, target", -1)]:
        lab.slide(label, value)
    assert lab.rev == revision + 4
    close(lab.values("nodes"), rows_of(GradientLab(x=0.5, w=2, b=-3, t=-1)))
    assert lab.root.get_by_role("slider", name="x, input").get_attribute("aria-valuetext") == "0.5 as x, input"
    lab.root.get_by_role("radio", name="optimizers").check()
    lab.slide("rate", -1.5)  # the range moves the exponent
    lab.slide("κ, curvature", 20)
    lab.slide("steps", 7)
    lab.root.get_by_role("checkbox", name="momentum").uncheck()
    truth = GradientLab("descent", rate=0.032, curvature=20, steps=7)
    names = ["sgd", "adam", "adamw"]
    close(lab.values("points"), [[*truth.path(name)[-1], truth.losses(name)[-1]] for name in names])
    for chart in ("paths", "loss"):
        dots = lab.matrix(chart).locator("circle[data-r]").evaluate_all("cs => cs.map(c => Number(c.dataset.value))")
        assert dots == pytest.approx([f for name in names for f in truth.losses(name)])
    levels = lab.matrix("paths").locator("ellipse").evaluate_all(
        "es => es.map(e => [e.dataset.value, e.getAttribute('rx'), e.getAttribute('ry')].map(Number))"
    )  # fmt: skip
    assert len(levels) == 8
    assert [level / levels[0][0] for level, *_ in levels] == pytest.approx([3.0**-k for k in range(8)])
    lab.button("Four in a valley").click()
    assert lab.matrix("points").locator("tbody tr").count() == 4
    lab.button("Reset").click()
    assert lab.texts("nodes")[8].split()[0] == "0.5344"


def test_what_is_refused_changes_nothing(descent):
    before = descent.texts("points")
    enter(descent, "rate", 2)
    assert descent.alert() == "rate must be a number from 0.001 to 1"
    enter(descent, "steps", 201)
    assert descent.alert() == "steps must be a whole number from 0 to 200"
    assert descent.texts("points") == before
    descent.slide("κ, curvature", 100)
    enter(descent, "rate", 1)
    before = descent.texts("points")
    descent.slide("steps", 200)
    assert "SGD grows too large" in descent.alert() and "the last drawing stays" in descent.alert()
    assert descent.texts("points") == before
    assert descent.root.get_by_role("slider", name="steps").input_value() == "10"
    for name in ("SGD", "momentum"):
        descent.root.get_by_role("checkbox", name=name).uncheck()
    descent.slide("steps", 200)
    assert descent.alert() == "" and len(descent.texts("points")) == 2
    descent.root.get_by_role("checkbox", name="Adam", exact=True).uncheck()
    last = descent.root.get_by_role("checkbox", name="AdamW")
    last.click()
    assert last.is_checked() and descent.alert().startswith("Choose one optimizer at least")


def test_explanations(descent):
    descent.slide("steps", 1)
    said = {
        (0, 0): "SGD, step 1: x = (-4) - 0.1×(-4) = -3.6000",
        (1, 1): "momentum, step 1: y = 2 - 0.1×20 = 0.0000",
        (2, 1): "Adam, step 1: y = 2 - 0.1×20 / (√400 + ε) = 1.9000",
        (3, 0): "AdamW, step 1: x = (-4)×(1 - 0.1×0.01) - 0.1×(-4) / (√16 + ε) = -3.8960",
        (0, 2): "SGD: f = ½ ((-3.6)² + 10×0²) = 6.4800",
    }
    for (row, column), text in said.items():
        descent.cell("points", row, column).focus()
        assert descent.explanation() == text
    descent.cell("points", 1, 1).focus()
    assert descent.root.locator(".lm-text").inner_text().split("\n")[1] == "g = κ y = 10×2 = 20.0000, v = 0.9 v + g"
    descent.root.get_by_role("radio", name="one neuron").check()
    for column, text in enumerate(
        ["w = -1.0000", "∂p/∂w = x = 2.0000", "dL/dp = -0.2875", "dL/dw = ∂p/∂w × dL/dp = 2 × (-0.2875) = -0.5749",
         "(L(w + h) - L(w - h)) / 2h = -0.5749"]
    ):  # fmt: skip
        descent.cell("nodes", 1, column).focus()
        assert descent.explanation() == text


def test_keyboard_alone(descent):
    press, plot = descent.page.keyboard.press, descent.matrix("paths").locator(".lm-plot")
    plot.focus()
    assert descent.explanation() == "SGD, step 0: (-4.0000, 2.0000), f = 28.0000"
    for key in ("ArrowDown", "ArrowDown", "End", "Enter", "Home"):
        press(key)
    assert descent.explanation() == "Adam, step 10: (-3.0099, 1.0246), f = 9.7787"
    press("Escape")
    assert descent.explanation().startswith("Adam, step 0")
    assert [plot.get_attribute(f"data-{key}") for key in ("r", "c", "value")] == ["2", "0", "28"]
    descent.root.get_by_role("slider", name="steps").focus()
    press("ArrowLeft")
    assert descent.matrix("loss").locator("circle[data-r='0']").count() == 10
    descent.root.get_by_role("radio", name="optimizers").focus()
    press("ArrowLeft")
    descent.matrix("graph").locator(".lm-plot").focus()
    press("End")
    assert descent.explanation() == "dL/dL = 1: going back begins here"
    press("ArrowLeft")
    assert descent.explanation().startswith("dL/de = ")
    descent.button("Step back").focus()
    press("Space")
    assert descent.root.get_by_role("slider", name="stage").input_value() == "10"
    assert descent.matrix("nodes").locator("td[tabindex='0']").count() == 1
    assert descent.root.get_by_role("status").count() == 1 and descent.root.locator("output").count() == 0


def test_pointer(lab):
    lab.matrix("graph").locator("[data-c='1']").hover(force=True)
    assert lab.explanation().startswith("dL/dw = ")
    lab.root.get_by_role("radio", name="optimizers").check()
    lab.matrix("paths").locator("circle[data-r='1'][data-c='3']").click(force=True)
    assert lab.explanation().startswith("momentum, step 3")


@pytest.mark.parametrize("part", ["graph", "descent"])
def test_with_a_kernel(figures, part):
    page = figures([GradientLab(part)])[0].page
    truth = GradientLab(part, w=0.7, rate=0.05, steps=30)
    state = {key: getattr(truth, key) for key in (*truth.page_state(), "kernel")}
    page.evaluate(WITH_KERNEL, state)
    root = page.locator("[data-widget]").nth(1)
    root.and_(page.locator("[data-ready='1']")).wait_for()
    assert "checked by kernel: torch 2" in root.locator(".lm-badge").inner_text()
    cells = root.locator("[data-matrix='kernel'] td[data-value]")
    shown = cells.evaluate_all("ts => ts.map(t => Number(t.dataset.value))")
    assert len(shown) == (2 if part == "graph" else 8) and max(shown) < 1e-12
    cells.first.focus()
    assert root.locator(".lm-text").inner_text().startswith("companion.history.")
    # When a number moves, the kernel's answer is an old one until the new one comes.
    label, key, value = ("t, target", "t", 0.5) if part == "graph" else ("steps", "steps", 20)
    root.get_by_role("slider", name=label).fill(str(value))
    assert root.locator("[data-matrix='kernel']").count() == 0
    assert root.locator(".lm-badge").inner_text() == "computed in your browser"
    setattr(truth, key, value)
    page.evaluate("k => kernelSays(k)", truth.kernel)
    root.locator("[data-matrix='kernel']").wait_for()
    wrong = truth.kernel | {
        "by": {"torch": [[v + 1e-3 for v in row] for row in next(iter(truth.kernel["by"].values()))]}
    }
    page.evaluate("k => kernelSays(k)", wrong)
    page.wait_for_function("document.querySelectorAll(\"[data-matrix='kernel'] tbody tr\").length === 1")
    shown = root.locator("[data-matrix='kernel'] td[data-value]").evaluate_all("ts => ts.map(t => +t.dataset.value)")
    assert max(shown) == pytest.approx(1e-3, rel=1e-6)  # a difference would be seen
    assert page.problems == []


def test_the_kernel_may_answer_while_a_number_is_typed(lab):
    """The answer to the change before is drawn; what the reader is typing stays, and counts at Enter."""
    page, truth = lab.page, GradientLab("descent", steps=30)
    page.evaluate(WITH_KERNEL, {**truth.page_state(), "kernel": truth.kernel})
    root = page.locator(".lm-widget[data-ready='1']").last
    root.get_by_role("checkbox", name="Adam", exact=True).uncheck()
    steps = root.get_by_role("spinbutton", name="steps, number")
    steps.fill("100")
    page.evaluate(
        "k => kernelSays(k)", GradientLab("descent", steps=30, optimizers=("sgd", "momentum", "adamw")).kernel
    )
    root.locator("[data-matrix='kernel']").wait_for()  # it is drawn
    assert steps.input_value() == "100"
    steps.press("Enter")
    ends = [GradientLab("descent", steps=100).path(name)[-1] for name in ("sgd", "momentum", "adamw")]
    shown = root.locator("[data-matrix='points'] td[data-value]").evaluate_all("ts => ts.map(t => +t.dataset.value)")
    assert [shown[i : i + 2] for i in (0, 3, 6)] == [pytest.approx(end, abs=1e-9) for end in ends]
    # A number that is refused goes, and the present one comes back.
    steps.fill("1000")
    steps.blur()
    assert steps.input_value() == "100"
    assert page.problems == []


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (320, True)])
def test_axe_and_a_phone(figures, width, dark):
    lab = figures([GradientLab()], width=width, dark=dark)[0]
    assert lab.root.get_attribute("data-dark") == str(int(dark))
    for preset in ("Reset", "From the beginning", "Four in a valley", "Too fast for SGD"):
        lab.button(preset).click()
        assert lab.page.evaluate("document.documentElement.scrollWidth") <= width
        assert lab.violations() == []
    assert lab.page.problems == []


def test_a_redraw_does_not_stall(figures, record_property):
    for part, label, values in [
        ("graph", "w, weight", [i / 10 for i in range(40)]),
        ("descent", "κ, curvature", [10 + i / 2 for i in range(40)]),
    ]:
        lab = figures([GradientLab(part, steps=128, rate=0.01)])[0]
        cost = lab.redraw_ms(label, values)
        record_property(f"redraw_ms {part}", cost)
        print(f"{part}: {cost:.2f} ms")
        assert cost < STALL_MS


def test_two_figures_share_nothing(figures):
    one, two = figures([GradientLab(), GradientLab("descent")])
    before = two.texts("points")
    one.slide("w, weight", 3)
    one.root.get_by_role("radio", name="optimizers").check()
    one.slide("steps", 3)
    one.root.get_by_role("checkbox", name="SGD").uncheck()
    assert two.texts("points") == before
    assert two.root.get_by_role("checkbox", name="SGD").is_checked()
    assert one.page.problems == []


def test_states_that_are_none(lab):
    def problem(state):
        return lab.page.evaluate("s => lmWidgets.gradient_lab.render.math.problem(s)", state)

    good = GradientLab().page_state()
    assert problem(good) == "" and set(KEYS["graph"]) | set(KEYS["descent"]) <= set(good)
    for key, value in [
        ("part", "x"),
        ("x", "much"),
        ("w", 11),
        ("rate", 0),
        ("steps", 1.5),
        ("stage", 12),
        ("optimizers", ["sgdm"]),
    ]:
        assert problem(good | {key: value}) != ""
    assert all(problem(good | preset) == "" for preset in PRESETS)
