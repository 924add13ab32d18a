"""The gradient of one step, however many micro-batches and processes it is spread over."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from companion.data.stream import Batch
from companion.nn.losses import LossSum
from companion.training.objectives import Objective

Counts = dict[str, int]


class SummedLosses(nn.Module):
    """Model and objective as one module whose forward pass goes from a batch to its summed losses.

    Data parallelism wraps this one, since it watches a module's forward pass.
    """

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Batch) -> dict[str, LossSum]:
        """The objective's terms."""
        return self.objective(self.model, batch)


def accumulate_gradients(
    losses: Callable[[Batch], Mapping[str, LossSum]],
    batches: Sequence[Batch],
    counts: Mapping[str, int],
    *,
    unsynchronized: Callable[[], AbstractContextManager[object]] = nullcontext,
    precision: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> dict[str, Tensor]:
    r"""Leave in ``.grad`` the gradient of ``Σ_k (Σ_batches loss_k) / n_k``, and return each term's share of it.

    Every term is divided by the number of *all* its targets, so the sum over micro-batches (and over processes) is the
    mean over everything. To average the averages of micro-batches instead would weigh a target by how few others happen
    to stand beside it.

    Args:
        losses: from a batch to its summed losses.
        batches: the micro-batches.
        counts: n_k, how many targets each term has, over all micro-batches and processes.
        unsynchronized: a context for all micro-batches but the last, in which processes need not exchange gradients.
        precision: a context for the forward pass.

    Returns:
        Each term, divided, detached, on the device it was computed on: nothing here waits for a GPU.
    """
    means: dict[str, Tensor] = {}
    for i, batch in enumerate(batches):
        with unsynchronized() if i + 1 < len(batches) else nullcontext():
            with precision():
                terms = {name: loss.total / max(1, counts[name]) for name, loss in losses(batch).items()}
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        for name, term in terms.items():
            means[name] = means[name] + term.detach() if name in means else term.detach()
    return means


def count_targets(objective: Objective, batches: Sequence[Batch]) -> Counts:
    """How many targets each term has in all these batches, and how many real ``tokens`` they hold."""
    total: Counter[str] = Counter()
    for batch in batches:
        total.update(objective.counts(batch))
        total["tokens"] += batch.n_tokens
    return dict(total)
