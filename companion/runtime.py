"""What this machine offers, and what is switched on. Importing this module changes nothing.

Four things make training faster at (almost) no loss, and each can be switched off:

- :func:`fast` code paths: the attention back-end chosen by length, one product for q, k and v, cheap dropout on a CPU;
- memory that is kept between steps, :func:`keep_memory`;
- faster float32 matrix products, :func:`faster_float32`, taken only after error and speed were measured;
- bfloat16 where precision allows, :func:`precision`.

The environment variable ``COMPANION_FAST=0`` switches off all that nobody asked for: the plain formula and PyTorch's
defaults remain. What is asked for by name, such as ``precision("bf16")``, is always done.
"""

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import get_args

import torch

from companion.config import Precision
from companion.errors import require

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
        speedup: how many times faster a product is under ``"medium"``; None if it was not measured.
    """

    setting: str
    error: float | None
    reason: str
    speedup: float | None = None


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


def matmul_seconds(setting: str, *, size: int = 512, device: torch.device | str = "cpu") -> float:
    """Seconds of a float32 product of two square matrices under this setting: the best of nine.

    The setting in use before is restored.
    """
    a = torch.ones(size, size, device=device)
    before = torch.get_float32_matmul_precision()
    seconds = []
    try:
        torch.set_float32_matmul_precision(setting)
        for _ in range(10):
            start = time.perf_counter()
            (a @ a)[0, 0].item()  # waits for a GPU, too
            seconds.append(time.perf_counter() - start)
    finally:
        torch.set_float32_matmul_precision(before)
    return min(seconds[1:])  # the first one sets things up


def faster_float32(
    *, tolerance: float = 1e-5, least_speedup: float = 1.2, device: torch.device | str = "cpu"
) -> MatmulReport:
    """Take the ``"medium"`` float32 matrix products if they measure as accurate and faster; say what was done.

    On many CPUs ``"medium"`` only selects another library, twice as fast on some, no faster on others, and just as
    accurate; on CPUs with matrix units for bfloat16, and on GPUs with TF32, it rounds the factors. Nobody can know
    which without a measurement, of milliseconds.

    Args:
        tolerance: largest error allowed, see :func:`matmul_error`.
        least_speedup: how many times faster they must be.
        device: where.
    """
    before = torch.get_float32_matmul_precision()
    if not fast():
        return MatmulReport(before, None, f"{before!r} kept: the fast paths are switched off")
    error = matmul_error("medium", device=device)
    if error > tolerance:
        return MatmulReport(before, error, f"{before!r} kept: 'medium' has an error of {error:.1e} > {tolerance:.0e}")
    speedup = matmul_seconds(before, device=device) / matmul_seconds("medium", device=device)
    if before != "medium" and speedup < least_speedup:
        reason = f"{before!r} kept: 'medium' is {speedup:.2f} times as fast, and {least_speedup} was asked for"
        return MatmulReport(before, error, reason, speedup)
    torch.set_float32_matmul_precision("medium")
    reason = f"'medium' taken: its error is {error:.1e} <= {tolerance:.0e}, and it is {speedup:.2f} times as fast"
    return MatmulReport("medium", error, reason, speedup)


# Names of glibc's mallopt(3), and the values it starts with.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_DEFAULTS = {_TRIM_THRESHOLD: 2**17, _TOP_PAD: 2**17, _MMAP_THRESHOLD: 2**17, _MMAP_MAX: 2**16}
_KEPT = {_TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26, _MMAP_THRESHOLD: 2**30, _MMAP_MAX: 0}

# Read by PyTorch's allocator for CPUs when it gives out its first tensor.
_LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def keep_memory(on: bool = True) -> bool:
    """Let the process keep the memory of freed tensors for the next ones, and say whether that was possible.

    By default Linux's C library gives large blocks back to the system as soon as they are free. The next step asks for
    them again, and touching each page of 4 KiB anew costs up to a third of a training step on a CPU. Large tensors are
    also laid into pages of 2 MiB, where the system has them, whose addresses the processor finds sooner; steps with
    tensors of tens of megabytes took a quarter to a half less time. PyTorch looks at this setting when it makes its
    first tensor, so call this before. No number changes; the price is that the process stays as large as it ever was,
    until ``keep_memory(False)`` or its end.

    Possible with glibc, that is, on most Linux systems. Elsewhere, and with the fast paths switched off, nothing is
    done.

    >>> kept = keep_memory()  # True on most Linux systems
    >>> _ = keep_memory(False)
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "gnu_get_libc_version") or (on and not fast()):
        return False
    if on:
        os.environ.setdefault(_LARGE_PAGES, "1")
    for name, value in (_KEPT if on else _DEFAULTS).items():
        libc.mallopt(name, value)  # older versions refuse the large threshold; the last line then does its work
    if not on:
        libc.malloc_trim(0)
    return True


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
