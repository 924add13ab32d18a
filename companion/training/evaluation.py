"""How good a model is on held-out batches."""

from collections.abc import Iterable

import torch
from torch import nn

from companion.config import Precision
from companion.data.stream import Batch
from companion.errors import require
from companion.runtime import precision
from companion.training import distributed
from companion.training.objectives import Objective
from companion.training.randomness import seeded


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    objective: Objective,
    *,
    kind: Precision = "fp32",
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Mean loss of each term over all targets of all batches; their sum, ``loss``; and accuracies.

    Without dropout. The model's mode and torch's generators are left as they were.

    Args:
        model: on ``device``.
        batches: where processes work together, this one's share, at least one batch.
        objective: what is measured.
        kind: ``"bf16"`` lets matrix products run in bfloat16.
        device: where.

    Returns:
        By name, losses in nats: ``loss``, ``mlm``, ``mlm_accuracy``, and so on. A term without any target is left out.

    Raises:
        ValueError: there is no batch.
    """
    device = torch.device(device)
    sums: dict[str, list[float]] = {}
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), seeded(0, device):
            for batch in batches:
                with precision(kind, device=device):
                    scores = objective.evaluate(model, batch.to(device))
                for name, score in scores.items():
                    total = sums.setdefault(name, [0.0, 0.0])
                    total[0] += float(score.total)
                    total[1] += float(score.n_targets)
    finally:
        for module, mode in modes:
            module.training = mode
    require(bool(sums), "there is no batch to evaluate on")
    return _means(sums, device)


def _means(sums: dict[str, list[float]], device: torch.device) -> dict[str, float]:
    """Each sum over its count, both over all processes."""
    totals = torch.tensor(list(sums.values()), dtype=torch.float64, device=device if device.type == "cuda" else "cpu")
    pairs = zip(sums, distributed.sum_values(totals).tolist(), strict=True)
    means = {name: total / count for name, (total, count) in pairs if count}
    return {"loss": sum(value for name, value in means.items() if not name.endswith("_accuracy")), **means}
