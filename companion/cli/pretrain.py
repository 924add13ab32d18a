"""``companion pretrain``: a run file becomes a trained model."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from companion.cli.runs import RUN, add_overrides
from companion.training import distributed
from companion.training.checkpoint import latest_checkpoint, load_checkpoint
from companion.training.loop import Trainer
from companion.training.pretrain import build_trainer, use_machine
from companion.training.record import Log, summary, write_record
from companion.training.runfile import RunConfig, read_run

INTERRUPTED = 130
DESCRIPTION = """\
Train a model as a run file says. The run's folder receives checkpoints, the log (log.jsonl, one line a step) and the
run file as it was used (run.json).

A run that was stopped goes on from its newest checkpoint when the same command is given again; it then ends with the
same weights, bit for bit, as if it had never been stopped. Ctrl-C lets the step end, saves, and stops. On a resumed run
max_steps, eval_every, checkpoint_every, keep_checkpoints, snapshots and all of [machine] may be changed.
"""
EPILOG = """\
examples:
  companion data imdb --tokenizer book --out runs/data/imdb
  companion pretrain book/recipes/bert-book-imdb.toml
  companion pretrain book/recipes/bert-book-imdb.toml --set train.max_steps=200 --out runs/trial --fresh
  companion pretrain book/recipes/gpt-book-imdb.toml --set data.corpus=runs/data/mine --set model.vocab_size=2000

a run file:
  [model]
  preset = "bert-book"        # or gpt-book; any other field of TransformerConfig
  [objective]
  task = "mlm"                # masked words and next sentence (BERT); "lm": the next token (GPT)
  [data]
  corpus = "runs/data/mine"   # what `companion data` wrote
  [train]
  max_steps = 2000            # and any other field of TrainConfig
  [machine]
  threads = 2                 # optional

several processes: torchrun --nproc-per-node 2 -m companion.cli pretrain RUN.toml
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "pretrain",
        help="train a model on a corpus; takes up a stopped run where it was",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_file", type=Path, metavar="RUN.toml", help="what to train, and how")
    add_overrides(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="the run's folder (default: runs/ and the run file's name)"
    )
    parser.add_argument("--fresh", action="store_true", help="begin anew; FOLDER must hold no checkpoint")
    parser.add_argument("--record", type=Path, metavar="FILE.json", help="write the run's record when it has ended")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, or go on."""
    config = read_run(options.run_file, options.overrides)
    out = options.out or Path("runs") / options.run_file.stem
    with distributed.join() as device:
        own = use_machine(config.machine)
        trainer = build_trainer(config, device=device or own)
        _take_up(trainer, out, fresh=options.fresh)
        if trainer.step < config.train.max_steps:
            _train(trainer, config, out)
        else:
            _say(f"nothing left to do: max_steps={config.train.max_steps:,}; more with --set train.max_steps=...")
        if distributed.rank() == 0 and options.record is not None and not trainer.interrupted:
            _record(trainer, config, options)
    return INTERRUPTED if trainer.interrupted else 0


def _take_up(trainer: Trainer, out: Path, *, fresh: bool) -> None:
    newest = latest_checkpoint(out)
    if newest is None:
        _say(f"a new run in {out}")
        return
    if fresh:
        raise ValueError(f"{out} holds {newest.name}; with --fresh give another --out, or remove that folder first")
    trainer.load_state_dict(load_checkpoint(out))
    _say(f"going on in {out} after step {trainer.step:,}")


def _train(trainer: Trainer, config: RunConfig, out: Path) -> None:
    if distributed.rank() == 0:
        out.mkdir(parents=True, exist_ok=True)
        (out / RUN).write_text(json.dumps(config.to_dict(), indent=1) + "\n", encoding="utf-8")
    n = sum(p.numel() for p in trainer.model.parameters())
    _say(f"{type(trainer.model).__name__} of {n:,} parameters, {config.train.max_steps:,} steps")
    say = None if sys.stderr.isatty() else _say
    with Log(out / "log.jsonl", trainer, every=config.machine.log_every, say=say) as log:
        trainer.fit(on_step=log, checkpoint_dir=out)
    if trainer.interrupted:
        _say(f"stopped after step {trainer.step:,} and saved; the same command goes on")
    else:
        last = {k: round(v, 4) for k, v in trainer.history[-1].items() if k.startswith("valid_")}
        _say(f"done: {trainer.step:,} steps; held out: {last}")


def _record(trainer: Trainer, config: RunConfig, options: argparse.Namespace) -> None:
    command = f"companion pretrain {options.run_file.as_posix()}" + "".join(f" --set {o}" for o in options.overrides)
    record = summary(trainer, config, command=command)
    write_record(options.record, record)
    _say(f"recorded in {options.record}")


def _say(text: str) -> None:
    if distributed.rank() == 0:
        print(text, flush=True)
