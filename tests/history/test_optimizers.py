"""Each optimizer by hand against torch.optim, over a hundred steps in float64, and the figures of the bowl."""

import numpy as np
import pytest
import torch

from companion.history.optimizers import SGD, Adam, AdamW, Momentum, bowl, bowl_gradient, descend, minibatches

PAIRS = {
    "gradient descent": (lambda: SGD(0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
    "momentum": (lambda: Momentum(0.02, 0.9), lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9)),
    "adam": (lambda: Adam(0.05), lambda p: torch.optim.Adam(p, lr=0.05)),
    "adam, other constants": (
        lambda: Adam(0.01, betas=(0.8, 0.95), epsilon=1e-3),
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-3),
    ),
    "adamw": (lambda: AdamW(0.05, weight_decay=0.1), lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1)),
}


@pytest.mark.parametrize("stochastic", [False, True], ids=["all examples", "mini-batches"])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_hundred_steps_equal_those_of_torch(pair, stochastic):
    """A small tanh net on a regression, two parameters of different shapes; the gradients are torch's for both."""
    generator = np.random.default_rng(0)
    x, y = (torch.tensor(generator.normal(size=shape)) for shape in ((30, 4), (30, 3)))
    start = [generator.normal(size=(4, 3)), generator.normal(size=3)]
    batches = [list(minibatches(30, 7, generator=np.random.default_rng(epoch))) for epoch in range(20)]
    rows = [batch for epoch in batches for batch in epoch][:100] if stochastic else [np.arange(30)] * 100

    def loss(parameters, chosen):
        return ((x[chosen] @ parameters[0] + parameters[1]).tanh() - y[chosen]).square().mean()

    theirs = [torch.tensor(a, requires_grad=True) for a in start]
    ours, rule, judge = [a.copy() for a in start], pair[0](), pair[1](theirs)
    before = [a.copy() for a in ours]
    for chosen in rows:
        judge.zero_grad()
        loss(theirs, chosen).backward()
        judge.step()
        copies = [torch.tensor(a, requires_grad=True) for a in ours]
        loss(copies, chosen).backward()
        ours = rule.step(ours, [c.grad.numpy() for c in copies])
        for mine, tensor in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, tensor.detach().numpy(), rtol=0, atol=1e-12)
    assert len(rows) == 100 and all(np.abs(a - b).max() > 0.01 for a, b in zip(ours, before, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(start, before, strict=True))  # what was given is left alone


@pytest.mark.parametrize(
    ("rule", "step", "point"),
    [
        (SGD(0.1), 1, (-3.6, 0.0)),
        (SGD(0.18), 10, (-0.5498, 0.2147)),
        (Momentum(0.02), 10, (-1.2285, 0.0088)),
        (Adam(0.1), 1, (-3.9, 1.9)),
        (Adam(0.1), 10, (-3.0099, 1.0246)),
    ],
)
def test_the_paths_on_the_bowl(rule, step, point):
    path = descend(rule, bowl_gradient(10.0), np.array([-4.0, 2.0]), step)
    assert path.shape == (step + 1, 2) and path[0].tolist() == [-4.0, 2.0]
    assert path[-1].round(4).tolist() == list(point)


def test_too_large_a_rate_diverges():
    path = descend(SGD(0.21), bowl_gradient(10.0), np.array([-4.0, 2.0]), 50)
    assert round(path[50, 1], 4) == 234.7817
    heights = bowl(10.0)(path)
    assert heights.shape == (51,) and heights[50] > heights[40] > heights[0]


def test_weight_decay_is_not_an_l2_penalty():
    """In AdamW the pull to zero is η λ θ, whatever the gradient; as part of the gradient Adam would rescale it."""
    start, gradient = [np.array([4.0, 4.0])], [np.array([1e-3, 1e3])]
    (decayed,), (plain,) = AdamW(0.1, weight_decay=0.5).step(start, gradient), Adam(0.1).step(start, gradient)
    np.testing.assert_allclose(plain - decayed, 0.1 * 0.5 * 4.0, atol=1e-12)


def test_mini_batches_hold_every_example_once():
    rows = list(minibatches(23, 5, generator=np.random.default_rng(0)))
    assert [len(r) for r in rows] == [5, 5, 5, 5, 3]
    assert sorted(np.concatenate(rows)) == list(range(23)) != np.concatenate(rows).tolist()


def test_a_gradient_must_fit_its_parameter():
    with pytest.raises(ValueError, match="needs its gradient"):
        SGD(0.1).step([np.ones((2, 3))], [np.ones((3, 2))])
