"""Masks. One language everywhere: bool, True = may attend. PyTorch's ``key_padding_mask`` says the opposite.

Letters in the shapes: B batch, T queries, S keys, Dh d_head.
"""

import torch
from torch import Tensor

from companion.errors import require


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
    require(lengths.dim() == 1, lambda: f"lengths must have the shape (B,), one a sequence; got {tuple(lengths.shape)}")
    require(
        not lengths.dtype.is_floating_point and lengths.dtype != torch.bool,
        f"lengths must be integers; got {lengths.dtype}; convert with lengths.long()",
    )
    longest = int(lengths.max())
    require(int(lengths.min()) >= 0, f"lengths must not be negative; got {lengths.tolist()}")
    max_len = longest if max_len is None else max_len
    require(longest <= max_len, f"a sequence has {longest} tokens, but max_len={max_len}; raise max_len or truncate")
    return torch.arange(max_len, device=lengths.device) < lengths[:, None]


def with_causal(mask: Tensor | None, q: Tensor, k: Tensor) -> Tensor:
    """The mask, and the causal mask for these queries (..., T, Dh) and keys (..., S, Dh): both must allow."""
    causal = causal_mask(q.size(-2), k.size(-2), device=q.device)  # (T, S)
    return causal if mask is None else causal & mask
