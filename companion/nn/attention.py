r"""Scaled dot-product attention (Vaswani et al. 2017, equation 1): the formula, a fused kernel, and many heads.

Letters in the shapes: B batch, T queries, S keys, H heads, D d_model, Dh d_head, Dv width of a value.
One mask language: bool, True = may attend. PyTorch's ``key_padding_mask`` says the opposite.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.config import Backend, check_heads
from companion.errors import require


class Position(Protocol):
    """Where a positional scheme meets attention: it turns q and k, or adds to the scores."""

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Q and k (B, H, T | S, Dh), turned by their positions."""

    def score_bias(self, T: int, S: int) -> Tensor | None:
        """What is added to the scores, broadcastable to (B, H, T, S), or None."""


def causal_mask(T: int, S: int | None = None, *, device: torch.device | str | None = None) -> Tensor:
    """(T, S) bool: query t may attend key s if and only if s <= t + S - T, so the last query sees the last key.

    >>> causal_mask(3).int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    >>> causal_mask(2, 4).int().tolist()
    [[1, 1, 1, 0], [1, 1, 1, 1]]
    """
    S = T if S is None else S
    require(T >= 1 and S >= 1, f"a mask needs at least one query and one key; got T={T}, S={S}")
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(diagonal=S - T)


def length_mask(lengths: Tensor, max_len: int | None = None) -> Tensor:
    """(B, T) bool: True where a token is real, that is t < lengths[b].

    For attention, insert the axes of heads and queries: ``length_mask(lengths)[:, None, None, :]``.

    >>> length_mask(torch.tensor([3, 1])).int().tolist()
    [[1, 1, 1], [1, 0, 0]]
    """
    require(lengths.dim() == 1, f"lengths must be one number a sequence, shape (B,); got {tuple(lengths.shape)}")
    require(
        not lengths.dtype.is_floating_point and lengths.dtype != torch.bool,
        f"lengths must be integers; got {lengths.dtype}; convert with lengths.long()",
    )
    longest = int(lengths.max())
    require(int(lengths.min()) >= 0, f"lengths must not be negative; got {lengths.tolist()}")
    max_len = longest if max_len is None else max_len
    require(longest <= max_len, f"a sequence has {longest} tokens, but max_len={max_len}; raise max_len or truncate")
    return torch.arange(max_len, device=lengths.device) < lengths[:, None]


def attention_weights(q: Tensor, k: Tensor, *, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    r"""How much each query takes from each key: ``softmax(q kᵀ / √d_k + bias)`` over the allowed keys.

    Args:
        q: queries, (..., T, Dh); leading dimensions are usually (B, H).
        k: keys, (..., S, Dh).
        mask: bool, broadcastable to (..., T, S); True = may attend.
        bias: added to the scaled scores, broadcastable to (..., T, S).

    Returns:
        (..., T, S). Each row is non-negative and sums to 1; a row with no allowed key is all zeros.

    Raises:
        ValueError: the shapes do not fit, or the mask is not boolean.

    >>> q = torch.tensor([[1.0, 0.0]])
    >>> k = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> [round(a, 4) for a in attention_weights(q, k)[0].tolist()]  # scores 1/√2 and 0
    [0.6698, 0.3302]
    """
    _check(q, k, mask=mask, bias=bias)
    scores = q @ k.mT / math.sqrt(q.size(-1))  # (..., T, S)
    if bias is not None:
        scores = scores + bias
    if mask is None:
        return scores.softmax(dim=-1)
    # The smallest finite number, not -inf: a row with no allowed key must not become 0/0.
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)  # (..., T, S)
    return scores.softmax(dim=-1).masked_fill(~mask, 0.0)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
    backend: Backend = "auto",
) -> Tensor:
    r"""Scaled dot-product attention, ``softmax(q kᵀ / √d_k) v``: each output is a weighted mean of the values.

    Args:
        q: queries, (..., T, Dh).
        k: keys, (..., S, Dh).
        v: values, (..., S, Dv).
        mask: bool, broadcastable to (..., T, S); True = may attend.
        bias: added to the scaled scores, broadcastable to (..., T, S).
        dropout: probability with which a weight is dropped (the others grow by 1 / (1 - dropout)).
        backend: ``"formula"`` is the equation, ``"fused"`` is PyTorch's one-kernel version of the same function,
            ``"auto"`` takes the faster of the two for this length, dtype and device.

    Returns:
        (..., T, Dv). A query with no allowed key gets zeros.

    Raises:
        ValueError: the shapes do not fit, the mask is not boolean, or the back-end is unknown.

    >>> q = k = torch.eye(2)
    >>> v = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> [[round(o, 4) for o in row] for row in attention(q, k, v, backend="formula").tolist()]
    [[1.6605, 2.6605], [2.3395, 3.3395]]
    """
    _check(q, k, v, mask=mask, bias=bias)
    require(0.0 <= dropout < 1.0, f"dropout={dropout} must be in [0, 1)")
    require(backend in get_args(Backend), f"backend={backend!r} is not known; choose one of {list(get_args(Backend))}")
    if backend == "auto":
        backend = faster_backend(q.size(-2), k.size(-2), q.dtype, q.device.type)
    if backend == "formula":
        return F.dropout(attention_weights(q, k, mask=mask, bias=bias), dropout) @ v
    if bias is not None:  # the kernel takes one attn_mask: fold the boolean mask into the additive bias
        mask = bias.to(q.dtype) if mask is None else bias.to(q.dtype).masked_fill(~mask, -math.inf)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def faster_backend(T: int, S: int, dtype: torch.dtype, device: str) -> Backend:
    """The back-end that measured faster: on a CPU two matrix products win on short sequences, elsewhere the kernel.

    Measured over forward and backward on two cores, 4,096 tokens: in float32 the formula is ahead up to a length of
    256, in bfloat16 up to 512.

    >>> faster_backend(64, 64, torch.float32, "cpu"), faster_backend(1024, 1024, torch.float32, "cpu")
    ('formula', 'fused')
    """
    if device != "cpu":
        return "fused"
    limit = 512 if dtype in (torch.bfloat16, torch.float16) else 256
    return "formula" if T * S <= limit * limit else "fused"


class MultiHeadAttention(nn.Module):
    r"""Attention in H subspaces at once (Vaswani et al. 2017, section 3.2.2).

    ``head_h = attention(x W_Q^h, c W_K^h, c W_V^h)`` and ``output = [head_1, ..., head_H] W_O``, where the context c is
    x itself (self-attention) or another sequence (cross-attention). Every projection has a bias.

    Args:
        d_model: width of a token's vector, D.
        n_heads: number of heads, H; divides ``d_model``.
        dropout: probability with which an attention weight is dropped in training.
        backend: see :func:`attention`.

    >>> layer = MultiHeadAttention(d_model=12, n_heads=3)
    >>> layer(torch.zeros(2, 5, 12)).shape
    torch.Size([2, 5, 12])
    >>> MultiHeadAttention(d_model=10, n_heads=3)
    Traceback (most recent call last):
    ...
    ValueError: d_model=10 must be a multiple of n_heads=3; try n_heads in [1, 2, 5, 10]
    """

    def __init__(self, d_model: int, n_heads: int, *, dropout: float = 0.0, backend: Backend = "auto") -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        self.d_model, self.n_heads, self.dropout = d_model, n_heads, dropout
        self.backend: Backend = backend
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(d_model, d_model) for _ in range(4))
        self.recorder: list[Tensor] | None = None  # set by record_attention

    def forward(
        self, x: Tensor, context: Tensor | None = None, *, mask: Tensor | None = None, position: Position | None = None
    ) -> Tensor:
        """Let every token of ``x`` (B, T, D) gather from ``context`` (B, S, D), by default ``x`` itself.

        Args:
            x: where the queries come from, (B, T, D).
            context: where keys and values come from, (B, S, D).
            mask: bool, broadcastable to (B, H, T, S); True = may attend.
            position: turns queries and keys, or adds to the scores; see :class:`Position`.

        Returns:
            (B, T, D).
        """
        context = x if context is None else context
        for name, tensor in (("x", x), ("context", context)):
            require(
                tensor.dim() == 3 and tensor.size(-1) == self.d_model,
                f"{name} must have the shape (batch, tokens, d_model={self.d_model}); got {tuple(tensor.shape)}",
            )
        q = self._split_heads(self.q_proj(x))  # (B, H, T, Dh)
        k = self._split_heads(self.k_proj(context))  # (B, H, S, Dh)
        v = self._split_heads(self.v_proj(context))  # (B, H, S, Dh)
        bias = None
        if position is not None:
            q, k = position.rotate(q, k)
            bias = position.score_bias(q.size(-2), k.size(-2))
        if self.recorder is not None:
            self.recorder.append(attention_weights(q, k, mask=mask, bias=bias).detach())
        dropout = self.dropout if self.training else 0.0
        heads = attention(q, k, v, mask=mask, bias=bias, dropout=dropout, backend=self.backend)  # (B, H, T, Dh)
        joined = heads.transpose(1, 2).flatten(-2)  # (B, T, D)
        output: Tensor = self.out_proj(joined)  # (B, T, D)
        return output

    def _split_heads(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        return x.view(B, T, self.n_heads, D // self.n_heads).transpose(1, 2)


@contextmanager
def record_attention(model: nn.Module) -> Iterator[list[Tensor]]:
    """Inside the block every :class:`MultiHeadAttention` of ``model`` appends its weights (B, H, T, S), in call order.

    The weights are those of the very forward pass that runs, before dropout; the pass itself does not change.

    >>> layer = MultiHeadAttention(d_model=4, n_heads=2)
    >>> with record_attention(layer) as maps:
    ...     _ = layer(torch.zeros(1, 3, 4))
    >>> [tuple(weights.shape) for weights in maps]
    [(1, 2, 3, 3)]
    """
    layers = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
    require(bool(layers), f"{type(model).__name__} holds no MultiHeadAttention, so there is nothing to record")
    before = [layer.recorder for layer in layers]
    maps: list[Tensor] = []
    for layer in layers:
        layer.recorder = maps
    try:
        yield maps
    finally:
        for layer, recorder in zip(layers, before, strict=True):
            layer.recorder = recorder


def _check(
    q: Tensor, k: Tensor, v: Tensor | None = None, *, mask: Tensor | None = None, bias: Tensor | None = None
) -> None:
    shapes = f"got q {tuple(q.shape)}, k {tuple(k.shape)}" + ("" if v is None else f", v {tuple(v.shape)}")
    values = k if v is None else v
    require(min(q.dim(), k.dim(), values.dim()) >= 2, f"q, k and v need at least the axes (tokens, width); {shapes}")
    require(q.size(-1) == k.size(-1), f"q and k must have the same width d_k; {shapes}")
    require(values.size(-2) == k.size(-2), f"there must be one value for each key; {shapes}")
    leading = _broadcast(q, k, values, shapes=shapes)
    target = (*leading, q.size(-2), k.size(-2))
    for name, extra in (("mask", mask), ("bias", bias)):
        require(
            extra is None or (extra.dim() <= len(target) and _fits(extra.shape, target)),
            f"{name} must broadcast to (..., T, S) = {target}; got {None if extra is None else tuple(extra.shape)}",
        )
    require(
        mask is None or mask.dtype == torch.bool,
        f"mask must be bool, True = may attend; got {None if mask is None else mask.dtype}; "
        "write mask.bool(), or pass numbers that are added to the scores as bias=",
    )


def _broadcast(*tensors: Tensor, shapes: str) -> list[int]:
    """The common leading axes, everything before (tokens, width)."""
    leading: list[int] = []
    for tensor in tensors:
        own = [1] * (len(leading) - tensor.dim() + 2) + list(tensor.shape[:-2])
        leading = [1] * (len(own) - len(leading)) + leading
        require(
            all(a == b or 1 in (a, b) for a, b in zip(own, leading, strict=True)),
            f"the leading axes of q, k and v must agree or be 1; {shapes}",
        )
        leading = [max(a, b) for a, b in zip(own, leading, strict=True)]
    return leading


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    return all(n in (1, m) for n, m in zip(shape[::-1], target[::-1], strict=False))
