"""Data parallelism: every process has the whole model, its share of each batch, and the sum of all gradients.

``torchrun --nproc-per-node 2 ...`` starts the processes, :func:`join` lets them find each other, and
:class:`companion.Trainer` notices.
"""

import inspect
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def rank() -> int:
    """This process's number, from 0; 0 where it is alone."""
    return dist.get_rank() if _together() else 0


def world_size() -> int:
    """How many processes train together; 1 where this one is alone."""
    return dist.get_world_size() if _together() else 1


@contextmanager
def join() -> Iterator[torch.device | None]:
    """Join the processes that ``torchrun`` started, over NCCL where each has a GPU, else over gloo; part at the end.

    Gives the device of this process's own, or None for its caller's choice. Without ``torchrun`` it does nothing.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield None
        return
    local, locals_ = (int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    on_gpu = torch.cuda.is_available() and torch.cuda.device_count() >= max(1, locals_)
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def parallel(module: nn.Module) -> nn.Module:
    """``module`` in ``DistributedDataParallel`` (Li et al. 2020) that *sums* gradients; itself where we are alone.

    PyTorch's divides by the number of processes, which is right only if all have equally many targets. Here losses were
    divided by the number of all targets already, so what remains is a sum.
    """
    if world_size() == 1:
        return module
    # Buffers are tables of positions, the same in all processes; the option's name depends on PyTorch's version.
    known = inspect.signature(nn.parallel.DistributedDataParallel).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {"find_unused_parameters": True, buffers: False}
    # A parameter that no loss depends on (a head whose task is not trained) must not stall the others. Besides, this
    # keeps the order in which gradients are summed from one run to the next, without which resuming would not be exact.
    # Where all parameters are used, PyTorch says once that it searched in vain.
    wrapped = nn.parallel.DistributedDataParallel(module, **options)
    wrapped.register_comm_hook(None, lambda _, bucket: _sum_bucket(bucket))
    return wrapped


def sum_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Each count summed over the processes; all must have the same names.

    >>> sum_counts({"mlm": 3})
    {'mlm': 3}
    """
    if world_size() == 1:
        return dict(counts)
    names = sorted(counts)
    total = torch.tensor([counts[name] for name in names], device=_exchange_device())
    dist.all_reduce(total)
    return dict(zip(names, total.tolist(), strict=True))


def sum_values(values: Tensor) -> Tensor:
    """A tensor summed over the processes."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any of the processes."""
    return sum_counts({"flag": int(flag)})["flag"] > 0


def _sum_bucket(bucket: Any) -> torch.futures.Future[Tensor]:
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])  # type: ignore[no-any-return]


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def _exchange_device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
