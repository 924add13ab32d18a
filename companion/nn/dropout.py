"""Dropout (Srivastava et al. 2014) that a CPU can afford."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from companion.errors import require
from companion.runtime import fast

_LEVELS = 2**16


def dropout(x: Tensor, p: float) -> Tensor:
    """Set each entry to zero with probability p and let the others grow by 1 / (1 - p), so that the mean stays.

    PyTorch's CPU kernel draws one random number for each entry, one after the other, and that is most of its cost. Here
    one 64-bit draw serves four entries, 16 bits each: p is rounded to a multiple of 1/65,536, and the growth fits the
    rounded p exactly. On other devices, under ``torch.compile`` and with the fast paths switched off (see
    :mod:`companion.runtime`) this is ``torch.nn.functional.dropout``. Both draw from torch's own
    generator.

    Raises:
        ValueError: p is not in [0, 1).

    >>> _ = torch.manual_seed(0)
    >>> sorted(set(dropout(torch.ones(100), 0.5).tolist()))
    [0.0, 2.0]
    """
    require(0.0 <= p < 1.0, lambda: f"dropout={p} must be in [0, 1)")
    if p == 0.0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling() or not fast():
        return F.dropout(x, p)
    dropped = min(max(round(p * _LEVELS), 1), _LEVELS - 1)  # of 65,536 equally likely values
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    draws = draws.view(torch.int16)[: x.numel()].view(x.shape)
    keep = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(draws, dropped - _LEVELS // 2, out=keep)  # 1.0 or 0.0 at once: a bool first costs two more passes
    return x * keep.mul_(_LEVELS / (_LEVELS - dropped))


class Dropout(nn.Module):
    """:func:`dropout` in training, the identity otherwise."""

    def __init__(self, p: float) -> None:
        super().__init__()
        require(0.0 <= p < 1.0, f"dropout={p} must be in [0, 1)")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of any shape."""
        return dropout(x, self.p) if self.training else x

    def extra_repr(self) -> str:
        """What ``print(model)`` shows."""
        return f"p={self.p}"
