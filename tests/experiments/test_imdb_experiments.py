"""The matrix on IMDB: its cells, what they learn from, the linear models, the listing, and how they are read again."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_imdb import SAMPLE, SHARED, SMALL, TEST, WHOLE, write_imdb
from torch import nn

from companion.data.labelled import read_labelled, split_validation
from companion.experiments.imdb import (
    COUNTS,
    CURVES,
    FIELDS,
    MODELS,
    VALIDATION,
    Cell,
    load_cells,
    matrix,
    summary,
    write_cell,
)
from companion.experiments.imdb_linear import (
    LINEAR_MODELS,
    LinearModel,
    _cross_validation,
    _one_fold,
    _vectorizer,
    counted_sample,
    fit_linear,
    linear_cell,
    naive_bayes_weights,
)
from companion.experiments.imdb_listing import SETTINGS, Listing, listing_cell
from companion.experiments.imdb_networks import BATCH, LEAST_STEPS, RATES, few_label_changes, network_run
from companion.experiments.imdb_source import Source
from companion.experiments.listing import MendedTransformer, PositionalEncoding, Transformer
from companion.training.finetune_config import read_finetune

RECIPES = Path(__file__).resolve().parents[2] / "book" / "recipes"
TINY = {**SETTINGS, "d_model": 8, "nhead": 2, "num_layers": 1, "length": 20, "batch_size": 8, "epochs": 2}


@pytest.fixture
def small(tmp_path, monkeypatch):
    write_imdb(tmp_path, monkeypatch)
    return SMALL


# --- the matrix


def test_the_whole_matrix():
    cells = matrix()
    assert len({cell.name for cell in cells}) == len(cells) == len(MODELS) * 3 + len(CURVES) * (4 * 10 + 3 * 3)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert {cell.labels for cell in cells if cell.model == "lora"} == {25_000}
    assert {cell.labels for cell in cells if cell.model == "full"} == {*COUNTS, 25_000}


def test_parts_of_the_matrix():
    assert {cell.model for cell in matrix(labels=[100])} == set(CURVES)
    assert [cell.name for cell in matrix(["probe"], [100], [4])] == ["probe-n100-s4"]
    with pytest.raises(ValueError, match=r"no model \['bert'\]; choose from \['full'"):
        matrix(["bert"])


def test_a_cell_is_written_whole_and_read_again(tmp_path):
    values = {**dict.fromkeys(FIELDS), "accuracy": 0.5, "config": {"cs": [1, 2]}, "wrong_rows": [3, 5]}
    path = write_cell(tmp_path, Cell("nb", 30, 1), values)
    assert path.name == "nb-n30-s1.json" and '"wrong_rows": [3, 5]\n}\n' in path.read_text(encoding="utf-8")
    write_cell(tmp_path, Cell("full", 30, 0), {**values, "accuracy": 0.75})
    (tmp_path / ".nb-n30-s2.json.new").write_text("{", encoding="utf-8")  # of a process that was killed
    first, second = load_cells(tmp_path)
    assert (first["model"], first["accuracy"]) == ("full", 0.75)
    assert second == {"model": "nb", "labels": 30, "seed": 1, **values}
    with pytest.raises(ValueError, match=r"lacks \['accuracy_without_shared'"):
        write_cell(tmp_path, Cell("nb", 30, 1), {"accuracy": 0.5})


def test_without_cells_the_way_to_them_is_said(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"holds no cell; measure some: python -m benchmarks\.imdb"):
        load_cells(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"results/imdb is not beside this notebook.*put that folder"):
        load_cells()


def test_cells_are_found_from_a_notebook(tmp_path, monkeypatch):
    write_cell(tmp_path / "book" / "results" / "imdb", Cell("nb", 10, 0), {**dict.fromkeys(FIELDS), "accuracy": 1.0})
    monkeypatch.chdir(tmp_path / "book")
    assert len(load_cells()) == 1


def test_the_summary_is_over_seeds():
    def cell(seed, accuracy, seconds, model="nb"):
        return {**dict.fromkeys(FIELDS), "model": model, "labels": 10, "seed": seed} | {
            "accuracy": accuracy,
            "seconds": seconds,
        }

    judged = [{"test": {"ece": 0.02, "calibrated_ece": 0.01}}, {"test": {"ece": 0.04, "calibrated_ece": 0.02}}]
    rows = summary([cell(0, 0.6, 1.0) | judged[0], cell(1, 0.8, 3.0) | judged[1], cell(0, 0.9, None, "full")])
    assert (rows[0].ece, rows[0].calibrated_ece) == pytest.approx((0.03, 0.015)) and rows[1].ece is None
    assert [(row.model, row.seeds, row.seconds) for row in rows] == [("nb", 2, (1.0, 3.0)), ("full", 1, None)]
    assert rows[0].accuracy == pytest.approx(0.7) and rows[0].spread == pytest.approx(0.1 * math.sqrt(2))
    assert rows[1].spread is None
    halved = {"config": {"train": {"precision": "bf16"}}}
    assert summary([cell(0, 0.6, 1.0) | halved, cell(1, 0.6, 1.0)])[0].bfloat16 == 1
    with pytest.raises(ValueError, match="a seed stands twice"):
        summary([cell(0, 0.6, 1.0), cell(0, 0.6, 1.0)])


# --- what is learned from, and judged on


def test_few_labels_are_nested_and_balanced_and_the_sample_is_one_for_all(small):
    few, more = (small.train(Cell("nb", n, 3)) for n in (10, 30))
    assert more.rows[:10] == few.rows and few.counts == {"neg": 5, "pos": 5}
    assert small.train(Cell("nb", 10, 4)).rows != few.rows
    samples = [small.test(Cell("nb", n, seed)).rows for n, seed in ((10, 0), (30, 7))]
    assert samples[0] == samples[1] and len(samples[0]) == SAMPLE
    assert len(small.train(Cell("nb", WHOLE, 0))) == WHOLE and len(small.test(Cell("nb", WHOLE, 0))) == TEST
    for labels in (9, WHOLE + 1):
        with pytest.raises(ValueError, match=f"{labels} labels of imdb: take 10 at least and 60 at most"):
            small.train(Cell("nb", labels, 0))


def test_what_was_seen_in_training_is_counted_apart(small):
    cell = Cell("nb", WHOLE, 0)
    test = small.test(cell)
    known = set(small.train(cell).texts)
    seen = torch.tensor([text in known for text in test.texts])
    assert seen.sum() == SHARED
    logits = torch.nn.functional.one_hot(torch.tensor(test.labels), 2).double()
    logits[seen] = logits[seen].flip(1)  # right wherever the text is new
    judged = small.judge(cell, logits, test)
    assert (judged["accuracy"], judged["accuracy_without_shared"]) == (1 - SHARED / TEST, 1.0)
    assert judged["wrong_rows"] == [row for row, was in zip(test.rows, seen, strict=True) if was]
    few = small.judge(Cell("nb", 10, 0), logits, test)
    assert few["accuracy_without_shared"] is None and "wrong_rows" not in few


# --- the linear models


def test_the_linear_models_hold_out_what_the_networks_hold_out(small):
    data = small.train(Cell("nb", WHOLE, 1))
    ((fitted, held),) = _one_fold(data, seed=1)
    train, validation = split_validation(data, VALIDATION, seed=1)
    assert [data.texts[i] for i in held] == validation.texts and [data.texts[i] for i in fitted] == train.texts
    run = network_run(Cell("full", 25_000, 1), Source(), RECIPES)
    assert (run.finetune.validation, run.data.seed) == (VALIDATION, 1)


def test_the_folds_are_of_the_given_labels_alone(small):
    data = small.train(Cell("nb", 10, 0))
    folds = _cross_validation(data, seed=0)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(10)) and len(folds) == 5
    assert all(not set(fitted) & set(held) for fitted, held in folds)


def test_what_is_held_out_decides_nothing_but_the_strength():
    """The held-out text has words of its own; they must not enter what is fitted to the others."""
    data = read_labelled("mini", limit=60)
    spec = LinearModel("naive-bayes", 2, (0.1,))
    fold = (np.arange(50), np.arange(50, 60))
    odd = data.take(range(60))
    odd.texts[50:] = [f"{text} zyx{i}" for i, text in enumerate(data.texts[50:])]
    logits = [fit_linear(d, spec, [fold]).held_out[0] for d in (data, odd)]
    torch.testing.assert_close(logits[0], logits[1])


def test_naive_bayes_counts_presence():
    counts = np.array([[3, 0], [1, 1], [0, 2]])
    from scipy.sparse import csr_matrix

    once, more = (naive_bayes_weights(csr_matrix(x), np.array([1, 0, 0])) for x in (counts > 0, counts))
    np.testing.assert_allclose(once, more)


@pytest.mark.parametrize("longest", [2, 3])
def test_texts_that_were_counted_once_are_counted_as_always(small, longest):
    sample = counted_sample(small, longest)
    for labels in (10, 30):
        vectorizer = _vectorizer(longest, 1).fit(small.train(Cell("nb", labels, 5)).texts)
        always = vectorizer.transform(sample.texts.texts)
        assert always.nnz > 0 and (sample.for_vectorizer(vectorizer) != always).nnz == 0


@pytest.mark.parametrize("model", LINEAR_MODELS)
def test_a_linear_cell(small, model):
    few, whole = (linear_cell(Cell(model, labels, 0), small) for labels in (10, WHOLE))
    assert set(FIELDS) <= set(few) and set(FIELDS) <= set(whole)
    assert few["temperature"] is None and whole["temperature"] > 0
    assert whole["ece_after"] is not None and len(whole["wrong_rows"]) == round((1 - whole["accuracy"]) * TEST)
    assert whole["accuracy"] > 0.4 and whole["config"]["fitted_to"] == WHOLE
    assert whole["validation_accuracy"] == max(t["validation_accuracy"] for t in whole["tried"])
    assert linear_cell(Cell(model, 10, 0), small)["accuracy"] == few["accuracy"]
    json.dumps(whole)


# --- the networks' recipes


@pytest.mark.parametrize("method", RATES)
@pytest.mark.parametrize("labels", COUNTS)
def test_few_labels_change_the_recipe(method, labels):
    run = network_run(Cell(method, labels, 2), Source(), RECIPES)
    train = run.train_config(1)
    assert run.data.limit == labels and run.data.seed == train.seed == 2
    assert run.finetune.method == method and run.finetune.validation == 0.0 and run.finetune.layer_decay == 1.0
    assert train.max_steps >= LEAST_STEPS and train.warmup_steps > 0
    assert f"train.max_steps={train.max_steps}" in few_label_changes(method, labels)


@pytest.mark.parametrize("labels", COUNTS)
def test_with_few_labels_from_scratch_differs_from_full_in_its_first_weights_alone(labels):
    runs = [network_run(Cell(method, labels, 2), Source(), RECIPES) for method in ("full", "scratch")]
    full, scratch = (run.to_dict() for run in runs)
    assert full["finetune"].pop("method") == "full" and scratch["finetune"].pop("method") == "scratch"
    assert full == scratch


def test_more_labels_are_read_in_more_steps_but_not_as_often():
    runs = [network_run(Cell("full", n, 0), Source(), RECIPES) for n in COUNTS]
    steps = [run.train_config(1).max_steps for run in runs]
    epochs = [n * run.train["batch_size"] / labels for n, run, labels in zip(steps, runs, COUNTS, strict=True)]
    assert steps == sorted(steps) and epochs == sorted(epochs, reverse=True)
    assert {run.train["peak_lr"] for run in runs} == {RATES["full"]}


@pytest.mark.parametrize("labels", [10, 300, 1000])
def test_the_recipe_for_few_labels_of_ones_own_is_that_of_the_measured_line(labels):
    measured, own = network_run(Cell("full", labels, 0), Source(), RECIPES), read_finetune(RECIPES / "few-labels.toml")
    here, there = (run.train_config(-(-labels // BATCH)) for run in (own, measured))
    same = ("max_steps", "peak_lr", "batch_size", "schedule", "weight_decay", "grad_clip")
    assert [getattr(here, name) for name in same] == [getattr(there, name) for name in same]
    assert abs(here.warmup_steps - there.warmup_steps) <= 1 and own.model == measured.model
    for name in ("method", "layer_decay", "head_rate", "validation", "average"):
        assert getattr(own.finetune, name) == getattr(measured.finetune, name)


def test_with_all_labels_a_recipe_is_as_it_stands_and_overrides_come_last():
    run = network_run(Cell("full", 25_000, 0), Source(), RECIPES, ["train.peak_lr=0.5"])
    assert run.finetune.epochs > 0 and run.data.limit == 0 and run.train["peak_lr"] == 0.5
    assert network_run(Cell("full", 10, 0), Source(), RECIPES, ["train.peak_lr=0.5"]).train["peak_lr"] == 0.5


# --- the listing


def test_the_printed_listing_depends_on_neighbors_and_padding_and_the_mended_does_not():
    torch.manual_seed(0)
    shape = {"vocab_size": 30, "d_model": 8, "nhead": 2, "num_layers": 1, "num_classes": 2}
    printed, mended = Transformer(**shape).eval(), MendedTransformer(**shape).eval()
    ids = torch.randint(1, 30, (3, 5))
    others = torch.cat([ids[:1], torch.randint(1, 30, (2, 5))])
    padded = nn.functional.pad(ids, (0, 2))
    with torch.no_grad():
        for model, same in ((printed, False), (mended, True)):
            logits, neighbors, longer = (
                model(x) if model is printed else model(x, x != 0) for x in (ids, others, padded)
            )
            assert torch.allclose(logits[0], neighbors[0], atol=1e-6) == same
            assert torch.allclose(logits, longer, atol=1e-6) == same


def test_the_usual_ending_numbers_the_reviews_not_the_tokens():
    table = PositionalEncoding(8).eval()
    out = table(torch.zeros(3, 5, 8))
    assert torch.equal(out[1], table.pe[1].expand(5, 8)) and not torch.equal(out[0], out[1])


def test_mended_positions_run_along_the_tokens_for_odd_widths_too():
    from companion.experiments.listing import MendedPositionalEncoding
    from companion.nn.positional import sinusoidal_table

    torch.testing.assert_close(
        MendedPositionalEncoding(8).eval()(torch.zeros(2, 5, 8))[1], sinusoidal_table(5, 8), atol=1e-5, rtol=0
    )
    assert MendedPositionalEncoding(7).eval()(torch.zeros(2, 5, 7)).shape == (2, 5, 7)


@pytest.mark.parametrize("model", ["listing", "listing-mended"])
def test_a_listing_cell(small, model):
    found = listing_cell(Cell(model, WHOLE, 0), small, settings=TINY)
    assert set(FIELDS) <= set(found) and len(found["validation_by_epoch"]) == 2
    assert found["validation_accuracy"] == max(found["validation_by_epoch"])
    assert ("changed_by_neighbors" in found) == (model == "listing")
    again = listing_cell(Cell(model, WHOLE, 0), small, settings=TINY)
    assert {**again, "seconds": 0} == {**found, "seconds": 0}
    json.dumps(found)


def test_the_operations_of_the_listing_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    mended = Listing(True, {**TINY, "dropout": 0.0}, seed=0)
    ids = torch.randint(5, 100, (8, 20))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        mended.model.train()
        mended.forward(ids).sum().backward()
    head = 3 * 2 * 8 * 8 * 2  # the last layer, which the count leaves out
    assert mended.operations(8, 20) == pytest.approx(counter.get_total_flops() - head, rel=0.02)
