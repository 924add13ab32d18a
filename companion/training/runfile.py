"""A run's configuration file: read, changed by overrides, checked.

A run file has five sections::

    [model]        preset = "bert-book", and any field of TransformerConfig that shall differ
    [objective]    task = "mlm" (BERT) or "lm" (GPT), mask_share
    [data]         corpus = what `companion data` wrote, length, tokens_per_batch, eval_tokens, seed
    [train]        the fields of TrainConfig but batch_size
    [machine]      threads, device, fast_float32, log_every

An unknown section or key is an error, and so is one that would do nothing.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from companion.config import TrainConfig, TransformerConfig
from companion.config.base import Config, check_at_least, check_choice
from companion.errors import require

R = TypeVar("R")
Task = Literal["mlm", "lm"]
Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Config):
    """What is learned.

    Attributes:
        task: ``"mlm"``, masked words (and the next sentence, if the model has that head), by a :class:`companion.BERT`;
            or ``"lm"``, the next token, by a :class:`companion.GPT`.
        mask_share: share of the tokens that ``"mlm"`` chooses; BERT's is 0.15.
        chunk: rows that pass through the output layer over the vocabulary at a time.
    """

    task: Task = "mlm"
    mask_share: float = 0.15
    chunk: int = 1024

    def __post_init__(self) -> None:
        check_choice("task", self.task, Task)
        check_at_least("chunk", self.chunk, 1)
        require(0.0 < self.mask_share < 1.0, f"mask_share={self.mask_share} must be between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """What is read, and how much at a time.

    Attributes:
        corpus: the folder that ``companion data`` wrote.
        length: tokens of a row.
        tokens_per_batch: tokens of a batch; a step takes ``grad_accum_steps`` batches.
        eval_tokens: how many held-out tokens are looked at while training; 0 = all.
        seed: of the order of the data, the pairs and the masks.
    """

    corpus: str
    length: int = 128
    tokens_per_batch: int = 4096
    eval_tokens: int = 65_536
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {"length": 8, "tokens_per_batch": 1, "eval_tokens": 0, "seed": 0}.items():
            check_at_least(name, getattr(self, name), least)
        require(
            self.tokens_per_batch >= self.length,
            f"tokens_per_batch={self.tokens_per_batch} is less than one row of length={self.length}",
        )


@dataclass(frozen=True, kw_only=True)
class MachineConfig(Config):
    """What the run uses of the machine; nothing here changes what is computed, but for rounding and, on another
    device, the masks of dropout.

    Attributes:
        threads: CPU threads; 0 = PyTorch's choice.
        device: ``"auto"`` = the fastest that is there.
        fast_float32: take the faster float32 products if their error allows; see
            :func:`companion.runtime.faster_float32`.
        log_every: steps between the lines that are printed where there is no terminal.
    """

    threads: int = 0
    device: Device = "auto"
    fast_float32: bool = False
    log_every: int = 50

    def __post_init__(self) -> None:
        check_at_least("threads", self.threads, 0)
        check_at_least("log_every", self.log_every, 1)
        check_choice("device", self.device, Device)
        require(isinstance(self.fast_float32, bool), f"fast_float32={self.fast_float32!r} must be true or false")


@dataclass(frozen=True)
class RunConfig:
    """All of a run: the five sections, checked."""

    model: TransformerConfig
    objective: ObjectiveConfig
    data: DataConfig
    train: TrainConfig
    machine: MachineConfig = field(default_factory=MachineConfig)

    def __post_init__(self) -> None:
        require(
            self.data.length <= self.model.max_len,
            f"rows of length={self.data.length} tokens do not fit into the model's max_len={self.model.max_len}",
        )
        require(
            self.objective.task == "mlm" or self.model.n_segments == 0,
            "a GPT has no segments; set n_segments = 0 in [model]",
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunConfig":
        """The run that these sections describe.

        Raises:
            ValueError: an unknown section, key or value (it names the section), or one that is missing.
        """
        unknown = sorted(set(values) - set(_SECTIONS))
        require(not unknown, f"a run file has no section {unknown}; it has {list(_SECTIONS)}")
        sections: dict[str, Any] = {name: _section(name, values.get(name, {})) for name in _SECTIONS}
        return cls(**sections)

    def to_dict(self) -> dict[str, Any]:
        """The sections, with every field."""
        return {name: getattr(self, name).to_dict() for name in _SECTIONS}


_SECTIONS: dict[str, type[Config]] = {
    "model": TransformerConfig,
    "objective": ObjectiveConfig,
    "data": DataConfig,
    "train": TrainConfig,
    "machine": MachineConfig,
}


def _section(name: str, values: Any) -> Config:
    def make(values: dict[str, Any]) -> Config:
        if name == "model" and "preset" in values:
            return TransformerConfig.preset(**{"name" if key == "preset" else key: v for key, v in values.items()})
        return _SECTIONS[name].from_dict(values)

    return checked_section(name, values, make)


def checked_section(name: str, values: Any, make: Callable[[dict[str, Any]], R]) -> R:
    """What ``make`` makes of a section's values; an error begins with the section's name."""
    try:
        require(isinstance(values, dict), f"is {values!r}; it must be a section")
        return make(values)
    except TypeError as error:  # a field without a default is missing, or a value has a type that cannot be compared
        raise ValueError(f"[{name}] {str(error).partition('.__init__() ')[2] or error}") from error
    except ValueError as error:
        raise ValueError(f"[{name}] {error}") from error


def read_run(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run in a TOML file, with single values replaced.

    Args:
        path: the file.
        overrides: like ``"train.max_steps=100"``; the value is TOML, or else taken as a string.

    Raises:
        ValueError: the file is missing or no TOML, an override has another form, or what it says is wrong or would do
            nothing.
    """
    return read_sections(path, overrides, _run_of_file)


def _run_of_file(values: dict[str, Any]) -> RunConfig:
    """The run of a file, which gives nothing useless; a stored run, with every field, goes through ``from_dict``."""
    run = RunConfig.from_dict(values)
    useless = {"train.batch_size": "data.tokens_per_batch says how large a batch is"}
    if run.objective.task == "lm":
        useless |= {"objective.mask_share": "a GPT hides no words", "model.next_sentence": "a GPT has no such head"}
    for name, why in useless.items():
        section, _, key = name.partition(".")
        require(key not in values.get(section, {}), f"{name} would do nothing: {why}; leave it out")
    return run


def read_sections(path: str | Path, overrides: Sequence[str], make: Callable[[dict[str, Any]], R]) -> R:
    """What ``make`` makes of the sections in a TOML file; arguments and errors as in :func:`read_run`."""
    path = Path(path)
    require(path.is_file(), f"there is no run file {path}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from error
    try:
        return make(apply_overrides(values, overrides))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Sections with single values replaced.

    >>> apply_overrides({"train": {"max_steps": 5, "seed": 1}}, ["train.max_steps=7", "data.corpus=runs/data/mine"])
    {'train': {'max_steps': 7, 'seed': 1}, 'data': {'corpus': 'runs/data/mine'}}
    """
    changed = dict(values)
    for override in overrides:
        section, key, value = parse_override(override)
        before = changed.get(section, {})
        require(isinstance(before, dict), f"{section} must be a section, [{section}]")
        changed[section] = {**before, key: value}
    return changed


def parse_override(text: str) -> tuple[str, str, Any]:
    """Section, key and value of an override; the value is TOML, or else taken as a string.

    >>> parse_override("train.betas=[0.9, 0.98]"), parse_override("data.corpus=runs/data/mine")
    (('train', 'betas', [0.9, 0.98]), ('data', 'corpus', 'runs/data/mine'))
    """
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    require(
        bool(equals and dot and section and key),
        f"cannot read {text!r}; expected section.key=value, like train.max_steps=100",
    )
    try:
        return section, key, tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return section, key, value.strip()
