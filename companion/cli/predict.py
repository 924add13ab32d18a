"""``companion predict``: which class a text has."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companion.cli.lines import EXAMPLE, STDIN, Line, file_lines, in_groups, stdin_groups, typed_lines
from companion.data.passages import said_of_longer
from companion.errors import require
from companion.models.numpy_classifier import NumpyClassifier, load_numpy_classifier
from companion.models.prediction import Prediction, said_of_unknown
from companion.models.pretrained_files import pretrained_names

if TYPE_CHECKING:
    from companion.models.text_classifier import TextClassifier

DEFAULT = "imdb-classifier"
DASH = "-"
FAILED = 1

DESCRIPTION = f"""\
Say which class a text has, and how probable that is. Nothing is downloaded.

Texts stand on the command line, in a file, or on standard input (-). In a .jsonl or .ndjson file each line is an object
with the text in its field "text"; a .csv file has a header and the text in its column "text"; in any other file, and on
standard input, each line is a text. A line without a word is said and skipped; so is a line of text that is no UTF-8,
and the exit code is then 1. Lines on standard input are answered as they come.

MODEL is the name of a classifier that ships with the package (by default {DEFAULT}), a folder that
`companion export` wrote, or the folder of a fine-tuning. Of a text that is longer than the model reads, a part is read,
as it was in the training, and a line on standard error says of how many; --json says of each how many tokens it has and
how many were read. Another line says of how many texts more than a fifth of the tokens are unknown to the tokenizer, as
words in another script are: their answers may mean little; --json says of each how many are unknown.
"""
EPILOG = f"""\
examples:
  companion predict "{EXAMPLE}"
  companion predict --file reviews.jsonl --json > classes.jsonl
  cat reviews.txt | companion predict - --model runs/imdb-full

with --json each line of the output is an object, like
  {{"line": 1, "label": "pos", "probability": 0.99, "tokens": 9, "read": 9, "unknown": 0}}
where line is the line of the file, or the number of the text (a row of a .csv file may end lines after it began)
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "predict",
        help="say which class texts have",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="a text in quotation marks, or - for standard input")
    parser.add_argument("--file", type=Path, metavar="FILE", help="a .jsonl or .csv file, or one with a text a line")
    parser.add_argument("--model", default=DEFAULT, metavar="MODEL", help=f"default: {DEFAULT}")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.set_defaults(run=run, misuse=parser.error)


def run(options: argparse.Namespace) -> int:
    """Print a line for each text; 1 if one could not be read."""
    if bool(options.texts) == (options.file is not None):  # wrong usage: it ends here, with 2
        options.misuse(f'give texts, or --file FILE, or - for standard input, like: companion predict "{EXAMPLE}"')
    if DASH in options.texts and len(options.texts) > 1:
        options.misuse("- is standard input, and stands alone: companion predict - < FILE")
    place, groups = _source(options)
    # Who types wants the answer at once.
    classifier = _load(options.model, typed=sys.stdin.isatty() if place == STDIN else options.file is None)
    said, longer, room, unknown, unread = 0, 0, 0, 0, 0
    for group in groups:
        unread += sum(bool(line.flaw) for line in group)
        for line, prediction in _answers(classifier, group):
            print(_shown(line, prediction, as_json=options.json))
            said += 1
            unknown += prediction.hardly_known
            if prediction.read < prediction.tokens:
                longer, room = longer + 1, prediction.read
        sys.stdout.flush()
    require(said + unread > 0, f'{place}: no text with a word; give at least one, like "{EXAMPLE}"')
    if longer and not options.json:
        keep = classifier.how["keep"] if isinstance(classifier, NumpyClassifier) else classifier.keep
        print(f"companion: {said_of_longer(longer, said, room, keep)}", file=sys.stderr)
    if unknown:
        print(f"companion: {said_of_unknown(unknown, said)}", file=sys.stderr)
    return FAILED if unread else 0


def _source(options: argparse.Namespace) -> tuple[str, Iterator[list[Line]]]:
    """Where the texts stand, and their lines, those together that are answered together."""
    if DASH in (str(options.file), *options.texts):
        return STDIN, stdin_groups()
    if options.file is not None:
        return str(options.file), in_groups(file_lines(options.file))
    return "the command line", in_groups(typed_lines(options.texts))


def _load(name: str, *, typed: bool) -> NumpyClassifier | TextClassifier:
    """The classifier; for what is typed without PyTorch where that is possible, which answers at once."""
    require(
        name != DEFAULT or name in pretrained_names(),
        "no classifier ships with this version of the package; make one with companion finetune, and name its folder: "
        "--model FOLDER",
    )
    if typed and not any(Path(name).glob("step-*")) and (quick := load_numpy_classifier(name)) is not None:
        return quick
    from companion.models.text_classifier import load_classifier
    from companion.training.checkpoint import checkpoints

    if checkpoints(name):
        from companion.training.finetune import load_finetuned  # what answers by itself needs nothing of training

        return load_finetuned(name)[0]
    return load_classifier(name)


def _answers(classifier: NumpyClassifier | TextClassifier, group: list[Line]) -> Iterator[tuple[Line, Prediction]]:
    lines = []
    for line, good in zip(group, classifier.readable([line.text for line in group]), strict=True):
        if good:
            lines.append(line)
        elif line.flaw:
            print(f"companion: error: {line.flaw}", file=sys.stderr)
        else:
            print(f"companion: line {line.number} has no word; skipped", file=sys.stderr)
    if lines:
        yield from zip(lines, classifier.predict([line.text for line in lines]), strict=True)


def _shown(line: Line, prediction: Prediction, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"line": line.number, **prediction.to_dict()})
    start = " ".join(line.text.split())
    start = start if len(start) <= 60 else f"{start[:57]}..."
    return f"{prediction.label:<8}{prediction.probability:7.1%}  {start}"
