r"""Scaled dot-product attention (Vaswani et al. 2017, equation 1): the formula, a fused kernel, and many heads.

Letters in the shapes: B batch, T queries, S keys, H heads, D d_model, Dh d_head, Dv width of a value.
Masks are bool, True = may attend; see :mod:`companion.nn.masks`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.config import Backend, check_choice, check_dropout, check_heads
from companion.errors import require
from companion.nn.checks import check_attention, check_tokens
from companion.nn.dropout import dropout as drop
from companion.nn.masks import causal_mask, length_mask, with_causal
from companion.runtime import fast

__all__ = [
    "MultiHeadAttention",
    "Position",
    "attention",
    "attention_weights",
    "causal_mask",
    "faster_backend",
    "length_mask",
    "record_attention",
]


# The length from which the fused kernel is the faster one in training, in float32 on a CPU; see faster_backend.
_KERNEL_FROM = 256 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else 160

# From so many tokens for each coordinate of d_model on, q, k and v are one product in training.
_PACK_FROM = 4


class Position(Protocol):
    """Where a positional scheme meets attention: it turns q and k, or adds to the scores."""

    def rotate(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Q and k (B, H, T | S, Dh), turned by their positions."""

    def score_bias(self, T: int, S: int) -> Tensor | None:
        """What is added to the scores, broadcastable to (B, H, T, S), or None."""


def attention_weights(
    q: Tensor, k: Tensor, *, mask: Tensor | None = None, bias: Tensor | None = None, causal: bool = False
) -> Tensor:
    r"""How much each query takes from each key: ``softmax(q kᵀ / √d_k + bias)`` over the allowed keys.

    Args:
        q: queries, (..., T, Dh); leading dimensions are usually (B, H).
        k: keys, (..., S, Dh).
        mask: bool, broadcastable to (..., T, S); True = may attend.
        bias: added to the scaled scores, broadcastable to (..., T, S).
        causal: allow only what :func:`causal_mask` allows, too.

    Returns:
        (..., T, S). Each row is non-negative and sums to 1; a row with no allowed key is all zeros.

    Raises:
        ValueError: the shapes do not fit, or the mask is not boolean.

    >>> q = torch.tensor([[1.0, 0.0]])
    >>> k = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> [round(a, 4) for a in attention_weights(q, k)[0].tolist()]  # scores 1/√2 and 0
    [0.6698, 0.3302]
    """
    check_attention(q, k, k, mask=mask, bias=bias)
    mask = with_causal(mask, q, k) if causal else mask
    weights = _softmax_of_scores(q, k, mask=mask, bias=bias)  # (..., T, S)
    return weights if mask is None else weights.masked_fill(_hopeless(mask), 0.0)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
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
        causal: allow only what :func:`causal_mask` allows, too. Said this way, and not as a mask, it reaches PyTorch's
            causal kernel, which skips the forbidden half.
        dropout: probability with which a weight is dropped (the others grow by 1 / (1 - dropout)).
        backend: ``"formula"`` is the equation, ``"fused"`` is PyTorch's one-kernel version of the same function,
            ``"auto"`` takes the faster of the two, see :func:`faster_backend`.

    Returns:
        (..., T, Dv). A query with no allowed key gets zeros.

    Raises:
        ValueError: the shapes do not fit, the mask is not boolean, or the back-end is unknown.

    >>> q = k = torch.eye(2)
    >>> v = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> [[round(o, 4) for o in row] for row in attention(q, k, v, backend="formula").tolist()]
    [[1.6605, 2.6605], [2.3395, 3.3395]]
    """
    check_attention(q, k, v, mask=mask, bias=bias)
    check_dropout("dropout", dropout)
    check_choice("backend", backend, Backend)
    if backend == "auto":
        backend = faster_backend(q, k, dropout=dropout)
    if backend == "fused":
        return _fused(q, k, v, mask=mask, bias=bias, causal=causal, dropout=dropout)
    mask = with_causal(mask, q, k) if causal else mask
    weights = _softmax_of_scores(q, k, mask=mask, bias=bias)  # (..., T, S)
    output = drop(weights, dropout) @ v  # (..., T, Dv)
    return output if mask is None else output.masked_fill(_hopeless(mask), 0.0)


def faster_backend(q: Tensor, k: Tensor, *, dropout: float = 0.0) -> Backend:
    """The back-end that measured faster, by length, dtype, device and whether a gradient is wanted.

    On a GPU the kernel always wins. On a CPU, two matrix products and a softmax win on short sequences, and on all with
    dropout, because PyTorch's CPU kernel has none and falls back to a formula of its own. Lengths from which the kernel
    was taken (two cores, 4,096 tokens, heads of width 64): without gradients 64; with gradients in float32 256 where
    the vectors are 512 bits wide, but 160 where they are 256, since the products are slower there and the kernel is
    not; in bfloat16 768. With the fast paths switched off (:mod:`companion.runtime`) it is always the formula.

    >>> short, long = torch.zeros(64, 8, requires_grad=True), torch.zeros(1024, 8, requires_grad=True)
    >>> faster_backend(short, short), faster_backend(long, long), faster_backend(long, long, dropout=0.1)
    ('formula', 'fused', 'formula')
    """
    if not fast():
        return "formula"
    if q.device.type != "cpu":
        return "fused"
    if dropout > 0.0:
        return "formula"
    if q.dtype in (torch.bfloat16, torch.float16):
        kernel_from = 768
    else:
        trained = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad)
        kernel_from = _KERNEL_FROM if trained else 64
    return "formula" if q.size(-2) * k.size(-2) < kernel_from**2 else "fused"


def _softmax_of_scores(q: Tensor, k: Tensor, *, mask: Tensor | None, bias: Tensor | None) -> Tensor:
    """The equation. A row with no allowed key comes out uniform; the callers turn what follows from it into zeros."""
    # The queries are divided, not the scores: the same number, and for T > Dh the smaller tensor.
    scores = (q / math.sqrt(q.size(-1))) @ k.mT  # (..., T, S)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        # Finite, not -inf: a row with no allowed key must not become 0/0. Half the range, so that no sum overflows.
        forbidden = torch.finfo(scores.dtype).min / 2
        scores = scores + torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, forbidden)
    return scores.softmax(dim=-1)


def _fused(
    q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, bias: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    # The kernel's own flag is aligned to the first key when T != S, and it takes no mask beside it.
    if causal and mask is None and bias is None and q.size(-2) == k.size(-2):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
    mask = with_causal(mask, q, k) if causal else mask
    if bias is not None:  # the kernel takes one attn_mask: fold the boolean mask into the additive bias
        bias = bias.to(q.dtype)
        mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    if mask is not None and q.dim() == 4:  # with a mask of three axes the fast CPU kernel is not taken
        mask = mask.view((1,) * (4 - mask.dim()) + mask.shape)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def _hopeless(mask: Tensor) -> Tensor:
    """(..., T, 1): True for a query that may attend no key."""
    return ~mask.any(dim=-1, keepdim=True)


class MultiHeadAttention(nn.Module):
    r"""Attention in H subspaces at once (Vaswani et al. 2017, section 3.2.2).

    ``head_h = attention(x W_Q^h, c W_K^h, c W_V^h)`` and ``output = [head_1, ..., head_H] W_O``, where the context c is
    x itself (self-attention) or another sequence (cross-attention).

    Args:
        d_model: width of a token's vector, D.
        n_heads: number of heads, H; divides ``d_model``.
        dropout: probability with which an attention weight is dropped in training.
        backend: see :func:`attention`.
        bias: whether the four projections have a bias.

    >>> layer = MultiHeadAttention(d_model=12, n_heads=3)
    >>> layer(torch.zeros(2, 5, 12)).shape
    torch.Size([2, 5, 12])
    >>> MultiHeadAttention(d_model=10, n_heads=3)
    Traceback (most recent call last):
    ...
    ValueError: d_model=10 must be a multiple of n_heads=3; try n_heads in [1, 2, 5, 10]
    """

    def __init__(
        self, d_model: int, n_heads: int, *, dropout: float = 0.0, backend: Backend = "auto", bias: bool = True
    ) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        check_dropout("dropout", dropout)
        check_choice("backend", backend, Backend)
        self.d_model, self.n_heads, self.dropout = d_model, n_heads, dropout
        self.backend: Backend = backend
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(d_model, d_model, bias=bias) for _ in range(4)
        )
        self.recorder: list[Tensor] | None = None  # set by record_attention

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        position: Position | None = None,
    ) -> Tensor:
        """Let every token of ``x`` (B, T, D) gather from ``context`` (B, S, D), by default ``x`` itself.

        Args:
            x: where the queries come from, (B, T, D).
            context: where keys and values come from, (B, S, D).
            mask: bool, broadcastable to (B, H, T, S); True = may attend.
            causal: no token attends a later one; see :func:`attention`.
            position: turns queries and keys, or adds to the scores; see :class:`Position`.

        Returns:
            (B, T, D).

        Raises:
            ValueError: the shapes do not fit, or the mask is not boolean.
        """
        context = x if context is None else context
        check_tokens("x", x, self.d_model)
        check_tokens("context", context, self.d_model)
        if context is x and self._packs(x):
            q, k, v = self._packed_projections(x)  # each (B, H, T, Dh)
        else:
            q = self._split_heads(self.q_proj(x))  # (B, H, T, Dh)
            k = self._split_heads(self.k_proj(context))  # (B, H, S, Dh)
            v = self._split_heads(self.v_proj(context))  # (B, H, S, Dh)
        bias = None
        if position is not None:
            q, k = position.rotate(q, k)
            bias = position.score_bias(q.size(-2), k.size(-2))
        if self.recorder is not None:
            self.recorder.append(attention_weights(q, k, mask=mask, bias=bias, causal=causal).detach())
        heads = attention(
            q, k, v, mask=mask, bias=bias, causal=causal, dropout=self._dropout_now, backend=self.backend
        )  # (B, H, T, Dh)
        joined = heads.transpose(1, 2).flatten(-2)  # (B, T, D)
        output: Tensor = self.out_proj(joined)  # (B, T, D)
        return output

    @property
    def _dropout_now(self) -> float:
        return self.dropout if self.training else 0.0

    def _split_heads(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        return x.view(B, T, self.n_heads, D // self.n_heads).transpose(1, 2)

    def _packs(self, x: Tensor) -> bool:
        """Whether one product for q, k and v pays: in training on many tokens, and where the three are what they seem.

        On few tokens, joining the weights costs more than it saves; without gradients nothing was won.
        """
        three = (self.q_proj, self.k_proj, self.v_proj)
        return (
            fast()
            and torch.is_grad_enabled()
            and x.size(0) * x.size(1) >= _PACK_FROM * self.d_model
            and all(_is_plain(projection) for projection in three)
            and len({projection.bias is None for projection in three}) == 1
        )

    def _packed_projections(self, x: Tensor) -> list[Tensor]:
        """The same q, k and v from one product, ``x [W_Q, W_K, W_V]``: x is read, and its gradient written, once."""
        three = (self.q_proj, self.k_proj, self.v_proj)
        weight = torch.cat([projection.weight for projection in three])  # (3*D, D)
        bias = None if self.q_proj.bias is None else torch.cat([projection.bias for projection in three])
        packed = F.linear(x, weight, bias)  # (B, T, 3*D)
        parts = torch.split(packed, [projection.out_features for projection in three], dim=-1)
        return [self._split_heads(part) for part in parts]  # three times (B, H, T, Dh)


def _is_plain(module: nn.Module) -> bool:
    """A linear layer that is nothing more: no adapter, parametrization or hook stands between it and its weight."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return type(module) is nn.Linear and not any(hooks)


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
