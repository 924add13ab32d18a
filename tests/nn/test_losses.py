"""Losses: sums and counts, by hand, and the chunked one exactly equal."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from companion import IGNORE, chunked_cross_entropy, next_token_loss, token_cross_entropy
from companion.nn.losses import next_token_labels

B, T, D, V = 2, 5, 4, 11
F64 = torch.float64


def problem(seed: int = 0, ignored: float = 0.4):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(B, T, D, generator=generator, dtype=F64)
    labels = torch.randint(0, V, (B, T), generator=generator)
    return hidden, labels.masked_fill(torch.rand(B, T, generator=generator) < ignored, IGNORE)


def head() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, V)).double()


def test_by_hand():
    logits = torch.randn(B, T, V, generator=torch.Generator().manual_seed(0), dtype=F64)
    labels = torch.tensor([[3, IGNORE, 0, 1, IGNORE], [IGNORE, IGNORE, IGNORE, IGNORE, 10]])
    total = 0.0
    for b, t in ((0, 0), (0, 2), (0, 3), (1, 4)):
        total -= math.log(math.exp(logits[b, t, labels[b, t]]) / sum(math.exp(z) for z in logits[b, t].tolist()))
    loss = token_cross_entropy(logits, labels)
    assert math.isclose(loss.total, total, rel_tol=1e-12) and loss.n_targets == 4
    assert math.isclose(loss.mean, total / 4, rel_tol=1e-12)


def test_sums_and_counts_add_up_over_uneven_pieces():
    logits = torch.randn(B, T, V, generator=torch.Generator().manual_seed(0), dtype=F64)
    labels = torch.tensor([[3, IGNORE, 0, 1, IGNORE], [IGNORE, IGNORE, IGNORE, IGNORE, 10]])
    whole, parts = (
        token_cross_entropy(logits, labels),
        [token_cross_entropy(*x) for x in zip(logits, labels, strict=True)],
    )
    assert parts[0].n_targets != parts[1].n_targets
    torch.testing.assert_close(whole.total, parts[0].total + parts[1].total)
    assert whole.n_targets == parts[0].n_targets + parts[1].n_targets
    assert not torch.isclose(whole.mean, (parts[0].mean + parts[1].mean) / 2)  # the mean of means is another number


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_logits_are_summed_in_float32(dtype):
    logits = torch.randn(200, 50).to(dtype)
    loss = token_cross_entropy(logits, torch.arange(200) % 50)
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(loss.total, F.cross_entropy(logits.float(), torch.arange(200) % 50, reduction="sum"))


def test_nothing_to_predict():
    logits = torch.zeros(B, T, V, requires_grad=True)
    loss = token_cross_entropy(logits, torch.full((B, T), IGNORE))
    loss.total.backward()
    assert loss.total == 0 and loss.n_targets == 0 and not logits.grad.any() and loss.mean.isnan()


def test_next_token_labels_and_loss():
    ids = torch.tensor([[5, 6, 7, 8], [1, 2, 0, 0]])
    padding = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool()
    assert next_token_labels(ids).tolist() == [[6, 7, 8, IGNORE], [2, 0, 0, IGNORE]]
    assert next_token_labels(ids, padding=padding).tolist() == [[6, 7, 8, IGNORE], [2, IGNORE, IGNORE, IGNORE]]
    left = next_token_labels(ids, padding=padding.flip(1))
    assert left.tolist() == [[6, 7, 8, IGNORE], [IGNORE, IGNORE, 0, IGNORE]]  # nothing is learned at padding either
    logits = torch.randn(2, 4, V, dtype=F64)
    loss = next_token_loss(logits, ids)
    assert loss.n_targets == 6
    torch.testing.assert_close(
        loss.total, F.cross_entropy(logits[:, :-1].reshape(-1, V), ids[:, 1:].reshape(-1), reduction="sum")
    )
    assert next_token_loss(logits, ids, padding=padding).n_targets == 4
    assert ids.tolist() == [[5, 6, 7, 8], [1, 2, 0, 0]]  # not edited


@settings(max_examples=30)
@given(st.integers(0, 999), st.integers(1, 12), st.sampled_from([0.0, 0.4, 1.0]))
def test_chunked_is_exact_in_value_and_gradients(seed, chunk, ignored):
    hidden, labels = problem(seed, ignored)
    results = []
    for run in (
        lambda h, m: chunked_cross_entropy(h, labels, m, chunk=chunk),
        lambda h, m: token_cross_entropy(m(h), labels),
    ):
        h, module = hidden.clone().requires_grad_(), head()
        loss = run(h, module)
        (3 * loss.total).backward()
        results.append([loss.total.detach(), loss.n_targets, h.grad, *(p.grad for p in module.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_chunked_never_holds_more_rows_than_a_chunk_and_skips_ignored_ones():
    hidden, labels = problem()
    seen = []
    module = head()
    module.register_forward_hook(lambda _, __, logits: seen.append(len(logits)))
    chunked_cross_entropy(hidden.requires_grad_(), labels, module, chunk=3).total.backward()
    assert max(seen) <= 3 and sum(seen) == (labels != IGNORE).sum()


def test_chunked_respects_frozen_weights_frozen_input_and_no_grad():
    hidden, labels = problem()
    module = head()
    module[0].requires_grad_(False)
    h = hidden.clone().requires_grad_()
    chunked_cross_entropy(h, labels, module).total.backward()
    assert module[0].weight.grad is None and module[2].weight.grad.any() and h.grad.any()
    module.zero_grad()
    chunked_cross_entropy(hidden, labels, module).total.backward()  # a probe: only the head learns
    assert module[2].weight.grad.any()
    h.grad = None
    module.requires_grad_(False)
    chunked_cross_entropy(h, labels, module).total.backward()
    assert h.grad.any()
    with torch.no_grad():
        loss = chunked_cross_entropy(h, labels, module.requires_grad_())
    assert not loss.total.requires_grad


def test_chunked_under_autocast():
    torch.manual_seed(0)
    module, hidden, labels = nn.Linear(16, V), torch.randn(B, T, 16, requires_grad=True), problem()[1]
    exact = token_cross_entropy(module(hidden), labels)
    exact_grads = torch.autograd.grad(exact.total, [hidden, module.weight])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = chunked_cross_entropy(hidden, labels, module, chunk=2)
    grads = torch.autograd.grad(loss.total, [hidden, module.weight])
    assert loss.total.dtype == torch.float32 and grads[1].dtype == torch.float32
    torch.testing.assert_close(loss.total, exact.total, rtol=0.02, atol=0)
    for a, b in zip(grads, exact_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: token_cross_entropy(torch.zeros(2, 3, 4), torch.zeros(3, 2).long()), r"\(2, 3\); got \(3, 2\)"),
        (
            lambda: chunked_cross_entropy(torch.zeros(2, 3, 4), torch.zeros(6).long(), nn.Linear(4, 5)),
            r"labels must have the shape of hidden without its last axis, \(2, 3\); got \(6,\)",
        ),
        (
            lambda: chunked_cross_entropy(torch.zeros(2, 4), torch.zeros(2).long(), nn.Linear(4, 5), chunk=0),
            "chunk=0 must be a whole number of at least 1",
        ),
        (lambda: next_token_labels(torch.zeros(3).long()), r"ids must have the shape \(batch, tokens\); got \(3,\)"),
        (
            lambda: next_token_labels(torch.zeros(2, 3).long(), padding=torch.ones(2, 3)),
            r"padding must be bool of the shape of ids, \(2, 3\); got torch.float32",
        ),
    ],
)
def test_wrong_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
