"""The computations behind the errata about fine-tuning; :mod:`companion.errata.computations` holds all of them."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from companion.errata.data import printed


def f7() -> dict[str, Any]:
    """Sum and mean of one batch, and of the same batch taken twice."""
    losses = -printed("F7", "probabilities").log()
    twice = losses.repeat(2)
    return {
        "sum": losses.sum(),
        "mean": losses.mean(),
        "sum_of_the_batch_twice": twice.sum(),
        "mean_of_the_batch_twice": twice.mean(),
    }


def h7() -> dict[str, Any]:
    """One weight w, p = σ(w): every example to learn from says 1, of four held-out ones three do."""
    w = torch.zeros((), dtype=torch.float64)
    for _ in range(1000):
        w = w + torch.sigmoid(-w)  # gradient descent with rate 1 on log(1 + e^-w)
    best = math.log(3)

    def held_out(weight: float) -> float:
        return 0.75 * math.log1p(math.exp(-weight)) + 0.25 * math.log1p(math.exp(weight))

    return {
        "held_out_loss_at_its_best": held_out(best),
        "held_out_loss_at_the_end": held_out(float(w)),
        "training_loss_at_the_end": math.log1p(math.exp(-float(w))),
    }


def h11() -> dict[str, Any]:
    """What PyTorch gives a layer of the printed kind with width 64."""
    layer = nn.TransformerEncoderLayer(64, 4)
    return {
        "feed_forward_width": layer.linear1.out_features,
        "feed_forward_parameters": _count(layer.linear1) + _count(layer.linear2),
        "attention_parameters": _count(layer.self_attn),
    }


def c2() -> dict[str, Any]:
    """Three reviews of five words: what the vector of one word in the first review depends on."""
    reviews, words = [], []
    for batch_first in (False, True):
        touched = _influence(batch_first)
        reviews.append(int(touched.any(dim=1)[1:].sum()))
        words.append(int(touched[0].sum()) - 1)
    return {"other_reviews_that_matter": reviews, "other_words_of_its_own_that_matter": words}


def _influence(batch_first: bool) -> Tensor:
    """Which words (3, 5) the vector of the third word of the first review depends on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, dropout=0.0, batch_first=batch_first).double()
        x = torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True)
    torch.autograd.backward(layer(x)[0, 2, 0])
    assert x.grad is not None
    return x.grad.abs().sum(dim=-1) > 0


def c3() -> dict[str, Any]:
    """A review of four words, filled up to sixteen."""
    real = torch.arange(16) < 4
    return {"share_of_padding_in_the_mean": (~real).double().mean(), "share_after_masking": 0.0}


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
