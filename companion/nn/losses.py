"""Losses are sums with a count beside them.

Add sums and counts over micro-batches and machines, and divide once: the mean of the means of uneven batches is another
number. Letters in the shapes: B batch, T tokens, N rows, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from companion.config import check_at_least
from companion.errors import require

IGNORE = -100
"""The label of a position that is not predicted."""


class LossSum(NamedTuple):
    """A summed loss and how many targets it is summed over, both 0-dimensional tensors."""

    total: Tensor
    n_targets: Tensor

    @property
    def mean(self) -> Tensor:
        """``total / n_targets``; NaN where there was no target."""
        return self.total / self.n_targets


def token_cross_entropy(logits: Tensor, labels: Tensor) -> LossSum:
    r"""``-Σ log softmax(logits)[label]`` over the positions whose label is not :data:`IGNORE`.

    Half-precision logits are taken to float32 first.

    Args:
        logits: (..., V).
        labels: (...), token ids or :data:`IGNORE`.

    Raises:
        ValueError: the shapes do not fit.

    >>> loss = token_cross_entropy(torch.zeros(1, 3, 4), torch.tensor([[0, IGNORE, 3]]))
    >>> round(loss.total.item(), 4), loss.n_targets.item()  # 2 log 4
    (2.7726, 2)
    """
    require(
        logits.shape[:-1] == labels.shape,
        lambda: (
            f"labels must have the shape of the logits without their last axis, {tuple(logits.shape[:-1])}; "
            f"got {tuple(labels.shape)}"
        ),
    )
    return LossSum(_summed(logits, labels), _count(labels))


def next_token_labels(ids: Tensor, *, padding: Tensor | None = None) -> Tensor:
    """(B, T): the token that follows each one; :data:`IGNORE` where none follows, or padding (True = real token).

    >>> next_token_labels(torch.tensor([[5, 6, 7]])).tolist()
    [[6, 7, -100]]
    """
    require(ids.dim() == 2, lambda: f"ids must have the shape (batch, tokens); got {tuple(ids.shape)}")
    labels = torch.full_like(ids, IGNORE)
    following = ids[:, 1:]
    if padding is not None:
        require(
            padding.shape == ids.shape and padding.dtype == torch.bool,
            lambda: (
                f"padding must be bool of the shape of ids, {tuple(ids.shape)}; got {padding.dtype} of the shape "
                f"{tuple(padding.shape)}"
            ),
        )
        following = following.masked_fill(~(padding[:, 1:] & padding[:, :-1]), IGNORE)
    labels[:, :-1] = following
    return labels


def next_token_loss(logits: Tensor, ids: Tensor, *, padding: Tensor | None = None) -> LossSum:
    """Each position predicts the token after it (Bengio et al. 2003): logits (B, T, V) at t, ids (B, T) at t + 1.

    >>> round(next_token_loss(torch.zeros(1, 3, 4), torch.tensor([[0, 1, 3]])).mean.item(), 4)  # log 4
    1.3863
    """
    return token_cross_entropy(logits, next_token_labels(ids, padding=padding))


def chunked_cross_entropy(hidden: Tensor, labels: Tensor, head: nn.Module, *, chunk: int = 1024) -> LossSum:
    """Exactly ``token_cross_entropy(head(hidden), labels)``, but the logits never exist all at once.

    Only the rows with a label pass through the head, ``chunk`` of them at a time; their gradients are computed on the
    spot and the logits are forgotten. For 8 x 256 tokens and 8,192 words that saves 64 MB of logits and as much again
    for their gradient. The gradient of the gradient is not available.

    Args:
        hidden: (..., D), what the head reads.
        labels: (...), token ids or :data:`IGNORE`.
        head: a module that works on each row by itself, without randomness, such as ``model.mlm_head``.
        chunk: rows at a time.

    >>> head, hidden, labels = nn.Linear(4, 9), torch.randn(2, 3, 4), torch.tensor([[1, 2, IGNORE], [3, 4, 5]])
    >>> torch.testing.assert_close(
    ...     chunked_cross_entropy(hidden, labels, head, chunk=2), token_cross_entropy(head(hidden), labels)
    ... )
    """
    check_at_least("chunk", chunk, 1)
    require(
        hidden.shape[:-1] == labels.shape,
        lambda: (
            f"labels must have the shape of hidden without its last axis, {tuple(hidden.shape[:-1])}; "
            f"got {tuple(labels.shape)}"
        ),
    )
    chosen = labels != IGNORE
    rows = hidden[chosen]  # (N, D)
    targets = labels[chosen]  # (N)
    parameters = tuple(p for p in head.parameters() if p.requires_grad)
    if not torch.is_grad_enabled():
        rows, parameters = rows.detach(), ()
    total = _ChunkedCrossEntropy.apply(rows, targets, head, chunk, *parameters)  # type: ignore[no-untyped-call]
    return LossSum(total, _count(labels))


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The loss is one number, so its gradients can be computed forward, chunk by chunk, and only be scaled backward."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, targets: Tensor, head: Callable[[Tensor], Tensor], chunk: int, *ps: Tensor
    ) -> Tensor:
        wanted = [ctx.needs_input_grad[0], *ctx.needs_input_grad[4:]]
        row_grads = torch.zeros_like(rows) if wanted[0] else None
        p_grads = [torch.zeros_like(p) for p in ps] if any(wanted[1:]) else []
        total = rows.new_zeros((), dtype=torch.float64 if rows.dtype == torch.float64 else torch.float32)
        for start in range(0, len(rows), chunk):
            part = slice(start, start + chunk)
            with torch.set_grad_enabled(any(wanted)):
                x = rows[part].detach().requires_grad_(wanted[0])
                loss = _summed(head(x), targets[part])
            total += loss.detach()
            if any(wanted):
                inputs = ([x] if row_grads is not None else []) + (list(ps) if p_grads else [])
                grads = list(torch.autograd.grad(loss, inputs, allow_unused=True))
                if row_grads is not None:
                    row_grads[part] = grads.pop(0)
                for sum_, grad in zip(p_grads, grads, strict=True):
                    if grad is not None:
                        sum_ += grad
        ctx.save_for_backward(*([] if row_grads is None else [row_grads]), *p_grads)
        ctx.has_row_grads, ctx.n_parameters = row_grads is not None, len(ps)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grads = list(ctx.saved_tensors)
        row_grads = grads.pop(0) * grad if ctx.has_row_grads else None
        p_grads = [g * grad for g in grads] or [None] * ctx.n_parameters
        return row_grads, None, None, None, *p_grads


def _summed(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORE, reduction="sum")


def _count(labels: Tensor) -> Tensor:
    return (labels != IGNORE).sum()
