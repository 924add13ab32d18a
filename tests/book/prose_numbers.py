"""Bind every number in the book's prose to something that is checked.

    python tests/book/prose_numbers.py [pages]      lists the numbers that nothing shows

A number with a decimal point, a percentage, or an integer of 100 and more must stand in

- a verified output of the same section (from one `##` heading to the next), equal or correctly rounded, or
- the printed or correct value of an erratum that the section names, or
- an entry of book/claims.toml, whose text must stand in the page word for word, or
- one of the few exemptions of prose_exemptions.toml.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from notebooks import ROOT, pages, read_notebook, shown_texts, verified
from prose_tokens import Blocks, Number, output_numbers, prose_numbers

from companion.errata import load_errata, numbers

CLAIMS = ROOT / "book" / "claims.toml"
EXEMPTIONS = Path(__file__).with_name("prose_exemptions.toml")
HEADING = re.compile(r"^#{1,2}[ \t]+(?P<title>.+?)[ \t]*$", re.M)
SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n\s*\n|\n(?=\s*[-*|>])")


@dataclass
class Passage:
    """A stretch of prose within one cell and one section."""

    cell: str
    text: str
    offset: int = 0  # where it stands in its cell


@dataclass
class Section:
    """What stands between two `##` headings: the prose, and the numbers that the outputs show."""

    title: str
    passages: list[Passage] = field(default_factory=list)
    shown: list[Number] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """A number of the prose, and what it is bound to (None: nothing)."""

    page: str
    section: str
    cell: str
    number: Number
    sentence: str
    by: str | None

    def __str__(self) -> str:
        return f"{self.page}, {self.section!r}, cell {self.cell}: {self.number.text!r} in: {self.sentence}"


# A page is scanned again for every digit that a test changes; what did not change is remembered.
@cache
def entries(path: Path, table: str) -> list[dict[str, Any]]:
    """The entries of a toml file of this name."""
    found: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8")).get(table, [])
    return found


@cache
def numbers_in(passage: str) -> tuple[Number, ...]:
    """The numbers of a passage that must be bound."""
    return tuple(number for number in prose_numbers(passage) if number.must_be_bound)


@cache
def headings(source: str) -> tuple[tuple[int, str], ...]:
    """Where the headings of the first two levels stand in a cell, and what they say."""
    return tuple((heading.start(), heading["title"]) for heading in HEADING.finditer(Blocks(source).text))


def squeeze(text: str) -> str:
    """One blank for any white space."""
    return " ".join(text.split())


def load(path: Path) -> list[tuple[str, str, list[Number]]]:
    """The cells of a page in order: name, Markdown, and the numbers shown by a code cell."""
    if path.suffix == ".md":
        return [(path.name, path.read_text(encoding="utf-8"), [])]
    cells = []
    for cell in read_notebook(path)["cells"]:
        if cell["cell_type"] == "markdown":
            cells.append((cell["id"], cell["source"], []))
        elif cell["cell_type"] == "code":
            image = cell["metadata"].get("mystnb", {})
            words = [image.get("image", {}).get("alt", ""), image.get("figure", {}).get("caption", "")]
            shown = [n for text, kind in shown_texts(cell) for n in shown_numbers(text, kind)] if verified(cell) else []
            cells.append((cell["id"], "\n\n".join(filter(None, words)), shown))
    return cells


def shown_numbers(text: str, kind: str) -> Iterator[Number]:
    """The numbers of one output."""
    yield from prose_numbers(text) if kind == "markdown" else output_numbers(text, kind)


def sections(cells: list[tuple[str, str, list[Number]]]) -> list[Section]:
    """The cells, cut at the headings of the first two levels."""
    found = [Section("(before the first heading)")]
    for cell, source, shown in cells:
        found[-1].shown += shown
        start = 0
        for at, title in headings(source):
            found[-1].passages.append(Passage(cell, source[start:at], start))
            found.append(Section(title))
            start = at
        found[-1].passages.append(Passage(cell, source[start:], start))
    return found


def agrees(said: Number, shown: Number) -> bool:
    """Is the number that is said the one that is shown, or a correct rounding of it to two digits or more?"""
    value, exponent = shown.value, shown.exponent
    if said.percent != shown.percent:
        if shown.percent:
            return False
        value, exponent = value * 100, exponent + 2
    if said.value == value:
        return True
    unit = said.exponent
    if said.about and unit == 0:  # "about 3,200" for 3192
        whole = str(abs(int(said.value)))
        unit = len(whole) - len(whole.rstrip("0"))
    if unit <= exponent:  # more digits said than shown: nothing that could be rounded
        return False
    digits = len(str(abs(int(said.value.scaleb(-unit))))) if said.value else 1
    return digits >= 2 and abs(said.value - value) <= Decimal(10) ** unit / 2


def errata_numbers(section: Section) -> dict[str, list[Number]]:
    """The printed and the correct numbers of the errata that a section names, by id."""
    text = " ".join([section.title, *(p.text for p in section.passages)])
    return {id: own for id, own in every_erratum().items() if re.search(rf"\b{id}\b|\berrata-{id.lower()}\b", text)}


@cache
def every_erratum() -> dict[str, list[Number]]:
    """The printed and the correct numbers of every erratum, by id."""
    found = {}
    for id, erratum in load_errata().items():
        values = [v for table in (erratum.printed_values, erratum.correct_values) for v in table.values()]
        own = [_written(decimal) for value in values for decimal in numbers(value)]
        found[id] = [*own, *prose_numbers(erratum.printed), *prose_numbers(erratum.correct)]
    return found


def _written(value: Decimal) -> Number:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return Number(str(value), value + 0, exponent)


@dataclass(frozen=True)
class Quote:
    """A claim or an exemption: it vouches for one number inside a text that stands in the page word for word."""

    by: str
    text: str
    number: str

    @classmethod
    def load(cls, page: str) -> "list[Quote]":
        """The claims and exemptions of a page."""
        claims = [(f"claim {entry['reference']}", entry) for entry in entries(CLAIMS, "claim")]
        exempt = [(f"exempt: {entry['reason']}", entry) for entry in entries(EXEMPTIONS, "exemption")]
        return [cls(by, e["text"], e["number"]) for by, e in claims + exempt if e["chapter"] == page]

    def covers(self, number: Number, passage: str) -> bool:
        """Is this the number of the quote, within a copy of its text in the passage?"""
        pattern = r"\s+".join(map(re.escape, self.text.split()))
        spans = (match.span() for match in re.finditer(pattern, passage))
        return number.text == self.number and any(a <= number.start and number.end <= b for a, b in spans)


def scan_cells(page: str, cells: list[tuple[str, str, list[Number]]]) -> list[Found]:
    """Every number of the page's prose that must be bound, and what binds it."""
    quotes = Quote.load(page)
    found = []
    for section in sections(cells):
        errata = errata_numbers(section)
        for passage in section.passages:
            for number in numbers_in(passage.text):
                by = bound_by(number, section.shown, errata)
                by = by or next((quote.by for quote in quotes if quote.covers(number, passage.text)), None)
                found.append(Found(page, section.title, passage.cell, number, sentence(passage.text, number), by))
    return found


def bound_by(number: Number, shown: list[Number], errata: dict[str, list[Number]]) -> str | None:
    """The output or the erratum that binds a number, or None."""
    if any(agrees(number, one) for one in shown):
        return "output"
    for id, written in errata.items():
        if any(number.value == own.value and number.percent == own.percent for own in written):
            return f"erratum {id}"
    return None


def sentence(text: str, number: Number) -> str:
    """The sentence around a number, in one line."""
    start = max((m.end() for m in SENTENCE_END.finditer(text, 0, number.start)), default=0)
    after = SENTENCE_END.search(text, number.end)
    whole = text[start : after.start() if after else len(text)]
    at = number.start - start
    return squeeze(whole if len(whole) < 200 else whole[max(0, at - 80) : at + 120])


def page_name(path: Path) -> str:
    """What claims and exemptions call a page: 03_attention."""
    return path.stem


def scan(path: Path) -> list[Found]:
    """Every number of a page that must be bound, and what binds it."""
    return scan_cells(page_name(path), load(path))


def unbound(found: list[Found]) -> list[str]:
    """The report: the numbers that nothing shows."""
    return [str(one) for one in found if one.by is None]


def main(arguments: list[str]) -> int:
    """Print the report; 1 if there is something in it."""
    missing = 0
    for path in map(Path, arguments) if arguments else pages():
        found = scan(path)
        report = unbound(found)
        missing += len(report)
        print(f"{path.name}: {len(found)} numbers, {len(report)} unbound", *report, sep="\n  ")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
