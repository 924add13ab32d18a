"""The randomness of a step is a function of the step."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """A seed for one step in one process; near arguments give unrelated seeds.

    >>> step_seed(0, 1) != step_seed(0, 2) != step_seed(1, 2), step_seed(3, 4) == step_seed(3, 4)
    (True, True)
    """
    digest = hashlib.sha256(f"{seed}/{step}/{rank}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # generators take 63 bits


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, torch's generators (the CPU's and the device's) start from ``seed``; after it they are what they were.

    >>> torch.manual_seed(0).initial_seed()
    0
    >>> with seeded(5):
    ...     inside = torch.rand(3)
    >>> with seeded(5):
    ...     torch.equal(inside, torch.rand(3))
    True
    >>> torch.initial_seed()
    0
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield
