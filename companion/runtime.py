"""What this machine offers, and what is switched on. Importing this module changes nothing.

Three things make training faster at (almost) no loss, and each can be switched off:

- :func:`fast` code paths: the attention back-end chosen by length, and cheap dropout on a CPU;
- faster float32 matrix products, :func:`faster_float32`, taken only after their error was measured;
- bfloat16 where precision allows, :func:`precision`.

The environment variable ``COMPANION_FAST=0`` switches off all that nobody asked for: the plain formula and PyTorch's
defaults remain. What is asked for by name, such as ``precision("bf16")``, is always done.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from companion.errors import require

Precision = Literal["fp32", "bf16"]

SWITCH = "COMPANION_FAST"
_fast = os.environ.get(SWITCH, "1") != "0"


def fast() -> bool:
    """Whether the faster code paths are on: yes, unless ``COMPANION_FAST=0`` was set, or :func:`set_fast` called."""
    return _fast


def set_fast(on: bool) -> None:
    """Switch the faster code paths on or off for this process.

    >>> before = fast()
    >>> set_fast(False)
    >>> fast()
    False
    >>> set_fast(before)
    """
    global _fast  # noqa: PLW0603  # one switch for the process, as torch.set_float32_matmul_precision is
    _fast = on


def best_device() -> torch.device:
    """The fastest device that is here: CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@dataclass(frozen=True)
class MatmulReport:
    """What :func:`faster_float32` found and did.

    Attributes:
        setting: the setting now in use: ``"highest"``, ``"high"`` or ``"medium"``.
        error: largest error of a product under ``"medium"``, relative to the largest entry of the float64 product;
            None if it was not measured.
        reason: one sentence.
    """

    setting: str
    error: float | None
    reason: str


def matmul_error(setting: str, *, size: int = 256, device: torch.device | str = "cpu") -> float:
    """Error of a float32 product under this setting, against float64, relative to the largest entry.

    The setting in use before is restored. About 2e-7 is float32's own accuracy; bfloat16 inside gives about 2e-3.
    """
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(setting)
        product = (a.to(device) @ b.to(device)).cpu()
    finally:
        torch.set_float32_matmul_precision(before)
    return float((product - exact).abs().max() / exact.abs().max())


def faster_float32(*, tolerance: float = 1e-5, device: torch.device | str = "cpu") -> MatmulReport:
    """Take the ``"medium"`` float32 matrix products if their measured error is below ``tolerance``; say what was done.

    On many CPUs ``"medium"`` only selects another library, twice as fast and just as accurate; on CPUs with matrix
    units for bfloat16, and on GPUs with TF32, it rounds the factors. Nobody can know which without a measurement.
    """
    before = torch.get_float32_matmul_precision()
    if not fast():
        return MatmulReport(before, None, f"{before!r} kept: the fast paths are switched off")
    error = matmul_error("medium", device=device)
    if error > tolerance:
        return MatmulReport(before, error, f"{before!r} kept: 'medium' has an error of {error:.1e} > {tolerance:.0e}")
    torch.set_float32_matmul_precision("medium")
    return MatmulReport("medium", error, f"'medium' taken: its error is {error:.1e} <= {tolerance:.0e}")


@contextmanager
def precision(kind: Precision, *, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside the block, compute in float32 (``"fp32"``) or let matrix products run in bfloat16 (``"bf16"``).

    Weights, LayerNorm, softmax sums and losses stay float32: this is ``torch.autocast``.

    >>> with precision("bf16"):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    require(kind in get_args(Precision), lambda: f"precision={kind!r} is not known; choose {list(get_args(Precision))}")
    device = torch.device(device)
    block = torch.autocast(device.type, dtype=torch.bfloat16) if kind == "bf16" else nullcontext()
    with block:
        yield
