"""What a classifier says about a text."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from companion.data.passages import MOST_UNKNOWN, UNKNOWN, Keep


@dataclass(frozen=True)
class Prediction:
    """What a classifier says about a text.

    Attributes:
        label: the name of the most probable class.
        probability: of that class.
        tokens: how many the text has.
        read: how many of them the model has read, those at the overlaps of windows counted once.
        unknown: how many of its tokens are ``[UNK]``: words with a character that the tokenizer does not know.
    """

    label: str
    probability: float
    tokens: int
    read: int
    unknown: int = 0

    @property
    def hardly_known(self) -> bool:
        """Whether more than a fifth of the tokens are unknown, so that the answer may mean little.

        >>> [Prediction("pos", 0.7, tokens=10, read=10, unknown=n).hardly_known for n in (2, 3)]
        [False, True]
        """
        return self.unknown > MOST_UNKNOWN * self.tokens

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def predictions(
    probabilities: Sequence[Sequence[float]],
    ids: Sequence[Sequence[int]],
    labels: Sequence[str],
    *,
    unk: int,
    max_len: int,
    keep: Keep,
) -> list[Prediction]:
    """What is said about each text.

    Args:
        probabilities: of each class, a row a text.
        ids: of the tokens of each text, all of them, without the special ones.
        labels: the names of the classes.
        unk: the id of ``[UNK]``.
        max_len: tokens that the model reads at a time, the two special ones included.
        keep: what is read of a longer text.

    >>> predictions([[0.25, 0.75]], [[7, 8, 9, 1, 7, 8, 9]], ["neg", "pos"], unk=1, max_len=8, keep="head")
    [Prediction(label='pos', probability=0.75, tokens=7, read=6, unknown=1)]
    """
    found = []
    for row, tokens in zip(probabilities, ids, strict=True):
        best, n = max(range(len(row)), key=row.__getitem__), len(tokens)
        read = n if keep == "windows" else min(n, max_len - 2)
        found.append(Prediction(labels[best], row[best], n, read, unknown=list(tokens).count(unk)))
    return found


def said_of_unknown(unknown: int, n: int) -> str:
    """A line about texts that are :attr:`Prediction.hardly_known`; empty if there is none.

    Args:
        unknown: how many of the texts are.
        n: how many texts there are.

    >>> said_of_unknown(2, 9)[:50]
    'in 2 of 9 texts more than 20 % of the tokens are ['
    >>> said_of_unknown(1, 1)[-82:]
    'words with characters that the tokenizer does not know; the answer may mean little'
    """
    if not unknown:
        return ""
    where, answer = ("", "the answer") if n == 1 else (f"in {unknown:,} of {n:,} texts ", "such an answer")
    return f"{where}more than {100 * MOST_UNKNOWN:.0f} % {UNKNOWN}; {answer} may mean little"
