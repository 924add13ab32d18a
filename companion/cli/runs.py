"""What the commands share: overrides, and the folders of runs."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from companion.errors import require
from companion.training import distributed
from companion.training.checkpoint import latest_checkpoint, load_checkpoint
from companion.training.loop import Trainer
from companion.training.record import Log
from companion.training.run_folder import write_run_values
from companion.training.runfile import parse_override

INTERRUPTED = 130


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


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a command needs to train: run file, overrides, folder, record."""
    parser.add_argument("run_file", type=Path, metavar="RUN.toml", help="what to train, and how")
    add_overrides(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="the run's folder (default: runs/ and the run file's name)"
    )
    parser.add_argument("--fresh", action="store_true", help="begin anew; FOLDER must hold no checkpoint")
    parser.add_argument("--record", type=Path, metavar="FILE.json", help="write the run's record when it has ended")


def run_folder(options: argparse.Namespace) -> Path:
    """The run's folder: what --out names, or else the run file.

    Raises:
        ValueError: a file stands there, or on the way there.
    """
    out: Path = options.out or Path("runs") / options.run_file.stem
    file = next((path for path in (out, *out.parents) if path.exists() and not path.is_dir()), None)
    require(file is None, f"{file} is a file, so {out} cannot be the run's folder; name another one: --out FOLDER")
    return out


def _override(text: str) -> str:
    try:
        parse_override(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def take_up(trainer: Trainer, out: Path, *, fresh: bool) -> None:
    """Go on from the newest checkpoint in the run's folder, if there is one."""
    newest = latest_checkpoint(out)
    if newest is None:
        say(f"a new run in {out}")
        return
    if fresh:
        raise ValueError(f"{out} holds {newest.name}; with --fresh give another --out, or remove that folder first")
    trainer.load_state_dict(load_checkpoint(out))
    say(f"going on in {out} after step {trainer.step:,}")


def train(trainer: Trainer, values: dict[str, Any], out: Path, *, log_every: int) -> None:
    """Train to the end or to Ctrl-C; the run's folder gets its sections, log and checkpoints."""
    if distributed.rank() == 0:
        write_run_values(out, values)
    line = None if sys.stderr.isatty() else say
    with Log(out / "log.jsonl", trainer, every=log_every, say=line) as log:
        trainer.fit(on_step=log, checkpoint_dir=out)
    if trainer.interrupted:
        say(f"stopped after step {trainer.step:,} and saved; the same command goes on")


def command_line(name: str, options: argparse.Namespace) -> str:
    """The command as it can be given again."""
    overrides = [part for override in options.overrides for part in ("--set", override)]
    return shlex.join(["companion", name, options.run_file.as_posix(), *overrides])


def say(text: str) -> None:
    """Print a line, by the first process alone."""
    if distributed.rank() == 0:
        print(text, flush=True)
