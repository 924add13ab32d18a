"""``companion evaluate``: how well a model predicts held-out text."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from companion.cli.runs import add_overrides, load_run, read_run_folder
from companion.errors import require
from companion.models.pretrained import load_pretrained, pretrained_settings
from companion.training.checkpoint import checkpoints
from companion.training.evaluation import evaluate
from companion.training.pretrain import build_objective, build_streams, use_machine
from companion.training.record import read_record, write_record
from companion.training.runfile import RunConfig, apply_overrides

DESCRIPTION = """\
Loss, accuracy and perplexity on the held-out part of a corpus.

MODEL is a run's folder (its newest checkpoint is taken, or the one of --step), the name of a model that ships with the
package, or a folder that `companion export` wrote. Each knows the corpus that it was trained on; --set data.corpus=...
takes another one, which must have the same tokenizer.

A masked word counts as right if the model's first guess is the word. Perplexity is exp(loss): the number of equally
likely words that would be as hard to tell apart.
"""
EPILOG = """\
examples:
  companion evaluate runs/bert-book-imdb
  companion evaluate bert-book-imdb --record book/results/bert-book-imdb.json
  companion evaluate runs/bert-book-imdb --step 1000 --json
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="loss, accuracy and perplexity on held-out text",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a run's folder, or the name of a model")
    add_overrides(parser)
    parser.add_argument("--step", type=int, metavar="N", help="a step of the run whose checkpoint was kept")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE.json",
        help="note the figures in the record of the training",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the figures."""
    config, model, about = _find(options)
    if options.record is not None:
        read_record(options.record)  # before the long part: is there one?
    device = use_machine(config.machine)
    batches = build_streams(config, all_held_out=True).held_out
    objective, kind = build_objective(config), config.train.precision
    scores = with_perplexity(evaluate(model.to(device), batches, objective, kind=kind, device=device))
    tokens = sum(batch.n_tokens for batch in batches)
    if options.record is not None:
        _note(options.record, {**about, "held_out_tokens": tokens, **{k: round(v, 4) for k, v in scores.items()}})
    if options.json:
        print(json.dumps({**about, "held_out_tokens": tokens, **scores}))
        return 0
    print(", ".join(f"{name} {value}" for name, value in about.items()) + f"; {tokens:,} held-out tokens")
    for name, value in scores.items():
        print(f"  {name:<16}{value:8.4f}" if "accuracy" not in name else f"  {name:<16}{value:8.2%}")
    return 0


def with_perplexity(scores: dict[str, float]) -> dict[str, float]:
    """The scores, and exp(loss) of each loss over the vocabulary.

    >>> with_perplexity({"loss": 0.0, "lm": 0.0})
    {'loss': 0.0, 'lm': 0.0, 'lm_perplexity': 1.0}
    """
    return scores | {f"{name}_perplexity": math.exp(scores[name]) for name in ("mlm", "lm") if name in scores}


def _note(path: Path, figures: dict[str, Any]) -> None:
    record = read_record(path)
    record["evaluation"] = figures
    write_record(path, record)


def _find(options: argparse.Namespace) -> tuple[RunConfig, Any, dict[str, Any]]:
    folder = Path(options.model)
    if checkpoints(folder):
        config = read_run_folder(folder, options.overrides)
        trained, state = load_run(folder, config, options.step)
        return config, trained, {"run": folder.as_posix(), "step": state["step"]}
    require(options.step is None, f"{folder} holds no checkpoint, so there is no --step to choose")
    model = load_pretrained(options.model)
    about = pretrained_settings(options.model)["about"]
    require("run" in about, f"{options.model} does not say how it was trained, so its data are not known")
    config = RunConfig.from_dict(apply_overrides(about["run"], options.overrides))
    return config, model, {"model": options.model, "step": about["step"]}
