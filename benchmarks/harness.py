"""Timing that survives a noisy machine: contenders take turns in one run, and what is reported are ratios.

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

from companion.runtime import matmul_seconds

PRECISIONS = ("fp32", "medium", "bf16")
# A column whose products are not so many times faster than float32's is left out: nobody would choose it there.
WORTH = 1.1


@dataclass
class Contender:
    """Something that does the same work as the others: ``step`` does it once."""

    name: str
    step: Callable[[], object]
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
            best = max(best, 2 * n * k * m / statistics.median(_times(lambda a=a, b=b: a @ b, 30)) / 1e9)
    return best


def worthwhile_precisions() -> tuple[list[str], dict[str, str]]:
    """The columns to measure on this machine, and for each other one why it says nothing here.

    A processor without units for bfloat16 emulates it, a hundred times slower; on some, "medium" is float32 as before.
    """
    half = torch.ones(512, 512, dtype=torch.bfloat16)
    default = matmul_seconds("highest")
    others = {"medium": matmul_seconds("medium"), "bf16": min(_times(lambda: half @ half, 5))}
    left_out = {
        name: f"its matrix products are {default / seconds:.2g} times as fast as float32's on this machine"
        for name, seconds in others.items()
        if default / seconds < WORTH
    }
    return [p for p in PRECISIONS if p not in left_out], left_out


def _times(work: Callable[[], object], repeats: int) -> list[float]:
    for _ in range(3):
        work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


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
