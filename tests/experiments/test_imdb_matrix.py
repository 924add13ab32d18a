"""`python -m benchmarks.imdb` on IMDB in small: it fills what is missing, is interrupted, goes on, and says so."""

import json

import pytest
import torch
from small_imdb import SMALL, TEST, WHOLE, write_imdb, write_recipes

from benchmarks import imdb as benchmark
from companion import BERT, TransformerConfig
from companion.experiments import imdb_networks
from companion.experiments.imdb import FIELDS, NETWORKS, Cell, load_cells, write_cell
from companion.models.pretrained import save_pretrained
from companion.training.checkpoint import checkpoints
from companion.training.finetune import load_finetuned
from companion.training.finetune_config import FineTuneRun
from companion.training.record import read_record

SHAPE = {"vocab_size": 8192, "max_len": 24, "d_model": 8, "n_layers": 1, "n_heads": 2, "d_ff": 12, "position": "rope"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command on small data, with recipes of a tiny BERT, in folders of its own."""
    write_imdb(tmp_path, monkeypatch)
    torch.manual_seed(5)
    bert = save_pretrained(tmp_path / "bert", BERT(TransformerConfig(**SHAPE, n_segments=2)), card="")
    write_recipes(tmp_path / "recipes", bert.as_posix())
    monkeypatch.setattr(benchmark, "RECIPES", tmp_path / "recipes")

    def command(*arguments):
        places = ["--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs")]
        return benchmark.main([*map(str, arguments), *places], source=SMALL)

    command.folder = tmp_path
    return command


@pytest.mark.parametrize("model", NETWORKS)
def test_a_network_with_all_labels(run, model):
    assert run("--models", model, "--labels", WHOLE, "--seeds", 1) == 0
    (cell,) = load_cells(run.folder / "out")
    assert set(FIELDS) <= set(cell) and all(cell[name] is not None for name in FIELDS)
    assert cell["config"]["data"]["seed"] == cell["config"]["train"]["seed"] == cell["seed"] == 1
    assert cell["labels_used"] == {"train": WHOLE - 6, "validation": 6}
    assert (cell["trained"] == cell["parameters"]) == (model in ("full", "scratch"))
    assert cell["command"] == f"python -m benchmarks.imdb --models {model} --labels {WHOLE} --seeds 1"
    kept = run.folder / "runs" / f"{model}-n{WHOLE}-s1"  # what ships comes from here
    classifier = load_finetuned(kept)[0]
    texts = SMALL.test(benchmark.Cell(model, WHOLE, 1)).texts
    wrong = classifier.logits(texts).argmax(dim=-1) != torch.tensor([0] * (TEST // 2) + [1] * (TEST // 2))
    assert wrong.nonzero()[:, 0].tolist() == cell["wrong_rows"]


def test_few_labels(run):
    overrides = ["--set", "train.max_steps=3", "--set", "train.warmup_steps=1"]
    assert run("--models", "full", "scratch", "--labels", 10, "--seeds", 0, *overrides) == 0
    for cell in load_cells(run.folder / "out"):
        assert (cell["steps"], cell["labels_used"]) == (3, {"train": 10, "validation": 0})
        assert cell["validation_accuracy"] is None and cell["temperature"] is None
        assert cell["command"].endswith("--seeds 0 --set train.max_steps=3 --set train.warmup_steps=1")
        assert cell["test"]["texts"] == SMALL.sample
    assert not list((run.folder / "runs").iterdir())


def test_what_is_there_is_not_measured_again(run, capsys):
    assert run("--models", "tfidf", "--labels", 10, 30, "--seeds", 0) == 0
    file = run.folder / "out" / "tfidf-n10-s0.json"
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "accuracy": 2.0}), encoding="utf-8")
    assert run("--models", "tfidf", "--labels", 10, 30, "--seeds", 0, 1) == 0
    assert "2 of 4 cells are there already" in capsys.readouterr().out
    cells = load_cells(run.folder / "out")
    assert [(cell["labels"], cell["seed"]) for cell in cells] == [(10, 0), (10, 1), (30, 0), (30, 1)]
    assert cells[0]["accuracy"] == 2.0


def test_the_list_counts_what_is_missing_and_measures_nothing(run, capsys):
    assert run("--models", "tfidf", "--labels", 10, "--seeds", 0) == 0
    capsys.readouterr()
    assert run("--models", "tfidf", "lora", "--seeds", 0, 1, "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ["lora", str(WHOLE), "0", "of", "2"]
    assert lines[2].split()[:7] == ["tfidf", "10", "1", "of", "2", "1:", "about"]
    assert lines[-1].startswith("7 of 8 cells are missing; about ")
    assert len(load_cells(run.folder / "out")) == 1


def test_a_time_that_nobody_knows_is_left_out_of_the_estimate(run, capsys):
    def estimated(*times):
        for seed, seconds in enumerate(times):
            values = dict.fromkeys(FIELDS) | {"seconds_in_all": seconds}
            write_cell(run.folder / "out", Cell("probe", WHOLE, seed), values)
        assert run("--models", "probe", "--seeds", 0, 1, 2, "--list") == 0
        return capsys.readouterr().out.splitlines()[1].split("about ")[1]

    by_thumb = f"{benchmark.estimate('probe', WHOLE, [], run.folder) / 60:.1f}"
    assert estimated(None) == f"{2 * float(by_thumb):.1f}"
    assert estimated(None, 1200.0) == "20.0"


def test_an_interrupted_network_goes_on_where_it_was(run, monkeypatch, capsys):
    arguments = ("--models", "full", "--labels", WHOLE, "--seeds", 0)
    step = imdb_networks.FineTuner.train_step

    def interrupted(self):
        record = step(self)
        record["seconds"] += 1000  # by which the time before the interruption is told from that after it
        if self.step == 2:
            signal_to_itself()
        return record

    monkeypatch.setattr(imdb_networks.FineTuner, "train_step", interrupted)
    assert run(*arguments) == benchmark.INTERRUPTED
    assert "stopped; the same command goes on" in capsys.readouterr().err
    assert not (run.folder / "out").exists() and checkpoints(run.folder / "runs" / f"full-n{WHOLE}-s0")
    monkeypatch.setattr(imdb_networks.FineTuner, "train_step", step)
    assert run(*arguments) == 0
    (cell,) = load_cells(run.folder / "out")
    assert cell["steps"] == 4 and "seconds_before" not in cell
    assert 2000 <= cell["seconds"] < cell["seconds_in_all"] < 2900
    (folder,) = (run.folder / "runs").iterdir()
    assert [path.name for path in checkpoints(folder)][-1] == "step-00000004"


def signal_to_itself():
    import signal

    signal.raise_signal(signal.SIGINT)


def test_mistakes_are_one_line(run, capsys, monkeypatch):
    assert run("--models", "nb", "--labels", 9) == 1
    assert "error: 9 labels of imdb: take 10 at least and 60 at most" in capsys.readouterr().err
    assert run("--models", "full", "--labels", 10, "--set", "train.rate=1") == 1
    assert "imdb-full.toml: [train]" in capsys.readouterr().err
    assert run("--models", "full", "--labels", 10, "--set", "rate") == 1
    assert "cannot read 'rate'" in capsys.readouterr().err
    assert benchmark.main(["--source", "mini"]) == 1
    assert "give --out for another source" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("--models", "bert")


def test_the_command_can_be_tried_out_on_the_mini_reviews(tmp_path):
    arguments = ["--source", "mini", "--models", "tfidf", "--labels", "30", "--seeds", "0", "--out", str(tmp_path)]
    assert benchmark.main(arguments) == 0
    assert [cell["labels"] for cell in load_cells(tmp_path)] == [30]


@pytest.mark.parametrize("folder", ["imdb", "imdb-first-recipe"])
def test_each_recorded_command_of_a_network_gives_its_cell_and_configuration(folder):
    there = [path for model in NETWORKS for path in (benchmark.RESULTS.parent / folder).glob(f"{model}-*.json")]
    assert there
    for path in there:
        record = read_record(path)
        options = benchmark.build_parser().parse_args(
            record["command"].removeprefix("python -m benchmarks.imdb").split()
        )
        assert (options.out or benchmark.RESULTS).name == folder
        (cell,) = benchmark.matrix(options.models, options.labels, options.seeds)
        run = imdb_networks.network_run(cell, benchmark.SOURCES["imdb"], benchmark.RECIPES, options.overrides)
        assert FineTuneRun.from_dict(record["config"]).to_dict() == run.to_dict(), path.name
        assert cell.name == path.stem
