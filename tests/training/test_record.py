"""What a run leaves: a log with every step once, and a record that tells all but whose machine it was."""

import json
import platform
import socket

import pytest
from small_run import N_TRAIN, TEXTS, V, run_of, write_corpus

from companion.training.card import model_card
from companion.training.pretrain import HELD_OUT, TRAIN, build_model, build_trainer
from companion.training.record import POINTS, Log, machine_class, read_record, summary
from companion.training.runfile import MachineConfig


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def test_the_log_of_a_resumed_run_holds_every_step_once(corpus, tmp_path):
    run = run_of(corpus, eval_every=2)
    path, said = tmp_path / "log.jsonl", []

    def go_on(history, until):
        trainer = build_trainer(run)
        trainer.history = list(history)
        with Log(path, trainer, every=2, say=said.append) as log:
            trainer.fit(until=until, progress=False, on_step=log)
        return trainer.history

    go_on([], 3)
    go_on([{"step": 1, "loss": 9.0}], 2)  # as after a kill: the checkpoint knows less than the file
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {"step": 1, "loss": 9.0} and len(lines) == 3
    assert "valid_loss" in lines[2]
    assert [line.split(":")[0] for line in said] == ["step 1 of 5", "step 2 of 5", "step 1 of 5", "step 2 of 5"]
    assert "valid_mlm" in said[1] and "tokens/s" in said[1]


def history_of(n):
    return [
        {
            "step": i + 1,
            "loss": 10.0 - i / n,
            "lm": 10.0 - i / n,
            "lr": 1e-3,
            "grad_norm": 1.0,
            "tokens": 7,
            "seconds": 0.5,
        }
        | ({"valid_loss": 9.0, "valid_lm": 9.0, "valid_lm_accuracy": 0.25} if (i + 1) % 100 == 0 else {})
        for i in range(n)
    ]


def record_of(corpus, n):
    trainer = build_trainer(run_of(corpus, task="lm"))
    trainer.history = history_of(n)
    return summary(trainer, run_of(corpus, task="lm"), command="companion pretrain run.toml")


def test_a_record_sums_time_and_tokens(corpus):
    n = 40
    record = record_of(corpus, n)
    assert (record["steps"], record["tokens"], record["seconds"], record["tokens_per_second"]) == (
        n,
        7 * n,
        n / 2,
        14.0,
    )
    assert record["corpus"]["source"] == "folder"
    assert record["corpus"][TRAIN]["documents"] == N_TRAIN
    assert record["corpus"][HELD_OUT]["documents"] == len(TEXTS) - N_TRAIN
    assert record["real_share"] == 1.0 and record["parameters"] > V * 8
    assert json.loads(json.dumps(record)) == record


def test_a_record_thins_the_curve_and_keeps_what_was_evaluated(corpus):
    n = 2 * POINTS + 100
    record = record_of(corpus, n)
    curve = record["train"]
    assert len(curve) <= POINTS and curve[-1]["step"] == n
    first = round(10 - 1 / n, 4)  # the mean of three steps
    assert curve[0] == {"step": 3, "loss": first, "lm": first, "grad_norm": 1.0, "lr": 1e-3}
    assert record["held_out"][0] == {"step": 100, "loss": 9.0, "lm": 9.0, "lm_accuracy": 0.25}
    last = n // 50
    assert record["final"]["train_steps_averaged"] == last
    assert record["final"]["train"]["loss"] == pytest.approx(10 - (n - (last + 1) / 2) / n, abs=1e-4)
    assert record["final"]["held_out"]["step"] == n


def test_a_short_run_without_an_evaluation_has_a_record_too(corpus):
    record = record_of(corpus, 1)
    assert record["held_out"] == [] and record["final"]["held_out"] is None and len(record["train"]) == 1


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_missing_record_is_said_with_the_command_that_writes_it(tmp_path, command):
    with pytest.raises(
        ValueError, match=rf"there is no record .*nope\.json; `companion {command} --record` writes one"
    ):
        read_record(tmp_path / "nope.json", command=command)


def test_a_record_does_not_name_the_machine():
    text = json.dumps(machine_class(MachineConfig(threads=3)))
    assert socket.gethostname() not in text and platform.node() not in text
    assert json.loads(text)["threads"] == 3


def test_a_record_names_the_device_that_was_used(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"a GPU, {device}")
    assert machine_class(MachineConfig(device="cpu"))["device"] == "cpu"
    assert machine_class(MachineConfig(device="cuda"))["device"] == "a GPU, cuda"
    assert machine_class(MachineConfig(device="auto"))["device"] == "a GPU, cuda"


def test_a_card_tells_the_texts_the_time_and_both_losses(corpus):
    run, record = run_of(corpus, task="lm"), record_of(corpus, 100)
    model = build_model(run)
    card = model_card("mine", run, model, step=100, record=record)
    assert f"{record['parameters']:,} parameters: a GPT" in card and "700 tokens in 0.0 hours, 14 tokens/s" in card
    assert f"{N_TRAIN} texts" in card and "| lm | 9.015 | 9.0 |" in card
    assert "English film reviews" not in card
    record["corpus"]["source"] = "imdb"
    assert "English film reviews" in model_card("mine", run, model, step=100, record=record)
    assert "hours" not in model_card("mine", run, model, step=100, record=None)
