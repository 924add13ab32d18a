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
