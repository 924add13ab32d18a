"""IMDB in small: mini reviews in its files, so that every cell of the matrix takes a moment."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from companion.data import imdb
from companion.data.mini_reviews import mini_reviews
from companion.experiments.imdb_source import Source

WHOLE, TEST, SAMPLE, SHARED = 60, 40, 20, 4
SMALL = Source("imdb", whole=WHOLE, sample=SAMPLE)
RECIPE = """
[model]
pretrained = "{bert}"
max_len = 40
[data]
source = "imdb"
length = 24
[finetune]
method = "{method}"
epochs = 1
evaluations = 1
[train]
batch_size = 16
"""
LORA = """
[lora]
rank = 2
"""


def write_imdb(folder: Path, monkeypatch: Any) -> None:
    """Its three files, sorted by label, with facts to match; four test reviews stand in train, too."""
    train = reviews(WHOLE, seed=0)
    test = train[:SHARED] + reviews(TEST - SHARED, seed=1)
    facts = {}
    for split, rows in {"train": train, "test": test, "unsupervised": [("Nothing.", -1)]}.items():
        texts, labels = map(list, zip(*sorted(rows, key=lambda row: row[1]), strict=True))
        (folder / "imdb").mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"text": texts, "label": labels}), folder / "imdb" / f"{split}.parquet")
        facts[split] = imdb._Facts(dict(sorted(Counter(labels).items())), imdb._digest(texts, labels))
    monkeypatch.setattr(imdb, "_FACTS", facts)
    monkeypatch.setenv(imdb.VARIABLE, str(folder))


def reviews(n: int, *, seed: int) -> list[tuple[str, int]]:
    """As many of each class, in pairs."""
    drawn = mini_reviews(n, seed=seed, twins=True)
    return list(zip(drawn.texts, drawn.labels, strict=True))


def write_recipes(folder: Path, bert: str) -> None:
    """The recipes of the networks, for a tiny BERT."""
    folder.mkdir(parents=True, exist_ok=True)
    for method in ("full", "lora", "probe", "scratch"):
        text = RECIPE.format(bert=bert, method=method) + LORA * (method == "lora")
        (folder / f"imdb-{method}.toml").write_text(text, encoding="utf-8")
