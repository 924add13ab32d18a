"""Pictures of chapter 1: a line of time, models on a logarithmic scale, what a net says about a plane, small images."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from companion.errors import require

MARKERS = ("o", "s", "D", "^")  # one for each lane: told apart without color


def timeline(
    years: Sequence[float],
    labels: Sequence[str],
    lanes: Sequence[str],
    *,
    bands: Sequence[tuple[float, float, str]] = (),
    title: str,
) -> Figure:
    """Draw events down a line of time: each a mark at its year, joined to its label; the labels never overlap.

    Args:
        years: when each happened, in order.
        labels: what each was.
        lanes: which kind each is; up to four kinds, each with a mark of its own.
        bands: (from, to, name) of stretches to shade.
        title: stands above the picture.

    Raises:
        ValueError: the lists do not fit, the years are not in order, or there are more than four kinds.

    >>> len(timeline([1943, 1958], ["neuron", "perceptron"], ["a", "a"], title="t").axes[0].texts)
    2
    """
    kinds = list(dict.fromkeys(lanes))
    require(len(years) == len(labels) == len(lanes), f"{len(years)} years, {len(labels)} labels, {len(lanes)} lanes")
    require(list(years) == sorted(years), "the years must be in order; sort the events first")
    require(len(kinds) <= len(MARKERS), f"{len(kinds)} kinds; at most {len(MARKERS)} marks can be told apart")
    start, end = years[0] - 2, years[-1] + 2
    figure, ax = plt.subplots(figsize=(6.4, 1.0 + 0.235 * len(years)), layout="constrained")
    for low, high, name in bands:
        ax.axhspan(low, high, 0, 0.27, color="0.85", zorder=0)  # not under the labels, which stand elsewhere
        ax.text(-0.42, (low + high) / 2, name, fontsize="x-small", ha="center", va="center", rotation=90)
    ax.plot([0, 0], [start, end], color="0.4", linewidth=1.0, zorder=1)
    for place, kind in enumerate(kinds):
        own = [year for year, lane in zip(years, lanes, strict=True) if lane == kind]
        ax.plot([0] * len(own), own, MARKERS[place], color=f"C{place}", label=kind, markersize=5, zorder=3)
    heights = np.linspace(start + 1, end - 1, len(years))
    for year, height, label in zip(years, heights, labels, strict=True):
        ax.plot([0.04, 0.28, 0.34], [year, height, height], color="0.6", linewidth=0.6, zorder=2)
        ax.text(0.36, height, label, fontsize="small", va="center")
    ax.set(title=title, xlim=(-0.6, 2.6), ylim=(end, start))
    ax.set_xticks([])
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=len(kinds), frameon=False)
    return figure


def landmark_chart(
    years: Sequence[float],
    values: Sequence[float],
    names: Sequence[str],
    *,
    filled: Sequence[bool] | None = None,
    title: str,
    y_label: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw named points over the years on a logarithmic scale; ``filled`` ones as disks, the others as rings.

    The names of the last ten years stand in a column at the side, joined to their points, so that none hides another.

    Raises:
        ValueError: the lists do not fit, or a value is not positive.

    >>> len(landmark_chart([1989, 2012], [1e4, 6e7], ["a", "b"], title="t", y_label="y").texts)
    2
    """
    filled = [True] * len(years) if filled is None else filled
    require(
        len(years) == len(values) == len(names) == len(filled),
        f"{len(years)} years, {len(values)} values, {len(names)} names, {len(filled)} marks",
    )
    require(all(value > 0 for value in values), "a logarithmic scale needs positive values")
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    column = max(years) + 2.5
    recent = [i for i, year in enumerate(years) if year > max(years) - 10]
    decades = np.log10(np.asarray(values, dtype=np.float64))
    gap = (decades.max() - decades.min()) / 20
    heights = dict(zip(recent, _apart(decades[recent], gap), strict=True))
    for i, (year, value, name, full) in enumerate(zip(years, values, names, filled, strict=True)):
        ax.plot(year, value, "o", color="C0", markerfacecolor="C0" if full else "white", markersize=5, zorder=3)
        if i in heights:
            ax.plot([year, column], [value, 10 ** heights[i]], color="0.7", linewidth=0.6, zorder=1, label="_")
            ax.text(column + 0.3, 10 ** heights[i], name, fontsize="small", va="center")
        else:
            ax.text(year + 0.7, value, name, fontsize="small", va="center")
    ax.set(title=title, ylabel=y_label, xlim=(min(years) - 2, column + 10), yscale="log")
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    return ax


def _apart(heights: NDArray[np.float64], gap: float) -> list[float]:
    """The heights, moved so that no two are nearer than ``gap``; their order and their mean stay."""
    order = np.argsort(heights, kind="stable")
    moved = np.asarray(heights, dtype=np.float64)[order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    moved -= moved.mean() - heights.mean() if len(moved) else 0.0
    back = np.empty_like(moved)
    back[order] = moved
    return [float(height) for height in back]


def decision_plane(
    output: Callable[[NDArray[np.float64]], Any],
    points: Any,
    labels: Any,
    *,
    title: str,
    limits: tuple[float, float] = (-0.4, 1.4),
    ax: Axes | None = None,
) -> Axes:
    """Shade a square of the plane by the sign of ``output``, (N, 2) -> (N,), and mark labeled points in it.

    Args:
        output: positive where the model says yes.
        points: (N, 2).
        labels: for each point whether it should be a yes.
        title: stands above the picture.
        limits: of both axes.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: the points are not pairs, or the labels do not fit.

    >>> len(decision_plane(lambda x: x[:, 0] - 0.5, [[0, 0], [1, 0]], [False, True], title="t").lines)
    2
    """
    places, yes = np.asarray(points, dtype=np.float64), np.asarray(labels, dtype=bool)
    require(places.ndim == 2 and places.shape[1] == 2, f"points must have the shape (N, 2); got {places.shape}")
    require(len(yes) == len(places), f"{len(yes)} labels for {len(places)} points")
    if ax is None:
        _, ax = plt.subplots(figsize=(3.2, 3.2), layout="constrained")
    side = np.linspace(*limits, 201)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    positive = (np.asarray(output(grid)).reshape(201, 201) > 0).astype(np.float64)
    ax.imshow(positive, extent=(*limits, *limits), origin="lower", cmap="Greys", vmin=0, vmax=3)
    for value, marker, name in ((True, "o", "yes"), (False, "x", "no")):
        own = places[yes == value]
        ax.plot(own[:, 0], own[:, 1], marker, color="C3" if value else "C0", markersize=8, label=name)
    ax.set(title=title, xlabel="first input", ylabel="second input")
    return ax


def image_row(images: Any, titles: Sequence[str], *, columns: int = 10, limits: tuple[float, float] = (0, 1)) -> Figure:
    """Draw square pictures (N, side·side), dark where they are large, each with its title.

    Raises:
        ValueError: the pictures are not square, or the titles do not fit.

    >>> len(image_row(np.eye(4), ["a", "b", "c", "d"]).axes)
    4
    """
    array = np.asarray(images, dtype=np.float64)
    side = round(array.shape[-1] ** 0.5) if array.ndim == 2 else 0
    require(array.ndim == 2 and side**2 == array.shape[1], f"pictures must be rows of side² numbers; got {array.shape}")
    require(len(titles) == len(array), f"{len(titles)} titles for {len(array)} pictures")
    columns = min(columns, len(array))
    rows = -(-len(array) // columns)
    size = (0.8 * columns, 1.0 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for ax in grid.flat:
        ax.set_axis_off()
    for ax, picture, name in zip(grid.flat, array, titles, strict=False):
        ax.imshow(picture.reshape(side, side), cmap="gray_r", vmin=limits[0], vmax=limits[1], interpolation="nearest")
        ax.set_title(name, fontsize="small")
    for ax in grid.flat[len(array) :]:
        ax.remove()
    return figure
