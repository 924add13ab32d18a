"""W6, the rotary dial: queries and keys that turn with their positions, and a score that sees only the distance."""

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import traitlets
from torch import Tensor

from companion.config import Pairing
from companion.errors import require
from companion.nn.positional import apply_rope, rope_angles
from companion.widgets.base import Widget, table

MAX_POSITION, WIDTHS = 256, (2, 4, 8)
PRESETS: list[dict[str, Any]] = [
    {"label": "Both 5 later", "m": 7, "n": 5},
    {"label": "Both 100 later", "m": 102, "n": 100},
    {"label": "Swapped", "m": 0, "n": 2},
    {"label": "m = n", "m": 2, "n": 2},
]


class RotaryDial(Widget):
    r"""Rotary positions (Su et al. 2021): ``(R_m q) · (R_n k)`` depends on m - n only.

    Pair i of a vector at position m turns by the angle ``m θ_i``, ``θ_i = base^(-2i / d)``. Turning keeps the length.

    Args:
        m: position of the query, 0 to 256.
        n: position of the key, 0 to 256.
        q: the query, 2, 4 or 8 numbers.
        k: the key, as many.
        base: 10 to 1,000,000.
        pairing: ``"interleaved"`` turns coordinates 2i and 2i+1 together, ``"half"`` turns i and i + d/2.

    Raises:
        ValueError: another number of coordinates, or a position out of range.

    >>> dial = RotaryDial()
    >>> dial
    RotaryDial(m=2, n=0, d=4)
    >>> round(dial.score, 4)
    7.2663
    >>> dial.m, dial.n = 102, 100
    >>> round(dial.score, 4)
    7.2663
    """

    name = "rotary_dial"

    m = traitlets.Int(2).tag(sync=True, page=True)
    n = traitlets.Int(0).tag(sync=True, page=True)
    q = traitlets.List(traitlets.Float()).tag(sync=True, page=True)
    k = traitlets.List(traitlets.Float()).tag(sync=True, page=True)
    base = traitlets.Float(10_000.0).tag(sync=True, page=True)
    pairing = traitlets.Enum(["interleaved", "half"], "interleaved").tag(sync=True, page=True)
    presets = traitlets.List(default_value=PRESETS).tag(sync=True, page=True)

    def __init__(
        self,
        m: int = 2,
        n: int = 0,
        *,
        q: Sequence[float] | Tensor = (1.0, 2.0, 3.0, 4.0),
        k: Sequence[float] | Tensor = (1.0, -1.0, 0.5, 2.0),
        base: float = 10_000.0,
        pairing: Pairing = "interleaved",
        **traits: Any,
    ) -> None:
        q, k = ([float(v) for v in vector] for vector in (q, k))
        super().__init__(m=m, n=n, q=q, k=k, base=base, pairing=pairing, **traits)
        self._check()

    def _check(self) -> None:
        d = len(self.q)
        require(
            d in WIDTHS and len(self.k) == d,
            f"q and k must both have 2, 4 or 8 numbers; got {d} and {len(self.k)}",
        )
        require(
            all(map(math.isfinite, [*self.q, *self.k])),
            f"q and k must hold finite numbers; got {list(self.q)} and {list(self.k)}",
        )
        for label, position in (("m", self.m), ("n", self.n)):
            require(0 <= position <= MAX_POSITION, f"{label}={position} must be from 0 to {MAX_POSITION}")
        require(10 <= self.base <= 1e6, f"base={self.base} must be from 10 to 1000000")

    @property
    def angles(self) -> Tensor:
        """By how much each pair turns in one step, (d/2,), float64."""
        self._check()
        return rope_angles(2, len(self.q), base=self.base, dtype=torch.float64)[1]

    @property
    def turned(self) -> tuple[Tensor, Tensor]:
        """R_m q and R_n k, (d,) each: :func:`companion.nn.positional.apply_rope`."""
        angles = self.angles
        pairing = cast(Pairing, self.pairing)
        q, k = (torch.tensor([list(v)], dtype=torch.float64) for v in (self.q, self.k))
        return (
            apply_rope(q, self.m * angles[None], pairing=pairing)[0],
            apply_rope(k, self.n * angles[None], pairing=pairing)[0],
        )

    @property
    def score(self) -> float:
        """(R_m q) · (R_n k), not scaled."""
        q, k = self.turned
        return float(q @ k)

    def _summary(self) -> dict[str, object]:
        return {"m": self.m, "n": self.n, "d": len(self.q)}

    def _fallback(self) -> str:
        q, k = self.turned
        columns = [str(i + 1) for i in range(len(q))]
        rows = ["q", f"q turned to m={self.m}", "k", f"k turned to n={self.n}"]
        vectors = table("Query and key", [list(self.q), q.tolist(), list(self.k), k.tolist()], rows, columns)
        return vectors + table("Score", [[self.score]], ["turned q · turned k"], ["value"])
