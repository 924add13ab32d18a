"""Saliency: against closed forms, finite differences, a fine quadrature, loops, and the model itself."""

import math

import pytest
import torch

from companion import TextClassifier, TransformerClassifier, TransformerConfig, load_tokenizer
from companion.models import saliency
from companion.models.saliency import (
    attention_rollout,
    by_word,
    completeness_gap,
    gradient_x_input,
    integrated_gradients,
    leave_one_out,
    score_subsets,
)
from companion.models.word_score import WordScore
from companion.nn.attention import record_attention

TEXT = "It is not an unhurried film, but good."  # "unhurried" has three pieces, "film," and "good." two


def judge(*, pooling="mean", labels=("neg", "pos"), temperature=1.0, **shape):
    torch.manual_seed(3)
    shape = {"d_model": 8, "n_layers": 2, "n_heads": 2, "d_ff": 12, "position": "rope", "n_segments": 2} | shape
    config = TransformerConfig(vocab_size=8192, max_len=24, dropout=0.1, init_std=0.5, embed_norm=True, **shape)
    network = TransformerClassifier(config, len(labels), pooling=pooling).double().eval()
    return TextClassifier(network, load_tokenizer(), labels, temperature=temperature)


@pytest.fixture(scope="module")
def score():
    return WordScore(judge(temperature=1.7), TEXT)


W = torch.tensor([[1.5], [-0.5], [0.25]], dtype=torch.float64)


def toy(x):
    return x.sum((1, 2)).tanh()


def test_the_toys_numbers_are_those_of_the_closed_form():
    total, w = 1.25, W[:, 0]
    slope = 1 - math.tanh(total) ** 2
    torch.testing.assert_close(gradient_x_input(toy, W, 0 * W), w * slope)
    exact = w / total * math.tanh(total)  # the gradient has the same entries everywhere on the way
    for steps, error in ((4, 3e-3), (32, 5e-5), (500, 2e-7)):
        ig = integrated_gradients(toy, W, 0 * W, steps=steps)
        torch.testing.assert_close(ig, exact, rtol=0, atol=error)
        assert completeness_gap(ig, toy, W, 0 * W) == pytest.approx(ig.sum().item() - math.tanh(total), abs=1e-15)
    gaps = [completeness_gap(integrated_gradients(toy, W, 0 * W, steps=n), toy, W, 0 * W) for n in (16, 32)]
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.01)  # the midpoint rule is of second order
    lost = [math.tanh(total) - math.tanh(total - v) for v in (1.5, -0.5, 0.25)]
    assert leave_one_out(toy, W, 0 * W).tolist() == pytest.approx(lost)


def test_a_baseline_that_is_not_zero():
    base = torch.full_like(W, 0.5)
    ig = integrated_gradients(toy, W, base, steps=2000)
    exact = (W - base)[:, 0] / (1.25 - 1.5) * (math.tanh(1.25) - math.tanh(1.5))
    torch.testing.assert_close(ig, exact, rtol=0, atol=1e-7)
    assert leave_one_out(toy, W, base)[0].item() == pytest.approx(math.tanh(1.25) - math.tanh(0.25))


def test_a_linear_score_is_shared_out_alike_by_all():
    weights = torch.tensor([[1.0, -2.0], [0.5, 3.0], [4.0, 0.0]], dtype=torch.float64)
    x, base = torch.randn(2, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    words = torch.tensor([-1, 0, 0])
    base = torch.where((words >= 0)[:, None], base, x)

    def linear(x):
        return (x * weights).sum((1, 2)) + 7

    expected = [float(((x - base) * weights)[1:].sum())]
    for method in (leave_one_out, gradient_x_input, integrated_gradients):
        assert method(linear, x, base, words=words).tolist() == pytest.approx(expected)


def test_a_word_is_erased_whole(score):
    for kind in ("zero", "mask"):
        base = score.baseline(kind)
        got = leave_one_out(score, score.x, base, words=score.words)
        for w in range(len(score.text_words)):
            x = score.x.clone()
            for t in range(len(x)):
                if score.words[t] == w:
                    x[t] = base[t]
            assert got[w].item() == pytest.approx((score(score.x[None]) - score(x[None])).item(), abs=1e-12)


def test_the_gradient_is_that_of_finite_differences(score):
    x, base, h = score.x, score.baseline(), 1e-5
    got = gradient_x_input(score, x, base, words=score.words)
    one = h * torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape)
    with torch.no_grad():
        slope = ((score(x + one) - score(x - one)) / (2 * h)).view(x.shape)
    expected = by_word((slope * (x - base)).sum(-1), score.words)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["zero", "mask"])
def test_integrated_gradients_are_those_of_a_fine_quadrature(score, kind):
    """Gauss-Legendre of order 5 on 64 panels, directional derivatives by finite differences: no code in common."""
    x, base = score.x, score.baseline(kind)
    nodes = torch.tensor([-math.sqrt(0.6), 0.0, math.sqrt(0.6)], dtype=torch.float64)
    weights = torch.tensor([5 / 18, 8 / 18, 5 / 18], dtype=torch.float64)
    panels = 64
    a = ((torch.arange(panels)[:, None] + (nodes + 1) / 2) / panels).flatten()
    way, h = base + a[:, None, None] * (x - base), 1e-5
    expected = []
    with torch.no_grad():
        for w in range(len(score.text_words)):
            step = torch.where((score.words == w)[:, None], x - base, 0.0) * h
            slope = (score(way + step) - score(way - step)) / (2 * h)
            expected.append(float((slope * weights.repeat(panels)).sum() / panels))
    got = integrated_gradients(score, x, base, steps=2000, words=score.words)
    assert got.tolist() == pytest.approx(expected, abs=2e-5)
    assert abs(completeness_gap(got, score, x, base)) < 2e-5
    assert integrated_gradients(score, x, base, words=score.words).tolist() == pytest.approx(expected, abs=0.05)


def test_large_steps_go_through_in_parts(score, monkeypatch):
    whole = integrated_gradients(score, score.x, score.baseline(), words=score.words)
    subsets = score_subsets(score, score.x, score.baseline(), words=score.words)
    monkeypatch.setattr(saliency, "TOKENS_AT_ONCE", 40)
    torch.testing.assert_close(integrated_gradients(score, score.x, score.baseline(), words=score.words), whole)
    torch.testing.assert_close(score_subsets(score, score.x, score.baseline(), words=score.words), subsets)


def test_all_subsets(score):
    subsets = score_subsets(score, score.x, score.baseline("mask"), words=score.words)
    n = len(score.text_words)
    assert subsets.shape == (2**n,)
    lost = leave_one_out(score, score.x, score.baseline("mask"), words=score.words)
    torch.testing.assert_close(subsets[0] - subsets[2 ** torch.arange(n)], lost)
    mask = 4
    ids = torch.where(score.words == -1, score.ids, mask)  # all masked: as if the text were [MASK] [MASK] ...
    with torch.no_grad():
        z = score.model(ids)[0]
    assert subsets[-1].item() == pytest.approx(((z[1] - z[0]) / 1.7).item())


def test_the_score_is_the_log_odds_of_the_classifier(score):
    p = judge(temperature=1.7).probabilities([TEXT])[0, 1].double()
    assert score(score.x[None]).item() == pytest.approx(torch.logit(p).item(), abs=1e-5)
    three = judge(labels=("bad", "fair", "good"))
    for name, p in zip(three.labels, three.probabilities([TEXT])[0].double(), strict=True):
        one = WordScore(three, TEXT, target=name)
        assert one(one.x[None]).item() == pytest.approx(torch.logit(p).item(), abs=1e-5)


def test_words_are_what_stands_between_spaces(score):
    assert score.text_words == ["It", "is", "not", "an", "unhurried", "film,", "but", "good."]
    assert score.words.tolist() == [-1, 0, 1, 2, 3, 4, 4, 4, 5, 5, 6, 7, 7, -1]
    assert score.ids[0].tolist() == load_tokenizer().encode(TEXT).ids
    odd = WordScore(judge(), " a \u200b\u00ad [SEP]  Épée ")
    assert (odd.text_words[0], odd.text_words[-2:]) == ("a", ["[SEP]", "Épée"])
    assert odd.ids[0].tolist().count(3) == 1  # what is spelled so is no mark


def test_the_model_is_left_as_it_was(score):
    model = score.model
    model.train()
    try:
        assert score(score.x[None]).item() == score(score.x[None]).item()  # no dropout
        assert model.training and not model.transformer.embedding.token._forward_hooks
        integrated_gradients(score, score.x, score.baseline(), steps=2, words=score.words)
        assert all(p.grad is None for p in model.parameters())
    finally:
        model.eval()


def test_rollout_by_hand():
    a = torch.tensor([[[0.5, 0.5], [0.0, 1.0]], [[0.1, 0.9], [0.4, 0.6]]], dtype=torch.float64)  # two heads
    b = torch.tensor([[[1.0, 0.0], [0.2, 0.8]], [[1.0, 0.0], [0.2, 0.8]]], dtype=torch.float64)
    first = [[0.65, 0.35], [0.1, 0.9]]  # 0.5 I + 0.5 [[0.3, 0.7], [0.2, 0.8]]
    second = [[1.0, 0.0], [0.1, 0.9]]
    expected = [[sum(second[i][k] * first[k][j] for k in range(2)) for j in range(2)] for i in range(2)]
    assert attention_rollout(torch.stack([a, b])).tolist() == [pytest.approx(row) for row in expected]
    assert attention_rollout([a, b], residual=1.0).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match=r"maps must have the shape \(L, H, T, T\); got \(2, 2, 2\)"):
        attention_rollout(a)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_rollout_of_a_classifier(pooling):
    score = WordScore(judge(pooling=pooling), TEXT)
    with record_attention(score.model) as maps, torch.no_grad():
        score.model(score.ids)
    rollout = torch.eye(score.ids.size(1), dtype=torch.float64)
    for weights in maps:
        rollout = (weights[0].mean(0) / 2 + torch.eye(len(rollout)) / 2) @ rollout
    read = rollout.mean(0) if pooling == "mean" else rollout[0]
    expected = [read[score.words == w].sum().item() for w in range(8)]
    assert score.rollout().tolist() == pytest.approx(expected)
    assert score.rollout().sum().item() == pytest.approx(1 - read[0].item() - read[-1].item())


def test_bad_input(score):
    with pytest.raises(ValueError, match=r"x and baseline must both be \(T, D\); got \(3, 1\) and \(2, 1\)"):
        leave_one_out(toy, W, W[:2])
    with pytest.raises(ValueError, match=r"words must be \(T,\) = \(3,\); got \(2,\)"):
        gradient_x_input(toy, W, W, words=torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="steps"):
        integrated_gradients(toy, W, W, steps=0)
    with pytest.raises(ValueError, match=r"13 words have 2\^13 subsets; take a text of at most 12 words"):
        score_subsets(toy, W.repeat(5, 1)[:13], W.repeat(5, 1)[:13])
    with pytest.raises(ValueError, match="baseline='pad' is not known; choose one of"):
        score.baseline("pad")
    with pytest.raises(ValueError, match="there is no word in '  '"):
        WordScore(judge(), "  ")
    with pytest.raises(ValueError, match="30 tokens, but the classifier reads 22; shorten the text"):
        WordScore(judge(), "film " * 30)
    with pytest.raises(ValueError, match=r"target='good' must be one of \['neg', 'pos'\]"):
        WordScore(judge(), "A film", target="good")
