"""The benchmarks: everybody does the same work, tables are stored beside each other, useless columns are left out."""

import json
import warnings
from dataclasses import replace

import pytest
import torch

from benchmarks import harness, recipes, speed
from benchmarks.contenders import KEPT, Shape
from benchmarks.harness import Contender, interleave, speed_ratio
from benchmarks.lengths import PERCENTILES, batches, imdb_lengths
from benchmarks.recipes import N_TEXTS, text_lengths
from benchmarks.tasks import IN_ORDER, TASKS
from benchmarks.where import REST, kind_of, shares

TINY = Shape(batch=3, length=24, d_model=12, n_layers=2, n_heads=2, vocab_size=29)


@pytest.mark.parametrize("table", speed.TABLES)
def test_everybody_in_a_table_can_do_its_work(table):
    task = TASKS[speed.TABLES[table].task]
    names = {name.removesuffix(KEPT) for name in speed.TABLES[table].names if "compiled" not in name}
    assert len(names) > 3 and set(speed.OURS) <= set(speed.TABLES[table].names)
    if table == "base":
        return  # the same work as "forward" in another shape
    for name in sorted(names):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The PyTorch API of nested tensors is in prototype stage")
            task.step(name, TINY, "fp32")()


def test_operations_are_counted_as_in_the_formula():
    one = replace(TINY, n_layers=1)
    tokens, d = 3 * 24, 12
    block = 2 * tokens * (4 * d * d + 2 * d * 4 * d) + 2 * 2 * 3 * 24 * 24 * d
    assert TASKS["forward"].flops(one) == block
    assert TASKS["encoder"].flops(one) == 3 * block
    assert TASKS["causal"].flops(one) == 3 * (block + 2 * tokens * d * 29)
    assert TASKS["texts"].flops(one) is None


def test_a_recipe_is_judged_by_what_its_texts_need():
    one = replace(TINY, n_layers=1)
    lengths = text_lengths(one).tolist()
    assert len(lengths) == N_TEXTS and sum(lengths) % 24 == 0 and max(lengths) <= 24
    blocks = sum(2 * n * 12 * 12 * 12 + 4 * n * n * 12 for n in lengths)
    assert TASKS["fine_tuning"].flops(one) == 3 * blocks
    assert TASKS["pretraining"].flops(one) == pytest.approx(3 * (blocks + 0.15 * 2 * sum(lengths) * 12 * 29))


@pytest.mark.parametrize("task", ["pretraining", "fine_tuning"])
def test_companion_takes_all_that_the_others_take(task, monkeypatch):
    taken = []

    class Counting(recipes.Trainer):
        def train_step(self):
            taken.append(super().train_step()["tokens"])

    monkeypatch.setattr(recipes, "Trainer", Counting)
    TASKS[task].step("companion", TINY, "fp32")()
    assert sum(taken) == sum(map(len, recipes._texts(TINY))) == int(text_lengths(TINY).sum())
    assert [len(part) for part in recipes._shuffled(recipes._texts(TINY), 48)] == [48, 16]


def test_every_operation_has_one_kind():
    kinds = {
        "aten::addmm": "matrix products",
        "aten::gelu_backward": "activation",
        "aten::add_": REST,
        "aten::bernoulli_": REST,
    }
    assert {name: kind_of(name) for name in kinds} == kinds
    assert kind_of("aten::native_layer_norm") == "layer norm"
    assert kind_of("aten::linalg_vector_norm") == "optimizer and clipping"
    found = shares("fine_tuning", TINY, steps=1)
    assert sum(found.values()) == pytest.approx(1.0, abs=0.01) and found["matrix products"] > 0.02


def test_lengths_follow_the_percentiles():
    lengths = imdb_lengths(20_000, longest=10_000)
    expected = torch.tensor(PERCENTILES, dtype=torch.float64)
    found = lengths.double().quantile(torch.linspace(0, 1, len(PERCENTILES), dtype=torch.float64))
    torch.testing.assert_close(found[1:-1], expected[1:-1], rtol=0.05, atol=0)
    assert imdb_lengths(500, longest=300).max() == 300
    assert torch.equal(imdb_lengths(50, longest=512), imdb_lengths(50, longest=512))


def test_batches_hold_every_text_once_and_less_padding_by_length():
    lengths = imdb_lengths(96, longest=512)
    shares = []
    for by_length in (False, True):
        parts = batches(lengths, size=16, vocab_size=29, by_length=by_length)
        held = torch.cat([padding.sum(dim=1) for _, padding in parts])
        assert torch.equal(held, lengths.sort().values if by_length else lengths)
        assert all(ids.shape == padding.shape and padding.any(dim=0).all() for ids, padding in parts)
        shares.append(int(lengths.sum()) / sum(padding.numel() for _, padding in parts))
    assert shares[0] < 0.7 < 0.85 < shares[1]


def test_turns_rotate_and_ratios_are_taken_within_a_round(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(harness.time, "perf_counter", lambda: now[0])

    def work(name: str, seconds: list[float]) -> None:
        order.append(name)
        now[0] += seconds.pop(0)

    slow_machine = [1.0, 1.0, 10.0, 1.0]  # in its second counted round everything takes ten times as long
    ours, peer = [x * 2 for x in slow_machine], [x * 3 for x in slow_machine]
    a, b = Contender("a", lambda: work("a", ours)), Contender("b", lambda: work("b", peer))
    interleave([a, b], rounds=3, warmup=1)
    assert "".join(order) == "abbaabba" and a.seconds == [2.0, 20.0, 2.0]
    assert speed_ratio(a, b) == 1.5


def test_a_column_is_measured_only_where_its_products_are_faster(monkeypatch):
    monkeypatch.setattr(harness, "matmul_seconds", lambda setting: {"highest": 2.0, "medium": 1.0}[setting])
    monkeypatch.setattr(harness, "_times", lambda work, repeats: [200.0])
    columns, left_out = harness.worthwhile_precisions()
    assert columns == ["fp32", "medium"] and list(left_out) == ["bf16"] and "0.01 times as fast" in left_out["bf16"]


def test_one_table_is_stored_beside_the_others(tmp_path, monkeypatch):
    path = tmp_path / "results" / "speed.json"
    monkeypatch.setattr(harness, "worthwhile_precisions", lambda: (["fp32"], {"bf16": "why"}))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    for measured in ("memory", "dropout", "memory"):
        monkeypatch.setitem(speed.MEASURES, measured, lambda options, rounds=measured: {"of": [rounds, options.rounds]})
        assert speed.main(["--only", measured, "--rounds", "7" if path.exists() else "2", "--out", str(path)]) == 0
    record = json.loads(path.read_text(encoding="utf-8"))
    assert list(record["tables"]) == ["dropout", "memory"] and record["tables"]["memory"]["of"] == ["memory", 7]
    assert record["tables"]["memory"]["columns_left_out"] == {"bf16": "why"}
    assert record["tables"]["dropout"]["date"] and record["tables"]["dropout"]["machine"]["capability"]


@pytest.mark.parametrize("arguments", [["--only", "encoder,speed"], ["--precisions", "fp8"]])
def test_unknown_names_are_refused(arguments, capsys):
    assert speed.main(arguments) == 2
    assert "there are ['" in capsys.readouterr().err


def test_texts_as_they_came_have_a_contender_by_length_too():
    names = speed.TABLES["texts"].names
    assert {"companion", f"companion{IN_ORDER}"} < set(names)
    assert "nn.TransformerEncoder, post" in names and f"nn.TransformerEncoder, post{IN_ORDER}" in names
