"""The word counter and a network together: judged by what is held out from both, alone and averaged; told once."""

import json

import pytest
import torch

from benchmarks.together import RESULT, ROOT, main, together
from companion import load_classifier
from companion.cli import main as companion
from companion.data.labelled import read_labelled
from companion.experiments.distillation import teach
from companion.training.finetune import read_split
from companion.training.finetune_config import FineTuneRun

TINY = ["data.limit=120", "data.length=24", "finetune.epochs=1", "finetune.validation=0.2"]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A classifier of the mini reviews, as it is exported."""
    folder = tmp_path_factory.mktemp("network")
    run, out = str(folder / "run"), str(folder / "out")
    sets = [part for change in TINY for part in ("--set", change)]
    assert companion(["finetune", str(ROOT / "book" / "recipes" / "mini.toml"), "--out", run, *sets]) == 0
    assert companion(["export", run, "--out", out]) == 0
    return out


def test_both_are_judged_by_what_was_held_out_from_both_and_the_mean_by_the_test(network, tmp_path, capsys):
    result = tmp_path / "together.json"
    main(["--model", network, "--out", str(result)])
    told = json.loads(result.read_text(encoding="utf-8"))
    assert told["command"] == f"python -m benchmarks.together --model {network}"
    classifier, test = load_classifier(network), read_labelled("mini", part="test")
    data = read_split(FineTuneRun.from_dict(classifier.about["run"]))
    due = teach(data, test.texts, [classifier])
    right = due.logits.argmax(dim=-1) == torch.tensor(test.labels)
    assert told["held_out"] == {name: round(value, 4) for name, value in due.about.items()}
    assert told["evaluation"]["accuracy"] == round(right.double().mean().item(), 4)
    wrong = [row for row, good in zip(test.rows, right, strict=True) if not good]
    assert sorted(told["evaluation"]["wrong_rows"]) == sorted(wrong)
    assert f"test {right.double().mean().item():.2%}" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is there; move it away to measure it anew"):
        main(["--model", network, "--out", str(result)])


def test_a_classifier_of_unknown_origin_is_refused(tmp_path):
    load_classifier("imdb-classifier").save(tmp_path / "mine", card="mine")
    config = tmp_path / "mine" / "config.json"
    told = json.loads(config.read_text(encoding="utf-8"))
    told["about"].pop("run", None)
    config.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValueError, match="mine does not say how it was trained"):
        together(str(tmp_path / "mine"))


def test_the_record_is_of_the_classifier_that_ships():
    told, ships = json.loads(RESULT.read_text(encoding="utf-8")), load_classifier("imdb-classifier")
    assert told["config"]["model"] == "imdb-classifier" and told["config"]["run"] == ships.about["run"]
    pupil = json.loads(RESULT.with_name("distilled.json").read_text(encoding="utf-8"))
    assert told["held_out"]["network_1_accuracy"] == pytest.approx(pupil["best"]["scores"]["accuracy"], abs=1e-3)
    assert told["evaluation"]["texts"] == pupil["evaluation"]["texts"] == 25_000
