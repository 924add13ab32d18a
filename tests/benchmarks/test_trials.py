"""The log of trials: every change reaches the training, the reviews that judge are new, a cell is measured once."""

import json

import pytest

from benchmarks import trials
from benchmarks.trials import BASE, CONFIG, RESULT, TRIALS, main, others_than
from companion.experiments.imdb import Cell
from companion.experiments.imdb_source import Source

MINI = Source("mini", whole=200, sample=50)
TINY = ("train.max_steps=2", "train.warmup_steps=1", "train.eval_every=0", "finetune.validation=0.0", "data.length=32")
SMALL = {
    "labels": 24,
    "judged_on": 30,
    "seeds": [0],
    "base": BASE,
    "trials": {"recipe": TINY, "faster": (*TINY, "train.peak_lr=1.0")},
}


def test_each_trial_is_another_training_and_is_measured_once(tmp_path, monkeypatch):
    out = tmp_path / "trials.json"
    main([], out, SMALL, MINI)
    runs = json.loads(out.read_text(encoding="utf-8"))["runs"]
    assert [(run["trial"], run["seed"]) for run in runs] == [("recipe", 0), ("faster", 0)]
    assert all(run["steps"] == 2 and run["texts"] == 30 for run in runs)
    assert all(run["accuracy"] * 30 == pytest.approx(round(run["accuracy"] * 30)) for run in runs)
    monkeypatch.setattr(trials, "tried", lambda *_: pytest.fail("measured twice"))
    main([], out, SMALL, MINI)


def test_only_what_is_named_runs(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        trials, "tried", lambda cell, source, changes, others: seen.append(changes) or {"accuracy": 1.0}
    )
    main(["--only", "faster"], tmp_path / "trials.json", SMALL, MINI)
    assert seen == [[*BASE, *SMALL["trials"]["faster"]]]
    with pytest.raises(SystemExit):
        main(["--only", "slower"], tmp_path / "trials.json", SMALL, MINI)


def test_the_reviews_that_judge_are_not_those_that_teach():
    cell = Cell("full", 200, 3)
    others = others_than(MINI, cell, 100)
    assert 90 < len(others) <= 100
    assert not set(others.texts) & set(MINI.train(cell).texts)
    assert min(others.counts.values()) > 0.4 * len(others)


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_changes_one_thing(name):
    cell = Cell("full", CONFIG["labels"], 0)
    tried = (BASE, (*BASE, *TRIALS[name]))
    runs = [trials.network_run(cell, Source(), trials.RECIPES, changes).to_dict() for changes in tried]
    plain, changed = ({(s, k): v for s, values in run.items() for k, v in values.items()} for run in runs)
    differing = [key for key in plain.keys() | changed.keys() if plain.get(key) != changed.get(key)]
    passes = [("train", "max_steps"), ("train", "warmup_steps")]  # which follow from one number
    assert len(differing) == (name != "recipe") or sorted(differing) == passes, differing


@pytest.mark.skipif(not RESULT.is_file(), reason="not recorded yet: python -m benchmarks.trials")
def test_the_record_is_whole():
    recorded = json.loads(RESULT.read_text(encoding="utf-8"))
    assert recorded["config"] == json.loads(json.dumps(CONFIG))
    assert {(run["trial"], run["seed"]) for run in recorded["runs"]} == {
        (t, s) for s in CONFIG["seeds"] for t in TRIALS
    }
