"""Texts to classify, each with the line that it stands on: typed, in a file, or on standard input."""

import codecs
import json
import sys
from collections.abc import Iterable, Iterator
from io import BufferedIOBase
from itertools import islice
from pathlib import Path
from select import select
from typing import NamedTuple, cast

from companion.data.tables import CSV, JSON_LINES, csv_rows
from companion.data.texts import json_object, read_utf8, text_field
from companion.errors import require

STDIN = "standard input"
EXAMPLE = "A quiet film, and a good one."
# Lines that are answered together, which is faster; bytes that are read at a time; seconds to wait for more of them.
_GROUP, _BYTES, _PATIENCE = 256, 2**20, 0.02
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Line(NamedTuple):
    """A text, and where it stands.

    Attributes:
        number: of the line, counted from 1.
        text: what stands there; empty if that cannot be read.
        flaw: why it cannot be read, and what to do; else empty.
    """

    number: int
    text: str
    flaw: str = ""


def in_groups(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """The lines in lists of many, the last one shorter.

    >>> [len(group) for group in in_groups(Line(i, "") for i in range(300))]
    [256, 44]
    """
    lines = iter(lines)
    while group := list(islice(lines, _GROUP)):
        yield group


def typed_lines(texts: Iterable[str]) -> Iterator[Line]:
    """The texts of the command line, each counted as a line.

    Raises:
        ValueError: a text is no UTF-8.
    """
    for number, text in enumerate(texts, start=1):
        try:
            text.encode()
        except UnicodeEncodeError as error:  # Python keeps a bad byte as half a character
            raise ValueError(
                f"text {number} is no UTF-8; write it in UTF-8, or put it in a file: --file FILE"
            ) from error
        yield Line(number, text)


def file_lines(path: Path) -> Iterator[Line]:
    """The texts of a file: each row of a ``.csv`` file, each object of a ``.jsonl`` file, each line of any other file.

    A line of text that is no UTF-8 has a flaw, and the others are read.

    Raises:
        ValueError: there is no such file, or it is not what its name says; the message names the line.
    """
    require(not path.is_dir(), f"{path} is a folder; --file takes one file: a .jsonl or .csv file, or a text a line")
    require(path.is_file(), f"there is no file {path}")
    suffix = path.suffix.lower()
    require(
        suffix != ".json",
        f'{path}: of JSON, --file reads one object a line, like {{"text": "{EXAMPLE}"}}; write it so, as a .jsonl file',
    )
    if suffix == CSV:
        for number, (text,) in csv_rows(path, [("text", "rename the column with the texts to 'text'")]):
            yield Line(number, text or "")
    elif suffix in JSON_LINES:
        for number, row in enumerate(read_utf8(path).removesuffix("\n").split("\n"), start=1):
            yield Line(number, _json_text(f"{path}, line {number}", row) if row.strip() else "")
    else:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                yield _text_line(str(path), number, raw)


def stdin_groups() -> Iterator[list[Line]]:
    """The lines of standard input, those together that have come: who writes slowly gets each answer at once.

    A line that is no UTF-8 has a flaw, and the others are read.

    Raises:
        ValueError: the first line is a JSON object, which would be taken for a text; or it is UTF-16.
    """
    stream = cast(BufferedIOBase, sys.stdin.buffer)
    number, rest, data = 0, b"", b"?"
    while data:
        data = stream.read1(_BYTES)  # waits for something, and takes no more than is there
        rest += data
        if data and rest.count(b"\n") < _GROUP and _has_more(stream):
            continue
        *whole, rest = rest.split(b"\n")
        if rest and not data:  # the last line has no end
            whole.append(rest)
        yield from in_groups(_stdin_line(number + i, raw) for i, raw in enumerate(whole, start=1))
        number += len(whole)


def _has_more(stream: BufferedIOBase) -> bool:
    """Whether a read would not have to wait; no where the system cannot tell, as with pipes on Windows."""
    try:
        return bool(select([stream], [], [], _PATIENCE)[0])
    except (OSError, ValueError):
        return False


def _stdin_line(number: int, raw: bytes) -> Line:
    line = _text_line(STDIN, number, raw)
    require(
        number > 1 or not _is_object(line.text),
        f"{STDIN}, line 1 is a JSON object, but each line there is taken for a text; save the lines as a .jsonl file, "
        "and give --file FILE",
    )
    return line


def _text_line(place: str, number: int, raw: bytes) -> Line:
    require(
        number > 1 or not raw.startswith(_UTF16),
        f"{place} is UTF-16; save it as UTF-8, or convert it: iconv -f utf-16 -t utf-8",
    )
    try:
        return Line(number, raw.decode("utf-8-sig").rstrip("\r\n"))
    except UnicodeDecodeError as error:
        way_out = "save all as UTF-8, or convert it, as with iconv -f latin1 -t utf-8"
        return Line(number, "", f"{place}, line {number} is no UTF-8 ({error.reason}); skipped; {way_out}")


def _json_text(place: str, line: str) -> str:
    row = json_object(place, line)
    require(
        "text" in row,
        f"{place}: there is no field 'text', only {list(row)}; rename the field with the text to 'text'",
    )
    return text_field(place, row) or ""


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
