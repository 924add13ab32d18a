"""Whether a checkpoint belongs to this run, and in which fields it does not; what an evaluation may set anew."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from companion.config import TrainConfig
from companion.errors import require
from companion.training.finetune_config import FineTuneRun
from companion.training.runfile import DataConfig, MachineConfig, apply_overrides, parse_override

MAY_CHANGE = ("max_steps", "eval_every", "checkpoint_every", "keep_checkpoints", "snapshots")
"""Fields of :class:`companion.TrainConfig` that a resumed run may set anew."""
IN_EVALUATION = (
    *(f"data.{name}" for name in ("source", "text", "label", "labels", "limit", "seed", "length", "keep", "eval_keep")),
    "train.precision",
    *(f"machine.{f.name}" for f in dataclasses.fields(MachineConfig)),
)
"""Of a fine-tuning's run, what may be set anew where its classifier is evaluated: it does not change the classifier."""
IN_PRETRAINED_EVALUATION = (
    *(f"data.{f.name}" for f in dataclasses.fields(DataConfig) if f.name != "eval_tokens"),
    *("objective.mask_share", "objective.chunk", "train.precision"),
    *(f"machine.{f.name}" for f in dataclasses.fields(MachineConfig)),
)
"""Of a pretraining's run, what may be set anew where its model is evaluated, always on all that is held out."""


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


def names_set(overrides: Sequence[str]) -> list[str]:
    """The names in overrides.

    >>> names_set(["train.max_steps=7", 'data.labels=["neg", "pos"]'])
    ['train.max_steps', 'data.labels']
    """
    return [".".join(parse_override(override)[:2]) for override in overrides]


def require_for_evaluation(overrides: Sequence[str], allowed: Collection[str] = IN_EVALUATION) -> None:
    """Require that overrides leave a trained model what it is: only what is ``allowed`` may be set.

    >>> require_for_evaluation(["data.length=64", "machine.threads=1"])
    >>> require_for_evaluation(["model.pooling=first"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: ['model.pooling'] cannot be set in an evaluation: the model is what its training has made of it...
    """
    other = [name for name in names_set(overrides) if name not in allowed]
    there = [name for name in allowed if not name.startswith("machine.")]
    require(
        not other,
        f"{other} cannot be set in an evaluation: the model is what its training has made of it. Only "
        f"{', '.join(there)} and machine.* may be set",
    )


def evaluation_run(values: Mapping[str, Any], overrides: Sequence[str], *, longest: int | None = None) -> FineTuneRun:
    """The run of a trained classifier, with what an evaluation sets anew.

    The classes keep their numbers: names in another order mean the same, since data are numbered by name.

    Args:
        values: the sections that it was trained with.
        overrides: what is set anew.
        longest: tokens that its model reads at most; None = not known.

    Raises:
        ValueError: an override that would change the classifier, names that are not those of its classes, or a value
            that is wrong or would do nothing.
    """
    require_for_evaluation(overrides)
    changed = FineTuneRun.from_dict(apply_overrides(dict(values), overrides))
    labels, names = FineTuneRun.from_dict(values).data.labels, names_set(overrides)
    require(
        set(changed.data.labels) == set(labels),
        f"labels={list(changed.data.labels)}, but the classes of this classifier are {list(labels)}; give its texts "
        "these names, or leave data.labels out",
    )
    require(
        "data.keep" not in names or changed.data.reading == changed.data.keep,
        f"keep={changed.data.keep!r}, but eval_keep={changed.data.eval_keep!r} is what an evaluation goes by; set "
        "data.eval_keep",
    )
    require(
        longest is None or changed.data.length <= longest,
        f"data.length={changed.data.length}, but the model reads at most {longest} tokens; lower it, and to have "
        "longer texts read to the end, in parts, set data.eval_keep=windows",
    )
    return dataclasses.replace(changed, data=dataclasses.replace(changed.data, labels=labels))
