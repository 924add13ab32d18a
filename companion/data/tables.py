"""Rows of a ``.csv`` file, by the names of its columns; of a bad file the error says where and how to mend it."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from companion.data.texts import read_utf8
from companion.errors import require

CSV, JSON_LINES = ".csv", (".jsonl", ".ndjson")
"""How the names of files end that hold a table, and of those that hold an object a line; upper case counts the same."""
_MARKS = {";": "semicolons", "\t": "tabs"}


class Row(NamedTuple):
    """The values of the columns that were asked for, and the line that the row ends on.

    A value is None where the row has fewer fields than the header.
    """

    line: int
    values: list[str | None]


def csv_rows(path: Path, columns: Sequence[tuple[str, str]]) -> list[Row]:
    r"""These columns of a file with a header, all rows; empty lines are none.

    Args:
        path: the file.
        columns: the name of each, and what an error says to do where it is missing.

    Raises:
        ValueError: no UTF-8, no CSV, an empty file, a column that is missing or there twice, or a row with more fields
            than columns. The message names file and line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.csv")
    >>> _ = path.write_text('id,text\n1,"Good, really."\n2,Bad.\n', encoding="utf-8")
    >>> csv_rows(path, [("text", "name the column with the texts so")])
    [Row(line=2, values=['Good, really.']), Row(line=3, values=['Bad.'])]
    """
    reader = csv.DictReader(io.StringIO(read_utf8(path), newline=""), strict=True)
    rows = []
    with _long_fields():
        try:
            head = list(reader.fieldnames or [])
            require(bool(head), f"{path} is empty; the first line must name the columns")
            require_columns(str(path), head, columns)
            twice = [name for name, _ in columns if head.count(name) > 1]
            require(not twice, f"{path}: several columns are called {twice}; rename all but the right one")
            for row in reader:
                require(
                    None not in row,
                    f"{path}, line {reader.line_num}: more fields than columns; put a text with commas in quotation "
                    "marks",
                )
                rows.append(Row(reader.line_num, [row[name] for name, _ in columns]))
        except csv.Error as error:  # in the row that begins after the last good one
            raise ValueError(
                f"{path}, line {reader.line_num + 1}: no CSV ({error}); columns must be separated by commas, and a "
                "quotation mark inside a text in quotation marks is written twice"
            ) from error
    return rows


def require_columns(place: str, present: list[str], columns: Sequence[tuple[str, str]]) -> None:
    """Require that the columns are there.

    Args:
        place: what the error says first, like ``"a.csv"``.
        present: the names that are there.
        columns: the name of each, and what the error says to do where it is missing.

    >>> require_columns("a.csv", ["text;label"], [("text", "name the right one")])
    Traceback (most recent call last):
    ...
    ValueError: a.csv: there is no column 'text', only ['text;label']; the columns must be separated by commas, not by \
semicolons
    """
    marks = [word for mark, word in _MARKS.items() if any(mark in name for name in present)]
    for name, way_out in columns:
        do = f"the columns must be separated by commas, not by {marks[0]}" if marks else way_out
        require(name in present, f"{place}: there is no column {name!r}, only {present}; {do}")


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let a CSV field be as long as it is; the limit is one for the process, and restored."""
    before = csv.field_size_limit(2**31 - 1)  # the largest C long on Windows
    try:
        yield
    finally:
        csv.field_size_limit(before)
