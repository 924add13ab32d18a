"""What a classifier says about a text."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from companion.data.passages import Keep


@dataclass(frozen=True)
class Prediction:
    """What a classifier says about a text.

    Attributes:
        label: the name of the most probable class.
        probability: of that class.
        tokens: how many the text has.
        read: how many of them the model has read, those at the overlaps of windows counted once.
    """

    label: str
    probability: float
    tokens: int
    read: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def predictions(
    probabilities: Sequence[Sequence[float]], sizes: Sequence[int], labels: Sequence[str], *, max_len: int, keep: Keep
) -> list[Prediction]:
    """What is said about each text.

    Args:
        probabilities: of each class, a row a text.
        sizes: how many tokens each text has.
        labels: the names of the classes.
        max_len: tokens that the model reads at a time, the two special ones included.
        keep: what is read of a longer text.

    >>> predictions([[0.25, 0.75]], [9], ["neg", "pos"], max_len=8, keep="head")
    [Prediction(label='pos', probability=0.75, tokens=9, read=6)]
    """
    found = []
    for row, n in zip(probabilities, sizes, strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        found.append(Prediction(labels[best], row[best], n, n if keep == "windows" else min(n, max_len - 2)))
    return found
