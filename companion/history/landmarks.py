r"""The dates and figures of chapter 1, from ``landmarks.toml``: what happened when, and how large the models were.

Each entry names the work that it belongs to (a key of the book's bibliography) and, where there is one, the page on
which the date or the figure was looked up. Operations of a training are those that were published, or a product that
is written out: 2 operations forward and 4 backward for each parameter and token (Kaplan et al. 2020, section 2.1).
"""

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from companion.errors import require

LANES = ("neurons", "symbols", "language")


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        year: where it stands on a line of time, with a fraction for the month.
        when: the date in words.
        name: what it is.
        who: the people, or the house.
        lane: which of the three stories it belongs to: one of ``LANES``.
        key: the work, in the book's bibliography.
        seen: the page on which the date was looked up; "" = from memory.
    """

    year: float
    when: str
    name: str
    who: str
    lane: str
    key: str
    seen: str = ""


@dataclass(frozen=True)
class Winter:
    """Years in which money and interest were short: from about ``start`` to about ``end``."""

    start: int
    end: int
    name: str
    key: str
    seen: str = ""


@dataclass(frozen=True)
class Landmark:
    """A model and what its training took.

    Attributes:
        year: when it was published, with a fraction for the month.
        name: what it is called.
        parameters: how many, all of them.
        operations: of the training, additions and multiplications each counted as one; None = not known.
        counted: whether the operations are our product and not a published figure.
        how: the factors of the product in words, or where the figure stands.
        key: the paper, in the book's bibliography.
        seen: the page on which the figures were looked up; "" = from memory.
    """

    year: float
    name: str
    parameters: float
    operations: float | None
    counted: bool
    how: str
    key: str
    seen: str = ""


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(files("companion.history").joinpath("landmarks.toml").read_text(encoding="utf-8"))


def load_events() -> tuple[Event, ...]:
    """What happened, in order.

    >>> load_events()[0].when, load_events()[0].who
    ('1943', 'McCulloch, Pitts')
    """
    return tuple(sorted((Event(**entry) for entry in _tables()["event"]), key=lambda event: event.year))


def load_winters() -> tuple[Winter, ...]:
    """The two AI winters.

    >>> [(winter.start, winter.end) for winter in load_winters()]
    [(1974, 1980), (1987, 1993)]
    """
    return tuple(Winter(e["from"], e["to"], e["name"], e["key"], e.get("seen", "")) for e in _tables()["winter"])


def load_landmarks() -> tuple[Landmark, ...]:
    """The models, in order.

    >>> first = load_landmarks()[0]
    >>> first.name, first.parameters, f"{first.operations:.1e}"
    ('LeNet 1989', 9760, '6.5e+10')
    """
    return tuple(sorted(map(_landmark, _tables()["model"]), key=lambda model: model.year))


def _landmark(entry: dict[str, Any]) -> Landmark:
    """Multiply the factors, if there are any."""
    values = dict(entry)
    factors = values.pop("factors", None)
    printed = values.pop("operations", None)
    require(factors is None or printed is None, f"{entry['name']}: give operations or factors, not both")
    return Landmark(**values, operations=math.prod(factors) if factors else printed, counted=bool(factors))


def doubling_months(first: Landmark, second: Landmark) -> float:
    """In how many months the operations of a training doubled on average, from one model to a later one.

    ``12 (year2 - year1) / log2(operations2 / operations1)``.

    Raises:
        ValueError: the operations of one are not known, or the second is not the later and larger one.

    >>> a = Landmark(2000.0, "a", 1, 1e10, False, "", "")
    >>> doubling_months(a, Landmark(2001.0, "b", 1, 4e10, False, "", ""))
    6.0
    """
    require(
        first.operations is not None and second.operations is not None,
        f"the operations of {first.name} or {second.name} are not known; take models with operations",
    )
    assert first.operations is not None and second.operations is not None  # for the type checker
    require(
        second.year > first.year and second.operations > first.operations,
        f"{second.name} is not later and larger than {first.name}; exchange them",
    )
    return 12 * (second.year - first.year) / math.log2(second.operations / first.operations)
