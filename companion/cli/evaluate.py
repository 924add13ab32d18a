"""``companion evaluate``: how well a model predicts held-out text, or the classes of texts."""

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from companion.cli.runs import add_overrides
from companion.data.labelled import IMDB, MINI, LabelledTexts
from companion.data.texts import left_out
from companion.errors import require
from companion.models.pretrained import load_pretrained
from companion.models.pretrained_files import CLASSIFIER, pretrained_settings
from companion.models.text_classifier import TextClassifier, load_classifier
from companion.training.checkpoint import checkpoints
from companion.training.compatibility import IN_PRETRAINED_EVALUATION, evaluation_run, names_set, require_for_evaluation
from companion.training.evaluation import evaluate
from companion.training.finetune import load_finetuned, read_part, read_split
from companion.training.finetune_config import FineTuneRun
from companion.training.pretrain import build_objective, build_streams, use_machine
from companion.training.record import read_record, write_record
from companion.training.run_folder import is_finetuning, load_run, read_run_folder, read_run_values
from companion.training.runfile import RunConfig, apply_overrides
from companion.training.scores import data_scores, surest_errors

TEST, VALIDATION = "test", "validation"
DESCRIPTION = """\
Of a pretrained model: loss, accuracy and perplexity on the held-out part of a corpus.
Of a classifier: accuracy, loss and calibration error on the test split of the data that it was fine-tuned on, if that
is imdb or mini, or on --data. On imdb also the accuracy without the 123 test reviews that stand in the training data.

MODEL is a run's folder (its newest checkpoint is taken, or the one of --step), the name of a model that ships with the
package, or a folder that `companion export` wrote. Each knows the corpus that it was trained on; --set data.corpus=...
takes another one, which must have the same tokenizer. Of a classifier --set takes what leaves it as it is: source,
text, label, limit, seed, length, keep and eval_keep of [data], precision of [train], and [machine]; data.limit is of
the texts that it is tested on.

A masked word counts as right if the model's first guess is the word. Perplexity is exp(loss): the number of equally
likely words that would be as hard to tell apart. The calibration error (ece) compares how sure a classifier is with
how often it is right: ece before its temperature is applied, calibrated_ece after. A classifier's loss is with its
temperature.
"""
EPILOG = """\
examples:
  companion evaluate runs/bert-book-imdb
  companion evaluate bert-book-imdb --record book/results/bert-book-imdb.json
  companion evaluate runs/bert-book-imdb --step 1000 --json
  companion evaluate runs/imdb-full --record book/results/imdb-full.json
  companion evaluate runs/imdb-full --split validation --set data.eval_keep=windows
  companion evaluate runs/imdb-full --data mine.csv
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
        help="note the figures in the record of the training; of a classifier also the rows of the texts that it got "
        "wrong, the surest first",
    )
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        help="of a classifier: other texts, a folder or a .csv, .jsonl or .ndjson file, imdb or mini; of one class too",
    )
    parser.add_argument(
        "--split",
        choices=(TEST, VALIDATION),
        default=TEST,
        help="of a classifier: validation takes the texts that its training held out (default: test)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the figures."""
    if _is_classifier(options.model):
        return _run_classifier(options)
    require(options.data is None, f"{options.model} is no classifier; --set data.corpus=... takes another corpus")
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
    _print(options, about, scores, {"held_out_tokens": tokens}, f"{tokens:,} held-out tokens")
    return 0


def _print(
    options: argparse.Namespace, about: dict[str, Any], scores: dict[str, float], size: dict[str, Any], words: str
) -> None:
    if options.json:
        print(json.dumps({**about, **size, **scores}))
        return
    print(", ".join(f"{name} {value}" for name, value in about.items()) + f"; {words}")
    for name, value in scores.items():
        share = "accuracy" in name or name.endswith("ece")
        print(f"  {name:<16}{value:8.2%}" if share else f"  {name:<16}{value:8.4f}")


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
    require_for_evaluation(options.overrides, IN_PRETRAINED_EVALUATION)
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


def _is_classifier(name: str) -> bool:
    folder = Path(name)
    if checkpoints(folder):
        return is_finetuning(read_run_values(folder))
    return bool(pretrained_settings(name)["kind"] == CLASSIFIER)


def _run_classifier(options: argparse.Namespace) -> int:
    config, classifier, about = _find_classifier(options)
    if options.record is not None:
        read_record(options.record, command="finetune")
    classifier.model.to(use_machine(config.machine))
    source = config.data.source if options.data is None else options.data
    if options.split == VALIDATION:
        data = _held_out(config, options, classifier.about.get("texts", {}))
    else:
        require(
            options.data is not None or source in (IMDB, MINI),
            f"{source} has no test split of its own; give other texts with --data, or take --split validation",
        )
        limit = config.data.limit if "data.limit" in names_set(options.overrides) else 0  # else that of the training
        data = read_part(config, "test", source=options.data, limit=limit, trained=True)
    cut = classifier.cut(data.texts)
    logits = classifier.logits(cut, kind=config.train_config(1).precision)
    scores = data_scores(
        logits,
        data,
        source=source,
        part="train" if options.split == VALIDATION else "test",
        temperature=classifier.temperature,
    )
    size: dict[str, Any] = {k: scores.pop(k) for k in ("texts", "seen_in_training") if k in scores}
    about |= {"data": source, "split": options.split, "temperature": round(classifier.temperature, 4)}
    if options.record is not None:
        wrong = surest_errors(logits, torch.tensor(data.labels), data.rows)
        _note(options.record, {**about, **size, **{k: round(v, 4) for k, v in scores.items()}, "wrong_rows": wrong})
    words = f"{len(data):,} text{'s' * (len(data) != 1)}" + (f"; {left_out(data.skipped)}" if data.skipped else "")
    _print(options, about, scores, size | {"skipped": data.skipped}, words)
    for line in (cut.said_of_longer(), cut.said_of_unknown()):
        if line:
            print(f"companion: {line}", file=sys.stderr)
    return 0


def _held_out(config: FineTuneRun, options: argparse.Namespace, texts: Mapping[str, str]) -> LabelledTexts:
    require(options.data is None, "--data gives other texts, --split validation those that were held out; take one")
    held_out = read_split(config, trained=True).validation
    require(held_out is not None, "this run held no texts out; evaluate on --data instead")
    assert held_out is not None
    require(
        texts.get("validation", held_out.digest()) == held_out.digest(),
        f"these are not the texts that the training held out: {config.data.source} has changed, or data.seed or "
        "data.limit was set anew",
    )
    return held_out


def _find_classifier(options: argparse.Namespace) -> tuple[FineTuneRun, TextClassifier, dict[str, Any]]:
    folder = Path(options.model)
    if checkpoints(folder):
        classifier, config, _ = load_finetuned(folder, overrides=options.overrides, step=options.step)
        return config, classifier, {"run": folder.as_posix(), "step": classifier.about["step"]}
    require(options.step is None, f"{folder} holds no checkpoint, so there is no --step to choose")
    classifier = load_classifier(options.model)
    require("run" in classifier.about, f"{options.model} does not say how it was trained, so its data are not known")
    longest = classifier.model.config.max_len
    config = evaluation_run(classifier.about["run"], options.overrides, longest=longest)
    if options.overrides:
        classifier = replace(classifier, max_len=config.data.length, keep=config.data.reading)
    return config, classifier, {"model": options.model, "step": classifier.about["step"]}
