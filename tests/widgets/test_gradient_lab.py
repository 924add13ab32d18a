"""The kernel's side of the gradient lab: against its specification, finite differences and PyTorch."""

import html
import json
import math
import re

import numpy as np
import pytest
import torch

from companion.widgets import GradientLab
from companion.widgets.gradient_lab import NODES, OPTIMIZERS, PRESETS


def test_the_graph_of_the_specification():
    lab = GradientLab()
    assert round(lab.values["L"], 4) == 0.5344
    assert [round(lab.gradients[key], 4) for key in "wbx"] == [-0.5749, -0.2875, 0.2875]


@pytest.mark.parametrize(
    ("name", "rate", "steps", "end"),
    [
        ("sgd", 0.1, 1, (-3.6, 0.0)),
        ("sgd", 0.18, 10, (-0.5498, 0.2147)),
        ("momentum", 0.02, 10, (-1.2285, 0.0088)),
        ("adam", 0.1, 1, (-3.9, 1.9)),
        ("adam", 0.1, 10, (-3.0099, 1.0246)),
    ],
)
def test_the_paths_of_the_specification(name, rate, steps, end):
    path = GradientLab("descent", rate=rate, steps=steps).path(name)
    assert path.shape == (steps + 1, 2)
    assert tuple(path[-1].round(4)) == end
    assert tuple(path[0]) == (-4.0, 2.0)


def test_a_rate_that_is_too_large():
    assert round(GradientLab("descent", rate=0.21, steps=50).path("sgd")[50, 1], 4) == 234.7817
    with pytest.raises(ValueError, match="SGD leaves the range of numbers in 200 steps at rate"):
        GradientLab("descent", rate=1.0, steps=200, curvature=100.0)
    assert np.isfinite(
        GradientLab("descent", rate=1.0, steps=200, curvature=100.0, optimizers=["adam"]).path("adam")
    ).all()


@pytest.mark.parametrize(("x", "w", "b", "t"), [(2.0, -1.0, 1.0, 1.0), (0.3, 2.5, -4.0, -0.7), (10.0, -10.0, 3.0, 0.0)])
def test_gradients_are_those_of_finite_differences(x, w, b, t):
    lab = GradientLab(x=x, w=w, b=b, t=t)
    for key in NODES:
        assert lab.gradients[key] == pytest.approx(lab.finite_differences[key], abs=1e-6)


def test_the_losses_are_those_of_the_path():
    lab = GradientLab("descent", curvature=7.0, steps=3)
    path = lab.path("adamw")
    assert lab.losses("adamw") == pytest.approx(0.5 * (path[:, 0] ** 2 + 7 * path[:, 1] ** 2))


def test_the_kernel_has_the_numbers_of_two_sources():
    lab = GradientLab(w=0.5)
    by = lab.kernel["by"]
    assert list(by) == ["companion.history.autograd", "torch.autograd"]
    assert by["torch.autograd"][0] == pytest.approx(list(lab.gradients.values()), abs=1e-15)
    assert lab.kernel["state"]["w"] == 0.5 and torch.__version__ in lab.kernel["device"]
    lab.part = "descent"
    lab.set_trait("rate", 0.05)
    by = lab.kernel["by"]
    assert list(by) == ["companion.history.optimizers", "torch.optim"]
    for j, name in enumerate(OPTIMIZERS):
        assert by["companion.history.optimizers"][j] == lab.path(name).ravel().tolist()
        assert by["torch.optim"][j] == pytest.approx(by["companion.history.optimizers"][j], rel=1e-12, abs=1e-12)
    assert lab.kernel["state"]["rate"] == 0.05
    lab.rate = 5.0  # out of range: nothing is claimed
    assert lab.kernel == {}
    assert "kernel" not in GradientLab().page_state()  # a page has no kernel


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": 11.0}, r"x=11\.0 must be from -10 to 10"),
        ({"w": math.nan}, "w=nan must be from -10 to 10"),
        ({"stage": 12}, "stage=12 must be from 0 to 11"),
        ({"curvature": 0.5}, r"curvature=0\.5 must be from 1 to 100"),
        ({"start": (1.0,)}, r"start=\[1\.0\] must be two numbers"),
        ({"start": (1.0, 6.0)}, r"start_y=6\.0 must be from -5 to 5"),
        ({"rate": 2.0}, r"rate=2\.0 must be from 0\.001 to 1"),
        ({"steps": 201}, "steps=201 must be from 0 to 200"),
        ({"optimizers": []}, r"optimizers=\[\] must be one or more of"),
        ({"optimizers": ["sgd", "sgd"]}, "each once"),
        ({"optimizers": ["rmsprop"]}, r"there is no optimizer \['rmsprop'\]; choose from \['sgd', 'momentum'"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradientLab(**arguments)


def test_presets_can_be_drawn():
    for preset in PRESETS:
        GradientLab(**{k: v for k, v in preset.items() if k not in ("label", "start_x", "start_y")})


def test_html_and_repr():
    lab = GradientLab()
    assert repr(lab) == "GradientLab(part=graph, x=2.0, w=-1.0, b=1.0, t=1.0)"
    markup = lab._repr_html_()
    assert markup == GradientLab()._repr_html_()
    assert '<th scope="row">w</th><td>-1.0000</td><td>-0.5749</td><td>-0.5749</td>' in markup
    state = json.loads(html.unescape(re.search(r"data-state='([^']*)'", markup)[1]))
    assert state == lab.page_state()
    descent = GradientLab("descent", steps=1)
    assert repr(descent) == "GradientLab(part=descent, curvature=10.0, rate=0.1, steps=1)"
    assert '<th scope="row">SGD</th><td>-3.6000</td><td>0.0000</td><td>6.4800</td>' in descent._repr_html_()
