"""The kernel's side of the positional bench."""

import html
import json
import math
import re

import pytest
import torch

from companion.nn.positional import sinusoidal_table
from companion.widgets import PositionalBench
from companion.widgets.positional_bench import PRESETS

LENGTH, D = 5, 6


def rounded(row):
    return [round(v, 4) for v in row.tolist()]


def test_the_numbers_of_the_specification():
    bench = PositionalBench(4, 3)
    assert [rounded(row) for row in bench.encoding] == [
        [0.0, 1.0, 0.0, 1.0],
        [0.8415, 0.5403, 0.01, 1.0],
        [0.9093, -0.4161, 0.02, 0.9998],
    ]
    assert bench.encoding[1, 3].item() == 0.9999500004166653
    bench.base = 100.0
    assert rounded(bench.encoding[1]) == [0.8415, 0.5403, 0.0998, 0.995]
    products = PositionalBench(8, 8).products
    assert rounded(products.diagonal()) == [4.0] * 8
    assert round(products[0, 1].item(), 4) == round(products[4, 5].item(), 4) == 3.5353


def test_it_is_the_packages_table():
    bench = PositionalBench(D, LENGTH, base=50.0)
    torch.testing.assert_close(bench.encoding, sinusoidal_table(LENGTH, D, base=50.0, dtype=torch.float64))
    halves = PositionalBench(D, LENGTH, base=50.0, pairing="half")
    torch.testing.assert_close(halves.encoding[:, : D // 2], bench.encoding[:, 0::2])
    torch.testing.assert_close(halves.encoding[:, D // 2 :], bench.encoding[:, 1::2])
    torch.testing.assert_close(halves.products, bench.products)


def test_products_depend_on_the_distance_alone():
    products = PositionalBench(D, LENGTH).products
    for k in range(LENGTH):
        diagonal = products.diagonal(k)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))


def test_a_given_table_and_its_difference():
    g = torch.Generator().manual_seed(0)
    learned = torch.randn(LENGTH + 2, D, generator=g)
    bench = PositionalBench.from_table(learned, model="bert-book, learned positions", length=LENGTH)
    assert bench.computed_by == "kernel: bert-book, learned positions, cpu"
    torch.testing.assert_close(bench.encoding.float(), learned[:LENGTH])
    bench.show = "difference"
    torch.testing.assert_close(bench.encoding + bench.formula, learned[:LENGTH].double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(bench.products, bench.encoding @ bench.encoding.mT)


def test_presets_can_be_drawn():
    for preset in PRESETS:
        bench = PositionalBench(**{key: value for key, value in preset.items() if key != "label"})
        assert bench.encoding.shape == (preset["length"], preset["d_model"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d_model": 7}, "d_model=7 must be even, from 2 to 128"),
        ({"d_model": 130}, "d_model=130 must be even"),
        ({"length": 0}, "length=0 must be from 1 to 128"),
        ({"length": 129}, "length=129 must be from 1 to 128"),
        ({"base": 1.0}, "base=1.0 must be from 10 to 1000000"),
        ({"dims": [D]}, rf"dims=\[{D}\] must be one to 6 columns from 0 to {D - 1}"),
        ({"dims": []}, r"dims=\[\] must be one to 6 columns"),
        ({"dims": [0] * 7}, "must be one to 6 columns"),
        ({"show": "given"}, "the given table is 0×0, but the bench shows 5×6; use PositionalBench.from_table"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        PositionalBench(**{"d_model": D, "length": LENGTH} | arguments)


def test_a_table_of_another_shape():
    with pytest.raises(ValueError, match=r"values must have two axes .* got the shape \(4,\)"):
        PositionalBench.from_table(torch.zeros(4))
    with pytest.raises(ValueError, match="d_model=3 must be even"):
        PositionalBench.from_table(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="finite"):
        PositionalBench.from_table(torch.full((4, 2), math.inf))


def test_html_and_repr():
    bench = PositionalBench(4, 3)
    assert repr(bench) == "PositionalBench(d_model=4, length=3, base=10000.0)"
    markup = bench._repr_html_()
    assert "<td>0.8415</td><td>0.5403</td><td>0.0100</td><td>1.0000</td>" in markup
    state = json.loads(html.unescape(re.search(r"data-state='([^']*)'", markup)[1]))
    assert state == json.loads(json.dumps(bench.page_state()))
    assert markup == PositionalBench(4, 3)._repr_html_()
    large = PositionalBench(128, 128)._repr_html_()
    assert large.count("<tr>") == 17 and "its first rows and columns" in large
