"""The deep belief network: its gradients, and what greedy pretraining does for three sigmoid layers on real digits."""

import numpy as np
import pytest
import torch

from companion.history.boltzmann import RBM, train_rbm
from companion.history.deep_belief import DeepNet, dream, fine_tune, train_greedily
from companion.history.digits import accuracy, load_digits

HIDDEN = [48, 48, 48]


@pytest.mark.parametrize("sizes", [[5, 3, 4], [7, 6, 5, 4, 3]])
def test_the_gradients_are_those_of_autograd(sizes):
    generator = np.random.default_rng(0)
    net = DeepNet.from_chance(sizes, generator=generator, std=1.0)
    net.weights[-1] = generator.normal(size=net.weights[-1].shape)
    x, labels = generator.random((9, sizes[0])), generator.integers(0, sizes[-1], size=9)
    weights = [torch.tensor(w, requires_grad=True) for w in net.weights]
    biases = [torch.tensor(b, requires_grad=True) for b in net.biases]
    y = torch.tensor(x)
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        y = torch.sigmoid(y @ w + b)
    loss = torch.nn.functional.cross_entropy(y @ weights[-1] + biases[-1], torch.tensor(labels))
    loss.backward()
    assert net.loss(x, labels) == pytest.approx(loss.item(), abs=1e-12)
    for (dw, db), w, b in zip(net.gradients(x, labels), weights, biases, strict=True):
        np.testing.assert_allclose(dw, w.grad.numpy(), atol=1e-12)
        np.testing.assert_allclose(db, b.grad.numpy(), atol=1e-12)


def test_each_machine_is_trained_on_the_activities_of_the_one_below():
    x, generator = np.random.default_rng(1).random((30, 6)), np.random.default_rng(2)
    lower, upper = train_greedily(x, [5, 4], epochs=3, momentum=0.8, batch_size=10, generator=np.random.default_rng(2))
    again = RBM(6, 5, generator=generator)
    train_rbm(again, x, epochs=3, momentum=0.8, batch_size=10, generator=generator)
    assert np.array_equal(lower.w, again.w)
    top = RBM(5, 4, generator=generator)
    train_rbm(top, lower.hidden(x), epochs=3, momentum=0.8, batch_size=10, generator=generator)
    assert np.array_equal(upper.w, top.w)


@pytest.mark.parametrize("seed", range(5))
def test_pretraining_is_what_lets_three_layers_learn_the_digits(seed):
    """The recipe is the same for both, only the start differs; a wider random start than this one learns too."""
    digits, generator = load_digits(seed=seed), np.random.default_rng(seed)
    machines = train_greedily(digits.train_x, HIDDEN, epochs=6, generator=generator)
    nets = [
        DeepNet.from_machines(machines),
        DeepNet.from_chance([64, *HIDDEN, 10], generator=generator, std=0.01),
    ]
    found = []
    for net, epochs in zip(nets, (12, 4), strict=True):
        fine_tune(net, digits.train_x, digits.train_y, epochs=epochs, generator=generator)
        found.append(accuracy(net.forward(digits.test_x)[-1], digits.test_y))
    assert found[0] >= 0.9
    assert found[1] <= 0.2


def test_a_dream_is_a_picture():
    machines = train_greedily(load_digits().train_x[:100], [12, 8], epochs=2, generator=np.random.default_rng(0))
    pictures = dream(machines, 3, steps=5, generator=np.random.default_rng(1))
    assert pictures.shape == (3, 64) and (pictures >= 0).all() and (pictures <= 1).all()
    assert np.array_equal(pictures, dream(machines, 3, steps=5, generator=np.random.default_rng(1)))


def test_no_hidden_layer_is_refused():
    with pytest.raises(ValueError, match="one hidden layer"):
        train_greedily(np.ones((2, 3)), [], generator=np.random.default_rng(0))
