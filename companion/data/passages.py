"""What is read of a text that is longer than a model reads; lists of numbers, nothing of PyTorch."""

from collections.abc import Sequence
from typing import Literal

from companion.config import check_choice

Keep = Literal["head", "tail", "both", "windows"]
"""What is read of a text with more tokens than there is room for.

Its ``"head"``, its ``"tail"``, or ``"both"``: a quarter from its head and the rest from its tail (Sun et al. 2019 found
the opinion at both ends). Or all of it, in ``"windows"``.
"""
MOST_UNKNOWN = 0.2
"""Where a larger share of the tokens is ``[UNK]``, a model hardly sees what it reads."""
UNKNOWN = "of the tokens are [UNK], words with characters that the tokenizer does not know"
_READ = {"head": "the beginning is", "tail": "the end is", "both": "beginning and end are"}
# How much of the room the beginning of a text gets.
_HEAD = {"head": 1.0, "tail": 0.0, "both": 0.25}


def passages(ids: Sequence[int], room: int, keep: Keep) -> list[list[int]]:
    """What is read of a text's ``ids``: one passage of at most ``room`` tokens, or of a long text several windows.

    Windows are as few as cover the text, all ``room`` long and evenly spread, so that neighbors overlap.

    >>> passages([1, 2, 3, 4, 5, 6, 7, 8, 9], 4, "both")
    [[1, 7, 8, 9]]
    >>> passages([1, 2, 3, 4, 5, 6, 7, 8, 9], 4, "windows")
    [[1, 2, 3, 4], [3, 4, 5, 6], [6, 7, 8, 9]]
    """
    check_choice("keep", keep, Keep)
    ids = list(ids)
    if len(ids) <= room:
        return [ids]
    if keep == "windows":
        n = -(-len(ids) // room)
        starts = [i * (len(ids) - room) // (n - 1) for i in range(n)]
        return [ids[start : start + room] for start in starts]
    head = int(_HEAD[keep] * room)
    return [ids[:head] + ids[len(ids) - (room - head) :]]


def said_of_unknown_tokens(unknown: int, n: int) -> str:
    """A line about texts in which too many tokens are ``[UNK]``, and the way out; empty if there are not.

    Args:
        unknown: how many of the tokens are ``[UNK]``.
        n: how many tokens there are, without those that begin and end a text.

    >>> said_of_unknown_tokens(8, 40)
    ''
    >>> said_of_unknown_tokens(30, 40)[:80]
    '75 % of the tokens are [UNK], words with characters that the tokenizer does not '
    """
    if unknown <= MOST_UNKNOWN * n:
        return ""
    return (
        f"{100 * unknown / n:.0f} % {UNKNOWN}, "
        "and all the same to the model; train both on such texts: companion data TEXTS --vocab-size N --out CORPUS, "
        "companion pretrain RUN.toml --set data.corpus=CORPUS --set model.vocab_size=N --out MODEL, then companion "
        "finetune RUN.toml --set model.pretrained=MODEL --set data.tokenizer=CORPUS"
    )


def said_of_longer(longer: int, n: int, room: int, keep: Keep) -> str:
    """A line about texts of which only a part is read; empty if there is none, as with windows.

    Args:
        longer: how many of the texts have more tokens than there is room for.
        n: how many texts there are.
        room: tokens that are read of a text at most.
        keep: what is read of a longer one.

    >>> said_of_longer(2, 40, 510, "both")
    '2 of 40 texts are longer than the model reads (510 tokens); beginning and end are read'
    >>> said_of_longer(1, 1, 254, "head")
    'the text is longer than the model reads (254 tokens); the beginning is read'
    """
    check_choice("keep", keep, Keep)
    if not longer or keep == "windows":
        return ""
    which = "the text is" if n == 1 else f"{longer:,} of {n:,} texts {'is' if longer == 1 else 'are'}"
    return f"{which} longer than the model reads ({room:,} tokens); {_READ[keep]} read"
