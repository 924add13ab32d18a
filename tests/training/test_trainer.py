"""The loop: what a step does, what a record says, what is refused, and how it stops."""

import copy
import dataclasses
import math
import signal
import sys

import pytest
import torch
from tiny_training import TinyStream, differences, mlm_batch, tiny_model, tiny_trainer, without_seconds
from torch import nn

from companion import GPT, TransformerConfig, load_checkpoint
from companion.training.checkpoint import checkpoint_step, checkpoints
from companion.training.evaluation import evaluate
from companion.training.objectives import MaskedLanguageModeling, NextToken
from companion.training.schedule import learning_rate

HELD_OUT = [mlm_batch(100, 2), mlm_batch(101, 5)]


def test_a_record_says_what_happened():
    trainer = tiny_trainer(eval_batches=HELD_OUT, eval_every=5, max_steps=12)
    seen = []
    history = trainer.fit(on_step=seen.append)
    assert history is trainer.history and history == seen
    assert [record["step"] for record in history] == list(range(1, 13)) and trainer.step == 12
    batches = TinyStream()
    for step, record in enumerate(history):
        taken = [next(batches), next(batches)]
        assert record["tokens"] == sum(int(batch.padding.sum()) for batch in taken)
        assert record["loss"] == pytest.approx(record["mlm"] + record["nsp"])
        assert record["lr"] == learning_rate(step, trainer.config)
        assert record["grad_norm"] > 0 and record["seconds"] > 0
    assert [record["step"] for record in history if "valid_loss" in record] == [5, 10, 12]  # the end, too
    last = {k.removeprefix("valid_"): v for k, v in history[-1].items() if k.startswith("valid_")}
    assert last == trainer.evaluate(HELD_OUT)
    assert set(last) == {"loss", "mlm", "mlm_accuracy", "nsp", "nsp_accuracy"}
    assert min(r["loss"] for r in history) < history[0]["loss"]


def test_a_step_is_gradient_clipping_and_adamw():
    trainer = tiny_trainer(model=tiny_model(dropout=0.0), grad_clip=0.5, grad_accum_steps=1)
    twin = tiny_model(dropout=0.0)
    groups = [
        {"params": [p for n, p in twin.named_parameters() if p.dim() == 2 and "embed" not in n], "weight_decay": 0.01},
        {"params": [p for n, p in twin.named_parameters() if p.dim() < 2 or "embed" in n], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    for step, batch in zip(range(4), TinyStream(), strict=False):
        record = trainer.train_step()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, trainer.config)
        output = twin(batch.ids, segments=batch.segments, padding=batch.padding)
        loss = nn.functional.cross_entropy(output.mlm_logits.flatten(0, 1), batch.labels.flatten())
        loss = loss + nn.functional.cross_entropy(output.nsp_logits, batch.next_labels)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        assert record["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert record["grad_norm"] == pytest.approx(norm.item(), rel=1e-4) and norm > 0.5
        for (name, mine), other in zip(trainer.model.named_parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-6, msg=name)
        optimizer.step()
    # Not the weights: a gradient that is zero in theory becomes a full step of noise.


def test_no_clipping_if_it_is_switched_off():
    trainer, clipped = (tiny_trainer(grad_clip=clip, grad_accum_steps=1) for clip in (0.0, 1e-3))
    norms = [t.train_step()["grad_norm"] for t in (trainer, clipped)]
    assert norms[0] == norms[1] > 1e-3  # the record tells the norm before clipping
    for t, expected in ((trainer, norms[0]), (clipped, 1e-3)):
        total = sum(float(p.grad.norm() ** 2) for p in t.model.parameters()) ** 0.5
        assert total == pytest.approx(expected, rel=1e-3)


def test_first_half_and_resumed_is_uninterrupted(tmp_path):
    straight, first = (tiny_trainer(eval_batches=HELD_OUT, eval_every=4) for _ in range(2))
    straight.fit()
    first.fit(until=5, checkpoint_dir=tmp_path)
    second = tiny_trainer(model=tiny_model(init_std=0.02), eval_batches=HELD_OUT, eval_every=4)
    for p in second.model.parameters():
        nn.init.constant_(p, 7.0)
    second.load_state_dict(load_checkpoint(tmp_path))
    assert second.step == 5 and differences(second.state_dict(), first.state_dict()) == []
    second.fit()
    assert differences(second.state_dict(), straight.state_dict()) == []


def test_differences_are_seen():
    trainer = tiny_trainer()
    trainer.fit(until=2)
    a, b = (copy.deepcopy(trainer.state_dict()) for _ in range(2))
    b["optimizer"]["state"][3]["exp_avg"].view(-1)[0] *= 1 + 2e-7  # the last bit
    b["history"][1]["loss"] += 1e-15
    b["history"][0]["seconds"] += 1
    assert len(differences(a, b)) == 2


def test_dropout_follows_from_seed_and_step_and_nothing_outside_is_touched():
    a, b, other = tiny_trainer(), tiny_trainer(), tiny_trainer(seed=1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a.fit(until=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert without_seconds(b.fit(until=3)) == without_seconds(a.history)
    assert without_seconds(other.fit(until=3)) != without_seconds(a.history)
    still = tiny_trainer(model=tiny_model(dropout=0.0))
    assert without_seconds(still.fit(until=3)) != without_seconds(a.history)  # dropout is on


def test_training_needs_the_training_mode_and_sets_it():
    a, b = tiny_trainer(), tiny_trainer()
    b.model.eval()
    assert a.train_step()["loss"] == b.train_step()["loss"]


def test_evaluation_leaves_everything_as_it_was():
    trainer = tiny_trainer()
    trainer.train_step()
    trainer.model.transformer.blocks[0].eval()  # somebody's frozen part
    modes = [module.training for module in trainer.model.modules()]
    state, grads = copy.deepcopy(trainer.state_dict()), [p.grad.clone() for p in trainer.model.parameters()]
    rng = torch.get_rng_state()
    first = trainer.evaluate(HELD_OUT)
    assert trainer.evaluate(iter(HELD_OUT)) == first
    assert [module.training for module in trainer.model.modules()] == modes and len(set(modes)) == 2
    assert differences(trainer.state_dict(), state) == [] and torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(p.grad, g) for p, g in zip(trainer.model.parameters(), grads, strict=True))


def test_evaluation_weighs_targets_not_batches():
    model = tiny_model().eval()
    found = evaluate(model, HELD_OUT, MaskedLanguageModeling(chunk=4))
    sums = [MaskedLanguageModeling().evaluate(model, batch) for batch in HELD_OUT]
    for name in ("mlm", "mlm_accuracy", "nsp"):
        total, count = (sum(float(getattr(s[name], part)) for s in sums) for part in ("total", "n_targets"))
        assert found[name] == pytest.approx(total / count, rel=1e-6)
    assert found["loss"] == found["mlm"] + found["nsp"]
    assert found["mlm"] != pytest.approx(sum(float(s["mlm"].mean) for s in sums) / 2, rel=1e-5)


def test_evaluating_on_nothing_is_an_error_that_leaves_the_mode():
    trainer = tiny_trainer()
    with pytest.raises(ValueError, match="there is no batch to evaluate on"):
        trainer.evaluate([])
    assert trainer.model.training


def test_checkpoints_come_in_their_time(tmp_path):
    trainer = tiny_trainer(checkpoint_every=4, snapshots=(0, 3), max_steps=14)
    trainer.fit(until=6, checkpoint_dir=tmp_path)
    assert [checkpoint_step(p) for p in checkpoints(tmp_path)] == [0, 3, 4, 6]  # pausing saves
    trainer.fit(checkpoint_dir=tmp_path)
    assert [checkpoint_step(p) for p in checkpoints(tmp_path)] == [0, 3, 12, 14]
    assert load_checkpoint(tmp_path / "step-00000003")["step"] == 3
    assert trainer.fit(checkpoint_dir=tmp_path) is trainer.history and trainer.step == 14  # nothing left to do


CHANGED = [
    ({"peak_lr": 0.02}, {}, r"another configuration: peak_lr was 0.01 and is 0.02\. Take the old values to go on"),
    ({"warmup_steps": 1, "seed": 9}, {}, "warmup_steps was 3 and is 1; seed was 0 and is 9"),
    ({}, {"model": tiny_model(d_ff=32)}, "another model: d_ff was 16 and is 32"),
    ({}, {"objective": MaskedLanguageModeling(next_sentence=False)}, "another objective: next_sentence was True and"),
    (
        {},
        {"model": GPT(TransformerConfig(vocab_size=23)), "objective": NextToken()},
        "the checkpoint's model is a BERT; this one is a GPT",
    ),
    ({}, {"objective": NextToken()}, "objective is a MaskedLanguageModeling; this one is a NextToken"),
]


@pytest.mark.parametrize(("config", "parts", "message"), CHANGED)
def test_a_checkpoint_of_something_else_is_refused_by_field(config, parts, message):
    state = tiny_trainer().state_dict()
    trainer = tiny_trainer(**parts, **config)
    before = copy.deepcopy(trainer.state_dict())
    with pytest.raises(ValueError, match=message):
        trainer.load_state_dict(state)
    assert differences(trainer.state_dict(), before) == []


def test_what_may_change_may_change():
    trainer = tiny_trainer(max_steps=4)
    trainer.fit()
    longer = tiny_trainer(max_steps=6, eval_every=1, checkpoint_every=9, keep_checkpoints=5, snapshots=(1,))
    longer.load_state_dict(trainer.state_dict())
    assert len(longer.fit()) == 6


def test_a_field_that_a_checkpoint_does_not_know_had_its_default():
    state = tiny_trainer().state_dict()
    del state["config"]["min_lr"], state["model_config"]["norm"]
    tiny_trainer().load_state_dict(state)
    with pytest.raises(ValueError, match=r"min_lr was 0\.0 and is 0\.001"):
        tiny_trainer(min_lr=0.001).load_state_dict(state)


def test_a_loaded_state_is_not_shared():
    trainer = tiny_trainer()
    trainer.fit(until=2)
    state = copy.deepcopy(trainer.state_dict())
    twin = tiny_trainer()
    twin.load_state_dict(state)
    twin.fit()
    assert differences(trainer.state_dict(), state) == [] and len(state["history"]) == 2


def test_gradients_that_are_not_finite_stop_before_the_update():
    trainer = tiny_trainer()
    trainer.fit(until=2)
    weights = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.model.mlm_head.norm.register_forward_hook(lambda *a: a[2] * math.inf)
    with pytest.raises(FloatingPointError, match=r"gradient of step 2 is not finite \(losses .*'mlm': nan.*Lower peak"):
        trainer.train_step()
    assert trainer.step == 2 and len(trainer.history) == 2
    assert all(torch.equal(p, w) for p, w in zip(trainer.model.parameters(), weights, strict=True))


def test_a_stream_that_ends_is_an_error():
    trainer = tiny_trainer(stream=iter(HELD_OUT))
    trainer.train_step()
    with pytest.raises(ValueError, match="the stream of batches ended at step 1; a trainer needs an endless one"):
        trainer.train_step()


def test_a_stream_without_a_state_and_a_frozen_part():
    model = tiny_model()
    model.transformer.embedding.requires_grad_(False)
    frozen = model.transformer.embedding.token.weight.clone()
    trainer = tiny_trainer(model=model, stream=iter(HELD_OUT * 9))
    trainer.fit(until=3)
    assert torch.equal(model.transformer.embedding.token.weight, frozen)
    with pytest.warns(UserWarning, match="stream of batches has no state, so step 3 goes on with whatever it gives"):
        tiny_trainer(model=model).load_state_dict(trainer.state_dict())
    with pytest.warns(UserWarning, match="has no state"):
        tiny_trainer(model=model, stream=iter([])).load_state_dict({**trainer.state_dict(), "stream": {"index": 3}})
    with pytest.raises(ValueError, match=r"run trained \d+ tensors, but \d+ of this model require a gradient; freeze"):
        tiny_trainer().load_state_dict(trainer.state_dict())


def test_a_new_run_does_not_mix_with_an_older_one(tmp_path):
    tiny_trainer(snapshots=(0,)).fit(until=2, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"holds a run that is further on; go on with it by trainer\.load_state_dict"):
        tiny_trainer().fit(until=1, checkpoint_dir=tmp_path)
    trainer = tiny_trainer(snapshots=(0,))
    trainer.load_state_dict(load_checkpoint(tmp_path))
    assert len(trainer.fit(until=3, checkpoint_dir=tmp_path)) == 3
    tiny_trainer().fit(until=1, checkpoint_dir=tmp_path / "another")


def test_bf16_trains_float32_weights_to_about_the_same_loss():
    def trainer(kind):
        return tiny_trainer(precision=kind, model=tiny_model(dropout=0.0), eval_batches=HELD_OUT)

    a, b, again = trainer("fp32"), trainer("bf16"), trainer("bf16")
    x, y = a.fit()[-1], b.fit()[-1]
    assert all(p.dtype == torch.float32 == p.grad.dtype for p in b.model.parameters())
    assert x["loss"] != y["loss"] and x["loss"] == pytest.approx(y["loss"], rel=0.02)
    assert x["valid_loss"] == pytest.approx(y["valid_loss"], rel=0.02)
    assert without_seconds(again.fit()) == without_seconds(b.history)


def test_rows_of_any_shape_are_one_stream():
    unpadded = [dataclasses.replace(b, padding=None) for b in HELD_OUT]
    assert tiny_trainer(stream=iter(unpadded)).train_step()["tokens"] == sum(b.ids.numel() for b in unpadded)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_lets_the_step_end_saves_and_returns(number, tmp_path):
    handler = signal.getsignal(number)
    trainer, straight = tiny_trainer(), tiny_trainer()
    history = trainer.fit(checkpoint_dir=tmp_path, on_step=lambda r: r["step"] == 4 and signal.raise_signal(number))
    assert trainer.interrupted and len(history) in (4, 5) and signal.getsignal(number) == handler
    assert [checkpoint_step(p) for p in checkpoints(tmp_path)][-1] == trainer.step == len(history)
    resumed = tiny_trainer()
    resumed.load_state_dict(load_checkpoint(tmp_path))
    resumed.fit()
    straight.fit()
    assert not resumed.interrupted and differences(resumed.state_dict(), straight.state_dict()) == []


def test_a_second_ctrl_c_stops_at_once():
    trainer = tiny_trainer()

    def impatient(_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(on_step=impatient)
    assert trainer.step == 1 and signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_progress_only_on_a_terminal_or_on_request(capsys, monkeypatch):
    tiny_trainer().fit(until=1)
    assert capsys.readouterr() == ("", "")
    tiny_trainer().fit(until=2, progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "2/2" in shown.err and "loss=" in shown.err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    tiny_trainer().fit(until=2)
    assert "2/2" in capsys.readouterr().err
    tiny_trainer().fit(until=2, progress=False)
    assert capsys.readouterr() == ("", "")
