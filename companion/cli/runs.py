"""What the commands share: overrides, a run's configuration, and the weights of one of its steps."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from companion.errors import require
from companion.models.bert import BERT
from companion.models.gpt import GPT
from companion.training.checkpoint import checkpoints, load_checkpoint
from companion.training.pretrain import build_model
from companion.training.runfile import RunConfig, apply_overrides, parse_override

RUN = "run.json"


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add ``--set`` to a command's parser."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        type=_override,
        metavar="SECTION.KEY=VALUE",
        help="replace one value of the run, like train.max_steps=100; may be given several times",
    )


def _override(text: str) -> str:
    try:
        parse_override(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def read_run_folder(folder: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration that a run's folder was trained with."""
    require((folder / RUN).is_file(), f"{folder} holds no {RUN}; is it a folder that `companion pretrain` wrote?")
    try:
        values: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
        return RunConfig.from_dict(apply_overrides(values, overrides))
    except ValueError as error:
        raise ValueError(f"{folder / RUN}: {error}") from error


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
