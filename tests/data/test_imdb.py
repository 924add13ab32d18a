"""IMDB: where it is looked for, what is checked, how it is cleaned; and the facts of the real data, where they are."""

import os
import re
import sys
import types
from collections import Counter

import pyarrow as pa
import pytest
from pyarrow import parquet

from companion.data import imdb

REAL = pytest.mark.skipif(not os.environ.get(imdb.VARIABLE), reason=f"{imdb.VARIABLE} is not set")

TEXTS = {
    "train": ["Bad.<br /><br />Very bad.", "Dull.", "In both.", "Good.", "Seen \x97 twice.", "Fine."],
    "test": ["Worse.", "Seen \x97 twice.", "In all.", "Great."],
    "unsupervised": ["No label.", "In both.", "In all.", "No label.", "In all."],
}
LABELS = {"train": [0, 0, 0, 1, 1, 1], "test": [0, 0, 1, 1], "unsupervised": [-1] * 5}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder with small splits, whose facts are the ones that are checked against."""
    monkeypatch.delenv(imdb.VARIABLE, raising=False)
    (tmp_path / "imdb").mkdir()
    facts = {}
    for split, texts in TEXTS.items():
        write(tmp_path / "imdb" / f"{split}.parquet", texts, LABELS[split])
        facts[split] = imdb._Facts(dict(Counter(LABELS[split])), imdb._digest(texts, LABELS[split]))
    monkeypatch.setattr(imdb, "_FACTS", facts)
    return tmp_path


def write(path, texts, labels):
    parquet.write_table(pa.table({"text": texts, "label": labels}), path)


def hub(monkeypatch, load_dataset):
    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)


def no_network(*arguments, **options):
    raise ConnectionError("Couldn't reach the hub\nand much more")


def test_the_folders_that_are_looked_in(data, monkeypatch):
    hub(monkeypatch, no_network)
    assert imdb.load_imdb("test", data_dir=data).rows == [0, 1, 2, 3]
    assert imdb.load_imdb("test", data_dir=data / "imdb").labels == LABELS["test"]
    monkeypatch.setenv(imdb.VARIABLE, str(data))
    assert len(imdb.load_imdb("unsupervised")) == 5
    assert len(imdb.load_imdb("unsupervised", data_dir=data / "elsewhere")) == 5


def test_the_hub_comes_last(data, monkeypatch):
    asked = []

    class Split:
        def to_dict(self):
            return {"text": TEXTS["train"], "label": LABELS["train"]}

    hub(monkeypatch, lambda name, split: asked.append((name, split)) or Split())
    assert imdb.load_imdb("train").texts[1] == "Dull."
    assert asked == [("stanfordnlp/imdb", "train")]
    imdb.load_imdb("train", data_dir=data)
    assert len(asked) == 1


def test_no_data_and_no_network(data, monkeypatch):
    hub(monkeypatch, no_network)
    with pytest.raises(ValueError) as error:
        imdb.load_imdb("train", data_dir=data / "no")
    said = str(error.value)
    assert str(data / "no" / "imdb" / "train.parquet") in said
    assert "ConnectionError: Couldn't reach the hub);" in said
    assert "set COMPANION_DATA to a folder that holds imdb/train.parquet" in said
    with pytest.raises(ValueError, match="data_dir is not given and COMPANION_DATA is not set"):
        imdb.load_imdb("train")


def test_no_data_and_no_library(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match="to fetch it from the hub: pip install datasets; or set COMPANION_DATA"):
        imdb.load_imdb("train")


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (TEXTS["test"][:3], [0, 0, 1], r"has 3 rows, by label \{0: 2, 1: 1\}; IMDB test has \{0: 2, 1: 2\}"),
        (TEXTS["test"], [0, 1, 1, 1], r"by label \{0: 1, 1: 3\}"),
        (TEXTS["test"], [0, 1, 0, 1], "the right number of rows, but not the texts"),
        ([*TEXTS["test"][:3], "Great!"], LABELS["test"], "the right number of rows, but not the texts"),
        ([*TEXTS["test"][:2], "", "Great."], LABELS["test"], "1 rows have no text, the first is row 2"),
        ([*TEXTS["test"][:1], None, None, "Great."], LABELS["test"], "2 rows have no text, the first is row 1"),
    ],
)
def test_other_data_are_refused(data, texts, labels, message):
    write(data / "imdb" / "test.parquet", texts, labels)
    with pytest.raises(ValueError, match=message):
        imdb.load_imdb("test", data_dir=data)


def test_the_digest_does_not_depend_on_the_order(data):
    write(data / "imdb" / "test.parquet", TEXTS["test"][::-1], LABELS["test"][::-1])
    assert imdb.load_imdb("test", data_dir=data).texts[0] == "Great."


def test_a_file_that_is_none(data):
    path = data / "imdb" / "test.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=re.escape(f"{path} is no parquet file that can be read")):
        imdb.load_imdb("test", data_dir=data)
    parquet.write_table(pa.table({"review": ["a"]}), path)
    with pytest.raises(ValueError, match=r"has the columns \['review'\]; expected text and label"):
        imdb.load_imdb("test", data_dir=data)


def test_an_unknown_split(data):
    with pytest.raises(ValueError, match=r"split='valid' is not known; choose one of \['train', 'test', 'unsup"):
        imdb.load_imdb("valid", data_dir=data)


def test_a_sample_is_balanced_seeded_and_grows(data):
    whole = imdb.load_imdb("train", data_dir=data)
    samples = {n: imdb.load_imdb("train", data_dir=data, limit=n, seed=1) for n in (2, 3, 4, 6)}
    for n, sample in samples.items():
        assert sample.labels == [0, 1, 0, 1, 0, 1][:n]
        assert len(set(sample.rows)) == n and sample.rows == samples[6].rows[:n]
        assert sample.texts == [whole.texts[row] for row in sample.rows]
    seeds = {tuple(imdb.load_imdb("train", data_dir=data, limit=4, seed=seed).rows) for seed in range(8)}
    assert len(seeds) > 4
    assert imdb.load_imdb("unsupervised", data_dir=data, limit=3).labels == [-1] * 3
    for limit in (0, 1, 7):
        with pytest.raises(ValueError, match=rf"limit={limit}, but the split has 6 reviews"):
            imdb.load_imdb("train", data_dir=data, limit=limit)


def test_a_sample_does_not_change_from_version_to_version(data):
    assert imdb.load_imdb("train", data_dir=data, limit=6, seed=0).rows == [2, 3, 1, 5, 0, 4]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a<br />b", "a\nb"),
        ("a <BR/> <br><br />\n b<br /> ", "a\nb"),
        ("a  b\tc\x0bd\xa0e", "a b c d e"),
        ("caf\xe9\x97it\x92s \x93ok\x94\x85", "café—it’s “ok”…"),
        ("no\x81thing\x00here\x7f", "no thing here"),
        ("<i>a</i> < b &amp; c\n\nd", "<i>a</i> < b &amp; c\n\nd"),
    ],
)
def test_cleaning(text, clean):
    assert imdb.clean_text(text) == clean
    assert imdb.clean_text(clean) == clean


def test_texts_are_cleaned_and_may_be_had_as_they_are(data):
    assert imdb.load_imdb("train", data_dir=data).texts[0] == "Bad.\nVery bad."
    assert imdb.load_imdb("train", data_dir=data, clean=False).texts == TEXTS["train"]


def test_what_is_pretrained_on(data):
    texts = imdb.pretraining_texts(data_dir=data)
    assert texts == ["Bad.\nVery bad.", "Dull.", "In both.", "Good.", "Fine.", "No label."]


def test_rows_that_two_splits_share(data):
    assert imdb.rows_also_in("train", "test", data_dir=data) == [4]
    assert imdb.rows_also_in("unsupervised", "test", data_dir=data) == [2, 4]


@REAL
def test_the_facts_of_the_real_data():
    splits = {split: imdb.load_imdb(split, clean=False) for split in TEXTS}
    distinct = {split: set(reviews.texts) for split, reviews in splits.items()}
    assert {k: len(v) for k, v in distinct.items()} == {"train": 24_904, "test": 24_801, "unsupervised": 49_507}
    assert len(distinct["train"] & distinct["unsupervised"]) == 354
    assert sum(text in distinct["test"] for text in splits["train"].texts) == 123
    assert sum(text in distinct["test"] for text in splits["unsupervised"].texts) == 270
    assert len((distinct["train"] | distinct["unsupervised"]) - distinct["test"]) == 73_668
