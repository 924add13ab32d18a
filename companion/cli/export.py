"""``companion export``: a run's weights, rounded to float16, with configuration and model card."""

import argparse
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from companion.data.tokenizer import load_tokenizer
from companion.errors import require
from companion.models.pretrained import save_pretrained
from companion.models.pretrained_files import TOKENIZER, WEIGHTS
from companion.training.card import classifier_card, model_card
from companion.training.finetune import load_finetuned
from companion.training.record import read_record
from companion.training.run_folder import is_finetuning, load_run, read_run_folder, read_run_values

DESCRIPTION = """\
Write the weights of a run, in float16, with its configuration and a model card made from the run's record: what
load_pretrained reads; its tokenizer, too, if it is not the book's. With --step, the weights of a checkpoint that was
kept (train.snapshots in the run file).

Of a fine-tuning it is the classifier with the weights that were best on the held-out texts, LoRA's adapters merged,
with its temperature, the names of its classes, and its tokenizer: what load_classifier and `companion predict` read.
"""
EPILOG = """\
examples:
  companion export runs/mine --record runs/mine/record.json --out exported/mine
  companion export runs/mine --step 400 --out exported/mine-400
  python -c 'from companion import load_pretrained; print(load_pretrained("exported/mine"))'
  companion export runs/imdb-full --out exported/imdb && companion predict "Dull, dull, dull." --model exported/imdb
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "export",
        help="write a run's weights for load_pretrained, with a model card",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the model is written")
    parser.add_argument("--name", help="the model's name on the card (default: the name of FOLDER)")
    parser.add_argument("--step", type=int, metavar="N", help="a step whose checkpoint was kept (default: the newest)")
    parser.add_argument("--record", type=Path, metavar="FILE.json", help="what the training wrote with --record")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the model."""
    finetuning = is_finetuning(read_run_values(options.run_folder))
    record = None if options.record is None else _record(options.record, finetuning=finetuning)
    name = options.name or options.out.name
    if finetuning:
        classifier, run_config, _ = load_finetuned(options.run_folder, step=options.step)
        step = classifier.about["step"]
        classifier.save(options.out, card=classifier_card(name, run_config, classifier, record=record))
    else:
        config = read_run_folder(options.run_folder)
        model, state = load_run(options.run_folder, config, options.step)
        step = state["step"]
        card = model_card(name, config, model, step=step, record=record)
        about = {"step": step, "run": config.to_dict()}
        save_pretrained(options.out, model, card=card, about=about, tokenizer=_own_tokenizer(Path(config.data.corpus)))
    size = (options.out / WEIGHTS).stat().st_size
    print(f"{name}: step {step:,}, {size / 1e6:.2f} MB of weights, written to {options.out}")
    return 0


def _own_tokenizer(corpus: Path) -> Tokenizer | None:
    """The tokenizer of a pretraining, if it is not the book's; it goes along, since the ids mean its pieces."""
    if not (corpus / TOKENIZER).is_file():
        return None
    tokenizer = load_tokenizer(corpus)
    return None if tokenizer.get_vocab() == load_tokenizer().get_vocab() else tokenizer


def _record(path: Path, *, finetuning: bool) -> dict[str, Any]:
    """The record, which must be of the kind that the run is."""
    kind, command, key = ("fine-tuning", "finetune", "data") if finetuning else ("pretraining", "pretrain", "corpus")
    record = read_record(path, command=command)
    require(
        isinstance(record, dict) and key in record,
        f"{path} is no record of a {kind}, as the run is; give what `companion {command} --record` wrote",
    )
    return record
