"""Pictures of positions: a table, a bias, and how a measure changes along a text."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from companion.errors import require
from companion.viz.maps import COLORS

# One look for each of up to six curves: in black and white they differ by dashes and markers.
STYLES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ((0, (5, 1, 1, 1, 1, 1)), "v"), ((0, (1, 1)), "x"))


def table_heatmap(
    table: Any,
    *,
    title: str,
    row_label: str = "position",
    col_label: str = "dimension",
    ax: Axes | None = None,
) -> Axes:
    """Draw signed numbers (T, D) on a scale that is symmetric around 0.

    Raises:
        ValueError: not two axes, or empty.

    >>> table_heatmap(torch.zeros(3, 4), title="nothing").get_title()
    'nothing'
    """
    array = _array(table)
    require(array.ndim == 2 and array.size > 0, f"the table must have two axes and an entry; got {array.shape}")
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    limit = float(np.abs(array).max()) or 1.0
    image = ax.imshow(array, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    ax.set(title=title, xlabel=col_label, ylabel=row_label)
    ax.figure.colorbar(image, ax=ax)
    return ax


def bias_grid(bias: Any, names: Sequence[str], *, columns: int = 4) -> Figure:
    """Draw one score bias for each head, (H, T, S), on one scale from the lowest to 0.

    Raises:
        ValueError: not three axes, a positive bias, or names that do not fit.

    >>> len(bias_grid(-torch.ones(2, 3, 3), ["a", "b"]).axes)  # two maps and the scale
    3
    """
    array = _array(bias)
    require(array.ndim == 3, f"bias must have the shape (heads, queries, keys); got {array.shape}")
    require(len(names) == len(array), f"one name a head: got {len(names)} names for {len(array)} heads")
    finite = array[np.isfinite(array)]
    require(bool((finite <= 0).all()), f"a bias of this kind is never positive; got {finite.max():.4g}")
    columns = min(columns, len(array))
    rows = -(-len(array) // columns)
    size = (1.2 + 1.7 * columns, 0.6 + 2.0 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax in grid.flat[len(array) :]:
        ax.set_axis_off()
    for ax, head, name in zip(grid.flat, array, names, strict=False):
        image = ax.imshow(np.ma.masked_invalid(head), cmap=COLORS, vmin=finite.min(), vmax=0.0)
        ax.set_facecolor("white")
        ax.set(title=name, xlabel="key", ylabel="query")
        ax.label_outer()
    figure.colorbar(image, ax=grid, label="added to the score")
    return figure


def curves(
    x: Any,
    lines: Mapping[str, Any],
    *,
    spread: Mapping[str, tuple[Any, Any]] | None = None,
    title: str,
    x_label: str,
    y_label: str,
    reference: tuple[str, float] | None = None,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw up to six named curves over the same ``x``, told apart by dashes and markers, not by color alone.

    Args:
        x: where the points stand.
        lines: the values of each curve, by name.
        spread: for some of the curves the lowest and highest values, drawn as a band.
        title: stands above the picture.
        x_label: names the horizontal axis.
        y_label: names the vertical axis.
        reference: (name, height) of one horizontal line to compare with.
        legend: draw the legend.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: more than six curves, or one that does not fit ``x``.

    >>> len(curves([1, 2], {"a": [0, 1], "b": [1, 0]}, title="", x_label="", y_label="").lines)
    2
    """
    require(1 <= len(lines) <= len(STYLES), f"{len(lines)} curves; at most {len(STYLES)} can be told apart")
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    places = _array(x)
    for (name, values), (dashes, marker) in zip(lines.items(), STYLES, strict=False):
        array = _array(values)
        require(array.shape == places.shape, f"{name}: got {array.shape} values for {places.shape} places")
        (line,) = ax.plot(places, array, linestyle=dashes, marker=marker if len(places) <= 16 else None, label=name)
        if spread is not None and name in spread:
            low, high = spread[name]
            ax.fill_between(places, _array(low), _array(high), color=line.get_color(), alpha=0.15, linewidth=0)
    if reference is not None:
        ax.axhline(reference[1], color="gray", linewidth=0.8, label=reference[0])
    ax.set(title=title, xlabel=x_label, ylabel=y_label)
    if legend:
        ax.legend(fontsize="small")
    return ax


def _array(values: Any) -> NDArray[np.float64]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)
