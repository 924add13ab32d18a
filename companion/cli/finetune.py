"""``companion finetune``: a pretrained model and labelled texts become a classifier."""

import argparse
from pathlib import Path
from typing import Any

from companion.cli.runs import INTERRUPTED, add_run_arguments, command_line, say, take_up, train
from companion.training.finetune import LabelledSplit, build_finetuner, read_split
from companion.training.finetune_config import FineTuneRun, read_finetune
from companion.training.finetune_record import finetune_summary
from companion.training.finetuner import FineTuner
from companion.training.pretrain import use_machine
from companion.training.record import write_record

DESCRIPTION = """\
Fine-tune a pretrained model into a classifier of texts, as a run file says. A part of the labelled texts is held out;
the weights that are best on it are kept, with the temperature that makes their probabilities honest. The run's folder
receives checkpoints, the log (log.jsonl) and the run file as it was used (run.json).

A run that was stopped goes on from its newest checkpoint when the same command is given again, and ends with the same
weights, bit for bit. On a resumed run epochs, warmup, evaluations and patience of [finetune], and what `companion
pretrain` allows, may be changed.

methods: full (everything is trained), probe (a head on frozen features, which are computed once), lora (low-rank
adapters, merged at the end), scratch (everything, from random weights).

labelled texts: imdb; mini, the book's mini reviews; a .csv file with a header; a .jsonl file, an object a line; a
folder of such files, or of folders that are named like the classes and hold .txt files. What has no word is left out
and counted; a label that is no class is an error that names the line.
"""
EPILOG = """\
examples:
  companion finetune book/recipes/imdb-full.toml --record book/results/imdb-full.json
  companion finetune book/recipes/imdb-full.toml --set data.source=mini --set finetune.epochs=5 --out runs/mini
  companion finetune book/recipes/imdb-lora.toml --set data.source=mine.csv --set 'data.labels=["bad", "good"]'

a run file:
  [model]
  pretrained = "bert-book-imdb"  # or a folder of `companion export`, or a run's folder: runs/mine
  dropout = 0.1
  [data]
  source = "reviews.csv"         # columns text and label; other names: text = "...", label = "..."
  labels = ["neg", "pos"]
  length = 256                   # tokens that are read
  keep = "both"                  # of a longer text: "head", "tail", "both", or all of it in "windows"
  [finetune]
  method = "full"
  epochs = 3
  layer_decay = 0.8              # lower layers learn more slowly
  patience = 4                   # evaluations without an improvement
  [train]
  batch_size = 32
  peak_lr = 3e-4                 # and any other field of TrainConfig
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "finetune",
        help="turn a pretrained model into a classifier of texts; takes up a stopped run where it was",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fine-tune, or go on."""
    config = read_finetune(options.run_file, options.overrides)
    out = options.out or Path("runs") / options.run_file.stem
    device = use_machine(config.machine)
    data = read_split(config)
    tuner = build_finetuner(config, data=data, device=device)
    take_up(tuner, out, fresh=options.fresh)
    if tuner.finished:
        say("nothing left to do; more with --set finetune.epochs=... or --set finetune.patience=...")
    else:
        _describe(tuner, data)
        train(tuner, config.to_dict(), out, log_every=config.machine.log_every)
    if tuner.interrupted:
        return INTERRUPTED
    say(_outcome(tuner))
    if options.record is not None:
        write_record(options.record, finetune_summary(tuner, data, command=command_line("finetune", options)))
        say(f"recorded in {options.record}")
    say(f"next: companion evaluate {out.as_posix()}; companion predict --model {out.as_posix()} TEXT")
    return 0


def _describe(tuner: FineTuner, data: LabelledSplit) -> None:
    config: FineTuneRun = tuner.run
    counts = ", ".join(f"{n:,} {name}" for name, n in data.train.counts.items())
    held_out = 0 if data.validation is None else len(data.validation)
    skipped = "".join(f"; left out: {n:,} {reason}" for reason, n in data.train.skipped.items())
    say(f"{len(data.train):,} texts to learn from ({counts}), {held_out:,} held out{skipped}")
    parameters = list(tuner.model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    say(
        f"{config.finetune.method}: {trained:,} of {sum(p.numel() for p in parameters):,} parameters are trained, "
        f"{tuner.config.max_steps:,} steps"
    )


def _outcome(tuner: FineTuner) -> str:
    best = tuner.best
    if best is None:
        return f"done: {tuner.step:,} steps; nothing was held out, so the last weights are kept"
    early = "" if tuner.step >= tuner.config.max_steps else " (stopped early)"
    n, share = len(tuner.labels), best["scores"]["accuracy"]
    chance = (share * (1 - share) / n) ** 0.5
    return (
        f"done: {tuner.step:,} steps{early}; best on the {n:,} held-out texts at step {best['step']:,}: accuracy "
        f"{share:.2%} (give or take {chance:.1%} by chance), loss {best['scores']['loss']:.4f}; temperature "
        f"{best['temperature']:.3f}, calibration error {best['ece']:.2%} before and {best['calibrated_ece']:.2%} after"
    )
