r"""IMDB film reviews (Maas et al. 2011): 25,000 to train on, 25,000 to test on, 50,000 without a label.

The files are looked for in ``data_dir``, then in the folder named by the environment variable ``COMPANION_DATA``
(``imdb/train.parquet``, ``imdb/test.parquet``, ``imdb/unsupervised.parquet``, columns ``text`` and ``label``), and last
on the Hugging Face hub, through the ``datasets`` library. Wherever they come from, they are checked: number of rows,
rows of each label, and a digest of all texts and labels that does not depend on the order of the rows.

What is done to a text (:func:`clean_text`), and nothing else: ``<br />``, which stands in 59 % of the reviews, becomes
a line break; the bytes 0x80 to 0x9F, which are Windows punctuation that was read as Latin-1, become the dashes, quotes
and dots that their authors typed; other control characters and runs of spaces become one space.

The files are sorted by label. Shuffle them, or ask for a sample with ``limit``, which is balanced.

Some texts stand in several splits. :func:`pretraining_texts` gives what may be trained on without a label.
"""

import hashlib
import os
import random
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from companion.errors import require

Split = Literal["train", "test", "unsupervised"]
#: The environment variable that names the folder of data sets.
VARIABLE = "COMPANION_DATA"
#: What the labels mean; -1 stands for no label.
LABELS = ("negative", "positive")
HUB_NAME = "stanfordnlp/imdb"


@dataclass(frozen=True)
class Reviews:
    """Texts with their labels.

    Attributes:
        texts: the reviews, cleaned.
        labels: 0 negative, 1 positive, -1 for a review without a label.
        rows: where each review stands in its file, from 0; an example of the book is named by it.
    """

    texts: list[str]
    labels: list[int]
    rows: list[int]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class _Facts:
    """What a split must contain: rows of each label, and the digest of the whole."""

    counts: dict[int, int]
    digest: str


_FACTS: dict[str, _Facts] = {
    "train": _Facts({0: 12_500, 1: 12_500}, "8d6e49a440aecb128501d5b7c66f77e1b6a5f6560efc5300c030ccb5ab020a07"),
    "test": _Facts({0: 12_500, 1: 12_500}, "fff9cc69c40e2b86e52016d8b1df84c2262e6519394855cb91fcdca713ee795c"),
    "unsupervised": _Facts({-1: 50_000}, "2ef5da67586f1a8ed29408f644fe300e217d8286bd967d47fa276b947581fc43"),
}

_BREAK = re.compile(r"\s*(?:<br\s*/?>\s*)+", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_SPACES = re.compile(r"[^\S\n]+")
# Windows-1252 punctuation and letters that were decoded as Latin-1; the five unused places and the rest of the control
# characters, line breaks aside, become spaces.
_CHARACTERS = {
    i: bytes([i]).decode("cp1252", errors="replace").replace("�", " ") if i >= 0x80 else " "
    for i in (*range(0x20), *range(0x7F, 0xA0))
    if i != 0x0A
}


def clean_text(text: str) -> str:
    r"""A review as its author meant it: line breaks for ``<br />``, real punctuation for misread bytes, single spaces.

    >>> clean_text("Good.<br /><br />Not  great \x96 but good.")
    'Good.\nNot great – but good.'
    """
    text = _BREAK.sub("\n", text)
    if _CONTROL.search(text):  # one text in fifty; translating is slow
        text = text.translate(_CHARACTERS)
    return _SPACES.sub(" ", text).strip()


def load_imdb(
    split: Split, *, data_dir: str | Path | None = None, limit: int | None = None, seed: int = 0, clean: bool = True
) -> Reviews:
    """The reviews of a split, checked and cleaned.

    Args:
        split: ``"train"``, ``"test"`` or ``"unsupervised"`` (50,000 reviews without a label).
        data_dir: a folder that holds ``imdb/train.parquet`` and so on, or these files themselves; None = see above.
        limit: that many reviews only: drawn by ``seed``, as many of each label, the labels in turn, and a smaller
            sample is the beginning of a larger one. None = all, in the order of the file, which is sorted by label.
        seed: of the sample.
        clean: False = the texts as they stand in the file.

    Raises:
        ValueError: an unknown split, a limit that the split does not have, no data anywhere (the message says where
            it was looked for and what to set), or data that are not the published ones (it says in what they differ).
    """
    require(split in get_args(Split), f"split={split!r} is not known; choose one of {list(get_args(Split))}")
    texts, labels = _read(split, data_dir)
    rows = list(range(len(texts))) if limit is None else _sample(labels, limit, seed)
    chosen = [texts[i] for i in rows]
    return Reviews([clean_text(t) for t in chosen] if clean else chosen, [labels[i] for i in rows], rows)


def pretraining_texts(*, data_dir: str | Path | None = None) -> list[str]:
    """The 73,668 texts to pretrain on: train and unsupervised, each text once, without those that stand in test.

    Texts are compared as they stand in the files, by digest; that is the only use made of the test split. 354 texts
    stand in both train and unsupervised; 123 of train and 266 of unsupervised (270 rows) stand in test.
    """
    test = {_fingerprint(t) for t in load_imdb("test", data_dir=data_dir, clean=False).texts}
    kept: dict[bytes, str] = {}
    for split in ("train", "unsupervised"):
        for text in load_imdb(split, data_dir=data_dir, clean=False).texts:
            mark = _fingerprint(text)
            if mark not in test:
                kept.setdefault(mark, text)
    return [clean_text(text) for text in kept.values()]


def rows_also_in(split: Split, other: Split, *, data_dir: str | Path | None = None) -> list[int]:
    """The rows of ``split`` whose text, as it stands in the file, stands in ``other`` too.

    ``rows_also_in("test", "train")`` are the test reviews that a model has seen in training: state an accuracy with
    them and without.
    """
    theirs = {_fingerprint(t) for t in load_imdb(other, data_dir=data_dir, clean=False).texts}
    mine = load_imdb(split, data_dir=data_dir, clean=False)
    return [row for row, text in zip(mine.rows, mine.texts, strict=True) if _fingerprint(text) in theirs]


def _fingerprint(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _sample(labels: list[int], limit: int, seed: int) -> list[int]:
    """Row numbers: as many of each label as of the others (one more for the first where it does not divide)."""
    kinds = sorted(set(labels))
    require(
        len(kinds) <= limit <= len(labels),
        f"limit={limit}, but the split has {len(labels)} reviews with the labels {kinds}; ask for at least one of each",
    )
    draw = random.Random(seed)
    # Only random() is called, whose sequence Python keeps for a seed in every version.
    order = sorted(range(len(labels)), key=[draw.random() for _ in labels].__getitem__)
    queues = [[i for i in order if labels[i] == kind] for kind in kinds]
    return [queues[i % len(kinds)][i // len(kinds)] for i in range(limit)]


def _read(split: str, data_dir: str | Path | None) -> tuple[list[str], list[int]]:
    looked = []
    for folder in (data_dir, os.environ.get(VARIABLE)):
        for path in [] if not folder else [Path(folder, "imdb", f"{split}.parquet"), Path(folder, f"{split}.parquet")]:
            looked.append(str(path))
            if path.is_file():
                return _checked(split, _read_parquet(path), str(path))
    return _checked(split, _read_hub(split, looked), f"{HUB_NAME} on the hub")


def _read_parquet(path: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(f"reading {path} needs pyarrow; install it with: pip install datasets") from error
    try:
        return parquet.read_table(path).to_pydict()
    except (OSError, ValueError) as error:  # pyarrow's own errors are among these
        raise ValueError(f"{path} is no parquet file that can be read ({error}); fetch it again") from error


def _read_hub(split: str, looked: list[str]) -> Any:
    places = "; ".join(looked) if looked else f"no folder (data_dir is not given and {VARIABLE} is not set)"
    way_out = (
        f"set {VARIABLE} to a folder that holds imdb/{split}.parquet (columns text and label), or give it as data_dir"
    )
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError(
            f"IMDB {split} was looked for in: {places}; to fetch it from the hub: pip install datasets; or {way_out}"
        ) from error
    try:
        return load_dataset(HUB_NAME, split=split).to_dict()
    except Exception as error:  # whatever the network, the hub's client or the cache may raise: the way out is the same
        raise ValueError(
            f"IMDB {split} was looked for in: {places}; and {HUB_NAME} could not be fetched from the Hugging Face hub "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}); {way_out}"
        ) from error


def _digest(texts: list[str], labels: list[int]) -> str:
    """The sum of the rows' digests: the same for every order of the rows."""
    total = 0
    for text, label in zip(texts, labels, strict=True):
        total += int.from_bytes(_fingerprint(f"{label} {text}"))
    return f"{total % 2**256:064x}"


def _checked(split: str, columns: Any, source: str) -> tuple[list[str], list[int]]:
    require({"text", "label"} <= set(columns), f"{source} has the columns {list(columns)}; expected text and label")
    texts, labels = columns["text"], columns["label"]
    empty = [i for i, text in enumerate(texts) if not text]
    require(not empty, lambda: f"{source}: {len(empty)} rows have no text, the first is row {empty[0]}")
    facts = _FACTS[split]
    counts = dict(sorted(Counter(labels).items()))
    require(
        counts == facts.counts,
        lambda: f"{source} has {len(labels)} rows, by label {counts}; IMDB {split} has {facts.counts}",
    )
    require(
        _digest(texts, labels) == facts.digest,
        lambda: f"{source} has the right number of rows, but not the texts of IMDB {split}; fetch it again",
    )
    return texts, labels
