r"""Texts from files, and texts cut into sentences.

:func:`read_texts` reads a folder of ``.txt`` and ``.jsonl`` files; what it leaves out, it counts. What it cannot read
is an error that names the file and the line: a text that is silently missing is found when training is over, or never.
:func:`split_sentences` cuts a text at the ends of its sentences.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from companion.errors import require


class Texts(NamedTuple):
    """Documents, and how many were left out for which reason."""

    texts: list[str]
    skipped: dict[str, int]


def read_texts(folder: str | Path) -> Texts:
    """The documents in a folder and the folders in it: each ``.txt`` file is one, each line of a ``.jsonl`` file too.

    A line of a ``.jsonl`` file is a JSON object with the text in its field ``text``. Documents without any text, and
    rows whose ``text`` is missing or null, are left out and counted. What begins with a dot is not read.

    Raises:
        ValueError: there is no such folder or no such file in it, nothing is left, or a file is not what its name says:
            bytes that are no UTF-8, a line that is no JSON object, a ``text`` that is no string. The message names the
            file and the line.
    """
    root = Path(folder)
    require(root.is_dir(), f"{root} is no folder; give one that holds .txt or .jsonl files")
    files = [p for p in visible_files(root) if p.suffix.lower() in (".txt", ".jsonl")]
    require(bool(files), f"{root} holds no .txt and no .jsonl file")
    texts: list[str] = []
    skipped: Counter[str] = Counter()
    for path in sorted(files, key=lambda p: p.relative_to(root).as_posix()):  # the same order on every system
        for text in _documents(path):
            if text is None:
                skipped["rows without text"] += 1
            elif not text.strip():
                skipped["empty documents"] += 1
            else:
                texts.append(text)
    require(
        bool(texts),
        f"no text in {root} ({len(files):,} file{'s' * (len(files) != 1)}): {left_out(skipped)}; give texts with words",
    )
    return Texts(texts, dict(skipped))


def left_out(skipped: Mapping[str, int]) -> str:
    """How many texts were left out for which reason, in words.

    >>> left_out({"texts without a word": 1, "empty documents": 2000})
    'left out: 1 text without a word, 2,000 empty documents'
    >>> left_out({})
    'nothing left out'
    """
    if not skipped:
        return "nothing left out"
    reasons = {reason: _PLURAL.sub(r"\1", reason) if n == 1 else reason for reason, n in skipped.items()}
    return "left out: " + ", ".join(f"{n:,} {reasons[reason]}" for reason, n in skipped.items())


def visible_files(root: Path) -> list[Path]:
    """The files in a folder and the folders in it, but for the hidden ones: what other programs keep and note there.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("a.txt", "._a.txt"):
    ...     _ = (root / name).write_text("x", encoding="utf-8")
    >>> [path.name for path in visible_files(root)]
    ['a.txt']
    """
    paths = (p for p in root.rglob("*") if not any(part.startswith(".") for part in p.relative_to(root).parts))
    return [path for path in paths if path.is_file()]


def read_utf8(path: Path) -> str:
    """A file's text.

    Raises:
        ValueError: bytes that are no UTF-8; the message names the line.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is no UTF-8; save the file as UTF-8"
        ) from error


def json_object(place: str, line: str) -> dict[str, Any]:
    """The object in a line of a ``.jsonl`` file; ``place`` is what an error says first, like ``"a.jsonl, line 3"``.

    Raises:
        ValueError: the line is no JSON, or no object.
    """
    try:
        row: Any = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        reason = getattr(error, "msg", "nested too deep")
        raise ValueError(f"{place}: no JSON ({reason}); one object a line is expected") from error
    require(isinstance(row, dict), lambda: f"{place}: a {type(row).__name__}; an object is expected")
    return row  # type: ignore[no-any-return]


def text_field(place: str, row: Mapping[str, Any], name: str = "text") -> str | None:
    """The text in a field of an object; None where the field is missing or null.

    Raises:
        ValueError: it is no string, or has half a character.
    """
    text = row.get(name)
    require(
        text is None or isinstance(text, str),
        lambda: f"{place}: {name} is a {type(text).__name__}; a string is expected",
    )
    require(
        text is None or not _HALF.search(text),
        lambda: f"{place}: {name} has half a character (\\ud800 to \\udfff alone); write the whole pair",
    )
    return None if text is None else str(text)


def is_readable(text: str) -> bool:
    r"""Whether a text has a character that says something; the tokenizer keeps each of these.

    White space, control and format characters, those of private use, and accents without a letter say nothing: most
    leave no token, and a text of the others alone, such as the vowel signs of Devanagari, is a row of ``[UNK]``.

    >>> is_readable("!"), is_readable("\ufeff \u200b")
    (True, False)
    """
    return any(not c.isspace() and c != "\ufffd" and unicodedata.category(c) not in _DROPPED for c in text)


def _documents(path: Path) -> Iterator[str | None]:
    content = read_utf8(path)
    if path.suffix.lower() == ".txt":
        yield content
        return
    for number, row in enumerate(content.split("\n"), start=1):
        if row.strip():
            place = f"{path}, line {number}"
            yield text_field(place, json_object(place, row))


_PLURAL = re.compile(r"\b(text|row|document)s\b")
# Control, format, private use; marks that stand on the letter before them.
_DROPPED = frozenset(("Cc", "Cf", "Co", "Mn", "Mc", "Me"))
# A character beyond U+FFFF is written in JSON as a pair of halves; one alone cannot be encoded.
_HALF = re.compile("[\ud800-\udfff]")
# After the mark that ends a sentence and what closes with it, before what can begin one; not after a title or an
# initial. A line break always ends a sentence, and so do the full stops of Chinese and Japanese. What must stand
# before a mark is looked at after the mark is found, so that the search can run from mark to mark, ten times as fast.
_END = re.compile(
    r"[.!?。！？\n](?:"
    r"(?<=[.!?])(?<!\b[A-Z].)(?<!\b[MmDdSsJj]r.)(?<!\b[Mm]rs.)(?<!\b[Mm]s.)(?<!\b[Ss]t.)(?<!\bvs.)"
    r"[.!?]*[\"'”’)\]]*[^\S\n]+(?=[\"'“‘(\[]*[^\W_a-z])"
    r"|(?<=[。！？])[。！？]*[”’」』）]*\s*"
    r"|(?<=\n)\s*)"
)


def split_sentences(text: str) -> list[str]:
    r"""Cut a text into sentences by rule: after ``. ! ?`` before a capital letter or a digit, and at line breaks.

    Titles (*Mr. Mrs. Dr.*) and initials do not end a sentence. The rule errs now and then, which training forgives.
    The sentences hold all of the text but the white space between them.

    >>> split_sentences('Dr. No has style. "Is it good?" Yes! It cost $3.50.\nSee it')
    ['Dr. No has style.', '"Is it good?"', 'Yes!', 'It cost $3.50.', 'See it']
    """
    sentences, start = [], 0
    for match in _END.finditer(text):
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [s for s in sentences if s]
