"""W5, the positional encoding bench: the sinusoidal table, its dot products and its curves."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import traitlets
from torch import Tensor

from companion.config import Pairing
from companion.errors import require
from companion.nn.positional import sinusoidal_table
from companion.widgets.base import Matrix, Numbers, Widget, matrix, table

View = Literal["matrix", "dot", "distance", "curves"]
MAX_WIDTH, MAX_LENGTH, MAX_CURVES = 128, 128, 6

_SMALL = {"d_model": 4, "length": 3, "base": 10_000.0, "pairing": "interleaved", "show": "formula"}
PRESETS: list[dict[str, Any]] = [
    {"label": "The source's example", **_SMALL, "view": "matrix"},
    {"label": "The same, base 100", **_SMALL, "base": 100.0, "view": "matrix"},
    {"label": "128 positions", **_SMALL, "d_model": 128, "length": 128, "view": "matrix"},
]


class PositionalBench(Widget):
    r"""The sinusoidal table of Vaswani et al. 2017, section 3.5, with every number explained.

    ``P[p, 2i] = sin(p ω_i)``, ``P[p, 2i+1] = cos(p ω_i)``, ``ω_i = base^(-2i / d)``, so that
    ``P_p · P_q = Σ_i cos((p - q) ω_i)`` depends on the distance alone.

    Args:
        d_model: width, even, 2 to 128.
        length: number of positions, 1 to 128.
        base: 10 to 1,000,000.
        pairing: ``"interleaved"`` sines and cosines, as in the paper, or first all sines, ``"half"``.
        view: ``"matrix"``, ``"dot"`` (products of positions), ``"distance"`` (the first row of those as a curve), or
            ``"curves"`` of the dimensions in ``dims``.
        dims: one to six columns for the curves.

    Raises:
        ValueError: an odd width, or a number out of range.

    >>> bench = PositionalBench(d_model=4, length=3)
    >>> bench
    PositionalBench(d_model=4, length=3, base=10000.0)
    >>> [round(v, 4) for v in bench.encoding[1].tolist()]
    [0.8415, 0.5403, 0.01, 1.0]
    """

    name = "positional_bench"

    d_model = traitlets.Int(16).tag(sync=True, page=True)
    length = traitlets.Int(8).tag(sync=True, page=True)
    base = traitlets.Float(10_000.0).tag(sync=True, page=True)
    pairing = traitlets.Enum(["interleaved", "half"], "interleaved").tag(sync=True, page=True)
    view = traitlets.Enum(["matrix", "dot", "distance", "curves"], "matrix").tag(sync=True, page=True)
    dims = traitlets.List(traitlets.Int(), [0, 1, 2, 3]).tag(sync=True, page=True)
    show = traitlets.Enum(["formula", "given", "difference"], "formula").tag(sync=True, page=True)
    given = Matrix()
    computed_by = traitlets.Unicode().tag(sync=True, page=True)
    presets = traitlets.List(default_value=PRESETS).tag(sync=True, page=True)

    def __init__(
        self,
        d_model: int = 16,
        length: int = 8,
        *,
        base: float = 10_000.0,
        pairing: Pairing = "interleaved",
        view: View = "matrix",
        dims: Sequence[int] | None = None,
        **traits: Any,
    ) -> None:
        dims = list(range(min(4, d_model))) if dims is None else list(dims)
        state = {"d_model": d_model, "length": length, "base": base, "pairing": pairing, "view": view, "dims": dims}
        super().__init__(**state, **traits)
        self._check()

    @classmethod
    def from_table(cls, values: Numbers, *, model: str = "", length: int | None = None) -> "PositionalBench":
        """The bench on a table that a module holds, say a learned one, beside the formula and the difference.

        Args:
            values: (positions, width), at most 128 each, the width even.
            model: whose table it is, say "bert-book, learned positions".
            length: how many positions to show first, by default all.

        Raises:
            ValueError: the table has another shape, or a number that is not finite.

        >>> PositionalBench.from_table(torch.zeros(6, 4), model="toy").computed_by
        'kernel: toy, cpu'
        """
        given = matrix("values", values)
        where = str(values.device) if isinstance(values, Tensor) else "numpy"
        made_by = "kernel: " + ", ".join(filter(None, [model, where]))
        length = len(given) if length is None else length
        return cls(len(given[0]), length, show="given", given=given, computed_by=made_by)

    def _check(self) -> None:
        require(
            self.d_model % 2 == 0 and 2 <= self.d_model <= MAX_WIDTH,
            f"d_model={self.d_model} must be even, from 2 to {MAX_WIDTH}: sines and cosines come in pairs",
        )
        require(1 <= self.length <= MAX_LENGTH, f"length={self.length} must be from 1 to {MAX_LENGTH}")
        require(10 <= self.base <= 1e6, f"base={self.base} must be from 10 to 1000000")
        require(
            1 <= len(self.dims) <= MAX_CURVES and all(0 <= j < self.d_model for j in self.dims),
            f"dims={list(self.dims)} must be one to {MAX_CURVES} columns from 0 to {self.d_model - 1}",
        )
        require(
            self.show == "formula" or (len(self.given) >= self.length and len(self.given[0]) == self.d_model),
            f"the given table is {len(self.given)}×{len((self.given or [[]])[0])}, but the bench shows "
            f"{self.length}×{self.d_model}; use PositionalBench.from_table",
        )

    @property
    def formula(self) -> Tensor:
        """P, (length, d_model), float64: :func:`companion.nn.positional.sinusoidal_table` with its columns in order."""
        self._check()
        p = sinusoidal_table(self.length, self.d_model, base=self.base, dtype=torch.float64)
        return p if self.pairing == "interleaved" else torch.cat([p[:, 0::2], p[:, 1::2]], dim=-1)

    @property
    def encoding(self) -> Tensor:
        """What is shown, (length, d_model): the formula, the given table, or the given table minus the formula."""
        formula = self.formula
        if self.show == "formula":
            return formula
        given = torch.tensor(self.given[: self.length], dtype=torch.float64)
        return given if self.show == "given" else given - formula

    @property
    def products(self) -> Tensor:
        """P Pᵀ, (length, length): for the formula a function of the distance of two positions."""
        return self.encoding @ self.encoding.mT

    def _summary(self) -> dict[str, object]:
        return {"d_model": self.d_model, "length": self.length, "base": self.base}

    def _fallback(self) -> str:
        rows, columns = ([str(i) for i in range(min(n, 16))] for n in (self.length, self.d_model))
        values = self.encoding[: len(rows), : len(columns)].tolist()
        cut = "" if (len(rows), len(columns)) == (self.length, self.d_model) else ", its first rows and columns"
        return table(f"P, a row a position{cut}", values, rows, columns)
