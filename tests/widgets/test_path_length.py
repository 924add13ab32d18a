"""The kernel's side of path length: the formulas against nets that are really walked, run and counted."""

import html
import json
import math
import re
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from companion.nn.attention import MultiHeadAttention
from companion.widgets import PathLength
from companion.widgets.path_length import PRESETS


def test_the_numbers_of_the_specification():
    figure = PathLength()
    assert figure.paths == {"rnn": 15, "cnn": 8, "dilated": 3, "attention": 1}
    assert round(figure.signals["rnn"], 4) == 0.2059
    assert [figure.operations[key] for key in ("attention", "rnn", "cnn")] == [16384, 65536, 196608]
    long = PathLength(n=64)
    assert (long.distance, long.paths) == (63, {"rnn": 63, "cnn": 32, "dilated": 4, "attention": 1})


def taps(architecture, row, k):
    """How far back the edges into this row reach."""
    return [tap * (k ** (row - 1) if architecture == "dilated" else 1) for tap in range(k)]


def walked(architecture, distance, k):
    """The least number of layers after which something of the first position has come as far as `distance`."""
    reached, layers = {0}, 0
    while distance not in reached:
        layers += 1
        reached = {at + step for at in reached for step in taps(architecture, layers, k)}
    return layers


@pytest.mark.parametrize("k", [2, 3, 5, 7])
def test_path_lengths_are_those_of_a_search_in_the_net(k):
    for distance in (1, 2, 3, 6, 7, 8, 9, 26, 27, 48, 49, 63):
        figure = PathLength(n=64, j=1 + distance, k=k)
        for architecture in ("cnn", "dilated"):
            assert figure.paths[architecture] == walked(architecture, distance, k)


@pytest.mark.parametrize("architecture", ["rnn", "cnn", "dilated", "attention"])
@pytest.mark.parametrize(("n", "i", "j", "k"), [(16, 1, 16, 3), (64, 1, 64, 2), (64, 5, 40, 7), (9, 8, 9, 4)])
def test_the_drawn_path_is_one_of_the_net(architecture, n, i, j, k):
    figure = PathLength(architecture, n=n, i=i, j=j, k=k)
    path = figure.path
    assert (path[0][1], path[-1][1]) == (i, j)
    assert len(path) - 1 == figure.paths[architecture]
    for (row, at), (above, to) in pairwise(path):
        if architecture == "rnn":
            assert (above, to) == (row, at + 1)
        else:
            assert above == row + 1
        if architecture in ("cnn", "dilated"):
            assert to - at in taps(architecture, above, k)


def test_the_signal_is_the_derivative_of_a_recurrence():
    figure = PathLength(n=20, i=4, j=17, w=0.8)
    x = torch.zeros(21, dtype=torch.float64, requires_grad=True)
    state = torch.zeros((), dtype=torch.float64)
    for position in range(1, figure.j + 1):
        state = figure.w * state + x[position]
    state.backward()
    assert figure.signals["rnn"] == pytest.approx(x.grad[figure.i].item(), rel=1e-12)


def test_a_signal_is_given_where_a_path_has_one_number():
    figure = PathLength(n=16, i=15, w=0.5)
    assert figure.signals == {"rnn": 0.5, "cnn": 1.0, "dilated": 1.0, "attention": 1.0}
    far = PathLength().signals
    assert math.isnan(far["cnn"]) and math.isnan(far["dilated"]) and far["attention"] == 1.0


def multiplications(run):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops() // 2  # it counts the additions too


def test_the_full_counts_are_those_of_real_layers():
    n, d, k = 16, 64, 3
    figure = PathLength(n=n, d=d, k=k)
    x = torch.zeros(1, n, d)
    layer = MultiHeadAttention(d, 4, backend="formula")
    assert figure.operations_with_projections["attention"] == multiplications(lambda: layer(x))
    convolution = torch.nn.Conv1d(d, d, k)
    padded = torch.zeros(1, d, n + k - 1)
    assert figure.operations_with_projections["cnn"] == multiplications(lambda: convolution(padded))
    cell, state = torch.nn.RNNCell(d, d), torch.zeros(1, d)
    assert figure.operations_with_projections["rnn"] == n * multiplications(lambda: cell(x[:, 0], state))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 65}, "n=65 must be from 2 to 64"),
        ({"n": 1}, "n=1 must be from 2 to 64"),
        ({"i": 16}, "i=16 and j=16: the path leads from an earlier position to a later one; choose 1 <= i < j <= 16"),
        ({"n": 8, "j": 9}, "i=1 and j=9"),
        ({"i": 0}, "i=0 and j=16"),
        ({"k": 1}, "k=1 must be from 2 to 7"),
        ({"w": 1.2}, r"w=1\.2 must be from 0\.5 to 1\.1"),
        ({"w": math.nan}, "w=nan must be"),
        ({"d": 4}, "d=4 must be from 8 to 512"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        PathLength(**arguments)


def test_presets_can_be_drawn():
    for preset in PRESETS:
        assert PathLength(**{key: value for key, value in preset.items() if key != "label"}).distance >= 1


def test_html_and_repr():
    figure = PathLength()
    assert repr(figure) == "PathLength(architecture=rnn, n=16, i=1, j=16)"
    markup = figure._repr_html_()
    assert markup == PathLength()._repr_html_()
    assert "<td>15</td><td>0.2059</td><td>65536</td><td>131072</td>" in markup
    assert "<td>8</td><td>–</td><td>196608</td>" in markup
    state = json.loads(html.unescape(re.search(r"data-state='([^']*)'", markup)[1]))
    assert state == figure.page_state()
