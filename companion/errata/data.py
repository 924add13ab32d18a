"""The errors of the source document as data: ``errata.toml``, checked on reading."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from companion.errors import require

Written: TypeAlias = "Decimal | tuple[Written, ...]"
"""A number as it is written, digits included (4.50 is not 4.5), or a nested tuple of such."""

Values: TypeAlias = Mapping[str, Written]

KINDS = ("number", "formula", "history", "code")
VALUE_TABLES = ("printed_values", "correct_values", "reasons")


@dataclass(frozen=True, kw_only=True)
class Erratum:
    """One error of the source: what it printed, what is right, why, and where the book shows it."""

    id: str
    section: str
    kind: str
    printed: str
    correct: str
    why: str
    where: str
    test: str
    quote: str = ""
    references: tuple[str, ...] = ()
    printed_values: Values = field(default_factory=lambda: MappingProxyType({}))
    correct_values: Values = field(default_factory=lambda: MappingProxyType({}))
    reasons: Values = field(default_factory=lambda: MappingProxyType({}))

    @property
    def anchor(self) -> str:
        """The target of its section in the errata chapter.

        >>> load_errata()["N1"].anchor
        'errata-n1'
        """
        return f"errata-{self.id.lower()}"

    @property
    def expected(self) -> dict[str, Written]:
        """What the computation must give: the correct values, and the reasons."""
        return {**self.correct_values, **self.reasons}


def parse_errata(text: str) -> dict[str, Erratum]:
    """The entries in ``text``, the content of a file like ``errata.toml``, by id.

    Raises:
        ValueError: a key is unknown or missing, an id stands twice, a kind is unknown, a value is no number, or an
            entry has neither something to compute, nor a test of code, nor a reference.
    """
    data = tomllib.loads(text, parse_float=Decimal)
    unknown = sorted(set(data) - {"example", "erratum"})
    require(not unknown, f"unknown tables {unknown} in the errata; expected [example] and [[erratum]]")
    errata: dict[str, Erratum] = {}
    for number, entry in enumerate(data.get("erratum", []), start=1):
        erratum = _parse(entry, name=f"erratum {entry.get('id', f'number {number}')}")
        require(erratum.id not in errata, f"erratum {erratum.id} stands twice; give the second one its own id")
        errata[erratum.id] = erratum
    return errata


@cache
def _read() -> str:
    return files("companion").joinpath("errata.toml").read_text(encoding="utf-8")


def load_errata() -> dict[str, Erratum]:
    """Every known error of the source by its id, in the order of the file.

    >>> load_errata()["N1"].printed
    'Q = K = V = [[1, 2], [4, 5], [6, 10]]'
    """
    return parse_errata(_read())


def source_example() -> tuple[Tensor, Tensor]:
    """X (3, 3) and W (3, 2), float64: the example that the source works through in 4.1, where W^Q = W^K = W^V = W.

    >>> X, W = source_example()
    >>> (X @ W).tolist()
    [[-2.0, 5.0], [-2.0, 11.0], [-2.0, 17.0]]
    """
    example = tomllib.loads(_read())["example"]
    X, W = (torch.tensor(example[name], dtype=torch.float64) for name in ("X", "W"))
    return X, W


def printed(id: str, name: str) -> Tensor:
    """What the source printed, as a float64 tensor.

    >>> printed("N1", "QKV").tolist()
    [[1.0, 2.0], [4.0, 5.0], [6.0, 10.0]]
    """
    erratum = get_erratum(id)
    require(
        name in erratum.printed_values,
        f"erratum {id} has no printed value {name!r}; choose one of {sorted(erratum.printed_values)}",
    )
    return as_tensor(erratum.printed_values[name])


def as_tensor(written: Written) -> Tensor:
    """A written number or array as a float64 tensor."""
    return torch.tensor(_floats(written), dtype=torch.float64)


def numbers(written: Written) -> Iterator[Decimal]:
    """Every number in a written value."""
    if isinstance(written, tuple):
        for part in written:
            yield from numbers(part)
    else:
        yield written


def _floats(written: Written) -> Any:
    return [_floats(part) for part in written] if isinstance(written, tuple) else float(written)


def get_erratum(id: str) -> Erratum:
    """The entry with this id, or an error that lists the ids."""
    errata = load_errata()
    require(id in errata, f"no erratum {id!r}; choose one of {list(errata)}")
    return errata[id]


def _parse(entry: Mapping[str, Any], name: str) -> Erratum:
    known = {f.name for f in fields(Erratum)}
    optional = {"quote", "references", *VALUE_TABLES}
    unknown, missing = sorted(set(entry) - known), sorted(known - optional - set(entry))
    require(not unknown, f"{name}: unknown keys {unknown}; known are {sorted(known)}")
    require(not missing, f"{name}: the keys {missing} are missing")
    values = dict(entry)
    for key in sorted(known - {"references", *VALUE_TABLES} & set(entry)):
        text = entry.get(key, "")
        require(isinstance(text, str) and (key in optional or bool(text.strip())), f"{name}: {key} must be text")
    require(entry["kind"] in KINDS, f"{name}: kind={entry['kind']!r} is not known; choose one of {list(KINDS)}")
    require("#" in entry["where"], f"{name}: where={entry['where']!r} must be page#anchor")
    require("::" in entry["test"], f"{name}: test={entry['test']!r} must be file::function")
    for table in VALUE_TABLES:
        rows = entry.get(table, {})
        require(isinstance(rows, Mapping), f"{name}: {table} must be a table of name = array; got {rows!r}")
        values[table] = MappingProxyType(
            {key: _written(value, f"{name}: {table}.{key}") for key, value in rows.items()}
        )
    keys = entry.get("references", [])
    require(
        isinstance(keys, list) and all(isinstance(key, str) for key in keys),
        f"{name}: references must be a list of keys of references.bib; got {keys!r}",
    )
    values["references"] = tuple(keys)
    overlap = sorted(set(values["correct_values"]) & set(values["reasons"]))
    require(not overlap, f"{name}: {overlap} stand in correct_values and in reasons; give them different names")
    require(
        entry["kind"] == "code" or bool(keys) or bool(values["correct_values"]) or bool(values["reasons"]),
        f"{name}: give correct_values or reasons to compute, or references that say so",
    )
    return Erratum(**values)


def _written(value: Any, name: str) -> Written:
    if isinstance(value, list):
        return tuple(_written(part, name) for part in value)
    require(
        isinstance(value, int | Decimal) and not isinstance(value, bool),
        f"{name} must hold numbers and arrays of numbers; got {value!r}",
    )
    return Decimal(value)
