r"""Threshold units: those of McCulloch and Pitts, which are wired by hand, and Rosenblatt's perceptron, which learns.

Letters in the shapes: N examples, D inputs, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from companion.errors import require

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def threshold_unit(excitatory: Sequence[int], inhibitory: Sequence[int] = (), *, threshold: int) -> int:
    """A McCulloch-Pitts neuron: 1 if enough inputs are active and none of the inhibitory ones is, else 0.

    One active inhibitory input is enough to silence it, whatever else is active (McCulloch & Pitts 1943, section 2).

    >>> threshold_unit([1, 1, 0], threshold=2), threshold_unit([1, 1, 0], [1], threshold=2)
    (1, 0)
    """
    return int(not any(inhibitory) and sum(excitatory) >= threshold)


def mp_and(a: int, b: int) -> int:
    """Both. Threshold 2.

    >>> [mp_and(a, b) for a in (0, 1) for b in (0, 1)]
    [0, 0, 0, 1]
    """
    return threshold_unit([a, b], threshold=2)


def mp_or(a: int, b: int) -> int:
    """At least one. Threshold 1.

    >>> [mp_or(a, b) for a in (0, 1) for b in (0, 1)]
    [0, 1, 1, 1]
    """
    return threshold_unit([a, b], threshold=1)


def mp_not(a: int) -> int:
    """The opposite: a unit that is always active (threshold 0) unless it is silenced.

    >>> mp_not(0), mp_not(1)
    (1, 0)
    """
    return threshold_unit([], [a], threshold=0)


def mp_xor(a: int, b: int) -> int:
    """One but not both: two units, and a third one that reads them. No single unit can do it.

    >>> [mp_xor(a, b) for a in (0, 1) for b in (0, 1)]
    [0, 1, 1, 0]
    """
    only_a = threshold_unit([a], [b], threshold=1)
    only_b = threshold_unit([b], [a], threshold=1)
    return mp_or(only_a, only_b)


@dataclass(frozen=True)
class PerceptronRun:
    """How a perceptron learned.

    Attributes:
        path: the weights after each correction, the bias last, (corrections + 1, D + 1).
        mistakes: how many examples were wrong when their turn came, one number an epoch.
        cycle: (first, later): two epochs that ended with the same weights, if there are such. The examples come in a
            fixed order, so from then on everything repeats: it will never learn them.
    """

    path: Array
    mistakes: tuple[int, ...]
    cycle: tuple[int, int] | None

    @property
    def weights(self) -> Array:
        """The last weights, (D + 1,)."""
        last: Array = self.path[-1]
        return last

    @property
    def corrections(self) -> int:
        """All mistakes together; each made one correction."""
        return len(self.path) - 1

    @property
    def converged(self) -> bool:
        """Whether the last epoch had no mistake."""
        return self.mistakes[-1] == 0


def with_bias(x: Array) -> Array:
    """``x`` (N, D) with a last column of ones (N, D + 1), whose weight is the bias.

    >>> with_bias(np.array([[0.5, 2.0]])).tolist()
    [[0.5, 2.0, 1.0]]
    """
    return np.hstack([x, np.ones((len(x), 1))])


def perceptron_output(weights: Array, x: Array) -> Labels:
    """+1 where ``w · x + b > 0``, else -1: (N,) for ``x`` (N, D) and ``weights`` (D + 1,), the bias last.

    >>> perceptron_output(np.array([1.0, 1.0, -1.5]), np.array([[1.0, 0.0], [1.0, 1.0]])).tolist()
    [-1, 1]
    """
    return np.where(with_bias(x) @ weights > 0, 1, -1)


def train_perceptron(x: Array, y: Labels, *, max_epochs: int = 100) -> PerceptronRun:
    r"""Rosenblatt's error-correction procedure (Rosenblatt 1962; the perceptron itself: Rosenblatt 1958).

    From ``w = 0``, the examples in their order, again and again: where ``y (w · x) <= 0``, ``w <- w + y x``; elsewhere
    nothing. It ends with the first epoch without a mistake, or at a cycle.

    Args:
        x: the examples, (N, D); a bias is added.
        y: +1 or -1 for each, (N,).
        max_epochs: how often all examples are shown at most.

    Raises:
        ValueError: a label is neither +1 nor -1.

    >>> corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> run = train_perceptron(corners, np.array([-1, -1, -1, 1]))  # AND
    >>> run.weights.tolist(), run.mistakes
    ([3.0, 2.0, -4.0], (2, 3, 3, 2, 2, 3, 2, 1, 0))
    >>> run = train_perceptron(corners, np.array([-1, 1, 1, -1]))  # XOR
    >>> run.converged, run.cycle
    (False, (0, 1))
    """
    _check_labels(x, y)
    inputs = with_bias(x)
    path = [np.zeros(inputs.shape[1])]
    seen = {path[0].tobytes(): 0}  # weights at the end of an epoch -> that epoch
    mistakes: list[int] = []
    for epoch in range(1, max_epochs + 1):
        before = len(path)
        for row, label in zip(inputs, y, strict=True):
            if label * (path[-1] @ row) <= 0:
                path.append(path[-1] + label * row)
        mistakes.append(len(path) - before)
        first = seen.setdefault(path[-1].tobytes(), epoch)
        if mistakes[-1] == 0:
            break
        if first < epoch:
            return PerceptronRun(np.array(path), tuple(mistakes), (first, epoch))
    return PerceptronRun(np.array(path), tuple(mistakes), None)


def novikoff_bound(x: Array, y: Labels, direction: Array) -> float:
    r"""How many corrections a perceptron can need at most, ``(R / γ)²`` (Novikoff 1962).

    ``R`` is the length of the longest example, its bias input included, and ``γ`` the smallest ``y (u · x)`` for the
    unit vector ``u`` along ``direction`` (D + 1,). Any direction that separates the classes gives a bound, the one with
    the widest margin the best.

    Raises:
        ValueError: the direction does not separate the classes.

    >>> corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> round(novikoff_bound(corners, np.array([-1, -1, -1, 1]), np.array([2.0, 2.0, -3.0])), 4)
    51.0
    """
    _check_labels(x, y)
    inputs = with_bias(x)
    margin = float((y * (inputs @ direction)).min() / np.linalg.norm(direction))
    require(
        margin > 0,
        lambda: f"the direction leaves an example on the wrong side (margin {margin:.4g}); take one that separates all",
    )
    return float((inputs**2).sum(axis=1).max() / margin**2)


def separable_points(n: int, *, margin: float, generator: np.random.Generator) -> tuple[Array, Labels, Array]:
    """Points in a square that a line separates with room to spare, and that line.

    Returns:
        ``x`` (n, 2) with coordinates from -1 to 1, ``y`` (n,) of +1 and -1, and the unit vector (3,), bias 0, with
        ``y (u · x) >= margin`` for every point.

    >>> x, y, direction = separable_points(50, margin=0.1, generator=np.random.default_rng(0))
    >>> bool((y * (x @ direction[:2]) >= 0.1).all())
    True
    """
    require(0 <= margin < 0.5, f"margin={margin}; a square of half-width 1 has room for 0 to 0.5")
    angle = generator.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(angle), np.sin(angle), 0.0])
    points = generator.uniform(-1, 1, size=(20 * n, 2))
    side = points @ direction[:2]
    kept = np.flatnonzero(np.abs(side) >= margin)[:n]
    return points[kept], np.where(side[kept] > 0, 1, -1), direction


def train_perceptrons(
    x: Array, labels: Labels, *, n_classes: int = 10, epochs: int = 10, generator: np.random.Generator
) -> Array:
    """One perceptron a class, each taught "mine" against "not mine": weights (D + 1, C), the bias last.

    The answer for an example is the class with the largest ``w · x + b``. The order is drawn anew in each epoch.

    >>> x, labels = np.array([[0.0], [1.0], [2.0]]), np.array([0, 0, 1])
    >>> weights = train_perceptrons(x, labels, n_classes=2, generator=np.random.default_rng(0))
    >>> (with_bias(x) @ weights).argmax(axis=1).tolist()
    [0, 0, 1]
    """
    inputs, targets = with_bias(x), np.where(np.arange(n_classes) == labels[:, None], 1.0, -1.0)
    weights = np.zeros((inputs.shape[1], n_classes))
    for _ in range(epochs):
        for i in generator.permutation(len(inputs)):
            wrong = targets[i] * (inputs[i] @ weights) <= 0
            weights += np.outer(inputs[i], targets[i] * wrong)
    return weights


def _check_labels(x: Array, y: Labels) -> None:
    require(
        len(x) == len(y) and bool(np.isin(y, (-1, 1)).all()),
        lambda: f"{len(x)} examples need as many labels, each +1 or -1; got {sorted(set(y.tolist()))[:5]} ({len(y)})",
    )
