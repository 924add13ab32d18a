"""A fine-tuning's configuration file: read, changed by overrides, checked.

A run file has six sections, of which all but the first two may be left out::

    [model]      pretrained = a model's name, a folder that `companion export` wrote, or a run's folder; pooling,
                 dropout; without `pretrained` the fields of TransformerConfig, or a preset, for method = "scratch"
    [data]       source = "imdb", "mini", a folder or a .csv, .jsonl or .ndjson file; labels, length, keep, ...
    [finetune]   method = "full", "probe", "lora" or "scratch"; epochs, layer_decay, validation, patience, ...
    [lora]       rank, alpha, targets
    [train]      the fields of TrainConfig
    [machine]    threads, device, fast_float32, log_every

An unknown section or key is an error, and so is, in a training, a value that would do nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from companion.config import (
    Config,
    LoRAConfig,
    TrainConfig,
    TransformerConfig,
    check_at_least,
    check_choice,
    check_number,
)
from companion.data.labelled import SENTIMENT, checked_names
from companion.data.passages import Keep
from companion.data.tokenizer import BOOK
from companion.errors import require
from companion.models.classifier import MAY_CHANGE, Pooling
from companion.training.runfile import MachineConfig, checked_section, read_sections

Method = Literal["full", "probe", "lora", "scratch"]
Select = Literal["accuracy", "loss"]


def _check_string(section: str, name: str, value: object) -> None:
    require(
        isinstance(value, str),
        f"{name}={value!r} must be a string; put it in quotation marks, like --set '{section}.{name}=\"{value}\"'",
    )


@dataclass(frozen=True)
class StartConfig:
    """What the training starts from.

    Attributes:
        pretrained: where the trunk comes from; ``""`` = nowhere.
        pooling: what a text is summed up by; see :class:`companion.TransformerClassifier`.
        shape: fields of :class:`companion.TransformerConfig`: with ``pretrained`` those that shall differ, else all.
    """

    pretrained: str = ""
    pooling: Pooling = "mean"
    shape: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_string("model", "pretrained", self.pretrained)
        check_choice("pooling", self.pooling, Pooling)
        if not self.pretrained:
            require(bool(self.shape), "name a pretrained model, or give a preset or the shape of a new one")
            self.config()
            return
        known = {"preset", *(f.name for f in fields(TransformerConfig))}
        unknown = sorted(set(self.shape) - known)
        require(not unknown, f"there is no field {unknown}; it has pretrained, pooling and {list(MAY_CHANGE)}")
        other = sorted(set(self.shape) - set(MAY_CHANGE))
        require(not other, f"{other} follow from the pretrained model; only {list(MAY_CHANGE)} may be changed")

    def config(self) -> TransformerConfig:
        """The shape of a new model."""
        if "preset" in self.shape:
            return TransformerConfig.preset(**{"name" if k == "preset" else k: v for k, v in self.shape.items()})
        return TransformerConfig.from_dict(self.shape)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "StartConfig":
        """From a section, in which the fields of the shape stand among the others."""
        own = {name: values[name] for name in ("pretrained", "pooling") if name in values}
        return cls(**own, shape={name: value for name, value in values.items() if name not in own})

    def to_dict(self) -> dict[str, Any]:
        """The section."""
        return {"pretrained": self.pretrained, "pooling": self.pooling, **self.shape}


@dataclass(frozen=True, kw_only=True)
class LabelledDataConfig(Config):
    """What is read, and how much at a time.

    Attributes:
        source: ``"imdb"``, ``"mini"``, a folder, or a ``.csv``, ``.jsonl`` or ``.ndjson`` file; see
            :func:`companion.data.labelled.read_labelled`.
        labels: the names of the classes, in the order of their numbers.
        text: the column with the text.
        label: the column with the name of the class.
        limit: that many labelled texts only, validation included; 0 = all.
        tokenizer: ``"book"``, or a ``tokenizer.json``; the one that the model was pretrained with.
        length: tokens of a text, or of a window, at most.
        keep: what is read of a longer text in training; see :data:`companion.data.long_texts.Keep`.
        eval_keep: what is read of it in evaluation and later; None = as ``keep``. A probe is trained on what is read in
            evaluation, so there it must be the same.
        tokens_per_batch: tokens of a batch; 0 = ``batch_size`` texts of [train]. Not for a probe.
        seed: of the sample, the validation split, and the order.
    """

    source: str
    labels: tuple[str, ...] = SENTIMENT
    text: str = "text"
    label: str = "label"
    limit: int = 0
    tokenizer: str = BOOK
    length: int = 256
    keep: Keep = "both"
    eval_keep: Keep | None = None
    tokens_per_batch: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("source", "text", "label", "tokenizer"):
            _check_string("data", name, getattr(self, name))
        for name, such in {"source": "mine.csv", "tokenizer": BOOK}.items():  # an empty path is the present folder
            require(bool(getattr(self, name)), f"{name}='' names nothing; give a path or a name, such as {such}")
        for name, least in {"limit": 0, "length": 3, "tokens_per_batch": 0, "seed": 0}.items():
            check_at_least(name, getattr(self, name), least)
        check_choice("keep", self.keep, Keep)
        check_choice("eval_keep", self.reading, Keep)
        object.__setattr__(self, "labels", checked_names(self.labels))  # TOML and JSON know lists only

    @property
    def reading(self) -> Keep:
        """What is read of a long text after training."""
        return self.keep if self.eval_keep is None else self.eval_keep


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig(Config):
    """How a pretrained model becomes a classifier.

    Attributes:
        method: ``"full"`` trains everything; ``"probe"`` a head on frozen features, which are computed once; ``"lora"``
            low-rank adapters and the head; ``"scratch"`` everything, from random weights.
        epochs: passes over the training texts; 0 = ``max_steps`` of [train].
        least_steps: with ``epochs``, as many updates at least: few texts are read more often, since a small set is
            easily given too little time (Zhang et al. 2021).
        warmup: with ``epochs``, the share of the steps in which the rate rises.
        layer_decay: each layer's rate is that of the layer above it, times this: the embeddings move least (Howard and
            Ruder 2018, section 3.2; Clark et al. 2020).
        head_rate: the head's rate is the schedule's, times this.
        validation: share of the training texts that is held out, of each class; 0 = none.
        evaluations: with ``epochs``, how often an epoch is evaluated on them.
        patience: evaluations without an improvement after which training stops; 0 = it goes on to the end. Without
            ``epochs`` it needs ``eval_every`` of [train].
        select: what makes weights the best ones on the held-out texts: ``"accuracy"``, or ``"loss"``.
        average: keep a moving average of the weights, with this memory, and evaluate and keep that; 0 = none.
    """

    method: Method = "full"
    epochs: float = 3.0
    least_steps: int = 0
    warmup: float = 0.1
    layer_decay: float = 1.0
    head_rate: float = 1.0
    validation: float = 0.1
    evaluations: int = 2
    patience: int = 0
    select: Select = "accuracy"
    average: float = 0.0

    def __post_init__(self) -> None:
        check_choice("method", self.method, Method)
        check_choice("select", self.select, Select)
        check_at_least("evaluations", self.evaluations, 1)
        check_at_least("patience", self.patience, 0)
        check_at_least("least_steps", self.least_steps, 0)
        check_number("epochs", self.epochs, positive=False)
        for name in ("layer_decay", "head_rate"):
            check_number(name, getattr(self, name), positive=True)
        for name, most in {"warmup": 1.0, "validation": 0.5, "layer_decay": 1.0}.items():
            value = getattr(self, name)
            require(0.0 <= value <= most, f"{name}={value} must be in [0, {most:g}]")
        require(
            self.epochs > 0 or self.least_steps == 0,
            f"least_steps={self.least_steps} is the least that epochs may come to, but epochs=0; set "
            "train.max_steps alone",
        )
        require(0.0 <= self.average < 1.0, f"average={self.average} must be in [0, 1)")
        require(
            self.validation > 0 or self.patience == 0,
            f"patience={self.patience} needs texts to validate on; set validation, or patience=0",
        )


@dataclass(frozen=True)
class FineTuneRun:
    """All of a fine-tuning: the six sections, checked."""

    model: StartConfig
    data: LabelledDataConfig
    finetune: FineTuneConfig
    lora: LoRAConfig
    train: dict[str, Any]
    machine: MachineConfig = field(default_factory=MachineConfig)

    def __post_init__(self) -> None:
        scratch = self.finetune.method == "scratch"
        require(
            scratch or bool(self.model.pretrained),
            f"method={self.finetune.method!r} starts from a pretrained model; name it in [model] pretrained, or take "
            "method='scratch'",
        )
        derived = [name for name in ("max_steps", "warmup_steps", "eval_every") if name in self.train]
        require(
            not (self.finetune.epochs and derived),
            f"{derived} of [train] follow from epochs={self.finetune.epochs:g}; leave them out, or set "
            "finetune.epochs=0",
        )
        require(
            self.train_config(1).eval_every > 0 or self.finetune.patience == 0,
            f"patience={self.finetune.patience} counts evaluations, but with epochs=0 and eval_every=0 there is one "
            "alone, at the end; set train.eval_every, or patience=0",
        )

    def require_used(self) -> None:
        """Refuse what a training would ignore. A run that is only evaluated may read long texts in another way."""
        d, f, usual = self.data, self.finetune, LoRAConfig().to_dict()
        idle = [name for name, value in self.lora.to_dict().items() if f.method != "lora" and value != usual[name]]
        require(
            not idle,
            f"{idle} of [lora] would do nothing: method={f.method!r} has no adapters; leave them out, or at their "
            f"defaults ({', '.join(f'lora.{name}={json.dumps(usual[name])}' for name in idle)}), or set "
            "finetune.method=lora",
        )
        if f.method != "probe":
            return
        require(
            f.layer_decay == 1.0,
            f"layer_decay={f.layer_decay:g} would do nothing: method='probe' trains the head alone; leave it out, or "
            "set finetune.layer_decay=1",
        )
        require(
            d.reading == d.keep,
            f"keep={d.keep!r} and eval_keep={d.eval_keep!r}, but method='probe' reads each text once, for training and "
            "for evaluation; set data.keep alone",
        )
        require(
            d.tokens_per_batch == 0,
            f"tokens_per_batch={d.tokens_per_batch}, but method='probe' learns from one vector a text; set "
            "train.batch_size, and data.tokens_per_batch=0",
        )

    def train_config(self, batches_per_epoch: int) -> TrainConfig:
        """How the trainer trains: with ``epochs``, steps, warm-up and evaluations follow from the size of an epoch."""
        f = self.finetune
        if not f.epochs:
            return checked_section("train", self.train, TrainConfig.from_dict)
        rest = checked_section("train", {**self.train, "max_steps": 1}, TrainConfig.from_dict)
        per_epoch = batches_per_epoch / rest.grad_accum_steps
        steps, every = max(1, f.least_steps, round(f.epochs * per_epoch)), max(1, round(per_epoch / f.evaluations))
        return replace(
            rest,
            max_steps=steps,
            warmup_steps=round(f.warmup * steps),
            eval_every=every,
            checkpoint_every=rest.checkpoint_every or every,  # a run that was stopped has something to go on from
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FineTuneRun":
        """The run that these sections describe.

        Raises:
            ValueError: an unknown section, key or value (it names the section), or one that is missing.
        """
        unknown = sorted(set(values) - set(SECTIONS))
        require(not unknown, f"a run file of a fine-tuning has no section {unknown}; it has {list(SECTIONS)}")
        made = {name: checked_section(name, values.get(name, {}), make) for name, make in SECTIONS.items()}
        return cls(**made)

    def to_dict(self) -> dict[str, Any]:
        """The sections."""
        sections = {name: getattr(self, name) for name in SECTIONS}
        return {name: dict(s) if isinstance(s, dict) else s.to_dict() for name, s in sections.items()}


SECTIONS: dict[str, Any] = {
    "model": StartConfig.from_dict,
    "data": LabelledDataConfig.from_dict,
    "finetune": FineTuneConfig.from_dict,
    "lora": LoRAConfig.from_dict,
    "train": dict,
    "machine": MachineConfig.from_dict,
}


def read_finetune(path: str | Path, overrides: Sequence[str] = ()) -> FineTuneRun:
    """The fine-tuning in a TOML file, with single values replaced; see :func:`companion.training.runfile.read_run`."""
    return read_sections(path, overrides, FineTuneRun.from_dict)
