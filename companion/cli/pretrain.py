"""``companion pretrain``: a run file becomes a trained model."""

import argparse
from pathlib import Path
from typing import Any

from companion.cli.runs import INTERRUPTED, add_run_arguments, command_line, run_folder, say, take_up, train
from companion.training import distributed
from companion.training.loop import Trainer
from companion.training.pretrain import build_trainer, use_machine
from companion.training.record import summary, write_record
from companion.training.runfile import RunConfig, read_run

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
    add_run_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, or go on."""
    config = read_run(options.run_file, options.overrides)
    out = run_folder(options)
    with distributed.join() as device:
        own = use_machine(config.machine)
        trainer = build_trainer(config, device=device or own)
        take_up(trainer, out, fresh=options.fresh)
        if trainer.finished:
            say(f"nothing left to do: max_steps={config.train.max_steps:,}; more with --set train.max_steps=...")
        else:
            _train(trainer, config, out)
        if distributed.rank() == 0 and options.record is not None and not trainer.interrupted:
            write_record(options.record, summary(trainer, config, command=command_line("pretrain", options)))
            say(f"recorded in {options.record}")
    return INTERRUPTED if trainer.interrupted else 0


def _train(trainer: Trainer, config: RunConfig, out: Path) -> None:
    n = sum(p.numel() for p in trainer.model.parameters())
    say(f"{type(trainer.model).__name__} of {n:,} parameters, {config.train.max_steps:,} steps")
    train(trainer, config.to_dict(), out, log_every=config.machine.log_every)
    if not trainer.interrupted:
        last = {k: round(v, 4) for k, v in trainer.history[-1].items() if k.startswith("valid_")}
        say(f"done: {trainer.step:,} steps; held out: {last}")
