"""Texts with the names of their classes: from IMDB, the mini reviews, or files of one's own.

What is wrong with a file is an error that names the line; texts without a word, also those of invisible characters
only, are left out and counted. A sample, save of the mini reviews, and a validation split are drawn by class, from a
seed, and texts that are equal stay on the same side.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from companion.config import check_names
from companion.data.imdb import load_imdb
from companion.data.labelled_files import read_labelled_files, set_labels
from companion.data.mini_reviews import mini_reviews
from companion.data.texts import left_out
from companion.errors import require

IMDB, MINI = "imdb", "mini"
"""The names that stand for the film reviews and for the mini reviews, in place of a path; both have a test part."""
SENTIMENT = ("neg", "pos")
"""The classes of both."""
MINI_REVIEWS = 2000
"""How many mini reviews are drawn where nobody says how many."""
Part = Literal["train", "test"]


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, and the number of each one's class.

    Attributes:
        texts: the texts, each with a word in it.
        labels: the class of each, a number into ``names``.
        names: what the classes are called.
        rows: where each text stands in its source, from 0.
        skipped: how many were left out, by reason.
    """

    texts: list[str]
    labels: list[int]
    names: tuple[str, ...]
    rows: list[int]
    skipped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def counts(self) -> dict[str, int]:
        """How many texts each class has."""
        return {name: self.labels.count(i) for i, name in enumerate(self.names)}

    def digest(self) -> str:
        """SHA-256 of the texts and the names of their classes, in their order."""
        rows = [[text, self.names[label]] for text, label in zip(self.texts, self.labels, strict=True)]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def take(self, which: Sequence[int]) -> "LabelledTexts":
        """These texts alone."""
        return LabelledTexts(
            [self.texts[i] for i in which],
            [self.labels[i] for i in which],
            self.names,
            [self.rows[i] for i in which],
            self.skipped,
        )


def read_labelled(
    source: str,
    names: Sequence[str] = SENTIMENT,
    *,
    part: Part = "train",
    text: str = "text",
    label: str = "label",
    limit: int = 0,
    seed: int = 0,
    trained: bool = False,
) -> LabelledTexts:
    """The labelled texts of a source.

    Args:
        source: ``"imdb"``, ``"mini"``, a ``.csv`` file with a header, a ``.jsonl`` or ``.ndjson`` file with an object a
            line, or a folder: of such files, of folders that are named like the classes and hold a ``.txt`` file a
            text, or both; what begins with a dot in it is not read.
        names: the classes, in the order of their numbers.
        part: of IMDB and the mini reviews.
        text: the column that holds the text.
        label: the column that holds the name of the class.
        limit: that many texts only, drawn by ``seed``, in the proportions of the classes; of the mini reviews each
            class comes up by chance. A smaller sample is the beginning of a larger one. 0 = all (of the mini reviews
            :data:`MINI_REVIEWS`).
        seed: of the sample.
        trained: whether the names are the classes of a classifier that is tested. Then a file or folder may lack texts
            of some of them, and no error says to name other ones. Else there must be texts of each.

    Raises:
        ValueError: no such source, a file that is not what its name says, a missing column, a label that is no class,
            folders of the classes in several places, a train and a test part, a class without texts, or a ``limit``
            that there are not enough texts for. The message names file and line.
    """
    names = checked_names(names)
    require(bool(source), f"an empty name is no data; give {IMDB}, {MINI}, a folder (. is this one) or a file")
    if source in (IMDB, MINI):
        asked = f"not {list(names)}; set these: {set_labels(SENTIMENT)}"
        if trained:
            asked = f"and this classifier knows {list(names)}; test it on texts of its own classes: --data FILE"
        require(set(names) == set(SENTIMENT), f"the classes of {source} are {list(SENTIMENT)}, {asked}")
        return _reviews(source, names, part, limit, seed)
    root = Path(source)
    require(root.exists(), f"there is no data {str(root)!r}; give {IMDB}, {MINI}, a folder or a file")
    texts, labels, rows, skipped = read_labelled_files(root, names, text=text, label=label, trained=trained)
    found = LabelledTexts(texts, labels, names, rows, skipped)
    present = [name for name, n in found.counts.items() if n]
    if not trained:
        _require_each(found, source, present)
    if not limit:
        return found
    require(
        len(present) <= limit <= len(found),
        f"limit={limit}, but {source} has {len(found)} texts of {len(present)} classes; ask for one of each at least",
    )
    return found.take(_in_turn(found, seed)[:limit])


def split_validation(data: LabelledTexts, share: float, *, seed: int = 0) -> tuple[LabelledTexts, LabelledTexts]:
    """What to train on, and a ``share`` of each class to validate on, drawn by ``seed``.

    A text that stands in the data several times is on one side only, so the shares may be off by a few.

    Raises:
        ValueError: a class would have no text on one of the sides.

    >>> data = LabelledTexts(list("abcdefgh"), [0, 1] * 4, ("neg", "pos"), list(range(8)))
    >>> train, validation = split_validation(data, 0.25)
    >>> train.counts, validation.counts
    ({'neg': 3, 'pos': 3}, {'neg': 1, 'pos': 1})
    """
    require(0.0 < share < 1.0, f"a share of {share} to validate on must be between 0 and 1")
    firsts: dict[str, int] = {}
    for i, text in enumerate(data.texts):
        firsts.setdefault(text, i)
    distinct = data.take(list(firsts.values()))
    wanted = {i: max(1, round(share * distinct.labels.count(i))) for i in set(distinct.labels)}
    chosen: set[str] = set()
    for i in _in_turn(distinct, seed):
        if wanted[distinct.labels[i]] > 0:
            wanted[distinct.labels[i]] -= 1
            chosen.add(distinct.texts[i])
    train, validation = (data.take([i for i, t in enumerate(data.texts) if (t in chosen) == held]) for held in (0, 1))
    missing = [data.names[i] for i in sorted(set(data.labels)) if i not in train.labels]
    equal = ""
    if len(distinct) < len(data):
        equal = f" ({len(data)} texts, of which {len(distinct)} differ; equal texts stay on one side)"
    require(
        not missing,
        f"nothing of {missing} would be left to train on{equal}; give more texts, or hold none out: --set "
        "finetune.validation=0",
    )
    return train, validation


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes, which must be two or more different strings.

    >>> checked_names([0, 1])
    Traceback (most recent call last):
    ...
    ValueError: labels=[0, 1] must be strings; put each in quotation marks: --set 'data.labels=["0", "1"]'
    """
    listed = isinstance(names, Sequence) and not isinstance(names, str)
    require(
        not (listed and any(isinstance(name, int | float) for name in names)),
        lambda: (
            f"labels={list(names)!r} must be strings; put each in quotation marks: --set "
            f"'data.labels={json.dumps([str(name) for name in names], ensure_ascii=False)}'"
        ),
    )
    check_names("labels", names)
    return tuple(names)


def _require_each(found: LabelledTexts, source: str, present: list[str]) -> None:
    """Require texts of each class, to learn from."""
    missing = [name for name in found.names if name not in present]
    skipped = f" ({left_out(found.skipped)})" if found.skipped else ""
    require(
        len(present) > 1,
        f"{source} has texts of one class only, {present}, and {len(found)} of them{skipped}; a classifier learns from "
        f"2 or more: give texts of {missing}, too",
    )
    require(
        not missing,
        f"{source} has no text of {missing}{skipped}, and a class without texts cannot be learned; give some, or leave "
        f"it out: {set_labels(present)}",
    )


def _reviews(source: str, names: tuple[str, ...], part: Part, limit: int, seed: int) -> LabelledTexts:
    number = [names.index(name) for name in SENTIMENT]
    if source == IMDB:
        found = load_imdb(part, limit=limit or None, seed=seed)
        return LabelledTexts(found.texts, [number[i] for i in found.labels], names, found.rows)
    drawn = mini_reviews(limit or MINI_REVIEWS, seed=seed, split=part)
    return LabelledTexts(drawn.texts, [number[i] for i in drawn.labels], names, list(range(len(drawn))))


def _in_turn(data: LabelledTexts, seed: int) -> list[int]:
    """All texts in an order in which every beginning has the classes in their proportions."""
    draw = random.Random(seed)
    # Only random() is called, whose sequence Python keeps for a seed in every version.
    shuffled = sorted(range(len(data)), key=[draw.random() for _ in data.labels].__getitem__)
    queues = {kind: [i for i in shuffled if data.labels[i] == kind] for kind in sorted(set(data.labels))}
    place = {i: (rank + 0.5) / len(queue) for queue in queues.values() for rank, i in enumerate(queue)}
    # The first of each class come first, so that none is missing in a small sample.
    firsts = [queue[0] for queue in queues.values()]
    rest = sorted(place.keys() - set(firsts), key=lambda i: (place[i], data.labels[i]))
    return firsts + rest
