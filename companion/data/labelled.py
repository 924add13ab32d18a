"""Texts with the names of their classes: from IMDB, the mini reviews, or files of one's own.

What is wrong with a file is an error that names the line; texts without a word, also those of invisible characters
only, are left out and counted. A sample, save of the mini reviews, and a validation split are drawn by class, from a
seed, and texts that are equal stay on the same side.
"""

import csv
import hashlib
import io
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from companion.data.imdb import load_imdb
from companion.data.mini_reviews import mini_reviews
from companion.data.texts import is_readable, json_object, read_utf8, text_field, visible_files
from companion.errors import require

IMDB, MINI = "imdb", "mini"
"""The names that stand for the film reviews and for the mini reviews, in place of a path."""
SENTIMENT = ("neg", "pos")
"""The classes of both."""
MINI_REVIEWS = 2000
"""How many mini reviews are drawn where nobody says how many."""
Part = Literal["train", "test"]


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, and the number of each one's class.

    Attributes:
        texts: the texts, each with a word in it.
        labels: the class of each, a number into ``names``.
        names: what the classes are called.
        rows: where each text stands in its source, from 0.
        skipped: how many were left out, by reason.
    """

    texts: list[str]
    labels: list[int]
    names: tuple[str, ...]
    rows: list[int]
    skipped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def counts(self) -> dict[str, int]:
        """How many texts each class has."""
        return {name: self.labels.count(i) for i, name in enumerate(self.names)}

    def digest(self) -> str:
        """SHA-256 of the texts and the names of their classes, in their order."""
        rows = [[text, self.names[label]] for text, label in zip(self.texts, self.labels, strict=True)]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def take(self, which: Sequence[int]) -> "LabelledTexts":
        """These texts alone."""
        return LabelledTexts(
            [self.texts[i] for i in which],
            [self.labels[i] for i in which],
            self.names,
            [self.rows[i] for i in which],
            self.skipped,
        )


def read_labelled(
    source: str,
    names: Sequence[str] = SENTIMENT,
    *,
    part: Part = "train",
    text: str = "text",
    label: str = "label",
    limit: int = 0,
    seed: int = 0,
) -> LabelledTexts:
    """The labelled texts of a source.

    Args:
        source: ``"imdb"``, ``"mini"``, a ``.csv`` file with a header, a ``.jsonl`` file with an object a line, or a
            folder: of such files, of folders that are named like the classes and hold a ``.txt`` file a text, or both;
            what begins with a dot in it is not read.
        names: the classes, in the order of their numbers.
        part: of IMDB and the mini reviews.
        text: the column that holds the text.
        label: the column that holds the name of the class.
        limit: that many texts only, drawn by ``seed``, in the proportions of the classes; of the mini reviews each
            class comes up by chance. A smaller sample is the beginning of a larger one. 0 = all (of the mini reviews
            :data:`MINI_REVIEWS`).
        seed: of the sample.

    Raises:
        ValueError: no such source, a file that is not what its name says, a missing column, a label that is no class,
            folders of the classes in several places, a train and a test part, fewer than two classes, or a ``limit``
            that there are not enough texts for. The message names file and line.
    """
    names = _checked_names(names)
    if source in (IMDB, MINI):
        require(names == SENTIMENT, f"the classes of {source} are {list(SENTIMENT)}, not {list(names)}; set these")
        return _reviews(source, part, limit, seed)
    with _long_fields():
        found = _from_files(Path(source), names, text, label)
    present = [name for name, n in found.counts.items() if n]
    require(
        len(present) >= 2,
        f"{source} has texts of one class only, {present}, and {len(found)} of them; a classifier needs two or more",
    )
    if not limit:
        return found
    require(
        len(present) <= limit <= len(found),
        f"limit={limit}, but {source} has {len(found)} texts of {len(present)} classes; ask for one of each at least",
    )
    return found.take(_in_turn(found, seed)[:limit])


def split_validation(data: LabelledTexts, share: float, *, seed: int = 0) -> tuple[LabelledTexts, LabelledTexts]:
    """What to train on, and a ``share`` of each class to validate on, drawn by ``seed``.

    A text that stands in the data several times is on one side only, so the shares may be off by a few.

    Raises:
        ValueError: a class would have no text on one of the sides.

    >>> data = LabelledTexts(list("abcdefgh"), [0, 1] * 4, ("neg", "pos"), list(range(8)))
    >>> train, validation = split_validation(data, 0.25)
    >>> train.counts, validation.counts
    ({'neg': 3, 'pos': 3}, {'neg': 1, 'pos': 1})
    """
    require(0.0 < share < 1.0, f"a share of {share} to validate on must be between 0 and 1")
    firsts: dict[str, int] = {}
    for i, text in enumerate(data.texts):
        firsts.setdefault(text, i)
    distinct = data.take(list(firsts.values()))
    wanted = {i: max(1, round(share * distinct.labels.count(i))) for i in set(distinct.labels)}
    chosen: set[str] = set()
    for i in _in_turn(distinct, seed):
        if wanted[distinct.labels[i]] > 0:
            wanted[distinct.labels[i]] -= 1
            chosen.add(distinct.texts[i])
    train, validation = (data.take([i for i, t in enumerate(data.texts) if (t in chosen) == held]) for held in (0, 1))
    missing = [data.names[i] for i in sorted(set(data.labels)) if i not in train.labels]
    require(not missing, f"nothing of {missing} would be left to train on; give more texts, or validate on none")
    return train, validation


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    good = not isinstance(names, str) and all(isinstance(name, str) and name for name in names)
    require(
        good and len(set(names)) == len(names) >= 2,
        f"labels={names!r} must be a list of two or more different names, such as ['neg', 'pos']",
    )
    return tuple(names)


def _reviews(source: str, part: Part, limit: int, seed: int) -> LabelledTexts:
    if source == IMDB:
        found = load_imdb(part, limit=limit or None, seed=seed)
        return LabelledTexts(found.texts, found.labels, SENTIMENT, found.rows)
    drawn = mini_reviews(limit or MINI_REVIEWS, seed=seed, split=part)
    return LabelledTexts(drawn.texts, drawn.labels, SENTIMENT, list(range(len(drawn))))


def _in_turn(data: LabelledTexts, seed: int) -> list[int]:
    """All texts in an order in which every beginning has the classes in their proportions."""
    draw = random.Random(seed)
    # Only random() is called, whose sequence Python keeps for a seed in every version.
    shuffled = sorted(range(len(data)), key=[draw.random() for _ in data.labels].__getitem__)
    queues = {kind: [i for i in shuffled if data.labels[i] == kind] for kind in sorted(set(data.labels))}
    place = {i: (rank + 0.5) / len(queue) for queue in queues.values() for rank, i in enumerate(queue)}
    # The first of each class come first, so that none is missing in a small sample.
    firsts = [queue[0] for queue in queues.values()]
    rest = sorted(place.keys() - set(firsts), key=lambda i: (place[i], data.labels[i]))
    return firsts + rest


def _from_files(root: Path, names: tuple[str, ...], text: str, label: str) -> LabelledTexts:
    if root.is_dir():
        files = _data_files(root, names)
    else:
        require(root.is_file(), f"there is no data {str(root)!r}; give {IMDB}, {MINI}, a folder or a file")
        require(root.suffix.lower() in (".csv", ".jsonl"), f"{root} is neither .csv nor .jsonl; give one of these")
        files = [root]
    texts: list[str] = []
    labels: list[int] = []
    rows: list[int] = []
    row = 0
    skipped: Counter[str] = Counter()
    for path in sorted(files, key=lambda p: p.relative_to(root).as_posix() if p != root else ""):
        for place, content, value in _rows(path, text, label):
            number = _class(place, value, names)
            if content is None or not is_readable(content):
                skipped["texts without a word"] += 1
            else:
                texts.append(content)
                labels.append(number)
                rows.append(row)
            row += 1
    require(bool(texts), f"{root} has no text; left out {dict(skipped)}")
    return LabelledTexts(texts, labels, names, rows, dict(skipped))


def _data_files(root: Path, names: tuple[str, ...]) -> list[Path]:
    files = [p for p in visible_files(root) if _is_data(p, names)]
    require(bool(files), f"{root} holds no .csv and no .jsonl file, and no folder {list(names)} with .txt files")
    places = sorted({p.parent.parent.as_posix() for p in files if p.suffix.lower() == ".txt"})
    require(
        len(places) <= 1,
        f"{root} has folders of the classes in several places, {places}, which may be a training and a test part; give "
        "one of these as the source",
    )
    parts = {name.lower() for p in files for name in p.relative_to(root).with_suffix("").parts} - set(names)
    require(not {"train", "test"} <= parts, f"{root} has a train and a test part; give one of these as the source")
    return files


def _is_data(path: Path, names: tuple[str, ...]) -> bool:
    suffix = path.suffix.lower()
    return suffix in (".csv", ".jsonl") or (suffix == ".txt" and path.parent.name in names)


def _rows(path: Path, text: str, label: str) -> Iterator[tuple[str, str | None, Any]]:
    """Place, text and label of each row of a file."""
    content = read_utf8(path)
    if path.suffix.lower() == ".txt":
        yield str(path), content, path.parent.name
    elif path.suffix.lower() == ".csv":
        yield from _csv_rows(path, content, text, label)
    else:
        for number, line in enumerate(content.split("\n"), start=1):
            if line.strip():
                place = f"{path}, line {number}"
                row = json_object(place, line)
                _require_columns(place, list(row), text, label)
                yield place, text_field(place, row, text), row[label]


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let a CSV field be as long as it is; the limit is one for the process, and restored."""
    before = csv.field_size_limit(2**31 - 1)  # the largest C long on Windows
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _csv_rows(path: Path, content: str, text: str, label: str) -> Iterator[tuple[str, str | None, Any]]:
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        require(bool(reader.fieldnames), f"{path} is empty; the first line must name the columns")
        _require_columns(str(path), list(reader.fieldnames or []), text, label)
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            require(None not in row, f"{place}: more fields than columns; put a text with commas in quotation marks")
            yield place, row[text], row[label]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: no CSV ({error})") from error


def _require_columns(place: str, columns: list[str], text: str, label: str) -> None:
    for key, name in (("text", text), ("label", label)):
        require(
            name in columns,
            f"{place}: there is no column {name!r}, only {columns}; name the right one with --set data.{key}=...",
        )


def _class(place: str, value: Any, names: tuple[str, ...]) -> int:
    name = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else value
    require(
        name in names,
        lambda: (
            f"{place}: the label {value!r} is not in the class list {list(names)}; mend it, or name all classes with "
            "--set 'data.labels=[...]'"
        ),
    )
    return names.index(name)
