"""One helper: fail at the boundary and say what was got, what was expected and the way out."""


def require(condition: bool, message: str) -> None:
    """Raise ``ValueError(message)`` unless ``condition`` holds.

    >>> require(2 + 2 == 4, "arithmetic is broken")
    >>> require(7 <= 5, "sequence of 7 tokens, but max_len=5; raise max_len or truncate")
    Traceback (most recent call last):
    ...
    ValueError: sequence of 7 tokens, but max_len=5; raise max_len or truncate
    """
    if not condition:
        raise ValueError(message)
