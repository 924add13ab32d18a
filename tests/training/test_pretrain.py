"""A run put together from its file."""

import pytest
import torch
from small_run import V, run_of, write_corpus

from companion.data.corpus import TokenCorpus
from companion.models.bert import BERT
from companion.models.gpt import GPT
from companion.training.loop import Trainer
from companion.training.objectives import MaskedLanguageModeling, NextToken
from companion.training.pretrain import (
    HELD_OUT,
    build_model,
    build_objective,
    build_streams,
    build_trainer,
    use_machine,
)
from companion.training.runfile import MachineConfig, RunConfig


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize(
    ("task", "model", "objective"), [("mlm", BERT, MaskedLanguageModeling), ("lm", GPT, NextToken)]
)
def test_the_task_decides_on_model_objective_and_data(corpus, task, model, objective):
    run = run_of(corpus, task=task)
    trainer = build_trainer(run)
    assert isinstance(trainer.model, model) and isinstance(build_objective(run), objective)
    batch = next(trainer.stream)
    assert batch.ids.numel() <= 48 and batch.ids.size(1) <= 16
    assert (batch.next_labels is not None) == (task == "mlm")


def test_first_weights_follow_from_the_seed_and_cost_no_random_numbers(corpus):
    before = torch.random.get_rng_state()
    a, b, c = (build_model(run_of(corpus, seed=seed)).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    name = "transformer.embedding.token.weight"
    assert all(torch.equal(a[k], b[k]) for k in a) and not torch.equal(a[name], c[name])


def test_held_out_batches_hold_what_was_asked_for_or_everything(corpus):
    run = run_of(corpus, task="lm")
    some, everything = build_streams(run).held_out, build_streams(run, all_held_out=True).held_out
    assert sum(b.ids.numel() for b in some) == 96
    n = TokenCorpus.load(corpus / HELD_OUT)
    whole = n.n_tokens + 2 * n.n_documents  # [CLS] and [SEP]
    assert 0 <= whole - 1 - sum(b.ids.numel() for b in everything) < 16
    assert torch.equal(some[0].ids, everything[0].ids)


def test_a_corpus_that_is_not_there_or_of_another_vocabulary(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"holds no corpus; make it with: companion data SOURCE"):
        build_streams(run_of(tmp_path))
    run = run_of(corpus).to_dict()
    run["model"]["vocab_size"] = V + 1
    with pytest.raises(
        ValueError, match=rf"has {V} pieces, but the model has vocab_size={V + 1}; set model.vocab_size={V}"
    ):
        build_streams(RunConfig.from_dict(run))


@pytest.mark.parametrize(("device", "backend"), [("cuda", torch.cuda), ("mps", torch.backends.mps)])
def test_a_device_that_is_not_there(device, backend, monkeypatch):
    monkeypatch.setattr(backend, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"device='{device}', but PyTorch finds none here; .* machine.device=cpu"):
        use_machine(MachineConfig(device=device))
    monkeypatch.setattr(backend, "is_available", lambda: True)
    assert use_machine(MachineConfig(device=device)).type == device


def test_the_trainer_evaluates_on_the_held_out_part(corpus):
    trainer = build_trainer(run_of(corpus))
    assert isinstance(trainer, Trainer)
    history = trainer.fit(progress=False)
    assert history[-1]["valid_mlm"] > 0 and "valid_nsp_accuracy" in history[-1]
