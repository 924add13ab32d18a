"""What every check shares: the untouched stub, answers of the wrong kind, and a frame that never raises."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

HALF_A_DIGIT = 6e-5  # an answer rounded to four decimals is right


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


def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the reader's function returns; whatever it raises becomes the hint."""
    try:
        return function(*arguments)
    except Exception as error:  # anything may go wrong in there, and none of it is a crash of the check
        raise NotYet(f"your function raised {type(error).__name__}: {error}") from None


def near(given: Any, right: Any, tolerance: float = HALF_A_DIGIT) -> bool:
    """Whether every number is as good as right; shapes may be broadcast."""
    difference = torch.as_tensor(given, dtype=torch.float64) - torch.as_tensor(right, dtype=torch.float64)
    return bool((difference.abs() <= tolerance).all())
