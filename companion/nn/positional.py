r"""Positional encodings: sinusoidal, learned, rotary, ALiBi, none.

Each scheme acts at exactly one of three seams: it is added to the embeddings (``add_to``), it turns queries and keys
(``rotate``), or it is added to the scores (``score_bias``). At the other two it does nothing.

Letters in the shapes: B batch, T queries (tokens), S keys, H heads, D d_model, Dh d_head.
When there are fewer queries than keys, the queries are the last positions, as in :func:`companion.causal_mask`.
"""

import math

import torch
from torch import Tensor, nn

from companion.config import Pairing, TransformerConfig, check_at_least, check_choice
from companion.errors import require
from companion.nn.checks import check_length


def sinusoidal_table(max_len: int, d_model: int, *, base: float = 10_000.0, dtype: torch.dtype | None = None) -> Tensor:
    r"""(T, D): sines and cosines of wavelengths from 2π to about base · 2π (Vaswani et al. 2017, section 3.5).

    ``PE(t, 2i) = sin(t / base^(2i / D))`` and ``PE(t, 2i+1) = cos(t / base^(2i / D))``, where t counts the positions
    and i the sine-cosine pairs, 0 <= i < D/2. Computed in float64, then rounded to ``dtype`` (default: torch's).

    Raises:
        ValueError: ``d_model`` is odd.

    >>> [[round(x, 4) for x in row] for row in sinusoidal_table(3, 4, dtype=torch.float64).tolist()]
    [[0.0, 1.0, 0.0, 1.0], [0.8415, 0.5403, 0.01, 1.0], [0.9093, -0.4161, 0.02, 0.9998]]
    """
    require(
        d_model % 2 == 0,
        f"a sinusoidal table fills pairs of columns, but d_model={d_model} is odd; use d_model={d_model + 1} and drop "
        "the last column, or an even d_model",
    )
    angles = _angles(max_len, d_model, base)  # (T, D/2)
    table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)  # (T, D)
    return table.to(dtype or torch.get_default_dtype())


def rope_angles(max_len: int, d_head: int, *, base: float = 10_000.0, dtype: torch.dtype | None = None) -> Tensor:
    r"""(T, Dh/2): by how much position t turns pair i, ``t / base^(2i / Dh)`` (Su et al. 2021, equation 15).

    Computed in float64, then rounded to ``dtype`` (default: torch's).

    Raises:
        ValueError: ``d_head`` is odd.

    >>> rope_angles(3, 4, dtype=torch.float64).tolist()[2]
    [2.0, 0.02]
    """
    require(d_head % 2 == 0, f"rotary positions turn pairs, but d_head={d_head} is odd; use an even d_head")
    return _angles(max_len, d_head, base).to(dtype or torch.get_default_dtype())


def _angles(positions: int, width: int, base: float) -> Tensor:
    check_at_least("max_len", positions, 1)
    check_at_least("width", width, 2)
    require(base > 1.0, f"base={base} must be greater than 1: it sets the longest wavelength")
    frequencies = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.outer(torch.arange(positions, dtype=torch.float64), frequencies)


def apply_rope(x: Tensor, angles: Tensor, *, pairing: Pairing = "interleaved") -> Tensor:
    r"""Turn each pair of coordinates of ``x`` (..., T, Dh) by its angle (T, Dh/2) (Su et al. 2021, equation 34).

    ``(a, b) -> (a cos θ - b sin θ, a sin θ + b cos θ)``. The product of a turned query and a turned key depends on the
    difference of their positions only.

    Args:
        x: queries or keys.
        angles: rows of :func:`rope_angles` at the positions of ``x``.
        pairing: ``"interleaved"`` turns coordinates 2i and 2i+1 together, as in the paper; ``"half"`` turns i and
            i + Dh/2, as most published weights do. Both are the same up to a fixed reordering of the coordinates.

    Raises:
        ValueError: the shapes do not fit, or the pairing is unknown.

    >>> x = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    >>> quarter = torch.tensor([[math.pi / 2, 0.0]])
    >>> [round(c, 4) for c in apply_rope(x, quarter)[0].tolist()]
    [-0.0, 1.0, 0.0, 0.0]
    >>> [round(c, 4) for c in apply_rope(x, quarter, pairing="half")[0].tolist()]
    [-0.0, 0.0, 1.0, 0.0]
    """
    check_choice("pairing", pairing, Pairing)
    require(
        x.dim() >= 2 and angles.shape == (x.size(-2), x.size(-1) // 2) and x.size(-1) % 2 == 0,
        lambda: (
            f"angles must have the shape (T, Dh/2) for x (..., T, Dh), Dh even; got {tuple(angles.shape)} "
            f"for {tuple(x.shape)}"
        ),
    )
    return _turn(x, angles.cos().to(x.dtype), angles.sin().to(x.dtype), pairing)


def _turn(x: Tensor, cos: Tensor, sin: Tensor, pairing: Pairing) -> Tensor:
    if pairing == "interleaved":
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def alibi_slopes(n_heads: int) -> Tensor:
    r"""(H,): how fast each head forgets with distance (Press et al. 2022, section 3 and its published code).

    For H a power of two, a geometric sequence that starts at ``2^(-8/H)`` with that same ratio. Otherwise the slopes of
    the next smaller power n, then every other slope of 2n heads, from the first on.

    >>> alibi_slopes(8).tolist() == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
    True
    >>> alibi_slopes(3).tolist()
    [0.0625, 0.00390625, 0.25]
    """
    check_at_least("n_heads", n_heads, 1)
    power = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    between = [2 ** (-8 * (i + 1) / (2 * power)) for i in range(0, 2 * power, 2)]
    return torch.tensor(slopes + between[: n_heads - power], dtype=torch.float64).to(torch.get_default_dtype())


class NoPosition(nn.Module):
    """The identity at all three seams; every other scheme changes exactly one of them.

    >>> NoPosition().score_bias(3, 3) is None
    True
    """

    def add_to(self, x: Tensor) -> Tensor:
        """The embeddings ``x`` (B, T, D) with their positions."""
        return x

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, H, T, Dh) and keys (B, H, S, Dh), turned by their positions."""
        return q, k

    def score_bias(self, T: int, S: int) -> Tensor | None:
        """What is added to the scores, (H, T, S), or None."""
        return None


class Sinusoidal(NoPosition):
    """Adds :func:`sinusoidal_table` to the embeddings.

    >>> Sinusoidal(5, 4).add_to(torch.zeros(1, 3, 4)).shape
    torch.Size([1, 3, 4])
    """

    def __init__(self, max_len: int, d_model: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        self.table: Tensor
        self.register_buffer("table", sinusoidal_table(max_len, d_model, base=base), persistent=False)

    def add_to(self, x: Tensor) -> Tensor:
        """``x`` (B, T, D) plus the first T rows of the table."""
        check_length(x.size(-2), self.table.size(0))
        return x + self.table[: x.size(-2)]


class Learned(NoPosition):
    """Adds one learned vector for each position (Gehring et al. 2017; BERT and GPT-2 do this).

    A position that never occurred in training keeps its random vector: such a model does not extend to longer texts.

    >>> Learned(5, 4).table.weight.shape
    torch.Size([5, 4])
    """

    def __init__(self, max_len: int, d_model: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max_len, d_model)

    def add_to(self, x: Tensor) -> Tensor:
        """``x`` (B, T, D) plus the first T rows of the table."""
        check_length(x.size(-2), self.table.num_embeddings)
        return x + self.table.weight[: x.size(-2)]


class RoPE(NoPosition):
    """Turns queries and keys by :func:`rope_angles`; see :func:`apply_rope`.

    >>> q, k = RoPE(5, 4).rotate(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 5, 4))
    >>> q.shape, k.shape
    (torch.Size([1, 2, 3, 4]), torch.Size([1, 2, 5, 4]))
    """

    def __init__(self, max_len: int, d_head: int, *, base: float = 10_000.0, pairing: Pairing = "interleaved") -> None:
        super().__init__()
        check_choice("pairing", pairing, Pairing)
        self.pairing: Pairing = pairing
        self.cos: Tensor
        self.sin: Tensor
        require(d_head % 2 == 0, f"rotary positions turn pairs, but d_head={d_head} is odd; use an even d_head")
        angles = _angles(max_len, d_head, base)
        self.register_buffer("cos", angles.cos().to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("sin", angles.sin().to(torch.get_default_dtype()), persistent=False)

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, H, T, Dh) as the last T of S positions, keys (B, H, S, Dh) as all of them."""
        T, S = q.size(-2), k.size(-2)
        check_length(S, self.cos.size(0))
        require(T <= S, lambda: f"{T} queries at the last of {S} positions do not fit; give at least as many keys")
        cos, sin = self.cos[:S].to(q.dtype), self.sin[:S].to(q.dtype)
        return _turn(q, cos[S - T :], sin[S - T :], self.pairing), _turn(k, cos, sin, self.pairing)


class ALiBi(NoPosition):
    """Adds ``-slope · distance`` to the scores: no table, so any length (Press et al. 2022).

    The paper is causal, where distance is how far back a key lies. Without a causal mask, both directions count alike.

    >>> ALiBi(2).score_bias(2, 3)[0].tolist()
    [[-0.0625, 0.0, -0.0625], [-0.125, -0.0625, 0.0]]
    """

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.slopes: Tensor
        self.register_buffer("slopes", alibi_slopes(n_heads), persistent=False)

    def score_bias(self, T: int, S: int) -> Tensor:
        """(H, T, S) for queries at the last T of S positions."""
        queries = torch.arange(S - T, S, device=self.slopes.device)
        distance = (queries[:, None] - torch.arange(S, device=self.slopes.device)).abs()  # (T, S)
        bias = self.slopes[:, None, None] * -distance  # (H, T, S)
        return bias


def build_position(config: TransformerConfig) -> NoPosition:
    """The scheme that a configuration names.

    >>> type(build_position(TransformerConfig(vocab_size=9, position="rope"))).__name__
    'RoPE'
    """
    c = config
    match c.position:
        case "sinusoidal":
            return Sinusoidal(c.max_len, c.d_model, base=c.position_base)
        case "learned":
            return Learned(c.max_len, c.d_model)
        case "rope":
            return RoPE(c.max_len, c.d_head, base=c.position_base, pairing=c.rope_pairing)
        case "alibi":
            return ALiBi(c.n_heads)
        case "none":
            return NoPosition()
