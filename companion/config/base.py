"""What all configurations share: the checks, and the way to a dictionary and back."""

import math
from dataclasses import asdict, fields
from typing import Any, Self, get_args

from companion.errors import require

_MOST_HEADS = 1024
"""As many are suggested at most."""


def check_choice(name: str, value: object, choices: Any) -> None:
    """Require that ``value`` is one of a ``Literal``'s values.

    >>> from typing import Literal
    >>> check_choice("norm", "middle", Literal["pre", "post"])
    Traceback (most recent call last):
    ...
    ValueError: norm='middle' is not known; choose one of ['pre', 'post']
    """
    known = get_args(choices)
    require(value in known, lambda: f"{name}={value!r} is not known; choose one of {list(known)}")


def check_heads(d_model: int, n_heads: int) -> None:
    """Require that the heads share the width evenly: ``d_model = n_heads * d_head``.

    >>> check_heads(10, 3)
    Traceback (most recent call last):
    ...
    ValueError: d_model=10 must be a multiple of n_heads=3; try n_heads in [1, 2, 5, 10]
    """
    check_at_least("d_model", d_model, 1)
    check_at_least("n_heads", n_heads, 1)

    def said() -> str:
        divisors = [h for h in range(1, min(d_model, _MOST_HEADS) + 1) if d_model % h == 0]
        return f"d_model={d_model} must be a multiple of n_heads={n_heads}; try n_heads in {divisors}"

    require(d_model % n_heads == 0, said)


def check_names(name: str, value: object) -> None:
    """Require a list of two or more different names, as classes have them.

    >>> check_names("labels", ["neg", "neg"])
    Traceback (most recent call last):
    ...
    ValueError: labels=['neg', 'neg'] must be a list of two or more different names, such as ['neg', 'pos']
    """
    strings = isinstance(value, list | tuple) and all(isinstance(part, str) and part for part in value)
    require(
        strings and len(set(value)) == len(value) >= 2,  # type: ignore[call-overload, arg-type]
        lambda: f"{name}={value!r} must be a list of two or more different names, such as ['neg', 'pos']",
    )


def check_at_least(name: str, value: int, least: int) -> None:
    """Require a whole number that is not too small."""
    require(
        isinstance(value, int) and not isinstance(value, bool) and value >= least,
        lambda: f"{name}={value!r} must be a whole number of at least {least}",
    )


def check_number(name: str, value: float, *, positive: bool) -> None:
    """Require a finite number that is greater than 0, or at least not below it.

    >>> check_number("peak_lr", 0.0, positive=True)
    Traceback (most recent call last):
    ...
    ValueError: peak_lr=0.0 must be a finite number greater than 0
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    require(
        is_number and (value > 0 or (value == 0 and not positive)),
        lambda: f"{name}={value!r} must be a finite number {'greater than 0' if positive else 'of at least 0'}",
    )


def check_dropout(name: str, p: float) -> None:
    """Require a probability below 1: dropping everything leaves nothing to learn from."""
    require(0.0 <= p < 1.0, lambda: f"{name}={p} must be in [0, 1)")


class Config:
    """What every configuration can do."""

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, ready for JSON or TOML."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # every subclass is a dataclass

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The configuration with these fields; a name that it does not have is an error, not a silence."""
        known = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # every subclass is a dataclass
        unknown = sorted(set(values) - set(known))
        require(not unknown, f"{cls.__name__} has no field {unknown}; it has {known}")
        return cls(**values)
