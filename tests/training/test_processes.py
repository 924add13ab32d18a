"""Two processes over gloo do what one does: gradients, losses, evaluation, resuming, stopping, failing."""

import os
import socket

import pytest
import torch
from tiny_training import CONTEXT, TinyStream, differences, mlm_batch, one_of_two, tiny_model, tiny_trainer

from companion import load_checkpoint
from companion.training import distributed


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes sent back, and where they worked."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [CONTEXT.Process(target=one_of_two, args=(rank, port, folder)) for rank in (0, 1)]
    for child in children:
        child.start()
    for child in children:
        child.join(300)
    assert [child.exitcode for child in children] == [0, 0]
    return [torch.load(folder / f"seen-{rank}.pt", weights_only=True) for rank in (0, 1)], folder


def test_they_know_each_other(two):
    assert [seen["who"] for seen in two[0]] == [(0, 2), (1, 2)]
    assert (distributed.rank(), distributed.world_size()) == (0, 1)


def test_gradients_and_losses_are_those_of_one_process(two):
    one = tiny_trainer(model=tiny_model(dropout=0.0), stream=TinyStream(), grad_clip=0.0)
    record = one.train_step()
    shares = [TinyStream(rank, 2) for rank in (0, 1)]
    counts = [sum(one.objective.counts(next(share))["mlm"] for _ in range(2)) for share in shares]
    assert counts[0] != counts[1]  # or an average of averages would pass
    for seen in two[0]:
        assert set(seen["gradients"]) == {name for name, _ in one.model.named_parameters()}
        for name, p in one.model.named_parameters():
            assert float((seen["gradients"][name] - p.grad).norm() / p.grad.norm()) < 1e-6 or p.grad.norm() < 1e-8, name
        for name in ("loss", "mlm", "nsp", "grad_norm"):
            assert seen["record"][name] == pytest.approx(record[name], rel=1e-6)
        assert seen["record"]["tokens"] == record["tokens"]
    for name, grad in two[0][0]["gradients"].items():
        assert torch.equal(grad, two[0][1]["gradients"][name])


def test_evaluation_is_over_all_shares(two):
    one = tiny_trainer(model=tiny_model(dropout=0.0), stream=TinyStream(), grad_clip=0.0)
    one.train_step()
    valid = one.evaluate([mlm_batch(100, 4), mlm_batch(101, 5)])
    for seen in two[0]:
        assert seen["valid"] == pytest.approx(valid, rel=1e-4)
    assert two[0][0]["valid"] == two[0][1]["valid"]


def test_a_head_without_a_task_stalls_nobody(two):
    for seen in two[0]:
        assert seen["unused"] and all(name.startswith("nsp_head") for name in seen["unused"])


def test_resuming_is_exact_and_only_the_first_writes(two):
    (first, second), folder = two
    assert first["differences"] == second["differences"] == []
    assert differences(first["state"], second["state"]) == []
    assert (folder / "run-of-0").is_dir() and not (folder / "run-of-1").exists()


def test_dropout_differs_between_processes(two):
    one = tiny_trainer()
    one.fit()
    with_dropout = [record["loss"] for record in two[0][0]["state"]["history"]]
    assert with_dropout != pytest.approx([record["loss"] for record in one.history], rel=1e-5)


def test_their_checkpoint_goes_on_in_one_process_with_a_word(two):
    trainer = tiny_trainer()
    with pytest.warns(UserWarning, match="made by 2 processes and goes on in 1: a sound continuation, but not bit for"):
        trainer.load_state_dict(load_checkpoint(two[1] / "run-of-0"))
    assert trainer.step == 5 and len(trainer.fit()) == 12


def test_ctrl_c_in_one_stops_both_at_the_same_step(two):
    assert two[0][0]["stopped"] == two[0][1]["stopped"]
    assert two[0][0]["stopped"][0] in (2, 3) and two[0][0]["stopped"][1]


def test_a_checkpoint_that_cannot_be_written_stops_both(two):
    assert "the checkpoint of step 1 could not be written" in two[0][0]["refused"]
    assert two[0][1]["refused"] == "the first process could not write the checkpoint; see its message"


def test_alone_nothing_is_joined(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert "RANK" not in os.environ
    with distributed.join() as device:
        assert device is None and distributed.world_size() == 1
    module = torch.nn.Linear(2, 2)
    assert distributed.parallel(module) is module and not distributed.any_of(False) and distributed.any_of(True)
