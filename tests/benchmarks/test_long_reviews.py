"""What is read of a long review: every policy is judged on the same held-out texts, and each cell once."""

import json

import pytest

from benchmarks import long_reviews
from benchmarks.long_reviews import CONFIG, RESULT, main
from companion.data.labelled import read_labelled, split_validation
from companion.models.text_classifier import load_classifier

SMALL = {**CONFIG, "validation": 0.01, "lengths": [16, 128], "keeps": ["head", "windows"]}


def test_every_policy_is_judged_once_on_the_same_texts(tmp_path, monkeypatch):
    out = tmp_path / "record.json"
    main(out, SMALL, source="mini")
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [(run["length"], run["keep"]) for run in runs] == [(n, k) for n in (16, 128) for k in ("head", "windows")]
    assert {run["texts"] for run in runs} == {20}
    at_16, at_128 = runs[:2], runs[2:]
    assert at_128[0]["accuracy"] == at_128[1]["accuracy"]  # whatever the policy, short texts are read whole
    assert at_128[0]["long"] == 0 and at_128[0]["accuracy_of_long"] is None
    assert at_16[0]["long"] > 0
    classifier = load_classifier("imdb-classifier")
    _, held_out = split_validation(read_labelled("mini"), 0.01, seed=0)
    guesses = [p.label for p in classifier.predict(held_out.texts)]
    right = sum(g == held_out.names[label] for g, label in zip(guesses, held_out.labels, strict=True))
    assert at_128[0]["accuracy"] == pytest.approx(right / 20)
    monkeypatch.setattr(long_reviews, "Record", _nothing_is_added(long_reviews.Record))
    main(out, SMALL, source="mini")


def _nothing_is_added(kind):
    class Full(kind):
        def add(self, key, values):
            raise AssertionError(key)

    return Full


@pytest.mark.skipif(not RESULT.is_file(), reason="not recorded yet: python -m benchmarks.long_reviews")
def test_the_record_is_whole():
    recorded = json.loads(RESULT.read_text(encoding="utf-8"))
    assert recorded["config"] == CONFIG
    cells = {(run["length"], run["keep"]) for run in recorded["runs"]}
    assert cells == {(length, keep) for length in CONFIG["lengths"] for keep in CONFIG["keeps"]}
    by_length = {length: {run["long"] for run in recorded["runs"] if run["length"] == length} for length in (128, 512)}
    assert all(len(counts) == 1 for counts in by_length.values()) and max(by_length[128]) > max(by_length[512])
