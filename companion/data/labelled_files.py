"""Files and folders with a label beside each text; :func:`companion.data.labelled.read_labelled` reads them.

Each mistake is said with the file and the line that it stands in, and with a way out.
"""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from companion.data.tables import CSV, JSON_LINES, csv_rows, require_columns
from companion.data.texts import is_readable, json_object, left_out, read_utf8, text_field, visible_files
from companion.errors import require

_MOST_LISTED = 100
"""So many classes at most are proposed, ready to paste; a column with more may well be another one."""


class Found(NamedTuple):
    """What stands in the files.

    Attributes:
        texts: the texts, each with a word in it.
        labels: the class of each, a number into the names.
        rows: where each text stands in its source, from 0.
        skipped: how many were left out, by reason.
    """

    texts: list[str]
    labels: list[int]
    rows: list[int]
    skipped: dict[str, int]


class _Labelled(NamedTuple):
    place: str
    text: str | None
    label: Any


def read_labelled_files(root: Path, names: Sequence[str], *, text: str, label: str, trained: bool = False) -> Found:
    """The texts in a file or folder, and their classes.

    Args:
        root: a file or folder of those that :func:`companion.data.labelled.read_labelled` knows.
        names: the classes, in the order of their numbers.
        text: the column that holds the text.
        label: the column that holds the name of the class.
        trained: whether the names are the classes of a classifier, so that no others can be named.

    Raises:
        ValueError: a file that is not what its name says, a missing column, a label that is no class, folders of the
            classes in several places, a train and a test part, or no text. The message names file and line.
    """
    if root.is_dir():
        files = _data_files(root, names)
    else:
        require(
            root.suffix.lower() in (CSV, *JSON_LINES), f"{root} is neither .csv nor .jsonl (.ndjson); give one of these"
        )
        files = [root]
    files = sorted(files, key=lambda p: p.relative_to(root).as_posix() if p != root else "")

    def all_rows() -> Iterator[_Labelled]:
        return (row for path in files for row in _rows(path, text, label))

    found = Found([], [], [], {})
    skipped: Counter[str] = Counter()
    for i, row in enumerate(all_rows()):
        number = _class(row, names, all_rows, trained=trained)
        if row.text is None or not is_readable(row.text):
            skipped["texts without a word"] += 1
        else:
            found.texts.append(row.text)
            found.labels.append(number)
            found.rows.append(i)
    missing = left_out(skipped) if skipped else "there is no row in it"
    require(bool(found.texts), f"{root} has no text: {missing}; give texts with words, each with its label")
    return found._replace(skipped=dict(skipped))


def set_labels(names: Sequence[str]) -> str:
    """What to add to a command so that these are the classes.

    >>> print(set_labels(["neg", "pos"]))
    --set 'data.labels=["neg", "pos"]'
    """
    return f"--set {shlex.quote(f'data.labels={json.dumps(list(names), ensure_ascii=False)}')}"


def _data_files(root: Path, names: Sequence[str]) -> list[Path]:
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


def _is_data(path: Path, names: Sequence[str]) -> bool:
    suffix = path.suffix.lower()
    return suffix in (CSV, *JSON_LINES) or (suffix == ".txt" and path.parent.name in names)


def _rows(path: Path, text: str, label: str) -> Iterator[_Labelled]:
    """Place, text and label of each row of a file."""
    columns = [
        (text, "name the right one with --set data.text=..."),
        (label, "name the right one with --set data.label=..."),
    ]
    if path.suffix.lower() == ".txt":
        yield _Labelled(str(path), read_utf8(path), path.parent.name)
    elif path.suffix.lower() == CSV:
        for line, (content, value) in csv_rows(path, columns):
            place = f"{path}, line {line}"
            require(
                value is not None,
                f"{place}: the row has no field {label!r}, since it has fewer fields than the header; add its label, "
                "or leave the row out",
            )
            yield _Labelled(place, content, value)
    else:
        for number, content in enumerate(read_utf8(path).split("\n"), start=1):
            if content.strip():
                place = f"{path}, line {number}"
                row = json_object(place, content)
                require_columns(place, list(row), columns)
                yield _Labelled(place, text_field(place, row, text), row[label])


def _name(value: Any) -> str | None:
    """The class that a label names; None if it is no name."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _class(row: _Labelled, names: Sequence[str], all_rows: Callable[[], Iterator[_Labelled]], *, trained: bool) -> int:
    name = _name(row.label)
    # For the message all is read once more, so that it tells all labels at once.
    require(name in names, lambda: _said_of_label(row, names, _labels(all_rows()), trained=trained))
    assert name is not None
    return names.index(name)


def _said_of_label(row: _Labelled, names: Sequence[str], there: list[str], *, trained: bool) -> str:
    """What is wrong with a row's label, and what to do, where these labels are there."""
    is_none = f"{row.place}: the label {row.label!r} is not in the class list {list(names)}"
    is_name = _name(row.label) is not None
    if is_name and len(there) > _MOST_LISTED:
        return (
            f"{is_none}, and there are {len(there):,} different labels; name the right column with --set "
            f"data.label=..., or {'leave out the other rows' if trained else 'all classes in the run file'}"
        )
    if trained:
        which = f"the rows with {[name for name in there if name not in names]}" if is_name else "such rows"
        return f"{is_none}, and the classifier knows no other class; rename or leave out {which}"
    if not is_name:
        return f"{is_none}; a label is a word or a whole number: mend it, or leave the row out"
    if len(there) < 2:
        return f"{is_none}, nor is there another label; a classifier learns from two or more: give texts of each"
    return f"{is_none}; mend it, or name all classes that are there: {set_labels(there)}"


def _labels(rows: Iterator[_Labelled]) -> list[str]:
    """The different names among the labels, words before numbers."""
    there = {name for row in rows if (name := _name(row.label)) is not None}
    return sorted(there, key=lambda name: (len(name) if name.isdecimal() else 0, name))
