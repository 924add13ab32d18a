"""W1, path length and forgetting: how many steps lie between two positions, what is left, and what a layer costs."""

import math
from typing import Any, Literal

import traitlets

from companion.errors import require
from companion.widgets.base import Widget, number, table

Architecture = Literal["rnn", "cnn", "dilated", "attention"]
NAMES: dict[str, str] = {"rnn": "RNN", "cnn": "CNN", "dilated": "dilated CNN", "attention": "attention"}
MAX_LENGTH, KERNELS, WEIGHTS, WIDTHS = 64, (2, 7), (0.5, 1.1), (8, 512)

_PLAIN = {"n": 16, "i": 1, "j": 16, "k": 3, "w": 0.9, "d": 64}
PRESETS: list[dict[str, Any]] = [
    {"label": "64 positions", **_PLAIN, "n": 64, "j": 64},
    {"label": "Neighbors", **_PLAIN, "i": 15},
    {"label": "w = 1.1", **_PLAIN, "architecture": "rnn", "n": 64, "j": 64, "w": 1.1},
    {"label": "Long and narrow", **_PLAIN, "architecture": "attention", "n": 64, "j": 64, "d": 8},
]


class PathLength(Widget):
    r"""The shortest path from position i to position j, by architecture (Vaswani et al. 2017, table 1).

    With ``D = j - i``: a recurrent net takes ``D`` steps; a causal convolution of kernel k needs ``⌈D / (k-1)⌉``
    layers; with dilations 1, k, k², ... the least m with ``k^m - 1 >= D``; attention one. A recurrent path multiplies
    what it carries by w in each step, so ``w^D`` of it arrives.

    Args:
        architecture: which net is drawn: ``"rnn"``, ``"cnn"``, ``"dilated"`` or ``"attention"``.
        n: number of positions, 2 to 64.
        i: where the path begins, 1 to j - 1.
        j: where it ends, up to n; by default n.
        k: size of the kernel, 2 to 7.
        w: recurrent weight, 0.5 to 1.1.
        d: width of the layers, 8 to 512.

    Raises:
        ValueError: a number out of range.

    >>> figure = PathLength()
    >>> figure
    PathLength(architecture=rnn, n=16, i=1, j=16)
    >>> figure.paths
    {'rnn': 15, 'cnn': 8, 'dilated': 3, 'attention': 1}
    >>> round(figure.signals["rnn"], 4)
    0.2059
    """

    name = "path_length"

    architecture = traitlets.Enum(list(NAMES), "rnn").tag(sync=True, page=True)
    n = traitlets.Int(16).tag(sync=True, page=True)
    i = traitlets.Int(1).tag(sync=True, page=True)
    j = traitlets.Int(16).tag(sync=True, page=True)
    k = traitlets.Int(3).tag(sync=True, page=True)
    w = traitlets.Float(0.9).tag(sync=True, page=True)
    d = traitlets.Int(64).tag(sync=True, page=True)
    presets = traitlets.List(default_value=PRESETS).tag(sync=True, page=True)

    def __init__(
        self,
        architecture: Architecture = "rnn",
        *,
        n: int = 16,
        i: int = 1,
        j: int | None = None,
        k: int = 3,
        w: float = 0.9,
        d: int = 64,
        **traits: Any,
    ) -> None:
        j = n if j is None else j
        super().__init__(architecture=architecture, n=n, i=i, j=j, k=k, w=w, d=d, **traits)
        self._check()

    def _check(self) -> None:
        require(2 <= self.n <= MAX_LENGTH, f"n={self.n} must be from 2 to {MAX_LENGTH}")
        require(
            1 <= self.i < self.j <= self.n,
            f"i={self.i} and j={self.j}: the path leads from an earlier position to a later one; "
            f"choose 1 <= i < j <= {self.n}",
        )
        for label, value, (low, high) in (("k", self.k, KERNELS), ("w", self.w, WEIGHTS), ("d", self.d, WIDTHS)):
            require(low <= value <= high, f"{label}={value} must be from {low} to {high}")

    @property
    def distance(self) -> int:
        """D = j - i."""
        self._check()
        return self.j - self.i

    @property
    def paths(self) -> dict[str, int]:
        """The number of steps or layers on the shortest path, by architecture."""
        distance, layers = self.distance, 0
        while self.k**layers - 1 < distance:
            layers += 1
        return {"rnn": distance, "cnn": math.ceil(distance / (self.k - 1)), "dilated": layers, "attention": 1}

    @property
    def path(self) -> list[tuple[int, int]]:
        """The drawn path, a (row, position) for each of its nodes; row 0 holds the inputs.

        >>> PathLength("dilated").path  # 15 = 0·1 + 2·3 + 1·9
        [(0, 1), (1, 1), (2, 7), (3, 16)]
        """
        steps = self.paths[self.architecture]
        if self.architecture == "rnn":
            return [(1, position) for position in range(self.i, self.j + 1)]
        if self.architecture == "attention":
            return [(0, self.i), (1, self.j)]
        if self.architecture == "cnn":
            return [(row, min(self.j, self.i + row * (self.k - 1))) for row in range(steps + 1)]
        # The digits of D in base k are the taps that the path takes: k^0, k^1, ... positions apart.
        return [(row, self.i + self.distance % self.k**row) for row in range(steps + 1)]

    @property
    def signals(self) -> dict[str, float]:
        """The factor that one path passes on: ``w^D`` for the RNN, 1 along a path of length 1, else not a number.

        The longer paths of a convolutional net pass through the weights of many layers, which w says nothing about.
        """
        others = {key: 1.0 if steps == 1 else math.nan for key, steps in self.paths.items()}
        return others | {"rnn": self.w**self.distance}

    @property
    def operations(self) -> dict[str, int]:
        """Multiplications a layer, to leading order, as in the paper's table: n d², k n d², n² d."""
        self._check()
        n, k, d = self.n, self.k, self.d
        return {"rnn": n * d**2, "cnn": k * n * d**2, "dilated": k * n * d**2, "attention": n**2 * d}

    @property
    def operations_with_projections(self) -> dict[str, int]:
        """All multiplications of a layer's matrix products.

        The recurrent net multiplies the input and the state by a matrix each. Attention multiplies by W_Q, W_K, W_V
        and W_O beside ``Q Kᵀ`` and ``A V``: ``4 n d² + 2 n² d``.
        """
        n, d = self.n, self.d
        return self.operations | {"rnn": 2 * n * d**2, "attention": 4 * n * d**2 + 2 * n**2 * d}

    def _summary(self) -> dict[str, object]:
        return {"architecture": self.architecture, "n": self.n, "i": self.i, "j": self.j}

    def _fallback(self) -> str:
        figures = (self.paths, self.signals, self.operations, self.operations_with_projections)
        rows = [[float(figure[key]) for figure in figures] for key in NAMES]
        columns = ["path", "signal", "operations, leading order", "with projections"]
        return table(f"From position {self.i} to {self.j}", rows, list(NAMES.values()), columns, _write)


def _write(value: float) -> str:
    if math.isnan(value):
        return "–"
    return str(int(value)) if value == int(value) else number(value)
