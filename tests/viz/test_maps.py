"""Attention maps: the numbers drawn are the numbers given, on one scale, readable."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from companion import MultiHeadAttention, record_attention
from companion.viz import attention_heatmap, head_grid
from companion.viz.maps import COLORS, _luminance

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    yield
    plt.close("all")


def weights(T, S):
    return torch.rand(T, S, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)


def test_the_map_holds_the_weights_on_the_scale_0_to_1():
    given = weights(3, 5)
    ax = attention_heatmap(given, list("abc"), list("vwxyz"), title="who")
    (image,) = ax.images
    assert np.allclose(image.get_array(), given.double())
    assert image.get_clim() == (0.0, 1.0)
    assert [t.get_text() for t in ax.get_yticklabels()] == list("abc")
    assert [t.get_text() for t in ax.get_xticklabels()] == list("vwxyz")
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("who", "key", "query")


def test_small_maps_print_their_weights_and_large_ones_do_not():
    given = weights(3, 4)
    ax = attention_heatmap(given, list("abc"), list("wxyz"), decimals=3)
    assert [t.get_text() for t in ax.texts] == [f"{w:.3f}" for w in given.double().flatten().tolist()]
    large = attention_heatmap(weights(11, 4), list("abcdefghijk"), list("wxyz"))
    assert len(large.texts) == 0
    assert len(attention_heatmap(given, list("abc"), list("wxyz"), values=False).texts) == 0


def test_printed_weights_stand_out_from_their_cell():
    ramp = torch.linspace(0, 1, 10)[None]
    ax = attention_heatmap(ramp, ["q"], list("abcdefghij"))
    for text, weight in zip(ax.texts, ramp[0].tolist(), strict=True):
        cell = _luminance(plt.get_cmap(COLORS)(weight)[:3])
        ink = {"black": 0.0, "white": 1.0}[text.get_color()]
        contrast = (max(cell, ink) + 0.05) / (min(cell, ink) + 0.05)
        assert contrast >= 4.5, (weight, contrast)


def test_lightness_rises_with_the_weight_so_the_map_reads_in_black_and_white():
    tones = [_luminance(plt.get_cmap(COLORS)(w)[:3]) for w in np.linspace(0, 1, 21)]
    assert tones == sorted(tones)


def test_it_draws_where_it_is_told_to():
    _, ax = plt.subplots()
    assert attention_heatmap(weights(2, 2), ["a", "b"], ax=ax, colorbar=False) is ax


@pytest.mark.parametrize(
    ("values", "rows", "cols", "message"),
    [
        (torch.rand(2, 3, 4), ["a"], None, r"\(queries, keys\); got \(2, 3, 4\)"),
        (weights(2, 3), ["a"], list("xyz"), "got 1 labels in rows for 2 queries"),
        (weights(2, 3), ["a", "b"], None, "got 2 labels in cols for 3 keys"),
        (torch.tensor([[5.0, -3.0]]), ["a"], ["x", "y"], "draw the weights, not the scores"),
        (torch.tensor([[torch.nan, 1.0]]), ["a"], ["x", "y"], "between 0 and 1"),
        (torch.zeros(0, 0), [], [], "must not be empty"),
    ],
)
def test_what_is_no_map_says_why(values, rows, cols, message):
    with pytest.raises(ValueError, match=message):
        attention_heatmap(values, rows, cols)


def test_the_grid_shows_every_head_of_a_real_layer_in_order():
    torch.manual_seed(0)
    layer = MultiHeadAttention(d_model=12, n_heads=6)
    with torch.no_grad(), record_attention(layer) as maps:
        layer(torch.randn(1, 3, 12))
    figure = head_grid(maps[0], list("abc"), columns=4)
    drawn = [ax for ax in figure.axes if ax.get_title().startswith("head")]
    assert [ax.get_title() for ax in drawn] == [f"head {h}" for h in range(1, 7)]
    for head, ax in zip(maps[0][0], drawn, strict=True):
        assert np.allclose(ax.images[0].get_array(), head.double())
        assert ax.images[0].get_clim() == (0.0, 1.0)


def test_the_grid_takes_cross_attention_and_refuses_a_batch():
    figure = head_grid(torch.full((2, 2, 3), 1 / 3), ["a", "b"], ["x", "y", "z"], title="across")
    assert figure.get_suptitle() == "across"
    with pytest.raises(ValueError, match=r"pick one sequence with maps\[0\]"):
        head_grid(torch.full((2, 2, 3, 3), 1 / 3), list("abc"))
    with pytest.raises(ValueError, match="columns=0"):
        head_grid(torch.full((2, 2, 2), 0.5), ["a", "b"], columns=0)
