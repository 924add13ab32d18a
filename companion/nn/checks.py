"""What fits together and what does not. The messages are only put together when a check fails: these run every step."""

import torch
from torch import Tensor

from companion.errors import require


def check_attention(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None, bias: Tensor | None) -> None:
    """Require that these can be the arguments of :func:`companion.attention`."""

    def got() -> str:
        return f"got q {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"

    require(min(q.dim(), k.dim(), v.dim()) >= 2, lambda: f"q, k and v need at least the axes (tokens, width); {got()}")
    require(q.size(-1) == k.size(-1), lambda: f"q and k must have the same width d_k; {got()}")
    require(v.size(-2) == k.size(-2), lambda: f"there must be one value for each key; {got()}")
    leading = q.shape[:-2]
    if not leading == k.shape[:-2] == v.shape[:-2]:
        try:
            leading = torch.broadcast_shapes(leading, k.shape[:-2], v.shape[:-2])  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ValueError(f"the leading axes of q, k and v must agree or be 1; {got()}") from error
    target = (*leading, q.size(-2), k.size(-2))
    _check_extra("mask", mask, target)
    _check_extra("bias", bias, target)
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be bool, True = may attend; got {mask.dtype}; "
            "write mask.bool(), or pass numbers that are added to the scores as bias="
        )


def _check_extra(name: str, extra: Tensor | None, target: tuple[int, ...]) -> None:
    if extra is None:
        return
    axes = zip(reversed(extra.shape), reversed(target), strict=False)
    require(
        extra.dim() <= len(target) and all(n in (1, m) for n, m in axes),
        lambda: f"{name} must broadcast to (..., T, S) = {target}; got {tuple(extra.shape)}",
    )


def check_tokens(name: str, x: Tensor, d_model: int) -> None:
    """Require a batch of sequences of vectors of the model's width."""
    require(
        x.dim() == 3 and x.size(-1) == d_model,
        lambda: f"{name} must have the shape (batch, tokens, d_model={d_model}); got {tuple(x.shape)}",
    )


def check_length(T: int, max_len: int) -> None:
    """Require a sequence that the model has positions for."""
    require(T <= max_len, lambda: f"sequence of {T} tokens, but max_len={max_len}; raise max_len or truncate")


def check_ids(ids: Tensor, vocab_size: int) -> None:
    """Require (B, T) whole numbers that name tokens."""
    _check_whole("ids", ids)
    require(
        ids.dim() == 2 and ids.size(1) >= 1,
        lambda: f"ids must have the shape (batch, tokens) with at least one token; got {tuple(ids.shape)}",
    )
    outside = _outside(ids, vocab_size)
    require(
        outside is None,
        lambda: (
            f"token ids must be in 0...{vocab_size - 1} (vocab_size={vocab_size}); got {outside}; "
            "is this the tokenizer that the model was made for?"
        ),
    )


def check_segments(segments: Tensor | None, ids: Tensor, n_segments: int) -> None:
    """Require one segment number for each token."""
    if segments is None:
        return
    require(n_segments > 0, "segments were given, but the model has none; make it with n_segments=2, or leave them out")
    _check_whole("segments", segments)
    require(
        segments.shape == ids.shape,
        lambda: f"segments must have the shape of ids, {tuple(ids.shape)}; got {tuple(segments.shape)}",
    )
    outside = _outside(segments, n_segments)
    require(
        outside is None, lambda: f"segments must be in 0...{n_segments - 1} (n_segments={n_segments}); got {outside}"
    )


def check_padding(padding: Tensor | None, ids: Tensor) -> None:
    """Require (B, T) bool with at least one real token in each row."""
    if padding is None:
        return
    if padding.dtype != torch.bool:
        raise ValueError(
            f"padding must be bool, True = real token; got {padding.dtype}; write padding.bool(), "
            "or make it with length_mask(lengths)"
        )
    require(
        padding.shape == ids.shape,
        lambda: f"padding must have the shape of ids, {tuple(ids.shape)}; got {tuple(padding.shape)}",
    )
    if _values_can_be_read(padding):
        empty = (~padding.any(dim=1)).nonzero().flatten().tolist()
        require(
            not empty,
            lambda: (
                f"rows {empty} hold nothing but padding; leave them out of the batch (True = real token: PyTorch's "
                "key_padding_mask is the opposite, write padding=~key_padding_mask)"
            ),
        )


def _check_whole(name: str, numbers: Tensor) -> None:
    require(
        numbers.dtype in (torch.int64, torch.int32),
        lambda: f"{name} must be whole numbers (torch.int64); got {numbers.dtype}; convert with {name}.long()",
    )


def _outside(numbers: Tensor, size: int) -> int | None:
    """One of the numbers that is not in 0...size - 1, if there is any."""
    if not _values_can_be_read(numbers):
        return None
    low, high = (int(bound) for bound in numbers.aminmax())
    return low if low < 0 else (high if high >= size else None)


def _values_can_be_read(tensor: Tensor) -> bool:
    """Not while torch.compile traces, where a look at values breaks the graph, nor where there are none."""
    return not torch.compiler.is_compiling() and not tensor.is_meta and tensor.numel() > 0
