"""What stands in the folder of a pretraining: its configuration, and the weights of its steps."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from companion.errors import require
from companion.files import write_text_whole
from companion.models.bert import BERT
from companion.models.gpt import GPT
from companion.training.checkpoint import checkpoints, load_checkpoint
from companion.training.pretrain import build_model
from companion.training.runfile import RunConfig, apply_overrides

RUN = "run.json"


def read_run_values(folder: Path) -> dict[str, Any]:
    """The sections in the run file that a folder keeps.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    require((folder / RUN).is_file(), f"{folder} holds no {RUN}; is it the folder of a run?")
    try:
        values: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / RUN}: {error}") from error
    return values


def write_run_values(folder: Path, values: Mapping[str, Any]) -> Path:
    """Write the sections of a run for :func:`read_run_values`, whole or not at all; the file.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "mine"
    >>> write_run_values(folder, {"train": {"max_steps": 5}}).name, read_run_values(folder)
    ('run.json', {'train': {'max_steps': 5}})
    """
    path = folder / RUN
    write_text_whole(path, json.dumps(values, indent=1) + "\n")
    return path


def is_finetuning(values: dict[str, Any]) -> bool:
    """Whether these sections are those of a fine-tuning."""
    return "finetune" in values


def read_run_folder(folder: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration that a run's folder was pretrained with."""
    try:
        return RunConfig.from_dict(apply_overrides(read_run_values(folder), overrides))
    except ValueError as error:
        raise error if str(folder) in str(error) else ValueError(f"{folder / RUN}: {error}") from error


def load_state(folder: Path, step: int | None = None) -> dict[str, Any]:
    """The newest checkpoint of a run, or that of ``step``.

    Raises:
        ValueError: there is no checkpoint of that step (it says which there are), or it is damaged.
    """
    name = f"step-{step:08d}" if step is not None else None
    there = [path.name for path in checkpoints(folder)]
    require(name is None or name in there, f"{folder} holds no checkpoint of step {step}; it has {there}")
    return load_checkpoint(folder if name is None else folder / name)


def load_run(folder: Path, config: RunConfig, step: int | None = None) -> tuple[BERT | GPT, dict[str, Any]]:
    """The model at the newest checkpoint of a pretraining, or at that of ``step``, and the whole checkpoint."""
    state = load_state(folder, step)
    model = build_model(config)
    model.load_state_dict(state["model"])
    return model.eval(), state
