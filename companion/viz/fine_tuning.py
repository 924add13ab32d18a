"""Pictures and tables of fine-tuning: accuracy against the number of labels, how honest probabilities are, results."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from companion.errors import require
from companion.viz.positional import STYLES, _array


class ResultRow(Protocol):
    """A model with a number of labels, over its seeds, such as :class:`companion.experiments.imdb.Summary`."""

    @property
    def model(self) -> str:
        """Its name."""

    @property
    def labels(self) -> int:
        """How many it learned from."""

    @property
    def seeds(self) -> int:
        """How many times it was trained."""

    @property
    def accuracy(self) -> float:
        """The mean over these."""

    @property
    def spread(self) -> float | None:
        """Standard deviation of the accuracy."""

    @property
    def accuracy_without_shared(self) -> float | None:
        """Without texts that were seen in training."""

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Of training, the least and the most."""

    @property
    def bfloat16(self) -> int:
        """How many of the seeds were multiplied in bfloat16."""

    @property
    def parameters(self) -> float | None:
        """Of the model."""

    @property
    def trained(self) -> float | None:
        """How many of them."""

    @property
    def operations(self) -> float | None:
        """Of the training."""

    @property
    def ece(self) -> float | None:
        """Calibration error before the temperature."""

    @property
    def calibrated_ece(self) -> float | None:
        """And after."""


NONE = "–"
"""What stands in a table where there is no number."""
COLUMNS: Mapping[str, Callable[[ResultRow], str]] = {
    "labels": lambda r: f"{r.labels:,}",
    "seeds": lambda r: str(r.seeds),
    "accuracy": lambda r: f"{r.accuracy:.2%}",
    "spread": lambda r: _or_none(r.spread, "{:.2%}"),
    "without the shared": lambda r: _or_none(r.accuracy_without_shared, "{:.2%}"),
    "minutes": lambda r: NONE if r.seconds is None else _between(*(seconds / 60 for seconds in r.seconds)),
    "in bfloat16": lambda r: str(r.bfloat16),
    "parameters": lambda r: _or_none(r.parameters, "{:,.0f}"),
    "trained": lambda r: _or_none(r.trained, "{:,.0f}"),
    "operations": lambda r: _or_none(r.operations, "{:.1e}"),
    "calibration error": lambda r: _or_none(r.ece, "{:.2%}"),
    "with temperature": lambda r: _or_none(r.calibrated_ece, "{:.2%}"),
}
"""The columns that :func:`results_table` knows."""


def results_table(
    rows: Sequence[ResultRow], names: Mapping[str, str], *, columns: Sequence[str] = ("seeds", "accuracy", "spread")
) -> str:
    """A Markdown table, a line for each row; of the models only those that ``names`` has, under these names.

    Args:
        rows: what was measured; may be empty.
        names: what each model is called in the table.
        columns: of :data:`COLUMNS`.

    Raises:
        ValueError: an unknown column.

    >>> from types import SimpleNamespace
    >>> print(results_table([SimpleNamespace(model="nb", seeds=2, accuracy=0.5, spread=None)], {"nb": "linear"}))
    | model | seeds | accuracy | spread |
    |---|---|---|---|
    | linear | 2 | 50.00% | – |
    """
    unknown = sorted(set(columns) - set(COLUMNS))
    require(not unknown, f"there is no column {unknown}; choose from {list(COLUMNS)}")
    lines = [["model", *columns]]
    lines += [[names[r.model], *(COLUMNS[c](r) for c in columns)] for r in rows if r.model in names]
    body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([body[0], "|" + "---|" * len(lines[0]), *body[1:]])


def label_curves(
    rows: Sequence[ResultRow],
    names: Mapping[str, str],
    *,
    title: str,
    reference: tuple[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy against the number of labels, a line for each model that ``names`` has, with its spread as bars.

    What was measured once has no bar.

    Args:
        rows: what was measured, in any order.
        names: what each model is called, up to six.
        title: stands above the picture.
        reference: (name, accuracy) of one horizontal line to compare with.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: nothing of these models was measured, or they are too many to be told apart.
    """
    require(len(names) <= len(STYLES), f"{len(names)} models; at most {len(STYLES)} can be told apart")
    found = {model: sorted((r for r in rows if r.model == model), key=lambda r: r.labels) for model in names}
    require(any(found.values()), f"nothing is recorded of {list(names)}")
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for (model, own), (dashes, marker) in zip(found.items(), STYLES, strict=False):
        if own:
            ax.errorbar(
                [r.labels for r in own],
                [r.accuracy for r in own],
                yerr=[np.nan if r.spread is None else r.spread for r in own],
                linestyle=dashes,
                marker=marker,
                markersize=5,
                capsize=3,
                linewidth=1.2,
                label=names[model],
            )
    if reference is not None:
        ax.axhline(reference[1], color="gray", linewidth=0.8, label=reference[0])
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set(title=title, xlabel="labels to learn from", ylabel="accuracy")
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")
    return ax


def reliability(lines: Mapping[str, tuple[Any, Any]], *, title: str, bins: int = 10, ax: Axes | None = None) -> Axes:
    """Draw, for each bin of the probability of a guess, which share of the guesses was right; honest is the diagonal.

    Args:
        lines: by name the probabilities of the guesses, from 0.5 to 1 (N), and whether each was right (N); up to six.
        title: stands above the picture.
        bins: of equal width, from 0.5 to 1; those with fewer than five guesses are left out.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: too many lines, or not one truth for each probability.
    """
    require(1 <= len(lines) <= len(STYLES), f"{len(lines)} lines; at most {len(STYLES)} can be told apart")
    if ax is None:
        _, ax = plt.subplots(figsize=(4.8, 4.2), layout="constrained")
    ax.plot([0.5, 1], [0.5, 1], color="gray", linewidth=0.8, label="honest")
    edges = np.linspace(0.5, 1.0, bins + 1)
    for (name, (sure, right)), (dashes, marker) in zip(lines.items(), STYLES, strict=False):
        p, truth = _array(sure), _array(right)
        require(p.shape == truth.shape and p.ndim == 1, f"{name}: got {p.shape} probabilities and {truth.shape} truths")
        place = np.clip(np.digitize(p, edges, right=True) - 1, 0, bins - 1)
        full = [b for b in range(bins) if (place == b).sum() >= 5]
        ax.plot(
            [p[place == b].mean() for b in full],
            [truth[place == b].mean() for b in full],
            linestyle=dashes,
            marker=marker,
            label=name,
        )
    ax.set(title=title, xlabel="probability of the guess", ylabel="share that is right")
    ax.legend(fontsize="small")
    return ax


def _between(least: float, most: float) -> str:
    digits = 1 if least < 10 else 0
    shown = [f"{value:,.{digits}f}" for value in (least, most)]
    return "–".join(dict.fromkeys(shown))


def _or_none(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value)
