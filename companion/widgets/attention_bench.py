"""W3, the attention bench: attention by hand, every number editable, every cell explained."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import traitlets
from torch import Tensor

from companion.errors import require
from companion.nn.attention import attention_weights, causal_mask
from companion.widgets.base import Matrix, Numbers, Widget, matrix, table

Preset = Literal["default", "source", "source/10", "uniform", "causal"]
MAX_TOKENS, MAX_WIDTH = 16, 128

_X = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
_WQ, _WK, _WV = [[1.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]], [[1.0, 2.0], [3.0, 4.0]]
_SOURCE_X = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
_SOURCE_W = [[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]]


def _preset(label: str, x: Any, wq: Any, wk: Any, wv: Any, *, causal: bool = False) -> dict[str, Any]:
    weights = {"x": x, "wq": wq, "wk": wk, "wv": wv}
    return {"label": label, "mode": "x", **weights, "scale": True, "causal": causal, "temperature": 1.0}


PRESETS: dict[str, dict[str, Any]] = {
    "default": _preset("Default", _X, _WQ, _WK, _WV),
    "source": _preset("The source's example", _SOURCE_X, *[_SOURCE_W] * 3),
    "source/10": _preset("The same, X ÷ 10", [[v / 10 for v in row] for row in _SOURCE_X], *[_SOURCE_W] * 3),
    "uniform": _preset("Uniform", _X, [[0.0, 0.0], [0.0, 0.0]], _WK, _WV),
    "causal": _preset("Causal", _X, _WQ, _WK, _WV, causal=True),
}


class AttentionBench(Widget):
    r"""Scaled dot-product attention on matrices that you can edit (Vaswani et al. 2017, equation 1).

    ``Q = X W_Q``, ``K = X W_K``, ``V = X W_V``, ``Z = Q Kᵀ / (√d_k τ) + M``, ``A = softmax(Z)``, ``O = A V``. In a
    notebook the figure and this object share their values: drag a slider, then read :attr:`weights` here.

    Args:
        x: one row a token, (n, d_model); the default is the book's small example.
        wq: (d_model, d_k).
        wk: (d_model, d_k).
        wv: (d_model, d_v).
        scale: divide the scores by √d_k.
        causal: a token sees itself and earlier tokens only.
        temperature: τ, from 0.1 to 10; the scores are divided by it.
        tokens: the words to label rows and columns with; by default q1, k1, ...

    Raises:
        ValueError: shapes that do not fit, fewer than 2 or more than 16 tokens, a temperature out of range.

    >>> bench = AttentionBench()
    >>> bench
    AttentionBench(n=3, d_model=2, d_k=2, d_v=2)
    >>> [round(a, 4) for a in bench.weights[2].tolist()]
    [0.14, 0.284, 0.576]
    >>> bench.temperature = 0.5
    >>> [round(a, 4) for a in bench.weights[2].tolist()]
    [0.0454, 0.1867, 0.7679]
    """

    name = "attention_bench"

    mode = traitlets.Enum(["x", "qkv"], "x").tag(sync=True, page=True)
    x, wq, wk, wv, q, k, v = (Matrix() for _ in range(7))
    scale = traitlets.Bool(True).tag(sync=True, page=True)
    causal = traitlets.Bool(False).tag(sync=True, page=True)
    temperature = traitlets.Float(1.0).tag(sync=True, page=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True, page=True)
    computed_by = traitlets.Unicode().tag(sync=True, page=True)
    presets = traitlets.Dict(PRESETS).tag(sync=True, page=True)

    def __init__(
        self,
        x: Numbers = _X,
        wq: Numbers = _WQ,
        wk: Numbers = _WK,
        wv: Numbers = _WV,
        *,
        scale: bool = True,
        causal: bool = False,
        temperature: float = 1.0,
        tokens: Sequence[str] = (),
        **traits: Any,
    ) -> None:
        weights = {} if traits.get("mode") == "qkv" else {"x": x, "wq": wq, "wk": wk, "wv": wv}
        switches = {"scale": scale, "causal": causal, "temperature": temperature, "tokens": list(tokens)}
        super().__init__(**weights, **switches, **traits)
        self._check()

    @classmethod
    def from_tensors(
        cls,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        tokens: Sequence[str] = (),
        model: str = "",
        causal: bool = False,
        scale: bool = True,
    ) -> "AttentionBench":
        """The bench on the queries, keys and values of a real head; its badge says where they come from.

        Args:
            q: queries of one head and one sequence, (n, d_k), n from 2 to 16, d_k up to 128.
            k: keys, (n, d_k).
            v: values, (n, d_v).
            tokens: the n words.
            model: what computed them, say "bert-book, layer 2, head 1".
            causal: whether the model is causal.
            scale: whether the model divides by √d_k.

        Raises:
            ValueError: the shapes do not fit, or there are too many tokens.

        >>> q, k, v = torch.eye(2), torch.eye(2), torch.tensor([[1.0], [3.0]])
        >>> bench = AttentionBench.from_tensors(q, k, v, tokens=["good", "film"], model="toy")
        >>> bench.computed_by
        'kernel: toy, cpu'
        """
        for label, tensor in (("q", q), ("k", k), ("v", v)):
            require(
                isinstance(tensor, Tensor) and tensor.dim() == 2,
                f"{label} must be a tensor (tokens, width) of one head; got "
                f"{tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__}; "
                "take one head of one sequence, as in q[0, 2]",
            )
        where = ", ".join(filter(None, [model, str(q.device)]))
        given: dict[str, Any] = {"q": matrix("q", q), "k": matrix("k", k), "v": matrix("v", v)}
        return cls(mode="qkv", computed_by=f"kernel: {where}", tokens=tokens, causal=causal, scale=scale, **given)

    @classmethod
    def preset(cls, name: Preset) -> "AttentionBench":
        """One of the figure's own examples, by name.

        >>> AttentionBench.preset("source").scores[0].tolist()
        [29.0, 59.0, 89.0]
        """
        require(name in PRESETS, f"there is no preset {name!r}; choose one of {list(PRESETS)}")
        return cls(**{key: value for key, value in PRESETS[name].items() if key != "label"})

    @traitlets.validate("temperature")
    def _temperature_in_range(self, proposal: dict[str, Any]) -> float:
        value = float(proposal["value"])
        require(0.1 <= value <= 10, f"temperature={value} must be from 0.1 to 10")
        return value

    def _check(self) -> None:
        inputs = ("x", "wq", "wk", "wv") if self.mode == "x" else ("q", "k", "v")
        shapes = {key: (len(getattr(self, key)), len((getattr(self, key) or [[]])[0])) for key in inputs}
        said = "got " + ", ".join(f"{key} {rows}×{columns}" for key, (rows, columns) in shapes.items())
        n, width = shapes[inputs[0]]
        require(2 <= n <= MAX_TOKENS, f"the bench takes 2 to {MAX_TOKENS} tokens; {said}")
        require(
            all(1 <= columns <= MAX_WIDTH for _, columns in shapes.values()),
            f"the bench takes widths from 1 to {MAX_WIDTH}; {said}",
        )
        rows = width if self.mode == "x" else n
        same = shapes["wq"][1] == shapes["wk"][1] if self.mode == "x" else shapes["q"] == shapes["k"]
        require(
            same and all(shapes[key][0] == rows for key in inputs[1:]),
            f"the shapes must be x (n, d), wq and wk (d, d_k), wv (d, d_v), or q and k (n, d_k), v (n, d_v); {said}",
        )
        require(
            not self.tokens or len(self.tokens) == n,
            f"{len(self.tokens)} tokens for {n} rows; give one word a row, or none",
        )

    @property
    def qkv(self) -> tuple[Tensor, Tensor, Tensor]:
        """Q (n, d_k), K (n, d_k) and V (n, d_v) in float64, as the figure now shows them."""
        self._check()
        if self.mode == "qkv":
            q, k, v = (torch.tensor(m, dtype=torch.float64) for m in (self.q, self.k, self.v))
            return q, k, v
        x, wq, wk, wv = (torch.tensor(m, dtype=torch.float64) for m in (self.x, self.wq, self.wk, self.wv))
        return x @ wq, x @ wk, x @ wv

    @property
    def scores(self) -> Tensor:
        """Q Kᵀ, (n, n), neither scaled nor masked."""
        q, k, _ = self.qkv
        return q @ k.mT

    @property
    def scaled_scores(self) -> Tensor:
        """Z = Q Kᵀ / (√d_k τ) + M, (n, n); -inf where masked."""
        divisor = (math.sqrt(self.qkv[0].size(-1)) if self.scale else 1.0) * self.temperature
        z = self.scores / divisor
        return z.masked_fill(~causal_mask(len(z)), -math.inf) if self.causal else z

    @property
    def weights(self) -> Tensor:
        """A, (n, n), each row sums to 1: computed by :func:`companion.nn.attention.attention_weights`."""
        q, k, _ = self.qkv
        factor = (1.0 if self.scale else math.sqrt(q.size(-1))) / self.temperature
        return attention_weights(q * factor, k, mask=causal_mask(len(q)) if self.causal else None)

    @property
    def entropy(self) -> Tensor:
        """Of each row of A, in bits, (n,): 0 is one token alone, log2(n) is all tokens alike."""
        a = self.weights
        bits: Tensor = -torch.special.xlogy(a, a).sum(-1) / math.log(2)
        return bits + 0.0  # no minus zero

    @property
    def output(self) -> Tensor:
        """O = A V, (n, d_v)."""
        return self.weights @ self.qkv[2]

    def _summary(self) -> dict[str, object]:
        q, _, v = self.qkv
        widths = {"d_model": len(self.x[0])} if self.mode == "x" else {}
        return {"n": len(q), **widths, "d_k": q.size(-1), "d_v": v.size(-1)}

    def _fallback(self) -> str:
        n = len(self.weights)
        rows = list(self.tokens) or [f"q{i + 1}" for i in range(n)]
        columns = list(self.tokens) or [f"k{i + 1}" for i in range(n)]
        widths = [str(j + 1) for j in range(self.qkv[2].size(-1))]
        weights = table("A, attention weights", self.weights.tolist(), rows, columns)
        return weights + table("O = A V, output", self.output.tolist(), rows, widths)
