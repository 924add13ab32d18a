"""What the commands share: finding a run's configuration and the weights of one of its steps."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from companion.errors import require
from companion.models.bert import BERT
from companion.models.gpt import GPT
from companion.training.checkpoint import checkpoints, load_checkpoint
from companion.training.pretrain import build_model
from companion.training.runfile import RunConfig, apply_overrides

RUN = "run.json"


def read_run_folder(folder: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration that a run's folder was trained with."""
    require((folder / RUN).is_file(), f"{folder} holds no {RUN}; is it a folder that `companion pretrain` wrote?")
    values: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
    return RunConfig.from_dict(apply_overrides(values, overrides))


def load_run(folder: Path, config: RunConfig, step: int | None = None) -> tuple[BERT | GPT, dict[str, Any]]:
    """The model at the newest checkpoint of a run, or at that of ``step``, and the whole checkpoint.

    Raises:
        ValueError: there is no checkpoint of that step (it says which there are), or it is damaged.
    """
    name = f"step-{step:08d}" if step is not None else None
    there = [path.name for path in checkpoints(folder)]
    require(name is None or name in there, f"{folder} holds no checkpoint of step {step}; it has {there}")
    state = load_checkpoint(folder if name is None else folder / name)
    model = build_model(config)
    model.load_state_dict(state["model"])
    return model.eval(), state
