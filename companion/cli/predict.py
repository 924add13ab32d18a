"""``companion predict``: which class a text has."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from companion.data.passages import said_of_longer
from companion.data.tables import CSV, JSON_LINES, csv_rows
from companion.data.texts import json_object, read_utf8, text_field
from companion.errors import require
from companion.models.numpy_classifier import NumpyClassifier, load_numpy_classifier
from companion.models.prediction import Prediction
from companion.models.pretrained_files import pretrained_names

if TYPE_CHECKING:
    from companion.models.text_classifier import TextClassifier

DEFAULT = "imdb-classifier"
STDIN = "-"
CHUNK = 256
FAILED = 1
EXAMPLE = "A quiet film, and a good one."

DESCRIPTION = f"""\
Say which class a text has, and how probable that is. Nothing is downloaded.

Texts stand on the command line, in a file, or on standard input (-). In a .jsonl or .ndjson file each line is an object
with the text in its field "text"; a .csv file has a header and the text in its column "text"; in any other file, and on
standard input, each line is a text. A line without a word is said and skipped.

MODEL is the name of a classifier that ships with the package (by default {DEFAULT}), a folder that
`companion export` wrote, or the folder of a fine-tuning. Of a text that is longer than the model reads, a part is read,
as it was in the training, and a line on standard error says of how many; --json says of each how many tokens it has and
how many were read.
"""
EPILOG = f"""\
examples:
  companion predict "{EXAMPLE}"
  companion predict --file reviews.jsonl --json > classes.jsonl
  cat reviews.txt | companion predict - --model runs/imdb-full

with --json each line of the output is an object, like
  {{"line": 1, "label": "pos", "probability": 0.99, "tokens": 9, "read": 9}}
where line is the line of the file, or the number of the text (a row of a .csv file may end lines after it began)
"""


class Line(NamedTuple):
    """A text, and where it stands."""

    number: int
    text: str


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
    """Print a line for each text; 1 if there was none with a word."""
    if bool(options.texts) == (options.file is not None):  # wrong usage: it ends here, with 2
        options.misuse(f'give texts, or --file FILE, or - for standard input, like: companion predict "{EXAMPLE}"')
    typed = bool(options.texts) and (options.texts != [STDIN] or sys.stdin.isatty())
    classifier = _load(options.model, typed=typed)
    lines = iter(_lines(options))
    said, longer, room = 0, 0, 0
    # Somebody who types wants an answer to each line; files go faster in batches.
    size = 1 if typed and options.texts == [STDIN] else CHUNK
    while chunk := list(islice(lines, size)):
        for line, prediction in _answers(classifier, chunk):
            print(_shown(line, prediction, as_json=options.json), flush=size == 1)
            said += 1
            if prediction.read < prediction.tokens:
                longer, room = longer + 1, prediction.read
    if longer and not options.json:
        keep = classifier.how["keep"] if isinstance(classifier, NumpyClassifier) else classifier.keep
        print(f"companion: {said_of_longer(longer, said, room, keep)}", file=sys.stderr)
    return 0 if said else FAILED


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


def _lines(options: argparse.Namespace) -> Iterable[Line]:
    if options.file is not None and str(options.file) != STDIN:
        return _file_lines(options.file)
    if options.file is not None or options.texts == [STDIN]:
        return _stdin_lines()
    return _argument_lines(options.texts)


def _argument_lines(texts: list[str]) -> Iterator[Line]:
    for number, text in enumerate(texts, start=1):
        try:
            text.encode()
        except UnicodeEncodeError as error:  # Python keeps a bad byte as half a character
            raise ValueError(
                f"text {number} is no UTF-8; write it in UTF-8, or put it in a file: --file FILE"
            ) from error
        yield Line(number, text)


def _file_lines(path: Path) -> Iterator[Line]:
    require(not path.is_dir(), f"{path} is a folder; --file takes one file: a .jsonl or .csv file, or a text a line")
    require(path.is_file(), f"there is no file {path}")
    suffix = path.suffix.lower()
    require(
        suffix != ".json",
        f'{path}: of JSON, --file reads one object a line, like {{"text": "{EXAMPLE}"}}; write it so, as a .jsonl file',
    )
    if suffix == CSV:
        for number, (text,) in csv_rows(path, [("text", "call the column with the texts so")]):
            yield Line(number, text or "")
        return
    content = read_utf8(path).removesuffix("\n")
    for number, line in enumerate(content.split("\n"), start=1):
        if suffix in JSON_LINES and line.strip():
            place = f"{path}, line {number}"
            row = json_object(place, line)
            require("text" in row, f"{place}: there is no field 'text', only {list(row)}")
            line = text_field(place, row) or ""
        yield Line(number, line)


def _stdin_lines() -> Iterator[Line]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield Line(number, line.decode("utf-8-sig").rstrip("\r\n"))
        except UnicodeDecodeError as error:
            raise ValueError(f"standard input, line {number} is no UTF-8 ({error.reason})") from error


def _answers(classifier: NumpyClassifier | TextClassifier, chunk: list[Line]) -> Iterator[tuple[Line, Prediction]]:
    readable = classifier.readable([line.text for line in chunk])
    for line, good in zip(chunk, readable, strict=True):
        if not good:
            print(f"companion: line {line.number} has no word; skipped", file=sys.stderr)
    lines = [line for line, good in zip(chunk, readable, strict=True) if good]
    if lines:
        yield from zip(lines, classifier.predict([line.text for line in lines]), strict=True)


def _shown(line: Line, prediction: Prediction, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"line": line.number, **prediction.to_dict()})
    start = " ".join(line.text.split())
    start = start if len(start) <= 60 else f"{start[:57]}..."
    return f"{prediction.label:<8}{prediction.probability:7.1%}  {start}"
