"""Timing that survives a noisy machine: contenders take turns in one process, and what is reported are ratios.

Absolute figures move from run to run; the ratio of two contenders that did the same work a moment apart hardly does.
"""

import gc
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

PRECISIONS = ("fp32", "medium", "bf16")


@dataclass
class Contender:
    """Something that does the same work as the others: ``step`` does it once."""

    name: str
    step: Callable[[], object]
    ours: bool = False
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median seconds of one step."""
        return statistics.median(self.seconds)


@contextmanager
def matmul_setting(precision: str) -> Iterator[None]:
    """The float32 product setting of one column: PyTorch's default, or ``"medium"``. bf16 is autocast, see below."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if precision == "medium" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def autocast(precision: str) -> torch.autocast:
    """The autocast block of one column."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")


def interleave(contenders: list[Contender], *, rounds: int, warmup: int = 3, label: str = "") -> None:
    """Let the contenders take turns, in an order that rotates by one place a round, and note each step's seconds."""
    gc.collect()
    for round_ in tqdm(range(warmup + rounds), desc=label, leave=False):
        shift = round_ % len(contenders)
        for contender in contenders[shift:] + contenders[:shift]:
            start = time.perf_counter()
            contender.step()
            elapsed = time.perf_counter() - start
            if round_ >= warmup:
                contender.seconds.append(elapsed)


def speed_ratio(ours: Contender, peer: Contender) -> float:
    """How many times faster ``ours`` is: the median over rounds of the ratio inside the round."""
    return statistics.median(b / a for a, b in zip(ours.seconds, peer.seconds, strict=True))


def product_peak(precision: str, *, tokens: int = 4096, width: int = 256, hidden: int = 1024) -> float:
    """GFLOP/s of the best of the matrix products that a block of this shape makes, measured now."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    best = 0.0
    with matmul_setting(precision):
        for n, k, m in ((tokens, width, hidden), (tokens, hidden, width), (width, tokens, hidden)):
            a, b = torch.randn(n, k).to(dtype), torch.randn(k, m).to(dtype)
            for _ in range(3):
                a @ b
            seconds = []
            for _ in range(30):
                start = time.perf_counter()
                a @ b
                seconds.append(time.perf_counter() - start)
            best = max(best, 2 * n * k * m / statistics.median(seconds) / 1e9)
    return best


def machine() -> dict[str, object]:
    """The class of the machine, without its name."""
    return {
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
    }
