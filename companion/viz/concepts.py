"""Pictures of the basic ideas: which units share a weight, how a number was computed, where a descent goes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray

from companion.errors import require
from companion.viz.positional import STYLES

Point = tuple[float, float]
NODE = {"boxstyle": "circle,pad=0.35", "facecolor": "white", "edgecolor": "black"}


def wiring(
    places: Mapping[str, Point],
    links: Sequence[tuple[str, str, str]],
    *,
    title: str,
    legend: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw units and the links between them; links that share a weight share its name, its color and its dashes.

    Args:
        places: where each unit stands, by its name.
        links: (from, to, name of the weight); "" for one of the many weights that nobody shares.
        title: stands above the picture.
        legend: say which look is which weight.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: a link to a unit that is not there, or more than six names of weights.

    >>> ax = wiring({"x": (0, 0), "y": (1, 0), "h": (0, 1)}, [("x", "h", "a"), ("y", "h", "b")], title="one unit")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['a', 'b']
    """
    strangers = sorted({end for link in links for end in link[:2]} - set(places))
    require(not strangers, f"links to units without a place: {strangers}; places has {sorted(places)}")
    names = list(dict.fromkeys(name for _, _, name in links if name))
    require(len(names) <= len(STYLES), f"{len(names)} shared weights; at most {len(STYLES)} can be told apart")
    if ax is None:
        _, ax = plt.subplots(figsize=(4.0, 3.0), layout="constrained")
    looks = {name: {"color": f"C{i}", "linestyle": STYLES[i][0], "linewidth": 2.0} for i, name in enumerate(names)}
    looks[""] = {"color": "gray", "linestyle": "-", "linewidth": 0.7}
    for start, end, name in links:
        (x0, y0), (x1, y1) = places[start], places[end]
        ax.plot([x0, x1], [y0, y1], zorder=1, **looks[name])  # type: ignore[arg-type]  # a mixed dictionary
    for name, (x, y) in places.items():
        ax.text(x, y, name, ha="center", va="center", fontsize="small", bbox=NODE)
    if legend and names:
        handles = [ax.plot([], [], label=name, **looks[name])[0] for name in names]  # type: ignore[arg-type]
        ax.legend(handles=handles, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    ax.set(title=title)
    ax.margins(0.15)
    ax.set_axis_off()
    return ax


def computation(
    labels: Sequence[str], edges: Sequence[tuple[int, int]], *, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw a graph of values: left what was given, right the result, an arrow from each value to what used it.

    A value stands in the column after the last of its parents; what was given stands just before its first use.

    Args:
        labels: the text of each value, in an order in which parents come first.
        edges: (parent, child), as numbers in ``labels``.
        title: stands above the picture.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: an edge that goes back.

    >>> ax = computation(["a", "b", "a + b"], [(0, 2), (1, 2)])
    >>> [text.get_text() for text in ax.texts if text.get_text()]
    ['a', 'b', 'a + b']
    """
    require(
        all(0 <= parent < child < len(labels) for parent, child in edges),
        f"each edge must lead from a value to a later one among {len(labels)}; got {list(edges)}",
    )
    places = _layout(len(labels), edges)
    if ax is None:
        width, height = (max(p[axis] for p in places) for axis in (0, 1))
        _, ax = plt.subplots(figsize=(1.5 + 1.45 * width, 1.2 + 0.95 * height), layout="constrained")
    computed = {child for _, child in edges}
    boxes = []
    for i, (text, place) in enumerate(zip(labels, places, strict=True)):
        look = {"boxstyle": "round,pad=0.35" if i in computed else "square,pad=0.35", "facecolor": "white"}
        label = ax.text(*place, text, ha="center", va="center", fontsize="small", bbox=look, zorder=2)
        boxes.append(label.get_bbox_patch())
    for parent, child in edges:
        arrow = {"arrowstyle": "-|>", "color": "black", "patchA": boxes[parent], "patchB": boxes[child]}
        ax.annotate("", places[child], places[parent], arrowprops=arrow, zorder=1)
    ax.set(title=title)
    ax.set_xlim(-0.6, max(p[0] for p in places) + 0.6)
    ax.set_ylim(-0.6, max(p[1] for p in places) + 0.6)
    ax.set_axis_off()
    return ax


def _layout(n: int, edges: Sequence[tuple[int, int]]) -> list[Point]:
    """A column and a row for each of ``n`` values; the last one and what led to it by operations lie on row 0."""
    parents = [[p for p, c in edges if c == i] for i in range(n)]
    children = [[c for p, c in edges if p == i] for i in range(n)]
    column = [0] * n
    for i in range(n):
        column[i] = max((column[p] + 1 for p in parents[i]), default=0)
    for i in range(n):
        if not parents[i] and children[i]:
            column[i] = min(column[c] for c in children[i]) - 1
    rows: dict[int, int] = {}
    row = [0] * n
    for i in sorted(range(n), key=lambda i: (not parents[i], i)):  # results first, so that they get the lowest row
        row[i] = rows.get(column[i], 0)
        rows[column[i]] = row[i] + 1
    return [(float(c), float(r)) for c, r in zip(column, row, strict=True)]


def descents(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    paths: Mapping[str, Any],
    *,
    title: str,
    window: tuple[Point, Point],
    ax: Axes | None = None,
) -> Axes:
    """Draw lines of equal height of a function of two numbers, and named paths (steps, 2) over them.

    Args:
        function: points (..., 2) to heights (...).
        paths: at most six.
        title: stands above the picture.
        window: ((left, right), (bottom, top)).
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: too many paths, or one that is not (steps, 2).

    >>> ax = descents(lambda p: (p**2).sum(-1), {"a": [[1, 1], [0, 0]]}, title="", window=((-2, 2), (-2, 2)))
    >>> len(ax.lines)
    1
    """
    require(1 <= len(paths) <= len(STYLES), f"{len(paths)} paths; at most {len(STYLES)} can be told apart")
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    x, y = np.meshgrid(np.linspace(*window[0], 201), np.linspace(*window[1], 201))
    heights = function(np.stack([x, y], axis=-1))
    ax.contour(x, y, heights, levels=np.quantile(heights, np.linspace(0.02, 0.98, 12)), colors="lightgray", zorder=0)
    for (name, path), (dashes, marker) in zip(paths.items(), STYLES, strict=False):
        array = np.asarray(path, dtype=np.float64)
        require(array.ndim == 2 and array.shape[1] == 2, f"path {name} must have the shape (steps, 2); {array.shape}")
        ax.plot(*array.T, linestyle=dashes, marker=marker, markersize=3.5, label=name)
    ax.set(title=title, xlim=window[0], ylim=window[1], xlabel="x", ylabel="y")
    ax.legend(fontsize="small")
    return ax


def nested(names: Sequence[str], contents: Sequence[str], *, title: str, ax: Axes | None = None) -> Axes:
    """Draw sets that hold each other, the largest first, each with a line of what lies in it but in none of the next.

    Raises:
        ValueError: not one line for each set.

    >>> [text.get_text() for text in nested(["animals", "dogs"], ["ants", "poodles"], title="").texts]
    ['animals', 'ants', 'dogs', 'poodles']
    """
    require(len(names) == len(contents) >= 1, f"{len(names)} sets and {len(contents)} contents; give one for each")
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 0.6 + 0.75 * len(names)), layout="constrained")
    shades = plt.get_cmap("Blues")
    for depth, (name, content) in enumerate(zip(names, contents, strict=True)):
        left, top = 0.25 * depth, float(len(names) - depth)
        low = -0.12 * (len(names) - 1 - depth)
        box = FancyBboxPatch(
            (left, low),
            10.0 - 2 * left,
            top - low,
            boxstyle="round,pad=0,rounding_size=0.15",
            facecolor=shades(0.06 + 0.11 * depth),
            edgecolor="black",
        )
        ax.add_patch(box)
        ax.text(left + 0.25, top - 0.3, name, ha="left", va="center", fontweight="bold", color="black")
        ax.text(left + 0.25, top - 0.68, content, ha="left", va="center", fontsize="small", color="black")
    ax.set(title=title, xlim=(-0.1, 10.1), ylim=(-0.12 * len(names), len(names) + 0.1))
    ax.set_axis_off()
    return ax
