"""Objectives: counted before the forward pass, summed in chunks, equal to the plain formula; accuracies by hand."""

import dataclasses

import pytest
import torch
from tiny_training import T, V, mlm_batch, tiny_model
from torch.nn import functional as F

from companion import GPT, IGNORE, TransformerClassifier, TransformerConfig
from companion.data.stream import Batch
from companion.training.objectives import Classification, MaskedLanguageModeling, NextToken

SHAPE = {"vocab_size": V, "max_len": T, "d_model": 8, "n_heads": 2, "d_ff": 16, "dropout": 0.0}


def labelled(rows: int = 5) -> Batch:
    batch = mlm_batch(3, rows)
    classes = torch.arange(rows) % 3
    classes[1] = IGNORE
    return dataclasses.replace(batch, labels=None, next_labels=None, classes=classes)


def gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(TransformerConfig(**SHAPE))


def classifier() -> TransformerClassifier:
    torch.manual_seed(0)
    return TransformerClassifier(TransformerConfig(**SHAPE), n_classes=3)


def cases():
    pairs, causal = mlm_batch(2, 4), dataclasses.replace(mlm_batch(2, 4), labels=None)
    bert = tiny_model(dropout=0.0)
    mlm = MaskedLanguageModeling(chunk=3)
    yield "mlm and nsp", mlm, bert, pairs
    yield "mlm alone", MaskedLanguageModeling(next_sentence=False, chunk=100), bert, pairs
    yield "next token", NextToken(chunk=4), gpt(), causal
    yield "next token, labels given", NextToken(chunk=4), gpt(), pairs
    yield "classes", Classification(), classifier(), labelled()


CASES = list(cases())
IDS = [case[0] for case in CASES]


def plainly(model, batch: Batch) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Logits and labels of each term, from the full forward pass."""
    if isinstance(model, TransformerClassifier):
        return {"classes": (model(batch.ids, padding=batch.padding), batch.classes)}
    if isinstance(model, GPT):
        labels = batch.labels
        if labels is None:
            labels = torch.full_like(batch.ids, IGNORE)
            for row, length in enumerate(batch.padding.sum(dim=1).tolist()):
                labels[row, : length - 1] = batch.ids[row, 1:length]
        return {"lm": (model(batch.ids, padding=batch.padding), labels)}
    output = model(batch.ids, segments=batch.segments, padding=batch.padding)
    return {"mlm": (output.mlm_logits, batch.labels), "nsp": (output.nsp_logits, batch.next_labels)}


@pytest.mark.parametrize(("name", "objective", "model", "batch"), CASES, ids=IDS)
def test_losses_counts_and_accuracies_are_those_of_the_full_logits(name, objective, model, batch):
    model.eval()
    counts, losses, scores = objective.counts(batch), objective(model, batch), objective.evaluate(model, batch)
    assert list(counts) == list(losses) and list(scores) == [n for k in counts for n in (k, f"{k}_accuracy")]
    for term, (logits, labels) in plainly(model, batch).items():
        if term not in counts:
            assert name == "mlm alone" and term == "nsp"
            continue
        chosen = labels != IGNORE
        expected = F.cross_entropy(logits[chosen], labels[chosen], reduction="sum")
        torch.testing.assert_close(losses[term].total, expected)
        torch.testing.assert_close(scores[term].total, expected.detach())
        assert counts[term] == losses[term].n_targets == scores[term].n_targets == chosen.sum() > 1
        right = (logits[chosen].argmax(-1) == labels[chosen]).sum()
        assert scores[f"{term}_accuracy"].total == right and scores[f"{term}_accuracy"].n_targets == chosen.sum()
        assert losses[term].total.requires_grad and not scores[term].total.requires_grad


def test_a_perfect_model_has_accuracy_one():
    class Oracle(torch.nn.Module):
        nsp_head = staticmethod(lambda h: F.one_hot(h[:, 0, 0].long(), 2).float())
        mlm_head = staticmethod(lambda h: F.one_hot(h[..., 1].long(), V).float())

        def encode(self, ids, **_):
            batch = mlm_batch(2, 4)
            return torch.stack([batch.next_labels[:, None].expand_as(ids), batch.labels], dim=-1).float()

    batch = mlm_batch(2, 4)
    scores = MaskedLanguageModeling(chunk=3).evaluate(Oracle(), batch)
    assert scores["mlm_accuracy"].mean == scores["nsp_accuracy"].mean == 1.0


def test_a_batch_without_any_chosen_token_scores_nothing():
    batch = dataclasses.replace(mlm_batch(0), labels=torch.full((3, T), IGNORE))
    scores = MaskedLanguageModeling().evaluate(tiny_model(), batch)
    assert scores["mlm"].total == scores["mlm"].n_targets == scores["mlm_accuracy"].total == 0
    assert scores["nsp"].n_targets == 3


@pytest.mark.parametrize(
    ("objective", "batch", "message"),
    [
        (MaskedLanguageModeling(), Batch(torch.ones(2, T).long()), "learns from batch.labels, but the batch has none"),
        (
            MaskedLanguageModeling(),
            Batch(torch.ones(2, T).long(), torch.ones(2, T).long()),
            r"batch.next_labels, but the batch has none; make it from sentence_pairs, or use MaskedLanguageModeling\(n",
        ),
        (Classification(), mlm_batch(0), "batch.classes, but the batch has none; make it from labelled texts"),
    ],
)
def test_what_a_batch_lacks_is_named(objective, batch, message):
    with pytest.raises(ValueError, match=message):
        objective.counts(batch)


def test_a_model_without_the_head_is_refused():
    with pytest.raises(ValueError, match=r"no next-sentence head, but the objective has next_sentence=True"):
        MaskedLanguageModeling()(tiny_model(next_sentence=False), mlm_batch(0))
