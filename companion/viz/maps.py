"""Attention maps as pictures: dark is 0, light is 1, on one scale, so that two pictures can be compared."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from companion.errors import require

COLORS = "cividis"  # its lightness rises evenly, so it reads in black and white and for the color-blind
MAX_PRINTED = 10  # up to this many rows and columns the weight itself is printed into its cell


def attention_heatmap(
    weights: Any,
    rows: Sequence[str],
    cols: Sequence[str] | None = None,
    *,
    title: str = "attention weights",
    row_label: str = "query",
    col_label: str = "key",
    decimals: int = 2,
    values: bool | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw attention weights (T, S): one row a query, one column a key, on the fixed scale from 0 to 1.

    Args:
        weights: (T, S), each entry between 0 and 1.
        rows: T labels, the queries' tokens.
        cols: S labels, the keys' tokens; by default ``rows``.
        title: stands above the map.
        row_label: names the vertical axis.
        col_label: names the horizontal axis.
        decimals: digits of the printed weights.
        values: print the weight into each cell; by default where there are at most ten rows and columns.
        colorbar: draw the legend of the scale.
        ax: where to draw; by default a new figure.

    Returns:
        The axes that hold the map.

    Raises:
        ValueError: not two axes, labels that do not fit, or a weight outside 0..1.
    """
    cols = rows if cols is None else cols
    array = _as_weights(weights, axes=2, shape="(queries, keys)")
    T, S = array.shape
    require(len(rows) == T, f"one label a query: got {len(rows)} labels in rows for {T} queries")
    require(len(cols) == S, f"one label a key: got {len(cols)} labels in cols for {S} keys")
    if ax is None:
        _, ax = plt.subplots(figsize=(3.0 + 0.6 * S, 1.9 + 0.5 * T), layout="constrained")
    image = ax.imshow(array, cmap=COLORS, vmin=0.0, vmax=1.0, aspect="auto")
    ax.set_xticks(range(S), cols, rotation=45 if max(map(len, cols)) > 3 else 0)
    ax.set_yticks(range(T), rows)
    ax.set(title=title, xlabel=col_label, ylabel=row_label)
    if max(T, S) <= MAX_PRINTED if values is None else values:
        _print_values(ax, array, decimals)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label="weight")
    return ax


def head_grid(
    maps: Any,
    tokens: Sequence[str],
    keys: Sequence[str] | None = None,
    *,
    columns: int = 4,
    title: str = "one map a head",
) -> Figure:
    """Draw the maps of several heads, (H, T, S) or (1, H, T, S), on one scale: head 1 first, row by row.

    Args:
        maps: weights as :func:`companion.record_attention` gives them.
        tokens: T labels, the queries' tokens.
        keys: S labels, by default ``tokens``.
        columns: maps in a row of the picture.
        title: stands above the whole picture.

    Returns:
        The figure.

    Raises:
        ValueError: more than one sequence, labels that do not fit, or a weight outside 0..1.
    """
    keys = tokens if keys is None else keys
    array = np.asarray(maps.detach().cpu().double() if isinstance(maps, torch.Tensor) else maps)
    require(
        array.ndim == 3 or (array.ndim == 4 and array.shape[0] == 1),
        f"maps must have the shape (heads, queries, keys); got {array.shape}; pick one sequence with maps[0]",
    )
    array = _as_weights(array.reshape(array.shape[-3:]), axes=3, shape="(heads, queries, keys)")
    require(columns >= 1, f"columns={columns} must be at least 1")
    H, T, S = array.shape
    columns = min(columns, H)
    lines = math.ceil(H / columns)
    size = (1.2 + columns * (0.7 + 0.26 * S), 1.1 + lines * (0.7 + 0.26 * T))
    figure, grid = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for h, ax in enumerate(grid.flat):
        if h >= H:
            ax.set_axis_off()
            continue
        attention_heatmap(array[h], tokens, keys, title=f"head {h + 1}", values=False, colorbar=False, ax=ax)
        ax.tick_params(labelsize="small")
        ax.set_xticks(range(S), keys, rotation=90)
        ax.label_outer()
    figure.colorbar(grid[0, 0].images[0], ax=grid, label="weight")
    figure.suptitle(title)
    return figure


def _as_weights(weights: Any, *, axes: int, shape: str) -> NDArray[np.float64]:
    if isinstance(weights, torch.Tensor):
        weights = weights.detach().cpu().double().numpy()
    array = np.asarray(weights, dtype=np.float64)
    require(array.ndim == axes, f"weights must have the shape {shape}; got {array.shape}; pick one sequence or head")
    require(array.size > 0, f"weights must not be empty; got the shape {array.shape}")
    low, high = float(array.min()), float(array.max())
    require(
        low >= -1e-6 and high <= 1 + 1e-6,  # also false for NaN
        f"attention weights lie between 0 and 1; got {low:.4g} to {high:.4g}; draw the weights, not the scores",
    )
    return array


def _print_values(ax: Axes, array: NDArray[np.float64], decimals: int) -> None:
    colors = plt.get_cmap(COLORS)
    for (i, j), weight in np.ndenumerate(array):
        ink = "black" if _luminance(colors(weight)[:3]) > 0.179 else "white"  # the better contrast of the two
        ax.text(j, i, f"{weight:.{decimals}f}", ha="center", va="center", color=ink)


def _luminance(rgb: tuple[float, ...]) -> float:
    """The relative luminance of WCAG 2: black on a color beats white on it from 0.179 on."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
