"""Back-propagation by hand: the gradients of autograd, XOR, and real digits."""

import numpy as np
import pytest
import torch

from companion.history.digits import accuracy, load_digits, one_hot
from companion.history.mlp import MLP, sigmoid, squared_error, train_mlp

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([[0.0], [1.0], [1.0], [0.0]])


@pytest.mark.parametrize("sizes", [[3, 2], [5, 4, 3], [7, 6, 5, 2]])
def test_the_gradients_are_those_of_autograd(sizes):
    generator = np.random.default_rng(0)
    net = MLP(sizes, generator=generator, scale=2.0)
    x, d = generator.normal(size=(11, sizes[0])), generator.random((11, sizes[-1]))
    weights = [torch.tensor(w, requires_grad=True) for w in net.weights]
    biases = [torch.tensor(b, requires_grad=True) for b in net.biases]
    y = torch.tensor(x)
    for w, b in zip(weights, biases, strict=True):
        y = torch.sigmoid(y @ w + b)
    loss = 0.5 * (y - torch.tensor(d)).square().sum()
    loss.backward()
    activities = net.forward(x)
    assert squared_error(activities[-1], d) == pytest.approx(loss.item(), abs=1e-12)
    found = net.backward(activities, d)
    assert len(found) == len(sizes) - 1
    for (dw, db), w, b in zip(found, weights, biases, strict=True):
        np.testing.assert_allclose(dw, w.grad.numpy(), rtol=0, atol=1e-12)
        np.testing.assert_allclose(db, b.grad.numpy(), rtol=0, atol=1e-12)


def test_a_step_follows_equation_9():
    net = MLP([2, 3, 1], generator=np.random.default_rng(1))
    old = [w.copy() for w in net.weights]
    first = net.backward(net.forward(CORNERS), XOR)
    errors = train_mlp(net, CORNERS, XOR, epochs=1, rate=0.25)
    np.testing.assert_allclose(net.weights[0], old[0] - 0.25 * first[0][0], atol=1e-15)
    twice = MLP([2, 3, 1], generator=np.random.default_rng(1))
    assert train_mlp(twice, CORNERS, XOR, epochs=2, rate=0.25, momentum=0.9)[0] == errors[0]
    second = net.backward(net.forward(CORNERS), XOR)
    step = 0.9 * (net.weights[0] - old[0]) - 0.25 * second[0][0]
    np.testing.assert_allclose(twice.weights[0], net.weights[0] + step, atol=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_four_hidden_units_learn_xor(seed):
    net = MLP([2, 4, 1], generator=np.random.default_rng(seed), scale=1.0)
    errors = train_mlp(net, CORNERS, XOR, epochs=1000, rate=0.5)
    assert errors[0] > 0.4 and errors[-1] < 0.02
    assert (net.forward(CORNERS)[-1].round() == XOR).all()


def test_without_a_hidden_layer_xor_stays_out_of_reach():
    net = MLP([2, 1], generator=np.random.default_rng(0))
    assert train_mlp(net, CORNERS, XOR, epochs=500, rate=0.5)[-1] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_real_digits(seed):
    digits, generator = load_digits(seed=seed), np.random.default_rng(seed)
    net = MLP([64, 32, 10], generator=generator)
    errors = train_mlp(
        net, digits.train_x, one_hot(digits.train_y), epochs=15, rate=0.02, batch_size=10, generator=generator
    )
    assert errors[-1] < 0.15 * errors[0]
    assert accuracy(net.forward(digits.test_x)[-1], digits.test_y) >= 0.94


def test_the_sigmoid_is_exact_and_does_not_overflow():
    x = np.linspace(-800, 800, 33)
    np.testing.assert_allclose(sigmoid(x), torch.sigmoid(torch.tensor(x)).numpy(), rtol=0, atol=1e-15)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="inputs and outputs"):
        MLP([3], generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="one for each"):
        train_mlp(MLP([2, 1], generator=np.random.default_rng(0)), CORNERS, XOR[:3], epochs=1, rate=0.1)
