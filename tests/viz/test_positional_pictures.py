"""Pictures of positions show the numbers that they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from companion import alibi_slopes, causal_mask, sinusoidal_table
from companion.nn.positional import ALiBi
from companion.viz.positional import STYLES, bias_grid, curves, table_heatmap


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_a_table_on_a_scale_that_is_symmetric():
    table = 3 * sinusoidal_table(7, 4)
    image = table_heatmap(table, title="t").images[0]
    assert np.allclose(image.get_array(), table)
    assert image.get_clim() == pytest.approx((-float(table.abs().max()), float(table.abs().max())))
    with pytest.raises(ValueError, match="two axes"):
        table_heatmap([1.0, 2.0], title="t")


def test_biases_on_one_scale_masked_cells_left_out():
    bias = ALiBi(4).score_bias(5, 5).masked_fill(~causal_mask(5), -torch.inf)
    figure = bias_grid(bias, [f"{s}" for s in alibi_slopes(4)])
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert len(images) == 4 and {image.get_clim() for image in images} == {(-1.0, 0.0)}
    assert images[0].get_array().mask.sum() == 10
    for wrong, message in ((bias[0], "shape"), (-bias, "never positive")):
        with pytest.raises(ValueError, match=message):
            bias_grid(wrong, ["a"] * len(wrong))
    with pytest.raises(ValueError, match="one name a head"):
        bias_grid(bias, ["a"])


def test_curves_differ_without_color():
    lines = {str(i): [i, i + 1] for i in range(len(STYLES))}
    ax = curves([1, 2], lines, spread={"0": ([0, 0], [1, 2])}, title="", x_label="", y_label="", reference=("r", 0.5))
    looks = {(str(line.get_linestyle()), str(line._unscaled_dash_pattern), line.get_marker()) for line in ax.lines[:-1]}
    assert len(looks) == len(STYLES)
    assert [line.get_ydata().tolist() for line in ax.lines[:-1]] == list(lines.values())
    assert ax.get_legend() is not None and len(ax.collections) == 1
    with pytest.raises(ValueError, match="7 curves"):
        curves([1], {str(i): [i] for i in range(7)}, title="", x_label="", y_label="")
    with pytest.raises(ValueError, match="for \\(2,\\) places"):
        curves([1, 2], {"a": [1]}, title="", x_label="", y_label="")
