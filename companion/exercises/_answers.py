"""What every check shares: the untouched stub, answers of the wrong kind, and a frame that never raises."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


class NotYet(Exception):
    """An answer that is not right; the message is the hint."""


def expect(condition: bool, hint: str) -> None:
    """Raise :class:`NotYet` with ``hint`` unless ``condition`` holds."""
    if not condition:
        raise NotYet(hint)


def check(function: Callable[[Any], str]) -> Callable[[Any], str]:
    """Turn a function that returns praise or raises :class:`NotYet` into one that always returns a sentence."""

    @wraps(function)
    def checked(answer: Any) -> str:
        if answer is ...:
            return "not yet: replace the three dots with your answer and run the cell again"
        try:
            return f"right: {function(answer)}"
        except NotYet as hint:
            return f"not yet: {hint}"

    return checked


def as_tensor(answer: Any, what: str) -> Tensor:
    """The answer as a float64 tensor (bool stays bool), or the hint that it should be ``what``."""
    try:
        tensor = torch.as_tensor(answer)
    except (TypeError, ValueError, RuntimeError):
        raise NotYet(f"the answer should be {what}; got {type(answer).__name__}") from None
    expect(not tensor.is_complex(), f"the answer should be {what}; got complex numbers")
    return tensor if tensor.dtype == torch.bool else tensor.detach().double()


def as_number(answer: Any, what: str) -> float:
    """The answer as one finite number, or the hint that it should be ``what``."""
    tensor = as_tensor(answer, what)
    expect(tensor.numel() == 1 and tensor.dtype != torch.bool, f"the answer should be {what}, one number")
    value = float(tensor)
    expect(value == value and abs(value) != float("inf"), f"the answer should be {what}; got {value}")
    return value
