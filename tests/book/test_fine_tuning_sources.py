"""The switch of chapter 6: each source gives data and trains for a minute at most, and no check speaks of another."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from notebooks import ROOT, code_cells, read_notebook

from companion.training.finetune_config import read_finetune

CELLS = {cell["id"]: cell["source"] for cell in code_cells(read_notebook(ROOT / "book" / "06_fine_tuning.ipynb"))}
STEPS_AT_MOST = 80  # of one training: the longest texts take a fifth of a second a step
DATA = os.environ.get("COMPANION_DATA", "")
no_imdb = pytest.mark.skipif(not (Path(DATA) / "imdb" / "train.parquet").is_file(), reason="no IMDB in COMPANION_DATA")
each_source = pytest.mark.parametrize("source", ["sentences", pytest.param("imdb", marks=no_imdb)])


def run(names: dict[str, Any], *ids: str) -> dict[str, Any]:
    for name in ids:
        exec(compile(CELLS[name], name, "exec"), names)
    return names


@each_source
def test_each_source_gives_data_and_trains_for_a_minute_at_most(source: str) -> None:
    assert CELLS["switch"].startswith('SOURCE = "sentences"')
    names = run({"SOURCE": source}, "imports", "live-data")
    data = names["data"]
    assert min(len(data.train), len(data.validation)) > 80
    assert {*data.train.labels} == {*data.validation.labels} == {0, 1}
    tuner = names["build_finetuner"](names["settings"]("full"), data=data)
    assert tuner.config.max_steps <= STEPS_AT_MOST
    assert 0.0 < tuner.train_step()["loss"] < 3.0


@pytest.mark.parametrize("source", ["sentences", "imdb"])
def test_the_checks_ask_of_each_source_what_can_be_asked(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = SimpleNamespace(parameters=list)
    names = {
        "SOURCE": source,
        "tuners": dict.fromkeys(("full", "layers", "lora", "probe", "scratch"), SimpleNamespace(model=model)),
        "score": lambda tuner: 0.5,  # no better than a coin
        "gaps": {"before": 3.0, "probe": 3.0, "layers": 2.95, "full": 2.9, "shipped": 6.0},
        "stopped": SimpleNamespace(best={"step": 30}, step=30),
        "per_epoch": 1,
    }
    for check in ("live-check", "which-check", "forget-check", "epochs-check"):
        if source == "sentences":
            with pytest.raises(AssertionError):
                run(names, check)
        else:
            run(names, check)
    said = capsys.readouterr().out
    assert not [claim for claim in ("three in four", "stopped before") if claim in said]


def test_the_mini_reviews_are_learned_as_their_recipe_says() -> None:
    names = run({}, "imports")
    begin = CELLS["order-train"].split("\nreviews =")[0]
    exec(begin, names)
    recipe = read_finetune(ROOT / "book" / "recipes" / "mini.toml").to_dict()
    own = names["run"].to_dict()
    assert {name: own[name] for name in ("model", "data", "finetune", "train")} == {
        name: recipe[name] for name in ("model", "data", "finetune", "train")
    }
