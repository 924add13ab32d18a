"""AdamW, with decay where it belongs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from companion.config import TrainConfig
from companion.errors import require


def decay_groups(
    model: nn.Module, weight_decay: float, *, rate_of: Callable[[str], float] | None = None
) -> list[dict[str, Any]]:
    """Two parameter groups: the matrices of linear layers, which decay, and everything else, which does not.

    Decay pulls each weight towards zero. For a matrix this limits how much a layer can amplify. It makes no sense for a
    bias or for LayerNorm, whose scale starts at one; and an embedding's row, which has a gradient only when its token
    occurs, would fade in between, the rarer the token the more. A head that shares the embedding's matrix does not
    decay either. Frozen parameters are in neither group.

    Args:
        model: what is trained.
        weight_decay: of the first group.
        rate_of: from a parameter's name to the factor of its learning rate. With it there are two groups for each
            factor, which they carry as ``rate_factor``; :class:`companion.Trainer` multiplies the schedule by it.

    >>> groups = decay_groups(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 5), nn.LayerNorm(5)), 0.1)
    >>> [(group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in groups]
    [(0.1, [(5, 4)]), (0.0, [(9, 4), (5,), (5,), (5,)])]
    """
    exempt = {
        id(p)
        for module in model.modules()
        for p in module.parameters(recurse=False)
        if p.dim() < 2 or isinstance(module, nn.Embedding | nn.LayerNorm)
    }
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    require(bool(trained), "the model has no parameter that requires a gradient; nothing would be trained")
    if rate_of is None:
        parts: dict[float | None, list[nn.Parameter]] = {None: list(trained.values())}
    else:
        parts = {}
        for name, p in trained.items():
            parts.setdefault(rate_of(name), []).append(p)
    return [
        {
            "params": [p for p in part if (id(p) in exempt) == flat],
            "weight_decay": 0.0 if flat else weight_decay,
            **({} if factor is None else {"rate_factor": factor}),
        }
        for factor, part in parts.items()
        for flat in (False, True)
    ]


def adamw(model: nn.Module, config: TrainConfig, *, rate_of: Callable[[str], float] | None = None) -> torch.optim.AdamW:
    r"""AdamW (Loshchilov and Hutter 2019, algorithm 2), fused into one kernel.

    With gradient g, and with m and v the averages of g and g²: ``θ ← θ - η (m̂ / (√v̂ + eps) + λ θ)``, where λ is the
    weight decay and the hat divides by ``1 - β^t``, since the averages start at zero. ``rate_of`` is that of
    :func:`decay_groups`.
    """
    groups = decay_groups(model, config.weight_decay, rate_of=rate_of)
    return torch.optim.AdamW(groups, lr=config.peak_lr, betas=config.betas, eps=config.eps, fused=True)
