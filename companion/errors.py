"""One helper: fail at the boundary and say what was got, what was expected and the way out."""

from collections.abc import Callable


def require(condition: bool, message: str | Callable[[], str]) -> None:
    """Raise ``ValueError(message)`` unless ``condition`` holds.

    A message may be a function, which is only called when it is needed: use that where the check runs at every step.

    >>> require(2 + 2 == 4, "arithmetic is broken")
    >>> require(7 <= 5, lambda: "sequence of 7 tokens, but max_len=5; raise max_len or truncate")
    Traceback (most recent call last):
    ...
    ValueError: sequence of 7 tokens, but max_len=5; raise max_len or truncate
    """
    if not condition:
        raise ValueError(message if isinstance(message, str) else message())
