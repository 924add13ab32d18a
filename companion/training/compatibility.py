"""Whether a checkpoint belongs to this run, and in which fields it does not."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from companion.config import TrainConfig
from companion.errors import require

MAY_CHANGE = ("max_steps", "eval_every", "checkpoint_every", "keep_checkpoints", "snapshots")
"""Fields of :class:`companion.TrainConfig` that a resumed run may set anew."""


def fields_of(config: object) -> dict[str, Any]:
    """A dataclass's fields; none of anything else."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return {}
    return dataclasses.asdict(config)


def require_same(what: str, saved: Mapping[str, Any], config: object, *, ignore: Collection[str] = ()) -> None:
    """Require that a checkpoint's fields are those of ``config``; one that it does not know had its default.

    >>> saved = {"max_steps": 100, "peak_lr": 0.001}
    >>> require_same("configuration", saved, TrainConfig(max_steps=200, peak_lr=0.001), ignore=["max_steps"])
    >>> require_same("configuration", saved, TrainConfig(max_steps=100, peak_lr=0.002))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: the checkpoint belongs to another configuration: peak_lr was 0.001 and is 0.002. Take the old values...
    """
    mine = fields_of(config)
    defaults = {f.name: f.default for f in dataclasses.fields(config)} if mine else {}  # type: ignore[arg-type]
    known = {**defaults, **saved}
    differing = [
        f"{name} was {known.get(name)!r} and is {mine.get(name)!r}"
        for name in {**mine, **known}
        if name not in ignore and known.get(name) != mine.get(name)
    ]
    require(
        not differing,
        lambda: (
            f"the checkpoint belongs to another {what}: {'; '.join(differing)}. "
            "Take the old values to go on, or start a run in another folder"
        ),
    )


def require_same_run(
    state: Mapping[str, Any], model: nn.Module, objective: object, config: TrainConfig, *, n_trained: int
) -> None:
    """Require that a checkpoint's state comes from this model, objective and configuration.

    Args:
        state: what :meth:`companion.Trainer.state_dict` gave.
        model: what it is about to be loaded into.
        objective: what is minimised now.
        config: how it is trained now; the fields in :data:`MAY_CHANGE` may differ.
        n_trained: how many tensors are trained now.

    Raises:
        ValueError: it does not; the message says where they differ.
    """
    for what, kind, thing in (
        ("model", state["model_kind"], model),
        ("objective", state["objective"]["kind"], objective),
    ):
        mine = type(thing).__name__
        require(kind == mine, f"the checkpoint's {what} is a {kind}; this one is a {mine}")
    require_same("configuration", state["config"], config, ignore=MAY_CHANGE)
    require_same("model", state["model_config"], getattr(model, "config", None))
    require_same("objective", state["objective"], objective, ignore=["kind"])
    trained = sum(len(group["params"]) for group in state["optimizer"]["param_groups"])
    require(
        trained == n_trained,
        f"the checkpoint's run trained {trained} tensors, but {n_trained} of this model require a gradient; "
        "freeze the same parts",
    )
