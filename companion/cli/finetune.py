"""``companion finetune``: a pretrained model and labelled texts become a classifier."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from companion.cli.runs import INTERRUPTED, add_run_arguments, command_line, run_folder, say, take_up, train
from companion.data.labelled import IMDB, MINI
from companion.data.stream import BatchStream
from companion.data.texts import left_out
from companion.training.finetune import LabelledSplit, build_finetuner, read_split
from companion.training.finetune_config import FineTuneRun, read_finetune
from companion.training.finetune_record import finetune_summary
from companion.training.finetuner import FEW_STEPS, FEWEST_FOR_TEMPERATURE, FineTuner
from companion.training.pretrain import use_machine
from companion.training.record import write_record
from companion.training.scores import accuracy_interval

DESCRIPTION = f"""\
Fine-tune a pretrained model into a classifier of texts, as a run file says. A part of the labelled texts is held out;
the weights that are best on it are kept, with the temperature that makes their probabilities honest, if it has
{FEWEST_FOR_TEMPERATURE} texts or more. The run's folder receives checkpoints, the log (log.jsonl) and the run file as
it was used (run.json).

A run that was stopped goes on from its newest checkpoint when the same command is given again, and ends with the same
weights, bit for bit. On a resumed run epochs, least_steps, warmup, evaluations and patience of [finetune], and what
`companion pretrain` allows, may be changed; the learning rate is that of the new plan from the present step on. Fewer
steps than were made are refused.

methods: full (everything is trained), probe (a head on frozen features, which are computed once), lora (low-rank
adapters, merged at the end), scratch (everything, from random weights).

labelled texts: imdb; mini, the book's mini reviews; a .csv file with a header; a .jsonl or .ndjson file, an object a
line; a folder of such files, or of folders that are named like the classes and hold .txt files. What has no word is
left out and counted; a label that is no class, and a class without texts, are errors that say what to do.
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
    out = run_folder(options)
    device = use_machine(config.machine)
    data = read_split(config)
    tuner = build_finetuner(config, data=data, device=device)
    take_up(tuner, out, fresh=options.fresh)
    if tuner.finished:
        say(f"nothing left to do; more with --set {_more(tuner)}=...")
    else:
        _describe(tuner, data)
        train(tuner, config.to_dict(), out, log_every=config.machine.log_every)
    if tuner.interrupted:
        return INTERRUPTED
    say(_outcome(tuner))
    if options.record is not None:
        write_record(options.record, finetune_summary(tuner, data, command=command_line("finetune", options)))
        say(f"recorded in {options.record}")
    say(_next(config, tuner, out))
    return 0


def _next(config: FineTuneRun, tuner: FineTuner, out: Path) -> str:
    """Commands that work: not every source has a test part."""
    folder = shlex.quote(out.as_posix())
    on = " --split validation" if len(tuner.labels) else " --data FILE"
    where = "" if config.data.source in (IMDB, MINI) else on
    return f"next: companion evaluate {folder}{where}; companion predict --model {folder} TEXT"


def _more(tuner: FineTuner) -> str:
    """What ended the training: its patience, or its steps."""
    if tuner.step < tuner.config.max_steps:
        return "finetune.patience"
    return "finetune.epochs" if tuner.run.finetune.epochs else "train.max_steps"


def _describe(tuner: FineTuner, data: LabelledSplit) -> None:
    config: FineTuneRun = tuner.run
    counts = ", ".join(f"{n:,} {name}" for name, n in data.train.counts.items())
    held_out = 0 if data.validation is None else len(data.validation)
    skipped = f"; {left_out(data.train.skipped)}" if data.train.skipped else ""
    say(f"{len(data.train):,} texts to learn from ({counts}), {held_out:,} held out{skipped}")
    cut = getattr(tuner.stream.source, "passages", None) if isinstance(tuner.stream, BatchStream) else None
    for line in (cut.said_of_longer(), cut.said_of_unknown()) if cut is not None else ():
        if line:
            say(line)
    parameters = list(tuner.model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    say(
        f"{config.finetune.method}: {trained:,} of {sum(p.numel() for p in parameters):,} parameters are trained, "
        f"{_steps(tuner.config.max_steps)}"
    )
    if tuner.config.max_steps < FEW_STEPS:
        more = f"finetune.least_steps={FEW_STEPS}" if config.finetune.epochs else f"train.max_steps={FEW_STEPS}"
        say(
            f"only {_steps(tuner.config.max_steps)}: small sets need more; add --set {more}, or take "
            "book/recipes/few-labels.toml"
        )


def _steps(n: int) -> str:
    return f"{n:,} step{'s' * (n != 1)}"


def _outcome(tuner: FineTuner) -> str:
    best = tuner.best
    if best is None:
        return f"done: {_steps(tuner.step)}; nothing was held out, so the last weights are kept"
    early = "" if tuner.step >= tuner.config.max_steps else " (stopped early)"
    n, share = len(tuner.labels), best["scores"]["accuracy"]
    low, high = accuracy_interval(round(share * n), n)
    calibration = (
        f"temperature {best['temperature']:.3f}, calibration error {best['ece']:.2%} before and "
        f"{best['calibrated_ece']:.2%} after"
    )
    if n < FEWEST_FOR_TEMPERATURE and best["temperature"] == 1.0:
        calibration = f"too few texts for a temperature, calibration error {best['ece']:.2%}"
    return (
        f"done: {_steps(tuner.step)}{early}; best on the {n:,} held-out texts at step {best['step']:,}: accuracy "
        f"{share:.2%} (95 % interval {100 * low:.1f} to {100 * high:.1f} %), loss {best['scores']['loss']:.4f}; "
        f"{calibration}"
    )
