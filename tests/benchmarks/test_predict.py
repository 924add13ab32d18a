"""Timing a prediction: a new process each time, the first one not counted, what it said kept; a failure is told."""

import json

import pytest

from benchmarks import predict
from benchmarks.predict import CONFIG, RESULT, main


def test_five_runs_are_recorded_and_none_is_measured_twice(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(predict, "answer_in_new_process", lambda: said.append(1) or (0.25 + len(said), "pos 90.0 %"))
    main(tmp_path / "predict.json")
    runs = json.loads((tmp_path / "predict.json").read_text(encoding="utf-8"))["runs"]
    assert [run["wall_seconds"] for run in runs] == [2.25, 3.25, 4.25, 5.25, 6.25]  # the first call is the warm-up
    main(tmp_path / "predict.json")
    assert len(said) == 7


def test_a_real_prediction_is_timed_and_a_failing_one_is_told(monkeypatch):
    seconds, said = predict.answer_in_new_process()
    recorded = json.loads(RESULT.read_text(encoding="utf-8"))["runs"][0]["said"]
    assert seconds > 0 and said == recorded
    monkeypatch.setitem(CONFIG, "model", "nothing-of-that-name")
    with pytest.raises(ValueError, match="nothing-of-that-name"):
        predict.answer_in_new_process()
