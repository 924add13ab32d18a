"""The pairs of recipes that train a larger model, scaled down: pretrained, fine-tuned and judged from end to end."""

import ast
import json
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from companion.cli import main
from companion.data.corpus import encode_corpus
from companion.data.labelled import read_labelled
from companion.data.tokenizer import load_tokenizer, save_tokenizer
from companion.training.finetune_config import FineTuneRun, read_finetune
from companion.training.pretrain import ABOUT, HELD_OUT, TOKENIZER, TRAIN
from companion.training.record import read_record
from companion.training.runfile import RunConfig, read_run

RECIPES = Path(__file__).parents[1] / "book" / "recipes"
RESULTS = RECIPES.parent / "results"
PAIRS = [("bert-wide-imdb", "imdb-wide"), ("bert-large-imdb", "imdb-large")]
SHRUNK = {
    "model": {"d_model": 8, "n_layers": 1, "n_heads": 2, "d_ff": 12},
    "data": {"length": 24, "tokens_per_batch": 96, "eval_tokens": 96},
    "train": {"max_steps": 4, "warmup_steps": 1, "decay_steps": 2, "eval_every": 2, "checkpoint_every": 2},
    "machine": {"device": "cpu", "threads": 1},
}
SHRUNK_TUNING = {
    "model": {"max_len": 48},
    "data": {"source": "mini", "limit": 40, "length": 24},
    "finetune": {"epochs": 1},
    "train": {"batch_size": 8},
    "machine": {"device": "cpu", "threads": 1},
}


def overrides(sections, **more):
    values = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    return [f"--set={name}={value}" for name, value in (values | more).items()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A few texts under the book's tokenizer, as `companion data` would write them."""
    folder, tokenizer = tmp_path_factory.mktemp("corpus"), load_tokenizer("book")
    texts = read_labelled("mini", limit=40).texts
    for part, some in ((TRAIN, texts[:30]), (HELD_OUT, texts[30:])):
        encode_corpus(some, tokenizer).save(folder / part)
    (folder / ABOUT).write_text('{"source": "folder", "parts": {"train": {}, "held-out": {}}}', encoding="utf-8")
    save_tokenizer(tokenizer, folder / TOKENIZER)
    return folder


@pytest.mark.parametrize(("pretraining", "tuning"), PAIRS, ids=[tuning for _, tuning in PAIRS])
def test_a_pair_runs_from_end_to_end_scaled_down(pretraining, tuning, corpus, tmp_path):
    run, out = tmp_path / pretraining, tmp_path / tuning
    shrunk = overrides(SHRUNK, **{"data.corpus": corpus.as_posix()})
    assert main(["pretrain", str(RECIPES / f"{pretraining}.toml"), "--out", str(run), *shrunk]) == 0
    shrunk = overrides(SHRUNK_TUNING, **{"model.pretrained": run.as_posix()})
    record = tmp_path / "record.json"
    command = ["finetune", str(RECIPES / f"{tuning}.toml"), "--out", str(out), "--record", str(record), *shrunk]
    assert main(command) == 0
    assert read_record(record)["held_out"][-1]["step"] == read_record(record)["steps"]
    assert main(["evaluate", str(out), "--data", "mini"]) == 0


@pytest.mark.parametrize(("pretraining", "tuning"), PAIRS, ids=[tuning for _, tuning in PAIRS])
def test_the_second_recipe_takes_up_what_the_first_leaves(pretraining, tuning):
    run = read_run(RECIPES / f"{pretraining}.toml")
    start = read_finetune(RECIPES / f"{tuning}.toml").model
    assert start.pretrained == f"runs/{pretraining}"
    assert run.model.position == "rope" and start.shape["max_len"] >= run.model.max_len


@pytest.mark.parametrize("name", ["book", "wide", "large"])
def test_chapter_6_counts_the_cost_of_these_very_recipes(name):
    cells = json.loads((RECIPES.parent / "06_fine_tuning.ipynb").read_text(encoding="utf-8"))["cells"]
    (source,) = ("".join(cell["source"]) for cell in cells if cell["id"] == "larger-cost")
    (pairs,) = (node.value for node in ast.parse(source).body if ast.unparse(node).startswith("PAIRS ="))
    d, n_layers, length, share, millions = ast.literal_eval(pairs)[name]
    run = read_run(RECIPES / f"bert-{name}-imdb.toml")
    assert (run.model.d_model, run.model.n_layers, run.model.d_ff) == (d, n_layers, 4 * d)
    assert (run.data.length, run.objective.mask_share, run.model.vocab_size) == (length, share, 8192)
    planned, record = run.train.max_steps * run.data.tokens_per_batch, RESULTS / f"bert-{name}-imdb.json"
    assert record.is_file() == (name != "large"), "the chapter counts what was read, or else what would be"
    read = read_record(record)["tokens"] if record.is_file() else planned
    assert millions == round(read / 1e6, 1) and read == pytest.approx(planned, rel=0.015)


def readme_trainings():
    """The README's lines that train and write a record."""
    lines = (RECIPES.parents[1] / "README.md").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    found = [shlex.split(line) for line in lines if line.startswith(("companion pretrain ", "companion finetune "))]
    return [line for line in found if "--record" in line]


@pytest.mark.parametrize("line", readme_trainings(), ids=lambda line: Path(line[2]).stem)
def test_a_line_of_the_readme_trains_what_its_record_says(line):
    """So who repeats it gets the same again, and no other training in the place of the one that the chapters show."""
    _, what, recipe, *options = line
    sets = [value for name, value in pairwise(options) if name == "--set"]
    root = RECIPES.parents[1]
    record = read_record(root / options[options.index("--record") + 1])
    read, recorded = (read_run, RunConfig) if what == "pretrain" else (read_finetune, FineTuneRun)
    ours, theirs = read(root / recipe, sets).to_dict(), recorded.from_dict(record["config"]).to_dict()
    assert {**ours, "machine": None} == {**theirs, "machine": None}


def test_the_readme_has_such_lines():
    assert len(readme_trainings()) >= 4
